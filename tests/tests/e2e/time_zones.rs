//! Time zone rules: the system's if they are newer, otherwise the bundled ones.

use std::fs;
use std::process::Command;

use tempfile::TempDir;
use tests::server::picloud;
use tests::{Database, Repository, Server, TOKEN};

const MANIFEST: &str = r#"sdk = "1.1"

[[schedules]]
name = "tick"
cron = "0 12 * * *"
timezone = "Europe/Berlin"
script = "tick.rhai"
"#;

/// A zoneinfo folder in which noon in Berlin is at 03:00 UTC, made by zic(8).
fn shifted_zoneinfo(version: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    fs::write(&rules, "Zone Europe/Berlin 9:00 - NEW\n").unwrap();
    let zic = Command::new("/usr/sbin/zic").arg("-d").arg(folder.path()).arg(&rules).status().expect("zic");
    assert!(zic.success());
    fs::write(folder.path().join("tzdata.zi"), format!("# version {version}\nZ Europe/Berlin 9 - NEW\n"))
        .unwrap();
    folder
}

fn version(folder: &str) -> String {
    let output = Command::new(picloud()).arg("--version").env("TZDIR", folder).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A node that uses a zoneinfo folder, its output of a push, and the next due time of the schedule.
fn pushed(folder: &str) -> (Server, String, String) {
    let server = Server::start_in(Database::sqlite(), &[("TZDIR", folder)]);
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("tick.rhai", "1");
    repository.commit("first");
    let pushed = repository.push(&server.git_url("zones"), &["main"]).succeeded();
    let bearer = format!("Bearer {TOKEN}");
    let listed =
        server.request("GET", "/-/api/v1/apps/zones/schedules", &[("authorization", &bearer)], None).json();
    let next = listed["schedules"][0]["next"][0].as_str().expect("a time").to_owned();
    (server, pushed.text, next)
}

#[test]
fn system_time_zone_database_is_used_and_reported() {
    let folder = shifted_zoneinfo("2999a");
    let path = folder.path().to_str().unwrap();
    assert!(version(path).ends_with("\ntime zone data 2999a, system\n"), "{}", version(path));
    let (server, output, next) = pushed(path);
    assert!(next.contains("T03:00:00"), "{next}");
    assert!(!output.contains("year old"), "{output}");
    let bearer = format!("Bearer {TOKEN}");
    let get = |path: &str| server.request("GET", path, &[("authorization", &bearer)], None);
    assert_eq!(get("/-/api/v1/status").json()["zone_data"], "2999a, system");
    let metrics = get("/-/metrics").body;
    let line = "picloud_tzdata_info{version=\"2999a\",source=\"system\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn year_old_time_zone_database_gets_a_push_warning() {
    let folder = shifted_zoneinfo("2020a");
    let (_server, output, next) = pushed(folder.path().to_str().unwrap());
    assert!(next.contains("T03:00:00"), "{next}");
    for expected in [
        "warning: picloud.toml  the time zone data (2020a, system) is more than a year old; schedule `tick` in Europe/Berlin",
        "upgrade the system's package tzdata",
    ] {
        assert!(output.contains(expected), "{output}");
    }
}

#[test]
fn bundled_time_zone_database_is_used_without_the_system_one() {
    let none = "/nonexistent/zoneinfo";
    assert!(version(none).ends_with(", bundled\n"), "{}", version(none));
    let (_server, output, next) = pushed(none);
    assert!(next.contains("T10:00:00") || next.contains("T11:00:00"), "{next}");
    assert!(!output.contains("warning"), "{output}");
}

#[test]
fn damaged_time_zone_file_is_reported_with_its_path() {
    let folder = shifted_zoneinfo("2999a");
    fs::write(folder.path().join("Europe/Berlin"), "TZif2 and no more").unwrap();
    let (_server, output, next) = pushed(folder.path().to_str().unwrap());
    assert!(
        output.contains("picloud.toml:6:12") && output.contains("Europe/Berlin is damaged: "),
        "{output}"
    );
    assert!(next.contains("T10:00:00") || next.contains("T11:00:00"), "{next}");
}
