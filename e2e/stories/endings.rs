//! Every ending, undisturbed, and some of its own measures.

use jiff::SignedDuration;
use serin::sim::play::{judge::leaderless, scenario::Scenario};

use crate::play::{Play, Seen};

fn ends_well(scenario: Scenario) -> Seen {
    let seen = Play::of(scenario).run();
    assert_eq!(seen.wrong, Vec::<String>::new(), "{scenario}");
    seen
}

#[test]
fn pods_that_crash_loop_are_taken_back_by_the_progress_deadline() {
    let seen = ends_well(Scenario::BadPods);
    let lost: SignedDuration = seen.case.traffic.lost.iter().map(|lost| lost.lasted).sum();
    assert!(lost <= SignedDuration::from_secs(1), "requests were lost for {lost:#}");
}

#[test]
fn a_canary_that_is_never_measured_waits_for_a_person() {
    ends_well(Scenario::NoData);
}

#[test]
fn an_outage_of_prometheus_holds_the_weight_and_nothing_else() {
    ends_well(Scenario::PrometheusDown);
}

#[test]
fn an_abort_by_a_person_is_told_as_one_and_leaves_git_alone() {
    ends_well(Scenario::UserAbort);
}

#[test]
fn an_outage_of_git_delays_the_revert_and_nothing_else() {
    ends_well(Scenario::GitDown);
}

#[test]
fn a_fix_that_is_pushed_before_the_bot_stays() {
    ends_well(Scenario::FixedFirst);
}

#[test]
fn another_hand_is_cut_when_it_raises_and_respected_when_it_lowers() {
    ends_well(Scenario::Contested);
}

#[test]
fn a_newer_version_begins_at_the_first_step() {
    ends_well(Scenario::Superseded);
}

#[test]
fn a_leader_that_dies_before_the_shed_costs_a_lease() {
    let seen = ends_well(Scenario::TakeoverByRestart);
    let (from, to) = leaderless(&seen.case).unwrap();
    let gap = to.duration_since(from);
    assert!(gap <= SignedDuration::from_secs(20), "{gap:#}");
}
