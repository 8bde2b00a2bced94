//! The two main stories, undisturbed: what Git shows afterwards, and what comes first when the decisive sample is there.

use serin::sim::{
    engine,
    play::{
        scenario::Scenario,
        timeline::{Entry, Kind},
    },
};

use crate::play::{Play, Seen};

/// What Git shows, as text: `git log -p`.
#[test]
fn the_bad_story_leaves_one_line_in_git_and_the_good_one_none() {
    let bad = Play::of(Scenario::BadMetric).run();
    let [revert, release, begin] = engine::history(&bad.played.repository).unwrap().try_into().unwrap();
    let lines: Vec<_> = revert.patch.lines().filter(|line| line.starts_with(['+', '-'])).collect();
    assert_eq!(
        lines,
        [
            "--- a/shop/rollout.yaml",
            "+++ b/shop/rollout.yaml",
            "-          image: registry.example/shop/myapp:v1.2.0 # released by hand",
            "+          image: registry.example/shop/myapp:v1.1.0 # released by hand",
        ]
    );
    assert_eq!((revert.author.as_str(), revert.email.as_str()), ("SelfHeal Bot", "selfheal-bot@example.com"));
    assert_eq!(revert.message.lines().next(), Some("Auto-rollback to v1.1.0"));
    for part in ["0.08", "result < 0.05", "20 %", "OPS-42", "Serin-Rollback-Key: "] {
        assert!(revert.message.contains(part), "{part}: {}", revert.message);
    }
    assert_eq!([release.author, begin.author], ["Robin Example", "Robin Example"]);
    let good = Play::of(Scenario::Good).run();
    let authors: Vec<_> =
        engine::history(&good.played.repository).unwrap().into_iter().map(|commit| commit.author).collect();
    assert_eq!(authors, ["Robin Example", "Robin Example"]);
    assert_eq!(good.slack.messages(), vec![]);
}

/// Not the first write only: nothing at all is asked of the API server between the sample and the shed.
#[test]
fn the_shed_is_the_first_request_after_the_sample_that_decides_and_waits_for_nothing() {
    let seen = Play::of(Scenario::BadMetric).run();
    let is_bad = |entry: &Entry| matches!(entry.kind, Kind::Answer { is_good: false, value: Some(_), .. });
    let sample = seen.case.entries.iter().rposition(is_bad).unwrap();
    let next = first_of_controller(&seen, sample);
    assert_eq!(
        (next.what().as_str(), next.canary_weight),
        ("controller patch virtualservices myapp-vsvc", Some(0))
    );
    assert_eq!(next.at, seen.case.entries[sample].at, "not a millisecond of the world later");
}

fn first_of_controller(seen: &Seen, after: usize) -> &Entry {
    let is_asked = |entry: &&Entry| {
        entry.asked().is_some_and(|asked| asked.actor == "controller" && asked.verb != "watch")
    };
    seen.case.entries.iter().skip(after).find(is_asked).unwrap()
}
