//! What is read and written.

use std::io;

use chrono::{DateTime, Utc};
use manifest_schema::name::{AppName, DomainName};
use uuid::Uuid;

use crate::audit::{Act, Actor, AuditAction};
use crate::collection::CollectionState;
use crate::column::{HexOid, Id, Named, Unsigned};
use crate::domain::DomainProof;
use crate::id::{AppId, DeployNumber, Oid};
use crate::limits::AppLimits;
use crate::secret::Environment;

/// A named repository and what it serves.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct App {
    /// What it is known by inside.
    pub id: AppId,
    /// What it is known by outside.
    #[sqlx(try_from = "Named<AppName>")]
    pub name: AppName,
    /// The branch that is served as the app itself.
    pub production_branch: String,
    /// When its first push came.
    pub created_at: DateTime<Utc>,
    /// Another one after every push: who has taken up this one serves what is to be served.
    #[sqlx(flatten)]
    pub generation: Generation,
    /// The production branch only goes forward, but for those who have the right to set it back.
    pub protected: bool,
    /// Raised whenever a secret is set or unset.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub secrets_generation: u64,
    /// What it is granted of its own.
    #[sqlx(flatten)]
    pub limits: AppLimits,
    /// The number of its latest deploy, which may be deleted by now; 0: it had none.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub last_deploy: u64,
    /// How many bytes of the disk it takes, by what pushes have left ([`crate::disk`]).
    #[sqlx(try_from = "Unsigned<u64>")]
    pub disk_bytes: u64,
    /// Since when it is stopped: nothing of it answers or runs.
    pub stopped_at: Option<DateTime<Utc>>,
    /// Who stopped it.
    pub stopped_by: Option<String>,
    /// Another one whenever objects of it were deleted.
    #[sqlx(rename = "collection_id", try_from = "Id")]
    pub collection: Uuid,
}

impl App {
    /// One that is not there yet.
    pub fn new(name: AppName, production_branch: &str) -> Self {
        Self {
            id: AppId::random(),
            name,
            production_branch: production_branch.to_owned(),
            created_at: Utc::now(),
            generation: Generation::default(),
            protected: false,
            secrets_generation: 0,
            limits: AppLimits::default(),
            last_deploy: 0,
            disk_bytes: 0,
            stopped_at: None,
            stopped_by: None,
            collection: Uuid::nil(),
        }
    }

    /// The state that it was read in.
    pub fn collection_state(&self) -> CollectionState {
        CollectionState { generation: self.generation, collection: self.collection }
    }
}

/// The state of an app after a push. Numbers grow, but a database that was set back gives them a second time: only the same
/// number with the same id is the same generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Generation {
    /// Raised by every push.
    #[sqlx(rename = "generation", try_from = "Unsigned<u64>")]
    pub number: u64,
    /// Random, another one with every push.
    #[sqlx(rename = "generation_id", try_from = "Id")]
    pub id: Uuid,
}

/// A branch or a tag.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Ref {
    /// The full name, such as `refs/heads/main`.
    pub name: String,
    /// What it points to.
    #[sqlx(try_from = "HexOid")]
    pub target: Oid,
}

/// The four kinds of git objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A commit.
    Commit,
    /// A tree.
    Tree,
    /// A blob.
    Blob,
    /// An annotated tag.
    Tag,
}

impl ObjectKind {
    /// The kind as rows and git have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Commit, Self::Tree, Self::Blob, Self::Tag].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A git object as it was received: whole, or as a delta on another one.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub oid: Oid,
    /// Its kind, which is that of its base too.
    pub kind: ObjectKind,
    /// The object that the stream is a delta on; `None`: the stream is the whole content.
    pub base: Option<Oid>,
    /// How many deltas lie under it: 0 for a whole one, 1 for a delta on a whole one.
    pub depth: u32,
    /// The bytes of what the stream inflates to: of the content, or of the delta.
    pub size: u64,
    /// The zlib stream, as a pack carries it.
    pub zlib: Vec<u8>,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({} bytes)", self.kind.as_str(), self.oid, self.size)?;
        self.base.map_or(Ok(()), |base| write!(f, " on {base}, depth {}", self.depth))
    }
}

/// What is known of a stored object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its kind.
    pub kind: ObjectKind,
    /// How many deltas lie under it.
    pub depth: u32,
}

/// The objects of a push, wherever they lie: a pack may be larger than memory.
///
/// A base may come after what builds on it.
pub trait Objects: Send + Sync + std::fmt::Debug {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them, counted from 0. It is read while the push holds the app, so it should not have to be waited for.
    ///
    /// # Errors
    /// It cannot be read.
    fn object(&self, index: usize) -> io::Result<Object>;

    /// The bytes of all their streams.
    fn stream_bytes(&self) -> u64;
}

impl Objects for Vec<Object> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn object(&self, index: usize) -> io::Result<Object> {
        self.get(index).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn stream_bytes(&self) -> u64 {
        self.iter().map(|object| object.zlib.len() as u64).sum()
    }
}

/// Some objects that were stored one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The objects, without those that are large.
    pub objects: Vec<Object>,
    /// The place behind them.
    pub next: u64,
}

/// A validated commit: immutable.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct NewRevision {
    /// The commit.
    #[sqlx(rename = "commit_id")]
    pub commit: Oid,
    /// The SDK contract it was validated against.
    pub sdk: String,
    /// The first line of the commit's message.
    pub subject: String,
    /// Who wrote the commit.
    pub author: String,
    /// When it was validated.
    pub validated_at: DateTime<Utc>,
}

/// A stored revision.
pub type Revision = NewRevision;

/// The act of making a revision live on a branch.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Deploy {
    /// Its number in the app.
    pub number: DeployNumber,
    /// The branch.
    pub branch: String,
    /// The revision's commit.
    #[sqlx(rename = "commit_id")]
    pub commit: Oid,
    /// When.
    #[sqlx(rename = "deployed_at")]
    pub at: DateTime<Utc>,
    /// By whom.
    #[sqlx(rename = "deployed_by")]
    pub by: String,
    /// What made it, where that was no push.
    pub because: Option<String>,
    /// What whoever made it said about it, where that was no push.
    pub message: Option<String>,
}

/// A deploy as it is listed to people.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ListedDeploy {
    /// The deploy.
    #[sqlx(flatten)]
    pub deploy: Deploy,
    /// The first line of the commit's message.
    pub subject: String,
    /// Who wrote the commit.
    pub author: String,
}

/// Which deploys are asked for.
#[derive(Clone, Debug, Default)]
pub struct DeployFilter {
    /// Those of this branch.
    pub branch: Option<String>,
    /// Those with a lower number.
    pub before: Option<DeployNumber>,
}

/// A branch that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBranch {
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// The revision it points to.
    pub commit: Oid,
    /// The deploy that made it live.
    pub deploy: DeployNumber,
    /// Whether its schedules were put on the clock; those of production are on it without that.
    pub scheduled: bool,
    /// Whose secrets it reads. A preview that was pushed before there were any of previews reads those of production.
    pub environment: Environment,
}

/// A ref to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefChange {
    /// The full name.
    pub name: String,
    /// Where it must point for the change to be made; `None`: it must not be there.
    pub old: Option<Oid>,
    /// Where it will point; `None`: it will be gone.
    pub new: Option<Oid>,
}

/// A deploy to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeploy {
    /// The branch.
    pub branch: String,
    /// The revision, stored before or with this push.
    pub commit: Oid,
}

/// All that a push changes.
#[derive(Clone, Debug)]
pub struct NewPush<'a> {
    /// The app's name.
    pub app: AppName,
    /// Whether it is created where it is unknown.
    pub may_create: bool,
    /// The id that it has then.
    pub new_app: AppId,
    /// Who pushes.
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
    /// The node that it is pushed to, which need not hear of it from others.
    pub node: Option<Uuid>,
    /// The refs to be moved.
    pub refs: Vec<RefChange>,
    /// The objects that came with it; those that are there already are left as they are.
    pub objects: &'a dyn Objects,
    /// The app, and its [`App::collection`] for which it was found that everything is there that the push builds on; `None`: it
    /// builds on nothing.
    pub collection: Option<(AppId, Uuid)>,
    /// Objects of it that nothing names, neither its refs nor its other objects: they and what only they reach are deleted later.
    pub loose: Vec<Oid>,
    /// The commits of it whose parents neither the client nor the app has.
    pub shallow: Vec<Oid>,
    /// The commits of the app that were such, and whose parents are all there with the push.
    pub unshallow: Vec<Oid>,
    /// The revisions that were validated; those that are there already are left as they are.
    pub revisions: Vec<NewRevision>,
    /// The deploys, in the order in which they are numbered.
    pub deploys: Vec<NewDeploy>,
    /// The domains that the app claims from now on, of what goes live in production; `None`: those that it claims.
    pub domains: Option<Vec<DomainName>>,
    /// Those of them that were proven to be its own, and how.
    pub proven: Vec<(DomainName, DomainProof)>,
    /// The secrets that have to be set for them, and for whom.
    pub requires: Vec<(Environment, String)>,
    /// What is said about its deploys.
    pub message: Option<String>,
    /// What it must not leave the app with more of.
    pub limits: PushLimits,
}

/// The most that a push can leave an app with. Exact, whoever else pushes meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushLimits {
    /// How many previews can be live, where the push makes a new one.
    pub previews: usize,
    /// How many bytes of the disk it can take, where the push brings objects.
    pub disk_bytes: u64,
}

impl PushLimits {
    /// No limits.
    pub const NONE: Self = Self { previews: usize::MAX, disk_bytes: u64::MAX };
}

impl NewPush<'_> {
    /// What it has done, once its deploys got these numbers, in the order of its refs.
    pub(crate) fn acts(&self, created: bool, numbers: &[DeployNumber]) -> Vec<Act> {
        let act = |action, subject: &str| {
            let act = Act::new(&self.by, action, Some(&self.app), subject);
            Act { at: self.at, ..act }
        };
        let named = |oid: Option<Oid>| oid.map(|oid| oid.to_string());
        let moved = self.refs.iter().map(|change| {
            let made = self.deploys.iter().position(|deploy| deploy.branch == branch_of(&change.name));
            let deploy = made.and_then(|at| numbers.get(at).copied());
            let act = act(AuditAction::Push, &change.name).changing(named(change.old), named(change.new));
            Act { deploy, ..act }
        });
        created.then(|| act(AuditAction::AppCreate, self.app.as_str())).into_iter().chain(moved).collect()
    }
}

/// The branch that a ref is, as deploys have it; no deploy has the one of a tag.
pub(crate) fn branch_of(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or_default()
}

/// What a committed push has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushReceipt {
    /// The app.
    pub app: App,
    /// Whether this push created it.
    pub created: bool,
    /// The numbers of the deploys, in the order of the push.
    pub deploys: Vec<DeployNumber>,
    /// The domains that it claims and does not hold.
    pub pending: Vec<DomainName>,
}
