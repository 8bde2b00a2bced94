//! Tells a story on the terminal while it happens. It decides nothing and nobody relies on it.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    cast::{Cast, Scenario, tag},
    prometheus::Answers,
    stage::Played,
    timeline::{Entry, Kind, timeline},
};
use crate::sim::{door::Door, engine};

/// What is said before the curtain rises.
pub fn prologue(cast: &Cast, scenario: Scenario, speed: u32) -> String {
    let (old, new) = cast.versions();
    let behaves = match scenario {
        Scenario::BadMetric => "answers 8 % errors",
        Scenario::Good => "behaves",
    };
    format!(
        "Rollout {} runs {old}. Somebody releases {new}, which {behaves}. ({scenario}, {speed}x)\n\n",
        cast.rollout
    )
}

/// Tells from now on, in a task of its own, whatever the door shows.
pub fn start(door: Door, answers: Answers, repository: PathBuf, cast: Cast) {
    tokio::spawn(async move {
        let mut changes = door.changes();
        let mut narrator = Narrator::new(cast, repository);
        loop {
            let answers = answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            let entries = door.with(|world| timeline(world.log(), &answers, &narrator.cast.services.canary));
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
    cast: Cast,
    repository: PathBuf,
    told: usize,
    began: Option<Timestamp>,
    weight: Option<i64>,
    known_commits: usize,
    phase: String,
}

impl Narrator {
    fn new(cast: Cast, repository: PathBuf) -> Self {
        Self { cast, repository, told: 0, began: None, weight: None, known_commits: 0, phase: String::new() }
    }

    fn tell(&mut self, entries: &[Entry]) -> String {
        let mut text = String::new();
        for entry in entries.iter().skip(self.told) {
            let began = *self.began.get_or_insert(entry.at);
            for (who, line) in self.lines(entry) {
                let seconds = entry.at.duration_since(began).as_secs();
                text.push_str(&format!("{:>3}:{:02}  {who:<11} {line}\n", seconds / 60, seconds % 60));
            }
        }
        self.told = entries.len();
        text
    }

    fn lines(&mut self, entry: &Entry) -> Vec<(&'static str, String)> {
        let mut lines = vec![];
        if entry.canary_weight.is_some() && entry.canary_weight != self.weight {
            self.weight = entry.canary_weight;
            lines.push(("traffic", self.bar()));
        }
        match &entry.kind {
            Kind::Answer { .. } => lines.push(("metrics", entry.what.replace("prometheus answers ", ""))),
            Kind::Request { actor, verb, resource, name, status, body } if (200..300).contains(status) => {
                lines.extend(self.request(actor, verb, resource, name, body));
            }
            Kind::Request { .. } => {}
        }
        lines
    }

    fn request(
        &mut self,
        actor: &str,
        verb: &str,
        resource: &str,
        name: &str,
        body: &serde_json::Value,
    ) -> Vec<(&'static str, String)> {
        match (actor, resource) {
            ("controller", "replicasets") => match body.pointer("/spec/replicas") {
                Some(replicas) if verb == "patch" => vec![("pods", format!("{name}: {replicas}"))],
                _ => vec![],
            },
            ("controller", "events") => match body["reason"].as_str() {
                Some("RolloutAborted" | "RolloutCompleted" | "RolloutStepCompleted" | "SkipSteps") => {
                    vec![("rollout", body["message"].as_str().unwrap_or_default().to_owned())]
                }
                _ => vec![],
            },
            ("controller", "rollouts/status") => self.phase(body).into_iter().collect(),
            ("gitops-engine", "rollouts") => {
                let image =
                    body.pointer("/spec/template/spec/containers/0/image").and_then(|image| image.as_str());
                image
                    .map(|image| ("gitops", format!("the engine applies {}", tag(image))))
                    .into_iter()
                    .collect()
            }
            ("gitops", "selfheals/status") => self.healing(body),
            _ => vec![],
        }
    }

    fn phase(&mut self, body: &serde_json::Value) -> Option<(&'static str, String)> {
        let phase = body.pointer("/status/phase").and_then(|phase| phase.as_str())?;
        (phase != self.phase).then(|| {
            self.phase = phase.to_owned();
            ("rollout", format!("is {phase}"))
        })
    }

    fn healing(&mut self, body: &serde_json::Value) -> Vec<(&'static str, String)> {
        let Some(phase) = body.pointer("/status/phase").and_then(|phase| phase.as_str()) else {
            return vec![];
        };
        let mut lines = vec![("self-heal", phase.to_owned())];
        let commits = engine::history(&self.repository).unwrap_or_default();
        if phase == "Pushed"
            && commits.len() > self.known_commits
            && let Some(commit) = commits.first()
        {
            self.known_commits = commits.len();
            lines.push((
                "git",
                format!("{} by {} <{}>", first_line(&commit.message), commit.author, commit.email),
            ));
            let changed = commit.patch.lines().filter(|line| line.starts_with(['+', '-']));
            lines.extend(changed.map(|line| ("", line.to_owned())));
        }
        lines
    }

    /// Both sides as a bar of 40 cells.
    fn bar(&self) -> String {
        let canary = self.weight.unwrap_or(0).clamp(0, 100);
        let cells = usize::try_from(canary * 40 / 100).unwrap_or(0);
        let (old, new) = self.cast.versions();
        format!(
            "{}{}  stable side {:>3} %, canary side {canary:>3} %   ({old} -> {new})",
            "█".repeat(40 - cells),
            "░".repeat(cells),
            100 - canary
        )
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What is left when the curtain falls: the last commit and the message in Slack.
pub fn epilogue(played: &Played) -> String {
    let mut text = String::new();
    let commits = engine::history(Path::new(&played.repository)).unwrap_or_default();
    if let Some(commit) = commits.first() {
        text.push_str(&format!("\nThe tip of Git, by {}:\n\n", commit.author));
        for line in commit.message.trim_end().lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    if played.slack_messages > 0 {
        text.push_str("\nSlack shows:\n\n");
        for line in played.slack_text.trim_end().lines() {
            text.push_str(&format!("    {line}\n"));
        }
    } else {
        text.push_str("\nSlack shows nothing: nobody subscribed to good news.\n");
    }
    text
}
