//! Searches everything that the lane shows or leaves for the credentials it was given: its log at the most talkative
//! level, the arguments and the environment of it and of its transfers while they run, every file in its folder, the
//! objects in the API server, the commits.

use std::{
    collections::BTreeSet,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use serde_json::json;
use serin::{
    clock::Clock,
    sim::{door::Door, world::World},
};

use super::{
    https::{Manner, USER},
    process::{Process, Served, children, stands, street},
    secure::TOKEN,
    shop::{Shop, remote},
    ssh::{Key, Server},
    start,
};

/// A secret in every form that it may be printed in.
struct Needles(Vec<Vec<u8>>);

impl Needles {
    fn of(secret: &str) -> Self {
        let encoded: String = secret
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect();
        let json = serde_json::to_string(secret).unwrap();
        let mut forms = vec![
            secret.to_owned(),
            encoded.to_lowercase(),
            encoded,
            json.trim_matches('"').to_owned(),
            secret.bytes().map(|b| format!("{b:02x}")).collect(),
            format!("{:?}", secret.as_bytes()).trim_matches(['[', ']']).to_owned(),
        ];
        // In base64 a text looks different by where in the whole it begins.
        for before in ["", "x", "xx"] {
            for encode in
                [STANDARD.encode(format!("{before}{secret}")), URL_SAFE.encode(format!("{before}{secret}"))]
            {
                // The first and the last letters depend on what stands beside it.
                forms.push(encode.get(4..encode.len() - 4).unwrap().to_owned());
            }
        }
        forms.push(STANDARD.encode(format!("{USER}:{secret}")));
        Self(forms.into_iter().filter(|form| form.len() >= 8).map(String::into_bytes).collect())
    }

    fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    fn are_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle))
    }
}

/// Where something was found, by kind of place.
#[derive(Default)]
struct Finds {
    places: BTreeSet<&'static str>,
    /// Transfers whose arguments and environment were read.
    transfers: BTreeSet<u32>,
}

impl Finds {
    fn look(&mut self, place: &'static str, needles: &Needles, bytes: &[u8]) {
        if needles.are_in(bytes) {
            self.places.insert(place);
        }
    }

    fn files(&mut self, place: &'static str, needles: &Needles, folder: &Path) {
        // Files come and go while the lane works.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            self.look(place, needles, path.as_os_str().as_bytes());
            if path.is_dir() {
                self.files(place, needles, &path);
            } else {
                self.look(place, needles, &std::fs::read(&path).unwrap_or_default());
            }
        }
    }

    /// Looks at the lane and its transfers until it is told to stop.
    fn watch(&mut self, needles: &Needles, lane: u32, folder: &Path, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            for pid in children(lane).into_iter().chain([lane]) {
                let read = |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
                let (cmdline, environ) = (read("cmdline"), read("environ"));
                self.look("cmdline", needles, &cmdline);
                self.look("environ", needles, &environ);
                if pid != lane && cmdline.windows(12).any(|w| w == b"git-transfer") {
                    self.transfers.insert(pid);
                }
            }
            self.files("files", needles, folder);
            std::thread::yield_now();
        }
    }

    /// Looks at what is left when the story is over.
    fn aftermath(&mut self, needles: &Needles, shop: &Shop, log: &Path, repository: &Path) {
        let log = std::fs::read(log).unwrap();
        let text = String::from_utf8_lossy(&log);
        // At `trace` the libraries log at `debug`, and no further: kube would log bodies.
        assert!(
            text.contains("DEBUG") && text.contains("kube_client"),
            "the log is not at its most talkative"
        );
        self.look("log", needles, &log);
        for (version, plural) in [
            ("serin.dev/v1alpha1", "selfheals"),
            ("serin.dev/v1alpha1", "selfhealpolicies"),
            ("argoproj.io/v1alpha1", "rollouts"),
            ("coordination.k8s.io/v1", "leases"),
            ("v1", "events"),
        ] {
            self.look("objects", needles, shop.list(version, plural).to_string().as_bytes());
        }
        let history = Command::new("git")
            .arg("-C")
            .arg(repository)
            .args(["log", "-p", "--all", "--format=raw"])
            .output()
            .unwrap();
        assert!(history.status.success());
        self.look("commits", needles, &history.stdout);
    }
}

/// Plays the lane and searches: `more` changes how it is started.
async fn search(shop: &Shop, repository: &Path, needles: &Needles, more: impl FnOnce(&mut Command)) -> Finds {
    let served = Served::serve(&shop.door).await;
    let process = Process::start(&served, &shop.clones(), more);
    let (lane, folder) = (process.pid(), shop.clones());
    let (stop, mut finds) = (AtomicBool::new(false), Finds::default());
    std::thread::scope(|scope| {
        scope.spawn(|| finds.watch(needles, lane, &folder, &stop));
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(stands(shop, "Pushed")));
        stop.store(true, Ordering::Relaxed);
    });
    finds.aftermath(needles, shop, &served.log(), repository);
    finds.files("files", needles, &folder);
    finds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_found_nowhere() {
    let mut street = street();
    // Slow enough for its transfers to be looked at.
    street.server.becomes(Manner::Trickle(1500));
    let finds = search(&street.shop, &street.remote.path(), &Needles::of(TOKEN), |_| ()).await;
    println!("{} transfers were looked at", finds.transfers.len());
    assert!(!finds.transfers.is_empty(), "no transfer was seen");
    assert_eq!(finds.places, BTreeSet::new());
    assert!(street.server.authorizations().iter().any(|header| Needles::of(TOKEN).are_in(header.as_bytes())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_key_and_its_passphrase_are_found_nowhere() {
    let (remote, host, key) =
        (remote(), Key::new("ed25519", ""), Key::new("ed25519", "correct horse battery"));
    let server = Server::serve(&remote, &[&host], &key);
    let shop = Shop::on(Door::new(World::new(start()), Clock::Wall));
    shop.roll_back("myapp");
    shop.allow("myapp", &server.url(), "Push");
    shop.policy(&json!({"git": {"secretRef": {"name": "git"}}}));
    let private = key.private();
    let values = [
        ("identity", &*private),
        ("known_hosts", &server.known(&host)),
        ("password", "correct horse battery"),
    ];
    shop.secret("default", "git", &values);
    // A line from the middle of the key stands for the whole.
    let line = private.lines().nth(3).unwrap();
    let needles = Needles::of(line).and(Needles::of("correct horse battery"));
    let finds = search(&shop, &remote.path(), &needles, |_| ()).await;
    assert!(!finds.transfers.is_empty(), "no transfer was seen");
    assert_eq!(finds.places, BTreeSet::new());
    assert_eq!(Shop::reverts(&remote).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leak_is_found_in_every_place() {
    let street = street();
    // In the commit and the status as the ticket, in base64; in a file as an address; in the arguments, and from there
    // in the log, as the name of the process; in the environment.
    street.shop.policy(&json!({"ticket": STANDARD.encode(TOKEN)}));
    let clone = serin::gitops::repo::Clones::below(street.shop.clones()).path(&street.server.url());
    let repository = git2::Repository::init_bare(&clone).unwrap();
    repository.remote("origin", &format!("https://{USER}:{TOKEN}@git.example/x.git")).unwrap();
    let finds = search(&street.shop, &street.remote.path(), &Needles::of(TOKEN), |command| {
        command.arg(format!("--hostname={TOKEN}")).env("LEAK", STANDARD.encode(format!("x{TOKEN}")));
    })
    .await;
    let all = BTreeSet::from(["cmdline", "environ", "files", "log", "objects", "commits"]);
    assert_eq!(finds.places, all);
}
