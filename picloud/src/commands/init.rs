//! `picloud init`: creates the starter app, a copy of `examples/hello`, in a new git repository, and definitions of the
//! SDK for editors.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use manifest_schema::name::AppName;
use manifest_schema::sdk::SdkVersion;

use super::definitions;
use super::error::CommandError;
use super::folder::app_name;
use crate::hint::Hint;
use crate::render::{printable, shell_word};

/// The files of the starter app.
pub(crate) const STARTER: [(&str, &str); 5] = [
    ("picloud.toml", include_str!("../../../examples/hello/picloud.toml")),
    ("greet.rhai", include_str!("../../../examples/hello/greet.rhai")),
    ("tick.rhai", include_str!("../../../examples/hello/tick.rhai")),
    ("greet.test.rhai", include_str!("../../../examples/hello/greet.test.rhai")),
    ("README.md", include_str!("../../../examples/hello/README.md")),
];

/// The name of the app in the starter's files.
const STARTER_APP: &str = "hello";

/// The `.gitignore` of the starter: it excludes the secrets of `picloud dev`, and files that a command writes.
const GIT_IGNORE: (&str, &str) = (
    ".gitignore",
    "# Secrets for `picloud dev`; on a server:  picloud secrets set NAME\n.env\n\
     # The functions of the SDK for editors:  picloud definitions\n/definitions/\n",
);

/// Files that are kept if they exist.
const KEPT_FILES: [&str; 2] = ["README.md", GIT_IGNORE.0];

/// The server URL in the printed commands.
const SERVER_URL: &str = "http://127.0.0.1:8080";

/// Why the starter app was not created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("{} already exists; nothing was overwritten", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Hint for InitError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        Some("choose another folder".into())
    }
}

pub(crate) fn init(folder: &Path) -> Result<(), CommandError> {
    let app = app_name(&std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()));
    let files = STARTER.map(|(name, text)| (name, with_app_name(text, &app)));
    let files = files.iter().map(|(name, text)| (*name, text.as_str())).chain([GIT_IGNORE]);
    let (kept, new): (Vec<_>, Vec<_>) =
        files.partition(|(name, _)| KEPT_FILES.contains(name) && exists(&folder.join(name)));
    write(folder, &new)?;
    println!("wrote {} to {}", names(&new), printable(&folder.display().to_string()));
    if !kept.is_empty() {
        println!("kept {}", names(&kept));
    }
    definitions::write(&folder.join(definitions::FOLDER), SdkVersion::NEWEST)?;
    println!("wrote {}/ for editors with Rhai's language server", definitions::FOLDER);
    let repository = repository(folder);
    match &repository {
        GitRepository::Created => println!("initialized a git repository"),
        GitRepository::Parent(top) => println!(
            "warning: the folder is inside the git repository {}, but picloud.toml must be at the root of a repository: create a separate one",
            printable(&top.display().to_string())
        ),
        GitRepository::Exists => {}
        GitRepository::Failed(why) => println!("no git repository: {}", printable(why)),
    }
    next_steps(folder, &app, &repository);
    Ok(())
}

/// Replaces the app name in a file of the starter.
fn with_app_name(text: &str, app: &AppName) -> String {
    text.replace(&format!("/{STARTER_APP}/"), &format!("/{app}/"))
}

/// Prints the commands to serve and push the app.
fn next_steps(folder: &Path, app: &AppName, repository: &GitRepository) {
    println!("next, serve the app locally:");
    if folder != Path::new(".") {
        println!("  cd {}", shell_word(&folder.display().to_string()));
    }
    println!("  picloud dev");
    println!(
        "then push it to a server, here one on this machine; use any user name, and the token as password:"
    );
    let init = match repository {
        GitRepository::Created | GitRepository::Exists => "",
        GitRepository::Parent(_) | GitRepository::Failed(_) => "git init -b main && ",
    };
    println!("  {init}git add . && git commit -m first");
    println!("  git remote add picloud {SERVER_URL}/{app}.git");
    println!("  git push picloud HEAD:main");
}

fn names(files: &[(&str, &str)]) -> String {
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// The git repository of a new app.
enum GitRepository {
    /// A repository was created.
    Created,
    /// The folder already is a repository.
    Exists,
    /// The folder is inside this repository.
    Parent(PathBuf),
    /// No repository was created, for this reason.
    Failed(String),
}

/// Creates a git repository, unless the folder is in one.
fn repository(folder: &Path) -> GitRepository {
    match git(folder, &["rev-parse", "--show-toplevel"]) {
        Ok(found) if found.status.success() => {
            let top = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim_end_matches('\n'));
            let is_here = folder.canonicalize().is_ok_and(|folder| folder == top);
            return if is_here { GitRepository::Exists } else { GitRepository::Parent(top) };
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return GitRepository::Failed("git is not installed; it is needed to push".to_owned());
        }
        Err(error) => return GitRepository::Failed(format!("cannot run git: {error}")),
    }
    // git before 2.28 has no option for the initial branch.
    let created = git(folder, &["init", "-q"])
        .and_then(|init| Ok((init, git(folder, &["symbolic-ref", "HEAD", "refs/heads/main"])?)));
    match created {
        Ok((init, branch)) if init.status.success() && branch.status.success() => GitRepository::Created,
        Ok((init, _)) => {
            let error = String::from_utf8_lossy(&init.stderr).into_owned();
            GitRepository::Failed(error.lines().next().unwrap_or("`git init` failed").to_owned())
        }
        Err(error) => GitRepository::Failed(format!("cannot run git: {error}")),
    }
}

/// Runs git in a folder, ignoring a repository in the environment.
fn git(folder: &Path, arguments: &[&str]) -> io::Result<Output> {
    Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .stdin(Stdio::null())
        .output()
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Writes `files` to `folder` without overwriting existing files.
pub(crate) fn write(folder: &Path, files: &[(&str, &str)]) -> Result<(), InitError> {
    if let Some(existing) = files.iter().map(|(name, _)| folder.join(name)).find(|path| exists(path)) {
        return Err(InitError::Exists(existing));
    }
    for (name, text) in files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|source| InitError::Write { path: parent.to_owned(), source })?;
        // Another process can create the file meanwhile.
        let written = fs::File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => InitError::Exists(path),
            _ => InitError::Write { path, source },
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starter_is_on_the_newest_sdk() {
        assert!(STARTER[0].1.starts_with(&format!("sdk = \"{}\"\n", SdkVersion::NEWEST)), "{}", STARTER[0].1);
    }

    #[test]
    fn file_names_are_joined() {
        let files = [("a", ""), ("b", ""), ("c", "")];
        assert_eq!(
            (names(&files[..1]), names(&files[..2]), names(&files)),
            ("a".into(), "a and b".into(), "a, b and c".into())
        );
    }
}
