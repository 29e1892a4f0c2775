//! What a push has to say, as values. The words are made where people read them.

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
use crate::nodes::Reach;
use crate::tokens::Right;

/// What happens while a push is worked on, told as it happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// A commit of the push is looked at.
    Candidate {
        /// The ref it was pushed to, without `refs/heads/`.
        branch: String,
        /// The commit.
        commit: Oid,
        /// The first line of its message.
        subject: String,
        /// Who wrote it.
        author: String,
    },
    /// Its files were read.
    Read {
        /// How many files its tree has.
        files: usize,
        /// How many of them are scripts.
        scripts: usize,
        /// The bytes of manifest and scripts.
        bytes: u64,
        /// How long that took.
        took: Duration,
    },
    /// Its scripts were compiled.
    Compiled {
        /// How many.
        scripts: usize,
        /// Against which contract.
        sdk: SdkVersion,
        /// How long that took.
        took: Duration,
    },
    /// What it would change about what is live.
    Planned(Planned),
    /// What is wrong with it, or worth a look.
    Diagnostics(Diagnostics),
    /// Nothing on the ref's branch is served, and why it is stored all the same.
    NoManifest {
        /// The branch.
        branch: String,
    },
    /// What git's fsck warns of in the objects of the push.
    Warnings(FsckWarnings),
    /// The push came from a shallow clone, and the history that the server has begins with these commits.
    HistoryEnds(Vec<Oid>),
    /// A first push went to a branch that is not production.
    ProductionIsElsewhere {
        /// The production branch.
        production: String,
    },
}

/// Where the events of a push go. If the client leaves before anything is changed, nothing is.
#[derive(Clone, Debug)]
pub struct Tell(Option<mpsc::UnboundedSender<Event>>);

impl Tell {
    /// A teller and what it tells.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// For what is done whether or not anybody listens.
    pub fn to_nobody() -> Self {
        Self(None)
    }

    /// Whether somebody listens still, or nobody has to.
    pub(super) fn is_heard(&self) -> bool {
        self.0.as_ref().is_none_or(|listener| !listener.is_closed())
    }

    /// Ends when the client has left.
    pub async fn unheard(&self) {
        match &self.0 {
            Some(listener) => listener.closed().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn send(&self, event: Event) {
        if let Some(listener) = &self.0 {
            let _ = listener.send(event);
        }
    }
}

/// What became of a push.
#[derive(Debug)]
pub struct Deployed {
    /// Whether its pack was unpacked; otherwise why all of it is rejected.
    pub unpacked: Result<(), Rejection>,
    /// What became of each ref, in the order of the commands.
    pub verdicts: Vec<Verdict>,
}

/// What became of one ref of a push.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The full name of the ref.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

impl Verdict {
    /// Whether nothing was done.
    pub(super) fn is_rejected(&self) -> bool {
        matches!(self.outcome, Outcome::Rejected(_))
    }

    /// The verdicts on a push of which nothing is carried out, all for the same reason.
    pub fn reject_all(commands: &[Command], rejection: &Rejection) -> Vec<Self> {
        let rejected = |command: &Command| Self {
            name: command.name.clone(),
            outcome: Outcome::Rejected(rejection.clone()),
        };
        commands.iter().map(rejected).collect()
    }
}

/// Exactly one of these for each ref.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The production branch points to the commit and it is served.
    Live(Activated),
    /// Another branch points to the commit and it is served at the branch's own address.
    Preview(Activated),
    /// The ref was kept, and nothing is served for it.
    Stored,
    /// The ref is there already, and just so.
    Unchanged,
    /// The ref is gone, and with it its preview if it had one.
    Deleted,
    /// The commit would be accepted; nothing was changed.
    Checked,
    /// Nothing was changed, and why.
    Rejected(Rejection),
}

/// A commit that went live on a branch.
#[derive(Clone, Debug)]
pub struct Activated {
    /// The branch.
    pub branch: String,
    /// The number of the deploy.
    pub deploy: DeployNumber,
    /// Whether the commit had been validated by an earlier push.
    pub validated_before: bool,
    /// The commit that was live before, to go back to.
    pub before: Option<Oid>,
    /// How far it has come among the nodes, where there may be several.
    pub reach: Option<Reach>,
    /// Whether the app is stopped, so that nothing of it answers.
    pub stopped: bool,
    /// The domains that it names and does not answer at before they are proven to be its own.
    pub pending: Vec<PendingDomain>,
}

/// Where the history of an app ends before something that a push needs. git sends nothing from before what a server has, and takes
/// it to be there.
#[derive(Clone, Debug)]
pub struct HistoryEnd {
    /// What is not there.
    pub missing: Oid,
    /// The commits at which it ends, some of them if they are many: they were pushed from shallow clones.
    pub ends: Vec<Oid>,
}

/// Why a ref was not moved.
#[derive(Clone, Debug)]
pub enum Rejection {
    /// The commit breaks the contract; the diagnostics were told.
    Diagnostics {
        /// How many errors.
        errors: usize,
        /// In how many files.
        files: usize,
        /// The first of them.
        first: Option<Box<Diagnostic>>,
        /// The deploy that goes on being served.
        live: Option<DeployNumber>,
    },
    /// The production branch cannot be deleted.
    ProductionBranch,
    /// `refs/deploys/` belongs to the server.
    DeployRef,
    /// Only branches and tags are kept.
    OtherRef,
    /// Another branch has the address that this one would get.
    SharedAddress {
        /// The other branch.
        with: String,
    },
    /// The ref was moved by someone else meanwhile.
    Moved {
        /// Where it points now.
        found: Option<Oid>,
        /// The deploy that moved it, where one did.
        by: Option<Deploy>,
    },
    /// Another app has proven meanwhile that the domain is its own.
    DomainTaken {
        /// The domain.
        domain: DomainName,
    },
    /// Another push to the app, or another change of it, holds its lock for too long.
    Busy,
    /// Other pushes are worked on, and none of them has ended in time.
    NoSlot,
    /// It waited, and pushes of others who have fewer wanted its place.
    GaveWay,
    /// There is no room for its bytes beside other pushes of its token or its app.
    NoRoomBeside,
    /// Its commits take too long to be looked at.
    TooLong,
    /// The client has hung up before anything was changed.
    Unheard,
    /// The database cannot be asked now.
    Unavailable {
        /// Why.
        why: String,
    },
    /// The server has no room for it.
    DiskFull,
    /// The node has no memory to check it, or to serve it.
    NoMemory(OutOfMemory),
    /// The app would have more refs than it may have.
    TooManyRefs {
        /// How many it would have.
        would_be: usize,
        /// How many it may have.
        most: usize,
    },
    /// The app would take more of the disk than it is granted.
    TooLarge {
        /// How many bytes it takes.
        used: u64,
        /// How many the push would take.
        needed: u64,
        /// How many the app can take by such a push.
        most: u64,
        /// How many it is granted: the last part of it is for production.
        granted: u64,
    },
    /// The app would have more previews than it is granted.
    TooManyPreviews {
        /// How many it would have.
        would_be: usize,
        /// How many it can have.
        most: usize,
    },
    /// The app does not exist, and this token may not create it.
    UnknownApp,
    /// The app does not exist, and this server creates none on a push.
    CreationOff,
    /// The token may not do this.
    Forbidden(Right),
    /// The secrets of the app cannot be opened, so that nobody knows what the push may not hold.
    Secrets {
        /// Why.
        why: String,
    },
    /// A secret that the commit needs was unset meanwhile.
    SecretUnset {
        /// Its name.
        name: String,
        /// For whom it was set.
        environment: Environment,
    },
    /// The branch is protected, and the commit does not follow the one that it is at.
    NotForward,
    /// git's own rules forbid it.
    Git(CommandError),
    /// It is an annotated tag, and a branch points to a commit.
    AnnotatedTag {
        /// What it is called.
        tag: String,
        /// The branch.
        branch: String,
        /// Whether the branch is there already.
        exists: bool,
    },
    /// The commit is not there, since the history that the server has does not go back that far.
    HistoryEnds(HistoryEnd),
    /// Another ref of an atomic push was rejected.
    Atomic,
    /// What was sent cannot be unpacked.
    Unpack {
        /// Why, in git's words.
        why: String,
        /// The limit that it is beyond, where that is why.
        limit: Option<LimitKind>,
    },
    /// More pushes of its token are on their way than can be.
    TooManyPushes,
    /// It did not arrive in time.
    TooSlow {
        /// How long it could take.
        time: Duration,
        /// How many bytes a second had to come at least.
        min_rate: u64,
    },
    /// The database did not say whether it has committed the push.
    OutcomeUnknown,
    /// The store failed; the cause is in the server's log under this number.
    Internal {
        /// To be found in the log.
        incident: uuid::Uuid,
    },
}
