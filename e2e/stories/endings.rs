//! Every ending, undisturbed, and what the judge says where the same case shows another one.

use jiff::SignedDuration;
use serin::sim::play::{
    judge::{Case, Commit, Lost, judge, leaderless},
    scenario::Scenario,
    timeline::Kind,
};

use crate::play::{Play, Seen};

fn ends_well(scenario: Scenario) -> Seen {
    let seen = Play::of(scenario).run();
    assert_eq!(seen.wrong, Vec::<String>::new(), "{scenario}");
    seen
}

/// The judge finds fault with the case once it is changed, and names it.
fn notices(seen: &Seen, scenario: Scenario, fault: &str, change: impl FnOnce(&mut Case)) {
    let mut case = seen.case.clone();
    change(&mut case);
    let wrong = judge(&case, scenario);
    assert!(wrong.iter().any(|line| line.contains(fault)), "{fault}: {wrong:#?}");
}

fn bot_commits(case: &mut Case) {
    let made = Commit { author: case.names.bot.clone(), ..case.commits[0].clone() };
    case.commits.insert(0, made);
}

/// Takes a condition out of everything that the controller wrote.
fn forget(case: &mut Case, condition: &str) {
    for entry in &mut case.entries {
        if let Kind::Request(asked) = &mut entry.kind
            && let Some(all) =
                asked.body.pointer_mut("/status/conditions").and_then(|conditions| conditions.as_array_mut())
        {
            all.retain(|one| one["type"] != condition);
        }
    }
}

#[test]
fn pods_that_crash_loop_are_taken_back_by_the_progress_deadline() {
    let seen = ends_well(Scenario::BadPods);
    let lost: SignedDuration = seen.case.traffic.lost.iter().map(|lost| lost.lasted).sum();
    assert!(lost <= SignedDuration::from_secs(1), "requests were lost for {lost:#}");
    notices(&seen, Scenario::BadPods, "not ProgressDeadline", |case| {
        for heal in case.objects.iter_mut().filter(|object| object["kind"] == "SelfHeal") {
            heal["spec"]["cause"] = "MetricFailed".into();
        }
    });
    notices(&seen, Scenario::BadPods, "nobody can serve", |case| {
        case.traffic.lost[0].lasted = SignedDuration::from_secs(60);
    });
}

#[test]
fn a_canary_that_is_never_measured_waits_for_a_person() {
    let seen = ends_well(Scenario::NoData);
    notices(&seen, Scenario::NoData, "nobody promoted", |case| {
        case.entries.retain(|entry| entry.asked().is_none_or(|asked| asked.actor != "person"));
    });
    notices(&seen, Scenario::NoData, "Slack does not say what is missing", |case| {
        case.messages[0].text = case.messages[0].text.replace("no data", "");
    });
}

#[test]
fn an_outage_of_prometheus_holds_the_weight_and_nothing_else() {
    let seen = ends_well(Scenario::PrometheusDown);
    notices(&seen, Scenario::PrometheusDown, "never said MetricsUnavailable", |case| {
        forget(case, "MetricsUnavailable");
    });
    notices(&seen, Scenario::PrometheusDown, "never away", |case| {
        case.entries.retain(|entry| !matches!(entry.kind, Kind::Answer { .. }));
    });
}

#[test]
fn an_abort_by_a_person_is_told_as_one_and_leaves_git_alone() {
    let seen = ends_well(Scenario::UserAbort);
    notices(&seen, Scenario::UserAbort, "the bot committed", bot_commits);
    notices(&seen, Scenario::UserAbort, "Slack says", |case| {
        case.messages[0].text = case.messages[0].text.replace("Aborted by a person", "Rolled back");
    });
}

#[test]
fn an_outage_of_git_delays_the_revert_and_nothing_else() {
    let seen = ends_well(Scenario::GitDown);
    notices(&seen, Scenario::GitDown, "never said that Git still asks", |case| {
        case.messages[0].earlier.clear();
    });
    notices(&seen, Scenario::GitDown, "Git was not away", |case| {
        case.commits[0].at -= SignedDuration::from_mins(20);
    });
}

#[test]
fn a_fix_that_is_pushed_before_the_bot_stays() {
    let seen = ends_well(Scenario::FixedFirst);
    notices(&seen, Scenario::FixedFirst, "the bot committed", bot_commits);
}

#[test]
fn another_hand_is_cut_when_it_raises_and_respected_when_it_lowers() {
    let seen = ends_well(Scenario::Contested);
    notices(&seen, Scenario::Contested, "never said TrafficContested", |case| {
        forget(case, "TrafficContested");
    });
    notices(&seen, Scenario::Contested, "was not put back", |case| {
        let raise = case.entries.iter().position(|entry| {
            entry.canary_weight == Some(20) && entry.asked().is_some_and(|asked| asked.actor == "mesh-tool")
        });
        let raised = raise.unwrap();
        let cut = case.entries[raised..].iter().position(|entry| entry.canary_weight == Some(0)).unwrap();
        for entry in &mut case.entries[raised + cut..] {
            entry.at += SignedDuration::from_mins(1);
        }
    });
}

#[test]
fn a_newer_version_begins_at_the_first_step() {
    let seen = ends_well(Scenario::Superseded);
    notices(&seen, Scenario::Superseded, "nobody can serve", |case| {
        let (from, lasted) = (case.entries[0].at, SignedDuration::from_millis(1));
        case.traffic.lost.push(Lost { from, lasted, share: 0.1, destination: "myapp-canary".to_owned() });
    });
    notices(&seen, Scenario::Superseded, "the canary's weight went", |case| {
        for entry in case.entries.iter_mut().rev().filter(|entry| entry.canary_weight == Some(10)) {
            entry.canary_weight = Some(20);
        }
    });
}

#[test]
fn a_leader_that_dies_before_the_shed_costs_a_lease() {
    let seen = ends_well(Scenario::TakeoverByRestart);
    let (from, to) = leaderless(&seen.case).unwrap();
    let gap = to.duration_since(from);
    assert!(gap <= SignedDuration::from_secs(20), "{gap:#}");
    notices(&seen, Scenario::TakeoverByRestart, "no leader died", |case| {
        case.entries.retain(|entry| entry.asked().is_none_or(|asked| asked.status != 0));
    });
}
