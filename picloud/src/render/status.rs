//! The status report.

use chrono::TimeDelta;
use platform::certificates::CertificateGrant;
use platform::clock;
use platform::status::Problem;
use store::RunOutcome;
use store::status::{EXECUTIONS_COUNTED_MAX, FAILURES_COUNTED_MAX};

use super::schedules::RESUME_ALL;
use super::{count, printable, size, time};
use crate::api_types::{Severity, Status};

/// The maximum length of a reason in characters.
const REASON_CHARS_MAX: usize = 200;

/// The status report.
pub(crate) fn report(status: &Status) -> String {
    let verdict = match status.problems.len() {
        0 => "healthy".to_owned(),
        problems => count(problems, "problem"),
    };
    let backup = status.last_backup_at.map_or_else(|| "none".to_owned(), |at| format!("{} UTC", time(at)));
    let mut text = format!(
        "{verdict}\n  version   {} on node {}\n  tz data   {}\n  database  {}\n",
        printable(&status.version),
        printable(&status.node),
        printable(&status.zone_data),
        printable(&status.database),
    );
    if let (Some(ready), Some(nodes), Some(apps)) = (status.nodes_ready, status.nodes, status.apps) {
        text += &format!("  backup    {backup}\n  nodes     {ready} of {nodes} ready\n");
        text += &format!("  apps      {apps}, {} live", status.apps_live);
        for (number, state) in [(status.apps_stopped, "stopped"), (status.apps_deleted, "deleted")] {
            text += &number
                .filter(|number| *number > 0)
                .map_or_else(String::new, |number| format!(", {number} {state}"));
        }
        text += "\n";
    } else {
        text += &format!("  apps      {} live; the database is unavailable\n", status.apps_live);
    }
    for problem in &status.problems {
        let label = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        text += &format!("{label}: {}\n  hint: {}\n", printable(&problem.message), printable(&problem.hint));
    }
    text
}

/// The message of a problem.
pub(crate) fn message(problem: &Problem) -> String {
    match problem {
        Problem::DatabaseNotWritable { node, reason } => {
            format!("node {node} cannot write to the database: {reason}")
        }
        Problem::NodeNotReady { node, reason } => format!("node {node} is not ready: {reason}"),
        Problem::AppNotServed(stale) => {
            format!(
                "node {} cannot serve the latest revision of app {}: {}",
                stale.node,
                stale.app,
                shorten(&stale.error)
            )
        }
        Problem::ScheduleFailing { schedule, preview } => {
            let on = if *preview { format!(" on branch {}", schedule.branch) } else { String::new() };
            let ended = if schedule.outcome == RunOutcome::Lost { "was lost" } else { "failed" };
            let reason = schedule.detail.as_deref().map(|detail| format!(": {}", shorten(detail)));
            format!(
                "schedule {} of app {}{on}: the last run, due {} UTC, {ended}{}",
                schedule.name,
                schedule.app,
                time(schedule.due_at),
                reason.unwrap_or_default()
            )
        }
        Problem::SchedulesHeld(hold) => {
            format!("the schedules of all apps are held since {} by {}", time(hold.since), hold.cause)
        }
        Problem::ExecutionsFailing(app) => {
            let or_more = |counted: u64, max: u32| {
                if counted >= u64::from(max) { format!("{counted} or more") } else { counted.to_string() }
            };
            format!(
                "app {}: {} of {} executions of the last hour failed",
                app.app,
                or_more(app.failed, FAILURES_COUNTED_MAX),
                or_more(app.executions, EXECUTIONS_COUNTED_MAX)
            )
        }
        Problem::RecordsDropped(dropped) => format!(
            "node {} dropped the records of {} and {}{} between {} and {} UTC",
            dropped.node,
            counted(dropped.executions, "execution"),
            counted(dropped.log_lines, "log line"),
            dropped.app.as_ref().map(|app| format!(" of app {app}")).unwrap_or_default(),
            time(dropped.since),
            time(dropped.until)
        ),
        Problem::BackupMissing { since } => format!("no backup since {} UTC", time(*since)),
        Problem::BackupOld { made_at } => format!("the last backup is from {} UTC", time(*made_at)),
        Problem::ClockSkew { node, ahead } => {
            let direction = if *ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
            let seconds = ahead.abs().num_milliseconds() as f64 / 1000.0;
            format!("the clock of node {node} is {seconds:.1} s {direction} the clock of the database")
        }
        Problem::ClockBehind { node, latest } => {
            format!(
                "the clock of node {node} is behind the latest entry in the database, from {} UTC",
                time(*latest)
            )
        }
        Problem::ClockJump { node, jump } => {
            let direction = if jump.by > TimeDelta::zero() { "forward" } else { "back" };
            let (by, at) = (clock::format_duration(jump.by), time(jump.at));
            format!("the clock of node {node} was set {direction} by {by}, to {at} UTC")
        }
        Problem::RetentionPaused { node, reason } => {
            format!("retention is paused on node {node}: {reason}")
        }
        Problem::PreviewWithoutCertificate { node, rejected: denied } => format!(
            "node {node} denied a certificate for the preview {} at {} UTC: {}",
            denied.name,
            time(denied.at),
            certificate_denial(denied.reason)
        ),
        Problem::PreviewReadsProduction { app, branch } => {
            format!("preview {branch} of app {app} uses the secrets of production until its next push")
        }
        Problem::StateNearlyFull { app, branch, bytes, quota_bytes, .. } => {
            let preview = branch.as_ref().map(|branch| format!(" of preview {branch}")).unwrap_or_default();
            format!(
                "the state{preview} of app {app} has {} ({bytes} bytes) of its {} ({quota_bytes} bytes)",
                size(*bytes),
                size(*quota_bytes)
            )
        }
        Problem::DiskNearlyFull { node, disk } => format!(
            "the disk of the data folder of node {node} has {} free of {}",
            size(disk.free_bytes),
            size(disk.size_bytes)
        ),
    }
}

/// How to resolve or investigate a problem.
pub(crate) fn hint(problem: &Problem) -> String {
    match problem {
        Problem::DatabaseNotWritable { node, .. } => format!(
            "repair the database; meanwhile, apps are served, but nothing can be changed or recorded; see the log of node {node}"
        ),
        Problem::NodeNotReady { .. } => "run  picloud nodes".to_owned(),
        Problem::AppNotServed(stale) => {
            format!("see the log of node {}, or push a fixed commit", stale.node)
        }
        Problem::ScheduleFailing { schedule, preview } => {
            let on = if *preview { format!(" --branch {}", schedule.branch) } else { String::new() };
            format!("run  picloud schedules --app {} --runs {}{on}", schedule.app, schedule.name)
        }
        Problem::SchedulesHeld(_) => format!("resume with  {RESUME_ALL}"),
        Problem::ExecutionsFailing(app) => format!("run  picloud executions --app {} --failed", app.app),
        Problem::RecordsDropped(dropped) => {
            format!(
                "see the log of node {}; the database was unavailable, or an app exceeded --app-record-rate",
                dropped.node
            )
        }
        Problem::BackupMissing { .. } | Problem::BackupOld { .. } => {
            "run  picloud backup FILE , or serve with --backup-max-age off if you use other backups"
                .to_owned()
        }
        Problem::ClockSkew { .. } | Problem::ClockBehind { .. } => {
            "correct the clock and enable NTP (timedatectl set-ntp true)".to_owned()
        }
        Problem::ClockJump { .. } => {
            "enable NTP (timedatectl set-ntp true); this warning disappears after a day".to_owned()
        }
        Problem::RetentionPaused { .. } => {
            "correct the clock if it is wrong; retention resumes when the clock is set back, or after a week"
                .to_owned()
        }
        Problem::PreviewWithoutCertificate { .. } => {
            "delete previews that are not needed, raise --preview-certificates-per-week within the limits of the certificate authority, or use a \
             wildcard certificate"
                .to_owned()
        }
        Problem::PreviewReadsProduction { app, .. } => {
            format!("set the required secrets with  picloud secrets set NAME --preview --app {app} , then push it again")
        }
        Problem::StateNearlyFull { app, is_limit, .. } => {
            let raise = match is_limit {
                true => format!(", or raise the quota with  picloud apps limits {app} --state SIZE"),
                false => " of the preview, or delete its branch".to_owned(),
            };
            format!("see  picloud kv usage --app {app} ; delete keys{raise}")
        }
        Problem::DiskNearlyFull { .. } => {
            "free disk space: without it, the database cannot accept pushes or records".to_owned()
        }
    }
}

/// Why a preview was denied a certificate.
pub(crate) fn certificate_denial(reason: CertificateGrant) -> String {
    match reason {
        CertificateGrant::Granted => "the limit has been reset".to_owned(),
        CertificateGrant::TooManyOfApp(of_app) => {
            format!("its app had {of_app} new previews with a certificate within a week")
        }
        CertificateGrant::TooMany(all) => format!("{all} new previews had a certificate within a week"),
    }
}

fn counted(number: u64, thing: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), thing)
}

/// The first line of a reason, shortened.
fn shorten(reason: &str) -> &str {
    let line = reason.lines().next().unwrap_or_default();
    line.char_indices().nth(REASON_CHARS_MAX).map_or(line, |(end, _)| &line[..end])
}
