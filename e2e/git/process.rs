//! `serin gitops` as a process of its own, on the embedded world's API server over a real socket, by the machine's
//! clock: how it ends, and what it leaves behind.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use serin::{
    clock::{Clock, instant, outside},
    sim::{door::Door, world::World},
};
use tokio_util::sync::CancellationToken;

use super::{
    https::{Authority, Manner, Server},
    secure::{Street, TOKEN},
    shop::{FILE, Shop, manifest, remote},
    start,
};

/// An API server on a socket.
pub(crate) struct Served {
    pub(crate) kubeconfig: PathBuf,
    folder: tempfile::TempDir,
    stop: CancellationToken,
}

impl Served {
    pub(crate) async fn serve(door: &Door) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: \
             \"http://{address}\"}}}}]\nusers: [{{name: u, user: {{}}}}]\ncontexts: [{{name: c, context: \
             {{cluster: c, user: u}}}}]\n"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(door.clone().serve(listener, stop.clone()));
        Self { kubeconfig, folder, stop }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// `serin gitops` that runs. Killed with this.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn start(served: &Served, clones: &Path, more: impl FnOnce(&mut Command)) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(served.log()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command
            .args(["gitops", "--metricsPort=0", "--healthzPort=0", "--max-age=1000000h", "--poll=200ms"])
            .args(["--transfer-timeout=30s", "--loglevel=trace", "--kubeconfig"])
            .arg(&served.kubeconfig)
            .arg("--clones")
            .arg(clones)
            .env("POD_NAMESPACE", "default")
            .stdout(Stdio::null())
            .stderr(log);
        more(&mut command);
        Self { child: command.spawn().unwrap() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit status, within `limit`; `None`: it runs on.
    fn ends(&mut self, limit: Duration) -> Option<i32> {
        let begun = instant();
        while begun.elapsed() < limit {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status.code().unwrap_or(-1));
            }
            std::thread::yield_now();
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes that `parent` started and that run.
pub(crate) fn children(parent: u32) -> BTreeSet<u32> {
    let of = |entry: std::fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // After the name, which is in parentheses and may hold anything: state and parent.
        let mut rest = stat.rsplit(')').next()?.split_whitespace();
        let (state, its_parent) = (rest.next()?, rest.next()?.parse::<u32>().ok()?);
        (its_parent == parent && state != "Z").then_some(pid)
    };
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| of(entry.unwrap())).collect()
}

fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// Waits, in real time, until there is something.
pub(crate) async fn until<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let found = outside(Duration::from_secs(60), async {
        loop {
            if let Some(found) = there() {
                return found;
            }
            Clock::Wall.sleep(Duration::from_millis(5)).await;
        }
    });
    found.await.unwrap_or_else(|| panic!("never {what}"))
}

pub(crate) async fn stands(shop: &Shop, phase: &str) {
    until(phase, || (shop.status()["phase"] == phase).then_some(())).await;
}

/// A street on the machine's clock.
pub(crate) fn street() -> Street {
    let (remote, authority) = (remote(), Authority::new());
    let server = Server::serve(&remote, &authority, TOKEN);
    let shop = Shop::on(Door::new(World::new(start()), Clock::Wall));
    Street::of(remote, authority, server, shop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_to_stop_in_the_middle_of_a_transfer_it_ends_at_once_and_leaves_nothing() {
    let mut street = street();
    street.server.becomes(Manner::Hang);
    let served = Served::serve(&street.shop.door).await;
    let mut process = Process::start(&served, &street.shop.clones(), |_| ());
    let transfer = until("a transfer", || children(process.pid()).pop_first()).await;
    assert_eq!(street.shop.homes(), 1);
    let begun = instant();
    process.signal(Signal::TERM);
    let status = tokio::task::block_in_place(|| process.ends(Duration::from_secs(10)));
    println!("ended {} ms after SIGTERM", begun.elapsed().as_millis());
    assert_eq!(status, Some(0), "{}", std::fs::read_to_string(served.log()).unwrap());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    until("the end of the transfer", || (!runs(transfer)).then_some(())).await;
    assert_eq!(street.shop.homes(), 0, "the transfer's home is left");
    let lease = street.shop.get("coordination.k8s.io/v1", "leases", "serin-gitops");
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    assert_eq!(holder, "", "the Lease is given back");
    // The next one goes on where this one stopped.
    street.server.becomes(Manner::Serve);
    let _next = Process::start(&served, &street.shop.clones(), |_| ());
    stands(&street.shop, "Pushed").await;
    assert_eq!(Shop::reverts(&street.remote).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_a_transfer_it_is_followed_by_one_that_goes_on() {
    let mut street = street();
    street.server.becomes(Manner::Trickle(150));
    let served = Served::serve(&street.shop.door).await;
    let mut process = Process::start(&served, &street.shop.clones(), |_| ());
    let transfer = until("a transfer", || children(process.pid()).pop_first()).await;
    process.signal(Signal::KILL);
    tokio::task::block_in_place(|| process.ends(Duration::from_secs(10)));
    until("the end of the orphan", || (!runs(transfer)).then_some(())).await;
    assert_eq!(street.shop.homes(), 1, "what a crash leaves, the next start removes");
    street.server.becomes(Manner::Serve);
    let args = |command: &mut Command| {
        // The Lease of the dead one is not waited for.
        command.arg("--leader-elect=false");
    };
    let _next = Process::start(&served, &street.shop.clones(), args);
    stands(&street.shop, "Pushed").await;
    until("a tidy folder", || (street.shop.homes() == 0).then_some(())).await;
    assert_eq!(Shop::reverts(&street.remote).len(), 1);
    assert_eq!(street.remote.file(FILE), manifest("v1.1.0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_is_killed_is_made_again_and_leaves_no_zombie() {
    let mut street = street();
    street.server.becomes(Manner::Trickle(150));
    let served = Served::serve(&street.shop.door).await;
    let process = Process::start(&served, &street.shop.clones(), |_| ());
    for _ in 0..2 {
        let transfer = until("a transfer", || children(process.pid()).pop_first()).await;
        kill_process(Pid::from_raw(i32::try_from(transfer).unwrap()).unwrap(), Signal::KILL).unwrap();
        let collected = || (!Path::new(&format!("/proc/{transfer}")).exists()).then_some(());
        until("collected", collected).await;
    }
    street.server.becomes(Manner::Serve);
    stands(&street.shop, "Pushed").await;
    assert_eq!(Shop::reverts(&street.remote).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_one_of_its_own_a_policy_trusts_the_authorities_of_the_process() {
    let street = street();
    street.shop.policy(&json!({"git": {"caSecretRef": null}}));
    let served = Served::serve(&street.shop.door).await;
    let bundle = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bundle.path(), street.authority.pem()).unwrap();
    let _process = Process::start(&served, &street.shop.clones(), |command| {
        command.env("SSL_CERT_FILE", bundle.path());
    });
    stands(&street.shop, "Pushed").await;
}
