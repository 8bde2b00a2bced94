//! The bare repository of the embedded world: made, committed to by people, and read again by whoever judges.

use std::path::Path;

use git2::{
    Error, ErrorCode, FileMode, Oid, Repository, RepositoryInitOptions, Signature, Time,
    build::TreeUpdateBuilder,
};
use jiff::Timestamp;

/// Who commits, and when.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    pub name: &'a str,
    pub email: &'a str,
    pub at: Timestamp,
}

/// A commit as a reader of the history sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub id: Oid,
    pub author: String,
    pub email: String,
    pub at: Timestamp,
    pub message: String,
    /// The change against the first parent as a unified diff.
    pub patch: String,
}

/// How often a commit is made again on a branch that moves; two bots cannot take that many turns at once.
const MAX_TRIES: usize = 20;

/// Makes a bare repository with one commit of these files on `main`.
///
/// # Errors
/// The folder cannot be written, or is a repository with a `main` already.
pub fn seed(repository: &Path, files: &[(&str, &str)], author: Author<'_>) -> Result<Oid, Error> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).mkpath(true).external_template(false).initial_head("main");
    let repository = Repository::init_opts(repository, &options)?;
    let commit = on_top(&repository, None, files, "Begin", author)?;
    repository.reference("refs/heads/main", commit, false, "seed")?;
    Ok(commit)
}

/// Commits these files to `main`, on top of whatever is there. Files that are not named stay.
///
/// # Errors
/// There is no such repository, or it cannot be written.
pub fn commit(
    repository: &Path,
    files: &[(&str, &str)],
    message: &str,
    author: Author<'_>,
) -> Result<Oid, Error> {
    let repository = Repository::open(repository)?;
    let mut tries = 0;
    loop {
        let tip = repository.refname_to_id("refs/heads/main")?;
        let commit = on_top(&repository, Some(tip), files, message, author)?;
        tries += 1;
        match repository.reference_matching("refs/heads/main", commit, true, tip, "commit") {
            Ok(_) => return Ok(commit),
            Err(e) if tries < MAX_TRIES && matches!(e.code(), ErrorCode::Modified | ErrorCode::Locked) => {}
            Err(e) => return Err(e),
        }
    }
}

fn on_top(
    repository: &Repository,
    parent: Option<Oid>,
    files: &[(&str, &str)],
    message: &str,
    author: Author<'_>,
) -> Result<Oid, Error> {
    let parent = parent.map(|id| repository.find_commit(id)).transpose()?;
    let base = match &parent {
        Some(parent) => parent.tree()?,
        None => repository.find_tree(repository.treebuilder(None)?.write()?)?,
    };
    let mut update = TreeUpdateBuilder::new();
    for (path, text) in files {
        update.upsert(*path, repository.blob(text.as_bytes())?, FileMode::Blob);
    }
    let tree = repository.find_tree(update.create_updated(repository, &base)?)?;
    let signature = Signature::new(author.name, author.email, &Time::new(author.at.as_second(), 0))?;
    let parents: Vec<_> = parent.iter().collect();
    repository.commit(None, &signature, &signature, message, &tree, &parents)
}

/// The first-parent history of `main`, the newest first.
///
/// # Errors
/// There is no such repository or branch.
pub fn history(repository: &Path) -> Result<Vec<Recorded>, Error> {
    let repository = Repository::open(repository)?;
    let mut next = Some(repository.find_commit(repository.refname_to_id("refs/heads/main")?)?);
    let mut found = vec![];
    while let Some(commit) = next {
        next = commit.parents().next();
        let before = next.as_ref().map(git2::Commit::tree).transpose()?;
        let diff = repository.diff_tree_to_tree(before.as_ref(), Some(&commit.tree()?), None)?;
        let mut patch = String::new();
        diff.print(git2::DiffFormat::Patch, |_, _, line| {
            if matches!(line.origin(), '+' | '-' | ' ') {
                patch.push(line.origin());
            }
            patch.push_str(&String::from_utf8_lossy(line.content()));
            true
        })?;
        found.push(Recorded {
            id: commit.id(),
            author: String::from_utf8_lossy(commit.author().name_bytes()).into_owned(),
            email: String::from_utf8_lossy(commit.author().email_bytes()).into_owned(),
            at: Timestamp::from_second(commit.time().seconds()).unwrap_or(Timestamp::MIN),
            message: String::from_utf8_lossy(commit.message_bytes()).into_owned(),
            patch,
        });
    }
    Ok(found)
}
