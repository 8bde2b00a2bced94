//! The journeys, and the order they are played in.

use std::{fs, process::ExitCode};

use serin::clock::instant;

use crate::{Fallible, namespace, report, settings::Settings, stack::Stack};

mod parts;

/// Plays every journey that was asked for, on one stack.
///
/// # Errors
/// When the stack does not come up. A journey that fails is part of the answer.
pub(crate) fn run(settings: Settings) -> Fallible<ExitCode> {
    namespace::furnish()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(play(settings))
}

async fn play(settings: Settings) -> Fallible<ExitCode> {
    let started = instant();
    let (only, keep) = (settings.only.clone(), settings.keep);
    let mut stack = Stack::start(settings).await?;
    report::line(&format!(
        "lab: control plane and Prometheus ready ({:.1} s)",
        started.elapsed().as_secs_f64()
    ));
    let mut results = vec![];
    macro_rules! journey {
        ($name:literal, $play:expr) => {
            if only.is_empty() || only.iter().any(|word| $name.contains(word.as_str())) {
                let started = instant();
                let outcome = $play.await.and_then(|()| stack.alive());
                let failure = outcome.err().map(|error| error.to_string());
                results.push(report::Result { name: $name, time: started.elapsed(), failure });
                results.last().into_iter().for_each(report::result);
            }
        };
    }
    journey!("parts: a deployment goes ready, an unknown image does not", parts::deployment(&stack));
    journey!("parts: requests follow the VirtualService", parts::load(&stack));
    journey!("parts: Prometheus measures a version's errors", parts::prometheus(&stack));
    journey!("parts: a role refuses what it does not grant", parts::roles(&stack));
    let well = report::close(&results);
    if well && !keep {
        let folder = stack.folder.clone();
        drop(stack);
        // What is left behind of a folder under the system's temporary files does no harm.
        let _ = fs::remove_dir_all(folder);
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
