//! Tokens: created, used, revoked, expired, and wrong.

use tests::{Database, Repository, Server, TOKEN, on_both_databases, until};

use super::{ask, token, url, verb, verb_as};

on_both_databases!(a_token_is_shown_once_and_works_until_it_is_revoked);

fn a_token_is_shown_once_and_works_until_it_is_revoked(database: Database) {
    let server = Server::start(database);
    let created =
        verb(&server, &["tokens", "create", "ci", "--scope", "hello:deploy,read", "--scope", "*:create"]);
    let created =
        created.succeeded().says("ci works until it is revoked, for *:create hello:read hello:deploy");
    let secret = created.text.lines().find(|line| line.starts_with("pcl_")).expect("the token").to_owned();
    let repository = Repository::hello();
    repository
        .push(&url(&server, &secret, "hello"), &["main"])
        .succeeded()
        .says("by ci")
        .says("LIVE as deploy 1");
    let listed = until("the use is written down", || {
        let listed = verb(&server, &["tokens", "list"]).succeeded().text;
        let row = listed.lines().find(|line| line.starts_with("ci "))?.to_owned();
        row.split("never").count().eq(&2).then_some(row)
    });
    assert!(listed.contains("*:create hello:read hello:deploy") && !listed.contains(&secret), "{listed}");
    assert!(!ask(&server, TOKEN, "GET", "tokens", None).body.contains(&secret[10..]));
    verb(&server, &["tokens", "create", "ci", "--scope", "admin"])
        .refused()
        .says("there is a token of that name already");
    verb(&server, &["tokens", "revoke", "ci"]).succeeded().says("ci is revoked.");
    repository
        .try_git(&["ls-remote", &url(&server, &secret, "hello")])
        .refused()
        .says("Authentication failed");
    verb(&server, &["tokens", "revoke", "ci"]).refused().says("there is no such token");
    assert!(!server.log().contains(&secret), "the log holds the token");
}

#[test]
fn an_expired_token_is_told_so() {
    let server = Server::start(Database::sqlite());
    let asked = serde_json::json!({"name": "brief", "scopes": ["admin"], "expires_in_seconds": 1});
    let created = ask(&server, TOKEN, "POST", "tokens", Some(&asked));
    assert_eq!(created.header("cache-control"), Some("no-store"));
    let secret = created.json()["secret"].as_str().expect("a token").to_owned();
    let refused = until("it expires", || {
        let answer = ask(&server, &secret, "GET", "apps", None);
        (answer.status == 401).then_some(answer)
    });
    assert!(refused.body.contains("the token has expired"), "{}", refused.body);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
}

#[test]
fn wrong_tokens_are_limited_in_rate_and_right_ones_are_not() {
    let server = Server::start(Database::sqlite());
    let right = token(&server, "ci", &["*:read"]);
    let mistyped = format!("{}a", &right[..right.len() - 1]);
    let statuses: Vec<u16> = (0..12).map(|_| ask(&server, &mistyped, "GET", "apps", None).status).collect();
    assert_eq!(statuses, [[401; 10].as_slice(), &[429; 2]].concat());
    let refused = ask(&server, "anything", "GET", "apps", None);
    let seconds: u32 = refused.header("retry-after").expect("a time").parse().expect("a number");
    assert!(refused.status == 429 && (1..=60).contains(&seconds), "{refused:?}");
    Repository::hello()
        .try_git(&["ls-remote", &url(&server, "anything", "hello")])
        .refused()
        .says("too many wrong tokens");
    // Whoever else is there goes on.
    assert_eq!(ask(&server, &right, "GET", "apps", None).status, 200);
    assert_eq!(ask(&server, TOKEN, "GET", "apps", None).status, 200);
    assert_eq!(server.request("GET", "/-/api/v1/apps", &[], None).status, 401);
    assert!(server.log().contains("too many wrong tokens from there"), "{}", server.log());
}

#[test]
fn while_the_database_is_away_nobody_is_called_wrong() {
    let postgres = tests::Postgres::start();
    let server = Server::start(Database::at(&postgres.url()));
    let right = token(&server, "ci", &["admin"]);
    postgres.stop();
    let answer = ask(&server, &right, "GET", "apps", None);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{}", answer.body);
    assert_eq!(ask(&server, "pcl_mistyped", "GET", "apps", None).status, 401);
    Repository::hello()
        .try_git(&["ls-remote", &url(&server, &right, "hello")])
        .refused()
        .says("the database did not answer within");
}

#[test]
fn only_an_admin_makes_tokens() {
    let server = Server::start(Database::sqlite());
    let all_but_admin = token(&server, "much", &["*:read,preview,deploy,force,invoke,secrets,create"]);
    for arguments in [
        &["tokens", "list"][..],
        &["tokens", "create", "x", "--scope", "admin"],
        &["tokens", "revoke", "much"],
        &["audit"],
        &["nodes"],
    ] {
        verb_as(&server, &all_but_admin, arguments).refused().says("it needs the scope admin");
    }
    let admin = token(&server, "deputy", &["admin"]);
    verb_as(&server, &admin, &["tokens", "create", "x", "--scope", "*:read"]).succeeded();
    verb_as(&server, &admin, &["tokens", "create", "y", "--scope", "*:fly"])
        .refused()
        .says("scope `*:fly` is not understood");
    verb_as(&server, &admin, &["tokens", "create", "a b", "--scope", "*:read"])
        .refused()
        .says("a token's name is");
}
