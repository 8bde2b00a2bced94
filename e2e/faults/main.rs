//! What serin does while the API server is bad: the real binary behind a proxy of ours, on a real kube-apiserver and etcd.
//!
//!     cargo test --test faults                every fault, and the table
//!     cargo test --test faults -- WORD..      those whose name holds one of the words
//!
//!     cargo test --test faults -- bench       how long a shed takes (see `e2e/bench/shed`)
//!
//! In each fault a canary has 20 % of the traffic when the API server turns bad, and then its metric does. Judged is when the request that
//! takes the traffic away arrives, and what else is sent. Faults are played side by side, each in a namespace of its own with replicas
//! and proxies of its own.
#![recursion_limit = "512"]
#![expect(clippy::print_stdout, reason = "the report is its output")]

#[path = "../server/mod.rs"]
mod api_server;
#[path = "../bench/shed.rs"]
mod bench;
mod cases;
mod judge;
mod metrics;
#[expect(dead_code, reason = "the lab uses the rest of it")]
#[path = "../lab/process.rs"]
mod process;
mod proxy;
mod rate;
mod replica;
mod server;
mod shop;
mod stage;
#[path = "../lab/wait.rs"]
mod wait;

use std::{path::Path, process::ExitCode};

use metrics::Metrics;
use serin::clock::instant;
use server::Server;
use stage::Ground;

/// What the steps answer. The error is for a person to read.
type Fallible<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One line of the table.
struct Row {
    fault: &'static str,
    /// What serin does.
    does: &'static str,
    /// What was measured, or why it is not what it should be.
    measured: Result<String, String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refused(&error),
    };
    match runtime.block_on(run(&words)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => refused(&*error),
    }
}

fn refused(error: &dyn std::error::Error) -> ExitCode {
    println!("faults: {error}");
    ExitCode::FAILURE
}

/// True when all is well.
async fn run(words: &[String]) -> Fallible<bool> {
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::Builder::new().prefix("serin-faults-").tempdir()?.keep();
    if words.first().is_some_and(|word| word == "bench") {
        let count = |place: usize, usual: usize| words.get(place).map_or(Ok(usual), |word| word.parse());
        for line in bench::run(root, &folder, count(1, 30)?, count(2, 100)?).await? {
            println!("{line}");
        }
        return Ok(true);
    }
    let played = play(root, &folder, &wanted);
    let rows = if words.is_empty() {
        // That it works, not how fast.
        let small = folder.join("bench");
        std::fs::create_dir(&small)?;
        let (rows, lines) = tokio::try_join!(played, bench::run(root, &small, 2, 5))?;
        lines.iter().for_each(|line| println!("{line}"));
        rows
    } else {
        played.await?
    };
    print(&rows);
    let failed = rows.iter().filter(|row| row.measured.is_err()).count();
    println!("faults: {} passed, {failed} failed", rows.len() - failed);
    let well = failed == 0 && !rows.is_empty();
    if well {
        // What is left behind of a folder under the system's temporary files does no harm.
        drop(std::fs::remove_dir_all(&folder));
    } else {
        println!("faults: logs are kept in {}", folder.display());
    }
    Ok(well)
}

async fn play(root: &Path, folder: &Path, wanted: &impl Fn(&str) -> bool) -> Fallible<Vec<Row>> {
    let started = instant();
    let (server, metrics) = tokio::try_join!(Server::start(root, folder), Metrics::start())?;
    let mut ground = Ground { folder: folder.to_owned(), server, metrics };
    println!("faults: the API server is up after {:.1} s", started.elapsed().as_secs_f64());
    let rows = cases::play(&ground, wanted).await;
    ground.server.alive()?;
    println!("faults: played in {:.1} s", started.elapsed().as_secs_f64());
    Ok(rows)
}

fn print(rows: &[Row]) {
    println!("faults: | the API server | what serin does | measured |");
    println!("faults: |---|---|---|");
    for Row { fault, does, measured } in rows {
        let measured = match measured {
            Ok(measured) => measured.clone(),
            Err(why) => format!("FAILED: {why}"),
        };
        println!("faults: | {fault} | {does} | {measured} |");
    }
}
