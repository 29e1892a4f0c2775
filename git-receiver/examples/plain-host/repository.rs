//! A repository on disk, as the receiver reads it.

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

use crate::Failure;
use crate::service::Service;
use crate::settings::Settings;

/// How many bytes of objects are in memory at once.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many symbolic refs may lead to one another.
const SYMBOLIC_DEPTH_MAX: usize = 5;

/// A repository on disk, opened for one service: refs that are hidden from it are not there. Reading blocks; here that is
/// good enough.
pub(crate) struct DiskRepository {
    pub(crate) git_dir: PathBuf,
    pub(crate) settings: Settings,
    service: Service,
    head: Target,
    objects: Arc<gix_odb::Store>,
}

impl DiskRepository {
    /// Opens what is a git directory, or has one in `.git`, or is or has a file that says where one is.
    pub(crate) fn open(folder: &Path, service: Service) -> Result<Self, Failure> {
        let candidates = ["/.git", "", ".git/.git", ".git"].map(|end| {
            let mut path = folder.as_os_str().to_owned();
            path.push(end);
            named_elsewhere(Path::new(&path)).unwrap_or_else(|| PathBuf::from(path))
        });
        let git_dir = candidates
            .into_iter()
            .find(|path| path.join("HEAD").is_file() && path.join("objects").is_dir())
            .ok_or_else(|| format!("'{}' does not appear to be a git repository", folder.display()))?;
        let git_dir = fs::canonicalize(git_dir)?;
        let settings = Settings::read(&git_dir, service)?;
        let options = gix_odb::store::init::Options::default();
        let objects = gix_odb::Store::at_opts(
            git_dir.join("objects"),
            gix_hash::Kind::Sha1,
            &mut std::iter::empty(),
            options,
        )?;
        let head = ref_store(&git_dir, &settings).find("HEAD")?.target;
        Ok(Self { git_dir, settings, service, head, objects: Arc::new(objects) })
    }

    /// The refs as they are now, hidden ones among them.
    pub(crate) fn ref_store(&self) -> gix_ref::file::Store {
        ref_store(&self.git_dir, &self.settings)
    }

    /// Whether a work tree is on the branch.
    pub(crate) fn is_checked_out(&self, branch: &str) -> bool {
        let own = !self.settings.bare && self.head() == Some(branch);
        let trees = fs::read_dir(self.git_dir.join("worktrees")).into_iter().flatten().filter_map(Result::ok);
        own || trees.into_iter().any(|tree| {
            let head = fs::read_to_string(tree.path().join("HEAD")).unwrap_or_default();
            head.strip_prefix("ref:").is_some_and(|name| name.trim() == branch)
        })
    }

    /// The ref that a symbolic one leads to; `None` where it is none.
    pub(crate) fn symbolic_target(&self, name: &str) -> Option<String> {
        let store = self.ref_store();
        let mut led_to = None;
        for _ in 0..SYMBOLIC_DEPTH_MAX {
            let found = store.try_find(led_to.as_deref().unwrap_or(name)).ok().flatten();
            let Some(Target::Symbolic(next)) = found.map(|found| found.target) else { break };
            led_to = Some(next.as_bstr().to_string());
        }
        led_to
    }

    /// Whether the object is stored.
    pub(crate) fn has(&self, id: ObjectId) -> bool {
        self.objects.to_cache_arc().exists(&id)
    }

    /// Whether one leads from `new` back to `old`, both of them commits.
    pub(crate) fn is_fast_forward(&self, old: ObjectId, new: ObjectId) -> Result<bool, Failure> {
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

    fn shallow_commits(&self) -> Result<Vec<ObjectId>, Failure> {
        match fs::read(self.git_dir.join("shallow")) {
            Ok(list) => {
                let ids = list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                Ok(ids.map(ObjectId::from_hex).collect::<Result<_, _>>()?)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn visible_refs(&self) -> Result<Vec<Reference>, Failure> {
        let store = self.ref_store();
        let objects = self.objects.to_cache_arc();
        // As git has it: a ref to nothing can be deleted, is not fetched, and is not passed over where HEAD is on it.
        let is_shown = |name: &str, target: &ObjectId| {
            self.service == Service::ReceivePack || self.head() == Some(name) || objects.exists(target)
        };
        let mut found = Vec::new();
        // A broken ref is passed over, as git does it.
        for reference in store.iter()?.all()?.filter_map(Result::ok) {
            let name = reference.name.as_bstr().to_string();
            let mut target = reference.target;
            for _ in 0..SYMBOLIC_DEPTH_MAX {
                let Target::Symbolic(next) = &target else { break };
                let Ok(Some(next)) = store.try_find(next.as_ref().as_partial_name()) else { break };
                target = next.target;
            }
            if let Target::Object(target) = target
                && !self.settings.hides(&name)
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

/// What a file in a git directory's place says, `gitdir: <path>`.
fn named_elsewhere(file: &Path) -> Option<PathBuf> {
    if !file.is_file() {
        return None;
    }
    let said = fs::read_to_string(file).ok()?;
    Some(file.parent()?.join(said.strip_prefix("gitdir: ")?.trim_end()))
}

fn ref_store(git_dir: &Path, settings: &Settings) -> gix_ref::file::Store {
    let options = gix_ref::store::init::Options { write_reflog: settings.reflog, ..Default::default() };
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
        self.whole(ids, READ_BYTES_MAX)
    }

    async fn objects_and_bases(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        self.whole(ids, usize::MAX)
    }
}

impl DiskRepository {
    /// Those of the objects `ids` that are there, up to about `most` bytes of content, each whole.
    fn whole(&self, ids: &[ObjectId], most: usize) -> Result<Vec<Object>, RepositoryError> {
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
            if read > most {
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
