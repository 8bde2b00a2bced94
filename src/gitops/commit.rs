//! Reads a file at a commit, and writes a commit that changes one file, straight in the object store: no work tree,
//! no index, no checkout. Blocking, local, quick.

use std::collections::{BTreeSet, BinaryHeap};

use git2::{Commit, FileMode, ObjectType, Oid, Repository, Signature, Tree};
use jiff::Timestamp;

use super::edit::MAX_FILE_BYTES;
use crate::api::serin::Author;

/// How many commits below the tip are searched for our own. Also the depth of a shallow fetch.
pub const HISTORY_DEPTH: u16 = 50;

/// The most that is read of a folder or a commit, in bytes. A folder of 100,000 files has 4 MiB. What a repository
/// holds is anybody's who may push to it, and is read into memory whole.
const MAX_OBJECT_BYTES: usize = 16 * 1024 * 1024;

/// The trailer that marks a commit of ours.
pub const KEY_TRAILER: &str = "Serin-Rollback-Key";

/// A file at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub bytes: Vec<u8>,
    mode: FileModeBits,
}

/// The two kinds of plain file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileModeBits {
    Plain,
    Executable,
}

/// Why a file cannot be read or a commit not be written.
#[derive(Debug, PartialEq, thiserror::Error, strum::IntoStaticStr)]
pub enum CommitError {
    #[error("the path `{0}` leaves the repository or is not one; give it from the root, without `..`")]
    PathRefused(String),
    #[error("the branch has no file `{0}`")]
    FileMissing(String),
    #[error("`{0}` is a link, a folder or a submodule, not a plain file")]
    NotAFile(String),
    #[error("`{name}` has {bytes} bytes; the most that is read is {most}")]
    TooLarge { name: String, bytes: usize, most: usize },
    #[error("the clone on this machine cannot be used: {0}")]
    Store(#[from] git2::Error),
}

/// The parts of a path that stays inside of the repository and out of Git's own folder.
fn parts(path: &str) -> Result<Vec<&str>, CommitError> {
    let refused = || CommitError::PathRefused(path.into());
    let parts: Vec<&str> = path.split('/').collect();
    let odd = |part: &&str| {
        part.is_empty()
            || *part == "."
            || *part == ".."
            || part.eq_ignore_ascii_case(".git")
            || part.contains(['\\', '\0', '\n', '\r'])
    };
    if parts.iter().any(odd) { Err(refused()) } else { Ok(parts) }
}

/// Refuses an object that is larger than `most` bytes, before it is read.
fn bounded(clone: &Repository, id: Oid, name: &str, most: usize) -> Result<(), CommitError> {
    let (bytes, _) = clone.odb()?.read_header(id)?;
    if bytes > most { Err(CommitError::TooLarge { name: name.into(), bytes, most }) } else { Ok(()) }
}

/// The commit `id`, of bounded size.
fn commit<'a>(clone: &'a Repository, id: Oid) -> Result<Commit<'a>, CommitError> {
    bounded(clone, id, &id.to_string(), MAX_OBJECT_BYTES)?;
    Ok(clone.find_commit(id)?)
}

fn tree<'a>(clone: &'a Repository, id: Oid, path: &str) -> Result<Tree<'a>, CommitError> {
    bounded(clone, id, path, MAX_OBJECT_BYTES)?;
    Ok(clone.find_tree(id)?)
}

/// Reads the plain file `path` at the commit `tip`.
///
/// # Errors
/// `PathRefused`, `FileMissing`, `NotAFile` and `TooLarge` want a person; `Store` wants a new clone.
pub fn read(clone: &Repository, tip: Oid, path: &str) -> Result<File, CommitError> {
    let parts = parts(path)?;
    let mut folder = tree(clone, commit(clone, tip)?.tree_id(), "/")?;
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        let Some((id, kind, mode)) = folder.get_name(part).map(|e| (e.id(), e.kind(), e.filemode())) else {
            return Err(CommitError::FileMissing(path.into()));
        };
        if last {
            let mode = match kind {
                Some(ObjectType::Blob) if mode == i32::from(FileMode::Blob) => FileModeBits::Plain,
                Some(ObjectType::Blob) if mode == i32::from(FileMode::BlobGroupWritable) => {
                    FileModeBits::Plain
                }
                Some(ObjectType::Blob) if mode == i32::from(FileMode::BlobExecutable) => {
                    FileModeBits::Executable
                }
                _ => return Err(CommitError::NotAFile(path.into())),
            };
            bounded(clone, id, path, MAX_FILE_BYTES)?;
            return Ok(File { bytes: clone.find_blob(id)?.content().to_vec(), mode });
        }
        let above = parts.get(..=index).unwrap_or_default().join("/");
        if kind != Some(ObjectType::Tree) {
            return Err(CommitError::NotAFile(above));
        }
        folder = tree(clone, id, &above)?;
    }
    Err(CommitError::PathRefused(path.into()))
}

/// Writes a commit on top of `tip` that gives the file `path` the content `bytes` and changes nothing else. The
/// commit is named by no reference. The same arguments give the same commit.
///
/// # Errors
/// As [`read`].
pub fn write(
    clone: &Repository,
    tip: Oid,
    (path, file, bytes): (&str, &File, &[u8]),
    message: &str,
    (author, at): (&Author, Timestamp),
) -> Result<Oid, CommitError> {
    let _ = parts(path)?;
    let parent = clone.find_commit(tip)?;
    let blob = clone.blob(bytes)?;
    let mode = match file.mode {
        FileModeBits::Plain => FileMode::Blob,
        FileModeBits::Executable => FileMode::BlobExecutable,
    };
    let tree = git2::build::TreeUpdateBuilder::new()
        .upsert(path, blob, mode)
        .create_updated(clone, &parent.tree()?)?;
    let time = git2::Time::new(at.as_second(), 0);
    let signature = Signature::new(&signature_part(&author.name), &signature_part(&author.email), &time)?;
    let tree = clone.find_tree(tree)?;
    Ok(clone.commit(None, &signature, &signature, message, &tree, &[&parent])?)
}

/// A name or address as a commit can hold it: without angle brackets and control characters.
fn signature_part(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !c.is_control() && !"<>".contains(*c)).collect();
    let kept = kept.trim();
    if kept.is_empty() { "serin".into() } else { kept.into() }
}

/// The newest commit with our `key` among the last [`HISTORY_DEPTH`] of `tip`.
///
/// # Errors
/// `Store` where the history cannot be read.
pub fn find(clone: &Repository, tip: Oid, key: &str) -> Result<Option<Oid>, CommitError> {
    let mut seen = BTreeSet::from([tip]);
    // The newest first, as far as commits tell the truth about their time.
    let mut next = BinaryHeap::from([(i64::MAX, tip)]);
    for _ in 0..HISTORY_DEPTH {
        let Some((_, id)) = next.pop() else { break };
        let commit = commit(clone, id)?;
        if trailer(&commit, KEY_TRAILER)?.as_deref() == Some(key) {
            return Ok(Some(id));
        }
        for parent in commit.parent_ids().take(usize::from(HISTORY_DEPTH)) {
            // Below the end of a shallow history there is nothing.
            if clone.odb()?.exists(parent) && seen.insert(parent) {
                next.push((self::commit(clone, parent)?.time().seconds(), parent));
            }
        }
    }
    Ok(None)
}

/// The value of a trailer of a commit.
fn trailer(commit: &Commit<'_>, name: &str) -> Result<Option<String>, CommitError> {
    // A message that is not UTF-8 is not ours.
    let Ok(message) = commit.message() else { return Ok(None) };
    let trailers = git2::message_trailers_strs(message)?;
    Ok(trailers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.into()))
}

/// A unified diff of one file with three lines around each change, cut off at `most` bytes at the end of a line.
///
/// # Errors
/// `Store` where libgit2 cannot compare.
pub fn diff(path: &str, before: &[u8], after: &[u8], most: usize) -> Result<String, CommitError> {
    let path = std::path::Path::new(path);
    let mut patch = git2::Patch::from_buffers(before, Some(path), after, Some(path), None)?;
    let text = String::from_utf8_lossy(&patch.to_buf()?).into_owned();
    if text.len() <= most {
        return Ok(text);
    }
    let cut = "...\n";
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        if kept.len() + line.len() + cut.len() > most {
            break;
        }
        kept.push_str(line);
    }
    Ok(kept + cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Store {
        repository: Repository,
        tip: Oid,
        _folder: tempfile::TempDir,
    }

    fn at() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    /// A repository with a plain file, an executable one, a link, a folder and a submodule.
    fn store() -> Store {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path()).unwrap();
        let tip = {
            let blob = repository.blob(b"one\ntwo\n").unwrap();
            let target = repository.blob(b"/etc/passwd").unwrap();
            let inner = repository.treebuilder(None).unwrap();
            let empty = repository.find_tree(inner.write().unwrap()).unwrap();
            let mut update = git2::build::TreeUpdateBuilder::new();
            update
                .upsert("dir/plain", blob, FileMode::Blob)
                .upsert("run", blob, FileMode::BlobExecutable)
                .upsert("link", target, FileMode::Link)
                .upsert("module", blob, FileMode::Commit);
            let tree = repository.find_tree(update.create_updated(&repository, &empty).unwrap()).unwrap();
            let person = Signature::new("P", "p@example.org", &git2::Time::new(0, 0)).unwrap();
            repository.commit(Some("refs/heads/main"), &person, &person, "Begin", &tree, &[]).unwrap()
        };
        Store { repository, tip, _folder: folder }
    }

    fn written(store: &Store, path: &str, bytes: &[u8], message: &str) -> Oid {
        let file = read(&store.repository, store.tip, path).unwrap();
        let who = (&Author::default(), at());
        write(&store.repository, store.tip, (path, &file, bytes), message, who).unwrap()
    }

    #[test]
    fn only_plain_files_inside_of_the_repository_are_read() {
        let store = store();
        let refused = |path: &str| read(&store.repository, store.tip, path).unwrap_err();
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "dir/../run",
            "./run",
            "dir//plain",
            ".git/config",
            "a/.GIT/x",
            "a\\b",
        ] {
            assert_eq!(refused(path), CommitError::PathRefused(path.into()));
        }
        for path in ["link", "dir", "module"] {
            assert_eq!(refused(path), CommitError::NotAFile(path.into()));
        }
        assert_eq!(refused("link/x"), CommitError::NotAFile("link".into()));
        assert_eq!(refused("run/x"), CommitError::NotAFile("run".into()));
        assert_eq!(refused("dir/missing"), CommitError::FileMissing("dir/missing".into()));
        assert_eq!(read(&store.repository, store.tip, "dir/plain").unwrap().bytes, b"one\ntwo\n");
    }

    #[test]
    fn a_commit_changes_one_file_and_keeps_its_mode() {
        let store = store();
        let commit = store.repository.find_commit(written(&store, "run", b"three\n", "Message")).unwrap();
        let before = store.repository.find_commit(store.tip).unwrap().tree().unwrap();
        let diff =
            store.repository.diff_tree_to_tree(Some(&before), Some(&commit.tree().unwrap()), None).unwrap();
        let [delta] = diff.deltas().collect::<Vec<_>>().try_into().ok().unwrap();
        assert_eq!(delta.new_file().path().unwrap().to_str(), Some("run"));
        assert_eq!(delta.new_file().mode(), FileMode::BlobExecutable);
        assert_eq!(commit.parent_id(0).unwrap(), store.tip);
        assert_eq!(commit.author().name().ok(), Some("SelfHeal Bot"));
        assert_eq!(
            (commit.time().seconds(), commit.author().when().seconds()),
            (at().as_second(), at().as_second())
        );
        assert_eq!(store.repository.refname_to_id("refs/heads/main").unwrap(), store.tip, "no branch moved");
    }

    #[test]
    fn the_same_commit_made_again_is_the_same_commit() {
        let store = store();
        assert_eq!(written(&store, "run", b"x", "M"), written(&store, "run", b"x", "M"));
    }

    #[test]
    fn an_author_that_a_commit_cannot_hold_is_made_to_fit() {
        let store = store();
        let file = read(&store.repository, store.tip, "run").unwrap();
        let author = Author { name: " A <b>\n ".into(), email: "<>".into() };
        let id = write(&store.repository, store.tip, ("run", &file, b"x"), "M", (&author, at())).unwrap();
        let commit = store.repository.find_commit(id).unwrap();
        assert_eq!((commit.author().name().ok(), commit.author().email().ok()), (Some("A b"), Some("serin")));
    }

    #[test]
    fn our_commit_is_found_by_its_trailer_and_by_nothing_else() {
        let mut store = store();
        let ours = written(&store, "run", b"1", &format!("Subject\n\nBody\n\n{KEY_TRAILER}: abc\nA: b\n"));
        store.tip = ours;
        store.tip = written(
            &store,
            "run",
            b"2",
            &format!("{KEY_TRAILER}: def in the subject\n\n{KEY_TRAILER}: in the body\n\nEnd\n"),
        );
        let found = |key: &str| find(&store.repository, store.tip, key).unwrap();
        assert_eq!(found("abc"), Some(ours));
        assert_eq!((found("def in the subject"), found("in the body"), found("")), (None, None, None));
    }

    #[test]
    fn only_so_much_history_is_searched() {
        let mut store = store();
        store.tip = written(&store, "run", b"1", &format!("S\n\n{KEY_TRAILER}: abc\n"));
        for n in 1..HISTORY_DEPTH {
            store.tip = written(&store, "run", &n.to_be_bytes(), "Go on");
        }
        assert!(find(&store.repository, store.tip, "abc").unwrap().is_some());
        store.tip = written(&store, "run", b"last", "Go on");
        assert_eq!(find(&store.repository, store.tip, "abc").unwrap(), None);
    }

    #[test]
    fn a_diff_is_unified_and_cut_at_a_line() {
        let whole = diff("a/b", b"1\n2\n", b"1\n3\n", 1000).unwrap();
        assert!(whole.ends_with("@@ -1,2 +1,2 @@\n 1\n-2\n+3\n"), "{whole}");
        let long: Vec<u8> = (0..500).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let cut = diff("a/b", b"", &long, 300).unwrap();
        assert!(cut.len() <= 300 && cut.ends_with("\n...\n"), "{cut}");
    }
}
