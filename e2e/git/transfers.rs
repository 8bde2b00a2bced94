//! Fetch and push through the child.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use git2::Oid;
use serin::{
    api::serin::Author,
    clock::instant,
    gitops::{
        access::Access,
        commit,
        repo::Clones,
        transfer::{Disposition, Failure, Transfer},
    },
};

use super::{Remote, daemon::Daemon, transfer};

/// One clone of one remote.
struct Lane {
    url: String,
    clones: Clones,
    transfer: Transfer,
    _folder: tempfile::TempDir,
}

impl Lane {
    fn new(url: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clones = Clones::below(folder.path().join("clones"));
        Self { url, clones, transfer: transfer(), _folder: folder }
    }

    async fn fetch(&self) -> Result<Oid, Failure> {
        self.fetch_of("main").await
    }

    async fn fetch_of(&self, branch: &str) -> Result<Oid, Failure> {
        self.clones.open(&self.url).unwrap();
        self.transfer.fetch((&self.url, branch), &self.clones.path(&self.url), 50, &Access::default()).await
    }

    /// A commit on `tip` that sets the file `a`.
    fn write(&self, tip: Oid, text: &str) -> Oid {
        let clone = self.clones.open(&self.url).unwrap();
        let file = commit::read(&clone, tip, "a").unwrap();
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        commit::write(&clone, tip, ("a", &file, text.as_bytes()), "Set", (&Author::default(), at)).unwrap()
    }

    async fn push(&self, commit: Oid, expected: Oid) -> Result<(), Failure> {
        let clone = self.clones.path(&self.url);
        self.transfer.push((&self.url, "main"), &clone, (commit, expected), &Access::default()).await
    }
}

#[tokio::test]
async fn a_commit_is_fetched_changed_and_pushed_to_a_local_repository() {
    let remote = Remote::new(&[("a", "1\n"), ("dir/b", "2\n")]);
    let lane = Lane::new(remote.url());
    let tip = lane.fetch().await.unwrap();
    assert_eq!(tip, remote.tip());
    let commit = lane.write(tip, "3\n");
    lane.push(commit, tip).await.unwrap();
    assert_eq!((remote.tip(), remote.file("a"), remote.file("dir/b")), (commit, "3\n".into(), "2\n".into()));
    assert_eq!(lane.fetch().await.unwrap(), commit);
}

#[tokio::test]
async fn a_commit_is_fetched_shallow_changed_and_pushed_to_a_server() {
    let remote = Remote::new(&[("a", "1\n")]);
    for n in 0..70 {
        remote.commit(&[("a", &format!("{n}\n"))], "Count");
    }
    let server = Daemon::serve(&remote);
    let lane = Lane::new(server.url());
    let tip = lane.fetch().await.unwrap();
    let clone = lane.clones.open(&lane.url).unwrap();
    assert!(clone.is_shallow());
    assert_eq!(commit::find(&clone, tip, "no such key").unwrap(), None);
    let commit = lane.write(tip, "ours\n");
    lane.push(commit, tip).await.unwrap();
    assert_eq!((remote.tip(), remote.file("a")), (commit, "ours\n".into()));
    // Later fetches into the same shallow clone.
    let next = remote.commit(&[("a", "theirs\n")], "Go on");
    assert_eq!(lane.fetch().await.unwrap(), next);
    let commit = lane.write(next, "ours again\n");
    lane.push(commit, next).await.unwrap();
    assert_eq!(remote.file("a"), "ours again\n");
}

#[tokio::test]
async fn a_push_onto_a_branch_that_moved_is_a_lost_race_and_changes_nothing() {
    let remote = Remote::new(&[("a", "1\n")]);
    let server = Daemon::serve(&remote);
    for url in [remote.url(), server.url()] {
        let lane = Lane::new(url);
        let tip = lane.fetch().await.unwrap();
        let ours = lane.write(tip, "ours\n");
        let theirs = remote.commit(&[("a", "theirs\n")], "Move");
        let failure = lane.push(ours, tip).await.unwrap_err();
        assert_eq!(failure, Failure::Raced);
        assert_eq!(failure.disposition(), Disposition::Again);
        assert_eq!(remote.tip(), theirs);
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_quoted_and_waits_for_a_person() {
    let remote = Remote::new(&[("a", "1\n")]);
    hook(&remote.path().join("hooks/pre-receive"), "echo main is protected >&2; exit 1");
    let server = Daemon::serve(&remote);
    for (url, words) in [(server.url(), "pre-receive hook declined"), (remote.url(), "hook `pre-receive`")] {
        let lane = Lane::new(url);
        let tip = lane.fetch().await.unwrap();
        let failure = lane.push(lane.write(tip, "ours\n"), tip).await.unwrap_err();
        assert!(matches!(&failure, Failure::Refused(message) if message.contains(words)), "{failure:?}");
        assert_eq!(failure.disposition(), Disposition::Stall);
        assert_eq!(remote.tip(), tip);
    }
}

#[tokio::test]
async fn a_branch_that_moves_while_the_server_looks_at_the_push_is_a_lost_race() {
    let remote = Remote::new(&[("a", "1\n")]);
    let tip = remote.tip();
    let elsewhere = remote.commit(&[("a", "theirs\n")], "Move");
    remote.open().reference("refs/heads/main", tip, true, "back").unwrap();
    // The hook moves the branch after the server has told its old tip and before it sets the new one. It must not
    // know that it is in a push, or Git would not let it.
    hook(
        &remote.path().join("hooks/pre-receive"),
        &format!("env -u GIT_QUARANTINE_PATH git update-ref refs/heads/main {elsewhere}"),
    );
    let server = Daemon::serve(&remote);
    let lane = Lane::new(server.url());
    assert_eq!(lane.fetch().await.unwrap(), tip);
    assert_eq!(lane.push(lane.write(tip, "ours\n"), tip).await.unwrap_err(), Failure::Raced);
    assert_eq!(remote.tip(), elsewhere);
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let remote = Remote::new(&[("a", "1\n")]);
    let missing = Lane::new(remote.url()).fetch_of("release").await.unwrap_err();
    assert_eq!(missing, Failure::NoBranch("release".into()));
    assert_eq!(missing.disposition(), Disposition::Stall);
    for url in ["file:///nowhere/at/all.git", "git://127.0.0.1:1/deploy.git"] {
        let failure = Lane::new(url.into()).fetch().await.unwrap_err();
        assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
        assert_eq!(failure.disposition(), Disposition::Retry);
    }
}

#[tokio::test]
async fn a_transfer_that_hangs_is_killed_with_its_children_at_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let (script, pid) = (folder.path().join("hang"), folder.path().join("pid"));
    hook(&script, &format!("sleep 600 & echo $! > {}; wait", pid.display()));
    let lane = Lane::new("file:///anything".into());
    let hanging = Transfer { program: script, limit: Duration::from_millis(1500), ..lane.transfer.clone() };
    let lane = Lane { transfer: hanging, ..lane };
    let begun = instant();
    assert!(matches!(lane.fetch().await, Err(Failure::TimedOut(_))));
    assert!(begun.elapsed() < Duration::from_secs(10));
    let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    until(|| gone(pid), "the child's own child is killed too");
}

#[tokio::test]
async fn a_program_that_is_missing_or_talks_nonsense_is_an_error_that_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("talk");
    hook(&script, "read order; echo hello");
    for program in [script, PathBuf::from("/nowhere/serin")] {
        let lane = Lane::new("file:///anything".into());
        let lane = Lane { transfer: Transfer { program, ..lane.transfer.clone() }, ..lane };
        let failure = lane.fetch().await.unwrap_err();
        assert!(matches!(failure, Failure::Process(_)), "{failure:?}");
        assert_eq!(failure.disposition(), Disposition::Retry);
    }
}

#[test]
fn the_child_ends_when_its_parent_is_gone() {
    use std::{
        io::Write,
        net::TcpListener,
        process::{Command, Stdio},
    };
    // A server that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    git2::Repository::init_bare(folder.path()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_serin"))
        .arg("git-transfer")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let order = serde_json::json!({
        "request": {
            "url": format!("git://{}/x.git", silent.local_addr().unwrap()),
            "clone": folder.path(), "branch": "main", "action": {"fetch": {"depth": 1, "mostBytes": 1000}}
        },
        "credential": "none"
    });
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{order}").unwrap();
    let _connection = silent.accept().unwrap();
    assert!(child.try_wait().unwrap().is_none(), "it waits for the server");
    drop(stdin);
    assert!(!child.wait().unwrap().success());
}

pub(crate) fn hook(path: &Path, script: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// True once no process has this id, or only one that nobody has collected yet.
fn gone(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

fn until(mut condition: impl FnMut() -> bool, what: &str) {
    let begun = instant();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::yield_now();
    }
}
