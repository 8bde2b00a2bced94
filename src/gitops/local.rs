//! Pushes to a repository on this machine. Runs in the child of a transfer, for demos and tests alone.
//!
//! libgit2's own local transport sets the branch by force; here objects are copied and the branch is set by
//! compare-and-swap.

use std::path::{Path, PathBuf};

use git2::{ErrorCode, Oid, Repository};

use super::{perform::text, transfer::Failure};

/// Hooks that a server would run before it takes a push. libgit2 runs none, so a local repository that has one is
/// not pushed to: going round its rules would be worse than not reverting.
const GATE_HOOKS: &[&str] = &["pre-receive", "update", "reference-transaction"];

/// The folder of a `file://` address.
pub(super) fn folder(url: &str) -> Option<PathBuf> {
    url.strip_prefix("file://").map(PathBuf::from)
}

/// Sets `reference` of the repository at `path` to `commit` if it is at `expected`, and brings the objects.
pub(super) fn push(
    clone: &Repository,
    path: &Path,
    reference: &str,
    (commit, expected): (Oid, Oid),
) -> Result<(), Failure> {
    let remote = Repository::open_bare(path).map_err(|e| Failure::Unreachable(text(&e)))?;
    if let Some(hook) = GATE_HOOKS.iter().find(|hook| remote.path().join("hooks").join(hook).exists()) {
        return Err(Failure::Refused(format!(
            "the repository has a hook `{hook}` that cannot be run from here"
        )));
    }
    match remote.refname_to_id(reference) {
        Ok(tip) if tip == expected => {}
        Ok(_) => return Err(Failure::Raced),
        Err(_) => return Err(Failure::NoBranch(reference.trim_start_matches("refs/heads/").into())),
    }
    copy_commit(clone, &remote, commit).map_err(|e| Failure::Unreachable(text(&e)))?;
    match remote.reference_matching(reference, commit, true, expected, "serin: push") {
        Ok(_) => Ok(()),
        Err(e) if matches!(e.code(), ErrorCode::Modified | ErrorCode::Locked | ErrorCode::NotFound) => {
            Err(Failure::Raced)
        }
        Err(e) => Err(Failure::Refused(text(&e))),
    }
}

/// Copies a commit and what it holds, but not its parents, to where it is missing. What an object names is copied
/// before the object, so that a copy that breaks off leaves nothing that is not whole.
fn copy_commit(from: &Repository, to: &Repository, commit: Oid) -> Result<(), git2::Error> {
    copy_tree(from, to, from.find_commit(commit)?.tree_id())?;
    copy_object(from, to, commit)
}

fn copy_tree(from: &Repository, to: &Repository, tree: Oid) -> Result<(), git2::Error> {
    if to.odb()?.exists(tree) {
        return Ok(());
    }
    for entry in &from.find_tree(tree)? {
        match entry.kind() {
            Some(git2::ObjectType::Tree) => copy_tree(from, to, entry.id())?,
            Some(git2::ObjectType::Blob) => copy_object(from, to, entry.id())?,
            // A submodule's commit is in another repository.
            Some(git2::ObjectType::Commit | git2::ObjectType::Tag | git2::ObjectType::Any) | None => {}
        }
    }
    copy_object(from, to, tree)
}

fn copy_object(from: &Repository, to: &Repository, object: Oid) -> Result<(), git2::Error> {
    let (source, target) = (from.odb()?, to.odb()?);
    if !target.exists(object) {
        let read = source.read(object)?;
        target.write(read.kind(), read.data())?;
    }
    Ok(())
}
