//! How long a shed takes: from the last byte of the metric's answer to the moment at which the API server has received the PATCH, by
//! its own audit log; and the same PATCHes at the same moments from a client that does nothing else. The ratio of the two is what
//! deciding costs. Nothing here fails by time.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use serin::clock::Clock;
use tokio::task::JoinSet;

use crate::{
    Fallible,
    metrics::Metrics,
    replica::Replica,
    server::{Server, api_of, client},
    shop::{ISTIO, NAMESPACE, Shop},
    wait,
};

/// The bare client, in the audit log.
const BARE: &str = "bare";
/// Longest time until every rollout has been shed.
const LIMIT: Duration = Duration::from_secs(60);

/// Longest pause of the bare client between two PATCHes.
const GAP: Duration = Duration::from_millis(200);

/// Nobody else asks the API server anything for so long after the bad answer.
const QUIET: Duration = Duration::from_millis(100);

/// A PATCH of a VirtualService as the audit log has it.
struct Received {
    name: String,
    by: String,
    at: Timestamp,
    body: Value,
}

/// Microseconds for each rollout.
struct Figures {
    serin: Vec<i128>,
    bare: Vec<i128>,
}

/// Times one rollout `alone` times, then `together` at once, and answers with what to print.
///
/// # Errors
/// When a part does not come up, or a rollout is not shed.
pub(crate) async fn run(root: &Path, folder: &Path, alone: usize, together: usize) -> Fallible<Vec<String>> {
    let (server, metrics) = tokio::try_join!(Server::start(root, folder), Metrics::start())?;
    let shop = Shop::open(server.client.clone(), &metrics.address).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(shop.clone().keep_ready());
    let names: Vec<String> = (0..alone + together).map(|number| format!("bench-{number:03}")).collect();
    let (single, many) = names.split_at(alone);
    let serin = Replica::start(folder, "serin-bench", server.kubeconfig("bench", None)?, &[]).await?;
    shop.deploy(&names, "").await?;
    // The others are quiet meanwhile.
    for name in single {
        let one = std::slice::from_ref(name);
        shop.release(one, "v2").await?;
        metrics.hold(one, LIMIT).await?;
        metrics.fail(one);
        // Whoever asked at once whether it is over would be in the way.
        wait::pause(QUIET).await;
        shop.until_ended(name, LIMIT).await?;
    }
    shop.release(many, "v2").await?;
    // All of them wait for the same answer.
    metrics.hold(many, LIMIT).await?;
    metrics.fail(many);
    for name in many {
        shop.until_ended(name, LIMIT).await?;
    }
    drop(serin);
    let sheds = first_sheds(&server, &names)?;
    shop.weights_again(&names).await?;
    let lines = [("one rollout", single), ("all at once", many)];
    let mut said = vec![];
    for (what, names) in lines {
        let figures = compare(&server, &metrics, &sheds, names).await?;
        said.push(figures.say(&format!("{what} ({})", names.len())));
    }
    Ok(said)
}

/// serin's sheds by Rollout.
fn first_sheds(server: &Server, names: &[String]) -> Fallible<BTreeMap<String, Received>> {
    let mut first = BTreeMap::new();
    for received in received(server)? {
        let lowers = |one: &Value| one["path"] == "/spec/http/0/route/1/weight" && one["value"] == 0;
        let is_shed = received.by != BARE && received.body.to_string().contains("shed.serin.dev");
        if is_shed && received.body.as_array().into_iter().flatten().any(lowers) {
            first.entry(received.name.clone()).or_insert(received);
        }
    }
    match names.iter().find(|name| !first.contains_key(*name)) {
        Some(name) => Err(format!("{name} was not shed").into()),
        None => Ok(first),
    }
}

fn received(server: &Server) -> Fallible<Vec<Received>> {
    let mut all = vec![];
    for line in fs::read_to_string(server.audit_log())?.lines() {
        let event: Value = serde_json::from_str(line)?;
        let text =
            |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        all.push(Received {
            name: text("/objectRef/name"),
            by: text("/userAgent"),
            at: text("/requestReceivedTimestamp").parse()?,
            body: event.get("requestObject").cloned().unwrap_or_default(),
        });
    }
    all.sort_by_key(|received| received.at);
    Ok(all)
}

/// Sends serin's sheds again, each as long after the first as serin had its answer, and compares.
async fn compare(
    server: &Server,
    metrics: &Metrics,
    sheds: &BTreeMap<String, Received>,
    names: &[String],
) -> Fallible<Figures> {
    let answered =
        |name: &String| metrics.failed_at(name).ok_or_else(|| format!("{name} was never answered"));
    let answers: Vec<Timestamp> = names.iter().map(answered).collect::<Result<_, _>>()?;
    let serin =
        names.iter().zip(&answers).map(|(name, at)| sheds[name].at.duration_since(*at).as_micros()).collect();
    // As warm as serin's, which renews its Lease all the time.
    let bare = client(&server.kubeconfig(BARE, None)?).await?;
    api_of(&bare, NAMESPACE, ISTIO, "VirtualService").get(&names[0]).await?;
    let first = answers.iter().min().copied().unwrap_or_default();
    let began = serin::clock::instant() + Duration::from_millis(500);
    let mut sent = JoinSet::new();
    let mut order: Vec<(&Timestamp, &String)> = answers.iter().zip(names).collect();
    order.sort();
    for (at, name) in order {
        // One after another needs no more than that each has ended before the next.
        let offset = at.duration_since(first).unsigned_abs().min(GAP * u32::try_from(sent.len())?);
        sent.spawn(patch(bare.clone(), name.clone(), sheds[name].body.clone(), began + offset));
    }
    let mut bare = vec![];
    let mut sends = BTreeMap::new();
    while let Some(one) = sent.join_next().await {
        let (name, at) = one??;
        sends.insert(name, at);
    }
    for received in received(server)?.into_iter().filter(|received| received.by == BARE) {
        bare.extend(sends.remove(&received.name).map(|at| received.at.duration_since(at).as_micros()));
    }
    Ok(Figures { serin, bare })
}

/// When it was sent.
async fn patch(
    client: Client,
    name: String,
    body: Value,
    at: tokio::time::Instant,
) -> Fallible<(String, Timestamp)> {
    tokio::time::sleep_until(at).await;
    let path = format!("/apis/networking.istio.io/v1alpha3/namespaces/{NAMESPACE}/virtualservices/{name}");
    let request = http::Request::patch(path)
        .header("content-type", "application/json-patch+json")
        .header("user-agent", BARE)
        .body(body.to_string().into_bytes())?;
    let now = Clock::Wall.now();
    client.request::<Value>(request).await?;
    Ok((name, now))
}

impl Figures {
    fn say(mut self, what: &str) -> String {
        self.serin.sort_unstable();
        self.bare.sort_unstable();
        let at = |all: &[i128], percent: usize| {
            all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0)
        };
        let ms = |micros: i128| format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10);
        let mut parts = vec![];
        for percent in [50, 99] {
            let (serin, bare) = (at(&self.serin, percent), at(&self.bare, percent));
            // Two digits after the point are enough, and need no floats.
            let ratio = serin * 100 / bare.max(1);
            parts.push(format!(
                "p{percent} {} ({}.{:02} times the bare client's {})",
                ms(serin),
                ratio / 100,
                ratio % 100,
                ms(bare)
            ));
        }
        format!("bench: shed, {what}: {}", parts.join(", "))
    }
}
