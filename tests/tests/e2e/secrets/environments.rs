//! Production has one set of secrets, and all previews share another.

use tests::{Database, Repository, Server, TOKEN, on_both_databases};

use super::{app, secrets};
use crate::access::{api, token, url};

on_both_databases!(
    preview_reads_no_production_secret,
    preview_of_earlier_version_reads_production_secrets_until_next_push,
);

/// An app whose script returns its secret.
fn secret_app() -> Repository {
    let repository = app();
    repository.write("main.rhai", "ctx.secrets.API_KEY");
    repository.commit("tell");
    repository
}

fn preview_reads_no_production_secret(database: Database) {
    let server = Server::start(database);
    let preview = token(&server, "reviewer", &["hello:preview"]);
    secrets(&server, &["set", "API_KEY"], "production-1234567890").succeeded().says("set API_KEY\n");
    app().push(&server.git_url("hello"), &["main"]).succeeded();
    let repository = secret_app();
    let url = url(&server, &preview, "hello");
    repository
        .push(&url, &["main:try"])
        .refused()
        .says("required secret API_KEY is not set for previews")
        .says("picloud secrets set API_KEY --preview");
    // The check ref tells no more than that there is a secret.
    let checked = repository.push(&url, &["main:refs/picloud/check"]).succeeded();
    assert!(!checked.text.contains("production-1234567890"), "{}", checked.text);
    secrets(&server, &["set", "API_KEY", "--preview"], "clementine-1")
        .succeeded()
        .says("set API_KEY for previews\n");
    repository.push(&url, &["main:try", "main:next"]).succeeded().says("PREVIEW as deploy 2");
    assert_eq!(server.get("/hello@try/").body, "\"clementine-1\"");
    // Each set is changed separately, and redeploys the branches that read it.
    secrets(&server, &["set", "API_KEY", "--preview"], "clementine-2")
        .succeeded()
        .says("redeployed try as deploy")
        .says("redeployed next as deploy");
    assert_eq!(server.get("/hello@try/").body, "\"clementine-2\"");
    let production =
        secrets(&server, &["set", "API_KEY"], "production-2").succeeded().says("redeployed main as deploy");
    assert!(!production.text.contains("try") && !production.text.contains("next"), "{}", production.text);
    assert_eq!(server.get("/hello@try/").body, "\"clementine-2\"");
    assert_eq!(server.get("/hello/").body, "\"Hello 12 false\"");
    let listed = secrets(&server, &["list"], "").succeeded().says("API_KEY  previews    ");
    listed.says("API_KEY  production  ");
    secrets(&server, &["unset", "API_KEY", "--preview"], "")
        .refused()
        .says("the live revision of next requires it");
    repository.push(&url, &["--delete", "try", "next"]).succeeded();
    secrets(&server, &["unset", "API_KEY", "--preview"], "").succeeded().says("unset API_KEY for previews\n");
    secrets(&server, &["unset", "API_KEY"], "").refused().says("the live revision of main requires it");
    let acts = api(&server, TOKEN, "GET", "audit?app=hello", None).body;
    assert!(acts.contains("API_KEY (previews)"), "{acts}");
    let wrong = api(&server, TOKEN, "DELETE", "apps/hello/secrets/API_KEY?environment=staging", None);
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    // A commit that was validated for production is not validated for previews.
    app().push(&server.git_url("hello"), &["main:again"]).refused().says("not set for previews");
}

fn preview_of_earlier_version_reads_production_secrets_until_next_push(database: Database) {
    let server = Server::start(database);
    let (repository, url) = (secret_app(), server.git_url("hello"));
    for set in [&["set", "API_KEY"][..], &["set", "API_KEY", "--preview"]] {
        secrets(&server, set, "tangerine-1").succeeded();
    }
    repository.push(&url, &["main", "main:try"]).succeeded();
    // The state after the migration.
    server.execute_sql(&["UPDATE refs SET production_secrets = true WHERE name = 'refs/heads/try'"]);
    secrets(&server, &["set", "API_KEY"], "tangerine-2").succeeded().says("redeployed try as deploy");
    assert_eq!(server.get("/hello@try/").body, "\"tangerine-2\"");
    let status = || api(&server, TOKEN, "GET", "status", None).body;
    let expected = "preview try of app hello uses the secrets of production until its next push";
    assert!(status().contains(expected), "{}", status());
    repository.commit("next");
    repository.push(&url, &["main:try"]).succeeded();
    assert_eq!(server.get("/hello@try/").body, "\"tangerine-1\"");
    assert!(!status().contains("preview_reads_production"), "{}", status());
}
