//! Snapshots of push reports and tables from fixed values. `make snapshots` accepts changes.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Span};
use manifest_schema::name::AppName;
use manifest_schema::sdk::SdkVersion;
use platform::deploy::{
    Activated, Change, ChangeKind, Changes, Event, Outcome, Plan, Planned, RefReport, Rejection,
};
use platform::nodes::{Propagation, StaleNode};
use store::{DeployNumber, Oid};
use uuid::Uuid;

use super::app_urls::{AppUrls, Base};
use super::push::PushReporter;
use super::when::now;
use super::{
    apps, audit, backup, deploys, domains, executions, limits, logs, nodes, schedules, secrets, status,
    tokens,
};
use crate::api_types::{
    App, AppLimits, AuditEvent, Branch, DeletedApp, Deploy, Deploys, Domain, DomainState, DroppedRecords,
    Execution, Failure, Function, Held, Limits, LiveDeploy, LogLine, Node, Paused, ProblemKind, ResumedAll,
    RolledBack, Route, Routes, Run, RunNode, Schedule, Secret, SecretEnvironment, Severity, SourceLocation,
    Status, StatusProblem, StoppedApp, Token, TxtRecord, UsedLimits, WholeExecution,
};

const COMMIT: &str = "4f2b9c0d1e5a6f7b8c9d0e1f2a3b4c5d6e7f8a9b";
const EARLIER_COMMIT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567";

/// Asserts a snapshot of a text without colors.
macro_rules! assert_text {
    ($name:literal, $text:expr) => {{
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!($name, anstream::adapter::strip_str(&$text).to_string()));
    }};
}

fn app() -> AppName {
    AppName::new("hello").unwrap()
}

fn ago(minutes: i64) -> DateTime<Utc> {
    now() - TimeDelta::minutes(minutes)
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x019f_2c1e_7b1a_7c3e_9d7e_0a1b_2c3d_4e00 + number)
}

fn oid(hex: &str) -> Oid {
    Oid::from_hex(hex).unwrap()
}

fn reporter() -> PushReporter {
    let base = Base::Hosts { scheme: "https".to_owned(), domain: "pi.example.com".into() };
    PushReporter::new(app(), "ada".to_owned(), AppUrls::new(app(), base), false)
}

fn changes(lines: &[(ChangeKind, &[&str])], unchanged: usize) -> Changes {
    let change = |(kind, columns): &(ChangeKind, &[&str])| Change {
        kind: *kind,
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
    };
    Changes { entries: lines.iter().map(change).collect(), unchanged }
}

/// The events of a push of a valid commit.
fn accepted_events() -> Vec<Event> {
    let plan = Plan {
        domains: changes(&[(ChangeKind::Added, &["shop.example.com"])], 0),
        routes: changes(
            &[
                (ChangeKind::Added, &["GET", "/greet/{name}", "greet.rhai"]),
                (ChangeKind::Changed, &["POST", "/orders", "orders.rhai"]),
                (ChangeKind::Removed, &["GET", "/old", "old.rhai"]),
            ],
            2,
        ),
        schedules: changes(&[(ChangeKind::Added, &["tick", "*/5 * * * *", "UTC", "tick.rhai"])], 0),
        functions: changes(&[], 1),
        libraries: changes(&[(ChangeKind::Changed, &["lib/text.rhai"])], 1),
        templates: changes(
            &[
                (ChangeKind::Added, &["templates/greeting.html"]),
                (ChangeKind::Removed, &["templates/old.html"]),
            ],
            0,
        ),
        env: Changes::default(),
        secrets: changes(&[(ChangeKind::Added, &["API_KEY"])], 0),
    };
    vec![
        Event::Candidate {
            branch: "main".to_owned(),
            commit: oid(COMMIT),
            subject: "greet politely".to_owned(),
            author: "Ada".to_owned(),
        },
        Event::Read { files: 9, scripts: 5, templates: 1, bytes: 2048, took: Duration::from_millis(2) },
        Event::Compiled {
            scripts: 3,
            libraries: 2,
            templates: 1,
            sdk: SdkVersion::NEWEST,
            took: Duration::from_millis(7),
        },
        Event::Planned(Planned { plan, upcoming: Some(Vec::new()) }),
    ]
}

fn activated(branch: &str, deploy: u64) -> Activated {
    Activated {
        branch: branch.to_owned(),
        deploy: DeployNumber::new(deploy).unwrap(),
        previously_validated: false,
        keeps_state: false,
        previous: Some(oid(EARLIER_COMMIT)),
        propagation: Some(Propagation { live: 1, stale: Vec::new(), unknown: false }),
        stopped: false,
        pending: Vec::new(),
    }
}

/// The report of a push with one ref.
fn report(events: &[Event], name: &str, outcome: Outcome) -> String {
    let mut reporter = reporter();
    let progress: String = events.iter().map(|event| reporter.event(event)).collect();
    let verdict = RefReport { name: name.to_owned(), outcome };
    let end = reporter.finish(&[verdict], Duration::from_millis(48));
    let results: Vec<String> = end
        .results
        .iter()
        .map(|(name, result)| match result {
            Ok(()) => format!("ok {name}\n"),
            Err(reason) => format!("ng {name} {reason}\n"),
        })
        .collect();
    format!("{progress}{}--- report-status\n{}", end.text, results.concat())
}

#[test]
fn report_of_accepted_push() {
    let outcome = Outcome::Live(activated("main", 7));
    assert_text!("push_accepted", report(&accepted_events(), "refs/heads/main", outcome));
}

#[test]
fn report_of_rejected_push() {
    let source = "let x = 1;\n\nlgo::info(\"hi\");\n";
    let location = Span::from_range(source, 12..21);
    let diagnostic = Diagnostic::error("greet.rhai", Some(location), "unknown function `lgo::info`")
        .with_help("did you mean `log::info`?");
    let mut diagnostics = Diagnostics::from(diagnostic.clone());
    diagnostics.add(Diagnostic::warning("picloud.toml", None, "route `/old` has no methods"));
    let mut events = accepted_events();
    events.truncate(2);
    events.push(Event::Diagnostics(diagnostics));
    let live = DeployNumber::new(6);
    let rejection = Rejection::Diagnostics { errors: 1, files: 1, first: Some(Box::new(diagnostic)), live };
    assert_text!("push_rejected", report(&events, "refs/heads/main", Outcome::Rejected(rejection)));
}

#[test]
fn report_of_preview() {
    let outcome = Outcome::Preview(activated("feature/x", 8));
    assert_text!("push_preview", report(&accepted_events(), "refs/heads/feature/x", outcome));
}

#[test]
fn report_of_rollback_by_push() {
    let mut activated = activated("main", 9);
    activated.previously_validated = true;
    activated.keeps_state = true;
    let stale = vec![
        StaleNode { node: "pi-2".to_owned(), error: None },
        StaleNode { node: "pi-3".to_owned(), error: Some("greet.rhai does not compile".to_owned()) },
    ];
    activated.propagation = Some(Propagation { live: 1, stale, unknown: false });
    assert_text!(
        "push_rollback",
        report(&accepted_events()[..2], "refs/heads/main", Outcome::Live(activated))
    );
}

#[test]
fn report_of_up_to_date_ref() {
    assert_text!("push_up_to_date", report(&[], "refs/heads/main", Outcome::Unchanged));
}

#[test]
fn report_of_passed_check() {
    assert_text!("push_check", report(&accepted_events(), "refs/picloud/check", Outcome::Checked));
}

#[test]
fn tables_of_apps() {
    let app = |name: &str, live: Option<LiveDeploy>, stopped: Option<StoppedApp>| App {
        name: name.to_owned(),
        production_branch: "main".to_owned(),
        protected: stopped.is_some(),
        created_at: ago(9000),
        disk_bytes: 1_500_000,
        stopped,
        live,
    };
    let live = LiveDeploy { deploy: 7, commit: COMMIT.to_owned() };
    let stopped = StoppedApp { at: ago(3), by: "ada".to_owned() };
    assert_text!("apps", apps::list(&[app("hello", Some(live), None), app("clock", None, Some(stopped))]));
    let deleted = DeletedApp {
        id: id(1),
        name: "old".to_owned(),
        deleted_at: ago(90),
        deleted_by: "ada".to_owned(),
        purged_at: now() + TimeDelta::days(7),
        disk_bytes: 2048,
    };
    assert_text!("apps_deleted", apps::deleted(&[deleted]));
    let own = Limits { disk_bytes: Some(2 << 30), ..Limits::default() };
    let default = Limits {
        memory_share_bytes: Some(64 << 20),
        disk_bytes: Some(1 << 30),
        state_bytes: Some(256 << 20),
        previews: Some(20),
        schedule_runs_per_minute: Some(300),
        timeout_ms: Some(60_000),
        operations: Some(50_000_000),
        script_memory_bytes: Some(256 << 20),
        body_bytes: Some(16 << 20),
        concurrency: Some(64),
        schedules: Some(100),
    };
    let granted = Limits { disk_bytes: own.disk_bytes, ..default };
    let used = UsedLimits { disk_bytes: 1_500_000, previews: 3 };
    assert_text!("apps_limits", limits::list(&AppLimits { granted, own, default, used }));
}

#[test]
fn tables_of_deploys() {
    let deploy = |number, live, cause: Option<&str>, message: Option<&str>| Deploy {
        number,
        branch: "main".to_owned(),
        commit: COMMIT.to_owned(),
        subject: "greet politely".to_owned(),
        author: "Ada".to_owned(),
        deployed_at: ago(2000 - 1000 * number.cast_signed()),
        deployed_by: "ci".to_owned(),
        cause: cause.map(str::to_owned),
        message: message.map(str::to_owned),
        live,
    };
    let list = vec![
        deploy(2, true, Some("rollback to deploy 1"), Some("orders fail")),
        deploy(1, false, None, None),
    ];
    assert_text!("deploys", deploys::listed(&Deploys { deploys: list, next_cursor: None }));
    let rolled_back = RolledBack {
        to: 1,
        deploy: 2,
        commit: COMMIT.to_owned(),
        subject: "greet politely".to_owned(),
        url: "https://hello.pi.example.com/".to_owned(),
        message: None,
        nodes_live: Some(2),
        nodes: Some(3),
    };
    assert_text!("rollback", deploys::rolled_back(&rolled_back));
    let branch = |name: &str, production, expires_at| Branch {
        name: name.to_owned(),
        label: name.replace('/', "-"),
        production,
        scheduled: production,
        url: format!("https://hello{}.pi.example.com/", if production { "" } else { "--feature-x" }),
        deploy: 7,
        commit: COMMIT.to_owned(),
        deployed_at: Some(ago(5)),
        expires_at,
    };
    let expires = Some(now() + TimeDelta::days(30));
    assert_text!(
        "previews",
        deploys::branches(&[branch("main", true, None), branch("feature/x", false, expires)])
    );
    let route = Route {
        path: "/greet/{name}".to_owned(),
        methods: vec!["GET".to_owned(), "HEAD".to_owned()],
        script: "greet.rhai".to_owned(),
    };
    let function = Function { name: "ring".to_owned(), script: "ring.rhai".to_owned() };
    assert_text!(
        "routes",
        deploys::routes(&Routes { deploy: 7, routes: vec![route], functions: vec![function] })
    );
}

fn execution(number: u128, failure: Option<Failure>) -> Execution {
    Execution {
        id: id(number),
        request_id: id(100 + number),
        deploy: 7,
        commit: COMMIT.to_owned(),
        script: "greet.rhai".to_owned(),
        trigger: "http".to_owned(),
        target: "GET /greet/Ann".to_owned(),
        node: "pi".to_owned(),
        started_at: ago(1),
        duration_us: 1234,
        operations: 321,
        memory_peak_bytes: 4096,
        status: Some(if failure.is_some() { 500 } else { 200 }),
        failure,
        log_lines: 1,
        log_lines_dropped: 2,
    }
}

fn failure() -> Failure {
    let location = SourceLocation {
        script: "greet.rhai".to_owned(),
        line: 3,
        column: 5,
        source: Some("let x = oops();".to_owned()),
    };
    Failure {
        kind: "script_error".to_owned(),
        message: "function not found: oops".to_owned(),
        location: Some(location),
    }
}

fn log_line(level: &str, failure: bool) -> LogLine {
    LogLine {
        at: ago(1),
        level: level.to_owned(),
        script: "greet.rhai".to_owned(),
        line: Some(2),
        message: "greeted Ann".to_owned(),
        data: (!failure).then(|| serde_json::json!({"times": 1})),
        execution: id(1),
        failure,
    }
}

#[test]
fn executions_and_logs() {
    let list = [execution(1, None), execution(2, Some(failure()))];
    assert_text!("executions", executions::listed(&list));
    let details =
        WholeExecution { execution: execution(2, Some(failure())), log: vec![log_line("info", false)] };
    assert_text!("execution", executions::details(&details));
    let lines = [log_line("info", false), log_line("error", true)];
    assert_text!("logs", lines.iter().map(logs::line).collect::<String>());
    let dropped = |reason: &str| {
        let dropped = DroppedRecords {
            reason: reason.to_owned(),
            node: Some("pi".to_owned()),
            since: Some(ago(2)),
            until: Some(ago(1)),
            executions: 3,
            log_lines: 40,
        };
        logs::dropped(&dropped) + "\n"
    };
    assert_text!("logs_dropped", ["lost", "away", "back", "set back"].map(dropped).concat());
}

#[test]
fn tables_of_schedules() {
    let run = |outcome: &str, due_times, manual| Run {
        due_at: ago(5),
        first_due_at: None,
        due_times,
        manual,
        late_ms: 12,
        deploy: 7,
        commit: Some(COMMIT.to_owned()),
        execution: (outcome == "succeeded").then(|| id(1).to_string()),
        node: Some(RunNode { id: id(2).to_string(), name: "pi".to_owned() }),
        claimed_at: ago(5),
        finished_at: Some(ago(5)),
        outcome: outcome.to_owned(),
        detail: (outcome != "succeeded").then(|| "the app was stopped".to_owned()),
    };
    let schedule = |name: &str, paused| Schedule {
        name: name.to_owned(),
        cron: "*/5 * * * *".to_owned(),
        timezone: "UTC".to_owned(),
        script: "tick.rhai".to_owned(),
        paused,
        next: vec![now() + TimeDelta::minutes(5), now() + TimeDelta::minutes(10)],
        last_run: Some(run("succeeded", 1, false)),
    };
    let paused = Paused { at: ago(30), by: "ada".to_owned() };
    assert_text!("schedules", schedules::list(&[schedule("tick", None), schedule("report", Some(paused))]));
    let runs = [
        run("succeeded", 1, false),
        run("succeeded", 1, true),
        run("skipped", 12, false),
        run("missed", 1001, false),
    ];
    assert_text!("schedule_runs", schedules::runs(&runs));
    let held = || Held { since: ago(60), by: "the restore of a backup".to_owned() };
    assert_text!("schedules_held", schedules::held(&held()));
    assert_text!("schedules_resumed", schedules::resumed_all(&ResumedAll { held: Some(held()), resumed: 4 }));
}

#[test]
fn status_report() {
    let status = |problems: Vec<StatusProblem>| Status {
        healthy: problems.is_empty(),
        version: "0.1.0".to_owned(),
        zone_data: "2026f, bundled".to_owned(),
        node: "pi".to_owned(),
        database: "PostgreSQL".to_owned(),
        nodes: Some(3),
        nodes_ready: Some(2),
        apps: Some(5),
        apps_stopped: Some(1),
        apps_deleted: Some(0),
        apps_live: 4,
        last_backup_at: Some(ago(600)),
        problems,
        schedules_held: None,
    };
    let problem = StatusProblem {
        kind: ProblemKind::NodeNotReady,
        severity: Severity::Error,
        message: "node pi-2 is not ready: the database is unavailable".to_owned(),
        hint: "run  picloud nodes".to_owned(),
    };
    assert_text!("status_healthy", status::report(&status(Vec::new())));
    assert_text!("status_problem", status::report(&status(vec![problem])));
}

#[test]
fn tables_of_secrets_and_tokens() {
    let secret = |name: &str, lost| Secret {
        name: name.to_owned(),
        environment: if lost { SecretEnvironment::Preview } else { SecretEnvironment::Production },
        set_at: ago(7),
        set_by: "ada".to_owned(),
        key: "1f2e".to_owned(),
        lost,
    };
    assert_text!("secrets", secrets::list(&[secret("API_KEY", false), secret("DB_URL", false)]));
    assert_text!("secrets_lost", secrets::list(&[secret("API_KEY", false), secret("API_KEY", true)]));
    let token = |name: &str, expires_at| Token {
        id: id(1),
        name: name.to_owned(),
        scopes: vec!["hello:deploy".to_owned(), "hello:read".to_owned()],
        created_at: ago(2000),
        created_by: "admin".to_owned(),
        expires_at,
        last_used_at: None,
    };
    let list = [
        token("ci", Some(now() + TimeDelta::days(90))),
        token("old", Some(ago(3000))),
        token("grafana", None),
    ];
    assert_text!("tokens", tokens::list(&list));
}

#[test]
fn tables_of_nodes_domains_and_audit_events() {
    let node = |name: &str, stale, reason: Option<&str>| Node {
        id: id(1),
        name: name.to_owned(),
        role: "all".to_owned(),
        version: "0.1.0".to_owned(),
        address: "10.0.0.2:8080".to_owned(),
        started_at: ago(3000),
        seen_at: ago(0),
        not_ready_reason: reason.map(str::to_owned),
        apps_up_to_date: 5 - stale,
        apps_stale: stale,
        serving_since: Some(ago(4)),
        clock_skew_ms: Some(3),
        disk: None,
    };
    assert_text!(
        "nodes",
        nodes::list(&[node("pi", 0, None), node("pi-2", 1, Some("the database is unavailable"))])
    );
    let domain = |name: &str, state, proof: Option<&str>| Domain {
        name: name.to_owned(),
        state,
        proof: proof.map(str::to_owned),
        proven_at: proof.map(|_| ago(100)),
        proven_by: proof.map(|_| "ada".to_owned()),
        record: TxtRecord { name: format!("_picloud.{name}"), value: "picloud=1f2e3d".to_owned() },
    };
    let list = [
        domain("shop.example.com", DomainState::Live, Some("dns")),
        domain("new.example.com", DomainState::Pending, None),
        domain("old.example.com", DomainState::Held, Some("admin")),
    ];
    assert_text!("domains", domains::list(&list));
    let event = |action: &str, old: Option<&str>, new: Option<&str>, deploy: Option<u64>| AuditEvent {
        id: id(1),
        at: ago(1),
        actor: "ada".to_owned(),
        token: deploy.map(|_| id(2)),
        address: Some("10.0.0.9".to_owned()),
        request_id: None,
        action: action.to_owned(),
        app: Some("hello".to_owned()),
        subject: "refs/heads/main".to_owned(),
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
        deploy,
    };
    let events = [
        event("push", Some(EARLIER_COMMIT), Some(COMMIT), Some(7)),
        event("push", Some(COMMIT), None, None),
        event("secret.set", None, None, None),
    ];
    assert_text!("audit", audit::list(&events));
}

#[test]
fn backup_messages() {
    assert_text!("backup_removed", [0, 1, 3].map(backup::removed).concat());
}
