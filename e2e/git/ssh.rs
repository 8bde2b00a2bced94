//! A real SSH server on loopback that lets one key in, to a shell of the user that runs the tests.

use std::{
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::Remote;

/// A key pair in a folder of its own.
pub(crate) struct Key {
    folder: tempfile::TempDir,
}

impl Key {
    /// `kind` as `ssh-keygen -t` has it. An empty passphrase: none.
    pub(crate) fn new(kind: &str, passphrase: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f"])
            .arg(folder.path().join("key"))
            .status()
            .expect("ssh-keygen is installed");
        assert!(made.success());
        Self { folder }
    }

    pub(crate) fn private(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("key")).unwrap()
    }

    /// Kind and key, as `known_hosts` and `authorized_keys` have them.
    pub(crate) fn public(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("key.pub")).unwrap().trim().to_owned()
    }
}

/// A server that runs. Ends with this.
pub(crate) struct Server {
    child: Child,
    port: u16,
    path: String,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Serves `remote` to whoever has `key`.
    pub(crate) fn serve(remote: &Remote, hosts: &[&Key], key: &Key) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("authorized"), key.public()).unwrap();
        // As root it wants this folder, which the package's service makes.
        if whoami() == "root" {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let configuration = folder.path().join("sshd_config");
            std::fs::write(&configuration, text(port, folder.path(), hosts)).unwrap();
            let mut child = Command::new("/usr/sbin/sshd")
                .args(["-D", "-e", "-f"])
                .arg(configuration)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .expect("openssh-server is installed");
            // It ends at once where somebody took the port meanwhile.
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    let path = remote.path().display().to_string();
                    return Self { child, port, path, _folder: folder };
                }
                std::thread::yield_now();
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", whoami(), self.port, self.path)
    }

    /// The line of `known_hosts` that vouches for `key` as this server's.
    pub(crate) fn known(&self, key: &Key) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port, key.public())
    }

    /// The same with the name hashed, by OpenSSH itself.
    pub(crate) fn known_hashed(&self, key: &Key) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::fs::write(&file, self.known(key)).unwrap();
        let made = Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).output().unwrap();
        assert!(made.status.success());
        let hashed = std::fs::read_to_string(file).unwrap();
        assert!(hashed.starts_with("|1|"), "{hashed}");
        hashed
    }
}

fn text(port: u16, folder: &Path, hosts: &[&Key]) -> String {
    let mut text = format!(
        "Port {port}\nListenAddress 127.0.0.1\nAuthorizedKeysFile {}/authorized\nStrictModes no\nUsePAM no\n\
         PidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n",
        folder.display()
    );
    for host in hosts {
        text += &format!("HostKey {}/key\n", host.folder.path().display());
    }
    text
}

fn whoami() -> String {
    let name = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(name.stdout).unwrap().trim().to_owned()
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}
