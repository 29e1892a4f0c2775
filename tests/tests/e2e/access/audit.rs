//! The audit log.

use serde_json::{Value, json};
use tests::{Database, Repository, Server, TOKEN, on_both_databases};

use super::{api, cli, token, url};

on_both_databases!(audit_events_name_actor_action_time_and_address);

fn audit_events_name_actor_action_time_and_address(database: Database) {
    let server = Server::start(database);
    let ci = token(&server, "ci", &["hello:deploy,create,invoke"]);
    let repository = Repository::hello();
    let schedule = "\n[[schedules]]\nname = \"tick\"\ncron = \"0 0 1 1 *\"\nscript = \"tick.rhai\"\n";
    repository.write("picloud.toml", format!("{}{schedule}", tests::repository::HELLO_MANIFEST));
    repository.write("tick.rhai", "1");
    repository.commit("ticks");
    repository.push(&url(&server, &ci, "hello"), &["main", "main:next"]).succeeded();
    repository.write("greet.rhai", "oops(");
    repository.commit("broken");
    repository.push(&url(&server, &ci, "hello"), &["main"]).refused();
    for act in ["pause", "pause", "resume", "run"] {
        let request = "018f3b5c-0000-7000-8000-000000000001";
        let bearer = format!("Bearer {ci}");
        let path = format!("/-/api/v1/apps/hello/schedules/tick/{act}");
        let headers = [("authorization", bearer.as_str()), ("x-request-id", request)];
        assert_eq!(server.request("POST", &path, &headers, Some(b"")).status, 200, "{act}");
    }
    cli(&server, &["apps", "protect", "--app", "hello"]).succeeded();
    cli(&server, &["tokens", "revoke", "ci"]).succeeded();

    let all = api(&server, TOKEN, "GET", "audit?limit=1000", None).json();
    let mut acts = all["events"].as_array().expect("acts").clone();
    acts.reverse();
    let rows: Vec<[&Value; 4]> =
        acts.iter().map(|act| ["action", "actor", "app", "subject"].map(|key| &act[key])).collect();
    let expected = [
        ["token.create", "admin", "", "ci"],
        ["app.create", "ci", "hello", "hello"],
        ["push", "ci", "hello", "refs/heads/main"],
        ["push", "ci", "hello", "refs/heads/next"],
        ["schedule.pause", "ci", "hello", "tick"],
        ["schedule.resume", "ci", "hello", "tick"],
        ["schedule.run", "ci", "hello", "tick"],
        ["app.setting", "admin", "hello", "protected"],
        ["token.revoke", "admin", "", "ci"],
    ];
    let expected: Vec<[Value; 4]> = expected
        .iter()
        .map(|row| row.map(|text| if text.is_empty() { Value::Null } else { json!(text) }))
        .collect();
    assert_eq!(rows.iter().map(|row| row.map(Clone::clone)).collect::<Vec<_>>(), expected);
    assert!(acts.iter().all(|act| act["address"] == "127.0.0.1" && act["at"].is_string()), "{acts:?}");
    assert!(acts[2]["deploy"] == 1 && acts[3]["deploy"] == 2 && acts[2]["token"].is_string());
    assert_eq!(acts[6]["request_id"], "018f3b5c-0000-7000-8000-000000000001");
    assert!(acts[0]["token"].is_null() && acts[7]["new"] == "on");
    assert!(!all.to_string().contains(&ci));

    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api(&server, TOKEN, "GET", &format!("audit?limit=4{cursor}"), None).json();
        paged.extend(page["events"].as_array().expect("acts").clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    paged.reverse();
    assert_eq!(paged, acts);
    cli(&server, &["audit", "--app", "hello", "--limit", "3"])
        .succeeded()
        .says("protected  off -> on")
        .says("schedule.run")
        .says("hint: next page with  picloud audit --app hello --limit 3 ");
    assert_eq!(api(&server, TOKEN, "GET", "audit?cursor=x", None).status, 400);
}
