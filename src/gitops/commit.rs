//! Reads a file at a commit, and writes a commit that changes one file, straight in the object store: no work tree,
//! no index, no checkout. Blocking, local, quick.

use git2::{FileMode, ObjectType, Oid, Repository, Signature, Tree};
use jiff::Timestamp;

use crate::api::serin::Author;

/// How many commits below the tip are searched for our own. Also the depth of a shallow fetch.
pub const HISTORY_DEPTH: u16 = 50;

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

/// Reads the plain file `path` at the commit `tip`.
///
/// # Errors
/// `PathRefused`, `FileMissing` and `NotAFile` want a person; `Store` wants a new clone.
pub fn read(clone: &Repository, tip: Oid, path: &str) -> Result<File, CommitError> {
    let parts = parts(path)?;
    let mut tree: Tree<'_> = clone.find_commit(tip)?.tree()?;
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        let Some((id, kind, mode)) = tree.get_name(part).map(|e| (e.id(), e.kind(), e.filemode())) else {
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
            return Ok(File { bytes: clone.find_blob(id)?.content().to_vec(), mode });
        }
        if kind != Some(ObjectType::Tree) {
            return Err(CommitError::NotAFile(parts.get(..=index).unwrap_or_default().join("/")));
        }
        tree = clone.find_tree(id)?;
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
    let mut walk = clone.revwalk()?;
    walk.push(tip)?;
    for oid in walk.take(usize::from(HISTORY_DEPTH)) {
        let oid = oid?;
        if trailer(clone, oid, KEY_TRAILER)?.as_deref() == Some(key) {
            return Ok(Some(oid));
        }
    }
    Ok(None)
}

/// The value of a trailer of a commit.
fn trailer(clone: &Repository, commit: Oid, name: &str) -> Result<Option<String>, CommitError> {
    let commit = clone.find_commit(commit)?;
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
