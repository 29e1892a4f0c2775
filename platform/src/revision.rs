//! Prepared revisions: the parts of a revision before activation, just checked or loaded from its commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use git_receiver::{ObjectId, Pack, QuarantineView, ReadError, RepositoryError, TreeLimits};
use manifest_schema::limits::Ceiling;
use manifest_schema::manifest::{self, Manifest};
use manifest_schema::name::ScriptPath;
use manifest_schema::parse::{ParseContext, parse};
use manifest_schema::sdk::SdkVersion;
use runtime::{
    AppIdentity, CountingAllocator, Revision, RevisionError, Source, TEMPLATE_FOLDER, Templates,
    imported_files,
};
use store::{App, AppId, Oid, Store, StoreError};

use crate::deploy::{RevisionContent, TEMPLATES_SINCE, is_template, link_loaded};
use crate::memory::{OutOfMemory, Purpose, Reservation};
use crate::repository::{AppRepository, object_id};
use crate::scripts::AppScripts;

/// Stored revisions are loaded independent of the current limits.
const UNBOUNDED: TreeLimits = TreeLimits { files: usize::MAX, depth: usize::MAX - 1, path_bytes: usize::MAX };

/// How many scripts are read per query: no more are in memory before it is reserved.
const SCRIPTS_PER_QUERY: usize = 8;

/// The memory of the manifest with its route table, relative to the parsed manifest.
const MANIFEST_MEMORY_FACTOR: u64 = 2;

/// The parts of a revision. Their memory is accounted for.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The manifest.
    pub manifest: Manifest,
    /// The scripts.
    pub sources: BTreeMap<ScriptPath, Arc<Source>>,
    /// The templates.
    pub templates: Templates,
    /// The app whose memory it uses.
    app: AppId,
    held: Arc<Reservation>,
}

impl Prepared {
    /// Creates a servable revision from a manifest with its memory size, and scripts.
    ///
    /// # Errors
    /// The routes conflict, or memory is short.
    pub fn new(
        (manifest, manifest_bytes): (Manifest, u64),
        sources: BTreeMap<ScriptPath, Arc<Source>>,
        scripts: &AppScripts,
    ) -> Result<Self, PrepareError> {
        runtime::check_routes(&manifest).map_err(RevisionError::from)?;
        let bytes = manifest_bytes.saturating_mul(MANIFEST_MEMORY_FACTOR);
        let held = Arc::new(scripts.account().try_reserve(Purpose::Sources, bytes)?);
        Ok(Self { manifest, sources, templates: Templates::new(), app: scripts.app(), held })
    }

    /// Loads a stored revision from its commit. Its limits are those of the push.
    ///
    /// # Errors
    /// The store cannot be read, the commit is no revision, its manifest is not supported any more, or memory
    /// is short.
    pub async fn load(
        store: &Store,
        app: &App,
        commit: Oid,
        scripts: &AppScripts,
    ) -> Result<Self, LoadError> {
        let repository = AppRepository::new(store.clone(), Some(app.clone()));
        let no_objects = Pack::default();
        let quarantine = QuarantineView::new(&repository, &no_objects);
        let (manifest, files) = read_manifest(store, app, commit, &quarantine).await?;
        let declared: Vec<ScriptPath> = manifest.0.scripts().into_iter().cloned().collect();
        let loaded = load_scripts(manifest.0.sdk, declared.clone(), &files, &quarantine, scripts).await?;
        let mut sources = BTreeMap::new();
        for path in declared {
            if let Some(source) = link_loaded(&loaded.sources, &loaded.imports, &path, scripts)? {
                sources.insert(path, source);
            }
        }
        let templates = load_templates(&manifest.0, &files, &quarantine, scripts).await?;
        Ok(Self { templates, ..Self::new(manifest, sources, scripts)? })
    }

    /// Loads the manifest of a stored revision, without its scripts.
    ///
    /// # Errors
    /// The store cannot be read, the commit is no revision, or its manifest is not supported any more.
    pub async fn manifest(store: &Store, app: &App, commit: Oid) -> Result<Manifest, LoadError> {
        let repository = AppRepository::new(store.clone(), Some(app.clone()));
        let no_objects = Pack::default();
        let ((manifest, _), _) =
            read_manifest(store, app, commit, &QuarantineView::new(&repository, &no_objects)).await?;
        Ok(manifest)
    }

    /// Loads one file of a stored commit, if it exists.
    ///
    /// # Errors
    /// The store cannot be read, or the commit is corrupt.
    pub async fn file(
        store: &Store,
        app: &App,
        commit: Oid,
        path: &str,
    ) -> Result<Option<String>, LoadError> {
        let repository = AppRepository::new(store.clone(), Some(app.clone()));
        let no_objects = Pack::default();
        let quarantine = QuarantineView::new(&repository, &no_objects);
        let files = quarantine.files(object_id(commit), &UNBOUNDED).await?;
        let Some(file) = files.into_iter().find(|file| file.path == path) else { return Ok(None) };
        let text = quarantine.blobs(&[file.id], u64::MAX).await?.remove(&file.id);
        Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// The number of libraries that its scripts import.
    pub fn libraries(&self) -> usize {
        let files = self.sources.values().flat_map(|source| source.libraries());
        files.map(|file| &file.path).collect::<BTreeSet<_>>().len()
    }

    /// Its declarations and files.
    pub(crate) fn content(&self) -> RevisionContent<'_> {
        RevisionContent { manifest: &self.manifest, sources: &self.sources, templates: &self.templates }
    }

    /// Whether its memory is accounted to this app.
    pub fn is_of(&self, app: &App) -> bool {
        self.app == app.id
    }

    /// Converts into a revision of `app`.
    ///
    /// # Errors
    /// The routes conflict.
    pub fn into_revision(self, app: &App, commit: Oid) -> Result<Revision, RevisionError> {
        let app = AppIdentity { id: app.id.as_uuid(), name: app.name.clone() };
        self.into_revision_of(app, commit.to_string())
    }

    /// Converts into a revision of an app without a store.
    pub(crate) fn into_revision_of(
        self,
        app: AppIdentity,
        commit: String,
    ) -> Result<Revision, RevisionError> {
        let revision = Revision::new(app, commit, self.manifest, self.sources, Some(Box::new(self.held)))?;
        Ok(revision.with_templates(self.templates))
    }
}

/// The scripts of a stored revision and their libraries.
struct LoadedScripts {
    sources: BTreeMap<ScriptPath, Arc<Source>>,
    imports: BTreeMap<ScriptPath, Vec<ScriptPath>>,
}

/// Reads scripts and everything that they import.
async fn load_scripts(
    sdk: SdkVersion,
    declared: Vec<ScriptPath>,
    files: &BTreeMap<String, ObjectId>,
    quarantine: &QuarantineView<'_, AppRepository>,
    scripts: &AppScripts,
) -> Result<LoadedScripts, LoadError> {
    let mut loaded = LoadedScripts { sources: BTreeMap::new(), imports: BTreeMap::new() };
    let mut open = declared;
    while !open.is_empty() {
        let named: BTreeMap<ScriptPath, ObjectId> =
            open.drain(..).filter_map(|path| Some((path.clone(), *files.get(path.as_str())?))).collect();
        let ids: BTreeSet<ObjectId> = named.values().copied().collect();
        let ids: Vec<ObjectId> = ids.into_iter().collect();
        let mut texts: BTreeMap<ObjectId, Arc<Source>> = BTreeMap::new();
        for ids in ids.chunks(SCRIPTS_PER_QUERY) {
            for (id, text) in quarantine.blobs(ids, u64::MAX).await? {
                texts.insert(id, scripts.source(&String::from_utf8_lossy(&text))?);
            }
        }
        for (path, id) in named {
            let source = Arc::clone(texts.get(&id).ok_or(ReadError::Missing(id))?);
            let imports: Vec<ScriptPath> =
                imported_files(sdk, source.text()).into_iter().map(|import| import.path).collect();
            open.extend(imports.iter().filter(|import| !loaded.sources.contains_key(*import)).cloned());
            loaded.imports.insert(path.clone(), imports);
            loaded.sources.insert(path, source);
        }
        open.retain(|path| !loaded.sources.contains_key(path));
    }
    Ok(loaded)
}

/// Loads the templates of a stored revision.
async fn load_templates(
    manifest: &Manifest,
    files: &BTreeMap<String, ObjectId>,
    quarantine: &QuarantineView<'_, AppRepository>,
    scripts: &AppScripts,
) -> Result<Templates, LoadError> {
    let mut templates = Templates::new();
    if manifest.sdk < TEMPLATES_SINCE {
        return Ok(templates);
    }
    let named: Vec<_> = files.iter().filter(|(path, _)| is_template(path)).collect();
    for named in named.chunks(SCRIPTS_PER_QUERY) {
        let ids: BTreeSet<ObjectId> = named.iter().map(|(_, id)| **id).collect();
        let texts = quarantine.blobs(&Vec::from_iter(ids), u64::MAX).await?;
        for (path, id) in named {
            let text = texts.get(*id).ok_or(ReadError::Missing(**id))?;
            let name = path.strip_prefix(TEMPLATE_FOLDER).unwrap_or(path);
            templates.insert(name.to_owned(), scripts.source(&String::from_utf8_lossy(text))?);
        }
    }
    Ok(templates)
}

/// Reads the manifest of a stored revision with its memory size, and the files of its commit.
async fn read_manifest(
    store: &Store,
    app: &App,
    commit: Oid,
    quarantine: &QuarantineView<'_, AppRepository>,
) -> Result<((Manifest, u64), BTreeMap<String, ObjectId>), LoadError> {
    store.revision(app.id, commit).await?.ok_or(LoadError::Absent)?;
    let files: BTreeMap<String, ObjectId> = quarantine
        .files(object_id(commit), &UNBOUNDED)
        .await?
        .into_iter()
        .map(|file| (file.path, file.id))
        .collect();
    let id = *files.get(manifest::FILE_NAME).ok_or(LoadError::Absent)?;
    let text = quarantine.blobs(&[id], u64::MAX).await?.remove(&id).ok_or(ReadError::Missing(id))?;
    let scripts: BTreeSet<String> = files.keys().cloned().collect();
    let context = ParseContext::new(&Ceiling::UNBOUNDED, &scripts);
    let (parsed, bytes) = measure_memory(|| parse(&text, context));
    let manifest = parsed.map(|parsed| parsed.manifest).map_err(|error| {
        let first = error.diagnostics.iter().next();
        LoadError::Manifest(first.map(|diagnostic| diagnostic.message.clone()).unwrap_or_default())
    })?;
    Ok(((manifest, bytes), files))
}

/// Runs `work` and measures the memory of its result in bytes.
pub(crate) fn measure_memory<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = CountingAllocator::allocated_bytes();
    let done = work();
    (done, u64::try_from(CountingAllocator::allocated_bytes() - before).unwrap_or(0))
}

/// Why a revision cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Its routes conflict.
    #[error(transparent)]
    Routes(#[from] RevisionError),
    /// Memory is short.
    #[error(transparent)]
    NoMemory(#[from] OutOfMemory),
}

/// Why a stored revision cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its commit is corrupt.
    #[error(transparent)]
    Read(ReadError),
    /// The revision is not in the store.
    #[error("the revision is not in the store")]
    Absent,
    /// Its manifest is not supported.
    #[error("this version cannot read the stored manifest: {0}")]
    Manifest(String),
    /// The secrets it requires cannot be decrypted.
    #[error("{0}")]
    Secrets(String),
    /// Loading panicked.
    #[error("loading panicked; see the log of the node")]
    Panicked,
    /// Its routes conflict.
    #[error(transparent)]
    Routes(#[from] RevisionError),
    /// Memory is short.
    #[error("{0}")]
    NoMemory(#[from] OutOfMemory),
}

impl From<PrepareError> for LoadError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Routes(error) => Self::Routes(error),
            PrepareError::NoMemory(error) => Self::NoMemory(error),
        }
    }
}

/// An error of the database while reading a commit is a store error.
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
