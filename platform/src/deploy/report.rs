//! The events and reports of a push. They are rendered as text by the caller.

use std::time::Duration;

use git_receiver::{Command, CommandError, FsckWarnings, LimitKind};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics};
use manifest_schema::name::DomainName;
use manifest_schema::sdk::SdkVersion;
use store::{Deploy, DeployNumber, Environment, Oid};
use tokio::sync::mpsc;

use super::domains::PendingDomain;
use super::plan::Planned;
use crate::memory::OutOfMemory;
use crate::nodes::Propagation;
use crate::tokens::Right;

/// Progress of a push.
#[derive(Clone, Debug)]
pub enum Event {
    /// A commit is being examined.
    Candidate {
        /// The branch it was pushed to.
        branch: String,
        /// The commit.
        commit: Oid,
        /// The first line of its message.
        subject: String,
        /// The author.
        author: String,
    },
    /// Its files were read.
    Read {
        /// The number of files in its tree.
        files: usize,
        /// The number of scripts.
        scripts: usize,
        /// The number of templates.
        templates: usize,
        /// The size of manifest, scripts and templates.
        bytes: u64,
        /// How long that took.
        took: Duration,
    },
    /// Its scripts were compiled.
    Compiled {
        /// The number of scripts.
        scripts: usize,
        /// The number of libraries that they import.
        libraries: usize,
        /// The number of templates.
        templates: usize,
        /// The sdk version.
        sdk: SdkVersion,
        /// How long that took.
        took: Duration,
    },
    /// Its `[[checks]]` ran.
    ChecksRun {
        /// The number of checks that passed.
        passed: usize,
        /// The number of checks that failed.
        failed: usize,
        /// How long that took.
        took: Duration,
    },
    /// The plan was computed.
    Planned(Planned),
    /// Errors and warnings.
    Diagnostics(Diagnostics),
    /// The commit has no manifest: the branch is stored and not served.
    NoManifest {
        /// The branch.
        branch: String,
    },
    /// Warnings of git's fsck about the pushed objects.
    Warnings(FsckWarnings),
    /// The push came from a shallow clone: the history on the server begins with these commits.
    ShallowHistory(Vec<Oid>),
    /// The first push went to a branch that is not the production branch.
    NotProductionBranch {
        /// The production branch.
        production: String,
    },
}

/// Sends the events of a push to the client. If the client disconnects before the commit, nothing is changed.
#[derive(Clone, Debug)]
pub struct EventSender(Option<mpsc::UnboundedSender<Event>>);

impl EventSender {
    /// A sender and its receiver.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// A sender that discards events.
    pub fn sink() -> Self {
        Self(None)
    }

    /// Whether the receiver is still there, or there never was one.
    pub(super) fn is_open(&self) -> bool {
        self.0.as_ref().is_none_or(|sender| !sender.is_closed())
    }

    /// Completes when the receiver is dropped.
    pub async fn closed(&self) {
        match &self.0 {
            Some(sender) => sender.closed().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn send(&self, event: Event) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(event);
        }
    }
}

/// The report on a push.
#[derive(Debug)]
pub struct PushReport {
    /// Whether its pack was unpacked, or reason the push was rejected.
    pub unpacked: Result<(), Rejection>,
    /// The report on each ref, in the order of the commands.
    pub reports: Vec<RefReport>,
}

/// The report on one ref of a push.
#[derive(Clone, Debug)]
pub struct RefReport {
    /// The full name of the ref.
    pub name: String,
    /// The outcome.
    pub outcome: Outcome,
}

impl RefReport {
    /// Whether the ref was rejected.
    pub(super) fn is_rejected(&self) -> bool {
        matches!(self.outcome, Outcome::Rejected(_))
    }

    /// Reports that reject all commands for the same reason.
    pub fn reject_all(commands: &[Command], rejection: &Rejection) -> Vec<Self> {
        let rejected = |command: &Command| Self {
            name: command.name.clone(),
            outcome: Outcome::Rejected(rejection.clone()),
        };
        commands.iter().map(rejected).collect()
    }
}

/// The outcome for one ref.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The production branch was updated and is served.
    Live(Activated),
    /// A preview branch was updated and is served.
    Preview(Activated),
    /// The ref was updated, and nothing is served for it.
    Stored,
    /// The ref already had this value.
    Unchanged,
    /// The ref was deleted, and its preview ended.
    Deleted,
    /// The commit would be accepted; nothing was changed.
    Checked,
    /// The ref was rejected.
    Rejected(Rejection),
}

/// A commit that went live on a branch.
#[derive(Clone, Debug)]
pub struct Activated {
    /// The branch.
    pub branch: String,
    /// The number of the deploy.
    pub deploy: DeployNumber,
    /// Whether an earlier push had validated the commit.
    pub previously_validated: bool,
    /// Whether it was, and the branch has state, which is not rolled back.
    pub keeps_state: bool,
    /// The previously live commit, for a rollback.
    pub previous: Option<Oid>,
    /// The state of the other nodes, in a cluster.
    pub propagation: Option<Propagation>,
    /// Whether the app is stopped and not served.
    pub stopped: bool,
    /// The claimed domains that are not verified yet, and not served.
    pub pending: Vec<PendingDomain>,
}

/// A push needs a commit before the shallow boundary of the app. git assumes that the server has the whole
/// history of its refs and does not send it.
#[derive(Clone, Debug)]
pub struct ShallowBoundary {
    /// The missing object.
    pub missing: Oid,
    /// The shallow commits, some of them if there are many.
    pub ends: Vec<Oid>,
}

/// Why a ref was rejected.
#[derive(Clone, Debug)]
pub enum Rejection {
    /// The commit is invalid; the diagnostics were sent as events.
    Diagnostics {
        /// The number of errors.
        errors: usize,
        /// The number of files with errors.
        files: usize,
        /// The first error.
        first: Option<Box<Diagnostic>>,
        /// The deploy that stays live.
        live: Option<DeployNumber>,
    },
    /// The production branch cannot be deleted.
    ProductionBranch,
    /// `refs/deploys/` belongs to the server.
    ReservedRef,
    /// Only branches and tags are supported.
    UnsupportedRef,
    /// Another branch has the same host name.
    AddressConflict {
        /// The other branch.
        with: String,
    },
    /// The ref was updated concurrently.
    Moved {
        /// Its current value.
        found: Option<Oid>,
        /// The deploy that updated it, if one did.
        by: Option<Deploy>,
    },
    /// Another app verified the domain concurrently.
    DomainTaken {
        /// The domain.
        domain: DomainName,
    },
    /// The lock of the app was held for too long by another push or change.
    Busy,
    /// No push permit became free in time.
    NoSlot,
    /// It was evicted from the queue by pushes of callers with fewer pushes.
    Evicted,
    /// The upload does not fit into the buffer next to other pushes of its token or app.
    NoBufferSpace,
    /// The check exceeded its time limit.
    CheckTimeout,
    /// The client disconnected before the commit.
    ClientDisconnected,
    /// The database is unavailable.
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The disk of the server is full.
    DiskFull,
    /// The node is out of memory to check or serve it.
    NoMemory(OutOfMemory),
    /// The app would exceed its limit of refs.
    TooManyRefs {
        /// The number it would have.
        would_be: usize,
        /// The limit.
        limit: usize,
    },
    /// The app would exceed its disk quota.
    TooLarge {
        /// The current size in bytes.
        used: u64,
        /// The size of the push in bytes.
        needed: u64,
        /// The quota for this push.
        limit: u64,
        /// The quota of the app, of which a part is reserved for production.
        quota: u64,
    },
    /// The app would exceed its limit of previews.
    TooManyPreviews {
        /// The number it would have.
        would_be: usize,
        /// The limit.
        limit: usize,
    },
    /// The app does not exist, and this token cannot create it.
    UnknownApp,
    /// The app does not exist, and this server does not create apps on push.
    CreationDisabled,
    /// The token lacks this right.
    Forbidden(Right),
    /// The secrets of the app cannot be decrypted, so that the push cannot be searched for them.
    Secrets {
        /// Why.
        reason: String,
    },
    /// A required secret was unset concurrently.
    SecretUnset {
        /// Its name.
        name: String,
        /// Its environment.
        environment: Environment,
    },
    /// The branch is protected, and the update is not a fast-forward.
    NonFastForward,
    /// The command violates git's rules.
    Git(CommandError),
    /// It is an annotated tag, and branches point to commits.
    AnnotatedTag {
        /// The name of the tag.
        tag: String,
        /// The branch.
        branch: String,
        /// Whether the branch exists.
        exists: bool,
    },
    /// The commit is before the shallow boundary of the app.
    ShallowHistory(ShallowBoundary),
    /// Another ref of an atomic push was rejected.
    Atomic,
    /// The pack cannot be unpacked.
    Unpack {
        /// Why, in git's terms.
        reason: String,
        /// The exceeded limit, if any.
        limit: Option<LimitKind>,
    },
    /// Too many concurrent pushes of its token.
    TooManyPushes,
    /// The upload timed out.
    ReceiveTimeout {
        /// The time limit.
        time: Duration,
        /// The minimum rate in bytes per second.
        min_rate: u64,
    },
    /// The outcome of the COMMIT is unknown.
    OutcomeUnknown,
    /// The push failed; the cause is in the server's log.
    Internal {
        /// The id of the log entry.
        incident: uuid::Uuid,
    },
}
