//! `serin demo`: the whole story on the embedded world, told as it happens, judged at the end.

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::ValueEnum;

use crate::sim::{
    play::{
        cast::Cast,
        judge::{Case, judge},
        narrate,
        scenario::Scenario,
        stage::{self, Options},
        timeline,
    },
    slack::SlackReceiver,
};

/// Plays a rollout from end to end on a cluster that lives in this process. Nothing outside is touched.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Which story to play; `--list` tells what they are.
    #[arg(long, value_enum, default_value_t = Scenario::BadMetric, hide_possible_values = true)]
    scenario: Scenario,
    /// List the stories, one line each, and play none.
    #[arg(long)]
    list: bool,
    /// Play the manifests of this folder (one Rollout, its VirtualService, its AnalysisTemplates) instead of the
    /// built-in ones.
    #[arg(short = 'f', long = "filename", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// How many times faster than the clock the world runs. Default: 10 to 60, so that a story takes half a minute or
    /// so.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    speed: Option<u32>,
    /// Leave timeline.json, repo.git and slack.json in this folder, which is made and has to be empty.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// How long a story is watched after its ending was reached.
const LINGER: Duration = Duration::from_secs(30);

/// Why the demo could not be played at all.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Cast(#[from] crate::sim::play::cast::CastError),
    #[error("the repository cannot be read: {0}")]
    Git(#[from] git2::Error),
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
    if args.list {
        let _ = out.write_all(list().as_bytes());
        return ExitCode::SUCCESS;
    }
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

/// Names with one line each.
fn list() -> String {
    let shown = Scenario::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    shown
        .map(|value| {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            format!("{:<20}  {help}\n", value.get_name())
        })
        .collect()
}

fn play(args: &Args) -> Result<Vec<String>, Failure> {
    let (scenario, speed) = (args.scenario, args.speed.unwrap_or(args.scenario.default_speed()));
    let cast = match &args.folder {
        Some(folder) => Cast::read(folder, scenario)?,
        None => Cast::built_in(scenario)?,
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
        scenario,
        cast: cast.clone(),
        speed,
        program: std::env::current_exe()?,
        folder: folder.clone(),
        clones: temporary.path().join("clones"),
        interceptor: None,
        data_plane_delay: Duration::from_secs(10),
        slack: Arc::new(SlackReceiver::start()?),
        linger: LINGER,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut out = std::io::stdout();
    write!(out, "{}", narrate::prologue(&cast, scenario, speed))?;
    let played = runtime.block_on(async {
        stage::play(options, |door, asides, repository| {
            narrate::start(door.clone(), asides.clone(), repository.to_owned(), cast.clone());
        })
        .await
    })?;
    runtime.shutdown_timeout(Duration::from_secs(5));
    let case = Case::of(&played, &cast)?;
    write!(out, "{}", narrate::epilogue(&played, &case))?;
    if args.out.is_some() {
        let entries = timeline::print(&case.entries);
        std::fs::write(folder.join("timeline.json"), serde_json::to_vec_pretty(&entries)?)?;
        std::fs::write(folder.join("slack.json"), serde_json::to_vec_pretty(&played.slack.dump())?)?;
        writeln!(out, "\nLeft in {}: timeline.json, repo.git, slack.json", folder.display())?;
    }
    Ok(judge(&case, scenario))
}
