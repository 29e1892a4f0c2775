//! git commands and options beyond plain push and clone.

mod fetch;
mod push;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use tests::repository::{command, command_of};
use tests::{CommandOutput, Database, Repository, Server};

/// A valid clone made with more options, and git's output.
fn clone(url: &str, options: &[&str]) -> (Repository, String) {
    let folder = tempfile::tempdir().unwrap();
    let cloned = command(folder.path(), &[&["clone", url, "."], options].concat()).output().unwrap();
    let text = String::from_utf8_lossy(&cloned.stderr).into_owned();
    assert!(cloned.status.success(), "clone {options:?}: {text}");
    let clone = Repository::made_in(folder);
    fsck(&clone);
    (clone, text)
}

fn fsck(repository: &Repository) {
    repository.git(&["fsck", "--strict", "--full"]);
}

/// The number of commits that HEAD or another revision reaches.
fn commits(repository: &Repository, revision: &str) -> String {
    repository.git(&["rev-list", "--count", revision])
}

/// A repository of `count` commits, an hour apart, tagged `c1` and so on.
fn history(count: u32) -> Repository {
    let repository = Repository::hello();
    for number in 1..=count {
        repository.write("greet.rhai", number.to_string());
        repository.git(&["add", "-A"]);
        let made = command(repository.path(), &["commit", "-q", "-m", &format!("number {number}")])
            .env("GIT_COMMITTER_DATE", format!("2026-01-01T{number:02}:00:00Z"))
            .status();
        assert!(made.unwrap().success());
        repository.git(&["tag", &format!("c{number}")]);
    }
    repository
}

/// The installed git versions: the first one in the PATH, and Debian's.
pub(crate) fn gits() -> BTreeMap<String, PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&path).map(|folder| folder.join("git")).find(|git| git.exists());
    let debian = PathBuf::from("/usr/bin/git");
    let found = first.into_iter().chain(debian.exists().then_some(debian));
    found.map(|git| (version_of(&git), git)).collect()
}

fn version_of(git: &Path) -> String {
    let Output { stdout, .. } = command_of(git, Path::new("/"), &["--version"]).output().expect("git runs");
    String::from_utf8_lossy(&stdout).trim().to_owned()
}

#[test]
fn every_installed_git_pushes_clones_and_fetches() {
    let server = Server::start(Database::sqlite());
    for (number, (version, git)) in gits().into_iter().enumerate() {
        let run = |repository: &Repository, arguments: &[&str]| {
            let output = command_of(&git, repository.path(), arguments).output().unwrap();
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            CommandOutput {
                accepted: output.status.success(),
                text: format!("{version} {arguments:?}: {text}"),
            }
        };
        for protocol in ["0", "1", "2"] {
            let protocol_version = format!("protocol.version={protocol}");
            let url = server.git_url(&format!("by-{number}-{protocol}"));
            let repository = Repository::hello();
            let push = ["-c", &protocol_version, "push", "--progress", &url, "main"];
            run(&repository, &push).succeeded().says("LIVE as deploy 1");
            let copy = Repository::made_in(tempfile::tempdir().unwrap());
            run(&copy, &["clone", "-c", &protocol_version, &url, "."]).succeeded();
            repository.write("greet.rhai", "oops()");
            repository.commit("broken");
            run(&repository, &push).refused().says("(1 problem; deploy 1 is still live))");
            repository.write("greet.rhai", "`mended`");
            repository.commit("mended");
            run(&repository, &push).succeeded().says("LIVE as deploy 2");
            run(&copy, &["pull", "--ff-only"]).succeeded();
            run(&copy, &["fsck", "--strict", "--full"]).succeeded();
            assert_eq!(copy.head(), repository.head(), "{version}, protocol {protocol}");
            run(&copy, &["push", "--progress", "origin", "HEAD:refs/heads/try"])
                .succeeded()
                .says("PREVIEW as deploy 3");
            run(&copy, &["push", "origin", "--delete", "try"]).succeeded();
        }
    }
}
