//! What a revision consists of, before it is given to an app: just checked, or read back from its commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use git_receiver::{ObjectId, Pack, QuarantineView, ReadError, RepositoryError, TreeLimits};
use manifest_schema::limits::Ceiling;
use manifest_schema::manifest::{self, Manifest};
use manifest_schema::name::ScriptPath;
use manifest_schema::parse::{ParseContext, parse};
use runtime::{AppIdentity, CountingAllocator, Revision, RevisionError, Source};
use store::{App, AppId, Oid, Store, StoreError};

use crate::memory::{OutOfMemory, Purpose, Reservation};
use crate::repository::{AppRepository, object_id};
use crate::scripts::AppScripts;

/// What was taken in once is read back, whatever the limits are by now.
const UNBOUNDED: TreeLimits = TreeLimits { files: usize::MAX, depth: usize::MAX - 1, path_bytes: usize::MAX };

/// How many scripts are read at once: no more than that are held before it is known whether there is room for them.
const SCRIPTS_AT_ONCE: usize = 8;

/// What routes and the entries of scripts take, for each byte that a manifest takes.
const BYTES_PER_MANIFEST_BYTE: u64 = 2;

/// What a revision consists of, before it is given to an app. Its memory is counted.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What it declares.
    pub manifest: Manifest,
    /// Its scripts.
    pub sources: BTreeMap<ScriptPath, Arc<Source>>,
    /// Whose memory it takes.
    app: AppId,
    held: Arc<Reservation>,
}

impl Prepared {
    /// The parts of a revision that can be served; its manifest takes so many bytes of memory.
    ///
    /// # Errors
    /// The routes cannot be laid out as a table, or there is no room for it.
    pub fn new(
        (manifest, manifest_bytes): (Manifest, u64),
        sources: BTreeMap<ScriptPath, Arc<Source>>,
        scripts: &AppScripts,
    ) -> Result<Self, PrepareError> {
        runtime::check_routes(&manifest).map_err(RevisionError::from)?;
        let bytes = manifest_bytes.saturating_mul(BYTES_PER_MANIFEST_BYTE);
        let held = Arc::new(scripts.account().try_reserve(Purpose::Sources, bytes)?);
        Ok(Self { manifest, sources, app: scripts.app(), held })
    }

    /// Reads a stored revision from its commit. What was granted when it was pushed stays granted.
    ///
    /// # Errors
    /// The store cannot be read, the commit is no revision, this server does not read its manifest any more, or there is no room
    /// for it.
    pub async fn load(
        store: &Store,
        app: &App,
        commit: Oid,
        scripts: &AppScripts,
    ) -> Result<Self, LoadError> {
        let repository = AppRepository::new(store.clone(), Some(app.clone()));
        let nothing = Pack::default();
        let view = QuarantineView::new(&repository, &nothing);
        let (manifest, files) = read_manifest(store, app, commit, &view).await?;
        let named: Vec<(ScriptPath, ObjectId)> = manifest
            .0
            .scripts()
            .into_iter()
            .filter_map(|path| Some((path.clone(), *files.get(path.as_str())?)))
            .collect();
        let ids: BTreeSet<ObjectId> = named.iter().map(|(_, id)| *id).collect();
        let ids: Vec<ObjectId> = ids.into_iter().collect();
        let mut texts: BTreeMap<ObjectId, Arc<Source>> = BTreeMap::new();
        for ids in ids.chunks(SCRIPTS_AT_ONCE) {
            for (id, text) in view.blobs(ids, u64::MAX).await? {
                texts.insert(id, scripts.source(&String::from_utf8_lossy(&text))?);
            }
        }
        let mut sources = BTreeMap::new();
        for (path, id) in named {
            sources.insert(path, Arc::clone(texts.get(&id).ok_or(ReadError::Missing(id))?));
        }
        Ok(Self::new(manifest, sources, scripts)?)
    }

    /// What a stored revision declares, without its scripts.
    ///
    /// # Errors
    /// The store cannot be read, the commit is no revision, or this server does not read its manifest any more.
    pub async fn manifest(store: &Store, app: &App, commit: Oid) -> Result<Manifest, LoadError> {
        let repository = AppRepository::new(store.clone(), Some(app.clone()));
        let nothing = Pack::default();
        let ((manifest, _), _) =
            read_manifest(store, app, commit, &QuarantineView::new(&repository, &nothing)).await?;
        Ok(manifest)
    }

    /// The text of one file of a stored commit, where it is there.
    ///
    /// # Errors
    /// The store cannot be read, or the commit is not what it should be.
    pub async fn file(
        store: &Store,
        app: &App,
        commit: Oid,
        path: &str,
    ) -> Result<Option<String>, LoadError> {
        let repository = AppRepository::new(store.clone(), Some(app.clone()));
        let nothing = Pack::default();
        let view = QuarantineView::new(&repository, &nothing);
        let files = view.files(object_id(commit), &UNBOUNDED).await?;
        let Some(file) = files.into_iter().find(|file| file.path == path) else { return Ok(None) };
        let text = view.blobs(&[file.id], u64::MAX).await?.remove(&file.id);
        Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// Whether its memory is counted for that app.
    pub fn is_of(&self, app: &App) -> bool {
        self.app == app.id
    }

    /// The revision of `app` that it makes.
    ///
    /// # Errors
    /// The routes cannot be laid out as a table.
    pub fn into_revision(self, app: &App, commit: Oid) -> Result<Revision, RevisionError> {
        let app = AppIdentity { id: app.id.as_uuid(), name: app.name.clone() };
        self.into_revision_of(app, commit.to_string())
    }

    /// The same where there is no store.
    pub(crate) fn into_revision_of(
        self,
        app: AppIdentity,
        commit: String,
    ) -> Result<Revision, RevisionError> {
        Revision::new(app, commit, self.manifest, self.sources, Some(Box::new(self.held)))
    }
}

/// The manifest of a stored revision with the bytes of memory that it takes, and the files of its commit.
async fn read_manifest(
    store: &Store,
    app: &App,
    commit: Oid,
    view: &QuarantineView<'_, AppRepository>,
) -> Result<((Manifest, u64), BTreeMap<String, ObjectId>), LoadError> {
    store.revision(app.id, commit).await?.ok_or(LoadError::Absent)?;
    let files: BTreeMap<String, ObjectId> = view
        .files(object_id(commit), &UNBOUNDED)
        .await?
        .into_iter()
        .map(|file| (file.path, file.id))
        .collect();
    let id = *files.get(manifest::FILE_NAME).ok_or(LoadError::Absent)?;
    let text = view.blobs(&[id], u64::MAX).await?.remove(&id).ok_or(ReadError::Missing(id))?;
    let scripts: BTreeSet<String> = files.keys().cloned().collect();
    let context = ParseContext { ceiling: &Ceiling::UNBOUNDED, scripts: &scripts };
    let (parsed, bytes) = measured(|| parse(&text, context));
    let manifest = parsed.map(|parsed| parsed.manifest).map_err(|refused| {
        let first = refused.diagnostics.iter().next();
        LoadError::Manifest(first.map(|diagnostic| diagnostic.message.clone()).unwrap_or_default())
    })?;
    Ok(((manifest, bytes), files))
}

/// What comes of `work`, and how many bytes of memory that takes.
pub(crate) fn measured<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = CountingAllocator::allocated_bytes();
    let done = work();
    (done, u64::try_from(CountingAllocator::allocated_bytes() - before).unwrap_or(0))
}

/// Why a revision cannot be prepared to be served.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Its routes cannot be laid out.
    #[error(transparent)]
    Routes(#[from] RevisionError),
    /// There is no room for it.
    #[error(transparent)]
    NoMemory(#[from] OutOfMemory),
}

/// Why a stored revision cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its commit is not what it should be.
    #[error(transparent)]
    Read(ReadError),
    /// The revision is not there.
    #[error("the revision is not in the store")]
    Absent,
    /// Its manifest is not understood.
    #[error("this server does not understand the stored manifest: {0}")]
    Manifest(String),
    /// The secrets that it reads cannot be opened.
    #[error("{0}")]
    Secrets(String),
    /// Loading it panicked.
    #[error("loading it panicked; the log of the node has the message")]
    Panicked,
    /// Its routes cannot be laid out.
    #[error(transparent)]
    Routes(#[from] RevisionError),
    /// There is no room for it.
    #[error("no memory for it: {0}")]
    NoMemory(#[from] OutOfMemory),
}

impl From<PrepareError> for LoadError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Routes(error) => Self::Routes(error),
            PrepareError::NoMemory(refused) => Self::NoMemory(refused),
        }
    }
}

/// A database that fails while a commit is read is no fault of the commit.
impl From<ReadError> for LoadError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Repository(RepositoryError::Unreadable(source)) => {
                match source.downcast::<StoreError>() {
                    Ok(failed) => Self::Store(*failed),
                    Err(source) => Self::Read(RepositoryError::Unreadable(source).into()),
                }
            }
            error => Self::Read(error),
        }
    }
}
