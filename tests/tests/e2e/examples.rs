//! The apps of `examples/`: checked without a warning, pushed, and used as their READMEs say.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::server::picloud;
use tests::{Database, Repository, Response, Server, TOKEN};

use super::secrets::secrets_of;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// The files of an example, committed in a repository of its own.
fn repository(example: &str) -> Repository {
    fn copy(from: &Path, below: &str, repository: &Repository) {
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{below}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => copy(&entry.path(), &format!("{path}/"), repository),
                false => repository.write(&path, std::fs::read(entry.path()).unwrap()),
            }
        }
    }
    let repository = Repository::new();
    copy(&folder().join(example), "", &repository);
    repository.commit("first");
    repository
}

fn run(repository: &Repository, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(picloud()).args(arguments).current_dir(repository.path()).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn every_example_is_checked_without_a_warning() {
    let mut examples = 0;
    for example in std::fs::read_dir(folder()).unwrap() {
        let name = example.unwrap().file_name().into_string().unwrap();
        let (passed, output) = run(&repository(&name), &["check"]);
        let warnings =
            output.lines().filter(|line| line.starts_with("warning") && !line.contains("is a draft"));
        assert!(passed && warnings.count() == 0, "{name}: {output}");
        examples += 1;
    }
    assert!(examples >= 6);
}

#[test]
fn site_has_pages_a_form_and_a_message_in_a_sealed_cookie() {
    let server = Server::start(Database::sqlite());
    repository("site").push(&server.git_url("site"), &["main"]).succeeded().says("check     2 checks");
    let page = server.get("/site/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        page.body.contains("<a href=\"/site/posts/first-note\">The first note</a>, 2 November 2026"),
        "{}",
        page.body
    );
    assert!(server.get("/site/posts/second-note").body.contains("<em>pushing an older commit</em>"));
    assert_eq!(server.get("/site/posts/none").status, 404);
    assert!(
        server.get("/site/feed.xml").body.contains(&format!("<guid>http://{}/site/posts/", server.address))
    );

    let form = ("content-type", "application/x-www-form-urlencoded");
    let send = |body: &str| server.request("POST", "/site/contact", &[form], Some(body.as_bytes()));
    let wrong = send("name=%3CAnn%3E&message=+");
    assert_eq!((wrong.status, wrong.body.contains("value=\"&lt;Ann&gt;\"")), (422, true), "{}", wrong.body);
    assert!(wrong.body.contains("write a message") && !wrong.body.contains("write your name"));
    let sent = send("name=Ann&message=Hello");
    assert_eq!((sent.status, sent.header("location")), (303, Some("/site/")));
    let cookie = sent.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let next = |cookie: &str| server.request("GET", "/site/", &[("cookie", cookie)], None);
    assert!(next(&cookie).body.contains("<p role=\"status\">Thank you, Ann.</p>"));
    assert!(next(&cookie).header("set-cookie").unwrap().starts_with("flash=; Max-Age=0"));
    assert!(!next("flash=Thank+you").body.contains("role=\"status\""), "nobody else writes a message");
}

#[test]
fn webhook_is_accepted_with_its_signature_only() {
    let server = Server::start(Database::sqlite());
    let created = Command::new(picloud())
        .args(["apps", "create", "webhook"])
        .env("PICLOUD_URL", format!("http://{}", server.address))
        .env("PICLOUD_TOKEN", TOKEN)
        .output();
    assert!(created.unwrap().status.success());
    let pushed = repository("webhook").push(&server.git_url("webhook"), &["main"]);
    pushed
        .refused()
        .says("required secret GITHUB_SECRET is not set")
        .says("picloud secrets set GITHUB_SECRET");
    secrets_of("webhook", &server, &["set", "GITHUB_SECRET"], "It's a Secret to Everybody").succeeded();
    repository("webhook").push(&server.git_url("webhook"), &["main"]).succeeded();
    let hook = |signature: &str| -> Response {
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", "push"),
            ("x-hub-signature-256", signature),
        ];
        let body = r#"{"ref":"refs/heads/main","commits":[{}],"pusher":{"name":"ann"},"repository":{"full_name":"ann/shop"}}"#;
        server.request("POST", "/webhook/hook", &headers, Some(body.as_bytes()))
    };
    // printf '%s' BODY | openssl dgst -sha256 -hmac "It's a Secret to Everybody"
    let accepted = hook("sha256=aa4f264b181f068c90b28c2b47383673e179f0c22cac4b9862f44e566378e22f");
    assert_eq!(accepted.json()["summary"], "ann/shop: 1 commit to main by ann", "{}", accepted.body);
    assert_eq!(hook("sha256=0000").status, 401);
    assert_eq!(hook("").status, 401);
}

#[test]
fn links_redirect_and_count_their_visits() {
    let server = Server::start(Database::sqlite());
    let links = repository("links");
    assert!(run(&links, &["test"]).0);
    links.push(&server.git_url("links"), &["main"]).succeeded().says("check     3 checks");
    let json = [("content-type", "application/json")];
    let create = |body: &str| server.request("POST", "/links/links", &json, Some(body.as_bytes()));
    let created = create(r#"{"url":"https://example.org/a","slug":"a"}"#);
    assert_eq!((created.status, created.json()["path"].as_str()), (201, Some("/links/a")));
    assert_eq!(create(r#"{"url":"https://example.org/b","slug":"a"}"#).status, 409);
    for _ in 0..3 {
        let followed = server.get("/links/a");
        assert_eq!((followed.status, followed.header("location")), (302, Some("https://example.org/a")));
    }
    assert_eq!(server.get("/links/links/a").json()["visits"], 3);
    assert_eq!(server.request("DELETE", "/links/links/a", &[], None).status, 200);
    assert_eq!((server.get("/links/a").status, server.get("/links/links/a").status), (404, 404));
}

#[test]
fn guestbook_has_pages() {
    let server = Server::start(Database::sqlite());
    let guestbook = repository("guestbook");
    assert!(run(&guestbook, &["test"]).0);
    guestbook.push(&server.git_url("book"), &["main"]).succeeded().says("check     2 checks");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for number in 1..=23 {
        let body = format!("name=Ann&text=Entry+{number}.");
        assert_eq!(server.request("POST", "/book/", &form, Some(body.as_bytes())).status, 303);
    }
    let (mut path, mut pages) = ("/book/".to_owned(), Vec::new());
    loop {
        let page = server.get(&path).body;
        let entries: Vec<u32> = page
            .lines()
            .filter_map(|line| line.strip_prefix("<p>Entry ")?.strip_suffix(".</p>")?.parse().ok())
            .collect();
        pages.push(entries);
        match page.split_once("?before=").and_then(|(_, rest)| rest.split_once('"')) {
            Some((before, _)) => path = format!("/book/?before={before}"),
            None => break,
        }
    }
    let expected: Vec<Vec<u32>> =
        vec![(14..=23).rev().collect(), (4..=13).rev().collect(), (1..=3).rev().collect()];
    assert_eq!(pages, expected);
}
