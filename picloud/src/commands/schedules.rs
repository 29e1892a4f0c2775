//! `picloud schedules`, `run`, `pause` and `resume`.

use std::process::ExitCode;

use manifest_schema::name::AppName;

use super::error::CommandError;
use super::output::{next_page_hint, page_query, show};
use super::record;
use crate::api_types::{ResumedAll, Runs, Schedule, Schedules, Started};
use crate::cli::{ListSchedulesArgs, ResumeArgs, RunsArgs, ScheduleArgs, SchedulesArgs, SchedulesCommand};
use crate::client::{Client, percent_encode};
use crate::render::schedules;

/// Lists the schedules of an app or the runs of one; runs, pauses or resumes one.
pub(crate) fn schedules(args: &SchedulesArgs) -> Result<ExitCode, CommandError> {
    let SchedulesArgs { command, runs, page, list: options } = args;
    match (command, runs) {
        (Some(SchedulesCommand::List(options)), _) => list(options).map(succeeded),
        (Some(SchedulesCommand::Runs(options)), _) => list_runs(options).map(succeeded),
        (Some(SchedulesCommand::Run(options)), _) => run(options),
        (Some(SchedulesCommand::Pause(options)), _) => pause(options).map(succeeded),
        (Some(SchedulesCommand::Resume(options)), _) => resume(options).map(succeeded),
        (None, Some(schedule)) => {
            let options = RunsArgs { schedule: schedule.clone(), page: page.clone(), list: options.clone() };
            list_runs(&options).map(succeeded)
        }
        (None, None) => list(options).map(succeeded),
    }
}

fn succeeded(_: ()) -> ExitCode {
    ExitCode::SUCCESS
}

fn list(options: &ListSchedulesArgs) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let path = format!("apps/{}/schedules?{}", app.as_str(), branch_query(options.branch.as_deref()));
    let all: Schedules = client.get(&path)?;
    show(&all, options.client.json, |all| {
        let note = match (&all.held, all.scheduled, &options.branch) {
            (Some(hold), ..) => format!("the schedules do not run: {}\n", schedules::held(hold)),
            (None, false, Some(branch)) => {
                format!(
                    "the schedules of this preview are disabled; enable them with  picloud previews schedule {branch}\n"
                )
            }
            _ => String::new(),
        };
        schedules::list(&all.schedules) + note.as_str()
    })
}

fn list_runs(options: &RunsArgs) -> Result<(), CommandError> {
    let ListSchedulesArgs { branch, app, client: client_args } = &options.list;
    let client = Client::find(client_args)?;
    let app = client.app(app)?;
    let (app, name) = (app.as_str(), options.schedule.as_str());
    let query = format!("{}&{}", page_query(&options.page), branch_query(branch.as_deref()));
    let runs: Runs =
        client.get(&format!("apps/{app}/schedules/{name}/runs?{}", query.trim_end_matches('&')))?;
    show(&runs, client_args.json, |runs| {
        schedules::runs(&runs.runs) + next_page_hint(runs.next_cursor.as_deref()).as_str()
    })
}

/// Runs a schedule now.
pub(crate) fn run(options: &ScheduleArgs) -> Result<ExitCode, CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let started: Started = client.post(&path(&app, options, "run"))?;
    if let Some(execution) = started.run.as_ref().and_then(|run| run.execution.as_ref()) {
        record::wait_for(&client, &app, execution);
    }
    show(&started, options.client.json, |started| match &started.run {
        Some(run) => schedules::runs(std::slice::from_ref(run)),
        None => "still running; see the result with  picloud schedules runs NAME\n".to_owned(),
    })?;
    let success = started.run.is_none_or(|run| run.outcome == "succeeded");
    Ok(if success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Pauses a schedule on all nodes.
pub(crate) fn pause(options: &ScheduleArgs) -> Result<(), CommandError> {
    post(options, "pause")
}

/// Resumes a paused schedule, or the schedules of all apps.
pub(crate) fn resume(options: &ResumeArgs) -> Result<(), CommandError> {
    let ResumeArgs { schedule, branch, app, client, .. } = options.clone();
    let Some(schedule) = schedule else {
        let resumed: ResumedAll = Client::find(&client)?.post("schedules/resume")?;
        return show(&resumed, client.json, schedules::resumed_all);
    };
    post(&ScheduleArgs { schedule, branch, app, client }, "resume")
}

fn post(options: &ScheduleArgs, action: &str) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let schedule: Schedule = client.post(&path(&app, options, action))?;
    show(&schedule, options.client.json, |schedule| schedules::list(std::slice::from_ref(schedule)))
}

fn path(app: &AppName, options: &ScheduleArgs, action: &str) -> String {
    let query = branch_query(options.branch.as_deref());
    format!("apps/{}/schedules/{}/{action}?{query}", app.as_str(), options.schedule.as_str())
}

/// The query parameter of a branch.
fn branch_query(branch: Option<&str>) -> String {
    branch.map(|branch| format!("branch={}", percent_encode(branch))).unwrap_or_default()
}
