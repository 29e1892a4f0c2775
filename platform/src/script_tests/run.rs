//! Runs tests.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
use manifest_schema::limits::Limits;
use manifest_schema::manifest;
use manifest_schema::name::{JobName, ScriptPath};
use manifest_schema::parse::check_span;
use runtime::notation::Start;
use runtime::{LogLine, Response, ScheduledRun, Trigger};

use super::mismatch::{self, Ended, Mismatch};
use super::suite::{ScriptTest, Suite};
use crate::dry_run::{Answer, DryRequest, DryRun, RunOptions, ScriptRun, run_checks};

/// The result of a test.
#[derive(Clone, Debug)]
pub struct TestOutcome {
    /// The file with the claim.
    pub file: String,
    /// The line of the claim, from 1.
    pub line: usize,
    /// Its column, from 1.
    pub column: usize,
    /// The claim as it is written.
    pub claim: String,
    /// The difference, if it failed.
    pub mismatch: Option<Mismatch>,
    /// The log of the run.
    pub log: Vec<LogLine>,
}

/// The results of all tests, in the order of the files and of the claims in them.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// The results.
    pub outcomes: Vec<TestOutcome>,
    /// How long all took.
    pub took: Duration,
}

impl TestReport {
    /// The tests that failed.
    pub fn failed(&self) -> impl Iterator<Item = (&TestOutcome, &Mismatch)> {
        self.outcomes.iter().filter_map(|outcome| Some((outcome, outcome.mismatch.as_ref()?)))
    }
}

/// Runs the tests whose file or claim contains `filter`, as many at a time as there are processors. `defaults` apply
/// to claims without settings of their own.
pub fn run_tests(suite: &Suite, filter: Option<&str>, defaults: &RunOptions) -> TestReport {
    let started = Instant::now();
    let is_meant = |test: &&ScriptTest| {
        filter.is_none_or(|filter| test.file.contains(filter) || test.text.contains(filter))
    };
    let tests: Vec<&ScriptTest> = suite.tests.iter().filter(is_meant).collect();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(tests.len());
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(tests.len())));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(test) = tests.get(index) else { break };
            let outcome = run_test(suite, test, defaults);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, outcome));
        }
    };
    thread::scope(|scope| {
        // This thread works too, so that there is always one.
        for _ in 1..threads {
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    let outcomes = done.into_iter().map(|(_, outcome)| outcome).collect();
    TestReport { outcomes, took: started.elapsed() }
}

/// Runs the `[[checks]]` of the manifest whose name or request contains `filter`, as a push does, and adds them to the
/// report.
pub fn append_checks(suite: &Suite, filter: Option<&str>, report: &mut TestReport) {
    let run = run_checks(&suite.app, &suite.secrets);
    for check in &suite.app.revision().manifest().checks {
        let claim = format!("check `{}`: {}", check.name, check.request);
        if filter.is_some_and(|filter| !claim.contains(filter)) {
            continue;
        }
        let span = check_span(&suite.manifest_text, &check.name);
        let failed = run.failed.iter().find(|failed| failed.check.name == check.name);
        report.outcomes.push(TestOutcome {
            file: manifest::FILE_NAME.to_owned(),
            line: span.as_ref().map_or(1, |span| span.line),
            column: span.as_ref().map_or(1, |span| span.column),
            claim,
            mismatch: failed.map(|failed| Mismatch::from(&failed.failure)),
            log: Vec::new(),
        });
    }
    report.took += run.took;
}

fn run_test(suite: &Suite, test: &ScriptTest, defaults: &RunOptions) -> TestOutcome {
    let (mismatch, log) = match answer(suite, test, defaults) {
        Err(mismatch) => (Some(mismatch), Vec::new()),
        Ok((app, answer)) => {
            let redact = |text: &str| app.revision().secrets().redact(text).into_owned();
            let mismatch = compare(test, &answer).map(|mismatch| mismatch.redacted(&redact));
            let log = match answer {
                Answer::Script(run) => run.log,
                _ => Vec::new(),
            };
            (mismatch, log)
        }
    };
    TestOutcome {
        file: test.file.clone(),
        line: test.span.line,
        column: test.span.column,
        claim: test.text.clone(),
        mismatch,
        log,
    }
}

/// Runs what a claim is about.
fn answer(suite: &Suite, test: &ScriptTest, defaults: &RunOptions) -> Result<(DryRun, Answer), Mismatch> {
    let options = test.settings.options(defaults);
    let of = |app: &DryRun| match test.settings.secrets(&suite.secrets) {
        Some(secrets) => app.with_secrets(&secrets),
        None => app.clone(),
    };
    let app = of(&suite.app);
    let manifest = app.revision().manifest();
    let (script, trigger, limits) = match &test.start {
        Start::Request { method, target, body } => {
            let content_type = body.as_ref().map(|body| body.content_type.as_str());
            let request = DryRequest {
                method: *method,
                target: target.clone(),
                headers: test.settings.headers(content_type),
                body: body.as_ref().map(|body| Bytes::from(body.text.clone())).unwrap_or_default(),
            };
            let answer = app.request(request, &options);
            return Ok((app, answer));
        }
        Start::Script => {
            let Some(files) = &suite.files else {
                return Err(Mismatch::new("script", "code", "none"));
            };
            let Ok(script) = ScriptPath::new(&test.file) else {
                return Err(Mismatch::new("script", "a path that scripts can have", &test.file));
            };
            let name =
                files.revision().manifest().functions.iter().find(|function| function.script == script);
            let Some(function) = name else { return Err(Mismatch::new("script", &test.file, "none")) };
            let trigger = Trigger::Function { name: function.name.clone(), payload: Bytes::new() };
            let limits = app.revision().limits().clone();
            let files = of(files);
            let run = files.script(script, trigger, Some(limits), &options);
            return Ok((files, Answer::Script(run)));
        }
        Start::Call { name, payload } => {
            let is_meant = |function: &&manifest_schema::manifest::Function| match name {
                Some(name) => function.name == *name,
                None => Some(&function.script) == test.script.as_ref(),
            };
            let function = manifest.functions.iter().find(is_meant).ok_or_else(|| {
                let names = manifest.functions.iter().map(|function| &function.name);
                missing("function", name.as_ref(), names)
            })?;
            let trigger = Trigger::Function { name: function.name.clone(), payload: payload.clone().into() };
            (function.script.clone(), trigger, None)
        }
        Start::Scheduled { name } => {
            let is_meant = |schedule: &&manifest_schema::manifest::Schedule| match name {
                Some(name) => schedule.name == *name,
                None => Some(&schedule.script) == test.script.as_ref(),
            };
            let schedule = manifest.schedules.iter().find(is_meant).ok_or_else(|| {
                let names = manifest.schedules.iter().map(|schedule| &schedule.name);
                missing("schedule", name.as_ref(), names)
            })?;
            let due_at_ms = options.started_at_ms.unwrap_or_else(|| Utc::now().timestamp_millis());
            let run =
                ScheduledRun { name: schedule.name.clone(), due_at_ms, last_success_ms: None, missed: 0 };
            let limits: Option<Limits> = app.revision().schedule_limits(schedule);
            (schedule.script.clone(), Trigger::Scheduled(run), limits)
        }
    };
    let run = app.script(script, trigger, limits, &options);
    Ok((app, Answer::Script(run)))
}

/// The manifest has no such function or schedule.
fn missing<'m>(kind: &str, name: Option<&JobName>, names: impl Iterator<Item = &'m JobName>) -> Mismatch {
    let names: Vec<&str> = names.map(JobName::as_str).collect();
    let expected = name.map_or_else(|| "one that runs this script".to_owned(), |name| format!("`{name}`"));
    let found = if names.is_empty() { "none in picloud.toml".to_owned() } else { names.join(", ") };
    Mismatch::new(kind, expected, found)
}

/// The first difference of an answer to a claim.
fn compare(test: &ScriptTest, answer: &Answer) -> Option<Mismatch> {
    let none = Response { status: answer.status(), headers: Vec::new(), body: Bytes::new() };
    let run = match answer {
        Answer::Script(run) => run,
        Answer::Unrouted { .. } | Answer::TooLarge { .. } => {
            let reason = match answer {
                Answer::Unrouted { status: 405, allow: Some(allow) } => {
                    Some(format!("the path has routes for {allow}"))
                }
                Answer::Unrouted { status: 404, .. } => Some("no route has this path".to_owned()),
                Answer::TooLarge { limit } => Some(format!("the route accepts {limit} bytes")),
                Answer::Unrouted { .. } | Answer::Script(_) => None,
            };
            if let Some(script) = &test.script
                && matches!(answer, Answer::Unrouted { .. })
            {
                let found = format!("none, and status {}", answer.status());
                return Some(Mismatch::new("script", script.as_str(), found).because(reason));
            }
            let ended = Ended { response: &none, failure: None, reason, log: &[] };
            return mismatch::find(&test.answer, &test.expectations, &ended);
        }
    };
    let ScriptRun { script, execution, log, .. } = run;
    if let Some(expected) = test.script.as_ref().filter(|expected| *expected != script) {
        let reason = format!("the route of this path belongs to {script}");
        return Some(Mismatch::new("script", expected.as_str(), script.as_str()).because(Some(reason)));
    }
    let failure = execution.outcome.as_ref().err();
    let reason = failure.map(|failure| match &failure.location {
        Some(at) => format!("{}:{}:{}: {}", at.script, at.line, at.column, failure.message),
        None => failure.message.clone(),
    });
    let response = execution.outcome.as_ref().unwrap_or(&none);
    mismatch::find(&test.answer, &test.expectations, &Ended { response, failure, reason, log })
}
