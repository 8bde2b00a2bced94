//! What the child of a transfer does: one fetch or one push with libgit2, blocking. Runs in the child alone.

use std::{cell::RefCell, path::Path};

use git2::{
    AutotagOption, Direction, ErrorClass, ErrorCode, FetchOptions, Oid, PushOptions, Remote,
    RemoteConnection, Repository,
};

use super::{
    callbacks::{Notes, callbacks},
    local, remote, tls,
    transfer::{Action, Answer, Failure, Order},
};

/// Objects that one fetch may bring. What they cost is memory, one record for each, whatever their size.
const MAX_OBJECTS: usize = 2_000_000;

/// Carries out an order and answers it. Never panics on what a remote says.
pub fn perform(order: &Order) -> Answer {
    let request = &order.request;
    let answer = match &request.action {
        Action::Fetch { depth, most_bytes } => {
            fetch(order, *depth, *most_bytes).map(|tip| Answer::Fetched { tip: tip.to_string() })
        }
        Action::Push { commit, expected } => push(order, commit, expected).map(|()| Answer::Pushed),
    };
    answer.unwrap_or_else(Answer::Failed)
}

fn open(path: &Path) -> Result<Repository, Failure> {
    let damaged = |e: git2::Error| Failure::Clone(text(&e));
    // Not `open_bare`, which does not read where a shallow history ends.
    let clone = Repository::open(path).map_err(damaged)?;
    // Redirects to other hosts are refused: the credential is meant for the one that the policy names.
    let mut config = clone.config().map_err(damaged)?;
    if !config.get_bool("http.followRedirects").is_ok_and(|follows| !follows) {
        config.set_bool("http.followRedirects", false).map_err(damaged)?;
    }
    Ok(clone)
}

fn branch_reference(order: &Order) -> String {
    format!("refs/heads/{}", order.request.branch)
}

fn fetch(order: &Order, depth: u16, most_bytes: u64) -> Result<Oid, Failure> {
    let request = &order.request;
    let clone = open(&request.clone)?;
    let mut remote = clone.remote_anonymous(&request.url).map_err(|e| failure(&e))?;
    let tip = advertised(order, &mut remote, Direction::Fetch)?
        .ok_or_else(|| Failure::NoBranch(request.branch.clone()))?;
    let kept = format!("refs/serin/{}", request.branch);
    // The reference is set only after all objects arrived, so what it names is whole.
    if clone.refname_to_id(&kept).is_ok_and(|have| have == tip) {
        return Ok(tip);
    }
    let notes = Notes::default();
    let mut watched = callbacks(order, &notes);
    watched.transfer_progress(|progress| {
        let received = u64::try_from(progress.received_bytes()).unwrap_or(u64::MAX);
        if received > most_bytes || progress.total_objects() > MAX_OBJECTS {
            notes.write(Failure::TooLarge { bytes: most_bytes, objects: MAX_OBJECTS });
            return false;
        }
        true
    });
    let mut options = FetchOptions::new();
    options.remote_callbacks(watched);
    options.download_tags(AutotagOption::None).update_fetchhead(false);
    if local::folder(&request.url).is_none() {
        // libgit2's local transport knows no shallow fetches.
        options.depth(i32::from(depth));
    }
    let refspec = format!("+{}:{kept}", branch_reference(order));
    let fetched = remote.fetch(&[refspec], Some(&mut options), None);
    drop(options);
    fetched.map_err(|e| told(&e, notes, order))?;
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
    match local::folder(&request.url) {
        Some(path) => local::push(&clone, &path, &branch_reference(order), (commit, expected)),
        None => push_remote(&clone, order, (commit, expected)),
    }
}

fn push_remote(clone: &Repository, order: &Order, (commit, expected): (Oid, Oid)) -> Result<(), Failure> {
    let mut remote = clone.remote_anonymous(&order.request.url).map_err(|e| failure(&e))?;
    let tip = advertised(order, &mut remote, Direction::Push)?;
    if tip != Some(expected) {
        return Err(tip.map_or_else(|| Failure::NoBranch(order.request.branch.clone()), |_| Failure::Raced));
    }
    let (notes, refusal, said) = (Notes::default(), RefCell::new(None), RefCell::new(vec![]));
    let mut watched = callbacks(order, &notes);
    // `push` itself says Ok when the server refuses the branch; only this tells.
    watched.push_update_reference(|_, message| {
        if let Some(message) = message {
            *refusal.borrow_mut() = Some(message.to_owned());
        }
        Ok(())
    });
    // What a hook prints is here, and says what the refusal does not: which rule, and who can help.
    watched.sideband_progress(|bytes| {
        let mut said = said.borrow_mut();
        let room = MAX_SAID_BYTES.saturating_sub(said.len());
        said.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        true
    });
    let mut options = PushOptions::new();
    options.remote_callbacks(watched);
    let refspec = format!("{commit}:{}", branch_reference(order));
    let pushed = remote.push(&[refspec], Some(&mut options));
    drop(options);
    let failed = match (pushed, refusal.into_inner()) {
        (Ok(()), None) => return Ok(()),
        (Ok(()), Some(message)) => Failure::Refused(refused(&message, &said.into_inner())),
        (Err(error), _) => told(&error, notes, order),
    };
    // Servers word a lost race differently, so the branch itself is asked.
    let mut again = clone.remote_anonymous(&order.request.url).map_err(|e| failure(&e))?;
    match advertised(order, &mut again, Direction::Push) {
        Ok(Some(tip)) if tip == commit => Ok(()),
        Ok(Some(tip)) if tip != expected => Err(Failure::Raced),
        Ok(_) | Err(_) => Err(failed),
    }
}

/// What of a server's talk is kept.
const MAX_SAID_BYTES: usize = 400;

fn refused(message: &str, said: &[u8]) -> String {
    let said = bounded(&String::from_utf8_lossy(said));
    if said.is_empty() { bounded(message) } else { bounded(&format!("{message}; it says: {said}")) }
}

/// The tip of the branch as the remote says it is; `None` where it has no such branch.
fn advertised(order: &Order, remote: &mut Remote<'_>, direction: Direction) -> Result<Option<Oid>, Failure> {
    let notes = Notes::default();
    let tip = remote
        .connect_auth(direction, Some(callbacks(order, &notes)), None)
        .and_then(|connection| listed(&connection, &branch_reference(order)));
    tip.map_err(|e| told(&e, notes, order))
}

fn listed(connection: &RemoteConnection<'_, '_, '_>, reference: &str) -> Result<Option<Oid>, git2::Error> {
    Ok(connection.list()?.iter().find(|head| head.name() == reference).map(git2::RemoteHead::oid))
}

/// What an error means, by what was noted before it where something was.
fn told(error: &git2::Error, notes: Notes, order: &Order) -> Failure {
    if let Some(noted) = notes.read() {
        return noted;
    }
    // libgit2 gives a certificate for a name where an address is asked for as an early end of the connection.
    if error.code() == ErrorCode::Certificate || error.class() == ErrorClass::Ssl {
        let to = remote::authority(&order.request.url);
        if let Some(reason) = to.and_then(|(host, port)| tls::refusal((&host, port))) {
            return Failure::Certificate(bounded(&reason));
        }
    }
    failure(error)
}

/// What an error of libgit2 means. Only what is certain becomes a reason to wait for a person.
fn failure(error: &git2::Error) -> Failure {
    let status = error.message().strip_prefix("unexpected http status code: ");
    match (error.code(), error.class(), status) {
        (ErrorCode::NotFastForward, _, _) => Failure::Raced,
        (ErrorCode::Certificate, _, _) => Failure::Certificate(text(error)),
        (ErrorCode::Auth, _, _) | (_, _, Some("401" | "403")) => Failure::Unauthorized(text(error)),
        (_, _, Some("404" | "410")) => Failure::NotFound(text(error)),
        (_, ErrorClass::Net, _) if error.message().starts_with("cannot redirect") => {
            Failure::Redirected(text(error))
        }
        (_, ErrorClass::Ssh, _) if error.message().contains("private key") => Failure::Key(text(error)),
        (_, ErrorClass::Odb | ErrorClass::Indexer | ErrorClass::Zlib, _) => Failure::Clone(text(error)),
        (_, _, _) => Failure::Unreachable(text(error)),
    }
}

pub(super) fn text(error: &git2::Error) -> String {
    bounded(error.message())
}

/// One line of bounded length: it ends up in a status.
pub(super) fn bounded(message: &str) -> String {
    let line: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(500).collect()
}
