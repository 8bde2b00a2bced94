//! Tells a story on the terminal while it happens. It decides nothing and nobody relies on it.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    aside::Asides,
    cast::{Cast, tag},
    judge::Case,
    scenario::Scenario,
    stage::Played,
    timeline::{Asked, Entry, Kind, Timeline},
    troupe::{CONTROLLER, GITOPS, REPLICAS},
};
use crate::sim::{door::Door, engine};

/// What is said before the curtain rises.
pub fn prologue(cast: &Cast, scenario: Scenario, speed: u32) -> String {
    let (old, new) = cast.versions();
    format!(
        "Rollout {} runs {old}. Somebody releases {new}, {}. ({scenario}, {speed}x)\n\n",
        cast.rollout,
        scenario.plot()
    )
}

/// Tells from now on, in a task of its own, whatever the door shows.
pub fn start(door: Door, asides: Asides, repository: PathBuf, cast: Cast) {
    tokio::spawn(async move {
        let mut changes = door.changes();
        let mut narrator = Narrator::new(&cast, repository);
        loop {
            let (requests, known) = narrator.timeline.known();
            let beside = asides.beyond(known);
            let asked: Vec<Asked> = door.with(|world| world.log().skip(requests).map(Asked::from).collect());
            let entries = narrator.timeline.take(asked.into_iter(), beside);
            let lines = narrator.tell(&entries);
            let mut out = std::io::stdout();
            let _ = out.write_all(lines.as_bytes());
            let _ = out.flush();
            if changes.changed().await.is_err() {
                return;
            }
        }
    });
}

struct Narrator {
    repository: PathBuf,
    timeline: Timeline,
    began: Option<Timestamp>,
    weight: Option<i64>,
    /// Image tags: what serves, and what Git asks for as far as the cluster has heard.
    stable: String,
    asked: String,
    /// ReplicaSet to image tag and pods.
    sets: BTreeMap<String, (String, i64)>,
    known_commits: usize,
    phase: String,
    healing: String,
    /// Conditions that are told, and whether they hold.
    conditions: BTreeMap<String, bool>,
    slack: BTreeMap<String, String>,
}

type Lines = Vec<(&'static str, String)>;

impl Narrator {
    fn new(cast: &Cast, repository: PathBuf) -> Self {
        let old = cast.versions().0.to_owned();
        Self {
            timeline: Timeline::new(&cast.services.canary),
            repository,
            began: None,
            weight: None,
            stable: old.clone(),
            asked: old,
            sets: BTreeMap::new(),
            known_commits: 0,
            phase: String::new(),
            healing: String::new(),
            conditions: BTreeMap::new(),
            slack: BTreeMap::new(),
        }
    }

    fn tell(&mut self, entries: &[Entry]) -> String {
        let mut text = String::new();
        for entry in entries {
            let began = *self.began.get_or_insert(entry.at);
            for (who, line) in self.lines(entry) {
                let seconds = entry.at.duration_since(began).as_secs();
                text.push_str(&format!("{:>3}:{:02}  {who:<10}  {line}\n", seconds / 60, seconds % 60));
            }
        }
        text
    }

    fn lines(&mut self, entry: &Entry) -> Lines {
        let mut lines = vec![];
        if entry.canary_weight.is_some() && entry.canary_weight != self.weight {
            self.weight = entry.canary_weight;
            lines.push(("traffic", self.bar()));
        }
        match &entry.kind {
            Kind::Answer { metric, value, is_good } => {
                lines.push(("metrics", answer(metric, *value, *is_good)))
            }
            Kind::Act { who, what } => lines.push((who, what.clone())),
            Kind::Died { actor } => lines.push(("serin", format!("{actor} is killed"))),
            Kind::Request(asked) if asked.is_done() => lines.extend(self.request(asked)),
            Kind::Request(_) => {}
        }
        lines
    }

    fn request(&mut self, asked: &Asked) -> Lines {
        let is_controller = asked.actor == CONTROLLER || REPLICAS.contains(&asked.actor.as_str());
        match asked.resource.as_str() {
            "replicasets" if is_controller => self.pods(asked).into_iter().collect(),
            "events" if is_controller => self.event(&asked.body).into_iter().collect(),
            "rollouts/status" if is_controller => self.status(&asked.body["status"]),
            "analysisruns" if is_controller => verdict(&asked.body["status"]).into_iter().collect(),
            "rolloutrecords/status" => self.told(&asked.body["status"]["notify"]),
            "rollouts" if asked.actor != GITOPS && !is_controller => self.applied(&asked.body),
            "selfheals/status" => self.healed(&asked.body["status"]),
            _ => vec![],
        }
    }

    /// The GitOps engine applies what Git says.
    fn applied(&mut self, body: &Value) -> Lines {
        let image = body.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
        let Some(image) = image else { return vec![] };
        tag(image).clone_into(&mut self.asked);
        vec![("gitops", format!("the engine applies {}", self.asked))]
    }

    fn pods(&mut self, asked: &Asked) -> Option<(&'static str, String)> {
        if let Some(image) = asked.body.pointer("/spec/template/spec/containers/0/image") {
            let version = tag(image.as_str().unwrap_or_default()).to_owned();
            self.sets.insert(asked.name.clone(), (version, 0));
            return None;
        }
        let to = asked.body.pointer("/spec/replicas")?.as_i64()?;
        let (version, pods) = self.sets.get_mut(&asked.name)?;
        let from = std::mem::replace(pods, to);
        (from != to).then(|| ("pods", format!("{version}: {from} -> {to}")))
    }

    fn event(&mut self, event: &Value) -> Option<(&'static str, String)> {
        let message = event["message"].as_str().unwrap_or_default().to_owned();
        match event["reason"].as_str()? {
            "RolloutCompleted" => {
                self.stable.clone_from(&self.asked);
                Some(("rollout", message))
            }
            "RolloutAborted" | "RolloutStepCompleted" | "SkipSteps" | "TrafficContested" => {
                Some(("rollout", message))
            }
            _ => None,
        }
    }

    fn status(&mut self, status: &Value) -> Lines {
        let mut lines = vec![];
        // A status is written as what changed of it: a new pause has a message and no phase.
        let phase = status["phase"].as_str().unwrap_or(self.phase.as_str()).to_owned();
        let why = status["message"].as_str().filter(|_| phase == "Paused");
        if phase != self.phase || why.is_some() {
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            lines.push(("rollout", format!("is {phase}{why}")));
            self.phase = phase;
        }
        for condition in status["conditions"].as_array().into_iter().flatten() {
            let kind = condition["type"].as_str().unwrap_or_default();
            if !["MetricsUnavailable", "TrafficContested"].contains(&kind) {
                continue;
            }
            let holds = condition["status"] == "True";
            if self.conditions.insert(kind.to_owned(), holds).unwrap_or(false) != holds {
                let message = condition["message"].as_str().unwrap_or_default();
                let state = if holds { "holds" } else { "is over" };
                lines.push(("rollout", format!("{kind} {state}: {message}")));
            }
        }
        lines
    }

    /// What the notifier's ledger says of Slack.
    fn told(&mut self, notify: &Value) -> Lines {
        let mut lines = vec![];
        for entry in notify["ledger"].as_array().into_iter().flatten() {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            if !["Sent", "Final"].contains(&text("state").as_str()) {
                continue;
            }
            let before = self.slack.insert(text("key"), text("digest"));
            match before {
                None => lines.push(("slack", format!("a message in #{}", text("recipient")))),
                Some(digest) if digest != text("digest") => {
                    lines.push(("slack", format!("the message in #{} is edited", text("recipient"))));
                }
                Some(_) => {}
            }
        }
        lines
    }

    fn healed(&mut self, status: &Value) -> Lines {
        let Some(phase) = status["phase"].as_str() else { return vec![] };
        let reason = status["reason"].as_str().unwrap_or_default();
        let standing = format!("{phase} ({reason})");
        if standing == self.healing {
            return vec![];
        }
        self.healing.clone_from(&standing);
        let mut lines = vec![("self-heal", standing)];
        let commits = engine::history(&self.repository).unwrap_or_default();
        if phase == "Pushed"
            && commits.len() > self.known_commits
            && let Some(commit) = commits.first()
        {
            self.known_commits = commits.len();
            let subject = commit.message.lines().next().unwrap_or_default();
            lines.push(("git", format!("{subject} by {} <{}>", commit.author, commit.email)));
            let is_change = |line: &&str| {
                line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---")
            };
            lines.extend(commit.patch.lines().filter(is_change).map(|line| ("", line.to_owned())));
        }
        lines
    }

    /// Both sides as a bar of 40 cells.
    fn bar(&self) -> String {
        let canary = self.weight.unwrap_or(0).clamp(0, 100);
        let cells = usize::try_from(canary * 40 / 100).unwrap_or(0);
        let versions = if self.stable == self.asked {
            self.stable.clone()
        } else {
            format!("{} -> {}", self.stable, self.asked)
        };
        format!(
            "{}{}  stable side {:>3} %, canary side {canary:>3} %   ({versions})",
            "█".repeat(40 - cells),
            "░".repeat(cells),
            100 - canary
        )
    }
}

fn answer(metric: &str, value: Option<f64>, is_good: bool) -> String {
    match value {
        Some(value) => format!("{metric} = {value} ({})", if is_good { "good" } else { "bad" }),
        None => format!("{metric}: no data"),
    }
}

/// An analysis that came to no verdict says why; a failed one is told by the abort.
fn verdict(status: &Value) -> Option<(&'static str, String)> {
    let message = status["message"].as_str().unwrap_or_default();
    (status["phase"] == "Inconclusive").then(|| ("analysis", format!("is Inconclusive: {message}")))
}

/// What is left when the curtain falls: who was served, the last commit and the messages in Slack.
pub fn epilogue(played: &Played, case: &Case) -> String {
    let mut text = String::from("\nRequests answered:");
    for (version, requests) in case.traffic.served.iter().filter(|(version, _)| !version.is_empty()) {
        text.push_str(&format!(" {requests:.0} by {version},"));
    }
    text.push_str(&format!(" {:.0} by nobody.\n", case.traffic.failed));
    if let Some((from, to)) = super::judge::leaderless(case) {
        let gap = to.duration_since(from).as_secs_f64();
        text.push_str(&format!(
            "\nWithout a leader: {gap:.1} s, from the kill to the other replica's first write.\n"
        ));
    }
    let commits = engine::history(Path::new(&played.repository)).unwrap_or_default();
    if let Some(commit) = commits.first() {
        text.push_str(&format!("\nThe tip of Git, by {}:\n\n", commit.author));
        for line in commit.message.trim_end().lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    let slack = played.slack.render();
    if slack.is_empty() {
        text.push_str("\nSlack shows nothing: nobody subscribed to good news.\n");
    } else {
        text.push_str("\nSlack shows:\n\n");
        for line in slack.trim_end().lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}
