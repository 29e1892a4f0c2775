//! Rejects pushes that contain the value of a secret: it would be in every clone, in API responses and in
//! every backup.
//!
//! SearchCache are all files of the commit and their paths, all pushed objects (also commits, tags and file
//! names of earlier commits), and ref names. Diagnostics name the location and never the value.

use std::collections::{BTreeSet, HashMap};

use git_receiver::{
    FileKind, Kind, ObjectId, Pack, QuarantineView, ReadError, Repository, TreeLimits, tree_entry_names,
};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics};

use super::deadline::PushDeadline;
use super::leak_search::{Leak, LeakSearch};
use super::report::Rejection;

/// How many objects are searched between two checks of the time limit.
const BATCH_OBJECTS: usize = 64;

/// The objects searched so far, so that each is searched once per push.
#[derive(Debug, Default)]
pub(super) struct SearchCache {
    found: HashMap<ObjectId, Option<ObjectLeak>>,
}

/// A leak in an object.
#[derive(Clone, Debug)]
struct ObjectLeak {
    kind: Kind,
    line: usize,
    /// Whether it is in a header of a commit or tag.
    in_header: bool,
    secret: String,
}

/// Diagnostics for the leaks in `commit`, if given, and in all pushed objects.
///
/// # Errors
/// The repository cannot be read.
pub(super) async fn leaks<R: Repository>(
    quarantine: &QuarantineView<'_, R>,
    pack: &Pack,
    commit: Option<(ObjectId, &TreeLimits)>,
    search: &LeakSearch,
    searched: &mut SearchCache,
    deadline: &PushDeadline,
) -> Result<Result<Diagnostics, Rejection>, ReadError> {
    let mut diagnostics = Diagnostics::default();
    if search.is_empty() {
        return Ok(Ok(diagnostics));
    }
    let files = match commit {
        Some((commit, limits)) => match quarantine.files(commit, limits).await {
            // Reported when the files are read.
            Err(ReadError::Limit(_)) => Vec::new(),
            files => files?,
        },
        None => Vec::new(),
    };
    let mut paths: HashMap<ObjectId, Vec<String>> = HashMap::new();
    let mut found = BTreeSet::new();
    for file in files {
        match search.find(file.path.as_bytes()) {
            Some(leak) => drop(found.insert(("the path of a file".to_owned(), leak.secret.to_owned()))),
            None if file.kind != FileKind::Submodule => paths.entry(file.id).or_default().push(file.path),
            None => {}
        }
    }
    let new = |id: &ObjectId| !searched.found.contains_key(id);
    let ids: Vec<ObjectId> = paths.keys().copied().chain(pack.ids()).filter(new).collect();
    for batch in ids.chunks(BATCH_OBJECTS) {
        if let Err(rejection) = deadline.check() {
            return Ok(Err(rejection));
        }
        let visit = |id, kind, content: &[u8]| {
            searched.found.insert(id, search_object(search, kind, content));
        };
        quarantine.each(batch, visit).await?;
    }
    for (id, paths) in &paths {
        if let Some(Some(location)) = searched.found.get(id) {
            found.extend(
                paths.iter().map(|path| (format!("{path}:{}", location.line), location.secret.clone())),
            );
        }
    }
    for id in pack.ids().filter(|id| !paths.contains_key(id)) {
        if let Some(Some(location)) = searched.found.get(&id) {
            found.insert((location.describe(id), location.secret.clone()));
        }
    }
    found.into_iter().for_each(|(location, secret)| diagnostics.add(diagnostic(location, &secret)));
    Ok(Ok(diagnostics))
}

/// The diagnostic for a text outside of objects: the name of a ref, or the message of a deploy.
pub(super) fn leak_in(what: &str, text: &str, search: &LeakSearch) -> Option<Diagnostic> {
    search.find(text.as_bytes()).map(|Leak { secret, .. }| diagnostic(what.to_owned(), secret))
}

fn search_object(search: &LeakSearch, kind: Kind, content: &[u8]) -> Option<ObjectLeak> {
    let location = |Leak { at, secret }: Leak<'_>| {
        let line = memchr::memchr_iter(b'\n', &content[..at]).count() + 1;
        let header = memchr::memmem::find(content, b"\n\n").unwrap_or(content.len());
        ObjectLeak { kind, line, in_header: at < header, secret: secret.to_owned() }
    };
    match kind {
        // Only the names: the rest is binary object ids.
        Kind::Tree => {
            let names = tree_entry_names(content);
            let leak = names.filter_map(|name| search.find(name)).next()?;
            Some(ObjectLeak { kind, line: 0, in_header: false, secret: leak.secret.to_owned() })
        }
        Kind::Blob | Kind::Commit | Kind::Tag => search.find(content).map(location),
    }
}

impl ObjectLeak {
    /// Describes the location in an object that is no file of a served commit.
    fn describe(&self, id: ObjectId) -> String {
        match (self.kind, self.in_header) {
            (Kind::Blob, _) => {
                format!("history: line {} of blob {id} of an earlier commit", self.line)
            }
            (Kind::Tree, _) => format!("history: the name of a file in tree {id}"),
            (Kind::Commit, true) => format!("history: the author, or another header, of commit {id}"),
            (Kind::Commit, false) => format!("history: the message of commit {id}"),
            (Kind::Tag, true) => format!("history: the name, or another header, of tag {id}"),
            (Kind::Tag, false) => format!("history: the message of tag {id}"),
        }
    }
}

fn diagnostic(location: String, secret: &str) -> Diagnostic {
    let (location, message, help) = match location.strip_prefix("history: ") {
        Some(location) => (
            "history".to_owned(),
            format!("{location} contains the value of secret {secret}"),
            "rewrite the commits to remove it from the history".to_owned(),
        ),
        None => (
            location,
            format!("contains the value of secret {secret}"),
            format!("scripts read it as `ctx.secrets.{secret}`; if the value was exposed, set a new one"),
        ),
    };
    Diagnostic::error(location, None, message).with_help(help)
}
