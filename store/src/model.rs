//! Apps, refs, objects, revisions, deploys and pushes.

use std::io;

use chrono::{DateTime, Utc};
use manifest_schema::name::{AppName, DomainName};
use uuid::Uuid;

use crate::audit::{Actor, AuditAction, AuditEvent};
use crate::domain::DomainProof;
use crate::gc::GcState;
use crate::id::{AppId, DeployNumber, Oid};
use crate::limits::AppLimits;
use crate::secret::Environment;
use crate::sql_types::{HexOid, Id, Named, Unsigned};

/// An app: a named git repository whose branches are deployed.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct App {
    /// Its id, which never changes.
    pub id: AppId,
    /// Its name.
    #[sqlx(try_from = "Named<AppName>")]
    pub name: AppName,
    /// The branch that is deployed to production.
    pub production_branch: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Changes with every push: a node that applied this generation is up to date.
    #[sqlx(flatten)]
    pub generation: Generation,
    /// Whether the production branch rejects non-fast-forward pushes without a special scope.
    pub protected: bool,
    /// Incremented when a secret is set or unset.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub secrets_generation: u64,
    /// Its own limits, which override the defaults of the server.
    #[sqlx(flatten)]
    pub limits: AppLimits,
    /// The number of its latest deploy, which may be deleted; 0: none yet.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub last_deploy: u64,
    /// Its disk usage in bytes ([`crate::disk`]).
    #[sqlx(try_from = "Unsigned<u64>")]
    pub disk_bytes: u64,
    /// When it was stopped; `None`: it is running.
    pub stopped_at: Option<DateTime<Utc>>,
    /// Who stopped it.
    pub stopped_by: Option<String>,
    /// Changes when garbage collection makes objects unreachable.
    #[sqlx(try_from = "Id")]
    pub gc_id: Uuid,
}

impl App {
    /// An app that does not exist yet.
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
            gc_id: Uuid::nil(),
        }
    }

    /// The state that garbage collection compares.
    pub fn gc_state(&self) -> GcState {
        GcState { generation: self.generation, gc_id: self.gc_id }
    }
}

/// The state of an app after a push. A restored database assigns numbers a second time: generations are equal only if
/// both number and id are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Generation {
    /// Incremented by every push.
    #[sqlx(rename = "generation", try_from = "Unsigned<u64>")]
    pub number: u64,
    /// Random, changes with every push.
    #[sqlx(rename = "generation_id", try_from = "Id")]
    pub id: Uuid,
}

/// A branch or a tag.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Ref {
    /// The full name, such as `refs/heads/main`.
    pub name: String,
    /// Its target.
    #[sqlx(try_from = "HexOid")]
    pub target: Oid,
}

/// The type of a git object.
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
    /// The name in rows and in git.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Commit, Self::Tree, Self::Blob, Self::Tag].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A git object as it was received: full, or a delta.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub oid: Oid,
    /// Its type, which is also that of its delta base.
    pub kind: ObjectKind,
    /// The delta base; `None`: the stream is the full object.
    pub base: Option<Oid>,
    /// The delta chain depth: 0 for a full object, 1 for a delta against one.
    pub depth: u32,
    /// The inflated size of the stream in bytes: of the object or of the delta.
    pub size: u64,
    /// The zlib stream, as in a pack.
    pub zlib: Vec<u8>,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({} bytes)", self.kind.as_str(), self.oid, self.size)?;
        self.base.map_or(Ok(()), |base| write!(f, " on {base}, depth {}", self.depth))
    }
}

/// Type and delta depth of a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its type.
    pub kind: ObjectKind,
    /// The delta chain depth.
    pub depth: u32,
}

/// The objects of a push, on disk or in memory: a pack may be larger than memory. A delta base can come after its
/// deltas.
pub trait Objects: Send + Sync + std::fmt::Debug {
    /// The number of objects.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the object with this index. The push holds the lock of the app meanwhile, so it should be fast.
    ///
    /// # Errors
    /// The object cannot be read.
    fn object(&self, index: usize) -> io::Result<Object>;

    /// The total size of the streams in bytes.
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

/// Objects in storage order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectScan {
    /// The objects, without large ones.
    pub objects: Vec<Object>,
    /// The position after them.
    pub next: u64,
}

/// A validated commit. Immutable.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct NewRevision {
    /// The commit.
    #[sqlx(rename = "commit_id")]
    pub commit: Oid,
    /// The SDK version it was validated against.
    pub sdk: String,
    /// The first line of the commit message.
    pub subject: String,
    /// The author of the commit.
    pub author: String,
    /// When it was validated.
    pub validated_at: DateTime<Utc>,
}

/// A stored revision.
pub type Revision = NewRevision;

/// A deploy: a revision that went live on a branch.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Deploy {
    /// Its number in the app.
    pub number: DeployNumber,
    /// The branch.
    pub branch: String,
    /// The commit of the revision.
    #[sqlx(rename = "commit_id")]
    pub commit: Oid,
    /// When it was created.
    #[sqlx(rename = "deployed_at")]
    pub at: DateTime<Utc>,
    /// Who created it.
    #[sqlx(rename = "deployed_by")]
    pub by: String,
    /// What created it, if not a push.
    pub cause: Option<String>,
    /// The message given with a rollback.
    pub message: Option<String>,
}

/// A deploy with the commit message and author of its revision.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ListedDeploy {
    /// The deploy.
    #[sqlx(flatten)]
    pub deploy: Deploy,
    /// The first line of the commit message.
    pub subject: String,
    /// The author of the commit.
    pub author: String,
}

/// Filters deploys.
#[derive(Clone, Debug, Default)]
pub struct DeployFilter {
    /// Only those of this branch.
    pub branch: Option<String>,
    /// Only those with a lower number.
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
    /// Whether schedules of a preview are enabled. Those of production always are.
    pub scheduled: bool,
    /// Whose secrets it reads. A preview that was pushed before preview secrets existed reads those of production.
    pub environment: Environment,
}

/// A ref update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefChange {
    /// The full name.
    pub name: String,
    /// The expected old target; `None`: the ref must not exist.
    pub old: Option<Oid>,
    /// The new target; `None`: the ref is deleted.
    pub new: Option<Oid>,
}

/// A deploy to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeploy {
    /// The branch.
    pub branch: String,
    /// The revision, stored before or with this push.
    pub commit: Oid,
}

/// Everything that a push changes.
#[derive(Clone, Debug)]
pub struct NewPush<'a> {
    /// The name of the app.
    pub app: AppName,
    /// Whether the app is created if it does not exist.
    pub may_create: bool,
    /// The id of the app if it is created.
    pub new_app: AppId,
    /// Who pushes.
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
    /// The receiving node, which needs no notification.
    pub node: Option<Uuid>,
    /// The ref updates.
    pub refs: Vec<RefChange>,
    /// The pushed objects. Those that are already stored are not replaced.
    pub objects: &'a dyn Objects,
    /// The app and its [`App::gc_id`] when the objects that the push depends on were found to exist; `None`: it
    /// depends on none.
    pub gc_id: Option<(AppId, Uuid)>,
    /// Pushed objects that no ref and no other object refers to. Garbage collection deletes them later.
    pub dangling: Vec<Oid>,
    /// New shallow commits: neither the client nor the app has their parents.
    pub shallow: Vec<Oid>,
    /// Shallow commits whose parents arrived with this push.
    pub unshallow: Vec<Oid>,
    /// The validated revisions. Those that are already stored are not replaced.
    pub revisions: Vec<NewRevision>,
    /// The deploys in the order of their numbers.
    pub deploys: Vec<NewDeploy>,
    /// The domains in the manifest of production; `None`: claims do not change.
    pub domains: Option<Vec<DomainName>>,
    /// Those domains that were verified, and how.
    pub proven: Vec<(DomainName, DomainProof)>,
    /// The secrets that must be set, with their environments.
    pub requires: Vec<(Environment, String)>,
    /// The message of the deploys.
    pub message: Option<String>,
    /// The limits that the push must not exceed.
    pub limits: PushLimits,
}

/// The limits of an app, enforced within the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushLimits {
    /// The maximum number of previews, checked when the push creates one.
    pub previews: usize,
    /// The disk quota in bytes, checked when the push has objects.
    pub disk_bytes: u64,
}

impl PushLimits {
    /// No limits.
    pub const NONE: Self = Self { previews: usize::MAX, disk_bytes: u64::MAX };
}

impl NewPush<'_> {
    /// The audit events of the push, in the order of its refs. `numbers` are those of its deploys.
    pub(crate) fn events(&self, created: bool, numbers: &[DeployNumber]) -> Vec<AuditEvent> {
        let event = |action, subject: &str| {
            let event = AuditEvent::new(&self.by, action, Some(&self.app), subject);
            AuditEvent { at: self.at, ..event }
        };
        let named = |oid: Option<Oid>| oid.map(|oid| oid.to_string());
        let moved = self.refs.iter().map(|change| {
            let made = self.deploys.iter().position(|deploy| deploy.branch == branch_of(&change.name));
            let deploy = made.and_then(|at| numbers.get(at).copied());
            let event = event(AuditAction::Push, &change.name).changing(named(change.old), named(change.new));
            AuditEvent { deploy, ..event }
        });
        created.then(|| event(AuditAction::AppCreate, self.app.as_str())).into_iter().chain(moved).collect()
    }
}

/// The branch of a ref; empty for a tag.
pub(crate) fn branch_of(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or_default()
}

/// The result of a committed push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushReceipt {
    /// The app.
    pub app: App,
    /// Whether the push created the app.
    pub created: bool,
    /// The numbers of the deploys, in the order of the push.
    pub deploys: Vec<DeployNumber>,
    /// Claimed domains that are not verified.
    pub pending: Vec<DomainName>,
}
