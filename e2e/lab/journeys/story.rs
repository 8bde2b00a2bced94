//! The story of the README, in its endings. Each journey plays it and hands it to the judge.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use serin::clock::Clock;

use super::{
    judge::{self, same},
    shop::{NEW, OLD, ROLLOUT_FILE, Shop},
};
use crate::{Fallible, apply::Applier, images::Behaviour, roles::Serin, stack::Stack};

/// How the shed reaches the API server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shed {
    /// At once, with the mark.
    Marked,
    /// The server refuses it with the mark, also when it is made anew from the live object.
    Unmarked,
}

/// v1.2.0 behaves: it becomes stable, step by step, and nobody touches Git.
pub(crate) async fn good(stack: &Stack, serin: &mut Serin) -> Fallible {
    let mut shop = Shop::open(stack, serin, "shop-good", Behaviour::GOOD).await?;
    let (commits, service) = (shop.repository.log()?.len(), judge::virtual_service(&shop).await?);
    shop.release()?;
    shop.healthy_on(NEW).await?;
    let settled = Clock::Wall.now();
    shop.scaled_down(OLD).await?;
    shop.linger(Duration::from_secs(2)).await;

    let weights: Vec<u64> = shop.canary_weights().into_iter().map(|(_, weight)| weight).collect();
    same("the canary's weights", &weights, &vec![0, 10, 20, 50, 100, 0])?;
    judge::only(&shop.load.answers(settled), NEW)?;
    judge::nothing_lost(&shop.load.answers(Timestamp::MIN))?;
    same("commits after the release", &(shop.repository.log()?.len() - commits), &1)?;
    same("commits of the bot", &judge::by_bot(&shop)?.len(), &0)?;
    same("SelfHeals", &shop.objects("serin.dev/v1alpha1", "SelfHeal").await?.len(), &0)?;
    same("messages", &stack.slack.about(&shop.namespace), &vec![])?;
    let runs = shop.objects("argoproj.io/v1alpha1", "AnalysisRun").await?;
    let phases: BTreeSet<&str> =
        runs.iter().filter_map(|run| run.pointer("/status/phase")?.as_str()).collect();
    same("phases of the analysis runs", &phases, &BTreeSet::from(["Successful"]))?;
    judge::kept_the_virtual_service(&shop, &service).await?;
    shop.no_refusal()
}

/// v1.2.0 fails eight of a hundred requests: traffic is back on stable before anything else happens, and Git says v1.1.0 again.
pub(crate) async fn bad_metric(stack: &Stack, serin: &mut Serin) -> Fallible {
    bad_metric_in(stack, serin, "shop-bad", Shed::Marked).await
}

/// As [`bad_metric`], where a rule of the platform forbids serin's mark: the traffic goes back all the same.
pub(crate) async fn mark_refused(stack: &Stack, serin: &mut Serin) -> Fallible {
    bad_metric_in(stack, serin, "shop-strict", Shed::Unmarked).await
}

/// Either of the two, in a namespace of the caller's choice.
pub(super) async fn bad_metric_in(stack: &Stack, serin: &mut Serin, namespace: &str, shed: Shed) -> Fallible {
    let shop = Shop::open(stack, serin, namespace, Behaviour::failing(8)).await?;
    if shed == Shed::Unmarked {
        let rule = include_str!("../story/no-marks.yaml").replace("NAMESPACE", namespace);
        Applier::new(stack.admin(), "kubectl").apply(&rule, namespace).await?;
    }
    rolled_back(shop, shed).await
}

async fn rolled_back(mut shop: Shop<'_>, shed: Shed) -> Fallible {
    let original = shop.repository.file(&shop.repository.tip()?, ROLLOUT_FILE)?;
    let service = judge::virtual_service(&shop).await?;
    let release = shop.release()?;
    let (stack, namespace) = (shop.stack, shop.namespace.clone());
    shop.until("the SelfHeal to be Synced", async || {
        let heals = stack.objects(&namespace, "serin.dev/v1alpha1", "SelfHeal").await?;
        let phase = |heal: &Value| heal.pointer("/status/phase") == Some(&"Synced".into());
        if heals.iter().any(phase) { Ok(()) } else { Err(serde_json::to_string(&heals)?.into()) }
    })
    .await?;
    shop.healthy_on(OLD).await?;
    let settled = Clock::Wall.now();
    shop.scaled_down(NEW).await?;
    // Long enough for a new canary to show itself.
    shop.linger(Duration::from_secs(4)).await;

    judge::traffic_went_back(&shop)?;
    judge::order_of_requests(&shop, shed).await?;
    judge::only(&shop.load.answers(settled), OLD)?;
    judge::nothing_lost(&shop.load.answers(Timestamp::MIN))?;
    let commit = judge::one_line_revert(&shop, &original, &release)?;
    judge::evidence(&shop, &commit).await?;
    judge::one_message(&shop, &commit).await?;
    same("what the engine applied last", &shop.engine.applied().last().cloned(), &Some(commit.id))?;
    judge::kept_the_virtual_service(&shop, &service).await?;
    shop.no_refusal()
}
