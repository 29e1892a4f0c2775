//! Schedules run on a manager, requests on a node: both see the same state.

use serde_json::json;
use tests::faults::rounds;
use tests::{Client, Database, Server, TOKEN};

use crate::state::repository;

#[test]
fn schedule_on_a_manager_and_request_on_a_node_see_each_other() {
    let database = Database::postgres();
    let manager = Server::start_with(database.clone(), &["--role", "manager", "--node-name", "control"]);
    let node = Server::start_with(database, &["--role", "node", "--node-name", "worker"]);
    let app = repository(&[
        (
            "set",
            "let number = parse_int(ctx.request.query.number); kv::set(\"number\", number); kv::incr(\"sum\")",
        ),
        ("get", "[kv::get(\"sum\"), kv::get(\"seen\"), kv::keys(\"run/\")]"),
    ]);
    let manifest = std::fs::read_to_string(app.path().join("picloud.toml")).expect("a manifest");
    let schedule = "\n[[schedules]]\nname = \"nightly\"\ncron = \"0 0 1 1 *\"\nscript = \"nightly.rhai\"\n";
    app.write("picloud.toml", manifest + schedule);
    app.write(
        "nightly.rhai",
        "let number = kv::get(\"number\");
         kv::delete(`run/${number - 1}`); kv::set(`run/${number}`, true);
         kv::set(\"seen\", number); kv::incr(\"sum\")",
    );
    app.commit("nightly");
    app.push(&manager.git_url("app"), &["main"]).succeeded().says("on 2/2 nodes");
    let bearer = format!("Bearer {TOKEN}");
    let mut client = Client::of(&node);
    for number in 1..=rounds(20, 500) {
        let sum = client.get(&format!("/app/set?number={number}"));
        assert_eq!(sum, format!("{}", 2 * number - 1), "the manager's run is counted");
        let path = "/-/api/v1/apps/app/schedules/nightly/run";
        let ran = manager.request("POST", path, &[("authorization", &bearer)], None);
        assert_eq!((ran.status, &ran.json()["run"]["outcome"]), (200, &json!("succeeded")), "{}", ran.body);
        let expected = json!([2 * number, number, [format!("run/{number}")]]).to_string();
        assert_eq!(client.get("/app/get"), expected);
    }
}
