//! Valid manifests.

use std::collections::BTreeSet;
use std::time::Duration;

use manifest_schema::limits::{Ceiling, Limits, RouteLimits};
use manifest_schema::manifest::{CatchUp, Manifest, Overlap};
use manifest_schema::method::{Method, MethodSet};
use manifest_schema::parse::{ParseContext, parse};
use manifest_schema::sdk::SdkVersion;

fn parse_with_ceiling(ceiling: &Ceiling, text: &str) -> Manifest {
    let scripts: BTreeSet<String> = ["a.rhai", "jobs/b.rhai"].map(str::to_owned).into();
    let parsed = parse(text.as_bytes(), ParseContext::new(ceiling, &scripts));
    parsed.expect("a good manifest").manifest
}

fn read(text: &str) -> Manifest {
    parse_with_ceiling(&Ceiling::DEFAULT, text)
}

#[test]
fn minimal_manifest_declares_nothing() {
    let manifest = read("sdk = \"1.0\"");
    assert_eq!((manifest.sdk, &manifest.app.description), (SdkVersion::V1_0, &None));
    assert!(manifest.routes.is_empty() && manifest.schedules.is_empty() && manifest.functions.is_empty());
    assert_eq!(manifest.limits, Limits::DEFAULT);
    assert!(manifest.scripts().is_empty());
}

#[test]
fn all_keys_are_parsed() {
    let manifest = read(
        r#"
        sdk = "1.1"
        [app]
        description = "everything, ünd more"
        [[routes]]
        path = "/a/{x}"
        methods = ["POST", "GET"]
        script = "jobs/b.rhai"
        [[schedules]]
        name = "tick"
        cron = "0 30 7 * * MON-FRI"
        timezone = "Europe/Berlin"
        script = "a.rhai"
        overlap = "allow"
        catch_up = "none"
        [[functions]]
        name = "resize_2"
        script = "a.rhai"
        [limits]
        timeout = "500ms"
        operations = 1_000
        memory = "16MiB"
        body = 0x1000
        concurrency = 3
        "#,
    );
    assert_eq!(
        (manifest.sdk, manifest.app.description.as_deref()),
        (SdkVersion::V1_1, Some("everything, ünd more"))
    );
    let [route] = &manifest.routes[..] else { panic!("{:?}", manifest.routes) };
    assert_eq!((route.path.as_str(), route.script.as_str()), ("/a/{x}", "jobs/b.rhai"));
    assert_eq!(route.methods, [Method::Get, Method::Post].into_iter().collect::<MethodSet>());
    let [schedule] = &manifest.schedules[..] else { panic!("{:?}", manifest.schedules) };
    assert_eq!((schedule.name.as_str(), schedule.script.as_str()), ("tick", "a.rhai"));
    assert_eq!((schedule.cron.as_str(), schedule.cron.zone_name()), ("0 30 7 * * MON-FRI", "Europe/Berlin"));
    assert_eq!((schedule.overlap, schedule.catch_up), (Overlap::Allow, CatchUp::None));
    let [function] = &manifest.functions[..] else { panic!("{:?}", manifest.functions) };
    assert_eq!((function.name.as_str(), function.script.as_str()), ("resize_2", "a.rhai"));
    let limits = Limits {
        timeout: Duration::from_millis(500),
        operations: 1000,
        memory: 16 * 1024 * 1024,
        body: 4096,
        concurrency: 3,
    };
    assert_eq!(manifest.limits, limits);
    let scripts: Vec<&str> = manifest.scripts().into_iter().map(|script| script.as_str()).collect();
    assert_eq!(scripts, ["a.rhai", "jobs/b.rhai"]);
}

#[test]
fn missing_keys_have_defaults() {
    let manifest = read(
        "sdk = \"1.1\"\nroutes = [{path = '/', script = 'a.rhai'}]\n\
         schedules = [{name = 't', cron = '@hourly', script = 'a.rhai'}]\nlimits.concurrency = 7",
    );
    assert_eq!(manifest.routes[0].methods, MethodSet::ALL);
    let schedule = &manifest.schedules[0];
    assert_eq!((schedule.overlap, schedule.catch_up), (Overlap::Skip, CatchUp::Once));
    assert_eq!(schedule.cron.zone_name(), "UTC");
    assert_eq!(manifest.limits, Limits { concurrency: 7, ..Limits::DEFAULT });
}

/// The ceiling can change while a revision is live, so it is not stored with the manifest.
#[test]
fn defaults_do_not_depend_on_the_ceiling() {
    let executions = Limits { memory: 1024, timeout: Duration::from_secs(1), ..Limits::CEILING };
    let ceiling = Ceiling { executions, ..Ceiling::DEFAULT };
    assert_eq!(parse_with_ceiling(&ceiling, "sdk = \"1.1\"").limits, Limits::DEFAULT);
    assert_eq!(parse_with_ceiling(&ceiling, "sdk = \"1.1\"\n[limits]").limits, Limits::DEFAULT);
}

#[test]
fn limits_at_the_ceiling_are_granted() {
    let text = "sdk = \"1.1\"\n[limits]\ntimeout = \"1m\"\noperations = 1_000_000_000\nmemory = \"256MiB\"\nbody = \"32MiB\"\nconcurrency = 1024";
    assert_eq!(read(text).limits, Limits::CEILING);
}

#[test]
fn unbounded_ceiling_grants_any_limit() {
    let text = "sdk = \"1.1\"\n[limits]\ntimeout = \"1000m\"\nmemory = \"64GiB\"";
    assert_eq!(parse_with_ceiling(&Ceiling::UNBOUNDED, text).limits.memory, 64 << 30);
}

#[test]
fn routes_and_schedules_have_limits_of_their_own() {
    let manifest = read(
        r#"
        sdk = "1.3"
        [[routes]]
        path = "/a"
        script = "a.rhai"
        limits = { timeout = "2s", body = "64KiB" }
        [[routes]]
        path = "/b"
        script = "a.rhai"
        [routes.limits]
        operations = 5
        memory = "1MiB"
        [[routes]]
        path = "/c"
        script = "a.rhai"
        [[schedules]]
        name = "long"
        cron = "@daily"
        script = "a.rhai"
        timeout = "50s"
        [[schedules]]
        name = "default"
        cron = "@daily"
        script = "a.rhai"
        "#,
    );
    let limits: Vec<_> = manifest.routes.into_iter().map(|route| route.limits).collect();
    let first = RouteLimits {
        timeout: Some(Duration::from_secs(2)),
        body: Some(64 * 1024),
        ..RouteLimits::default()
    };
    let second = RouteLimits { operations: Some(5), memory: Some(1024 * 1024), ..RouteLimits::default() };
    assert_eq!(limits, [first, second, RouteLimits::default()]);
    let timeouts: Vec<_> = manifest.schedules.into_iter().map(|schedule| schedule.timeout).collect();
    assert_eq!(timeouts, [Some(Duration::from_secs(50)), None]);
}
