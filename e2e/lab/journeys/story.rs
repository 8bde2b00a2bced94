//! The story of the README, in its endings. Each journey plays one and hands it to the judge that `serin demo` is judged by, too.

use std::time::Duration;

use serin::{
    clock::Clock,
    sim::play::{
        judge::{judge, leaderless},
        scenario::Scenario,
    },
};

use super::{
    case,
    churn::Churn,
    judge as own, plot,
    scene::{NEW, OLD, ROLLOUT_FILE, Scene, Twist},
    served,
    shop::Shop,
};
use crate::{
    Fallible,
    apply::Applier,
    mesh::Held,
    report,
    roles::{Serin, Setup},
    stack::Stack,
};

/// Plays a story with a serin of its own, which ends well and gives its Leases back.
///
/// # Errors
/// What was found wrong.
pub(super) async fn alone(stack: &Stack, scenario: Scenario, twist: Twist) -> Fallible {
    let replicas = if scenario.has_standby() { 2 } else { 1 };
    let setup = match twist {
        // istiod holds a push back for ten seconds at the most.
        Twist::Churn => Setup { replicas, traffic_delay: Duration::from_secs(10) },
        Twist::None | Twist::NoMarks | Twist::StandIn => Setup { replicas, ..Setup::default() },
    };
    // A journey that failed may have left Leases of processes that were killed.
    stack.remove_leases().await?;
    let mut serin = Serin::start(stack, setup).await?;
    let namespace = format!("shop-{scenario}");
    play(stack, &mut serin, Scene { scenario, namespace: namespace.clone(), twist }).await?;
    serin.stop(stack).await?;
    stack.drop_namespace(&namespace).await
}

/// Plays a story in a shop of its own and judges it.
///
/// # Errors
/// What was found wrong.
pub(super) async fn play(stack: &Stack, serin: &mut Serin, scene: Scene) -> Fallible {
    let twist = scene.twist;
    let mut shop = Shop::open(stack, serin, scene).await?;
    let original = shop.repository.file(&shop.repository.tip()?, ROLLOUT_FILE)?;
    let before = own::virtual_service(&shop).await?;
    if twist == Twist::NoMarks {
        let rule = include_str!("../story/no-marks.yaml").replace("NAMESPACE", &shop.namespace);
        Applier::new(stack.admin(), "kubectl").apply(&rule, &shop.namespace).await?;
    }
    let churn = if twist == Twist::Churn { Some(Churn::start(stack).await?) } else { None };
    let held = stack.mesh.held().await?;
    let played = plot::play(&mut shop).await;
    if churn.is_some() {
        report_held(held, stack.mesh.held().await?);
    }
    drop(churn);
    shop.report_waits();
    played?;
    judged(&shop, &original).await?;
    // Nothing was left behind in the VirtualService and nothing taken away, but who set which weight.
    own::same("the VirtualService", &own::virtual_service(&shop).await?, &before)?;
    shop.no_refusal()
}

/// Prints how long the mesh's pushes were held back.
fn report_held(before: Held, after: Held) {
    let pushes = after.pushes.saturating_sub(before.pushes);
    let total = after.total.saturating_sub(before.total);
    let mean = total / u32::try_from(pushes.max(1)).unwrap_or(1);
    report::line(&format!(
        "lab:   churn: {pushes} pushes, each held back {} ms on average",
        mean.as_millis()
    ));
}

async fn judged(shop: &Shop<'_>, original: &str) -> Fallible {
    let scenario = shop.scene.scenario;
    let mut case = case::case(shop).await?;
    if shop.scene.twist == Twist::NoMarks {
        // What the server refused did not happen; how it was refused is looked at below.
        case.entries.retain(|entry| entry.asked().is_none_or(|asked| asked.status != 422));
    }
    let served = served::check(shop);
    let wrong = judge(&case, scenario);
    if !wrong.is_empty() {
        keep(shop, &case)?;
        return Err(wrong.join("\n").into());
    }
    served?;
    if let Some((from, to)) = leaderless(&case) {
        report::line(&format!(
            "lab:   {} ms from the kill to the other replica's first write",
            to.duration_since(from).as_millis()
        ));
    }
    if !matches!(scenario, Scenario::Good | Scenario::NoData | Scenario::PrometheusDown) {
        own::traffic_went_back(shop)?;
    }
    if scenario == Scenario::BadMetric {
        served::report_shed(shop, own::decided(&case)?)?;
        own::order_of_requests(shop, &case)?;
        own::evidence(shop, &case, original)?;
        let commit = case.commits.first().map(|commit| commit.id.clone());
        own::same("what the engine applied last", &shop.engine.applied().last().cloned(), &commit)?;
    }
    let settled = Clock::Wall.now() - served::SERVED;
    let stays = match scenario {
        Scenario::BadMetric
        | Scenario::BadPods
        | Scenario::GitDown
        | Scenario::TakeoverByRestart
        | Scenario::UserAbort => OLD,
        Scenario::Good | Scenario::NoData | Scenario::PrometheusDown => NEW,
        Scenario::FixedFirst | Scenario::Contested | Scenario::Superseded => super::scene::FIXED,
    };
    own::only(&shop.load.answers(settled), stays)
}

/// Keeps what the judge saw where a person can read it.
fn keep(shop: &Shop<'_>, case: &serin::sim::play::judge::Case) -> Fallible {
    let path = shop.stack.folder.join(format!("{}.timeline.json", shop.namespace));
    let timeline = serin::sim::play::timeline::print(&case.entries);
    std::fs::write(&path, format!("{timeline:#}\n"))?;
    report::line(&format!("lab:   what the judge saw is in {}", path.display()));
    Ok(())
}
