//! What the child of a transfer does: one fetch or one push with libgit2, blocking. Runs in the child alone.
//!
//! `file://` remotes are pushed to without libgit2's own local transport, which sets the branch by force: objects
//! are copied and the branch is set by compare-and-swap.

use std::path::{Path, PathBuf};

use git2::{
    AutotagOption, Direction, ErrorClass, ErrorCode, FetchOptions, Oid, PushOptions, Remote, RemoteCallbacks,
    RemoteConnection, Repository,
};

use super::transfer::{Action, Answer, Credential, Failure, Order};

/// Hooks that a server would run before it takes a push. libgit2 runs none, so a local repository that has one is
/// not pushed to: going round its rules would be worse than not reverting.
const GATE_HOOKS: &[&str] = &["pre-receive", "update", "reference-transaction"];

/// Carries out an order and answers it. Never panics on what a remote says.
pub fn perform(order: &Order) -> Answer {
    let request = &order.request;
    let answer = match &request.action {
        Action::Fetch { depth } => fetch(order, *depth).map(|tip| Answer::Fetched { tip: tip.to_string() }),
        Action::Push { commit, expected } => push(order, commit, expected).map(|()| Answer::Pushed),
    };
    answer.unwrap_or_else(Answer::Failed)
}

/// The folder of a `file://` address.
fn local(url: &str) -> Option<PathBuf> {
    url.strip_prefix("file://").map(PathBuf::from)
}

fn callbacks<'a>(credential: &Credential) -> RemoteCallbacks<'a> {
    match credential {
        Credential::None => RemoteCallbacks::new(),
    }
}

fn open(path: &Path) -> Result<Repository, Failure> {
    // Not `open_bare`, which does not read where a shallow history ends.
    Repository::open(path).map_err(|e| Failure::Clone(text(&e)))
}

fn branch_reference(order: &Order) -> String {
    format!("refs/heads/{}", order.request.branch)
}

fn fetch(order: &Order, depth: u16) -> Result<Oid, Failure> {
    let request = &order.request;
    let clone = open(&request.clone)?;
    let mut remote = clone.remote_anonymous(&request.url).map_err(|e| failure(&e))?;
    let tip = advertised(&connect(&mut remote, order, Direction::Fetch)?, order)?
        .ok_or_else(|| Failure::NoBranch(request.branch.clone()))?;
    let kept = format!("refs/serin/{}", request.branch);
    // The reference is set only after all objects arrived, so what it names is whole.
    if clone.refname_to_id(&kept).is_ok_and(|have| have == tip) {
        return Ok(tip);
    }
    let mut options = FetchOptions::new();
    options.remote_callbacks(callbacks(&order.credential));
    options.download_tags(AutotagOption::None).update_fetchhead(false);
    if local(&request.url).is_none() {
        // libgit2's local transport knows no shallow fetches.
        options.depth(i32::from(depth));
    }
    let refspec = format!("+{}:{kept}", branch_reference(order));
    remote.fetch(&[refspec], Some(&mut options), None).map_err(|e| failure(&e))?;
    clone.refname_to_id(&kept).map_err(|e| failure(&e))
}

fn push(order: &Order, commit: &str, expected: &str) -> Result<(), Failure> {
    let request = &order.request;
    let clone = open(&request.clone)?;
    let oid = |text: &str| Oid::from_str(text).map_err(|e| Failure::Process(e.message().into()));
    let (commit, expected) = (oid(commit)?, oid(expected)?);
    let parent =
        clone.find_commit(commit).and_then(|c| c.parent_id(0)).map_err(|e| Failure::Clone(text(&e)))?;
    if parent != expected {
        return Err(Failure::Process("the commit is not a child of the expected tip".into()));
    }
    match local(&request.url) {
        Some(path) => push_local(&clone, &path, &branch_reference(order), (commit, expected)),
        None => push_remote(&clone, order, (commit, expected)),
    }
}

fn push_remote(clone: &Repository, order: &Order, (commit, expected): (Oid, Oid)) -> Result<(), Failure> {
    let mut remote = clone.remote_anonymous(&order.request.url).map_err(|e| failure(&e))?;
    let tip = advertised(&connect(&mut remote, order, Direction::Push)?, order)?;
    if tip != Some(expected) {
        return Err(tip.map_or_else(|| Failure::NoBranch(order.request.branch.clone()), |_| Failure::Raced));
    }
    let refusal = std::cell::RefCell::new(None);
    let mut watched = callbacks(&order.credential);
    // `push` itself says Ok when the server refuses the branch; only this tells.
    watched.push_update_reference(|_, message| {
        if let Some(message) = message {
            *refusal.borrow_mut() = Some(message.to_owned());
        }
        Ok(())
    });
    let mut options = PushOptions::new();
    options.remote_callbacks(watched);
    let refspec = format!("{commit}:{}", branch_reference(order));
    let pushed = remote.push(&[refspec], Some(&mut options));
    drop(options);
    let failed = match (pushed, refusal.into_inner()) {
        (Ok(()), None) => return Ok(()),
        (Ok(()), Some(message)) => Failure::Refused(bounded(&message)),
        (Err(error), _) => failure(&error),
    };
    // Servers word a lost race differently, so the branch itself is asked.
    let mut again = clone.remote_anonymous(&order.request.url).map_err(|e| failure(&e))?;
    let now =
        connect(&mut again, order, Direction::Push).and_then(|connection| advertised(&connection, order));
    match now {
        Ok(Some(tip)) if tip == commit => Ok(()),
        Ok(Some(tip)) if tip != expected => Err(Failure::Raced),
        Ok(_) | Err(_) => Err(failed),
    }
}

fn push_local(
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

fn connect<'repo, 'remote>(
    remote: &'remote mut Remote<'repo>,
    order: &Order,
    direction: Direction,
) -> Result<RemoteConnection<'repo, 'remote, 'static>, Failure> {
    remote.connect_auth(direction, Some(callbacks(&order.credential)), None).map_err(|e| failure(&e))
}

/// The tip of the branch as the remote says it is; `None` where it has no such branch.
fn advertised(connection: &RemoteConnection<'_, '_, '_>, order: &Order) -> Result<Option<Oid>, Failure> {
    let reference = branch_reference(order);
    let heads = connection.list().map_err(|e| failure(&e))?;
    Ok(heads.iter().find(|head| head.name() == reference).map(git2::RemoteHead::oid))
}

/// What an error of libgit2 means. Only what is certain becomes a reason to wait for a person.
fn failure(error: &git2::Error) -> Failure {
    match (error.code(), error.class()) {
        (ErrorCode::NotFastForward, _) => Failure::Raced,
        (ErrorCode::Auth | ErrorCode::Certificate, _) => Failure::Unauthorized(text(error)),
        (_, ErrorClass::Odb | ErrorClass::Indexer | ErrorClass::Zlib) => Failure::Clone(text(error)),
        (_, _) => Failure::Unreachable(text(error)),
    }
}

fn text(error: &git2::Error) -> String {
    bounded(error.message())
}

/// One line of bounded length: it ends up in a status.
fn bounded(message: &str) -> String {
    let line: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(500).collect()
}
