//! The Git lane with the real program: transfers run in `serin git-transfer` against real bare repositories, and the
//! whole lane runs on the embedded world's API server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and it says what it saw"
)]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use git2::{Oid, Repository};
use jiff::Timestamp;
use serin::{
    gitops::transfer::Transfer,
    sim::engine::{self, Author},
};

mod bounds;
mod daemon;
mod https;
mod keys;
mod kustomize;
mod lane;
mod leaks;
mod process;
mod secure;
mod shop;
mod ssh;
mod transfers;
mod troubles;

/// A bare repository in a folder of its own, with one commit on `main`.
struct Remote {
    folder: tempfile::TempDir,
}

impl Remote {
    fn new(files: &[(&str, &str)]) -> Self {
        let remote = Self { folder: tempfile::tempdir().unwrap() };
        engine::seed(&remote.path(), files, person()).unwrap();
        remote
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("deploy.git")
    }

    fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    fn open(&self) -> Repository {
        Repository::open_bare(self.path()).unwrap()
    }

    /// A commit on `main` by a person, on top of what is there.
    fn commit(&self, files: &[(&str, &str)], message: &str) -> Oid {
        engine::commit(&self.path(), files, message, person()).unwrap()
    }

    fn tip(&self) -> Oid {
        self.open().refname_to_id("refs/heads/main").unwrap()
    }

    fn file(&self, path: &str) -> String {
        let repository = self.open();
        let tree = repository.find_commit(self.tip()).unwrap().tree().unwrap();
        let blob = tree.get_path(Path::new(path)).unwrap().to_object(&repository).unwrap();
        String::from_utf8(blob.as_blob().unwrap().content().to_vec()).unwrap()
    }
}

fn person() -> Author<'static> {
    Author { name: "A Person", email: "person@example.org", at: start() }
}

fn start() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

/// Transfers by the program under test.
fn transfer() -> Transfer {
    Transfer { limit: Duration::from_secs(20), ..Transfer::by(env!("CARGO_BIN_EXE_serin").into()) }
}
