//! The bare clones on this machine: one for each remote, below one folder. Everything in them can be fetched again,
//! so a clone that is damaged, or has grown too large, is thrown away.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use git2::{Repository, RepositoryInitOptions};
use sha2::{Digest, Sha256};

use super::transfer::{HOME_PREFIX, MAX_FETCH_BYTES};

/// The folder of all clones, for instance an emptyDir.
#[derive(Clone, Debug)]
pub struct Clones {
    root: PathBuf,
    /// The most that all clones together take, in bytes, before the ones that were not used for longest are thrown
    /// away. One that takes half of it begins anew: each fetch adds to a clone and nothing packs it.
    most_bytes: u64,
}

impl Clones {
    /// Clones below `root`, which is made when the first is needed.
    pub fn below(root: PathBuf) -> Self {
        Self { root, most_bytes: 4 * MAX_FETCH_BYTES }
    }

    /// The same clones, with another bound on their size in bytes.
    pub fn bounded(self, most_bytes: u64) -> Self {
        Self { most_bytes, ..self }
    }

    /// Makes the folder and removes what a process that was killed left there. Called once, before any other.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(HOME_PREFIX) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Where the clone of `url` is. The name is a hash: addresses are not file names, and may be long.
    pub fn path(&self, url: &str) -> PathBuf {
        self.root.join(name(url))
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

    /// Readies the clone of `url` for a fetch: removes what a transfer that was killed left in it, and the clone itself
    /// where it has grown too large. Only one caller at a time may use a clone.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn ready(&self, url: &str) -> Result<(), git2::Error> {
        let path = self.path(url);
        sweep(&path);
        if size(&path) > self.most_bytes / 2 {
            self.remove(url);
        }
        self.open(url)?;
        // Without it the clone counts as unused for long, which costs a fetch and nothing else.
        let _ = fs::write(path.join(USED), "");
        Ok(())
    }

    /// The names of clones that have to go so that all together are small enough, the longest unused first.
    pub(super) fn surplus(&self) -> Vec<String> {
        let mut clones: Vec<(SystemTime, u64, String)> = entries(&self.root)
            .filter_map(|entry| {
                let used = entry.path().join(USED).metadata().and_then(|m| m.modified());
                let name = entry.file_name().into_string().ok()?;
                name.ends_with(".git")
                    .then(|| (used.unwrap_or(SystemTime::UNIX_EPOCH), size(&entry.path()), name))
            })
            .collect();
        clones.sort();
        let mut left: u64 = clones.iter().map(|(_, bytes, _)| bytes).sum();
        let mut surplus = vec![];
        for (_, bytes, name) in clones {
            if left <= self.most_bytes {
                break;
            }
            left = left.saturating_sub(bytes);
            surplus.push(name);
        }
        surplus
    }

    /// Throws the clone of `url` away, if there is one.
    pub fn remove(&self, url: &str) {
        self.remove_named(&name(url));
    }

    /// Throws the clone of this name away.
    pub(super) fn remove_named(&self, name: &str) {
        // Where this fails the next use fails too, and says so.
        let _ = fs::remove_dir_all(self.root.join(name));
    }
}

/// Written whenever a clone is readied, so its time tells when it was used last.
const USED: &str = "serin-used";

/// The name of the clone of `url`.
pub(super) fn name(url: &str) -> String {
    format!("{}.git", short_hash(&[url]))
}

fn init(path: &Path) -> Result<Repository, git2::Error> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).mkpath(true).external_template(false);
    Repository::init_opts(path, &options)
}

fn entries(folder: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

/// The bytes of all files below `path`. Links are not followed.
fn size(path: &Path) -> u64 {
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => size(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries(path).map(of).sum()
}

/// Removes what a process that was killed in the middle leaves: locks, on which every later write would fail, and
/// objects that were not received or written whole.
fn sweep(clone: &Path) {
    let ends_in =
        |path: &Path, endings: &[&str]| endings.iter().any(|e| path.extension().is_some_and(|x| x == *e));
    let remove = |folder: &Path, is_left: &dyn Fn(&Path) -> bool| {
        for path in entries(folder).map(|entry| entry.path()).filter(|path| is_left(path)) {
            let _ = fs::remove_file(path);
        }
    };
    let is_lock = |path: &Path| ends_in(path, &["lock"]);
    remove(clone, &is_lock);
    remove(&clone.join("objects/pack"), &|path| !ends_in(path, &["pack", "idx"]));
    remove(&clone.join("objects"), &|path| path.is_file() && !ends_in(path, &["pack", "idx"]));
    let mut folders = vec![clone.join("refs")];
    while let Some(folder) = folders.pop() {
        remove(&folder, &is_lock);
        folders.extend(entries(&folder).map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn clones() -> (tempfile::TempDir, Clones) {
        let folder = tempfile::tempdir().unwrap();
        let clones = Clones::below(folder.path().join("clones"));
        clones.prepare().unwrap();
        (folder, clones)
    }

    #[test]
    fn what_a_killed_transfer_leaves_is_removed_before_the_next() {
        let (_folder, clones) = clones();
        clones.ready("https://h/x").unwrap();
        let clone = clones.path("https://h/x");
        let left = [
            "HEAD.lock",
            "shallow.lock",
            "refs/serin/a/main.lock",
            "objects/pack/pack_git2_a1",
            "objects/tmp_object_b2",
        ];
        let kept = ["refs/serin/a/main", "objects/pack/pack-1.pack", "objects/pack/pack-1.idx"];
        fs::create_dir_all(clone.join("refs/serin/a")).unwrap();
        for path in left.iter().chain(&kept) {
            fs::write(clone.join(path), "x").unwrap();
        }
        clones.ready("https://h/x").unwrap();
        for path in left {
            assert!(!clone.join(path).exists(), "{path}");
        }
        for path in kept {
            assert!(clone.join(path).exists(), "{path}");
        }
    }

    #[test]
    fn homes_of_children_do_not_outlive_the_process_for_long() {
        let (_folder, clones) = clones();
        clones.ready("https://h/x").unwrap();
        let left = clones.root.join("transfer-x1");
        fs::create_dir_all(left.join(".ssh")).unwrap();
        clones.prepare().unwrap();
        assert!(!left.exists() && clones.path("https://h/x").exists());
    }

    #[test]
    fn a_clone_that_grew_too_large_begins_anew() {
        let (_folder, clones) = clones();
        let clones = clones.bounded(100_000);
        clones.ready("https://h/x").unwrap();
        let grown = clones.path("https://h/x").join("objects/pack/pack-1.pack");
        fs::write(&grown, vec![0; 40_000]).unwrap();
        clones.ready("https://h/x").unwrap();
        assert!(grown.exists());
        fs::write(&grown, vec![0; 60_000]).unwrap();
        clones.ready("https://h/x").unwrap();
        assert!(!grown.exists() && clones.open("https://h/x").is_ok());
    }

    #[test]
    fn the_longest_unused_clones_go_first_and_no_more_than_needed() {
        let (_folder, clones) = clones();
        let clones = clones.bounded(100_000);
        for (url, age) in [("https://h/new", 1), ("https://h/old", 3), ("https://h/middle", 2)] {
            clones.ready(url).unwrap();
            let clone = clones.path(url);
            fs::write(clone.join("objects/pack/pack-1.pack"), vec![0; 40_000]).unwrap();
            let used = fs::File::options().write(true).open(clone.join(USED)).unwrap();
            used.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000 - age)).unwrap();
        }
        assert_eq!(clones.surplus(), [name("https://h/old")]);
        clones.remove("https://h/old");
        assert!(clones.surplus().is_empty());
    }
}
