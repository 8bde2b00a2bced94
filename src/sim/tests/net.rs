//! The net within reach of every test run: some schedules drawn from seeds, and those that once broke a law.
//! `cargo test --test net` plays more.

use std::fs;

use crate::sim::net::{Script, draw, play};

/// Schedules of one test; a debug build plays about four a second.
const EACH: u64 = 30;

fn laws_hold_from(first: u64) {
    for seed in first..first + EACH {
        let played = play(&draw(seed), None);
        let broken: Vec<String> = played.violations.iter().map(ToString::to_string).collect();
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}\n{}", draw(seed));
    }
}

#[test]
fn laws_hold_in_drawn_schedules_of_the_first_thirty() {
    laws_hold_from(0);
}

#[test]
fn laws_hold_in_drawn_schedules_of_the_second_thirty() {
    laws_hold_from(EACH);
}

#[test]
fn laws_hold_in_drawn_schedules_of_the_third_thirty() {
    laws_hold_from(2 * EACH);
}

#[test]
fn laws_hold_in_drawn_schedules_of_the_fourth_thirty() {
    laws_hold_from(3 * EACH);
}

#[test]
fn laws_hold_in_schedules_that_once_broke_one() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sim/tests/scenarios");
    let mut count = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let script: Script = fs::read_to_string(&path).unwrap().parse().unwrap();
        let played = play(&script, None);
        assert_eq!(played.violations, vec![], "{}\n{}", path.display(), played.story.join("\n"));
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn a_schedule_reads_what_it_prints() {
    for seed in 0..500 {
        let script = draw(seed);
        assert_eq!(script.to_string().parse::<Script>(), Ok(script));
    }
}

#[test]
fn the_same_schedule_is_played_the_same_way() {
    let (one, other) = (play(&draw(3), None), play(&draw(3), None));
    assert_eq!((one.lasted, one.cover.triples), (other.lasted, other.cover.triples));
}
