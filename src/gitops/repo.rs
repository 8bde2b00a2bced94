//! The bare clones on this machine: one for each remote, below one folder. Everything in them can be fetched again,
//! so a clone that is damaged is thrown away.

use std::path::{Path, PathBuf};

use git2::{Repository, RepositoryInitOptions};
use sha2::{Digest, Sha256};

/// The folder of all clones, for instance an emptyDir.
#[derive(Clone, Debug)]
pub struct Clones {
    root: PathBuf,
}

impl Clones {
    /// Clones below `root`, which is made when the first is needed.
    pub fn below(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where the clone of `url` is. The name is a hash: addresses are not file names, and may be long.
    pub fn path(&self, url: &str) -> PathBuf {
        self.root.join(format!("{}.git", short_hash(&[url])))
    }

    /// The clone of `url`; made, empty, where it is not there or cannot be opened.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(&self, url: &str) -> Result<Repository, git2::Error> {
        let path = self.path(url);
        // Not `open_bare`, which does not read where a shallow history ends.
        if let Ok(repository) = Repository::open(&path) {
            return Ok(repository);
        }
        self.remove(url);
        init(&path)
    }

    /// Throws the clone of `url` away, if there is one.
    pub fn remove(&self, url: &str) {
        // Where this fails the next use fails too, and says so.
        let _ = std::fs::remove_dir_all(self.path(url));
    }
}

fn init(path: &Path) -> Result<Repository, git2::Error> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).mkpath(true).external_template(false);
    Repository::init_opts(path, &options)
}

/// 160 bits of a hash over several texts, in hex; no two lists of texts run together.
pub(super) fn short_hash(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}
