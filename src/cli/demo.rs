//! `serin demo`: the whole story on the embedded world, told as it happens, judged at the end.

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::ValueEnum;
use tokio::net::TcpListener;

use crate::sim::{
    play::{
        cast::Cast,
        judge::{Case, judge},
        narrate,
        scenario::Scenario,
        stage::{Options, Played, Stage, StageError},
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
    /// Serve the world to kubectl while the story plays and after it, until Ctrl-C. Loopback only; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:8001")]
    serve: Option<SocketAddr>,
}

/// How long a story is watched after its ending was reached.
const LINGER: Duration = Duration::from_secs(30);

/// Exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Why the demo could not be played at all.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Cast(#[from] crate::sim::play::cast::CastError),
    #[error("the repository cannot be read: {0}")]
    Git(#[from] git2::Error),
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(
        "--serve takes an address of this machine's loopback (127.0.0.1:8001), not {0}: there is no password"
    )]
    NotLoopback(SocketAddr),
    #[error("--serve {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
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
        Ok(None) => {
            let _ = writeln!(out, "\nStopped before the story was over.");
            ExitCode::from(INTERRUPTED)
        }
        Ok(Some(wrong)) if wrong.is_empty() => {
            let _ = writeln!(out, "\nThe story ended as it must.");
            ExitCode::SUCCESS
        }
        Ok(Some(wrong)) => {
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

/// What is wrong with the ending; `None` where there is none because somebody stopped it.
fn play(args: &Args) -> Result<Option<Vec<String>>, Failure> {
    if let Some(address) = args.serve.filter(|address| !address.ip().is_loopback()) {
        return Err(Failure::NotLoopback(address));
    }
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
    let ending = runtime.block_on(async {
        let told = cast.clone();
        let mut stage = Stage::open(options, |door, asides, repository| {
            narrate::start(door.clone(), asides.clone(), repository.to_owned(), told);
        })
        .await?;
        if let Some(address) = args.serve {
            serve(&stage, address, &folder).await?;
        }
        let played = tokio::select! {
            played = stage.act() => played?,
            // Without --serve Ctrl-C ends the process, as it always does.
            _ = tokio::signal::ctrl_c(), if args.serve.is_some() => {
                stage.close().await;
                return Ok(None);
            }
        };
        let ending = tell_ending(args, &cast, &played, &folder)?;
        if args.serve.is_some() {
            writeln!(std::io::stdout(), "\nThe world goes on for kubectl. Ctrl-C ends it.")?;
            let _ = tokio::signal::ctrl_c().await;
        }
        stage.close().await;
        Ok::<_, Failure>(Some(ending))
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    ending
}

/// Opens the world's door on a socket and says how to use it.
async fn serve(stage: &Stage, address: SocketAddr, folder: &Path) -> Result<(), Failure> {
    let listener = TcpListener::bind(address).await.map_err(|error| Failure::Listen(address, error))?;
    let server = format!("http://{}", listener.local_addr()?);
    let kubeconfig = folder.join("kubeconfig");
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "serin-demo",
        "clusters": [{"name": "serin-demo", "cluster": {"server": server}}],
        "users": [{"name": "serin-demo", "user": {}}],
        "contexts": [{"name": "serin-demo", "context": {"cluster": "serin-demo", "user": "serin-demo"}}],
    });
    std::fs::write(&kubeconfig, serde_json::to_vec_pretty(&config)?)?;
    tokio::spawn(stage.door().clone().serve(listener, stage.closing()));
    let shown = kubeconfig.display();
    writeln!(
        std::io::stdout(),
        "The world is at {server}:\n  kubectl --kubeconfig {shown} get rollouts -A\n"
    )?;
    Ok(())
}

/// Says how the story ended, leaves what is asked for, and judges it.
fn tell_ending(args: &Args, cast: &Cast, played: &Played, folder: &Path) -> Result<Vec<String>, Failure> {
    let mut out = std::io::stdout();
    let case = Case::of(played, cast)?;
    write!(out, "{}", narrate::epilogue(played, &case))?;
    if args.out.is_some() {
        let entries = timeline::print(&case.entries);
        std::fs::write(folder.join("timeline.json"), serde_json::to_vec_pretty(&entries)?)?;
        std::fs::write(folder.join("slack.json"), serde_json::to_vec_pretty(&played.slack.dump())?)?;
        writeln!(out, "\nLeft in {}: timeline.json, repo.git, slack.json", folder.display())?;
    }
    Ok(judge(&case, args.scenario))
}
