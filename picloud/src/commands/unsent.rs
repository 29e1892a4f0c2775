//! What stands in a folder and a push would not send: git is asked, since only it knows what it ignores, what its index holds and what is
//! committed.

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

/// What is committed, and how the folder differs from that.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    /// Warnings, one for each file at most.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The files that git ignores.
    pub(crate) ignored: Vec<String>,
    /// The manifest and the scripts as they are committed, if anything is: what a push sends.
    pub(crate) committed: Option<Snapshot>,
    /// Those that are not as they are committed.
    pub(crate) differing: BTreeSet<String>,
}

/// Why git does not say it.
#[derive(Debug, thiserror::Error)]
enum GitError {
    #[error("git does not start: {0}")]
    Start(io::Error),
    #[error("git says: {0}")]
    Refused(String),
    #[error("git says what cannot be understood")]
    Malformed,
}

/// Looks at the repository that `folder` is in; nothing is found where it is in none. `mentions` says whether the manifest
/// names a path.
pub(crate) fn look(folder: &Path, mentions: &dyn Fn(&str) -> bool) -> Repository {
    let found = Git { folder }.look(mentions);
    found.unwrap_or_else(|error| {
        let is_repository = folder.join(".git").exists();
        let message = format!("what a push would send is not known: {error}");
        let diagnostics = if is_repository {
            vec![Diagnostic::warning("the repository", None, message)]
        } else {
            Vec::new()
        };
        Repository { diagnostics, ..Repository::default() }
    })
}

/// The folders that git ignores as a whole, `target` for instance, by their paths.
pub(crate) fn ignored_folders(folder: &Path) -> Vec<String> {
    Git { folder }.ignored_folders().unwrap_or_default()
}

/// git in a folder.
struct Git<'a> {
    folder: &'a Path,
}

impl Git<'_> {
    fn look(&self, mentions: &dyn Fn(&str) -> bool) -> Result<Repository, GitError> {
        let prefix = self.run(&["rev-parse", "--show-prefix"], b"")?;
        let prefix = text(&prefix);
        let prefix = prefix.trim_end_matches('\n');
        let mut repository = Repository::default();
        if !prefix.is_empty() {
            let words = format!(
                "the folder is `{prefix}` of its repository: a push sends all of that, and looks for {} at its root",
                manifest::FILE_NAME
            );
            let diagnostic = Diagnostic::warning(manifest::FILE_NAME, None, words);
            repository.diagnostics.push(diagnostic.with_help("give the app a repository of its own"));
            return Ok(repository);
        }
        if self.run(&["rev-parse", "--verify", "--quiet", "HEAD"], b"").is_err() {
            let words = "nothing is committed yet, and a push sends what is committed";
            repository.diagnostics.push(
                Diagnostic::warning("the repository", None, words).with_help("git add . && git commit"),
            );
            return Ok(repository);
        }
        let states = self.states()?;
        repository.ignored = states
            .iter()
            .filter(|(_, state)| **state == State::Ignored)
            .map(|(path, _)| path.clone())
            .collect();
        let rules = self.rules(&repository.ignored)?;
        for (path, state) in &states {
            if *state == State::Ignored && !mentions(path) {
                continue;
            }
            repository.differing.insert(path.clone());
            let (words, help) = state.words(path, rules.get(path.as_str()));
            repository.diagnostics.push(Diagnostic::warning(path, None, words).with_help(help));
        }
        let committed = self.committed()?;
        for path in self.kept_by_lfs()? {
            // A pointer that is committed is an error of its own.
            let is_pointer = committed.get(&path).is_some_and(File::is_lfs_pointer);
            if !is_pointer || repository.differing.contains(&path) {
                repository.diagnostics.push(lfs(&path));
            }
        }
        for path in self.overlooked()? {
            let here = fs::read(self.folder.join(&path)).ok();
            if let (Some(here), Some(File::Bytes(there))) = (here, committed.get(&path))
                && here != there[..]
            {
                let words = "git is asked to overlook changes of the file: a push sends the file of HEAD";
                let help =
                    format!("git update-index --no-assume-unchanged --no-skip-worktree {}", quoted(&path));
                repository.diagnostics.push(Diagnostic::warning(path, None, words).with_help(help));
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

    /// The manifest and the scripts that are not as they are committed.
    fn states(&self) -> Result<BTreeMap<String, State>, GitError> {
        let mut arguments = vec![
            "status",
            "--porcelain=v2",
            "-z",
            "--untracked-files=all",
            "--ignored=traditional",
            "--no-renames",
        ];
        arguments.extend(WANTED);
        let status = self.run(&arguments, b"")?;
        let mut states = BTreeMap::new();
        for entry in text(&status).split_terminator('\0') {
            let mut words = entry.splitn(2, ' ');
            let (Some(kind), Some(rest)) = (words.next(), words.next()) else {
                return Err(GitError::Malformed);
            };
            let fields = match kind {
                "?" | "!" => 0,
                "1" => 7,
                "u" => 9,
                _ => continue,
            };
            let path = rest.splitn(fields + 1, ' ').nth(fields).ok_or(GitError::Malformed)?;
            states.insert(path.to_owned(), State::of(kind, rest.get(..2).unwrap_or_default()));
        }
        Ok(states)
    }

    /// Which rule ignores each path: `.gitignore:3 *.rhai`.
    fn rules(&self, ignored: &[String]) -> Result<BTreeMap<String, String>, GitError> {
        let mut rules = BTreeMap::new();
        if ignored.is_empty() {
            return Ok(rules);
        }
        let found =
            self.run(&["check-ignore", "--verbose", "-z", "--stdin"], ignored.join("\0").as_bytes())?;
        let found = text(&found);
        let words: Vec<&str> = found.split_terminator('\0').collect();
        for rule in words.chunks_exact(4) {
            if let [file, line, pattern, path] = rule {
                rules.insert((*path).to_owned(), format!("line {line} of {file}, `{pattern}`,"));
            }
        }
        Ok(rules)
    }

    /// The manifest and the scripts that Git LFS keeps: a push sends pointers to them.
    fn kept_by_lfs(&self) -> Result<Vec<String>, GitError> {
        let mut arguments = vec!["ls-files", "-z"];
        arguments.extend(WANTED);
        let files = self.run(&arguments, b"")?;
        let attributes = self.run(&["check-attr", "-z", "--stdin", "filter"], &files)?;
        let attributes = text(&attributes);
        let words: Vec<&str> = attributes.split_terminator('\0').collect();
        let kept = words.chunks_exact(3).filter(|attribute| attribute[2] == "lfs");
        Ok(kept.map(|attribute| attribute[0].to_owned()).collect())
    }

    /// The manifest and the scripts whose changes git is asked not to look for (git-update-index(1)).
    fn overlooked(&self) -> Result<Vec<String>, GitError> {
        let mut arguments = vec!["ls-files", "-v", "-z"];
        arguments.extend(WANTED);
        let files = self.run(&arguments, b"")?;
        let files = text(&files);
        let tagged = files.split_terminator('\0').filter_map(|entry| entry.split_once(' '));
        let overlooked =
            tagged.filter(|(tag, _)| *tag == "S" || tag.starts_with(|c: char| c.is_ascii_lowercase()));
        Ok(overlooked.map(|(_, path)| path.to_owned()).collect())
    }

    fn committed(&self) -> Result<Snapshot, GitError> {
        let tree = self.run(&["ls-tree", "-r", "-z", "--full-tree", "HEAD"], b"")?;
        let tree = text(&tree);
        let mut snapshot = Snapshot::default();
        let mut blobs = Vec::new();
        for entry in tree.split_terminator('\0') {
            let (about, path) = entry.split_once('\t').ok_or(GitError::Malformed)?;
            let mut about = about.split(' ');
            let (mode, id) = (about.next(), about.nth(1).ok_or(GitError::Malformed)?);
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
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or(GitError::Malformed)?;
            let size = text(&rest[..end]).rsplit(' ').next().and_then(|size| size.parse::<usize>().ok());
            let bytes = size.and_then(|size| rest.get(end + 1..end + 1 + size)).ok_or(GitError::Malformed)?;
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
            // Whatever repository the caller's environment names; and nothing is written.
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
        let mut stdin = git.stdin.take().expect("it is piped");
        let Output { status, stdout, stderr } = std::thread::scope(|scope| {
            // git answers while it reads: one of the two would fill its pipe.
            scope.spawn(move || drop(stdin.write_all(input)));
            git.wait_with_output()
        })
        .map_err(GitError::Start)?;
        // 1 says that there is nothing, such as a path that no rule ignores.
        if status.success() || (status.code() == Some(1) && stderr.is_empty() && !stdout.is_empty()) {
            return Ok(stdout);
        }
        let said = String::from_utf8_lossy(&stderr);
        Err(GitError::Refused(
            said.lines().next().unwrap_or("nothing").trim_start_matches("fatal: ").to_owned(),
        ))
    }
}

/// The paths that are looked at.
const WANTED: [&str; 3] = ["--", manifest::FILE_NAME, ":(glob)**/*.rhai"];

/// What git printed. A name that is not UTF-8 can be neither the manifest nor a script.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// How a file differs from what is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ignored,
    Untracked,
    /// The index has it, HEAD does not.
    Added,
    /// HEAD has it otherwise, the index as the folder does.
    Staged,
    /// The index has it otherwise.
    Changed,
    /// The index has it still, the folder does not.
    Deleted,
    /// HEAD has it still, the index does not.
    Removed,
    Conflicting,
}

impl State {
    /// By an entry of `git status --porcelain=v2`: its kind, and how the index differs from HEAD and the folder from the index.
    fn of(kind: &str, differs: &str) -> Self {
        match (kind, differs.as_bytes()) {
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

    /// What a push does about it, and what to do.
    fn words(self, path: &str, rule: Option<&String>) -> (String, String) {
        let file = quoted(path);
        let (words, help) = match self {
            Self::Ignored => {
                let rule = rule.map_or("a rule of git", String::as_str);
                return (
                    format!("{rule} ignores the file: a push does not send it"),
                    format!("git add --force {file}, or change the rule"),
                );
            }
            Self::Untracked => {
                ("git does not know the file: a push does not send it", format!("git add {file}, and commit"))
            }
            Self::Added => {
                ("in the index, and not committed: a push does not send it", "git commit".to_owned())
            }
            Self::Staged => (
                "the change is in the index, and not committed: a push sends the file of HEAD",
                "git commit".to_owned(),
            ),
            Self::Changed => (
                "changed and not committed: a push sends the file of HEAD",
                format!("git add {file}, and commit"),
            ),
            Self::Deleted => (
                "deleted in the folder only: a push sends the file of HEAD",
                format!("git rm {file}, and commit"),
            ),
            Self::Removed => {
                ("the deletion is not committed: a push sends the file of HEAD", "git commit".to_owned())
            }
            Self::Conflicting => (
                "in conflict: a push sends the file of HEAD",
                format!("resolve it, git add {file}, and commit"),
            ),
        };
        (words.to_owned(), help)
    }
}

/// A path as an argument of a shell.
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
    let words = "Git LFS keeps the file: a push sends a pointer to it, which is refused";
    Diagnostic::warning(path, None, words)
        .with_help(format!("git lfs untrack {file}, git add --renormalize {file}, and commit"))
}
