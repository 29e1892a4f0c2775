//! The receiver's trait for a repository on disk.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use git_receiver::{Object, ObjectId, ObjectInfo, Reference, Repository, RepositoryError};
use gix_object::bstr::ByteSlice as _;
use gix_object::{Exists as _, Find as _};
use gix_odb::Header as _;
use gix_ref::Target;

use crate::BoxError;
use crate::config::Config;
use crate::service::Service;

/// How many bytes of objects are in memory at once.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The longest chain of symbolic refs.
const SYMBOLIC_DEPTH_MAX: usize = 5;

/// A repository on disk, opened for one service, without the refs that are hidden from it. Reads block, which is acceptable
/// here.
pub(crate) struct DiskRepository {
    pub(crate) git_dir: PathBuf,
    pub(crate) config: Config,
    service: Service,
    head: Target,
    objects: Arc<gix_odb::Store>,
}

impl DiskRepository {
    /// Opens `dir`, which is a git directory, contains one in `.git`, or is or contains a `gitdir:` file.
    pub(crate) fn open(dir: &Path, service: Service) -> Result<Self, BoxError> {
        let candidates = ["/.git", "", ".git/.git", ".git"].map(|end| {
            let mut path = dir.as_os_str().to_owned();
            path.push(end);
            gitdir_target(Path::new(&path)).unwrap_or_else(|| PathBuf::from(path))
        });
        let git_dir = candidates
            .into_iter()
            .find(|path| path.join("HEAD").is_file() && path.join("objects").is_dir())
            .ok_or_else(|| format!("'{}' does not appear to be a git repository", dir.display()))?;
        let git_dir = fs::canonicalize(git_dir)?;
        let config = Config::read(&git_dir, service)?;
        let options = gix_odb::store::init::Options::default();
        let objects = gix_odb::Store::at_opts(
            git_dir.join("objects"),
            gix_hash::Kind::Sha1,
            &mut std::iter::empty(),
            options,
        )?;
        let head = ref_store(&git_dir, &config).find("HEAD")?.target;
        Ok(Self { git_dir, config, service, head, objects: Arc::new(objects) })
    }

    /// The current refs, including hidden ones.
    pub(crate) fn ref_store(&self) -> gix_ref::file::Store {
        ref_store(&self.git_dir, &self.config)
    }

    /// Whether a work tree has the branch checked out.
    pub(crate) fn is_checked_out(&self, branch: &str) -> bool {
        let own = !self.config.bare && self.head() == Some(branch);
        let trees = fs::read_dir(self.git_dir.join("worktrees")).into_iter().flatten().filter_map(Result::ok);
        own || trees.into_iter().any(|tree| {
            let head = fs::read_to_string(tree.path().join("HEAD")).unwrap_or_default();
            head.strip_prefix("ref:").is_some_and(|name| name.trim() == branch)
        })
    }

    /// The ref that a symbolic ref points to; `None` for other refs.
    pub(crate) fn symbolic_target(&self, name: &str) -> Option<String> {
        let store = self.ref_store();
        let mut target = None;
        for _ in 0..SYMBOLIC_DEPTH_MAX {
            let found = store.try_find(target.as_deref().unwrap_or(name)).ok().flatten();
            let Some(Target::Symbolic(next)) = found.map(|found| found.target) else { break };
            target = Some(next.as_bstr().to_string());
        }
        target
    }

    /// Whether the object is stored.
    pub(crate) fn has(&self, id: ObjectId) -> bool {
        self.objects.to_cache_arc().exists(&id)
    }

    /// Whether the commit `old` is reachable from the commit `new`.
    pub(crate) fn is_fast_forward(&self, old: ObjectId, new: ObjectId) -> Result<bool, BoxError> {
        let objects = self.objects.to_cache_arc();
        let ends: std::collections::HashSet<ObjectId> = self.shallow_commits()?.into_iter().collect();
        let mut seen = std::collections::HashSet::from([new]);
        let mut waiting = std::collections::VecDeque::from([new]);
        let mut content = Vec::new();
        while let Some(id) = waiting.pop_front() {
            if id == old {
                return Ok(true);
            }
            let found =
                objects.try_find(&id, &mut content)?.ok_or_else(|| format!("commit {id} is missing"))?;
            let parents =
                gix_object::CommitRefIter::from_bytes(found.data, gix_hash::Kind::Sha1).parent_ids();
            if !ends.contains(&id) {
                waiting.extend(parents.filter(|parent| seen.insert(*parent)));
            }
        }
        Ok(false)
    }

    fn shallow_commits(&self) -> Result<Vec<ObjectId>, BoxError> {
        match fs::read(self.git_dir.join("shallow")) {
            Ok(list) => {
                let ids = list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                Ok(ids.map(ObjectId::from_hex).collect::<Result<_, _>>()?)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn visible_refs(&self) -> Result<Vec<Reference>, BoxError> {
        let store = self.ref_store();
        let objects = self.objects.to_cache_arc();
        // As in git, a ref to a missing object can be deleted and is not fetched, except that a broken HEAD is not skipped.
        let is_shown = |name: &str, target: &ObjectId| {
            self.service == Service::ReceivePack || self.head() == Some(name) || objects.exists(target)
        };
        let mut found = Vec::new();
        // Like git, skip broken refs.
        for reference in store.iter()?.all()?.filter_map(Result::ok) {
            let name = reference.name.as_bstr().to_string();
            let mut target = reference.target;
            for _ in 0..SYMBOLIC_DEPTH_MAX {
                let Target::Symbolic(next) = &target else { break };
                let Ok(Some(next)) = store.try_find(next.as_ref().as_partial_name()) else { break };
                target = next.target;
            }
            if let Target::Object(target) = target
                && !self.config.hides(&name)
                && is_shown(&name, &target)
            {
                found.push(Reference { name, target });
            }
        }
        if let (Target::Object(target), Service::UploadPack) = (&self.head, self.service) {
            found.push(Reference { name: "HEAD".to_owned(), target: *target });
        }
        Ok(found)
    }
}

/// The path in a `gitdir: <path>` file.
fn gitdir_target(file: &Path) -> Option<PathBuf> {
    if !file.is_file() {
        return None;
    }
    let content = fs::read_to_string(file).ok()?;
    Some(file.parent()?.join(content.strip_prefix("gitdir: ")?.trim_end()))
}

fn ref_store(git_dir: &Path, config: &Config) -> gix_ref::file::Store {
    let options = gix_ref::store::init::Options { write_reflog: config.reflog, ..Default::default() };
    gix_ref::file::Store::at_opts(git_dir.to_owned(), gix_hash::Kind::Sha1, options)
}

impl Repository for DiskRepository {
    fn head(&self) -> Option<&str> {
        match &self.head {
            Target::Symbolic(name) => name.as_bstr().to_str().ok(),
            Target::Object(_) => None,
        }
    }

    async fn refs(&self) -> Result<Vec<Reference>, RepositoryError> {
        self.visible_refs().map_err(RepositoryError::unreadable)
    }

    async fn shallow(&self) -> Result<Vec<ObjectId>, RepositoryError> {
        self.shallow_commits().map_err(RepositoryError::unreadable)
    }

    async fn object_info(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, ObjectInfo>, RepositoryError> {
        let objects = self.objects.to_cache_arc();
        let mut known = HashMap::new();
        for id in ids {
            let header = objects.try_header(id).map_err(RepositoryError::unreadable)?;
            known.extend(header.map(|header| (*id, ObjectInfo { kind: header.kind(), depth: 0 })));
        }
        Ok(known)
    }

    async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        self.read_undeltified(ids, READ_BYTES_MAX)
    }

    async fn objects_and_bases(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        self.read_undeltified(ids, usize::MAX)
    }
}

impl DiskRepository {
    /// Those of `ids` that are stored, undeltified, up to about `limit` bytes of content.
    fn read_undeltified(&self, ids: &[ObjectId], limit: usize) -> Result<Vec<Object>, RepositoryError> {
        let store = self.objects.to_cache_arc();
        let mut objects = Vec::new();
        let mut content = Vec::new();
        let mut read = 0;
        for id in ids {
            let found = store.try_find(id, &mut content).map_err(RepositoryError::unreadable)?;
            if let Some(found) = found {
                read += found.data.len();
                let zlib = compress(found.data).map_err(RepositoryError::unreadable)?.into();
                let size = found.data.len() as u64;
                objects.push(Object { id: *id, kind: found.kind, base: None, depth: 0, size, zlib });
            }
            if read > limit {
                break;
            }
        }
        Ok(objects)
    }
}

fn compress(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content)?;
    encoder.finish()
}
