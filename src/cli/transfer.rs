//! The hidden verb `git-transfer`: one fetch or push for `serin gitops`, in a process that can be killed.
//!
//! One line of JSON on stdin is the order, credential included; one line on stdout is the answer. When stdin closes
//! before the answer is there the parent is gone, and so is this process: nobody would count what it pushed.

use std::{
    io::{BufRead, BufReader, Read, Stdin, Write, stdin, stdout},
    process::ExitCode,
};

use crate::gitops::{
    perform::perform,
    transfer::{Answer, Failure, Order},
};

/// An order is a few paths and a credential.
const MAX_ORDER_BYTES: u64 = 256 * 1024;

/// Runs the verb. Whatever happened to the transfer is in the answer; the exit status only says whether there is one.
pub fn run() -> ExitCode {
    let mut input = BufReader::new(stdin());
    let answer = match order(&mut input) {
        Ok(order) => {
            std::thread::spawn(move || end_with_the_parent(input));
            perform(&order)
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
