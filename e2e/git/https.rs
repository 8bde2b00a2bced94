//! A real Git server over HTTPS on loopback: `git http-backend` behind nginx, which checks the token, with a
//! certificate by an authority of the test's own; and one that misbehaves in the ways that real ones do.

use std::{
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::Remote;

pub(crate) const USER: &str = "serin-bot";

/// A certificate authority in a folder of its own.
pub(crate) struct Authority {
    folder: tempfile::TempDir,
}

/// Whom a certificate is for.
#[derive(Clone, Copy)]
pub(crate) enum Leaf {
    /// This machine's loopback address.
    Loopback,
    /// The same, until yesterday.
    Expired,
    /// `elsewhere.example`.
    Elsewhere,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let authority = Self { folder: tempfile::tempdir().unwrap() };
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 \
             -subj /CN=Test",
        );
        authority
    }

    fn openssl(&self, arguments: &str) {
        let made = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
    }

    pub(crate) fn pem(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("ca.crt")).unwrap()
    }

    /// Writes `server.crt` and `server.key` into `folder`.
    fn issue(&self, leaf: Leaf, folder: &Path) {
        let (name, days) = match leaf {
            Leaf::Loopback => ("IP:127.0.0.1", 1),
            Leaf::Expired => ("IP:127.0.0.1", -1),
            Leaf::Elsewhere => ("DNS:elsewhere.example", 1),
        };
        let folder = folder.display();
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {folder}/server.key \
             -out server.csr -subj /CN=server -addext subjectAltName={name}"
        ));
        self.openssl(&format!(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -copy_extensions copy -days {days} \
             -out {folder}/server.crt"
        ));
    }
}

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Manner {
    Serve,
    /// Answers this status to everything.
    Status(u16),
    /// Sends the client to the same path below this address.
    Redirect(String),
    /// Sends so many bytes a second.
    Trickle(u32),
    /// Takes the request and never answers.
    Hang,
}

/// A server that runs. Ends with this.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    /// The folder above the repository.
    root: PathBuf,
    name: String,
    port: u16,
    token: String,
    nginx: Option<Child>,
    backend: Child,
    /// Takes connections for as long as this lives, and reads nothing.
    silent: TcpListener,
}

impl Server {
    /// Serves `remote` to whoever has `token`.
    pub(crate) fn serve(remote: &Remote, authority: &Authority, token: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        authority.issue(Leaf::Loopback, folder.path());
        let backend = Command::new("fcgiwrap")
            .args(["-c", "2", "-s"])
            .arg(format!("unix:{}", folder.path().join("backend").display()))
            .env("HOME", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("fcgiwrap is installed");
        let above = remote.folder.path();
        let mut server = Self {
            root: above.parent().unwrap().to_owned(),
            name: above.file_name().unwrap().to_str().unwrap().to_owned(),
            port: 0,
            token: token.into(),
            nginx: None,
            backend,
            silent: TcpListener::bind("127.0.0.1:0").unwrap(),
            folder,
        };
        while server.nginx.is_none() {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            server.becomes(Manner::Serve);
        }
        server
    }

    pub(crate) fn url(&self) -> String {
        // The folder is part of the address: a server of another test that took the port serves nothing for it.
        format!("https://127.0.0.1:{}/{}/deploy.git", self.port, self.name)
    }

    /// Starts anew on the same port with another manner.
    pub(crate) fn becomes(&mut self, manner: Manner) {
        self.stop();
        let configuration = self.folder.path().join("nginx.conf");
        std::fs::write(&configuration, self.configuration(&manner)).unwrap();
        let mut nginx = Command::new("nginx")
            .arg("-c")
            .arg(&configuration)
            .arg("-p")
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("nginx is installed");
        // It ends by itself where somebody took the port meanwhile.
        while nginx.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                self.nginx = Some(nginx);
                return;
            }
            std::thread::yield_now();
        }
    }

    pub(crate) fn presents(&mut self, authority: &Authority, leaf: Leaf) {
        authority.issue(leaf, self.folder.path());
        self.becomes(Manner::Serve);
    }

    /// The `Authorization` header of each request that came, `-` where there was none.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("authorizations")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn stop(&mut self) {
        if let Some(mut nginx) = self.nginx.take() {
            let _ = nginx.kill();
            let _ = nginx.wait();
        }
    }

    fn configuration(&self, manner: &Manner) -> String {
        let serve = format!(
            "auth_basic git; auth_basic_user_file {folder}/users; fastcgi_pass unix:{folder}/backend; \
             fastcgi_param SCRIPT_FILENAME {backend}; fastcgi_param PATH_INFO $uri; \
             fastcgi_param GIT_PROJECT_ROOT {root}; fastcgi_param GIT_HTTP_EXPORT_ALL 1; \
             fastcgi_param REMOTE_USER $remote_user; fastcgi_param QUERY_STRING $query_string; \
             fastcgi_param REQUEST_METHOD $request_method; fastcgi_param CONTENT_TYPE $content_type; \
             fastcgi_param CONTENT_LENGTH $content_length;",
            folder = self.folder.path().display(),
            backend = backend().display(),
            root = self.root.display(),
        );
        std::fs::write(self.folder.path().join("users"), format!("{USER}:{{PLAIN}}{}\n", self.token))
            .unwrap();
        let location = match manner {
            Manner::Serve => serve,
            Manner::Status(status) => format!("return {status};"),
            Manner::Redirect(to) => format!("return 302 {to}$request_uri;"),
            Manner::Trickle(bytes) => format!("{serve} limit_rate {bytes};"),
            Manner::Hang => format!("proxy_pass http://{};", self.silent.local_addr().unwrap()),
        };
        format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}} http {{ \
             log_format authorization '$http_authorization'; access_log authorizations authorization; \
             client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; \
             scgi_temp_path t5; client_max_body_size 0; server {{ listen 127.0.0.1:{} ssl; \
             ssl_certificate server.crt; ssl_certificate_key server.key; location / {{ {location} }} }} }}\n",
            self.port
        )
    }
}

fn backend() -> PathBuf {
    let found = Command::new("git").arg("--exec-path").output().expect("git is installed");
    PathBuf::from(String::from_utf8(found.stdout).unwrap().trim()).join("git-http-backend")
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let group = rustix::process::Pid::from_child(&self.backend);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.backend.wait();
    }
}
