//! The case that the judge is given: what others saw of a story on real parts. Nothing in it is what serin says of itself in logs.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use serin::{
    domain::Key,
    sim::play::{
        aside::{Aside, What},
        judge::{Case, Commit, Message, Names},
        timeline::{Asked, Timeline},
    },
};

use super::{
    scene::{FIXED, NEW, OLD, SHORTENED},
    served,
    shop::Shop,
};
use crate::{Fallible, audit};

/// Everything that the judge looks at, at the end of a story.
const KINDS: [(&str, &str); 7] = [
    ("argoproj.io/v1alpha1", "Rollout"),
    ("argoproj.io/v1alpha1", "AnalysisRun"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "Service"),
    ("networking.istio.io/v1", "VirtualService"),
    ("serin.dev/v1alpha1", "SelfHeal"),
    ("serin.dev/v1alpha1", "RolloutRecord"),
];
/// Requests of a pass that was running when Prometheus gave the answer that decided. Seen: one.
pub(super) const UNDER_WAY: usize = 2;
/// The author of serin's commits where the policy names none.
pub(super) const BOT: &str = "SelfHeal Bot";

/// What there is to see of a story that came to its end.
///
/// # Errors
/// When the API server, a log or the repository cannot be read.
pub(super) async fn case(shop: &Shop<'_>) -> Fallible<Case> {
    let mut objects = vec![];
    for (version, kind) in KINDS {
        for mut object in shop.objects(version, kind).await? {
            // Lists name the kind once, not in each object.
            object["kind"] = kind.into();
            objects.push(object);
        }
    }
    let requests = requests(shop)?;
    let asides = asides(shop, &objects, &requests)?;
    let entries = Timeline::new("myapp-canary").take(requests.into_iter(), asides);
    let answers = shop.load.answers(shop.opened);
    Ok(Case {
        names: names(shop),
        objects,
        entries,
        commits: commits(shop)?,
        messages: messages(shop),
        traffic: served::traffic(&answers),
        data_plane_delay: SignedDuration::try_from(shop.serin.setup.traffic_delay)?,
        shortened: SHORTENED,
        under_way: UNDER_WAY,
        stuck: None,
    })
}

fn names(shop: &Shop<'_>) -> Names {
    Names {
        rollout: Key::new(&shop.namespace, "myapp"),
        virtual_service: Key::new(&shop.namespace, "myapp-vsvc"),
        stable_service: "myapp-stable".to_owned(),
        canary_service: "myapp-canary".to_owned(),
        old_image: shop.scene.image(OLD),
        new_image: shop.scene.image(NEW),
        fixed_image: shop.scene.image(FIXED),
        controllers: shop.serin.controllers(),
        bot: BOT.to_owned(),
    }
}

/// What was asked about the shop's namespace, in the order in which the API server received it.
fn requests(shop: &Shop<'_>) -> Fallible<Vec<Asked>> {
    let all = shop.audit.asked()?.into_iter().filter(|asked| asked.namespace == shop.namespace);
    Ok(all.map(|asked| request(shop, asked)).collect())
}

fn request(shop: &Shop<'_>, asked: audit::Asked) -> Asked {
    let audit::Asked { at, account, credential, manager, right, code, body, .. } = asked;
    let named = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let actor = match shop.serin.name_of(&credential) {
        Some(name) => name.to_owned(),
        None if manager.is_empty() => account,
        None => manager,
    };
    Asked {
        at,
        actor,
        verb: right.verb,
        resource: right.resource,
        name: if right.name.is_empty() { named } else { right.name },
        // A watch is still open.
        status: u16::try_from(code).unwrap_or_default(),
        body,
    }
}

/// What the API server did not see: answers of Prometheus by its own log, and what the plot did.
fn asides(shop: &Shop<'_>, objects: &[Value], requests: &[Asked]) -> Fallible<Vec<Aside>> {
    let mut all: Vec<(Timestamp, What)> = shop.asides.clone();
    all.extend(answers(shop, objects)?);
    all.sort_by_key(|(at, _)| *at);
    let after = |at: Timestamp| requests.partition_point(|asked| asked.at <= at);
    Ok(all.into_iter().map(|(at, what)| Aside { at, after: after(at), what }).collect())
}

/// Prometheus's log knows when it answered which query, and the runs know which value they booked of it.
fn answers(shop: &Shop<'_>, objects: &[Value]) -> Fallible<Vec<(Timestamp, What)>> {
    let of = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    let hashes: BTreeSet<&str> = of("ReplicaSet")
        .filter_map(|set| set["metadata"]["labels"]["rollouts-pod-template-hash"].as_str())
        .collect();
    let mut booked: Vec<Booked> = of("AnalysisRun").flat_map(Booked::of).collect();
    booked.sort_by_key(|one| one.from);
    let mut all = vec![];
    for (at, query) in shop.stack.prometheus.answered()? {
        let metric = if hashes.iter().any(|hash| query.contains(hash)) {
            "error-rate"
        } else if query.contains(&format!("destination_service_namespace=~\"{}\"", shop.namespace)) {
            "success-rate"
        } else {
            continue;
        };
        let is_it = |one: &Booked| one.metric == metric && one.from <= at && at < one.to;
        let found = booked.iter().position(is_it).map(|index| booked.remove(index));
        let (value, is_good) = found.map_or((None, false), |one| (one.value, one.is_good));
        all.push((at, What::Answer { metric: metric.to_owned(), value, is_good }));
    }
    Ok(all)
}

/// A measurement as a run has it. Its times have whole seconds.
struct Booked {
    metric: String,
    from: Timestamp,
    to: Timestamp,
    value: Option<f64>,
    is_good: bool,
}

impl Booked {
    fn of(run: &Value) -> Vec<Self> {
        let results = run["status"]["metricResults"].as_array().into_iter().flatten();
        let one = |metric: &str, taken: &Value| {
            let time = |field: &str| taken[field].as_str()?.parse::<Timestamp>().ok();
            let number = taken["value"].as_str().and_then(|text| text.trim_matches(['[', ']']).parse().ok());
            Some(Self {
                metric: metric.to_owned(),
                from: time("startedAt")?,
                to: time("finishedAt")? + SignedDuration::from_secs(1),
                value: number.filter(|number: &f64| number.is_finite()),
                is_good: taken["phase"] == "Successful",
            })
        };
        results
            .flat_map(|result| {
                let metric = result["name"].as_str().unwrap_or_default();
                let taken = result["measurements"].as_array().into_iter().flatten();
                taken.filter_map(move |taken| one(metric, taken))
            })
            .collect()
    }
}

fn commits(shop: &Shop<'_>) -> Fallible<Vec<Commit>> {
    let all = shop.repository.log()?.into_iter();
    all.map(|commit| {
        let patch = shop.repository.patch(&commit.id)?;
        Ok(Commit { id: commit.id, author: commit.author, at: commit.at, message: commit.message, patch })
    })
    .collect()
}

fn messages(shop: &Shop<'_>) -> Vec<Message> {
    let all = shop.stack.slack.about(&shop.namespace).into_iter();
    all.map(|posted| Message {
        text: posted.now["text"].as_str().unwrap_or_default().to_owned(),
        earlier: posted.earlier,
    })
    .collect()
}
