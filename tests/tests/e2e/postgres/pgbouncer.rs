//! PgBouncer between nodes and their database.

use tests::{Database, PgBouncer, Repository, Server, until};

use super::fails_to_start;

#[test]
fn nodes_work_through_session_pooling() {
    let database = Database::postgres();
    let pooler = PgBouncer::start(&database.url().unwrap(), "session", 40);
    let by_pooler = Database::at(&pooler.url());
    let nodes = ["one", "two"].map(|name| Server::start_with(by_pooler.clone(), &["--node-name", name]));
    let repository = Repository::hello();
    for (number, node) in nodes.iter().cycle().take(4).enumerate() {
        repository.write("greet.rhai", format!("\"{number}\""));
        repository.commit("another");
        repository.push(&node.git_url("hello"), &["main"]).succeeded().says("on 2/2 nodes");
        for node in &nodes {
            until("the push is live", || {
                (node.get("/hello/greet/Ann").body == format!("\"{number}\"")).then_some(())
            });
        }
    }
    // Session settings of a node persist.
    let server = &nodes[0];
    assert_eq!(server.get("/-/health/ready").body, "ok\n");
}

#[test]
fn transaction_pooling_is_rejected_with_a_hint() {
    let database = Database::postgres();
    let url = database.url().unwrap();
    for (mode, size) in [("transaction", 20), ("transaction", 1), ("statement", 20)] {
        let pooler = PgBouncer::start(&url, mode, size);
        // Other users share it.
        let _others: Vec<_> = (0..3).map(|_| Database::at(&pooler.url()).query("SELECT 1")).collect();
        let output = fails_to_start(&pooler.url());
        assert!(output.contains("pool_mode = session"), "{mode} {size}: {output}\n{}", pooler.log());
    }
    assert_eq!(database.query("SELECT count(*) FROM pg_class WHERE relname = 'apps'"), "0");
    Server::start(database);
}
