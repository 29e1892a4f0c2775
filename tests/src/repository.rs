//! A working copy and its pushes, by the real git.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A working copy in a folder of its own.
#[derive(Debug)]
pub struct Repository {
    folder: TempDir,
}

/// How a command of git, or of another client, ended.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// Whether it exited with 0.
    pub accepted: bool,
    /// All that it printed, by git with `remote: ` in front of the server's lines.
    pub text: String,
}

impl Pushed {
    /// Holds the push to have been accepted.
    ///
    /// # Panics
    /// It was not.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert!(self.accepted, "refused:\n{}", self.text);
        self
    }

    /// Holds the push to have been refused.
    ///
    /// # Panics
    /// It was not.
    #[track_caller]
    pub fn refused(self) -> Self {
        assert!(!self.accepted, "accepted:\n{}", self.text);
        self
    }

    /// Holds the output to contain `words`.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.text.contains(words), "does not say {words:?}:\n{}", self.text);
        self
    }
}

impl Repository {
    /// An empty repository on branch `main`.
    pub fn new() -> Self {
        let repository = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        repository.git(&["init", "-q", "-b", "main"]);
        repository
    }

    /// A repository with the starter app committed.
    pub fn hello() -> Self {
        let repository = Self::new();
        repository.write("picloud.toml", HELLO_MANIFEST);
        repository.write("greet.rhai", HELLO_SCRIPT);
        repository.commit("first");
        repository
    }

    /// A clone of `url`.
    pub fn clone_of(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cloned = run(folder.path(), &["clone", "-q", url, "."]);
        assert!(cloned.status.success(), "{}", String::from_utf8_lossy(&cloned.stderr));
        Self { folder }
    }

    /// The repository that some other program made in `folder`.
    pub fn made_in(folder: TempDir) -> Self {
        Self { folder }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path: PathBuf = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    /// Commits everything, and returns the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    /// The commit that HEAD is.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = run(self.path(), arguments);
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs git, whatever comes of it.
    pub fn try_git(&self, arguments: &[&str]) -> Pushed {
        let output = run(self.path(), arguments);
        let text = [output.stdout, output.stderr].concat();
        Pushed { accepted: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
    }

    /// `git push --progress URL REFSPECS...`: on a terminal, which tests are not, git asks for progress by itself.
    pub fn push(&self, url: &str, refspecs: &[&str]) -> Pushed {
        self.try_git(&[&["push", "--progress", url], refspecs].concat())
    }
}

impl Default for Repository {
    fn default() -> Self {
        Self::new()
    }
}

/// The smallest app with a capture.
pub const HELLO_MANIFEST: &str = r#"sdk = "1.1"

[[routes]]
path = "/greet/{name}"
methods = ["GET"]
script = "greet.rhai"
"#;

/// Its script.
pub const HELLO_SCRIPT: &str = "#{ message: `Hello, ${ctx.request.params.name}` }\n";

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("git is installed")
}

/// git without anybody's configuration and without questions.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    command_of(Path::new("git"), folder, arguments)
}

/// A git of one's choice, without anybody's configuration and without questions.
pub fn command_of(git: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(git);
    command.args(arguments).current_dir(folder);
    environment(&mut command, folder);
    command
}

/// Gives a program that may be git, or start it, an environment without anybody's configuration.
pub fn environment(command: &mut Command, home: &Path) {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_COMMITTER_NAME", "Ada")])
        .envs([("GIT_AUTHOR_EMAIL", "ada@example.com"), ("GIT_COMMITTER_EMAIL", "ada@example.com")]);
}
