//! The hidden verb `git-transfer`: one fetch or push for `serin gitops`, in a process that can be killed.
//!
//! One line of JSON on stdin is the order, credential included; one line on stdout is the answer. When stdin closes
//! before the answer is there the parent is gone, and so is this process: nobody would count what it pushed.

use std::{
    io::{BufRead, BufReader, Read, Stdin, Write, stdin, stdout},
    process::ExitCode,
};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::gitops::{
    access::Credential,
    perform::perform,
    transfer::{Answer, Failure, Order},
};

/// An order is a few paths and a credential.
const MAX_ORDER_BYTES: u64 = 256 * 1024;

/// Runs the verb. Whatever happened to the transfer is in the answer; the exit status only says whether there is one.
pub fn run() -> ExitCode {
    guard();
    let mut input = BufReader::new(stdin());
    let answer = match order(&mut input) {
        Ok(order) => {
            std::thread::spawn(move || end_with_the_parent(input));
            let answer = perform(&order);
            match serde_json::to_string(&answer) {
                Ok(text) if gives_away(&text, &order.credential) => Answer::Failed(Failure::Unreachable(
                    "what it says holds the credential and is not repeated".into(),
                )),
                Ok(_) | Err(_) => answer,
            }
        }
        Err(message) => Answer::Failed(Failure::Process(message)),
    };
    let Ok(line) = serde_json::to_string(&answer) else { return ExitCode::FAILURE };
    let mut out = stdout();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The most memory that a transfer may take of its own, in bytes, mapped files left out. Beyond it allocations fail: a
/// repository can be made so that little that is sent becomes much.
const MAX_MEMORY_BYTES: u64 = 256 * 1024 * 1024;

/// Bounds this process's memory, and keeps what is in it, a credential, out of core dumps and from other processes.
fn guard() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let at_most = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    // Each fails only where the system forbids it, and then the transfer is no worse than before.
    let _ = setrlimit(Resource::Core, at_most(0));
    let _ = setrlimit(Resource::Data, at_most(MAX_MEMORY_BYTES));
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// What a remote says may repeat what it was sent. Shorter ones would be found by chance.
const MIN_SECRET_BYTES: usize = 6;

/// True where an answer holds a part of the credential.
fn gives_away(answer: &str, credential: &Credential) -> bool {
    let secrets = match credential {
        Credential::None => vec![],
        Credential::Token { username, password } => {
            vec![
                password.clone(),
                STANDARD.encode(password),
                STANDARD.encode(format!("{username}:{password}")),
            ]
        }
        Credential::Key { passphrase, .. } => passphrase.iter().cloned().collect(),
    };
    secrets.iter().any(|secret| secret.len() >= MIN_SECRET_BYTES && answer.contains(secret))
}

fn order(input: &mut BufReader<Stdin>) -> Result<Order, String> {
    let mut line = vec![];
    let read = input.by_ref().take(MAX_ORDER_BYTES).read_until(b'\n', &mut line);
    read.map_err(|e| format!("the order cannot be read: {e}"))?;
    // The text of the error may quote the order, and the order holds a credential.
    serde_json::from_slice(&line).map_err(|e| format!("the order is not readable at column {}", e.column()))
}

fn end_with_the_parent(mut input: BufReader<Stdin>) {
    let mut byte = [0];
    while let Ok(1..) = input.read(&mut byte) {}
    std::process::exit(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_repeats_the_credential_is_known_by_its_forms() {
        let token = Credential::Token { username: "bot".into(), password: "t0ken-t0ken".into() };
        for said in ["you sent t0ken-t0ken", "dDBrZW4tdDBrZW4=", "Basic Ym90OnQwa2VuLXQwa2Vu"] {
            assert!(gives_away(said, &token), "{said}");
        }
        assert!(
            !gives_away("you sent bot", &token) && !gives_away("you sent t0ken-t0ken", &Credential::None)
        );
        let key = Credential::Key {
            identity: "k".into(),
            passphrase: Some("correct horse".into()),
            known_hosts: String::new(),
        };
        assert!(gives_away("correct horse", &key));
        // A letter is in every answer.
        let short = Credential::Token { username: "bot".into(), password: "t".into() };
        assert!(!gives_away("tried", &short));
    }
}
