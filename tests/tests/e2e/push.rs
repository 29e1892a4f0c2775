//! A push makes the app live, or changes nothing and reports why.

use tests::{Database, Repository, Server, on_both_databases};

on_both_databases!(
    first_push_creates_app_and_goes_live,
    second_push_replaces_routes_and_responses,
    push_with_errors_changes_nothing_and_reports_all,
    rejected_push_can_be_repeated,
    check_ref_validates_and_changes_nothing,
    atomic_push_updates_all_refs_or_none,
    files_with_historic_modes_are_served_and_cloned,
    tags_are_stored_and_other_refs_rejected,
    deploy_refs_are_read_only,
);

fn first_push_creates_app_and_goes_live(database: Database) {
    let server = Server::start(database);
    let repository = Repository::hello();
    repository
        .push(&server.git_url("hello"), &["main"])
        .succeeded()
        .says(&format!("remote: picloud: hello  main  {}", &repository.head()[..7]))
        .says("by ada")
        .says("remote:   routes")
        .says("+ GET  /greet/{name}  greet.rhai")
        .says("remote: success: LIVE as deploy 1 in ")
        .says(&format!("http://{}/hello/", server.address))
        .says("[new branch]");
    let response = server.get("/hello/greet/Ann");
    assert_eq!((response.status, response.body.as_str()), (200, r#"{"message":"Hello, Ann"}"#));
    assert_eq!(response.header("picloud-revision"), Some(repository.head().as_str()));
    assert!(response.header("picloud-execution").is_some());
}

fn second_push_replaces_routes_and_responses(database: Database) {
    let server = Server::start(database);
    let repository = Repository::hello();
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    let first = repository.head();
    repository
        .write("picloud.toml", "sdk = \"1.1\"\n[[routes]]\npath = \"/hi/{name}\"\nscript = \"greet.rhai\"\n");
    repository.write("greet.rhai", "`Hi, ${ctx.request.params.name}`");
    repository.commit("second");
    repository
        .push(&server.git_url("hello"), &["main"])
        .succeeded()
        .says("+ *    /hi/{name}")
        .says("- GET  /greet/{name}")
        .says("LIVE as deploy 2")
        .says(&format!("hint: undo with  git push -f picloud {}:main", &first[..7]));
    assert_eq!(server.get("/hello/hi/Ann").body, "\"Hi, Ann\"");
    assert_eq!(server.get("/hello/greet/Ann").status, 404);
}

fn push_with_errors_changes_nothing_and_reports_all(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    let good = repository.head();
    repository.push(&url, &["main"]).succeeded();
    repository.write("greet.rhai", "let x = 1;\n\nlgo::info(\"hi\");\n");
    repository.write(
        "picloud.toml",
        "sdk = \"1.1\"\n[[routes]]\npath = \"/greet/{name}\"\nscript = \"greet.rhai\"\n\
         [[schedules]]\nname = \"tick\"\ncron = \"61 * * * *\"\nscript = \"greet.rhai\"\n",
    );
    repository.commit("broken");
    repository
        .push(&url, &["main"])
        .refused()
        .says("remote: error: greet.rhai:3:1  unknown function `lgo::info`")
        .says("remote: 3 | lgo::info(\"hi\");")
        .says("did you mean `log::info`?")
        .says("remote: error: picloud.toml:7:8  schedule `tick`: minute 61 in `61 * * * *` is out of range 0-59")
        .says("2 problems in 2 files; nothing changed, deploy 1 is still live")
        .says("! [remote rejected] main -> main (picloud.toml:7:8 schedule `tick`: minute 61 in `61 * * * *` is out of range 0-59 (2 problems; deploy 1 is still live))");
    assert_eq!(server.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
    assert_eq!(repository.git(&["ls-remote", &url, "refs/heads/main"]), format!("{good}\trefs/heads/main"));
    assert_eq!(Repository::clone_of(&url).head(), good);
}

fn rejected_push_can_be_repeated(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.write("greet.rhai", "let x = ;");
    repository.commit("broken");
    repository.push(&url, &["main"]).refused().says("greet.rhai:1:9").says("nothing changed");
    repository.push(&url, &["main"]).refused().says("greet.rhai:1:9");
    assert_eq!(server.get("/hello/greet/Ann").status, 404, "a rejected first push creates no app");
    repository.write("greet.rhai", "1");
    repository.commit("mended");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 1");
}

fn check_ref_validates_and_changes_nothing(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["HEAD:refs/picloud/check"]).succeeded().says("+ GET").says("nothing was changed");
    assert_eq!(server.get("/hello/greet/Ann").status, 404);
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 1");
    repository.write("greet.rhai", "oops(");
    repository.commit("broken");
    repository.push(&url, &["HEAD:refs/picloud/check"]).refused().says("greet.rhai:1:");
    assert!(!repository.git(&["ls-remote", &url]).contains("refs/picloud"));
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
}

fn atomic_push_updates_all_refs_or_none(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.git(&["branch", "good"]);
    repository.write("greet.rhai", "oops(");
    repository.commit("broken");
    repository.push(&url, &["--atomic", "main", "good"]).refused().says("another ref of this atomic push");
    repository.try_git(&["ls-remote", &url]).refused().says("app hello not found");
    repository.push(&url, &["main", "good"]).refused().says("PREVIEW as deploy 1");
    assert!(repository.git(&["ls-remote", &url]).contains("refs/heads/good"));
    assert!(!repository.git(&["ls-remote", &url]).contains("refs/heads/main"));
}

fn files_with_historic_modes_are_served_and_cloned(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    let script = "git ls-files -s | sed 's/^100644 \\(.*\\) 0\\t/100664 blob \\1\\t/' | git mktree";
    let tree = repository.git(&["-c", &format!("alias.tree=!{script}"), "tree"]);
    let commit = repository.git(&["commit-tree", "-m", "old modes", &tree]);
    assert!(repository.git(&["cat-file", "tree", &tree]).contains("100664 greet.rhai"));
    repository.push(&url, &[&format!("{commit}:refs/heads/main")]).succeeded();
    assert_eq!(server.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
    assert_eq!(Repository::clone_of(&url).head(), commit);
}

fn tags_are_stored_and_other_refs_rejected(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.git(&["tag", "-a", "-m", "release", "v1"]);
    repository.push(&url, &["main", "v1"]).succeeded().says("STORED v1");
    assert!(repository.git(&["ls-remote", &url]).contains("refs/tags/v1^{}"));
    repository.push(&url, &["main:refs/other/x"]).refused().says("only branches and tags are supported");
    repository.push(&url, &["--delete", "v1"]).succeeded();
    assert!(!repository.git(&["ls-remote", &url]).contains("refs/tags"));
}

fn deploy_refs_are_read_only(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let listed = repository.git(&["ls-remote", &url, "refs/deploys/*"]);
    assert_eq!(listed, format!("{}\trefs/deploys/1", repository.head()));
    repository.push(&url, &["main:refs/deploys/7"]).refused().says("refs/deploys/ is read-only");
    repository.push(&url, &["main~0:refs/deploys/1"]).succeeded().says("STORED refs/deploys/1 (unchanged)");
    repository.push(&url, &["--delete", "refs/deploys/1"]).refused().says("refs/deploys/ is read-only");
    repository.push(&url, &["--delete", "refs/deploys/9"]).refused().says("no such ref");
    repository.push(&url, &["--delete", "refs/tags/none"]).refused().says("no such ref");
    assert_eq!(repository.git(&["ls-remote", &url, "refs/deploys/*"]), listed);
}

/// Stores a tree object as given.
fn tree(repository: &Repository, content: &[u8]) -> String {
    repository.write(".git/tree", content);
    repository.git(&["hash-object", "-t", "tree", "-w", "--literally", ".git/tree"])
}

#[test]
fn fsck_warnings_are_accepted_and_reported() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    let id = |name: &str| {
        let id = repository.git(&["rev-parse", &format!("HEAD:{name}")]);
        (0..20).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()).collect::<Vec<u8>>()
    };
    let files = |mode: &str, more: &[u8]| {
        let (manifest, script) = (id("picloud.toml"), id("greet.rhai"));
        let greet = format!("{mode} greet.rhai\0").into_bytes();
        [more, &greet, &script, b"100640 picloud.toml\0", &manifest].concat()
    };
    let commit = |content: &[u8]| {
        let tree = tree(&repository, content);
        (repository.git(&["commit-tree", "-m", "odd", &tree]), tree)
    };
    let (odd, odd_tree) = commit(&files("0100664", b""));
    repository
        .push(&server.git_url("odd"), &[&format!("{odd}:refs/heads/main")])
        .succeeded()
        .says(&format!("warning: object {odd_tree}: zeroPaddedFilemode: contains zero-padded file modes"))
        .says("LIVE as deploy 1");
    assert_eq!(server.get("/odd/greet/Ann").status, 200);
    let clone = Repository::clone_of(&server.git_url("odd"));
    assert_eq!(clone.head(), odd);
    assert_eq!(clone.git(&["status", "--porcelain"]), "");
    let (bad, _) = commit(&files("100644", &[&b"100644 .git\0"[..], &id("greet.rhai")].concat()));
    repository
        .push(&server.git_url("bad"), &[&format!("{bad}:refs/heads/main")])
        .refused()
        .says("hasDotgit: `.git`");
}
