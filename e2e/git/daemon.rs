//! A real Git server on loopback: `git daemon`, which runs hooks and speaks the protocol that shallow fetches need.

use std::{
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use super::Remote;

pub(crate) struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    /// Serves `remote` for fetch and push.
    pub(crate) fn serve(remote: &Remote) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("git")
            .args(["daemon", "--export-all", "--enable=receive-pack", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", remote.folder.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("git is installed");
        let daemon = Self { child, port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        daemon
    }

    pub(crate) fn url(&self) -> String {
        format!("git://127.0.0.1:{}/deploy.git", self.port)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}
