//! Git clients other than git: dulwich (pure Python), libgit2 (used by editors and IDEs), JGit and go-git (Debian packages),
//! isomorphic-git (browsers). `cargo test --test e2e git_clients -- --nocapture` prints the table.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{CommandOutput, Database, Repository, Server};

/// The clients, each a program in tests/clients, installed by `make setup`.
const CLIENTS: [Client; 5] = [
    Client { name: "dulwich", program: Program::Python("with_dulwich.py"), is_ever_shallow: true },
    Client { name: "libgit2", program: Program::Python("with_libgit2.py"), is_ever_shallow: true },
    Client { name: "jgit", program: Program::Python("with_jgit.py"), is_ever_shallow: false },
    Client { name: "go-git", program: Program::Compiled("with_go_git"), is_ever_shallow: true },
    Client {
        name: "isomorphic-git",
        program: Program::Node("with_isomorphic_git.mjs"),
        is_ever_shallow: true,
    },
];

#[derive(Clone, Copy)]
struct Client {
    name: &'static str,
    program: Program,
    /// Whether the client makes shallow clones and pushes from them.
    is_ever_shallow: bool,
}

#[derive(Clone, Copy)]
enum Program {
    Python(&'static str),
    Node(&'static str),
    Compiled(&'static str),
}

impl Program {
    fn command(self) -> Command {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (target, programs) = (tests.join("../target"), tests.join("clients"));
        let found = |program: PathBuf| {
            assert!(program.exists(), "{} is not there; run `make setup`", program.display());
            program
        };
        match self {
            Self::Python(program) => {
                let mut command = Command::new(found(target.join("clients-venv/bin/python")));
                command.arg("-I").arg(programs.join(program));
                command
            }
            Self::Node(program) => {
                let mut command = Command::new("node");
                command.arg(programs.join(program)).arg(found(target.join("clients-node")));
                command
            }
            Self::Compiled(program) => Command::new(found(target.join("clients-go").join(program))),
        }
    }
}

impl Client {
    /// Runs a command in a repository.
    fn run(self, folder: &Path, arguments: &[&str]) -> CommandOutput {
        let output = self
            .program
            .command()
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .output()
            .expect("the client runs");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        CommandOutput {
            accepted: output.status.success(),
            text: format!("{} {arguments:?}:\n{text}", self.name),
        }
    }

    fn push(self, repository: &Repository, url: &str, refspecs: &[&str]) -> CommandOutput {
        self.run(repository.path(), &[&["push", url], refspecs].concat())
    }

    fn clone_of(self, url: &str, depth: &[&str]) -> Repository {
        let folder = tempfile::tempdir().unwrap();
        self.run(folder.path(), &[&["clone", url, "."], depth].concat()).succeeded();
        let clone = Repository::made_in(folder);
        clone.git(&["fsck", "--strict", "--full"]);
        clone
    }

    fn fetch(self, repository: &Repository, url: &str) {
        self.run(repository.path(), &["fetch", url]).succeeded();
        repository.git(&["fsck", "--strict", "--full"]);
    }
}

/// The clients with shallow clones.
fn shallow_clients() -> impl Iterator<Item = Client> {
    CLIENTS.into_iter().filter(|client| client.is_ever_shallow)
}

#[test]
fn two_pushes_go_live() {
    let server = Server::start(Database::sqlite());
    for client in CLIENTS {
        let url = server.git_url(client.name);
        let repository = Repository::hello();
        client
            .push(&repository, &url, &["refs/heads/main:refs/heads/main"])
            .succeeded()
            .says("+ GET  /greet/{name}  greet.rhai")
            .says("success: LIVE as deploy 1");
        let greet = format!("/{}/greet/Ann", client.name);
        assert_eq!(server.get(&greet).body, r#"{"message":"Hello, Ann"}"#);
        repository.write("greet.rhai", "`second`");
        repository.commit("second");
        client
            .push(&repository, &url, &["refs/heads/main:refs/heads/main"])
            .succeeded()
            .says("LIVE as deploy 2");
        assert_eq!(server.get(&greet).body, "\"second\"");
        assert_eq!(server.get(&greet).header("picloud-revision"), Some(repository.head().as_str()));
    }
}

#[test]
fn push_updates_several_refs() {
    let server = Server::start(Database::sqlite());
    for client in CLIENTS {
        let url = server.git_url(client.name);
        let repository = Repository::hello();
        repository.git(&["tag", "-a", "-m", "release", "v1"]);
        repository.git(&["branch", "next"]);
        let refspecs =
            ["refs/heads/main", "refs/heads/next", "refs/tags/v1"].map(|name| format!("{name}:{name}"));
        client
            .push(&repository, &url, &refspecs.each_ref().map(String::as_str))
            .succeeded()
            .says("LIVE as deploy 1")
            .says("PREVIEW as deploy 2")
            .says("STORED v1");
        let listed = repository.git(&["ls-remote", &url]);
        assert_eq!(
            listed,
            repository.git(&["ls-remote", &url, "HEAD", "main", "next", "refs/deploys/*", "v1*"])
        );
        assert!(listed.contains(&format!("{}\trefs/tags/v1^{{}}", repository.head())), "{listed}");
    }
}

#[test]
fn rejected_push_shows_reason_and_changes_nothing() {
    let server = Server::start(Database::sqlite());
    for client in CLIENTS {
        let url = server.git_url(client.name);
        let repository = Repository::hello();
        let main = ["refs/heads/main:refs/heads/main"];
        client.push(&repository, &url, &main).succeeded();
        let good = repository.head();
        repository.write("greet.rhai", "let x = 1;\n\nlgo::info(\"hi\");\n");
        repository.commit("broken");
        for _ in 0..2 {
            client
                .push(&repository, &url, &main)
                .refused()
                .says("error: greet.rhai:3:1  unknown function `lgo::info`")
                .says("did you mean `log::info`?")
                .says("greet.rhai:3:1 unknown function `lgo::info` (1 problem; deploy 1 is still live)");
        }
        // One ref is rejected, and the other one is updated.
        client
            .push(&repository, &url, &["refs/heads/main:refs/notes/main", "refs/heads/main~1:refs/tags/good"])
            .refused();
        let greet = server.get(&format!("/{}/greet/Ann", client.name));
        assert_eq!(greet.header("picloud-revision"), Some(good.as_str()));
        let listed = repository.git(&["ls-remote", &url, "refs/heads/*"]);
        assert_eq!(listed, format!("{good}\trefs/heads/main"));
        repository.write("greet.rhai", "`mended`");
        repository.commit("mended");
        client.push(&repository, &url, &main).succeeded().says("LIVE as deploy 2");
    }
}

#[test]
fn invalid_token_is_rejected() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    let url = format!("http://ada:wrong@{}/hello.git", server.address);
    for client in CLIENTS {
        client.push(&repository, &url, &["refs/heads/main:refs/heads/main"]).refused();
        assert_eq!(server.get("/hello/greet/Ann").status, 404);
    }
}

#[test]
fn clone_equals_push() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    for number in 0..5 {
        repository.write(&format!("docs/{number}.md"), format!("{number}\n").repeat(200));
        repository.commit(&format!("page {number}"));
    }
    repository.git(&["tag", "-a", "-m", "release", "v1"]);
    repository.push(&url, &["main", "v1"]).succeeded();
    for client in CLIENTS {
        let clone = client.clone_of(&url, &[]);
        assert_eq!(clone.head(), repository.head(), "{}", client.name);
        assert_eq!(clone.git(&["symbolic-ref", "HEAD"]), "refs/heads/main", "{}", client.name);
        assert_eq!(clone.git(&["status", "--porcelain"]), "", "{}", client.name);
        assert_eq!(clone.git(&["rev-parse", "v1^{commit}"]), repository.head(), "{}", client.name);
        assert_eq!(clone.git(&["rev-list", "--count", "HEAD"]), "6", "{}", client.name);
    }
}

#[test]
fn growing_file_is_cloned_by_every_client() {
    let server = Server::start(Database::sqlite());
    let by_git = server.git_url("by-git");
    let repository = Repository::hello();
    let mut text: String = (0..400).map(|line| format!("line {line}\n")).collect();
    let pushes: Vec<String> = CLIENTS.iter().map(|client| server.git_url(client.name)).collect();
    for number in 0..=3 {
        repository.write("docs/long.md", &text);
        repository.commit(&format!("version {number}"));
        // Each version is a delta against the one before.
        repository.push(&by_git, &["main"]).succeeded();
        for (client, url) in CLIENTS.iter().zip(&pushes) {
            client.push(&repository, url, &["refs/heads/main:refs/heads/main"]).succeeded();
        }
        text += &format!("appended {number}\n");
    }
    for (client, url) in CLIENTS.iter().zip(&pushes) {
        for url in [&by_git, url] {
            let clone = client.clone_of(url, &[]);
            assert_eq!(clone.head(), repository.head(), "{}", client.name);
            assert_eq!(
                clone.git(&["rev-list", "--objects", "--count", "HEAD"]),
                repository.git(&["rev-list", "--objects", "--count", "HEAD"])
            );
        }
    }
}

/// The names of the checks.
type Row = (String, Vec<(&'static str, &'static str)>);

/// Runs the check of a table column.
fn row(
    server: &Server,
    number: usize,
    name: &str,
    run: &dyn Fn(&Path, &[&str]) -> CommandOutput,
    shallow: bool,
) -> Row {
    let url = server.git_url(&format!("table-{number}"));
    let repository = Repository::hello();
    let main = "refs/heads/main:refs/heads/main";
    let push = |repository: &Repository| run(repository.path(), &["push", &url, main]);
    push(&repository).succeeded().says("LIVE as deploy 1");
    repository.write("greet.rhai", "lgo::info(1)");
    let broken = repository.commit("broken");
    push(&repository)
        .refused()
        .says("greet.rhai:1:1 unknown function `lgo::info` (1 problem; deploy 1 is still live)");
    repository.write("greet.rhai", "`mended`");
    repository.commit("mended");
    push(&repository).succeeded();
    let clone = |depth: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &[&["clone", &url, "."], depth].concat()).succeeded();
        Repository::made_in(folder)
    };
    let whole = clone(&[]);
    assert_eq!(whole.head(), repository.head(), "{name}");
    assert!(whole.git(&["log", "--format=%H"]).contains(&broken), "{name}");
    repository.commit("next");
    push(&repository).succeeded();
    run(whole.path(), &["fetch", &url]).succeeded();
    assert_eq!(whole.git(&["rev-parse", "refs/remotes/origin/main"]), repository.head(), "{name}");
    let mut cells = vec![("push", "yes"), ("refused push", "reason"), ("clone", "yes"), ("fetch", "yes")];
    if shallow {
        let cut = clone(&["1"]);
        assert_eq!(cut.git(&["rev-list", "--count", "HEAD"]), "1", "{name}");
        cut.write("greet.rhai", "`from a shallow clone`");
        cut.commit("from a shallow clone");
        push(&cut).succeeded().says("LIVE as deploy 4");
    }
    cells.push(("shallow", if shallow { "yes" } else { "not by it" }));
    (name.to_owned(), cells)
}

/// The commands of the clients, as git names them.
fn by_git(git: &Path, folder: &Path, arguments: &[&str]) -> CommandOutput {
    let depth;
    let arguments: Vec<&str> = match arguments {
        ["push", url, refspecs @ ..] => [&["push", "--progress", url], refspecs].concat(),
        ["clone", url, into, commits] => {
            depth = format!("--depth={commits}");
            vec!["clone", &depth, url, into]
        }
        ["fetch", _] => vec!["fetch", "origin"],
        others => others.to_vec(),
    };
    let output = tests::repository::command_of(git, folder, &arguments).output().expect("git runs");
    let text = [output.stdout, output.stderr].concat();
    CommandOutput { accepted: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
}

#[test]
fn every_client_passes_its_supported_tests() {
    let server = Server::start(Database::sqlite());
    let gits = crate::git_commands::gits();
    let mut rows: Vec<Row> = Vec::new();
    for (version, git) in &gits {
        rows.push(row(
            &server,
            rows.len(),
            version,
            &|folder, arguments| by_git(git, folder, arguments),
            true,
        ));
    }
    for client in CLIENTS {
        let version = client.run(Path::new("/"), &["version", "-"]).succeeded();
        let version = version.text.lines().nth(1).unwrap_or_default().trim().to_owned();
        let name = format!("{} {version}", client.name);
        let run = |folder: &Path, arguments: &[&str]| client.run(folder, arguments);
        rows.push(row(&server, rows.len(), &name, &run, client.is_ever_shallow));
    }
    for (at, (name, cells)) in rows.iter().enumerate() {
        if at == 0 {
            let heads: String = cells.iter().map(|(head, _)| format!("{head:<14}")).collect();
            println!("{:<34}{heads}", "client");
        }
        let cells: String = cells.iter().map(|(_, cell)| format!("{cell:<14}")).collect();
        println!("{name:<34}{cells}");
    }
    assert!(rows.len() > CLIENTS.len());
}

#[test]
fn shallow_clone_pushes() {
    let server = Server::start(Database::sqlite());
    for client in shallow_clients() {
        let url = server.git_url(client.name);
        let repository = Repository::hello();
        for number in 0..4 {
            repository.write("greet.rhai", format!("{number}"));
            repository.commit("change");
        }
        repository.push(&url, &["main"]).succeeded();
        let shallow = client.clone_of(&url, &["2"]);
        assert_eq!(shallow.git(&["rev-list", "--count", "HEAD"]), "2", "{}", client.name);
        shallow.write("greet.rhai", "`from a shallow clone`");
        shallow.commit("from a shallow clone");
        client
            .push(&shallow, &url, &["refs/heads/main:refs/heads/main"])
            .succeeded()
            .says("LIVE as deploy 2");
        assert_eq!(Repository::clone_of(&url).git(&["rev-list", "--count", "HEAD"]), "6");
    }
}

#[test]
fn app_with_shallow_history_is_cloned_and_pushed_to() {
    let server = Server::start(Database::sqlite());
    let whole = Repository::hello();
    whole.commit("second");
    whole.push(&server.git_url("whole"), &["main"]).succeeded();
    for client in shallow_clients() {
        let url = server.git_url(client.name);
        client.clone_of(&server.git_url("whole"), &["1"]).push(&url, &["main"]).succeeded();
        // A depth beyond the history: libgit2 learns where a history ends only with a depth.
        let clone = client.clone_of(&url, &["9"]);
        assert_eq!(clone.head(), whole.head(), "{}", client.name);
        clone.write("greet.rhai", "`third`");
        clone.commit("third");
        client.push(&clone, &url, &["refs/heads/main:refs/heads/main"]).succeeded().says("LIVE as deploy 2");
        assert_eq!(Repository::clone_of(&url).git(&["rev-list", "--count", "HEAD"]), "2", "{}", client.name);
    }
}

#[test]
fn fetch_gets_commits_pushed_by_other_clients() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let clones = CLIENTS.map(|client| (client, client.clone_of(&url, &[])));
    repository.write("greet.rhai", "`by git`");
    let by_git = repository.commit("by git");
    repository.push(&url, &["main"]).succeeded();
    for (client, clone) in &clones {
        client.fetch(clone, &url);
        assert_eq!(clone.git(&["rev-parse", "refs/remotes/origin/main"]), by_git, "{}", client.name);
    }
    // Each client continues from the push of the one before.
    for (client, clone) in &clones {
        client.fetch(clone, &url);
        clone.git(&["reset", "-q", "--hard", "refs/remotes/origin/main"]);
        clone.write("greet.rhai", format!("`by {}`", client.name));
        clone.commit(client.name);
        client.push(clone, &url, &["refs/heads/main:refs/heads/main"]).succeeded();
        assert_eq!(server.get("/hello/greet/Ann").body, format!("\"by {}\"", client.name));
    }
    let messages = CLIENTS.iter().rev().map(|client| client.name).chain(["by git", "first"]);
    let expected = messages.collect::<Vec<_>>().join("\n");
    assert_eq!(Repository::clone_of(&url).git(&["log", "--format=%s"]), expected);
}

#[test]
fn fetch_with_long_local_history_succeeds() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let clones = CLIENTS.map(|client| (client, client.clone_of(&url, &[])));
    repository.write("greet.rhai", "2");
    let second = repository.commit("second");
    repository.push(&url, &["main"]).succeeded();
    for (client, clone) in clones {
        // Enough unknown commits that the client negotiates in several rounds.
        for number in 0..100 {
            clone.commit(&format!("local {number}"));
        }
        client.fetch(&clone, &url);
        assert_eq!(clone.git(&["rev-parse", "refs/remotes/origin/main"]), second, "{}", client.name);
    }
}

#[test]
fn refs_are_listed() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.git(&["tag", "light"]);
    repository.push(&url, &["main", "light", "main:refs/heads/try"]).succeeded();
    let head = repository.head();
    let names =
        ["HEAD", "refs/deploys/1", "refs/deploys/2", "refs/heads/main", "refs/heads/try", "refs/tags/light"];
    let expected: String = names.iter().map(|name| format!("{head}\t{name}\n")).collect();
    for client in CLIENTS {
        client.run(repository.path(), &["ls-remote", &url]).succeeded().says(&expected);
    }
}

#[test]
fn branch_is_deleted_and_production_is_not() {
    let server = Server::start(Database::sqlite());
    for client in CLIENTS {
        let url = server.git_url(client.name);
        let repository = Repository::hello();
        repository.push(&url, &["main", "main:refs/heads/try"]).succeeded();
        let preview = format!("/{}@try/greet/Ann", client.name);
        assert_eq!(server.get(&preview).status, 200);
        client.run(repository.path(), &["delete", &url, "try"]).succeeded().says("STORED try (deleted)");
        assert_eq!(server.get(&preview).status, 404);
        client
            .run(repository.path(), &["delete", &url, "main"])
            .refused()
            .says("the production branch cannot be deleted");
        assert_eq!(
            repository.git(&["ls-remote", "--heads", &url]),
            format!("{}\trefs/heads/main", repository.head())
        );
    }
}
