//! What is said of whether all is well.

use chrono::TimeDelta;
use platform::certificates::CertificateGrant;
use platform::clock;
use platform::status::Problem;
use store::RunOutcome;
use store::status::{EXECUTIONS_COUNTED_MAX, FAILURES_COUNTED_MAX};

use super::schedules::RESUME_ALL;
use super::{count, printable, size, time};
use crate::rest::{Severity, Status};

/// The most characters that are shown of why something failed.
const REASON_MAX: usize = 200;

/// The whole status.
pub(crate) fn shown(status: &Status) -> String {
    let verdict = match status.problems.len() {
        0 => "All is well.".to_owned(),
        problems => format!("{}.", count(problems, "problem")),
    };
    let backup = status.last_backup_at.map_or_else(|| "none".to_owned(), |at| format!("{} UTC", time(at)));
    let mut text = format!(
        "{verdict}\n  version   {}, answering as {}\n  zone data {}\n  database  {}\n",
        printable(&status.version),
        printable(&status.node),
        printable(&status.zone_data),
        printable(&status.database),
    );
    if let (Some(ready), Some(nodes), Some(apps)) = (status.nodes_ready, status.nodes, status.apps) {
        text += &format!("  backup    {backup}\n  nodes     {ready} of {nodes} ready\n");
        text += &format!("  apps      {apps}, of which {} are live", status.apps_live);
        for (number, state) in [(status.apps_stopped, "stopped"), (status.apps_deleted, "deleted")] {
            text += &number
                .filter(|number| *number > 0)
                .map_or_else(String::new, |number| format!("; {number} {state}"));
        }
        text += "\n";
    } else {
        text += &format!("  apps      {} live, from memory\n", status.apps_live);
    }
    for problem in &status.problems {
        let word = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        text += &format!("{word}: {}\n  hint: {}\n", printable(&problem.message), printable(&problem.hint));
    }
    text
}

/// What a problem is.
pub(crate) fn message(problem: &Problem) -> String {
    match problem {
        Problem::DatabaseNotWritable { node, reason } => {
            format!("node {node} cannot write to the database: {reason}")
        }
        Problem::NodeNotReady { node, reason } => format!("node {node} is not ready: {reason}"),
        Problem::AppNotServed(not) => {
            format!(
                "node {} cannot serve the latest revision of app {}: {}",
                not.node,
                not.app,
                brief(&not.fault)
            )
        }
        Problem::ScheduleFailing { schedule, preview } => {
            let on = if *preview { format!(" on branch {}", schedule.branch) } else { String::new() };
            let ended = if schedule.outcome == RunOutcome::Lost { "was lost" } else { "failed" };
            let reason = schedule.detail.as_deref().map(|detail| format!(": {}", brief(detail)));
            format!(
                "schedule {} of app {}{on}: the last run, due {} UTC, {ended}{}",
                schedule.name,
                schedule.app,
                time(schedule.due),
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
            counted(dropped.lines, "log line"),
            dropped.app.as_ref().map(|app| format!(" of app {app}")).unwrap_or_default(),
            time(dropped.since),
            time(dropped.until)
        ),
        Problem::BackupMissing { since } => format!("no backup was made since {} UTC", time(*since)),
        Problem::BackupOld { made_at } => format!("the latest backup is of {} UTC", time(*made_at)),
        Problem::ClockSkew { node, ahead } => {
            let direction = if *ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
            let seconds = ahead.abs().num_milliseconds() as f64 / 1000.0;
            format!("the clock of node {node} is {seconds:.1} s {direction} that of the database")
        }
        Problem::ClockBehind { node, latest } => {
            format!(
                "the clock of node {node} is behind the latest entry in the database, of {} UTC",
                time(*latest)
            )
        }
        Problem::ClockJump { node, jump } => {
            let direction = if jump.by > TimeDelta::zero() { "forward" } else { "back" };
            let (by, at) = (clock::format_duration(jump.by), time(jump.at));
            format!("the clock of node {node} was set {direction} by {by}, to {at} UTC")
        }
        Problem::RetentionPaused { node, reason } => {
            format!("node {node} deletes no old records, audit entries and previews: {reason}")
        }
        Problem::PreviewWithoutCertificate { node, rejected } => format!(
            "node {node} had the preview {} without a certificate at {} UTC: {}",
            rejected.name,
            time(rejected.at),
            no_certificate(rejected.reason)
        ),
        Problem::PreviewReadsProduction { app, branch } => {
            format!("preview {branch} of app {app} reads the secrets of production until its next push")
        }
        Problem::DiskNearlyFull { node, disk } => format!(
            "the disk with the data folder of node {node} has {} left of {}",
            size(disk.free_bytes),
            size(disk.size_bytes)
        ),
    }
}

/// What helps, or shows more.
pub(crate) fn hint(problem: &Problem) -> String {
    match problem {
        Problem::DatabaseNotWritable { node, .. } => format!(
            "mend the database: until then, apps are answered and nothing is changed or recorded; the log of node {node} has the cause"
        ),
        Problem::NodeNotReady { .. } => "picloud nodes".to_owned(),
        Problem::AppNotServed(not) => {
            format!("see the log of node {}, or push a commit that it can serve", not.node)
        }
        Problem::ScheduleFailing { schedule, preview } => {
            let on = if *preview { format!(" --branch {}", schedule.branch) } else { String::new() };
            format!("picloud schedules --app {} --runs {}{on}", schedule.app, schedule.name)
        }
        Problem::SchedulesHeld(_) => format!("resume them with  {RESUME_ALL}"),
        Problem::ExecutionsFailing(app) => format!("picloud executions --app {} --failed", app.app),
        Problem::RecordsDropped(dropped) => {
            format!(
                "see the log of node {}; the database was away, or more ran or was logged than is recorded of an app",
                dropped.node
            )
        }
        Problem::BackupMissing { .. } | Problem::BackupOld { .. } => {
            "picloud backup FILE; where backups are made by other means, serve with --backup-warn off"
                .to_owned()
        }
        Problem::ClockSkew { .. } | Problem::ClockBehind { .. } => {
            "set the clock that is wrong, and let NTP keep it right (timedatectl set-ntp true)".to_owned()
        }
        Problem::ClockJump { .. } => {
            "let NTP keep the clock right (timedatectl set-ntp true); this is listed for a day".to_owned()
        }
        Problem::RetentionPaused { .. } => {
            "set the clock right if it is wrong; deletion begins again by itself when the clock is set back, or has run for a week"
                .to_owned()
        }
        Problem::PreviewWithoutCertificate { .. } => {
            "end previews that are not needed, serve with more --preview-certificates if who makes them allows it, or have a certificate for all \
             names below the domain"
                .to_owned()
        }
        Problem::PreviewReadsProduction { app, .. } => {
            format!("picloud secrets set NAME --preview --app {app}  for what it requires, and push it again")
        }
        Problem::DiskNearlyFull { .. } => {
            "make room: a database that cannot write refuses pushes and records nothing".to_owned()
        }
    }
}

/// Why a preview has no certificate.
pub(crate) fn no_certificate(reason: CertificateGrant) -> String {
    match reason {
        CertificateGrant::Granted => "it can have one now".to_owned(),
        CertificateGrant::TooManyOfApp(of_app) => {
            format!("{of_app} new previews of its app had one within a week")
        }
        CertificateGrant::TooMany(all) => format!("{all} new previews had one within a week"),
    }
}

fn counted(number: u64, thing: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), thing)
}

/// The beginning of a reason, in one line.
fn brief(reason: &str) -> &str {
    let line = reason.lines().next().unwrap_or_default();
    line.char_indices().nth(REASON_MAX).map_or(line, |(end, _)| &line[..end])
}
