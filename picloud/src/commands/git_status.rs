//! Differences between the working tree and HEAD, which a push sends, for the warnings of `picloud check`. Runs git.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use manifest_schema::diagnostic::Diagnostic;
use manifest_schema::manifest;
use platform::deploy::{FILE_BYTES_MAX, File, Snapshot};

/// The state of a repository.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    /// Warnings, at most one for each file.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The manifest and scripts that git ignores.
    pub(crate) ignored: Vec<String>,
    /// The manifest and the scripts of HEAD; `None` without a commit.
    pub(crate) committed: Option<Snapshot>,
    /// The files that differ from HEAD.
    pub(crate) differing: BTreeSet<String>,
}

/// Why a git command failed.
#[derive(Debug, thiserror::Error)]
enum GitError {
    #[error("cannot run git: {0}")]
    Start(io::Error),
    #[error("git failed: {0}")]
    Failed(String),
    #[error("unexpected output of git")]
    Output,
}

/// Inspects the repository of `folder`; returns an empty state if there is none. `mentions` tests whether the manifest contains
/// a path.
pub(crate) fn inspect(folder: &Path, mentions: &dyn Fn(&str) -> bool) -> Repository {
    let found = Git { folder }.inspect(mentions);
    found.unwrap_or_else(|error| {
        let is_repository = folder.join(".git").exists();
        let message = format!("cannot determine what a push sends: {error}");
        let diagnostics = if is_repository {
            vec![Diagnostic::warning("the repository", None, message)]
        } else {
            Vec::new()
        };
        Repository { diagnostics, ..Repository::default() }
    })
}

/// The paths of ignored folders, such as `target`.
pub(crate) fn ignored_folders(folder: &Path) -> Vec<String> {
    Git { folder }.ignored_folders().unwrap_or_default()
}

/// Runs git in a folder.
struct Git<'a> {
    folder: &'a Path,
}

impl Git<'_> {
    fn inspect(&self, mentions: &dyn Fn(&str) -> bool) -> Result<Repository, GitError> {
        let prefix = self.run(&["rev-parse", "--show-prefix"], b"")?;
        let prefix = text(&prefix);
        let prefix = prefix.trim_end_matches('\n');
        let mut repository = Repository::default();
        if !prefix.is_empty() {
            let message = format!(
                "the folder is `{prefix}` in its repository, but {} must be at the root of the repository",
                manifest::FILE_NAME
            );
            let diagnostic = Diagnostic::warning(manifest::FILE_NAME, None, message);
            repository.diagnostics.push(diagnostic.with_help("create a separate repository for the app"));
            return Ok(repository);
        }
        if self.run(&["rev-parse", "--verify", "--quiet", "HEAD"], b"").is_err() {
            let message = "no commits yet; a push sends commits";
            repository.diagnostics.push(
                Diagnostic::warning("the repository", None, message).with_help("git add . && git commit"),
            );
            return Ok(repository);
        }
        let states = self.states()?;
        repository.ignored = states
            .iter()
            .filter(|(_, state)| **state == State::Ignored)
            .map(|(path, _)| path.clone())
            .collect();
        let rules = self.ignore_rules(&repository.ignored)?;
        for (path, state) in &states {
            if *state == State::Ignored && !mentions(path) {
                continue;
            }
            repository.differing.insert(path.clone());
            let (message, help) = state.describe(path, rules.get(path.as_str()));
            repository.diagnostics.push(Diagnostic::warning(path, None, message).with_help(help));
        }
        let committed = self.committed()?;
        for path in self.lfs_files()? {
            // A committed pointer is reported as an error.
            let is_pointer = committed.get(&path).is_some_and(File::is_lfs_pointer);
            if !is_pointer || repository.differing.contains(&path) {
                repository.diagnostics.push(lfs(&path));
            }
        }
        for path in self.assumed_unchanged()? {
            let here = fs::read(self.folder.join(&path)).ok();
            if let (Some(here), Some(File::Bytes(there))) = (here, committed.get(&path))
                && here != there[..]
            {
                let message =
                    "git is configured to ignore changes of this file: a push sends the file of HEAD";
                let help =
                    format!("git update-index --no-assume-unchanged --no-skip-worktree {}", quoted(&path));
                repository.diagnostics.push(Diagnostic::warning(path, None, message).with_help(help));
            }
        }
        repository.committed = Some(committed);
        Ok(repository)
    }

    fn ignored_folders(&self) -> Result<Vec<String>, GitError> {
        let prefix = self.run(&["rev-parse", "--show-prefix"], b"")?;
        let prefix = text(&prefix);
        let prefix = prefix.trim_end_matches('\n');
        let status = self.run(
            &["status", "--porcelain", "-z", "--ignored=matching", "--untracked-files=normal", "--", "."],
            b"",
        )?;
        let status = text(&status);
        let ignored = status.split_terminator('\0').filter_map(|entry| entry.strip_prefix("!! "));
        let folders = ignored.filter_map(|path| path.strip_prefix(prefix)?.strip_suffix('/'));
        Ok(folders.map(str::to_owned).collect())
    }

    /// The states of the manifest and the scripts that differ from HEAD.
    fn states(&self) -> Result<BTreeMap<String, State>, GitError> {
        let mut arguments = vec![
            "status",
            "--porcelain=v2",
            "-z",
            "--untracked-files=all",
            "--ignored=traditional",
            "--no-renames",
        ];
        arguments.extend(PATHSPECS);
        let status = self.run(&arguments, b"")?;
        let mut states = BTreeMap::new();
        for entry in text(&status).split_terminator('\0') {
            let mut parts = entry.splitn(2, ' ');
            let (Some(kind), Some(rest)) = (parts.next(), parts.next()) else {
                return Err(GitError::Output);
            };
            let fields = match kind {
                "?" | "!" => 0,
                "1" => 7,
                "u" => 9,
                _ => continue,
            };
            let path = rest.splitn(fields + 1, ' ').nth(fields).ok_or(GitError::Output)?;
            states.insert(path.to_owned(), State::of(kind, rest.get(..2).unwrap_or_default()));
        }
        Ok(states)
    }

    /// The rule that ignores each path: `.gitignore:3 *.rhai`.
    fn ignore_rules(&self, ignored: &[String]) -> Result<BTreeMap<String, String>, GitError> {
        let mut rules = BTreeMap::new();
        if ignored.is_empty() {
            return Ok(rules);
        }
        let found =
            self.run(&["check-ignore", "--verbose", "-z", "--stdin"], ignored.join("\0").as_bytes())?;
        let found = text(&found);
        let fields: Vec<&str> = found.split_terminator('\0').collect();
        for rule in fields.chunks_exact(4) {
            if let [file, line, pattern, path] = rule {
                rules.insert((*path).to_owned(), format!("line {line} of {file}, `{pattern}`,"));
            }
        }
        Ok(rules)
    }

    /// The manifest and the scripts in Git LFS: a push sends pointers instead.
    fn lfs_files(&self) -> Result<Vec<String>, GitError> {
        let mut arguments = vec!["ls-files", "-z"];
        arguments.extend(PATHSPECS);
        let files = self.run(&arguments, b"")?;
        let attributes = self.run(&["check-attr", "-z", "--stdin", "filter"], &files)?;
        let attributes = text(&attributes);
        let fields: Vec<&str> = attributes.split_terminator('\0').collect();
        let files = fields.chunks_exact(3).filter(|attribute| attribute[2] == "lfs");
        Ok(files.map(|attribute| attribute[0].to_owned()).collect())
    }

    /// The manifest and the scripts with the bits assume-unchanged or skip-worktree (git-update-index(1)).
    fn assumed_unchanged(&self) -> Result<Vec<String>, GitError> {
        let mut arguments = vec!["ls-files", "-v", "-z"];
        arguments.extend(PATHSPECS);
        let files = self.run(&arguments, b"")?;
        let files = text(&files);
        let tagged = files.split_terminator('\0').filter_map(|entry| entry.split_once(' '));
        let unchanged =
            tagged.filter(|(tag, _)| *tag == "S" || tag.starts_with(|c: char| c.is_ascii_lowercase()));
        Ok(unchanged.map(|(_, path)| path.to_owned()).collect())
    }

    fn committed(&self) -> Result<Snapshot, GitError> {
        let tree = self.run(&["ls-tree", "-r", "-z", "--full-tree", "HEAD"], b"")?;
        let tree = text(&tree);
        let mut snapshot = Snapshot::default();
        let mut blobs = Vec::new();
        for entry in tree.split_terminator('\0') {
            let (about, path) = entry.split_once('\t').ok_or(GitError::Output)?;
            let mut about = about.split(' ');
            let (mode, id) = (about.next(), about.nth(1).ok_or(GitError::Output)?);
            match mode {
                Some("120000") => snapshot.add(path, || File::Symlink),
                Some("160000") => snapshot.add(path, || File::Submodule),
                _ if Snapshot::includes(path) => blobs.push((path, id)),
                _ => snapshot.add(path, || File::TooLarge),
            }
        }
        let ids = blobs.iter().map(|(_, id)| format!("{id}\n")).collect::<String>();
        let contents = self.run(&["cat-file", "--batch"], ids.as_bytes())?;
        let mut rest = contents.as_slice();
        for (path, _) in blobs {
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or(GitError::Output)?;
            let size = text(&rest[..end]).rsplit(' ').next().and_then(|size| size.parse::<usize>().ok());
            let bytes = size.and_then(|size| rest.get(end + 1..end + 1 + size)).ok_or(GitError::Output)?;
            let is_too_large = bytes.len() as u64 > FILE_BYTES_MAX;
            snapshot
                .add(path, || if is_too_large { File::TooLarge } else { File::Bytes(bytes.to_vec().into()) });
            rest = rest.get(end + 2 + bytes.len()..).unwrap_or_default();
        }
        Ok(snapshot)
    }

    fn run(&self, arguments: &[impl AsRef<OsStr>], input: &[u8]) -> Result<Vec<u8>, GitError> {
        let mut git = Command::new("git")
            .args(arguments)
            .current_dir(self.folder)
            // Ignores a repository in the environment, and does not write the index.
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(GitError::Start)?;
        let mut stdin = git.stdin.take().expect("piped");
        let Output { status, stdout, stderr } = std::thread::scope(|scope| {
            // git writes while it reads: without a thread, both pipes could fill up.
            scope.spawn(move || drop(stdin.write_all(input)));
            git.wait_with_output()
        })
        .map_err(GitError::Start)?;
        // Exit code 1 without an error means no results, such as no ignored path.
        if status.success() || (status.code() == Some(1) && stderr.is_empty() && !stdout.is_empty()) {
            return Ok(stdout);
        }
        let error = String::from_utf8_lossy(&stderr);
        Err(GitError::Failed(
            error.lines().next().unwrap_or("no message").trim_start_matches("fatal: ").to_owned(),
        ))
    }
}

/// The pathspecs of the manifest and the scripts.
const PATHSPECS: [&str; 5] = [
    "--",
    manifest::FILE_NAME,
    ":(glob)**/*.rhai",
    // Files of tests and definitions for editors are no part of the app.
    ":(glob,exclude)**/*.test.rhai",
    ":(glob,exclude)**/*.d.rhai",
];

/// The output of git as text. The manifest and scripts have UTF-8 names.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// How a file differs from HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ignored,
    Untracked,
    /// In the index, not in HEAD.
    Added,
    /// Changed in the index.
    Staged,
    /// Changed in the working tree.
    Changed,
    /// Deleted in the working tree.
    Deleted,
    /// Deleted in the index.
    Removed,
    Conflicting,
}

impl State {
    /// Parses the kind and the XY field of an entry of `git status --porcelain=v2`.
    fn of(kind: &str, xy: &str) -> Self {
        match (kind, xy.as_bytes()) {
            ("!", _) => Self::Ignored,
            ("?", _) | (_, [b'.', b'A']) => Self::Untracked,
            ("u", _) => Self::Conflicting,
            (_, [_, b'D']) => Self::Deleted,
            (_, [b'D', _]) => Self::Removed,
            (_, [b'A', _]) => Self::Added,
            (_, [_, b'.']) => Self::Staged,
            _ => Self::Changed,
        }
    }

    /// The message and the help of the warning.
    fn describe(self, path: &str, rule: Option<&String>) -> (String, String) {
        let file = quoted(path);
        let (message, help) = match self {
            Self::Ignored => {
                let rule = rule.map_or("a gitignore rule", String::as_str);
                return (
                    format!("{rule} ignores the file: a push does not send it"),
                    format!("git add --force {file}, or change the rule"),
                );
            }
            Self::Untracked => ("untracked: a push does not send it", format!("git add {file}, and commit")),
            Self::Added => ("staged but not committed: a push does not send it", "git commit".to_owned()),
            Self::Staged => (
                "the change is staged but not committed: a push sends the file of HEAD",
                "git commit".to_owned(),
            ),
            Self::Changed => (
                "modified but not committed: a push sends the file of HEAD",
                format!("git add {file}, and commit"),
            ),
            Self::Deleted => (
                "deleted in the working tree only: a push sends the file of HEAD",
                format!("git rm {file}, and commit"),
            ),
            Self::Removed => (
                "the deletion is staged but not committed: a push sends the file of HEAD",
                "git commit".to_owned(),
            ),
            Self::Conflicting => {
                ("unmerged: a push sends the file of HEAD", format!("resolve it, git add {file}, and commit"))
            }
        };
        (message.to_owned(), help)
    }
}

/// Quotes a path for a shell.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
    let quoted = match path.chars().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', "'\\''")),
    };
    if path.starts_with('-') { format!("-- {quoted}") } else { quoted }
}

fn lfs(path: &str) -> Diagnostic {
    let file = quoted(path);
    let message = "the file is in Git LFS: a push sends a pointer, which is rejected";
    Diagnostic::warning(path, None, message)
        .with_help(format!("git lfs untrack {file}, git add --renormalize {file}, and commit"))
}
