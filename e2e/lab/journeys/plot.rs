//! What happens in each story besides serin, on real parts: who pushes, aborts, promotes, and what is killed for how long. The plots are
//! those of `serin demo`, with the durations divided by 30.

use std::time::Duration;

use serde_json::{Value, json};
use serin::{clock::Clock, sim::play::scenario::Scenario};

use super::{
    scene::{FIXED, NEW, OLD, Twist},
    shop::Shop,
};
use crate::{
    Fallible,
    images::Behaviour,
    report,
    roles::GITOPS,
    stack::{Of, Stack},
};

/// The canary's weight in the middle of the steps.
const HALFWAY: u64 = 20;
/// How long Prometheus and Git are away: 30 minutes.
const AWAY: Duration = Duration::from_secs(60);
/// The five minutes after which serin tries again to put back what somebody lowered are not the manifest's, so they are five
/// minutes here, too.
const CONTEST: Duration = Duration::from_secs(420);
const TOOL: &str = "mesh-tool";

/// Plays from the release to where nothing more is to happen.
///
/// # Errors
/// What was waited for in vain.
pub(super) async fn play(shop: &mut Shop<'_>) -> Fallible {
    shop.push(NEW, "Release")?;
    match shop.scene.scenario {
        Scenario::BadMetric | Scenario::Good => {}
        Scenario::BadPods => bad_pods(shop).await?,
        Scenario::NoData => no_data(shop).await?,
        Scenario::PrometheusDown => prometheus_down(shop).await?,
        Scenario::UserAbort => user_abort(shop).await?,
        Scenario::GitDown => git_down(shop).await?,
        Scenario::FixedFirst => fixed_first(shop).await?,
        Scenario::Contested => contested(shop).await?,
        Scenario::Superseded => superseded(shop).await?,
        Scenario::TakeoverByRestart => takeover(shop).await?,
    }
    ending(shop).await
}

/// Waits until nothing more is to come.
async fn ending(shop: &mut Shop<'_>) -> Fallible {
    let scenario = shop.scene.scenario;
    let healing = match scenario {
        Scenario::BadMetric
        | Scenario::BadPods
        | Scenario::GitDown
        | Scenario::Contested
        | Scenario::TakeoverByRestart => Some("Synced"),
        Scenario::FixedFirst => Some("Superseded"),
        Scenario::UserAbort => Some("NoPolicy"),
        Scenario::Good | Scenario::NoData | Scenario::PrometheusDown | Scenario::Superseded => None,
    };
    if let Some(phase) = healing {
        healed(shop, phase).await?;
    }
    let stays = match scenario {
        Scenario::BadMetric | Scenario::BadPods | Scenario::GitDown | Scenario::TakeoverByRestart => {
            shop.healthy_on(OLD).await?;
            OLD
        }
        Scenario::Good | Scenario::NoData | Scenario::PrometheusDown => {
            shop.healthy_on(NEW).await?;
            NEW
        }
        Scenario::UserAbort => {
            shop.rests(NEW, OLD, "Degraded", AWAY).await?;
            OLD
        }
        Scenario::FixedFirst | Scenario::Superseded => {
            shop.healthy_on(FIXED).await?;
            FIXED
        }
        Scenario::Contested => {
            shop.rests(FIXED, FIXED, "Healthy", CONTEST).await?;
            FIXED
        }
    };
    if healing.is_some() {
        told(shop).await?;
    }
    shop.only_pods_of(stays).await?;
    if scenario == Scenario::Superseded {
        history_is_cut(shop).await?;
    }
    let linger = Duration::from_secs(if shop.scene.twist == Twist::Churn { 12 } else { 4 });
    // Whatever is done twice comes late.
    shop.pass("a look at what comes late", linger).await;
    Ok(())
}

/// The pods serve until more of them are asked for; then all of them crash, and go on crashing.
async fn bad_pods(shop: &mut Shop<'_>) -> Fallible {
    until_weight(shop, 10).await?;
    let first = canary_pods(shop.stack, &shop.namespace, &shop.scene.image(NEW)).await?;
    let (stack, namespace, image) = (shop.stack, shop.namespace.clone(), shop.scene.image(NEW));
    shop.until("more of the canary's pods", async || {
        let pods = canary_pods(stack, &namespace, &image).await?;
        if pods > first { Ok(()) } else { Err(format!("{pods} pods").into()) }
    })
    .await?;
    shop.act("pods", format!("every pod of {NEW} crash-loops from now on"));
    shop.stack.images.publish(&shop.scene.image(NEW), Behaviour::CRASHING);
    Ok(())
}

/// Nothing is measured; a person reads why it waits, puts the scraping right and promotes.
async fn no_data(shop: &mut Shop<'_>) -> Fallible {
    let (stack, namespace) = (shop.stack, shop.namespace.clone());
    shop.until("the pause", async || {
        let status = rollout(stack, &namespace).await?["status"].clone();
        let mut pauses = status["pauseConditions"].as_array().into_iter().flatten();
        if pauses.any(|pause| pause["reason"] == "InconclusiveAnalysisRun") {
            Ok(())
        } else {
            Err(status.to_string().into())
        }
    })
    .await?;
    shop.pass("a person comes by", Duration::from_secs(6)).await;
    shop.stack.images.publish(&shop.scene.image(NEW), Behaviour::GOOD);
    shop.act("person", "puts the scraping of the canary right: its series is there now");
    shop.pass("the series is there", Duration::from_secs(2)).await;
    shop.act("person", "kubectl argo rollouts promote myapp");
    shop.patch_status(&json!({"status": {"pauseConditions": null}})).await
}

async fn prometheus_down(shop: &mut Shop<'_>) -> Fallible {
    until_weight(shop, HALFWAY).await?;
    shop.stack.prometheus.go().await?;
    shop.act("prometheus", "is gone: connections are refused");
    shop.pass("Prometheus is away", AWAY).await;
    shop.stack.prometheus.come_back().await?;
    shop.act("prometheus", "is back");
    Ok(())
}

async fn user_abort(shop: &mut Shop<'_>) -> Fallible {
    until_weight(shop, HALFWAY).await?;
    shop.pass("a person looks on", Duration::from_millis(700)).await;
    shop.act("person", "kubectl argo rollouts abort myapp");
    shop.patch_status(&json!({"status": {"abort": true}})).await
}

/// Git is away for as long as it takes the traffic to go back, and a minute more; serin's processes die twice meanwhile.
async fn git_down(shop: &mut Shop<'_>) -> Fallible {
    until_weight(shop, HALFWAY).await?;
    shop.stack.git.go().await?;
    shop.act("git", "is gone: nobody can fetch or push");
    until_shed(shop).await?;
    let since = Clock::Wall.now();
    for part in 1..=2 {
        shop.pass("Git is away", AWAY * 4 / 15).await;
        let killed = shop.serin.kill_all().await?;
        shop.act("serin", format!("{} are killed ({part} of 2); they are back at once", killed.join(", ")));
        shop.serin.restart().await?;
    }
    let left = AWAY.saturating_sub(Clock::Wall.now().duration_since(since).unsigned_abs());
    shop.pass("Git is away", left).await;
    shop.stack.git.come_back().await?;
    shop.act("git", "is back");
    Ok(())
}

/// A person pushes the moment that the traffic goes back. The bot's process is down just then, so that the person is first.
async fn fixed_first(shop: &mut Shop<'_>) -> Fallible {
    until_weight(shop, HALFWAY).await?;
    shop.serin.kill(GITOPS).await?;
    shop.act("serin", "the Git role's process is killed");
    until_shed(shop).await?;
    shop.push(FIXED, "Fix the errors:")?;
    shop.serin.restart().await?;
    shop.act("serin", "the Git role's process is back");
    Ok(())
}

/// A tool that believes the weights to be its own: it raises a rejected canary, and lowers the next one four times.
async fn contested(shop: &mut Shop<'_>) -> Fallible {
    until_weight(shop, HALFWAY).await?;
    until_shed(shop).await?;
    shop.pass("the tool comes by", Duration::from_millis(100)).await;
    steer(shop, HALFWAY).await?;
    until_shed(shop).await?;
    healed(shop, "Synced").await?;
    shop.healthy_on(OLD).await?;
    shop.pass("everybody rests", Duration::from_secs(1)).await;
    shop.push(FIXED, "Release")?;
    for _ in 0..4 {
        until_weight(shop, HALFWAY).await?;
        shop.pass("the tool comes by", Duration::from_millis(300)).await;
        steer(shop, HALFWAY / 4).await?;
    }
    let (stack, namespace) = (shop.stack, shop.namespace.clone());
    shop.until("TrafficContested", async || {
        let status = rollout(stack, &namespace).await?["status"].clone();
        let mut all = status["conditions"].as_array().into_iter().flatten();
        if all.any(|one| one["type"] == "TrafficContested" && one["status"] == "True") {
            Ok(())
        } else {
            Err(status.to_string().into())
        }
    })
    .await?;
    shop.act("person", format!("reads the condition and has {TOOL} ignore the weights"));
    Ok(())
}

async fn superseded(shop: &mut Shop<'_>) -> Fallible {
    until_weight(shop, HALFWAY).await?;
    shop.pass("a person finds the mistake", Duration::from_secs(1)).await;
    shop.push(FIXED, "Release")?;
    Ok(())
}

/// Waits until what the histories have no place for is gone: a version and a run.
async fn history_is_cut(shop: &mut Shop<'_>) -> Fallible {
    let (stack, namespace) = (shop.stack, shop.namespace.clone());
    shop.until("two ReplicaSets and fewer than three runs to be left", async || {
        let sets = stack.objects(&namespace, "apps/v1", "ReplicaSet").await?.len();
        let runs = stack.objects(&namespace, "argoproj.io/v1alpha1", "AnalysisRun").await?.len();
        if sets == 2 && runs < 3 { Ok(()) } else { Err(format!("{sets} ReplicaSets, {runs} runs").into()) }
    })
    .await
}

/// The leader dies with three bad samples booked: the next one would decide, and it is for the other one to see it.
async fn takeover(shop: &mut Shop<'_>) -> Fallible {
    until_weight(shop, HALFWAY).await?;
    let (stack, namespace) = (shop.stack, shop.namespace.clone());
    shop.until("the third bad sample", async || {
        let runs = stack.objects(&namespace, "argoproj.io/v1alpha1", "AnalysisRun").await?;
        let results = runs.iter().filter_map(|run| run["status"]["metricResults"].as_array()).flatten();
        let failed = results.filter_map(|result| result["failed"].as_u64()).max().unwrap_or_default();
        if failed >= 3 { Ok(()) } else { Err(format!("{failed}").into()) }
    })
    .await?;
    let leader = shop.serin.leader(stack).await?;
    shop.kill(&leader).await?;
    let killed = Clock::Wall.now();
    let weight = live_weight(stack, &namespace).await?;
    if weight == 0 {
        return Err("the leader had taken the traffic away before it was killed".into());
    }
    let heir = loop {
        match shop.serin.leader(stack).await {
            Ok(heir) if heir != leader => break heir,
            _ if Clock::Wall.now().duration_since(killed).as_secs() > 60 => {
                return Err("nobody took over within a minute".into());
            }
            _ => crate::wait::pause(Duration::from_millis(50)).await,
        }
    };
    let gap = Clock::Wall.now().duration_since(killed).as_millis();
    shop.act("serin", format!("{heir} leads: {gap} ms without a leader"));
    report::line(&format!(
        "lab:   {leader} killed at {weight} %: {gap} ms without a leader, until {heir} holds the Lease"
    ));
    until_shed(shop).await
}

/// The tool sets the canary's weight, as it read the routes a moment before.
async fn steer(shop: &mut Shop<'_>, canary: u64) -> Fallible {
    let of = Of {
        namespace: &shop.namespace.clone(),
        version: "networking.istio.io/v1",
        kind: "VirtualService",
        name: "myapp-vsvc",
    };
    let live = shop.stack.object(of.namespace, of.version, of.kind, of.name).await?;
    let mut http = live["spec"]["http"].clone();
    for destination in
        http.as_array_mut().into_iter().flatten().filter_map(|entry| entry["route"].as_array_mut()).flatten()
    {
        match destination["destination"]["host"].as_str() {
            Some("myapp-canary") => destination["weight"] = canary.into(),
            Some("myapp-stable") => destination["weight"] = (100 - canary).into(),
            _ => {}
        }
    }
    shop.act(TOOL, format!("sets the canary's weight to {canary} %"));
    shop.stack.merge(&of, TOOL, false, &json!({"spec": {"http": http}})).await
}

/// Waits until the canary has this weight or more, and the status says so.
async fn until_weight(shop: &mut Shop<'_>, weight: u64) -> Fallible {
    let (stack, namespace) = (shop.stack, shop.namespace.clone());
    shop.until(&format!("the canary at {weight} %"), async || {
        let live = live_weight(stack, &namespace).await?;
        let status = rollout(stack, &namespace).await?["status"].clone();
        let booked = status["canary"]["weights"]["canary"]["weight"].as_u64().unwrap_or_default();
        if live >= weight && booked >= weight {
            Ok(())
        } else {
            Err(format!("live {live}, booked {booked}; {}", status["message"]).into())
        }
    })
    .await
}

async fn until_shed(shop: &mut Shop<'_>) -> Fallible {
    let (stack, namespace) = (shop.stack, shop.namespace.clone());
    shop.until("the traffic to go back", async || match live_weight(stack, &namespace).await? {
        0 => Ok(()),
        weight => Err(format!("the canary is at {weight} %").into()),
    })
    .await
}

async fn healed(shop: &mut Shop<'_>, phase: &str) -> Fallible {
    let (stack, namespace) = (shop.stack, shop.namespace.clone());
    shop.until(&format!("the SelfHeal to be {phase}"), async || {
        let heals = stack.objects(&namespace, "serin.dev/v1alpha1", "SelfHeal").await?;
        let is_there = |heal: &Value| heal.pointer("/status/phase") == Some(&phase.into());
        if heals.iter().any(is_there) { Ok(()) } else { Err(serde_json::to_string(&heals)?.into()) }
    })
    .await
}

/// Waits until serin has told everything there is to tell, by its own ledger.
async fn told(shop: &mut Shop<'_>) -> Fallible {
    let (stack, namespace) = (shop.stack, shop.namespace.clone());
    // Nothing is to follow in Git where a person aborted, so the first message is the last.
    let is_sent_enough = shop.scene.scenario == Scenario::UserAbort;
    shop.until("Slack to be told", async || {
        let records = stack.objects(&namespace, "serin.dev/v1alpha1", "RolloutRecord").await?;
        let ledgers = records.iter().filter_map(|record| record["status"]["notify"]["ledger"].as_array());
        let states: Vec<&Value> = ledgers.flatten().map(|entry| &entry["state"]).collect();
        let is_told = !states.is_empty()
            && states.iter().all(|state| **state == "Final" || (is_sent_enough && **state == "Sent"));
        if is_told { Ok(()) } else { Err(format!("{states:?}").into()) }
    })
    .await
}

async fn rollout(stack: &Stack, namespace: &str) -> Fallible<Value> {
    stack.object(namespace, "argoproj.io/v1alpha1", "Rollout", "myapp").await
}

async fn live_weight(stack: &Stack, namespace: &str) -> Fallible<u64> {
    let live = stack.object(namespace, "networking.istio.io/v1", "VirtualService", "myapp-vsvc").await?;
    let entries = live["spec"]["http"].as_array().into_iter().flatten();
    let destinations = entries.filter_map(|entry| entry["route"].as_array()).flatten();
    let canary = destinations.filter(|entry| entry["destination"]["host"] == "myapp-canary");
    Ok(canary.filter_map(|entry| entry["weight"].as_u64()).max().unwrap_or_default())
}

/// Pods that are asked for of this image.
async fn canary_pods(stack: &Stack, namespace: &str, image: &str) -> Fallible<u64> {
    let sets = stack.objects(namespace, "apps/v1", "ReplicaSet").await?;
    let is_meant = |set: &&Value| set["spec"]["template"]["spec"]["containers"][0]["image"] == image;
    Ok(sets.iter().filter(is_meant).filter_map(|set| set["spec"]["replicas"].as_u64()).sum())
}
