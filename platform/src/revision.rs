//! What a revision consists of, before it is given to an app: just checked, or read back from its commit.

use std::collections::{BTreeMap, BTreeSet};

use git_receiver::{ObjectId, Pack, ReadError, RepositoryError, Staged, TreeLimits};
use manifest_schema::limits::Ceiling;
use manifest_schema::manifest::{self, Manifest};
use manifest_schema::name::ScriptPath;
use manifest_schema::parse::{Surroundings, parse};
use runtime::{AppIdentity, Revision, RevisionError, Script};
use store::{App, Oid, Store, StoreError};

use crate::repository::{AppRepository, object_id};

/// What was taken in once is read back, whatever the limits are by now.
const UNBOUNDED: TreeLimits = TreeLimits { files: usize::MAX, depth: usize::MAX - 1, path_bytes: usize::MAX };

/// What a revision consists of, before it is given to an app.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What it declares.
    pub manifest: Manifest,
    /// The text of its scripts.
    pub sources: BTreeMap<ScriptPath, String>,
    /// Those of them that are compiled already.
    pub compiled: BTreeMap<ScriptPath, Script>,
}

impl Prepared {
    /// The parts of a revision that can be served.
    ///
    /// # Errors
    /// The routes cannot be laid out as a table.
    pub fn new(
        manifest: Manifest,
        sources: BTreeMap<ScriptPath, String>,
        compiled: BTreeMap<ScriptPath, Script>,
    ) -> Result<Self, RevisionError> {
        runtime::check_routes(&manifest)?;
        Ok(Self { manifest, sources, compiled })
    }

    /// Reads a stored revision from its commit. What was granted when it was pushed stays granted.
    ///
    /// # Errors
    /// The store cannot be read, the commit is no revision, or this server does not read its manifest any more.
    pub async fn load(store: &Store, app: &App, commit: Oid) -> Result<Self, LoadError> {
        store.revision(app.id, commit).await?.ok_or(LoadError::Absent)?;
        let repository = AppRepository::new(store.clone(), Some(app.clone()));
        let nothing = Pack::default();
        let staged = Staged::new(&repository, &nothing);
        let files: BTreeMap<String, ObjectId> = staged
            .files(object_id(commit), &UNBOUNDED)
            .await?
            .into_iter()
            .map(|file| (file.path, file.id))
            .collect();
        let id = *files.get(manifest::FILE_NAME).ok_or(LoadError::Absent)?;
        let text = staged.blobs(&[id], u64::MAX).await?.remove(&id).ok_or(ReadError::Missing(id))?;
        let scripts: BTreeSet<String> = files.keys().cloned().collect();
        let surroundings = Surroundings { ceiling: &Ceiling::UNBOUNDED, scripts: &scripts };
        let manifest = parse(&text, surroundings).map(|parsed| parsed.manifest).map_err(|refused| {
            let first = refused.faults.iter().next();
            LoadError::Manifest(first.map(|fault| fault.message.clone()).unwrap_or_default())
        })?;
        let named: BTreeMap<ScriptPath, ObjectId> = manifest
            .scripts()
            .into_iter()
            .filter_map(|path| Some((path.clone(), *files.get(path.as_str())?)))
            .collect();
        let ids: Vec<ObjectId> = named.values().copied().collect();
        let texts = staged.blobs(&ids, u64::MAX).await?;
        let mut sources = BTreeMap::new();
        for (path, id) in named {
            let text = texts.get(&id).ok_or(ReadError::Missing(id))?;
            sources.insert(path, String::from_utf8_lossy(text).into_owned());
        }
        Ok(Self::new(manifest, sources, BTreeMap::new())?)
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
        let staged = Staged::new(&repository, &nothing);
        let files = staged.files(object_id(commit), &UNBOUNDED).await?;
        let Some(file) = files.into_iter().find(|file| file.path == path) else { return Ok(None) };
        let text = staged.blobs(&[file.id], u64::MAX).await?.remove(&file.id);
        Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// The revision of `app` that it makes.
    ///
    /// # Errors
    /// The routes cannot be laid out as a table.
    pub fn into_revision(self, app: &App, commit: Oid) -> Result<Revision, RevisionError> {
        let identity = AppIdentity { id: app.id.as_uuid(), name: app.name.clone() };
        Revision::new(identity, commit.to_string(), self.manifest, self.sources, self.compiled)
    }
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
}

/// A database that fails while a commit is read is no fault of the commit.
impl From<ReadError> for LoadError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Repository(RepositoryError(source)) => match source.downcast::<StoreError>() {
                Ok(failed) => Self::Store(*failed),
                Err(source) => Self::Read(ReadError::Repository(RepositoryError(source))),
            },
            error => Self::Read(error),
        }
    }
}
