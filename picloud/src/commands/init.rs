//! `picloud init`: writes the starter app, which is `examples/hello`, and makes a git repository of it.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use manifest_schema::name::AppName;

use super::error::CommandError;
use super::folder::app_name;
use crate::hint::Hint;
use crate::words::{printable, shell_word};

/// The files of the starter app.
pub(crate) const STARTER: [(&str, &str); 4] = [
    ("picloud.toml", include_str!("../../../examples/hello/picloud.toml")),
    ("greet.rhai", include_str!("../../../examples/hello/greet.rhai")),
    ("tick.rhai", include_str!("../../../examples/hello/tick.rhai")),
    ("README.md", include_str!("../../../examples/hello/README.md")),
];

/// The app as which the starter's own README has it.
const STARTER_APP: &str = "hello";

/// What a repository of an app leaves out: secrets that `picloud dev` reads.
const GIT_IGNORE: (&str, &str) =
    (".gitignore", "# Secrets for `picloud dev`; on a server:  picloud secrets set NAME\n.env\n");

/// What people may have before they have an app; it stays as it is.
const KEPT: [&str; 2] = ["README.md", GIT_IGNORE.0];

/// The address of a server on this machine.
const SERVER: &str = "http://127.0.0.1:8080";

/// Why no starter app was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("{} is there already; nothing was written over it", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Hint for InitError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        Some("name another folder".into())
    }
}

pub(crate) fn init(folder: &Path) -> Result<(), CommandError> {
    let app = app_name(&std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()));
    let files = STARTER.map(|(name, text)| (name, named(text, &app)));
    let files = files.iter().map(|(name, text)| (*name, text.as_str())).chain([GIT_IGNORE]);
    let (kept, new): (Vec<_>, Vec<_>) =
        files.partition(|(name, _)| KEPT.contains(name) && is_there(&folder.join(name)));
    write(folder, &new)?;
    println!("wrote {} to {}", names(&new), printable(&folder.display().to_string()));
    if !kept.is_empty() {
        println!("left {} as it was", names(&kept));
    }
    let repository = repository(folder);
    match &repository {
        GitRepository::Made => println!("made a git repository there"),
        GitRepository::Around(top) => println!(
            "it is inside the git repository {}, and a push takes picloud.toml from the top of a repository: make one of its own",
            printable(&top.display().to_string())
        ),
        GitRepository::There => {}
        GitRepository::NoGit(why) => println!("made no git repository: {}", printable(why)),
    }
    next_steps(folder, &app, &repository);
    Ok(())
}

/// The starter's text as that of another app.
fn named(text: &str, app: &AppName) -> String {
    text.replace(&format!("/{STARTER_APP}/"), &format!("/{app}/"))
}

/// Each command as it can be typed, and what it is for above it.
fn next_steps(folder: &Path, app: &AppName, repository: &GitRepository) {
    println!("next, serve it here while you change it, until Ctrl-C:");
    if folder != Path::new(".") {
        println!("  cd {}", shell_word(&folder.display().to_string()));
    }
    println!("  picloud dev");
    println!(
        "then push it to your server, which is on this machine here; any user name, the token as password:"
    );
    let init = match repository {
        GitRepository::Made | GitRepository::There => "",
        GitRepository::Around(_) | GitRepository::NoGit(_) => "git init -b main && ",
    };
    println!("  {init}git add . && git commit -m first");
    println!("  git remote add picloud {SERVER}/{app}.git");
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
    /// It was made.
    Made,
    /// The folder was one already.
    There,
    /// The folder is within a larger one.
    Around(PathBuf),
    /// There is none, and why not.
    NoGit(String),
}

/// Makes a git repository, unless the folder is in one.
fn repository(folder: &Path) -> GitRepository {
    match git(folder, &["rev-parse", "--show-toplevel"]) {
        Ok(found) if found.status.success() => {
            let top = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim_end_matches('\n'));
            let is_here = folder.canonicalize().is_ok_and(|folder| folder == top);
            return if is_here { GitRepository::There } else { GitRepository::Around(top) };
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return GitRepository::NoGit("git is not installed, and pushing takes it".to_owned());
        }
        Err(error) => return GitRepository::NoGit(format!("git does not start: {error}")),
    }
    // The name of the branch is set afterwards, as git before 2.28 knows no other way.
    let made = git(folder, &["init", "-q"])
        .and_then(|made| Ok((made, git(folder, &["symbolic-ref", "HEAD", "refs/heads/main"])?)));
    match made {
        Ok((made, named)) if made.status.success() && named.status.success() => GitRepository::Made,
        Ok((made, _)) => {
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            GitRepository::NoGit(said.lines().next().unwrap_or("`git init` failed").to_owned())
        }
        Err(error) => GitRepository::NoGit(format!("git does not start: {error}")),
    }
}

/// git in a folder, whatever repository its caller's environment names.
fn git(folder: &Path, arguments: &[&str]) -> io::Result<Output> {
    Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .stdin(Stdio::null())
        .output()
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Writes `files` to `folder`, none of them over a file that is there.
pub(crate) fn write(folder: &Path, files: &[(&str, &str)]) -> Result<(), InitError> {
    if let Some(there) = files.iter().map(|(name, _)| folder.join(name)).find(|path| is_there(path)) {
        return Err(InitError::Exists(there));
    }
    fs::create_dir_all(folder).map_err(|source| InitError::Write { path: folder.to_owned(), source })?;
    for (name, text) in files {
        let path = folder.join(name);
        // Another one may have come meanwhile.
        let made = fs::File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        made.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => InitError::Exists(path),
            _ => InitError::Write { path, source },
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use manifest_schema::sdk::SdkVersion;

    use super::*;

    #[test]
    fn starter_is_on_the_newest_sdk() {
        assert!(STARTER[0].1.starts_with(&format!("sdk = \"{}\"\n", SdkVersion::NEWEST)), "{}", STARTER[0].1);
    }

    #[test]
    fn files_are_listed_as_people_do() {
        let files = [("a", ""), ("b", ""), ("c", "")];
        assert_eq!(
            (names(&files[..1]), names(&files[..2]), names(&files)),
            ("a".into(), "a and b".into(), "a, b and c".into())
        );
    }
}
