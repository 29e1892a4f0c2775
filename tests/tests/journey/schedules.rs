//! What is due runs, once, for as long as it is declared.

use tests::{Database, Repository, Server, on_both_databases, until};

on_both_databases!(a_schedule_fires_and_is_replaced_with_the_routes);

const MANIFEST: &str = r#"sdk = "1.1"

[[schedules]]
name = "tick"
cron = "* * * * * *"
script = "tick.rhai"
"#;

fn a_schedule_fires_and_is_replaced_with_the_routes(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("clock");
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("tick.rhai", "log::info(`first ${ctx.invocation_type}`)");
    repository.commit("first");
    repository.push(&url, &["main"]).succeeded().says("+ tick  * * * * * *  UTC  tick.rhai  next ");
    until("three runs", || (server.log().matches("first scheduled").count() >= 3).then_some(()));
    repository.write("tick.rhai", "log::info(\"second\")");
    repository.commit("second");
    repository.push(&url, &["main"]).succeeded();
    until("the new script", || server.log().contains("second").then_some(()));
    repository.write("picloud.toml", "sdk = \"1.1\"\n[[routes]]\npath = \"/\"\nscript = \"tick.rhai\"\n");
    repository.commit("no schedule");
    repository.push(&url, &["main"]).succeeded().says("- tick");
    assert_eq!(server.get("/clock/").status, 200);
    if server.database.is_outside_the_data_folder() {
        let runs = |what: &str| server.database.query(&format!("SELECT {what} FROM schedule_runs"));
        until("all runs have ended", || {
            (runs("count(*) FILTER (WHERE finished_at IS NULL)") == "0").then_some(())
        });
        assert_eq!(runs("count(*) - count(DISTINCT due)"), "0", "no due time ran twice");
        assert_eq!(runs("count(*) FILTER (WHERE outcome <> 'succeeded')"), "0");
    }
}
