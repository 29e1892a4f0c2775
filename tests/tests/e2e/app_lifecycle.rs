//! Apps are stopped and started, renamed, deleted and restored, on all nodes.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::server::picloud;
use tests::{CommandOutput, Database, Repository, Response, Server, TOKEN, on_both_databases, until};

use super::access::{api, cli, cli_as, token, url};
use super::nodes::nodes_with_a_key;

on_both_databases!(
    stopped_app_serves_nothing_and_accepts_pushes,
    renamed_app_keeps_its_data_at_its_new_address,
    new_app_with_name_of_deleted_one_inherits_nothing,
    restored_app_keeps_its_data,
);

/// An app with a secret, a function, a schedule that runs every second, and a preview.
fn full_app(server: &Server) -> Repository {
    let repository = Repository::hello();
    repository.write(
        "picloud.toml",
        "sdk = \"1.2\"\n\n[[routes]]\npath = \"/greet/{name}\"\nscript = \"greet.rhai\"\n\n[[routes]]\npath = \"/key\"\n\
         script = \"key.rhai\"\n\n[[functions]]\nname = \"double\"\nscript = \"double.rhai\"\n\n[[schedules]]\n\
         name = \"tick\"\ncron = \"* * * * * *\"\nscript = \"double.rhai\"\n\n[secrets]\nrequired = [\"KEY\"]\n",
    );
    repository.write("key.rhai", "ctx.secrets.KEY.len()");
    repository.write("double.rhai", "2");
    repository.commit("everything");
    set_secret(server, "hello", "0123456789");
    repository.push(&server.git_url("hello"), &["main", "main:try"]).succeeded();
    repository
}

fn set_secret(server: &Server, app: &str, value: &str) {
    for environment in ["production", "preview"] {
        let path = format!("apps/{app}/secrets/KEY?environment={environment}");
        let set = api(server, TOKEN, "PUT", &path, Some(&json!({"value": value})));
        assert_eq!(set.status, 200, "{}", set.body);
    }
}

fn call(server: &Server, app: &str) -> Response {
    api(server, TOKEN, "POST", &format!("apps/{app}/functions/double"), Some(&Value::Null))
}

/// The number of runs of the schedule.
fn run_count(server: &Server, app: &str) -> usize {
    let runs = api(server, TOKEN, "GET", &format!("apps/{app}/schedules/tick/runs?limit=1000"), None);
    if runs.status == 200 { runs.json()["runs"].as_array().unwrap().len() } else { 0 }
}

fn assert_runs(server: &Server, app: &str) {
    let before = run_count(server, app);
    until("the schedule runs", || (run_count(server, app) > before).then_some(()));
}

fn stopped_app_serves_nothing_and_accepts_pushes(database: Database) {
    let mut server = Server::start(database);
    let repository = full_app(&server);
    let url = server.git_url("hello");
    assert_runs(&server, "hello");
    cli(&server, &["apps", "stop", "hello"]).succeeded().says("hello was stopped at").says("by admin");
    let is_stopped = |server: &Server| {
        for path in ["/hello/greet/Ann", "/hello@try/greet/Ann", "/hello/nowhere"] {
            let response = server.get(path);
            assert_eq!(
                (response.status, response.body.as_str()),
                (503, r#"{"error":"this app is stopped"}"#),
                "{path}"
            );
        }
        assert_eq!(server.get("/hello@absent/greet/Ann").status, 404);
        let called = call(server, "hello");
        assert!(called.status == 409 && called.body.contains("picloud apps start hello"), "{}", called.body);
        assert_eq!(server.get("/-/health/ready").status, 200);
    };
    is_stopped(&server);
    cli(&server, &["apps"]).succeeded().says("hello (stopped)");
    cli(&server, &["status"]).succeeded().says("healthy").says("apps      1, 0 live, 1 stopped");
    let rows = "SELECT count(*) FROM schedule_runs";
    let before = server.execute_sql(&[rows]);
    repository.write("greet.rhai", "`next`");
    repository.commit("next");
    repository
        .push(&url, &["main", "main:other"])
        .succeeded()
        .says("STORED as deploy 3")
        .says("warning: the app is stopped; start it with  picloud apps start hello");
    is_stopped(&server);
    assert_eq!(server.get("/hello@other/greet/Ann").status, 503);
    server.kill();
    server.restart_in_place();
    is_stopped(&server);
    assert_eq!(server.execute_sql(&[rows]), before, "no schedule has run");
    cli(&server, &["apps", "start", "hello"]).succeeded().says("started hello");
    assert_eq!(server.get("/hello/greet/Ann").body, "\"next\"");
    assert_eq!(server.get("/hello@other/greet/Ann").body, "\"next\"");
    assert_eq!((server.get("/hello/key").body.as_str(), call(&server, "hello").status), ("10", 200));
    assert_runs(&server, "hello");
    cli(&server, &["audit", "--app", "hello"]).succeeded().says("app.stop").says("app.start");
    let deployer = token(&server, "deployer", &["hello:deploy,force,invoke,read"]);
    cli_as(&server, &deployer, &["apps", "stop", "hello"]).refused().says("it needs the scope admin");
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
}

fn renamed_app_keeps_its_data_at_its_new_address(database: Database) {
    let mut server = Server::start(database);
    let repository = full_app(&server);
    let ci = token(&server, "ci", &["hello:deploy,read"]);
    let early = token(&server, "early", &["greeter:read"]);
    cli(&server, &["apps", "rename", "hello", "greeter"])
        .succeeded()
        .says("renamed hello to greeter")
        .says("warning: these tokens already had scopes for greeter: early");
    let is_renamed = |server: &Server| {
        assert_eq!(server.get("/greeter/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
        assert_eq!(server.get("/greeter@try/key").body, "10");
        assert_eq!((server.get("/hello/greet/Ann").status, call(server, "hello").status), (404, 404));
        assert_eq!(call(server, "greeter").status, 200);
    };
    is_renamed(&server);
    assert_runs(&server, "greeter");
    repository.push(&url(&server, &ci, "hello"), &["main"]).refused().says("app hello not found");
    repository.write("greet.rhai", "`next`");
    repository.commit("next");
    repository.push(&url(&server, &ci, "greeter"), &["main"]).succeeded().says("LIVE as deploy 3");
    assert_eq!(server.get("/greeter/greet/Ann").body, "\"next\"");
    assert_eq!(Repository::clone_of(&url(&server, &early, "greeter")).head(), repository.head());
    cli(&server, &["rollback", "1", "--app", "greeter"]).succeeded();
    server.kill();
    server.restart_in_place();
    is_renamed(&server);
    // The old name is free.
    Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded().says("LIVE as deploy 1");
    cli(&server, &["apps", "rename", "hello", "greeter"]).refused().says("app greeter already exists");
    cli(&server, &["apps", "rename", "hello", "No Name"]).refused();
    cli(&server, &["audit", "--app", "greeter"]).succeeded().says("app.rename");
}

fn new_app_with_name_of_deleted_one_inherits_nothing(database: Database) {
    let mut server = Server::start(database);
    let repository = full_app(&server);
    let ci = token(&server, "ci", &["hello:deploy,read,create,secrets"]);
    // Deletion needs a confirmation.
    cli(&server, &["apps", "delete", "hello"]).refused().says("hint: use --yes to skip the confirmation");
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
    cli_as(&server, &ci, &["apps", "delete", "hello", "--yes"]).refused().says("it needs the scope admin");
    cli(&server, &["apps", "delete", "hello", "--yes"])
        .succeeded()
        .says("deleted hello")
        .says("hint: restore it until ")
        .says(" with  picloud apps undelete hello");
    let is_gone = |server: &Server| {
        for path in ["/hello/greet/Ann", "/hello@try/greet/Ann"] {
            assert_eq!(server.get(path).status, 404, "{path}");
        }
        assert_eq!(call(server, "hello").status, 404);
    };
    is_gone(&server);
    repository.try_git(&["fetch", &server.git_url("hello")]).refused().says("not found");
    server.kill();
    server.restart_in_place();
    is_gone(&server);
    cli(&server, &["apps"]).succeeded().says("no apps; the first push to a name creates an app");
    cli(&server, &["apps", "deleted"]).succeeded().says("hello");
    cli(&server, &["status"]).succeeded().says("healthy").says("apps      0, 0 live, 1 deleted");
    // A token for the deleted app neither reaches a new app of its name nor creates one.
    repository.push(&url(&server, &ci, "hello"), &["main"]).refused();
    let other = Repository::hello();
    other.push(&server.git_url("hello"), &["main"]).succeeded().says("LIVE as deploy 1");
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
    assert_eq!(server.get("/hello@try/greet/Ann").status, 404);
    repository.push(&url(&server, &ci, "hello"), &["main:try"]).refused().says("app hello not found");
    let secrets = api(&server, TOKEN, "GET", "apps/hello/secrets", None).json();
    assert_eq!(secrets["secrets"], json!([]));
    let logs = api(&server, TOKEN, "GET", "apps/hello/executions", None).json();
    assert!(
        logs["executions"].as_array().unwrap().iter().all(|execution| execution["deploy"] == json!(1)),
        "{logs}"
    );
    repository
        .push(&server.git_url("hello"), &["-f", "main"])
        .refused()
        .says("required secret KEY is not set");
    cli(&server, &["apps", "undelete", "hello"]).refused().says("app hello already exists");
    cli(&server, &["apps", "undelete", "hello", "--as", "old"]).succeeded().says("restored old");
    assert_eq!((server.get("/old/key").body.as_str(), server.get("/hello/greet/Ann").status), ("10", 200));
    repository.write("greet.rhai", "`old`");
    repository.commit("old");
    repository.push(&url(&server, &ci, "old"), &["main"]).succeeded().says("LIVE as deploy 3");
    cli(&server, &["apps", "undelete", "hello"]).refused().says("no deleted app hello");
}

fn restored_app_keeps_its_data(database: Database) {
    let server = Server::start(database);
    let repository = full_app(&server);
    let ci = token(&server, "ci", &["hello:deploy,read"]);
    cli(&server, &["apps", "limits", "hello", "--previews", "7"]).succeeded();
    cli(&server, &["apps", "delete", "hello", "--yes"]).succeeded();
    cli(&server, &["apps", "undelete", "hello"]).succeeded().says("restored hello");
    assert_eq!(server.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
    assert_eq!((server.get("/hello@try/key").body.as_str(), call(&server, "hello").status), ("10", 200));
    assert_runs(&server, "hello");
    cli(&server, &["apps", "limits", "hello"]).succeeded().says("previews                  7           7");
    assert_eq!(Repository::clone_of(&url(&server, &ci, "hello")).head(), repository.head());
    cli(&server, &["audit", "--app", "hello"]).succeeded().says("app.delete").says("app.undelete");
}

#[test]
fn app_deletion_asks_for_confirmation_on_a_terminal() {
    let server = Server::start(Database::sqlite());
    full_app(&server);
    let response = |word: &str| -> CommandOutput {
        let line = format!("{} apps delete hello", picloud().display());
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("PICLOUD_URL", format!("http://{}", server.address))
            .env("PICLOUD_TOKEN", TOKEN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut script.stdin.take().unwrap(), word.as_bytes()).unwrap();
        let output = script.wait_with_output().unwrap();
        CommandOutput {
            accepted: output.status.success(),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    };
    for word in ["n\n", "\n", "hello\n"] {
        response(word)
            .refused()
            .says("Delete hello, with its deploys, secrets, domains and schedules? [y/N]")
            .says("nothing was deleted");
        assert_eq!(server.get("/hello/greet/Ann").status, 200);
    }
    response("y\n").succeeded().says("deleted hello");
    assert_eq!(server.get("/hello/greet/Ann").status, 404);
}

#[test]
fn deleted_apps_with_equal_names_are_distinguished_by_id() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    for number in 1..=2 {
        repository.write("greet.rhai", format!("`{number}`"));
        repository.commit("next");
        repository.push(&server.git_url("hello"), &["main"]).succeeded().says("LIVE as deploy 1");
        cli(&server, &["apps", "delete", "hello", "--yes"]).succeeded();
    }
    cli(&server, &["apps", "undelete", "hello"])
        .refused()
        .says("several deleted apps match hello")
        .says("hint: use an id from  picloud apps deleted");
    let deleted = api(&server, TOKEN, "GET", "deleted-apps", None).json();
    let first = deleted["apps"][1]["id"].as_str().unwrap().to_owned();
    cli(&server, &["apps", "undelete", &first]).succeeded();
    assert_eq!(server.get("/hello/greet/Ann").body, "\"1\"");
    cli(&server, &["apps", "undelete", "hello", "--as", "second"]).succeeded();
    assert_eq!(server.get("/second/greet/Ann").body, "\"2\"");
}

#[test]
fn lifecycle_changes_apply_on_all_nodes() {
    let key = tempfile::tempdir().unwrap();
    let nodes = nodes_with_a_key(&Database::postgres(), &["one", "two"], &key);
    let repository = full_app(&nodes[0]);
    let status = |node: usize, path: &str| nodes[node].get(path).status;
    assert_eq!((status(0, "/hello/key"), status(1, "/hello/key")), (200, 200));
    cli(&nodes[0], &["apps", "stop", "hello"]).succeeded();
    assert_eq!((status(0, "/hello/key"), status(1, "/hello/key")), (503, 503));
    repository.commit("while it is stopped");
    repository.push(&nodes[1].git_url("hello"), &["main"]).succeeded().says("on 2/2 nodes").says("STORED");
    cli(&nodes[1], &["apps", "start", "hello"]).succeeded();
    assert_eq!((status(0, "/hello/key"), status(1, "/hello/key")), (200, 200));
    cli(&nodes[1], &["apps", "rename", "hello", "greeter"]).succeeded();
    assert_eq!((status(0, "/greeter/key"), status(1, "/greeter/key")), (200, 200));
    until("the old name is not found on both nodes", || {
        ((status(0, "/hello/key"), status(1, "/hello/key")) == (404, 404)).then_some(())
    });
    cli(&nodes[0], &["apps", "delete", "greeter", "--yes"]).succeeded();
    until("the app is deleted on both nodes", || {
        ((status(0, "/greeter/key"), status(1, "/greeter/key")) == (404, 404)).then_some(())
    });
    cli(&nodes[1], &["apps", "undelete", "greeter", "--as", "third"]).succeeded();
    assert_eq!((status(0, "/third/key"), status(1, "/third/key")), (200, 200));
    assert_runs(&nodes[0], "third");
    let listed = api(&nodes[0], TOKEN, "GET", "nodes", None).json();
    for node in listed["nodes"].as_array().unwrap() {
        assert_eq!((&node["apps_up_to_date"], &node["apps_stale"]), (&json!(1), &json!(0)), "{node}");
    }
}
