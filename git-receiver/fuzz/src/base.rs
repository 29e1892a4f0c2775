//! The repository that all inputs are sent to.

use std::sync::OnceLock;

use git_receiver::Reference;

use super::recipe::Recipe;
use super::repository::{DecodedObject, MemoryRepository};

/// Two branches, one of them shallow, tags of every kind, a directory, a symbolic link, a submodule, and files long enough
/// for deltas.
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

/// The refs and the indices of their targets.
const REFS: [(&str, usize); 7] = [
    ("refs/heads/main", 7),
    ("refs/heads/old", 6),
    ("refs/heads/shallow", 5),
    ("refs/tags/v1", 8),
    ("refs/tags/v1-again", 9),
    ("refs/tags/tree", 3),
    ("refs/tags/blob", 0),
];

/// The index of the shallow commit.
const SHALLOW: usize = 5;

/// The repository that all inputs are sent to.
pub fn base() -> &'static MemoryRepository {
    static BASE_REPOSITORY: OnceLock<MemoryRepository> = OnceLock::new();
    BASE_REPOSITORY.get_or_init(|| {
        let recipe = Recipe::read(BASE.as_bytes(), &MemoryRepository::default());
        let objects: Vec<DecodedObject> =
            recipe.objects().map(|(kind, content)| DecodedObject::new(kind, content)).collect();
        let reference =
            |(name, at): (&str, usize)| Reference { name: name.to_owned(), target: objects[at].id };
        let refs = REFS.map(reference).to_vec();
        let shallow = vec![objects[SHALLOW].id];
        MemoryRepository::of(objects, refs, shallow)
    })
}
