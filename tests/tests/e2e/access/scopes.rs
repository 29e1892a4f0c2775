//! Scopes, over the API, git and the client commands.

use tests::{Database, Repository, Server, TOKEN};

use super::{api, cli, cli_as, token, url};

/// A server with `hello` live, which has a function and a schedule.
fn serve_hello() -> (Server, Repository) {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    repository.write(
        "picloud.toml",
        format!(
            "{}\n[[functions]]\nname = \"double\"\nscript = \"double.rhai\"\n\n[[schedules]]\nname = \"tick\"\ncron = \
             \"0 0 1 1 *\"\nscript = \"double.rhai\"\n",
            tests::repository::HELLO_MANIFEST
        ),
    );
    repository.write("double.rhai", "2");
    repository.commit("more");
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    (server, repository)
}

#[test]
fn preview_token_cannot_change_production() {
    let (server, repository) = serve_hello();
    let reviewer = token(&server, "reviewer", &["hello:preview"]);
    let url = url(&server, &reviewer, "hello");
    repository.push(&url, &["main:try"]).succeeded().says("PREVIEW as deploy 2");
    repository.write("double.rhai", "3");
    repository.commit("next");
    repository
        .push(&url, &["main", "main:try"])
        .refused()
        .says("[remote rejected] main -> main (this token cannot deploy to production; it needs the scope hello:deploy)")
        .says("PREVIEW as deploy 3");
    repository.push(&url, &["HEAD:refs/tags/v1"]).refused().says("it needs the scope hello:deploy");
    repository.push(&url, &["HEAD:refs/picloud/check"]).succeeded().says("the check passed");
    repository
        .try_git(&["fetch", &url])
        .refused()
        .says("this token cannot read hello; it needs the scope hello:read");
    repository.push(&url, &["--delete", "try"]).succeeded();
}

#[test]
fn read_token_can_only_read() {
    let (server, repository) = serve_hello();
    let reader = token(&server, "reader", &["hello:read"]);
    let url = url(&server, &reader, "hello");
    assert_eq!(Repository::clone_of(&url).head(), repository.head());
    repository
        .push(&url, &["main:try"])
        .refused()
        .says("this token cannot push to hello; it needs the scope hello:deploy");
    cli_as(&server, &reader, &["schedules", "--app", "hello"]).succeeded().says("tick");
    cli_as(&server, &reader, &["pause", "tick", "--app", "hello"])
        .refused()
        .says("it needs the scope hello:invoke");
    cli_as(&server, &reader, &["invoke", "double", "--app", "hello"])
        .refused()
        .says("it needs the scope hello:invoke");
    let caller = token(&server, "caller", &["hello:invoke"]);
    cli_as(&server, &caller, &["invoke", "double", "--app", "hello"]).succeeded().says("2");
    cli_as(&server, &caller, &["run", "tick", "--app", "hello"]).succeeded().says("succeeded");
    cli_as(&server, &caller, &["schedules", "--app", "hello"])
        .refused()
        .says("it needs the scope hello:read");
}

#[test]
fn apps_outside_scopes_are_not_found() {
    let (server, _) = serve_hello();
    let stranger = token(&server, "stranger", &["other:deploy,read,invoke", "*:create"]);
    let responses_for = |app: &str| {
        let of_git = server.request(
            "GET",
            &format!("/{app}.git/info/refs?service=git-upload-pack"),
            &[("authorization", &format!("Bearer {stranger}"))],
            None,
        );
        let of_api = api(&server, &stranger, "GET", &format!("apps/{app}/schedules"), None);
        let of_settings = api(&server, &stranger, "GET", &format!("apps/{app}/settings"), None);
        let responses = [of_git, of_api, of_settings]
            .map(|response| (response.status, response.body.replace(app, "APP")));
        responses.to_vec()
    };
    let narrow = token(&server, "narrow", &["other:read"]);
    let quiet = |app: &str, service: &str| {
        let path = format!("/{app}.git/info/refs?service={service}");
        let response = server.request("GET", &path, &[("authorization", &format!("Bearer {narrow}"))], None);
        (response.status, response.body.replace(app, "APP"))
    };
    for service in ["git-upload-pack", "git-receive-pack"] {
        assert_eq!(quiet("hello", service), quiet("absent", service));
        assert_eq!(quiet("hello", service).0, 404);
    }
    assert!(responses_for("hello").iter().all(|(status, _)| *status == 404));
    let apps = api(&server, &stranger, "GET", "apps", None).json();
    assert_eq!(apps["apps"], serde_json::json!([]));
}

#[test]
fn first_push_creates_app_if_token_and_server_allow_it() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    let deployer = token(&server, "deployer", &["*:deploy"]);
    repository.push(&url(&server, &deployer, "hello"), &["main"]).refused().says("app hello not found");
    let creator = token(&server, "creator", &["hello:deploy,create"]);
    repository.push(&url(&server, &creator, "hello"), &["main"]).succeeded().says("LIVE as deploy 1");
    repository.push(&url(&server, &creator, "other"), &["main"]).refused().says("app other not found");
    repository.push(&url(&server, &deployer, "hello"), &["main:next"]).succeeded().says("PREVIEW");
}

#[test]
fn apps_are_created_by_command_if_pushes_cannot_create_them() {
    let server = Server::start_with(Database::sqlite(), &["--create-apps", "never"]);
    let repository = Repository::hello();
    repository
        .push(&server.git_url("hello"), &["main"])
        .refused()
        .says("pushes do not create apps on this server; create it with  picloud apps create hello");
    cli(&server, &["apps", "create", "hello"]).succeeded().says("hello  main    -");
    cli(&server, &["apps", "create", "hello"]).succeeded();
    repository.push(&server.git_url("hello"), &["main"]).succeeded().says("LIVE as deploy 1");
    assert_eq!(api(&server, TOKEN, "PUT", "apps/No%20Name", None).status, 400);
}
