//! The shop's repository and the server that has it. The lab sees the repository through the `git` program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::Duration,
};

use jiff::Timestamp;
use serin::clock::Clock;
use tokio::net::TcpStream;

use crate::{Fallible, images::lock, process::Process, wait};

/// Where the Git server listens in the namespace.
const ADDRESS: (&str, u16) = ("10.77.0.7", 9418);
/// The branch that the GitOps engine applies.
const BRANCH: &str = "main";

/// A real Git server, `git daemon`, over all repositories of a folder. Ends with this value.
pub(crate) struct Server {
    folder: PathBuf,
    /// None while it is away.
    process: Mutex<Option<Process>>,
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    /// With the end of its log when it does not come up.
    pub(crate) async fn start(folder: &Path) -> Fallible<Self> {
        let server = Self { folder: folder.into(), process: Mutex::default() };
        server.come_back().await?;
        Ok(server)
    }

    /// Kills it: nobody can fetch or push from now on.
    ///
    /// # Errors
    /// When it is away already.
    pub(crate) async fn go(&self) -> Fallible {
        let process = lock(&self.process).take();
        Ok(process.ok_or("the Git server is away already")?.kill().await?)
    }

    /// Starts it at its address and waits until it listens.
    ///
    /// # Errors
    /// With the end of its log when it does not come up.
    pub(crate) async fn come_back(&self) -> Fallible {
        // Not by way of `git daemon`, which would only be its parent.
        let program = PathBuf::from(git(&self.folder, &["--exec-path"])?.trim()).join("git-daemon");
        let arguments = [
            "--export-all".into(),
            "--reuseaddr".into(),
            "--enable=receive-pack".into(),
            format!("--listen={}", ADDRESS.0),
            format!("--port={}", ADDRESS.1),
            format!("--base-path={}", self.folder.display()),
        ];
        let variables =
            [("GIT_CONFIG_GLOBAL", "/dev/null".to_owned()), ("GIT_CONFIG_SYSTEM", "/dev/null".to_owned())];
        let mut process = Process::start_with(&self.folder, "git-daemon", &program, &arguments, &variables)?;
        wait::while_alive(
            "the Git server",
            Duration::from_secs(20),
            || process.alive(),
            async || Ok(TcpStream::connect(ADDRESS).await.map(|_| ())?),
        )
        .await?;
        *lock(&self.process) = Some(process);
        Ok(())
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&self) -> Fallible {
        lock(&self.process).as_mut().ok_or("the Git server is away")?.alive()
    }
}

/// A bare repository and a person's clone of it.
pub(crate) struct Repository {
    /// Where the server has it.
    url: String,
    bare: PathBuf,
    clone: PathBuf,
}

/// One commit of the branch.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) id: String,
    pub(crate) author: String,
    pub(crate) at: Timestamp,
    /// Subject and body.
    pub(crate) message: String,
}

impl Repository {
    /// Makes both under `folder/name`, which the server serves, with `files` as the first commit.
    ///
    /// # Errors
    /// When git refuses.
    pub(crate) fn new(folder: &Path, name: &str, files: &[(&str, &str)]) -> Fallible<Self> {
        let url = format!("git://{}:{}/{name}/shop.git", ADDRESS.0, ADDRESS.1);
        let folder = &folder.join(name);
        let repository = Self { url, bare: folder.join("shop.git"), clone: folder.join("shop") };
        fs::create_dir_all(folder)?;
        git(folder, &["init", "--quiet", "--bare", "--initial-branch", BRANCH, "shop.git"])?;
        git(folder, &["clone", "--quiet", "shop.git", "shop"])?;
        git(&repository.clone, &["checkout", "--quiet", "-B", BRANCH])?;
        repository.commit("Run the shop", files)?;
        Ok(repository)
    }

    /// Its address at the server.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The tip, as the server tells it. None while the server is away.
    pub(crate) async fn fetched_tip(&self) -> Option<String> {
        let asked = tokio::process::Command::new("git")
            .args(["ls-remote", &self.url, BRANCH])
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .kill_on_drop(true)
            .output();
        let output = Clock::Wall.timeout(Duration::from_secs(5), asked).await?.ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.split_whitespace().next().map(str::to_owned)
    }

    /// Commits `files` as a person on top of what is there, and pushes.
    ///
    /// # Errors
    /// When git refuses, for instance because nothing changed.
    pub(crate) fn commit(&self, message: &str, files: &[(&str, &str)]) -> Fallible<String> {
        if self.tip().is_ok() {
            git(&self.clone, &["fetch", "--quiet", "origin"])?;
            git(&self.clone, &["reset", "--quiet", "--hard", &format!("origin/{BRANCH}")])?;
        }
        for (path, text) in files {
            let path = self.clone.join(path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, text)?;
        }
        git(&self.clone, &["add", "--all"])?;
        git(&self.clone, &["commit", "--quiet", "--message", message])?;
        git(&self.clone, &["push", "--quiet", "origin", BRANCH])?;
        self.tip()
    }

    /// The commit that the branch points to.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn tip(&self) -> Fallible<String> {
        Ok(git(&self.bare, &["rev-parse", BRANCH])?.trim().to_owned())
    }

    /// The files of a commit and their contents.
    ///
    /// # Errors
    /// When there is no such commit.
    pub(crate) fn files(&self, commit: &str) -> Fallible<Vec<(String, String)>> {
        let names = git(&self.bare, &["ls-tree", "-r", "--name-only", commit])?;
        names.lines().map(|name| Ok((name.to_owned(), self.file(commit, name)?))).collect()
    }

    /// One file of a commit, byte for byte.
    ///
    /// # Errors
    /// When there is no such file.
    pub(crate) fn file(&self, commit: &str, path: &str) -> Fallible<String> {
        git(&self.bare, &["show", &format!("{commit}:{path}")])
    }

    /// All commits of the branch, newest first.
    ///
    /// # Errors
    /// When git refuses.
    pub(crate) fn log(&self) -> Fallible<Vec<Commit>> {
        let text = git(&self.bare, &["log", "--format=%H%x1f%an%x1f%cI%x1f%B%x1e", BRANCH])?;
        let fields = text.split('\u{1e}').map(str::trim_start).filter(|entry| !entry.is_empty());
        fields
            .map(|entry| {
                let [id, author, at, message] = entry.splitn(4, '\u{1f}').collect::<Vec<_>>()[..] else {
                    return Err(format!("git log: {entry}").into());
                };
                let own = str::to_owned;
                Ok(Commit { id: own(id), author: own(author), at: at.parse()?, message: own(message) })
            })
            .collect()
    }

    /// What a commit changed, as a unified diff.
    ///
    /// # Errors
    /// When there is no such commit.
    pub(crate) fn patch(&self, commit: &str) -> Fallible<String> {
        git(&self.bare, &["show", "--format=", commit])
    }
}

fn git(folder: &Path, words: &[&str]) -> Fallible<String> {
    let output = Command::new("git")
        .args(["-c", "user.name=Ada Shop", "-c", "user.email=ada@example.org", "-c", "safe.directory=*"])
        .args(words)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .map_err(|error| format!("git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
