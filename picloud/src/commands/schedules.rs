//! `picloud schedules`, `run`, `pause` and `resume`: what runs by the clock, and what came of it.

use std::process::ExitCode;

use manifest_schema::name::AppName;

use super::error::CommandError;
use super::output::{more, page, show};
use super::record;
use crate::cli::{
    ResumeOptions, RunsOptions, ScheduleOptions, SchedulesNoun, SchedulesOptions, SchedulesVerb,
};
use crate::client::{Client, escaped};
use crate::rest::{ResumedAll, Run, Runs, Schedule, Schedules, Started};
use crate::words::schedules::{held, resumed_all};
use crate::words::short_commit;
use crate::words::table::table;
use crate::words::when::when;

/// Lists the schedules of an app or the runs of one, or does something to one.
pub(crate) fn schedules(noun: &SchedulesNoun) -> Result<ExitCode, CommandError> {
    let SchedulesNoun { verb, runs, page, list: options } = noun;
    match (verb, runs) {
        (Some(SchedulesVerb::List(options)), _) => list(options).map(succeeded),
        (Some(SchedulesVerb::Runs(options)), _) => list_runs(options).map(succeeded),
        (Some(SchedulesVerb::Run(options)), _) => run(options),
        (Some(SchedulesVerb::Pause(options)), _) => pause(options).map(succeeded),
        (Some(SchedulesVerb::Resume(options)), _) => resume(options).map(succeeded),
        (None, Some(schedule)) => {
            let options =
                RunsOptions { schedule: schedule.clone(), page: page.clone(), list: options.clone() };
            list_runs(&options).map(succeeded)
        }
        (None, None) => list(options).map(succeeded),
    }
}

fn succeeded(_: ()) -> ExitCode {
    ExitCode::SUCCESS
}

fn list(options: &SchedulesOptions) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let path = format!("apps/{}/schedules?{}", app.as_str(), of(options.branch.as_deref()));
    let all: Schedules = client.get(&path)?;
    show(&all, options.client.json, |all| {
        let why = match (&all.held, all.scheduled, &options.branch) {
            (Some(hold), ..) => format!("They do not run by the clock: {}\n", held(hold)),
            (None, false, Some(branch)) => {
                format!("They do not run by the clock; let them with  picloud previews schedule {branch}\n")
            }
            _ => String::new(),
        };
        listed(&all.schedules) + why.as_str()
    })
}

fn list_runs(options: &RunsOptions) -> Result<(), CommandError> {
    let SchedulesOptions { branch, app, client: asked } = &options.list;
    let client = Client::find(asked)?;
    let app = client.app(app)?;
    let (app, name) = (app.as_str(), options.schedule.as_str());
    let query = format!("{}&{}", page(&options.page), of(branch.as_deref()));
    let runs: Runs =
        client.get(&format!("apps/{app}/schedules/{name}/runs?{}", query.trim_end_matches('&')))?;
    show(&runs, asked.json, |runs| ran(&runs.runs) + more(runs.next_cursor.as_deref()).as_str())
}

/// Runs a schedule now.
pub(crate) fn run(options: &ScheduleOptions) -> Result<ExitCode, CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let started: Started = client.post(&path(&app, options, "run"))?;
    if let Some(execution) = started.run.as_ref().and_then(|run| run.execution.as_ref()) {
        record::wait_for(&client, &app, execution);
    }
    show(&started, options.client.json, |started| match &started.run {
        Some(run) => ran(std::slice::from_ref(run)),
        None => "It goes on; `picloud schedules runs NAME` says how it ends.\n".to_owned(),
    })?;
    let done = started.run.is_none_or(|run| run.outcome == "succeeded");
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Pauses a schedule on all nodes.
pub(crate) fn pause(options: &ScheduleOptions) -> Result<(), CommandError> {
    change(options, "pause")
}

/// Resumes a paused schedule, or the schedules of all apps.
pub(crate) fn resume(options: &ResumeOptions) -> Result<(), CommandError> {
    let ResumeOptions { schedule, branch, app, client, .. } = options.clone();
    let Some(schedule) = schedule else {
        let done: ResumedAll = Client::find(&client)?.post("schedules/resume")?;
        return show(&done, client.json, resumed_all);
    };
    change(&ScheduleOptions { schedule, branch, app, client }, "resume")
}

fn change(options: &ScheduleOptions, verb: &str) -> Result<(), CommandError> {
    let schedule: Schedule = ask(options, verb)?;
    show(&schedule, options.client.json, |schedule| listed(std::slice::from_ref(schedule)))
}

fn ask<T: serde::de::DeserializeOwned>(options: &ScheduleOptions, verb: &str) -> Result<T, CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    Ok(client.post(&path(&app, options, verb))?)
}

fn path(app: &AppName, options: &ScheduleOptions, verb: &str) -> String {
    let of = of(options.branch.as_deref());
    format!("apps/{}/schedules/{}/{verb}?{of}", app.as_str(), options.schedule.as_str())
}

/// Of which branch, as the API is asked.
fn of(branch: Option<&str>) -> String {
    branch.map(|branch| format!("branch={}", escaped(branch))).unwrap_or_default()
}

fn listed(schedules: &[Schedule]) -> String {
    if schedules.is_empty() {
        return "What is live declares no schedule.\n".to_owned();
    }
    let row = |schedule: &Schedule| {
        let next: Vec<String> = schedule.next.iter().map(|due| when(*due)).collect();
        let next = match &schedule.paused {
            Some(paused) => format!("paused by {} at {}", paused.by, when(paused.at)),
            None => next.join(", "),
        };
        let last = schedule.last_run.as_ref();
        let last = last.map_or_else(|| "-".to_owned(), |run| format!("{} {}", run.outcome, when(run.due)));
        [&schedule.name, &schedule.cron, &schedule.timezone, &schedule.script, &last, &next]
            .map(String::clone)
            .to_vec()
    };
    let rows: Vec<_> = schedules.iter().map(row).collect();
    table(&["NAME", "CRON", "ZONE", "SCRIPT", "LAST", "NEXT"], &rows)
}

fn ran(runs: &[Run]) -> String {
    if runs.is_empty() {
        return "It was not due yet.\n".to_owned();
    }
    let row = |run: &Run| {
        let due = match (run.manual, run.due_times) {
            (true, _) => format!("{} by hand", when(run.due)),
            (false, 1) => when(run.due),
            (false, 1001..) => format!("{} and over 1000 before", when(run.due)),
            (false, count) => format!("{} and {} before", when(run.due), count.saturating_sub(1)),
        };
        let late = format!("{}.{:03} s", run.late_ms / 1000, (run.late_ms % 1000).abs());
        let node = run.node.as_ref().map_or("-", |node| node.name.as_str()).to_owned();
        let commit = run.commit.as_deref().map_or("-", short_commit).to_owned();
        let execution = run.execution.clone().unwrap_or_else(|| "-".to_owned());
        let detail = run.detail.clone().unwrap_or_default();
        vec![due, late, run.outcome.clone(), run.deploy.to_string(), commit, node, execution, detail]
    };
    let rows: Vec<_> = runs.iter().map(row).collect();
    table(&["DUE", "LATE", "OUTCOME", "DEPLOY", "COMMIT", "NODE", "EXECUTION", "WHY"], &rows)
}
