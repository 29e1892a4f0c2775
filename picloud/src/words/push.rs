//! What a push prints.

use std::time::Duration;

use chrono::{DateTime, Utc};
use git_receiver::LimitKind;
use manifest_schema::name::AppName;
use manifest_schema::units::show_size;
use platform::deploy::{
    Activated, CHECK_REF, ChangeKind, Changes, Event, Outcome, Planned, RefReport, Rejection, ShallowBoundary,
};
use platform::memory::OutOfMemory;
use platform::nodes::{Propagation, StaleNode};
use platform::secrets::Environment;
use platform::tokens::Right;
use store::Oid;

use super::addresses::Addresses;
use super::domains::steps;
use super::{OUTCOME_UNKNOWN, count, diagnostic, printable, size};

/// The most lines of one kind of a plan.
const CHANGES_SHOWN: usize = 40;

/// AppSemaphores the events and verdicts of one push into lines.
pub(crate) struct PushWords {
    app: AppName,
    pusher: String,
    /// Where the app answers.
    addresses: Addresses,
    /// The client asked for no progress.
    quiet: bool,
    /// How many more diagnostics this push prints, over all its refs.
    diagnostics_left: usize,
}

/// The end of a push, as people and as git read it.
pub(crate) struct Ending {
    /// The lines to print.
    pub(crate) text: String,
    /// A result for each ref, in order; the reason of a refusal in one short line.
    pub(crate) results: Vec<(String, Result<(), String>)>,
}

impl PushWords {
    pub(crate) fn new(app: AppName, pusher: String, addresses: Addresses, quiet: bool) -> Self {
        Self { app, pusher, addresses, quiet, diagnostics_left: diagnostic::SHOWN_MAX }
    }

    /// The lines of an event; empty where it is not to be printed.
    pub(crate) fn event(&mut self, event: &Event) -> String {
        match event {
            Event::Diagnostics(found) => {
                let text = diagnostic::list(found, self.diagnostics_left);
                self.diagnostics_left -= found.iter().take(self.diagnostics_left).count();
                text
            }
            // A checkout of no branch, as CI makes them, has to spell it out.
            Event::NotProductionBranch { production } => lines(&format!(
                "hint: the production branch is {production}; go live with  git push picloud HEAD:refs/heads/{production}"
            )),
            Event::Warnings(warnings) => {
                let mut text = String::new();
                for (id, warning) in &warnings.shown {
                    text += &lines(&format!("warning: object {id}: {warning}"));
                }
                let more = warnings.count - warnings.shown.len();
                if more > 0 {
                    text += &lines(&format!("warning: and {more} more like these"));
                }
                text
            }
            Event::ShallowHistory(ends) => lines(&format!(
                "warning: the server has no history before {}, since this is a shallow clone; push from one with all history to be able \
                 to go back further (fetch-depth: 0 in GitHub Actions, GIT_DEPTH: 0 in GitLab)",
                shown(ends)
            )),
            Event::NoManifest { branch } => {
                lines(&format!("warning: {} has no picloud.toml, so there is no preview", printable(branch)))
            }
            _ if self.quiet => String::new(),
            Event::Candidate { branch, commit, subject, .. } => lines(&format!(
                "picloud: {}  {}  {} \"{}\"  by {}",
                self.app,
                printable(branch),
                short(*commit),
                printable(subject),
                printable(&self.pusher)
            )),
            Event::Read { files, scripts, bytes, took } => {
                let what =
                    format!("{}, {}, {}", count(*files, "file"), count(*scripts, "script"), size(*bytes));
                step("read", &what, *took)
            }
            Event::Compiled { scripts, sdk, took } => {
                step("compile", &format!("{}, sdk {sdk}", count(*scripts, "script")), *took)
            }
            Event::Planned(plan) => planned(plan),
        }
    }

    /// The last lines, and what git is told of each ref.
    pub(crate) fn ending(&self, verdicts: &[RefReport], took: Duration) -> Ending {
        let mut text = String::new();
        let mut results = Vec::with_capacity(verdicts.len());
        for verdict in verdicts {
            text += &lines(&self.verdict(verdict, took));
            if let Outcome::Rejected(rejection) = &verdict.outcome {
                text.extend(hints(rejection).iter().map(|hint| lines(&format!("hint: {hint}"))));
            }
            let result = match &verdict.outcome {
                Outcome::Rejected(rejection) => Err(reason(&self.app, rejection)),
                _ => Ok(()),
            };
            results.push((verdict.name.clone(), result));
        }
        Ending { text, results }
    }

    fn verdict(&self, verdict: &RefReport, took: Duration) -> String {
        let name = printable(plain(&verdict.name));
        match &verdict.outcome {
            Outcome::Live(activated) => self.activated("LIVE", activated, &self.addresses.production(), took),
            Outcome::Preview(activated) => {
                let address = self.addresses.preview(&activated.branch);
                self.activated("PREVIEW", activated, &address, took)
            }
            Outcome::Stored => format!("success: STORED {name}"),
            Outcome::Unchanged => format!("success: STORED {name} as it was"),
            Outcome::Deleted => format!("success: STORED {name} is deleted"),
            Outcome::Checked => "success: the check passed; nothing was changed".to_owned(),
            Outcome::Rejected(rejection) => {
                let what = if verdict.name == CHECK_REF { "check" } else { &name };
                format!("error: REJECTED {what}: {}", sentence(&self.app, rejection))
            }
        }
    }

    fn activated(&self, word: &str, activated: &Activated, address: &str, took: Duration) -> String {
        let before = if activated.previously_validated { " (validated before)" } else { "" };
        let reach = activated.propagation.as_ref();
        let on = reach.map(on_nodes).unwrap_or_default();
        let word = if activated.stopped { "STORED" } else { word };
        let mut text =
            format!("success: {word} as deploy {} in {}{on}{before}  {address}", activated.deploy, ms(took));
        for stale in reach.iter().flat_map(|reach| &reach.stale) {
            text += &format!("\nwarning: {}", behind(stale));
        }
        if activated.stopped {
            let app = &self.app;
            text += &format!("\nwarning: the app is stopped, and answers after  picloud apps start {app}");
        }
        for domain in &activated.pending {
            let (name, challenge) = (domain.name.as_str(), &domain.challenge);
            text += &format!("\nwarning: {}", steps(name, &challenge.record, &challenge.value));
        }
        if let Some(previous) = activated.previous.filter(|_| !self.quiet) {
            text += &format!(
                "\nhint: undo with  git push -f picloud {}:{}",
                short(previous),
                printable(&activated.branch)
            );
        }
        text
    }
}

/// On how many of the nodes something is live, where there are others.
fn on_nodes(reach: &Propagation) -> String {
    match reach.nodes() {
        _ if reach.unknown => " here; the other nodes cannot be asked".to_owned(),
        0 | 1 if reach.stale.is_empty() => String::new(),
        nodes => format!(" on {}/{nodes} nodes", reach.live),
    }
}

fn behind(stale: &StaleNode) -> String {
    let node = printable(&stale.node);
    match &stale.error {
        Some(fault) => format!("node {node} cannot serve it and is not ready: {}", printable(fault)),
        None => format!("node {node} does not serve it yet; see  picloud nodes"),
    }
}

/// Why a ref was rejected, for the line that git prints last.
fn reason(app: &AppName, rejection: &Rejection) -> String {
    match rejection {
        Rejection::Diagnostics { errors, first, live, .. } => {
            let live =
                live.map_or("nothing changed".to_owned(), |live| format!("deploy {live} is still live"));
            let rest = format!("{}; {live}", count(*errors, "problem"));
            // For clients that show nothing else.
            match first {
                Some(first) => format!("{} ({rest})", diagnostic::in_line(first)),
                None => rest,
            }
        }
        other => sentence(app, other),
    }
}

/// Why something was rejected, in one sentence.
pub(crate) fn sentence(app: &AppName, rejection: &Rejection) -> String {
    match rejection {
        Rejection::Diagnostics { errors, files, live, .. } => {
            let problems = diagnostic::problems(*errors, *files);
            match live {
                Some(live) => format!("{problems}; nothing changed, deploy {live} is still live"),
                None => format!("{problems}; nothing changed"),
            }
        }
        Rejection::ProductionBranch => "the production branch cannot be deleted".to_owned(),
        Rejection::ReservedRef => "refs/deploys/ is written by the server alone".to_owned(),
        Rejection::UnsupportedRef => "only branches and tags are kept here".to_owned(),
        Rejection::AddressConflict { with } => {
            format!("it would share its address with branch {}; choose another name", printable(with))
        }
        Rejection::Moved { found, by } => {
            let now = found.map_or_else(|| "is gone".to_owned(), |oid| format!("is at {} now", short(oid)));
            match by {
                Some(deploy) => format!(
                    "another push was first: it {now} (deploy {} by {}); fetch and push again",
                    deploy.number,
                    printable(&deploy.by)
                ),
                None => format!("another push was first: it {now}; fetch and push again"),
            }
        }
        Rejection::DomainTaken { domain } => {
            format!("another app has proven meanwhile that the domain {domain} is its own; nothing was changed")
        }
        Rejection::Busy => {
            "another push to the app, or another change of it, takes too long; nothing was changed; push again in a moment"
                .to_owned()
        }
        Rejection::NoSlot => {
            "the server is busy with other pushes; nothing was changed; push again in a moment".to_owned()
        }
        Rejection::Evicted => {
            "it gave way to pushes of others, since this token has most of those that wait; nothing was changed; push again in a \
             moment"
                .to_owned()
        }
        Rejection::NoBufferSpace => {
            "there is no room for it beside other pushes of this token or app; nothing was changed; push again when they are done"
                .to_owned()
        }
        Rejection::CheckTimeout => {
            "looking at what was pushed took too long; nothing was changed for this ref; push fewer branches at once, or less"
                .to_owned()
        }
        Rejection::ClientDisconnected => "the client hung up; nothing was changed".to_owned(),
        Rejection::Unavailable { reason } => {
            format!("{}; nothing was changed; push again in a moment", printable(reason))
        }
        Rejection::DiskFull => "the server's disk is full; nothing was changed".to_owned(),
        Rejection::NoMemory(refused @ OutOfMemory::App { .. }) => format!(
            "{refused}; nothing was changed; delete branches whose previews are not needed, or grant more with  picloud apps \
             limits {app} --memory-share SIZE"
        ),
        Rejection::NoMemory(refused @ OutOfMemory::Node { .. }) => format!(
            "{refused}; nothing was changed; push again later, or ask the operator for more memory (serve --memory)"
        ),
        Rejection::TooManyRefs { would_be, limit } => format!(
            "the app would have {would_be} branches and tags, and can have {limit}; delete some first, or have the operator allow more \
             with  picloud serve --refs-per-app"
        ),
        Rejection::TooLarge { used, needed, limit, quota } => {
            let part = match limit < quota {
                true => format!(", {} of it to previews", size(*limit)),
                false => String::new(),
            };
            format!(
                "the app takes {} of the disk and the push {} more, and the server grants it {}{part}; make room with  picloud apps \
                 prune {app}  or have an admin grant more with  picloud apps limits {app} --disk {}",
                size(*used),
                size(*needed),
                size(*quota),
                show_size(enough(*quota, used + needed))
            )
        }
        Rejection::TooManyPreviews { would_be, limit } => format!(
            "the app would have {would_be} previews, and the server grants it {limit}; delete a branch first, or have an admin grant more \
             with  picloud apps limits {app} --previews {would_be}"
        ),
        Rejection::UnknownApp => "there is no such app, and this token may not create it".to_owned(),
        Rejection::CreationDisabled => {
            format!(
                "there is no such app, and this server creates none on a push; do it with  picloud apps create {app}"
            )
        }
        Rejection::Forbidden(right) => {
            let what = match right {
                Right::DeployProduction => "deploy to production",
                Right::DeployPreviews => "deploy previews",
                _ => "do this",
            };
            format!("this token may not {what}; it needs the scope {}", right.scope(app))
        }
        Rejection::Secrets { reason } => printable(reason),
        Rejection::SecretUnset { name, environment } => {
            let flag = if *environment == Environment::Preview { " --preview" } else { "" };
            format!("secret {name} was unset meanwhile; do  picloud secrets set {name}{flag}  and push again")
        }
        Rejection::NonFastForward => {
            let scope = Right::ForcePush.scope(app);
            format!(
                "the branch is protected and would not only go forward; merge what is live first, or push with a token \
                 that has the scope {scope}"
            )
        }
        Rejection::Git(fault) => printable(&fault.to_string()),
        Rejection::AnnotatedTag { tag, .. } => {
            let tag = printable(tag);
            format!("{tag} is an annotated tag, and a branch points to a commit: push {tag}^{{}}")
        }
        Rejection::ShallowHistory(ShallowBoundary { missing, ends }) => format!(
            "the server does not have {}: the history that it has begins with {}, which came from a shallow clone, and git sends \
             nothing from before what a server has",
            short(*missing),
            shown(ends)
        ),
        Rejection::Atomic => "another ref of this atomic push was rejected".to_owned(),
        Rejection::Unpack { reason, limit: None } => format!("unpack failed: {}", printable(reason)),
        Rejection::Unpack { reason, limit: Some(limit) } => {
            format!("{}; the operator can allow more with  picloud serve {}", printable(reason), flag(*limit))
        }
        Rejection::TooManyPushes => {
            "too many pushes of this token are on their way; nothing was changed; push again in a moment".to_owned()
        }
        Rejection::ReceiveTimeout { time, min_rate } => format!(
            "it did not arrive in time; nothing was changed; a push has {} s (picloud serve --push-time) and {} a second at least \
             (--min-rate)",
            time.as_secs(),
            size(*min_rate)
        ),
        Rejection::OutcomeUnknown => {
            format!("{OUTCOME_UNKNOWN}; see  picloud deploys  or push again")
        }
        Rejection::Internal { incident } => {
            format!("the server failed; nothing was changed; its log has the cause under {incident}")
        }
    }
}

/// The flag that sets a limit.
fn flag(limit: LimitKind) -> &'static str {
    match limit {
        LimitKind::RequestBytes => "--push-bytes",
        // There is no use in naming more refs than an app can have.
        LimitKind::Commands => "--refs-per-app",
        LimitKind::Objects => "--push-objects",
        LimitKind::ObjectBytes => "--object-bytes",
        LimitKind::InflatedBytes => "--inflated-bytes",
    }
}

/// What helps, in lines of their own.
fn hints(rejection: &Rejection) -> Vec<String> {
    match rejection {
        Rejection::ShallowHistory(ShallowBoundary { missing, ends }) => {
            let (missing, ends): (_, Vec<String>) =
                (short(*missing), ends.iter().copied().map(short).collect());
            let ends = ends.join(" ");
            vec![
                format!("go back by a new commit:  git revert --no-edit {missing}..HEAD"),
                format!(
                    "or send what lies before it, from a clone with all history:  git rev-parse {ends} >.git/shallow && git push picloud \
                     {missing}:refs/tags/history; rm .git/shallow"
                ),
            ]
        }
        Rejection::AnnotatedTag { tag, branch, exists } => {
            let (tag, branch) = (printable(tag), printable(branch));
            let force = if *exists { " -f" } else { "" };
            vec![format!("git push{force} picloud {tag}^{{}}:refs/heads/{branch}")]
        }
        _ => Vec::new(),
    }
}

/// Commits by their short names.
fn shown(commits: &[Oid]) -> String {
    commits.iter().copied().map(short).collect::<Vec<_>>().join(", ")
}

/// What to grant instead, as a round number.
fn enough(granted: u64, needed: u64) -> u64 {
    (granted + 1).max(needed).checked_next_power_of_two().unwrap_or(u64::MAX).max(1 << 20)
}

/// What a revision changes.
pub(crate) fn planned(Planned { plan, upcoming }: &Planned) -> String {
    let mut text = changes("domains", &plan.domains, |_| String::new());
    text += &changes("routes", &plan.routes, |_| String::new());
    text += &changes("schedules", &plan.schedules, |name| {
        let Some(due) = upcoming else { return "  not run by the clock: a preview".to_owned() };
        let found = due.iter().find(|(schedule, _)| schedule.name.as_str() == name);
        let times: Vec<_> = found.into_iter().flat_map(|(_, times)| times.iter().map(clock)).collect();
        if times.is_empty() { String::new() } else { format!("  next {}", times.join(", ")) }
    });
    text += &changes("functions", &plan.functions, |_| String::new());
    text += &changes("env", &plan.env, |_| String::new());
    text += &changes("secrets", &plan.secrets, |_| String::new());
    text
}

fn changes(kind: &str, changes: &Changes, more: impl Fn(&str) -> String) -> String {
    let unchanged =
        if changes.unchanged > 0 { format!("{} unchanged", changes.unchanged) } else { String::new() };
    if changes.entries.is_empty() {
        return if changes.unchanged > 0 {
            lines(&format!("  {kind:<9} {unchanged}"))
        } else {
            String::new()
        };
    }
    let mut text = lines(format!("  {kind:<9} {unchanged}").trim_end());
    let shown = &changes.entries[..changes.entries.len().min(CHANGES_SHOWN)];
    let columns = shown.iter().map(|change| change.columns.len()).max().unwrap_or(0);
    let width = |column: usize| {
        shown
            .iter()
            .filter_map(|change| change.columns.get(column))
            .map(|text| text.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for change in shown {
        let sign = match change.kind {
            ChangeKind::Added => '+',
            ChangeKind::Removed => '-',
            ChangeKind::Changed => '~',
        };
        let padded =
            change.columns.iter().zip(&widths).map(|(text, width)| format!("{:<width$}", printable(text)));
        let row = padded.collect::<Vec<_>>().join("  ");
        let more = if change.kind == ChangeKind::Removed { String::new() } else { more(&change.columns[0]) };
        text += &lines(format!("    {sign} {row}{more}").trim_end());
    }
    if changes.entries.len() > shown.len() {
        text += &lines(&format!("    {} more", changes.entries.len() - shown.len()));
    }
    text
}

/// Time of day for what is due today, with the date for what is later.
fn clock(due: &DateTime<Utc>) -> String {
    let today = due.date_naive() == Utc::now().date_naive();
    due.format(if today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" }).to_string()
}

fn step(name: &str, what: &str, took: Duration) -> String {
    lines(&format!("  {name:<9} {what:<40} {:>8}", ms(took)))
}

fn lines(text: &str) -> String {
    format!("{text}\n")
}

fn ms(took: Duration) -> String {
    format!("{} ms", took.as_millis())
}

/// A ref without what git itself leaves out.
fn plain(name: &str) -> &str {
    name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/")).unwrap_or(name)
}

fn short(oid: Oid) -> String {
    oid.to_string().chars().take(7).collect()
}
