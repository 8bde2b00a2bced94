//! Stands between the Git lane and its transfers: counts them, and can have the lane die before one starts, or when
//! one is done and its answer not yet read.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use serin::sim::{door::Door, fault::Point};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::unix::pipe,
};

use crate::play::Moment;

/// What each transfer came to, in order: `fetch`, `push` or how it failed.
pub(crate) type Transfers = Arc<Mutex<Vec<String>>>;

/// A program that does what serin's `git-transfer` does, and asks before and after.
pub(crate) struct Gate {
    pub(crate) program: PathBuf,
    folder: PathBuf,
}

impl Gate {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let gate = Self { program: folder.join("transfer"), folder: folder.to_owned() };
        let (asked, told) = (gate.asked(), gate.told());
        assert!(Command::new("mkfifo").args([&asked, &told]).status().unwrap().success());
        let (asked, told, serin) = (asked.display(), told.display(), env!("CARGO_BIN_EXE_serin"));
        // Stdin stays the lane's: `git-transfer` ends when that closes. Reading every certificate of the machine is most
        // of what a transfer does, and no remote here has one.
        let script = format!(
            "#!/bin/sh\necho before >{asked}\nread -r word <{told}\nanswer=$(SSL_CERT_FILE=/dev/null SSL_CERT_DIR=/dev/null {serin} \"$@\")\n\
             echo \"after $answer\" >{asked}\nread -r word <{told}\nprintf '%s\\n' \"$answer\"\n"
        );
        std::fs::write(&gate.program, script).unwrap();
        std::fs::set_permissions(&gate.program, std::fs::Permissions::from_mode(0o755)).unwrap();
        gate
    }

    fn asked(&self) -> PathBuf {
        self.folder.join("asked")
    }

    fn told(&self) -> PathBuf {
        self.folder.join("told")
    }

    /// Lets every transfer through but the one at which the lane dies. One goes on at a time: there is one remote.
    pub(crate) async fn keep(self, door: Door, crash: Option<(u32, Moment)>, transfers: Transfers) {
        let both = || pipe::OpenOptions::new().read_write(true).clone();
        let mut asked = BufReader::new(both().open_receiver(self.asked()).unwrap()).lines();
        let mut told = both().open_sender(self.told()).unwrap();
        let mut nth = 0;
        while let Some(line) = asked.next_line().await.unwrap() {
            let moment = match line.strip_prefix("after ") {
                None => {
                    nth += 1;
                    Moment::Before
                }
                Some(answer) => {
                    transfers.lock().unwrap().push(name(answer));
                    Moment::After
                }
            };
            if crash == Some((nth, moment)) {
                door.with(|world| world.kill(point(nth)));
            } else {
                told.write_all(b"go on\n").await.unwrap();
            }
        }
    }
}

/// Where in the story a transfer is.
pub(crate) fn point(nth: u32) -> Point {
    Point { actor: "gitops".to_owned(), verb: "transfer", resource: "git".to_owned(), nth }
}

fn name(answer: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    if value == "pushed" {
        "push".to_owned()
    } else if value["fetched"].is_object() {
        "fetch".to_owned()
    } else if let Some(kind) = value["failed"].as_object().and_then(|failed| failed.keys().next()) {
        // Without the rest of the answer: it names a folder that is another one in each play.
        format!("that fails: {kind}")
    } else {
        answer.to_owned()
    }
}
