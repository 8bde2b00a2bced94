//! `serin demo`: the whole story on the embedded world, told as it happens, judged at the end.

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use crate::sim::play::{
    cast::{Cast, Scenario},
    judge, narrate,
    stage::{self, Options},
    timeline,
};

/// Plays a rollout from end to end on a cluster that lives in this process. Nothing outside is touched.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Which story to play.
    #[arg(long, value_enum, default_value_t = Scenario::BadMetric)]
    scenario: Scenario,
    /// Play the manifests of this folder (one Rollout, its VirtualService, its AnalysisTemplates) instead of the
    /// built-in ones.
    #[arg(short = 'f', long = "filename", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// How many times faster than the clock the world runs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    speed: u32,
    /// Leave timeline.json, repo.git and slack.json in this folder, which is made and has to be empty.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Why the demo could not be played at all.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Cast(#[from] crate::sim::play::cast::CastError),
    #[error(transparent)]
    Stage(#[from] stage::StageError),
    #[error("{0} is not empty; name another folder for --out")]
    NotEmpty(PathBuf),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Exit status 0: the story ended as it must. 1: it did not. 2: it could not be played.
pub fn run(args: &Args) -> ExitCode {
    let mut out = std::io::stdout();
    match play(args) {
        Ok(wrong) if wrong.is_empty() => {
            let _ = writeln!(out, "\nThe story ended as it must.");
            ExitCode::SUCCESS
        }
        Ok(wrong) => {
            let _ = writeln!(out, "\nThe story went wrong:");
            for line in wrong {
                let _ = writeln!(out, "  - {line}");
            }
            ExitCode::FAILURE
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "serin demo: {failure}");
            ExitCode::from(2)
        }
    }
}

fn play(args: &Args) -> Result<Vec<String>, Failure> {
    let cast = match &args.folder {
        Some(folder) => Cast::read(folder)?,
        None => Cast::built_in()?,
    };
    let temporary = tempfile::tempdir()?;
    let folder = match &args.out {
        Some(out) => {
            std::fs::create_dir_all(out)?;
            if std::fs::read_dir(out)?.next().is_some() {
                return Err(Failure::NotEmpty(out.clone()));
            }
            std::fs::canonicalize(out)?
        }
        None => temporary.path().to_owned(),
    };
    let options = Options {
        scenario: args.scenario,
        cast: cast.clone(),
        speed: args.speed,
        program: std::env::current_exe()?,
        folder: folder.clone(),
        clones: temporary.path().join("clones"),
        interceptor: None,
        data_plane_delay: Duration::from_secs(10),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut out = std::io::stdout();
    let told = narrate::prologue(&cast, args.scenario, args.speed);
    write!(out, "{told}")?;
    let played = runtime.block_on(async {
        stage::play(options, |door, answers, repository| {
            narrate::start(door.clone(), answers.clone(), repository.to_owned(), cast.clone());
        })
        .await
    })?;
    write!(out, "{}", narrate::epilogue(&played))?;
    if args.out.is_some() {
        let answers = played.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let entries =
            played.door.with(|world| timeline::timeline(world.log(), &answers, &cast.services.canary));
        std::fs::write(folder.join("timeline.json"), serde_json::to_vec_pretty(&timeline::print(&entries))?)?;
        std::fs::write(folder.join("slack.json"), serde_json::to_vec_pretty(&played.slack)?)?;
        writeln!(out, "\nLeft in {}: timeline.json, repo.git, slack.json", folder.display())?;
    }
    let wrong = runtime.block_on(async { judge::judge(&played, &cast, args.scenario) });
    runtime.shutdown_timeout(Duration::from_secs(5));
    Ok(wrong)
}
