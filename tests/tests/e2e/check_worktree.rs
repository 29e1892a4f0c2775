//! `picloud check` in a git repository: differences between the worktree and what a push sends.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::server::picloud;
use tests::{Database, Repository, Server};

const MANIFEST: &str = "sdk = \"1.2\"\n[[functions]]\nname = \"f\"\nscript = \"f.rhai\"\n";

/// A repository with one committed function.
fn committed_app() -> Repository {
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("f.rhai", "1\n");
    repository.commit("first");
    repository
}

fn check(folder: &Path) -> (bool, String) {
    let output = Command::new(picloud()).arg("check").current_dir(folder).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// Asserts that the check passes and prints these lines besides its result.
#[track_caller]
fn assert_warnings(repository: &Repository, lines: &[&str]) {
    let (passed, output) = check(repository.path());
    assert!(passed, "{output}");
    let (verdict, warned): (Vec<&str>, Vec<&str>) =
        output.lines().partition(|line| line.starts_with("success"));
    assert_eq!((verdict.len(), warned), (1, lines.to_vec()), "{output}");
}

#[test]
fn committed_files_get_no_warning() {
    assert_warnings(&committed_app(), &[]);
}

#[test]
fn index_and_head_are_distinguished() {
    let repository = committed_app();
    repository.write("picloud.toml", MANIFEST.replace("f.rhai", "g.rhai"));
    repository.write("g.rhai", "2\n");
    assert_warnings(
        &repository,
        &[
            "warning: f.rhai  not used by any route, schedule, function or import of picloud.toml",
            "warning: g.rhai  untracked: a push does not send it",
            "hint: git add g.rhai, and commit",
            "warning: picloud.toml  modified but not committed: a push sends the file of HEAD",
            "hint: git add picloud.toml, and commit",
        ],
    );
    repository.git(&["add", "."]);
    repository.git(&["rm", "--quiet", "--cached", "f.rhai"]);
    fs::remove_file(repository.path().join("f.rhai")).unwrap();
    assert_warnings(
        &repository,
        &[
            "warning: f.rhai  the deletion is staged but not committed: a push sends the file of HEAD",
            "hint: git commit",
            "warning: g.rhai  staged but not committed: a push does not send it",
            "hint: git commit",
            "warning: picloud.toml  the change is staged but not committed: a push sends the file of HEAD",
            "hint: git commit",
        ],
    );
    repository.commit("second");
    assert_warnings(&repository, &[]);
}

#[test]
fn ignored_script_is_reported_with_its_gitignore_rule() {
    let repository = committed_app();
    repository.write(".gitignore", "target/\n# generated\nmade.*\n");
    repository.write("picloud.toml", MANIFEST.replace("f.rhai", "made.rhai"));
    repository.write("made.rhai", "2\n");
    repository.write("target/left/over.rhai", "what(");
    repository.git(&["rm", "--quiet", "--cached", "f.rhai"]);
    fs::remove_file(repository.path().join("f.rhai")).unwrap();
    repository.commit("second");
    assert_warnings(
        &repository,
        &[
            "warning: made.rhai  line 3 of .gitignore, `made.*`, ignores the file: a push does not send it",
            "hint: git add --force made.rhai, or change the rule",
            "warning: HEAD  a push of HEAD would be rejected: 1 problem in 1 file",
            "hint: commit the fixed files",
        ],
    );
}

#[test]
fn ignored_folders_are_not_scanned() {
    let repository = committed_app();
    repository.write(".gitignore", "node_modules/\nmade/\n");
    repository.commit("ignored");
    let folder = repository.path().join("node_modules/many");
    fs::create_dir_all(&folder).unwrap();
    (0..20_001).for_each(|number| drop(fs::File::create(folder.join(number.to_string())).unwrap()));
    assert_warnings(&repository, &[]);
    repository.write("made/g.rhai", "2\n");
    repository.write(
        "picloud.toml",
        MANIFEST.to_owned() + "[[functions]]\nname = \"g\"\nscript = \"made/g.rhai\"\n",
    );
    repository.commit("asks for it");
    assert_warnings(
        &repository,
        &[
            "warning: made/g.rhai  line 2 of .gitignore, `made/`, ignores the file: a push does not send it",
            "hint: git add --force made/g.rhai, or change the rule",
            "warning: HEAD  a push of HEAD would be rejected: 1 problem in 1 file",
            "hint: commit the fixed files",
        ],
    );
}

#[test]
fn commit_that_a_push_would_reject_is_reported() {
    let repository = committed_app();
    repository.write("f.rhai", "nope()\n");
    repository.commit("wrong");
    repository.write("f.rhai", "2\n");
    assert_warnings(
        &repository,
        &[
            "warning: f.rhai  modified but not committed: a push sends the file of HEAD",
            "hint: git add f.rhai, and commit",
            "warning: HEAD  a push of HEAD would be rejected: 1 problem in 1 file",
            "hint: commit the fixed files",
        ],
    );
}

#[test]
fn scripts_in_submodules_and_behind_symlinks_are_missing() {
    let repository = committed_app();
    let other = committed_app();
    fs::rename(other.path(), repository.path().join("lib")).unwrap();
    std::os::unix::fs::symlink("lib", repository.path().join("link")).unwrap();
    for folder in ["lib", "link"] {
        repository.write("picloud.toml", MANIFEST.replace("f.rhai", &format!("{folder}/f.rhai")));
        let (passed, output) = check(repository.path());
        assert!(!passed, "{output}");
        assert!(output.contains(&format!("script `{folder}/f.rhai` is not in the repository")), "{output}");
        assert!(output.contains(&format!("warning: {folder}  the folder is a ")), "{output}");
    }
}

#[test]
fn files_marked_assume_unchanged_are_checked_as_committed() {
    let repository = committed_app();
    repository.write("deep/g.rhai", "2\n");
    repository.write(
        "picloud.toml",
        MANIFEST.to_owned() + "[[functions]]\nname = \"g\"\nscript = \"deep/g.rhai\"\n",
    );
    repository.commit("deep");
    repository.git(&["sparse-checkout", "set", "--cone", "elsewhere"]);
    assert!(!repository.path().join("deep").exists());
    assert_warnings(&repository, &[]);
    repository.git(&["update-index", "--assume-unchanged", "f.rhai"]);
    repository.write("f.rhai", "nope()\n");
    assert_warnings(
        &repository,
        &[
            "warning: f.rhai  git is configured to ignore changes of this file: a push sends the file of HEAD",
            "hint: git update-index --no-assume-unchanged --no-skip-worktree f.rhai",
        ],
    );
}

#[test]
fn files_other_than_scripts_can_have_any_name() {
    use std::os::unix::ffi::OsStrExt as _;
    let repository = committed_app();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.png");
    fs::write(repository.path().join(name), "x").unwrap();
    repository.commit("picture");
    assert_warnings(&repository, &[]);
    repository.write("f.rhai", "2\n");
    assert_warnings(
        &repository,
        &[
            "warning: f.rhai  modified but not committed: a push sends the file of HEAD",
            "hint: git add f.rhai, and commit",
        ],
    );
}

#[test]
fn paths_in_hints_are_shell_quoted() {
    let repository = committed_app();
    for (name, typed) in
        [("a b.rhai", "'a b.rhai'"), ("it's.rhai", "'it'\\''s.rhai'"), ("-dash.rhai", "-- -dash.rhai")]
    {
        repository.write(name, "1\n");
        let (_, output) = check(repository.path());
        assert!(output.contains(&format!("hint: git add {typed}, and commit")), "{output}");
        let added = Command::new("sh")
            .args(["-c", &format!("git add {typed}")])
            .current_dir(repository.path())
            .status();
        assert!(added.unwrap().success());
        repository.commit(name);
    }
}

/// A push sends the Git LFS pointer instead of the file; check and push both report it.
#[test]
fn git_lfs_pointer_is_reported() {
    let repository = committed_app();
    repository.write(".gitattributes", "*.rhai filter=lfs\n");
    repository.commit("attributes");
    let (passed, output) = check(repository.path());
    assert!(
        passed
            && output.contains(
                "warning: f.rhai  the file is in Git LFS: a push sends a pointer, which is rejected"
            ),
        "{output}"
    );
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    repository.write("f.rhai", pointer);
    repository.commit("pointer");
    let (passed, output) = check(repository.path());
    let expected = "error: f.rhai  the file is a Git LFS pointer; its content was not pushed";
    assert!(!passed && output.contains(expected), "{output}");
    let server = Server::start(Database::sqlite());
    let pushed = repository.push(&server.git_url("hello"), &["main"]);
    assert!(pushed.text.contains("Git LFS pointer"), "{}", pushed.text);
}

#[test]
fn subfolder_and_repository_without_commit_are_checked() {
    let repository = Repository::new();
    repository.write("app/picloud.toml", MANIFEST);
    repository.write("app/f.rhai", "1\n");
    let (passed, output) = check(&repository.path().join("app"));
    assert!(
        passed
            && output.contains(
                "the folder is `app/` in its repository, but picloud.toml must be at the root of the repository"
            ),
        "{output}"
    );
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("f.rhai", "1\n");
    assert_warnings(
        &repository,
        &["warning: the repository  no commits yet; a push sends commits", "hint: git add . && git commit"],
    );
}
