//! A working copy and its pushes, with the real git.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A working copy in a temporary folder.
#[derive(Debug)]
pub struct Repository {
    folder: TempDir,
}

/// The result of a git or client command.
#[derive(Clone, Debug)]
pub struct CommandOutput {
    /// Whether it exited with 0.
    pub accepted: bool,
    /// All output; git prefixes the server's lines with `remote: `.
    pub text: String,
}

impl CommandOutput {
    /// Asserts that the command succeeded.
    ///
    /// # Panics
    /// It failed.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert!(self.accepted, "failed:\n{}", self.text);
        self
    }

    /// Asserts that the command failed.
    ///
    /// # Panics
    /// It succeeded.
    #[track_caller]
    pub fn refused(self) -> Self {
        assert!(!self.accepted, "succeeded:\n{}", self.text);
        self
    }

    /// Asserts that the output contains this text.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn says(self, expected: &str) -> Self {
        assert!(self.text.contains(expected), "{expected:?} is not in:\n{}", self.text);
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

    /// The repository that another program created in `folder`.
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

    /// The commit of HEAD.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git, which must succeed, and returns its output.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = run(self.path(), arguments);
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs git.
    pub fn try_git(&self, arguments: &[&str]) -> CommandOutput {
        let output = run(self.path(), arguments);
        let text = [output.stdout, output.stderr].concat();
        CommandOutput { accepted: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
    }

    /// `git push --progress URL REFSPECS...`: without a terminal, git requests no progress by default.
    pub fn push(&self, url: &str, refspecs: &[&str]) -> CommandOutput {
        self.try_git(&[&["push", "--progress", url], refspecs].concat())
    }
}

impl Default for Repository {
    fn default() -> Self {
        Self::new()
    }
}

/// The smallest app with a path parameter.
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

/// git without user configuration and prompts.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    command_of(Path::new("git"), folder, arguments)
}

/// The git at this path, without user configuration and prompts.
pub fn command_of(git: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(git);
    command.args(arguments).current_dir(folder);
    environment(&mut command, folder);
    command
}

/// Gives a program that is or runs git an environment without user configuration.
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
