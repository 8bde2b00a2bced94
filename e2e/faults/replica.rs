//! serin itself: the real binary, started again by a kubelet's rule when it ends.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serin::clock::Clock;
use tokio::task::JoinSet;

use crate::{Fallible, process::Process, server::free_ports, wait};

/// A container that has ended is started again about so much later.
const RESTART: Duration = Duration::from_secs(1);

/// One replica of `serin controller`. Ends with this value.
pub(crate) struct Replica {
    ended: Arc<Mutex<Vec<Timestamp>>>,
    _tasks: JoinSet<()>,
}

impl Replica {
    /// Starts it as `name`, on the API server that `kubeconfig` names, with `flags` besides.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) async fn start(
        folder: &Path,
        name: &str,
        kubeconfig: PathBuf,
        flags: &[&str],
    ) -> Fallible<Self> {
        let [metrics, health] = free_ports()?;
        let mut arguments = vec![
            "controller".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            "--traffic-delay=1s".to_owned(),
            format!("--metricsPort={metrics}"),
            format!("--healthzPort={health}"),
        ];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let (folder, name) = (folder.to_owned(), name.to_owned());
        let start = move || {
            let variables = [
                ("POD_NAMESPACE", "serin-system".to_owned()),
                ("HOSTNAME", name.clone()),
                ("RUST_LOG", "serin=debug,info".to_owned()),
            ];
            Process::start_with(
                &folder,
                &name,
                Path::new(env!("CARGO_BIN_EXE_serin")),
                &arguments,
                &variables,
            )
        };
        let mut process = start()?;
        let ended = Arc::<Mutex<Vec<Timestamp>>>::default();
        let seen = Arc::clone(&ended);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                while process.alive().is_ok() {
                    wait::pause(Duration::from_millis(20)).await;
                }
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(Clock::Wall.now());
                wait::pause(RESTART).await;
                match start() {
                    Ok(again) => process = again,
                    Err(_) => return,
                }
            }
        });
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let probe = format!("http://127.0.0.1:{health}/healthz");
        wait::until("serin to be up", Duration::from_secs(20), async || {
            Ok(client.get(&probe).send().await?.error_for_status().map(drop)?)
        })
        .await?;
        Ok(Self { ended, _tasks: tasks })
    }

    /// When it ended by itself, each time.
    pub(crate) fn ended(&self) -> Vec<Timestamp> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
