//! Tables of schedules and runs, and messages about the hold on schedules.

use super::table::table;
use super::when::when;
use super::{printable, short_commit, time};
use crate::api_types::{Held, ResumedAll, Run, Schedule};

/// The command that ends the hold.
pub(crate) const RESUME_ALL: &str = "picloud resume --all";

/// The hold and how to end it.
pub(crate) fn held(held: &Held) -> String {
    format!(
        "all apps are held since {} by {}; resume with  {RESUME_ALL}",
        time(held.since),
        printable(&held.by)
    )
}

/// The end of the hold.
pub(crate) fn resumed_all(result: &ResumedAll) -> String {
    match &result.held {
        Some(held) => format!(
            "resumed {} of all apps, held since {} by {}; runs that were due meanwhile are recorded as skipped\n",
            super::count(result.resumed, "schedule"),
            time(held.since),
            printable(&held.by)
        ),
        None => "schedules are not held\n".to_owned(),
    }
}

/// The table of schedules.
pub(crate) fn list(schedules: &[Schedule]) -> String {
    if schedules.is_empty() {
        return "the live deploy has no schedules\n".to_owned();
    }
    let row = |schedule: &Schedule| {
        let next: Vec<String> = schedule.next.iter().map(|due| when(*due)).collect();
        let next = match &schedule.paused {
            Some(paused) => format!("paused by {} at {}", paused.by, when(paused.at)),
            None => next.join(", "),
        };
        let last = schedule.last_run.as_ref();
        let last = last.map_or_else(|| "-".to_owned(), |run| format!("{} {}", run.outcome, when(run.due_at)));
        [&schedule.name, &schedule.cron, &schedule.timezone, &schedule.script, &last, &next]
            .map(String::clone)
            .to_vec()
    };
    let rows: Vec<_> = schedules.iter().map(row).collect();
    table(&["NAME", "CRON", "ZONE", "SCRIPT", "LAST", "NEXT"], &rows)
}

/// The table of schedule runs.
pub(crate) fn runs(runs: &[Run]) -> String {
    if runs.is_empty() {
        return "no runs yet\n".to_owned();
    }
    let row = |run: &Run| {
        let due = match (run.manual, run.due_times) {
            (true, _) => format!("{} (manual)", when(run.due_at)),
            (false, 1) => when(run.due_at),
            (false, 1001..) => format!("{} and more than 1000 earlier", when(run.due_at)),
            (false, count) => format!("{} and {} earlier", when(run.due_at), count.saturating_sub(1)),
        };
        let late = format!("{}.{:03} s", run.late_ms / 1000, (run.late_ms % 1000).abs());
        let node = run.node.as_ref().map_or("-", |node| node.name.as_str()).to_owned();
        let commit = run.commit.as_deref().map_or("-", short_commit).to_owned();
        let execution = run.execution.clone().unwrap_or_else(|| "-".to_owned());
        let detail = run.detail.clone().unwrap_or_default();
        vec![due, late, run.outcome.clone(), run.deploy.to_string(), commit, node, execution, detail]
    };
    let rows: Vec<_> = runs.iter().map(row).collect();
    table(&["DUE", "LATE", "OUTCOME", "DEPLOY", "COMMIT", "NODE", "EXECUTION", "REASON"], &rows)
}
