//! The shop's repository, as everybody but serin sees it: through the `git` program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Fallible;

/// The branch that the GitOps engine applies.
const BRANCH: &str = "main";

/// A bare repository and a person's clone of it.
pub(crate) struct Repository {
    bare: PathBuf,
    clone: PathBuf,
}

/// One commit of the branch.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) id: String,
    pub(crate) author: String,
    pub(crate) subject: String,
    pub(crate) body: String,
}

impl Repository {
    /// Makes both under `folder`, with `files` as the first commit.
    ///
    /// # Errors
    /// When git refuses.
    pub(crate) fn new(folder: &Path, files: &[(&str, &str)]) -> Fallible<Self> {
        let repository = Self { bare: folder.join("shop.git"), clone: folder.join("shop") };
        fs::create_dir_all(folder)?;
        git(folder, &["init", "--quiet", "--bare", "--initial-branch", BRANCH, "shop.git"])?;
        git(folder, &["clone", "--quiet", "shop.git", "shop"])?;
        git(&repository.clone, &["checkout", "--quiet", "-B", BRANCH])?;
        repository.commit("Run the shop", files)?;
        Ok(repository)
    }

    /// Address of the bare repository.
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.bare.display())
    }

    /// Commits `files` as a person and pushes.
    ///
    /// # Errors
    /// When git refuses, for instance because nothing changed.
    pub(crate) fn commit(&self, message: &str, files: &[(&str, &str)]) -> Fallible<String> {
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
        let text = git(&self.bare, &["log", "--format=%H%x1f%an%x1f%s%x1f%B%x1e", BRANCH])?;
        let fields = text.split('\u{1e}').map(str::trim_start).filter(|entry| !entry.is_empty());
        fields
            .map(|entry| {
                let [id, author, subject, body] = entry.splitn(4, '\u{1f}').collect::<Vec<_>>()[..] else {
                    return Err(format!("git log: {entry}").into());
                };
                let own = str::to_owned;
                Ok(Commit { id: own(id), author: own(author), subject: own(subject), body: own(body) })
            })
            .collect()
    }

    /// The lines that a commit took out and put in, over all its files, each with its sign.
    ///
    /// # Errors
    /// When there is no such commit.
    pub(crate) fn diff(&self, commit: &str) -> Fallible<Vec<String>> {
        let text = git(&self.bare, &["show", "--format=", "--unified=0", commit])?;
        let changed = |line: &&str| {
            (line.starts_with('+') || line.starts_with('-'))
                && !line.starts_with("+++")
                && !line.starts_with("---")
        };
        Ok(text.lines().filter(changed).map(str::to_owned).collect())
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
