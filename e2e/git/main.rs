//! The Git lane with the real program: transfers run in `serin git-transfer` against real bare repositories.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use git2::{Oid, Repository};
use serin::gitops::transfer::Transfer;

mod daemon;
mod transfers;

/// A bare repository in a folder of its own, with one commit on `main`.
struct Remote {
    folder: tempfile::TempDir,
}

impl Remote {
    fn new(files: &[(&str, &str)]) -> Self {
        let remote = Self { folder: tempfile::tempdir().unwrap() };
        Repository::init_bare(remote.path()).unwrap();
        remote.commit(files, "Begin");
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
        let repository = self.open();
        let parent =
            repository.refname_to_id("refs/heads/main").ok().map(|id| repository.find_commit(id).unwrap());
        let mut update = git2::build::TreeUpdateBuilder::new();
        for (path, text) in files {
            update.upsert(*path, repository.blob(text.as_bytes()).unwrap(), git2::FileMode::Blob);
        }
        let empty = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let base = parent.as_ref().map_or(empty, |p| p.tree().unwrap());
        let tree = repository.find_tree(update.create_updated(&repository, &base).unwrap()).unwrap();
        let time = git2::Time::new(1_767_225_600, 0);
        let person = git2::Signature::new("A Person", "person@example.org", &time).unwrap();
        let parents: Vec<_> = parent.iter().collect();
        repository.commit(Some("refs/heads/main"), &person, &person, message, &tree, &parents).unwrap()
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

/// Transfers by the program under test.
fn transfer() -> Transfer {
    Transfer { limit: Duration::from_secs(20), ..Transfer::by(env!("CARGO_BIN_EXE_serin").into()) }
}
