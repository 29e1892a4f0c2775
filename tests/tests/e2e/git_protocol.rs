//! Requests of git clients besides push, clone and fetch, and quiet output.

use serde_json::json;
use tests::{Database, Repository, Server, TOKEN};

#[test]
fn quiet_push_prints_result_and_errors() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    let quiet = |refspecs: &[&str]| repository.try_git(&[&["push", "-q", url.as_str()], refspecs].concat());
    let pushed = quiet(&["main", "main:refs/heads/try"])
        .succeeded()
        .says("LIVE as deploy 1")
        .says("PREVIEW as deploy 2");
    assert_eq!(pushed.text.lines().count(), 2, "{}", pushed.text);
    repository.write("greet.rhai", "`second`");
    repository.commit("second");
    let pushed = quiet(&["main"]).succeeded().says("LIVE as deploy 3");
    assert_eq!(pushed.text.lines().count(), 1, "{}", pushed.text);
    repository.write("greet.rhai", "lgo::info(1)");
    repository.commit("broken");
    quiet(&["main"])
        .refused()
        .says("error: greet.rhai:1:1  unknown function")
        .says("error: REJECTED main: 1 problem");
    repository.write("greet.rhai", "`third`");
    repository.commit("third");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 4").says("hint: undo with");
}

#[test]
fn annotated_tag_pushed_to_a_branch_is_peeled() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.git(&["tag", "-a", "-m", "release", "v1"]);
    let hint = |exists: bool| {
        let refused = repository.push(&url, &["-f", "v1:refs/heads/main"]).refused();
        let force = if exists { " -f" } else { "" };
        let refspec = "v1^{}:refs/heads/main";
        refused
            .says("(v1 is an annotated tag, but a branch must point to a commit: push v1^{})")
            .says(&format!("hint: git push{force} picloud {refspec}"));
        refspec
    };
    repository.push(&url, &[hint(false)]).succeeded().says("LIVE as deploy 1");
    repository.write("greet.rhai", "2");
    repository.commit("second");
    repository.push(&url, &["main"]).succeeded();
    repository.push(&url, &["-f", hint(true)]).succeeded().says("LIVE as deploy 3");
}

#[test]
fn commit_is_fetched_by_id_in_every_protocol() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    let old = repository.head();
    repository.commit("second");
    repository.push(&url, &["main", "main:refs/heads/gone"]).succeeded();
    repository.git(&["checkout", "-q", "-b", "gone"]);
    let unreached = repository.commit("on a branch that goes");
    repository.push(&url, &["gone", "+main:refs/heads/gone"]).refused();
    repository.push(&url, &["gone:refs/tags/gone"]).succeeded();
    repository.push(&url, &[":refs/tags/gone"]).succeeded();
    for version in ["0", "1", "2"] {
        let version = format!("protocol.version={version}");
        let clone = Repository::new();
        clone.git(&["-c", &version, "fetch", "-q", "--depth", "1", &url, &old]);
        assert_eq!(clone.git(&["rev-parse", "FETCH_HEAD"]), old);
        let refused = clone.try_git(&["-c", &version, "fetch", "-q", &url, &unreached]).refused();
        refused.says(&format!("not our ref {unreached}"));
    }
}

#[test]
fn ref_advertisement_includes_head() {
    let server = Server::start(Database::sqlite());
    Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
    let bearer = format!("Bearer {TOKEN}");
    for service in ["git-upload-pack", "git-receive-pack"] {
        let path = format!("/hello.git/info/refs?service={service}");
        let send = |method: &str| server.request(method, &path, &[("authorization", &bearer)], None);
        let (get, head) = (send("GET"), send("HEAD"));
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let kind = format!("application/x-{service}-advertisement");
        assert_eq!((get.header("content-type"), head.header("content-type")), (Some(&*kind), Some(&*kind)));
        assert_eq!(head.header("content-length"), Some(&*get.body.len().to_string()));
        assert_eq!(server.request("HEAD", &path, &[], None).status, 401);
    }
}

#[test]
fn git_lfs_gets_a_clear_error() {
    let server = Server::start(Database::sqlite());
    Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
    let lfs = "application/vnd.git-lfs+json";
    let batch = json!({"operation": "upload", "objects": [{"oid": "0".repeat(64), "size": 1}]}).to_string();
    for path in ["objects/batch", "locks/verify"] {
        let path = format!("/hello.git/info/lfs/{path}");
        let response =
            server.request("POST", &path, &[("content-type", lfs), ("accept", lfs)], Some(batch.as_bytes()));
        assert_eq!((response.status, response.header("content-type")), (501, Some(lfs)));
        let message = response.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("does not support Git LFS"), "{message}");
    }
}
