//! Clocks that change while nodes run.

use std::time::Instant;

use tests::clock::Clock;
use tests::faults::recovered;
use tests::{Database, Postgres, Server, on_both_databases, until};

use super::{back_up, problem, problems};

on_both_databases!(missing_backup_is_reported_after_a_week);

const DAY: i64 = 24 * 3600;

fn missing_backup_is_reported_after_a_week(database: Database) {
    for (flags, is_named) in [([].as_slice(), true), (["--backup-max-age", "off"].as_slice(), false)] {
        let clock = Clock::start(-8 * DAY);
        let postgres = database.url().map(|_| Postgres::start_by(&clock));
        let database = postgres.as_ref().map_or(Database::sqlite(), |own| Database::on(own.url()));
        let server = Server::start_by(&clock, database, flags);
        assert_eq!(problems(&server.address), (Some(0), vec![]), "a new node gets a week");
        clock.set(0);
        until("the node reports the clock jump", || problem(&server.address, "clock_jump"));
        if is_named {
            let missing = until("the problem is reported", || problem(&server.address, "backup_missing"));
            assert!(missing.starts_with("no backup since 20"), "{missing}");
            let folder = tempfile::tempdir().unwrap();
            back_up(&server, &folder.path().join("all"), "-0d");
        }
        assert_eq!(problem(&server.address, "backup_missing"), None);
    }
}

#[test]
fn changed_clock_and_paused_pruning_are_reported() {
    let clock = Clock::start(0);
    let server = Server::start_by(&clock, Database::sqlite(), &[]);
    assert_eq!(problems(&server.address), (Some(0), vec![]));
    clock.set(3650 * DAY);
    let jump = problem(&server.address, "clock_jump").expect("a problem");
    assert!(jump.contains(" was set forward by 3650 d 0 h, to 20"), "{jump}");
    let paused = problem(&server.address, "retention_paused").expect("a problem");
    assert!(paused.contains(" was set forward by 3650 d 0 h less than a week ago"), "{paused}");
    clock.set(0);
    let since = Instant::now();
    until("pruning continues", || problem(&server.address, "retention_paused").is_none().then_some(()));
    recovered("the clock was ten years ahead: pruning by age continues", since);
    let jump = problem(&server.address, "clock_jump").expect("a problem");
    assert!(jump.contains(" was set back by 3650 d 0 h, to 20"), "{jump}");
}
