//! The lanes: which journeys share a stack, and how lanes are played side by side.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader},
    process::ExitCode,
    sync::Mutex,
};

use serin::clock::instant;

use crate::{
    Fallible,
    images::lock,
    journeys::{self, Lane},
    namespace,
    report::{self, Served},
    server,
    settings::Settings,
};

/// What came of all lanes.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    /// Over all stories.
    served: Served,
}

/// Plays every lane that holds a wanted journey, the longest first. True when all went well; a run without a journey did not.
///
/// # Errors
/// When the programs cannot be built, or this machine makes no namespaces.
pub(crate) fn run(settings: &Settings) -> Fallible<bool> {
    let programs = server::programs(&settings.root, &["--istiod"])?;
    let way = namespace::way()?;
    let began = instant();
    let wanted = journeys::LANES.iter().filter(|lane| lane.is_wanted(&settings.only));
    let waiting: Mutex<VecDeque<&Lane>> = Mutex::new(wanted.collect());
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..settings.lanes {
            scope.spawn(|| {
                // Taken out before it is played, so that the others need not wait.
                while let Some(lane) = { lock(&waiting).pop_front() } {
                    let began = instant();
                    let outcome = namespace::again(way, lane.name, &programs, &settings.only)
                        .and_then(|command| play(command, &tally));
                    if let Err(error) = outcome {
                        lock(&tally).failed += 1;
                        report::line(&format!("lab: lane {} ... FAILED: {error}", lane.name));
                    }
                    report::line(&format!("lab: lane {}: {:.0} s", lane.name, began.elapsed().as_secs_f64()));
                }
            });
        }
    });
    let Tally { passed, failed, served } = &*lock(&tally);
    report::line(&format!("lab: all lanes: {:.0} s", began.elapsed().as_secs_f64()));
    report::line(&format!(
        "lab: served in all stories: {} requests, {} of them lost by routing, {} to pods that had crashed",
        served.requests, served.by_routing, served.by_crashes
    ));
    report::line(&format!("lab: {passed} passed, {failed} failed"));
    Ok(*failed == 0 && *passed > 0)
}

/// The exit code of an outcome.
pub(crate) fn code(is_well: bool) -> ExitCode {
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays one lane; prints what belongs together in one piece.
fn play(mut command: std::process::Command, tally: &Mutex<Tally>) -> Fallible {
    let mut child = command.spawn().map_err(|error| format!("setpriv: {error}"))?;
    let mut piece = String::new();
    let mut failed = 0;
    for line in BufReader::new(child.stdout.take().ok_or("no pipe")?).lines() {
        let line = line?;
        let Some(mark) = line.strip_prefix(report::MARK) else {
            piece.push_str(&line);
            piece.push('\n');
            continue;
        };
        let mut tally = lock(tally);
        if let Some(more) = mark.strip_prefix(report::SERVED).and_then(Served::read) {
            tally.served.requests += more.requests;
            tally.served.by_routing += more.by_routing;
            tally.served.by_crashes += more.by_crashes;
            continue;
        }
        // Under the lock: no other lane prints in between.
        report::line(piece.trim_end());
        piece.clear();
        match mark {
            report::PASSED => tally.passed += 1,
            report::FAILED => {
                failed += 1;
                tally.failed += 1;
            }
            _ => {}
        }
    }
    let status = child.wait()?;
    if !piece.is_empty() {
        report::line(piece.trim_end());
    }
    // A journey that failed is counted and makes the lane fail; anything else has to be told.
    if status.success() || failed > 0 { Ok(()) } else { Err(format!("it ended with {status}").into()) }
}
