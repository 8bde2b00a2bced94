//! A real Git server on loopback: `git daemon`, which runs hooks and speaks the protocol that shallow fetches need.

use std::{
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use super::Remote;

pub(crate) struct Daemon {
    child: Child,
    url: String,
}

impl Daemon {
    /// Serves `remote` for fetch and push.
    pub(crate) fn serve(remote: &Remote) -> Self {
        // The folder is part of the address: a server of another test that took the port serves nothing else for it.
        let folder = remote.folder.path();
        let (base, name) = (folder.parent().unwrap(), folder.file_name().unwrap().to_str().unwrap());
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut child = Command::new("git")
                .args(["daemon", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1"])
                .arg(format!("--port={port}"))
                .arg(format!("--base-path={}", base.display()))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .expect("git is installed");
            // It ends at once where somebody took the port meanwhile.
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, url: format!("git://127.0.0.1:{port}/{name}/deploy.git") };
                }
                std::thread::yield_now();
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}
