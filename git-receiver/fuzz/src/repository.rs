//! The repository that everything is sent to and asked of, in memory.

use std::collections::HashMap;
use std::sync::OnceLock;

use git_receiver::{Kind, Object, ObjectId, Reference, Repository, RepositoryError};

use super::promises::Accepted;
use super::recipe::Recipe;
use super::wire;

/// Two branches, one of them shallow, a tag of each kind, a folder, a link, a submodule, files long enough for deltas.
const BASE: &str = concat!(
    "blob\n# Greeter\n\nSays hello to whoever asks, and goodbye to whoever leaves.\n\n## Addresses\n\n",
    "- /hello answers with a greeting\n- /bye answers with a farewell\n- /time answers with the time of day\n",
    "\n%%\nblob\nfn hello(name) { `Hello, ${name}!` }\n",
    "\n%%\nblob\nsrc/hello.rhai",
    "\n%%\ntree\n100644 hello.rhai\0{1}",
    "\n%%\ntree\n100644 README.md\0{0}120000 latest\0{2}100755 run\0{1}40000 src\0{3}160000 vendor\0aaaaaaaaaaaaaaaaaaaa",
    "\n%%\ncommit\ntree {4}\nparent 6666666666666666666666666666666666666666\nauthor Ada <ada@example.org> 1700000000 +0100\n",
    "committer Ada <ada@example.org> 1700000000 +0100\n\nThe history before this one is elsewhere\n",
    "\n%%\ncommit\ntree {3}\nauthor Ada <ada@example.org> 1700000100 +0100\n",
    "committer Bob <bob@example.org> 1700000200 -0230\n\nBegin\n",
    "\n%%\ncommit\ntree {4}\nparent {6}\nauthor Ada <ada@example.org> 1700000300 +0100\n",
    "committer Ada <ada@example.org> 1700000300 +0100\n\nSay more\n",
    "\n%%\ntag\nobject {7}\ntype commit\ntag v1\ntagger Ada <ada@example.org> 1700000400 +0100\n\nFirst release\n",
    "\n%%\ntag\nobject {8}\ntype tag\ntag v1-again\ntagger Ada <ada@example.org> 1700000500 +0100\n\nThe same\n",
);

/// The refs of the base repository and the objects they point to.
const REFS: [(&str, usize); 7] = [
    ("refs/heads/main", 7),
    ("refs/heads/old", 6),
    ("refs/heads/shallow", 5),
    ("refs/tags/v1", 8),
    ("refs/tags/v1-again", 9),
    ("refs/tags/tree", 3),
    ("refs/tags/blob", 0),
];

/// The one of its commits whose parent is not there.
const SHALLOW: usize = 5;

/// A repository in memory.
#[derive(Clone, Default)]
pub struct Memory {
    objects: HashMap<ObjectId, Object>,
    refs: Vec<Reference>,
    shallow: Vec<ObjectId>,
    /// The names of its objects, in the order in which recipes count them.
    pub order: Vec<ObjectId>,
}

impl Memory {
    /// The repository of all inputs.
    pub fn base() -> &'static Self {
        static BASE_REPOSITORY: OnceLock<Memory> = OnceLock::new();
        BASE_REPOSITORY.get_or_init(|| {
            let recipe = Recipe::read(BASE.as_bytes(), &Self::default());
            let objects: Vec<Object> =
                recipe.objects().map(|(kind, content)| stored(kind, content)).collect();
            let order: Vec<ObjectId> = objects.iter().map(|object| object.id).collect();
            let refs = REFS.map(|(name, at)| Reference { name: name.to_owned(), target: order[at] }).to_vec();
            let shallow = vec![order[SHALLOW]];
            Self {
                objects: objects.into_iter().map(|object| (object.id, object)).collect(),
                refs,
                shallow,
                order,
            }
        })
    }

    /// This repository after an accepted push.
    pub fn with(&self, push: &Accepted) -> Self {
        let mut after = self.clone();
        after.objects.extend(push.objects.iter().map(|object| (object.id, object.clone())));
        after.refs.retain(|found| !push.moved.contains(&found.name));
        after.refs.extend(push.refs.iter().cloned());
        after.shallow.extend(&push.shallow);
        after
    }

    /// An object, if it is there.
    pub fn get(&self, id: &ObjectId) -> Option<&Object> {
        self.objects.get(id)
    }

    /// All its objects.
    pub fn all(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// What its refs point to.
    pub fn refs_now(&self) -> &[Reference] {
        &self.refs
    }

    /// The commits whose parents are not there.
    pub fn shallow_now(&self) -> &[ObjectId] {
        &self.shallow
    }
}

/// An object as a repository stores it.
pub fn stored(kind: Kind, content: &[u8]) -> Object {
    let zlib = wire::store(content).into();
    Object { id: wire::name(kind, content), kind, size: content.len() as u64, zlib }
}

impl Repository for Memory {
    fn head(&self) -> Option<&str> {
        Some("refs/heads/main")
    }

    async fn refs(&self) -> Result<Vec<Reference>, RepositoryError> {
        Ok(self.refs.clone())
    }

    async fn shallow(&self) -> Result<Vec<ObjectId>, RepositoryError> {
        Ok(self.shallow.clone())
    }

    async fn kinds(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, Kind>, RepositoryError> {
        Ok(ids.iter().filter_map(|id| Some((*id, self.objects.get(id)?.kind))).collect())
    }

    async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        Ok(ids.iter().filter_map(|id| self.objects.get(id).cloned()).collect())
    }
}
