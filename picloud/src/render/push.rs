//! The report of a push.

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

use super::app_urls::AppUrls;
use super::domains::steps;
use super::when::now;
use super::{OUTCOME_UNKNOWN, count, counts, diagnostics, printable, size};

/// The maximum number of printed changes of one kind.
const CHANGES_SHOWN_MAX: usize = 40;

/// Renders the events and verdicts of a push.
pub(crate) struct PushReporter {
    app: AppName,
    pusher: String,
    /// The URLs of the app.
    urls: AppUrls,
    /// Whether the client disabled progress.
    quiet: bool,
    /// Number of diagnostics that can still be printed for this push.
    diagnostics_left: usize,
}

/// The final report of a push.
pub(crate) struct FinalReport {
    /// The lines to print.
    pub(crate) text: String,
    /// The result of each ref, in order, for git's report-status; an error is one short line.
    pub(crate) results: Vec<(String, Result<(), String>)>,
}

impl PushReporter {
    pub(crate) fn new(app: AppName, pusher: String, urls: AppUrls, quiet: bool) -> Self {
        Self { app, pusher, urls, quiet, diagnostics_left: diagnostics::SHOWN_MAX }
    }

    /// Renders an event; empty if it is not printed.
    pub(crate) fn event(&mut self, event: &Event) -> String {
        match event {
            Event::Diagnostics(found) => {
                let text = diagnostics::render(found, self.diagnostics_left);
                self.diagnostics_left -= found.iter().take(self.diagnostics_left).count();
                text
            }
            // A detached HEAD, as in CI, needs the full ref name.
            Event::NotProductionBranch { production } => lines(&format!(
                "hint: the production branch is {production}; deploy to production with  git push picloud HEAD:refs/heads/{production}"
            )),
            Event::Warnings(warnings) => {
                let mut text = String::new();
                for (id, warning) in &warnings.shown {
                    text += &lines(&format!("warning: object {id}: {warning}"));
                }
                let more = warnings.count - warnings.shown.len();
                if more > 0 {
                    text += &lines(&format!("warning: {more} more warnings about objects"));
                }
                text
            }
            Event::ShallowHistory(ends) => lines(&format!(
                "warning: this is a shallow clone: the server has no history before {}; push from a full clone to be able to roll back \
                 further (fetch-depth: 0 in GitHub Actions, GIT_DEPTH: 0 in GitLab)",
                abbreviated(ends)
            )),
            Event::NoManifest { branch } => {
                lines(&format!("warning: {} has no picloud.toml; no preview is deployed", printable(branch)))
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
            Event::Read { files, scripts, templates, bytes, took } => {
                let scripts = counts(*scripts, 0, *templates);
                let details = format!("{}, {scripts}, {}", count(*files, "file"), size(*bytes));
                step("read", &details, *took)
            }
            Event::Compiled { scripts, libraries, templates, sdk, took } => {
                let details = format!("{}, sdk {sdk}", counts(*scripts, *libraries, *templates));
                step("compile", &details, *took)
            }
            Event::ChecksRun { passed, failed: 0, took } => step("check", &count(*passed, "check"), *took),
            Event::ChecksRun { passed, failed, took } => {
                step("check", &format!("{failed} of {} failed", count(passed + failed, "check")), *took)
            }
            Event::Planned(plan) => planned(plan),
        }
    }

    /// Renders the verdicts.
    pub(crate) fn finish(&self, verdicts: &[RefReport], took: Duration) -> FinalReport {
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
        FinalReport { text, results }
    }

    fn verdict(&self, verdict: &RefReport, took: Duration) -> String {
        let name = printable(short_ref(&verdict.name));
        match &verdict.outcome {
            Outcome::Live(activated) => self.activated("LIVE", activated, &self.urls.production(), took),
            Outcome::Preview(activated) => {
                let url = self.urls.preview(&activated.branch);
                self.activated("PREVIEW", activated, &url, took)
            }
            Outcome::Stored => format!("success: STORED {name}"),
            Outcome::Unchanged => format!("success: STORED {name} (unchanged)"),
            Outcome::Deleted => format!("success: STORED {name} (deleted)"),
            Outcome::Checked => "success: the check passed; nothing was changed".to_owned(),
            Outcome::Rejected(rejection) => {
                let target = if verdict.name == CHECK_REF { "check" } else { &name };
                format!("error: REJECTED {target}: {}", sentence(&self.app, rejection))
            }
        }
    }

    fn activated(&self, verdict: &str, activated: &Activated, url: &str, took: Duration) -> String {
        let before = if activated.previously_validated { " (already validated)" } else { "" };
        let reach = activated.propagation.as_ref();
        let on = reach.map(on_nodes).unwrap_or_default();
        let verdict = if activated.stopped { "STORED" } else { verdict };
        let mut text =
            format!("success: {verdict} as deploy {} in {}{on}{before}  {url}", activated.deploy, ms(took));
        for stale in reach.iter().flat_map(|reach| &reach.stale) {
            text += &format!("\nwarning: {}", stale_node(stale));
        }
        if activated.keeps_state {
            text += "\nhint: data in kv stays as it is: a rollback moves code, not data";
        }
        if activated.stopped {
            let app = &self.app;
            text += &format!("\nwarning: the app is stopped; start it with  picloud apps start {app}");
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

/// The number of nodes that serve the deploy, in a cluster.
fn on_nodes(reach: &Propagation) -> String {
    match reach.nodes() {
        _ if reach.unknown => " on this node; the state of other nodes is unknown".to_owned(),
        0 | 1 if reach.stale.is_empty() => String::new(),
        nodes => format!(" on {}/{nodes} nodes", reach.live),
    }
}

fn stale_node(stale: &StaleNode) -> String {
    let node = printable(&stale.node);
    match &stale.error {
        Some(diagnostic) => {
            format!("node {node} cannot serve the deploy and is not ready: {}", printable(diagnostic))
        }
        None => format!("node {node} does not serve the deploy yet; see  picloud nodes"),
    }
}

/// The reason of a rejection, for git's report-status.
fn reason(app: &AppName, rejection: &Rejection) -> String {
    match rejection {
        Rejection::Diagnostics { errors, first, live, .. } => {
            let live =
                live.map_or("nothing changed".to_owned(), |live| format!("deploy {live} is still live"));
            let summary = format!("{}; {live}", count(*errors, "problem"));
            // Some clients show nothing else.
            match first {
                Some(first) => format!("{} ({summary})", diagnostics::summary(first)),
                None => summary,
            }
        }
        other => sentence(app, other),
    }
}

/// The message of a rejection.
pub(crate) fn sentence(app: &AppName, rejection: &Rejection) -> String {
    match rejection {
        Rejection::Diagnostics { errors, files, live, .. } => {
            let problems = diagnostics::count_by_file(*errors, *files);
            match live {
                Some(live) => format!("{problems}; nothing changed, deploy {live} is still live"),
                None => format!("{problems}; nothing changed"),
            }
        }
        Rejection::ProductionBranch => "the production branch cannot be deleted".to_owned(),
        Rejection::ReservedRef => "refs/deploys/ is read-only".to_owned(),
        Rejection::UnsupportedRef => "only branches and tags are supported".to_owned(),
        Rejection::AddressConflict { with } => {
            format!("the branch would have the same URL as branch {}; choose another name", printable(with))
        }
        Rejection::Moved { found, by } => {
            let now = found.map_or_else(|| "was deleted".to_owned(), |oid| format!("is now at {}", short(oid)));
            match by {
                Some(deploy) => format!(
                    "a concurrent push came first: the ref {now} (deploy {} by {}); fetch and push again",
                    deploy.number,
                    printable(&deploy.by)
                ),
                None => format!("a concurrent push came first: the ref {now}; fetch and push again"),
            }
        }
        Rejection::DomainTaken { domain } => {
            format!("another app has verified the domain {domain} meanwhile; nothing was changed")
        }
        Rejection::Busy => {
            "timed out waiting for another push to the app or another change of it; nothing was changed; push again in a moment"
                .to_owned()
        }
        Rejection::NoSlot => {
            "the server is busy with other pushes; nothing was changed; push again in a moment".to_owned()
        }
        Rejection::Evicted => {
            "the push was evicted in favor of other tokens, since this token has the most waiting pushes; nothing was changed; push again in \
             a moment"
                .to_owned()
        }
        Rejection::NoBufferSpace => {
            "no capacity for the push next to other pushes of this token or app; nothing was changed; push again when they are done"
                .to_owned()
        }
        Rejection::CheckTimeout => {
            "validating the push took too long; nothing was changed for this ref; push fewer branches at once, or fewer files"
                .to_owned()
        }
        Rejection::ClientDisconnected => "the client disconnected; nothing was changed".to_owned(),
        Rejection::Unavailable { reason } => {
            format!("{}; nothing was changed; push again in a moment", printable(reason))
        }
        Rejection::DiskFull => "the disk of the server is full; nothing was changed".to_owned(),
        Rejection::NoMemory(refused @ OutOfMemory::App { .. }) => format!(
            "{refused}; nothing was changed; delete branches whose previews are not needed, or raise the limit with  picloud apps \
             limits {app} --memory-share SIZE"
        ),
        Rejection::NoMemory(refused @ OutOfMemory::Node { .. }) => format!(
            "{refused}; nothing was changed; push again later, or have the operator raise  picloud serve --memory"
        ),
        Rejection::TooManyRefs { would_be, limit } => format!(
            "the app would have {would_be} branches and tags, more than the limit of {limit}; delete some first, or have the operator raise \
             picloud serve --max-refs"
        ),
        Rejection::TooLarge { used, needed, limit, quota } => {
            let part = match limit < quota {
                true => format!(", of which previews can use {}", size(*limit)),
                false => String::new(),
            };
            format!(
                "the app uses {} of disk and the push needs {} more, but the limit is {}{part}; free space with  picloud apps prune {app}  or have \
                 an admin raise the limit with  picloud apps limits {app} --disk {}",
                size(*used),
                size(*needed),
                size(*quota),
                show_size(sufficient(*quota, used + needed))
            )
        }
        Rejection::TooManyPreviews { would_be, limit } => format!(
            "the app would have {would_be} previews, more than the limit of {limit}; delete a branch first, or have an admin raise the limit with  \
             picloud apps limits {app} --previews {would_be}"
        ),
        Rejection::UnknownApp => "app not found, and this token has no right to create it".to_owned(),
        Rejection::CreationDisabled => {
            format!(
                "app not found, and this server does not create apps on push; create it with  picloud apps create {app}"
            )
        }
        Rejection::Forbidden(right) => {
            let action = match right {
                Right::DeployProduction => "deploy to production",
                Right::DeployPreviews => "deploy previews",
                _ => "do this",
            };
            format!("this token cannot {action}; it needs the scope {}", right.scope(app))
        }
        Rejection::Secrets { reason } => printable(reason),
        Rejection::SecretUnset { name, environment } => {
            let flag = if *environment == Environment::Preview { " --preview" } else { "" };
            format!("secret {name} was unset meanwhile; set it with  picloud secrets set {name}{flag}  and push again")
        }
        Rejection::NonFastForward => {
            let scope = Right::ForcePush.scope(app);
            format!(
                "the branch is protected and the push is not a fast-forward; merge the live commit first, or push with a token that has the \
                 scope {scope}"
            )
        }
        Rejection::Git(diagnostic) => printable(&diagnostic.to_string()),
        Rejection::AnnotatedTag { tag, .. } => {
            let tag = printable(tag);
            format!("{tag} is an annotated tag, but a branch must point to a commit: push {tag}^{{}}")
        }
        Rejection::ShallowHistory(ShallowBoundary { missing, ends }) => format!(
            "the server does not have {}: its history starts at {}, which came from a shallow clone, and git does not send older \
             commits",
            short(*missing),
            abbreviated(ends)
        ),
        Rejection::Atomic => "another ref of this atomic push was rejected".to_owned(),
        Rejection::Unpack { reason, limit: None } => format!("unpack failed: {}", printable(reason)),
        Rejection::Unpack { reason, limit: Some(limit) } => {
            format!("{}; the operator can raise the limit with  picloud serve {}", printable(reason), flag(*limit))
        }
        Rejection::TooManyPushes => {
            "too many concurrent pushes of this token; nothing was changed; push again in a moment".to_owned()
        }
        Rejection::ReceiveTimeout { time, min_rate } => format!(
            "push timeout; nothing was changed; a push must arrive within {} s (picloud serve --push-timeout) and with at least {} a second \
             (--min-rate)",
            time.as_secs(),
            size(*min_rate)
        ),
        Rejection::OutcomeUnknown => {
            format!("{OUTCOME_UNKNOWN}; see  picloud deploys  or push again")
        }
        Rejection::Internal { incident } => {
            format!("internal error; nothing was changed; see {incident} in the log of the server")
        }
    }
}

/// The flag that sets a limit.
fn flag(limit: LimitKind) -> &'static str {
    match limit {
        LimitKind::RequestBytes => "--max-push-size",
        // A push cannot update more refs than an app can have.
        LimitKind::Commands => "--max-refs",
        LimitKind::Objects => "--max-push-objects",
        LimitKind::ObjectBytes => "--max-object-size",
        LimitKind::InflatedBytes => "--max-unpacked-size",
    }
}

/// The hints of a rejection.
fn hints(rejection: &Rejection) -> Vec<String> {
    match rejection {
        Rejection::ShallowHistory(ShallowBoundary { missing, ends }) => {
            let (missing, ends): (_, Vec<String>) =
                (short(*missing), ends.iter().copied().map(short).collect());
            let ends = ends.join(" ");
            vec![
                format!("revert with a new commit:  git revert --no-edit {missing}..HEAD"),
                format!(
                    "or push the older history from a full clone:  git rev-parse {ends} >.git/shallow && git push picloud \
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

/// Abbreviated commit ids.
fn abbreviated(commits: &[Oid]) -> String {
    commits.iter().copied().map(short).collect::<Vec<_>>().join(", ")
}

/// A sufficient limit, as a round number.
fn sufficient(granted: u64, needed: u64) -> u64 {
    (granted + 1).max(needed).checked_next_power_of_two().unwrap_or(u64::MAX).max(1 << 20)
}

/// The changes of a revision.
pub(crate) fn planned(Planned { plan, upcoming }: &Planned) -> String {
    let mut text = changes("domains", &plan.domains, |_| String::new());
    text += &changes("routes", &plan.routes, |_| String::new());
    text += &changes("schedules", &plan.schedules, |name| {
        let Some(due) = upcoming else { return "  disabled: a preview".to_owned() };
        let found = due.iter().find(|(schedule, _)| schedule.name.as_str() == name);
        let times: Vec<_> = found.into_iter().flat_map(|(_, times)| times.iter().map(clock)).collect();
        if times.is_empty() { String::new() } else { format!("  next {}", times.join(", ")) }
    });
    text += &changes("functions", &plan.functions, |_| String::new());
    text += &changes("libraries", &plan.libraries, |_| String::new());
    text += &changes("templates", &plan.templates, |_| String::new());
    text += &changes("env", &plan.env, |_| String::new());
    text += &changes("secrets", &plan.secrets, |_| String::new());
    text
}

fn changes(kind: &str, changes: &Changes, note: impl Fn(&str) -> String) -> String {
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
    let shown = &changes.entries[..changes.entries.len().min(CHANGES_SHOWN_MAX)];
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
        let note = if change.kind == ChangeKind::Removed { String::new() } else { note(&change.columns[0]) };
        text += &lines(format!("    {sign} {row}{note}").trim_end());
    }
    if changes.entries.len() > shown.len() {
        text += &lines(&format!("    {} more", changes.entries.len() - shown.len()));
    }
    text
}

/// A due time: only the time today, with the date later.
fn clock(due: &DateTime<Utc>) -> String {
    let today = due.date_naive() == now().date_naive();
    due.format(if today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" }).to_string()
}

fn step(name: &str, details: &str, took: Duration) -> String {
    lines(&format!("  {name:<9} {details:<40} {:>8}", ms(took)))
}

fn lines(text: &str) -> String {
    format!("{text}\n")
}

fn ms(took: Duration) -> String {
    format!("{} ms", took.as_millis())
}

/// The short name of a ref.
fn short_ref(name: &str) -> &str {
    name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/")).unwrap_or(name)
}

fn short(oid: Oid) -> String {
    oid.to_string().chars().take(7).collect()
}
