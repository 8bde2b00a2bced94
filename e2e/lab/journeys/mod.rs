//! The journeys, and the order they are played in.

use std::{fs, process::ExitCode};

use serin::clock::instant;

use crate::{Fallible, audit::Audit, namespace, report, roles::Serin, settings::Settings, stack::Stack};

mod install;
mod judge;
mod parts;
mod privilege;
mod shop;
mod story;

pub(crate) use install::create_definitions;

/// Plays every journey that was asked for, on one stack.
///
/// # Errors
/// When the stack does not come up. A journey that fails is part of the answer.
pub(crate) fn run(settings: Settings) -> Fallible<ExitCode> {
    namespace::furnish()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(play(settings))
}

/// The journeys that were asked for, and how they went.
struct Program {
    only: Vec<String>,
    results: Vec<report::Result>,
}

impl Program {
    fn wanted(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| name.contains(word.as_str()))
    }

    /// Plays a journey if it is wanted.
    async fn play(&mut self, name: &'static str, journey: impl Future<Output = Fallible>) {
        if self.wanted(name) {
            self.always(name, journey).await;
        }
    }

    /// Plays a journey if it is wanted, or others need it.
    async fn play_if(&mut self, needed: bool, name: &'static str, journey: impl Future<Output = Fallible>) {
        if needed || self.wanted(name) {
            self.always(name, journey).await;
        }
    }

    /// Plays what the others stand on.
    async fn always(&mut self, name: &'static str, journey: impl Future<Output = Fallible>) {
        let started = instant();
        let failure = journey.await.err().map(|error| error.to_string());
        let result = report::Result { name, time: started.elapsed(), failure };
        report::result(&result);
        self.results.push(result);
    }
}

async fn play(settings: Settings) -> Fallible<ExitCode> {
    let started = instant();
    let mut program = Program { only: settings.only.clone(), results: vec![] };
    let keep = settings.keep;
    let mut stack = Stack::start(settings).await?;
    report::line(&format!(
        "lab: control plane and Prometheus ready ({:.1} s)",
        started.elapsed().as_secs_f64()
    ));
    parts(&mut program, &stack).await;
    stories(&mut program, &stack).await;
    let alive = stack.alive();
    program.always("parts: nothing ended by itself", async { alive }).await;
    let well = report::close(&program.results);
    if well && !keep {
        let folder = stack.folder.clone();
        drop(stack);
        // What is left behind of a folder under the system's temporary files does no harm.
        let _ = fs::remove_dir_all(folder);
    } else {
        report::line(&format!("lab: logs are kept in {}", stack.folder.display()));
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn parts(program: &mut Program, stack: &Stack) {
    program.play("parts: a deployment goes ready, an unknown image does not", parts::deployment(stack)).await;
    program.play("parts: requests follow the VirtualService", parts::load(stack)).await;
    program.play("parts: Prometheus measures a version's errors", parts::prometheus(stack)).await;
    program.play("parts: a role refuses what it does not grant", parts::roles(stack)).await;
    program
        .play("install: the definitions are accepted without a warning", install::definitions(stack))
        .await;
    program.play("install: the Deployments are valid and restricted", install::deployments(stack)).await;
}

const GOOD: &str = "story: good";
const BAD: &str = "story: bad-metric";
const STRICT: &str = "story: bad-metric where the mark is refused";
const FOREIGN: &str = "install: serin leaves alone what it does not know";
const SPARE: &str = "roles: grant nothing that no story uses";
const WITHOUT: &str = "roles: without a right the story fails";

async fn stories(program: &mut Program, stack: &Stack) {
    // The comparison of roles and requests needs all stories.
    let all = program.wanted(SPARE);
    if all || [GOOD, BAD, STRICT, FOREIGN].iter().any(|name| program.wanted(name)) {
        with_serin(program, stack, all).await;
    }
    program.play(WITHOUT, privilege::nothing_to_spare(stack)).await;
}

async fn with_serin(program: &mut Program, stack: &Stack, all: bool) {
    let audit = Audit::from_now(&stack.control_plane.audit_log());
    let mut serin = match Serin::start(stack).await {
        Ok(serin) => serin,
        Err(error) => return program.always("story: serin comes up", async { Err(error) }).await,
    };
    program.play_if(all, FOREIGN, install::left_alone(stack)).await;
    program.play_if(all, GOOD, story::good(stack, &mut serin)).await;
    program.play_if(all, BAD, story::bad_metric(stack, &mut serin)).await;
    program.play_if(all, STRICT, story::mark_refused(stack, &mut serin)).await;
    program.play(SPARE, async { privilege::nothing_spare(stack, &audit?) }).await;
    program.always("story: serin ends and gives its Leases back", serin.stop(stack)).await;
}
