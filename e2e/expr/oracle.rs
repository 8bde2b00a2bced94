//! The reference evaluator as a child process that answers JSON lines.

use std::{
    io::{BufRead, BufReader, Error, Result, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

pub struct Oracle {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What one of the two said: `true`, `false` or `error`, and the error's message.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub verdict: String,
    pub message: String,
}

impl Oracle {
    pub fn start(program: &str) -> Result<Self> {
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take();
        let answers = child.stdout.take().ok_or_else(|| Error::other("no output"))?;
        Ok(Self { child, questions, answers: BufReader::new(answers) })
    }

    /// The answers to questions, in order. Questions are written by a thread, so that no pipe fills up.
    pub fn ask(&mut self, questions: Vec<String>) -> Result<Vec<Answer>> {
        let count = questions.len();
        let mut input = self.questions.take().ok_or_else(|| Error::other("no input"))?;
        let writer = std::thread::spawn(move || {
            let lines: String = questions.into_iter().map(|question| question + "\n").collect();
            let written = input.write_all(lines.as_bytes()).and_then(|()| input.flush());
            (input, written)
        });
        let mut answers = Vec::with_capacity(count);
        for _ in 0..count {
            let mut line = String::new();
            if self.answers.read_line(&mut line)? == 0 {
                return Err(Error::other("the oracle ended"));
            }
            let json: Value = serde_json::from_str(&line)?;
            let message = json["message"].as_str().unwrap_or_default().to_owned();
            let verdict = json["verdict"].as_bool().map_or("error".to_owned(), |verdict| verdict.to_string());
            // A question that the oracle cannot read would otherwise agree with every error of ours.
            if message.starts_with("bad question") {
                return Err(Error::other(message));
            }
            answers.push(Answer { verdict, message });
        }
        let (input, written) = writer.join().map_err(|_| Error::other("writer"))?;
        written?;
        self.questions = Some(input);
        Ok(answers)
    }

    pub fn ask_one(&mut self, question: String) -> Result<Answer> {
        Ok(self.ask(vec![question])?.remove(0))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.questions.take();
        let _ = self.child.wait();
    }
}
