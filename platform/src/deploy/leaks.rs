//! What is pushed and holds the value of a secret: it would be in every clone, in the API's answers and in every backup.
//!
//! Looked at are all files of the commit and their paths; everything that came with the push, commits, tags and the names of files of earlier
//! commits among it; and the names of refs. The diagnostics say where, and never show it.

use std::collections::{BTreeSet, HashMap};

use git_receiver::{
    FileKind, Kind, ObjectId, Pack, QuarantineView, ReadError, Repository, TreeLimits, tree_entry_names,
};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics};

use super::leak_search::{Leak, LeakSearch};
use super::push_time::PushTime;
use super::report::Rejection;

/// How many objects are searched before it is asked whether there is time for more.
const AT_ONCE: usize = 64;

/// What was searched of a push: nothing is searched once for each commit that has it.
#[derive(Debug, Default)]
pub(super) struct Searched {
    found: HashMap<ObjectId, Option<Place>>,
}

/// Where something was found in an object, and what.
#[derive(Clone, Debug)]
struct Place {
    kind: Kind,
    line: usize,
    /// Whether it is before the message of a commit or a tag.
    in_header: bool,
    secret: String,
}

/// Why a push is refused that holds secrets: of `commit`, where it is one that is served, and of all that came.
///
/// # Errors
/// The repository cannot be read.
pub(super) async fn leaks<R: Repository>(
    quarantine: &QuarantineView<'_, R>,
    pack: &Pack,
    commit: Option<(ObjectId, &TreeLimits)>,
    search: &LeakSearch,
    searched: &mut Searched,
    time: &PushTime,
) -> Result<Result<Diagnostics, Rejection>, ReadError> {
    let mut diagnostics = Diagnostics::default();
    if search.is_empty() {
        return Ok(Ok(diagnostics));
    }
    let files = match commit {
        Some((commit, limits)) => match quarantine.files(commit, limits).await {
            // That is told by whoever reads the files.
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
    for some in ids.chunks(AT_ONCE) {
        if let Err(rejection) = time.check() {
            return Ok(Err(rejection));
        }
        let look = |id, kind, content: &[u8]| {
            searched.found.insert(id, look_at(search, kind, content));
        };
        quarantine.each(some, look).await?;
    }
    for (id, paths) in &paths {
        if let Some(Some(place)) = searched.found.get(id) {
            found.extend(paths.iter().map(|path| (format!("{path}:{}", place.line), place.secret.clone())));
        }
    }
    for id in pack.ids().filter(|id| !paths.contains_key(id)) {
        if let Some(Some(place)) = searched.found.get(&id) {
            found.insert((place.words(id), place.secret.clone()));
        }
    }
    found.into_iter().for_each(|(place, secret)| diagnostics.add(diagnostic(place, &secret)));
    Ok(Ok(diagnostics))
}

/// The diagnostic of a text that came along: the name of a ref, what is said about a deploy.
pub(super) fn leak_in(what: &str, text: &str, search: &LeakSearch) -> Option<Diagnostic> {
    search.find(text.as_bytes()).map(|Leak { secret, .. }| diagnostic(what.to_owned(), secret))
}

fn look_at(search: &LeakSearch, kind: Kind, content: &[u8]) -> Option<Place> {
    let place = |Leak { at, secret }: Leak<'_>| {
        let line = memchr::memchr_iter(b'\n', &content[..at]).count() + 1;
        let header = memchr::memmem::find(content, b"\n\n").unwrap_or(content.len());
        Place { kind, line, in_header: at < header, secret: secret.to_owned() }
    };
    match kind {
        // Its bytes hold the names of objects too.
        Kind::Tree => {
            let names = tree_entry_names(content);
            let leak = names.filter_map(|name| search.find(name)).next()?;
            Some(Place { kind, line: 0, in_header: false, secret: leak.secret.to_owned() })
        }
        Kind::Blob | Kind::Commit | Kind::Tag => search.find(content).map(place),
    }
}

impl Place {
    /// Where it is, in something that came along and is no file of what is served.
    fn words(&self, id: ObjectId) -> String {
        match (self.kind, self.in_header) {
            (Kind::Blob, _) => {
                format!("history: line {} of blob {id}, which an earlier commit has,", self.line)
            }
            (Kind::Tree, _) => format!("history: the name of a file in tree {id}"),
            (Kind::Commit, true) => format!("history: the author, or another header, of commit {id}"),
            (Kind::Commit, false) => format!("history: the message of commit {id}"),
            (Kind::Tag, true) => format!("history: the name, or another header, of tag {id}"),
            (Kind::Tag, false) => format!("history: the message of tag {id}"),
        }
    }
}

fn diagnostic(place: String, secret: &str) -> Diagnostic {
    let (place, words, help) = match place.strip_prefix("history: ") {
        Some(place) => (
            "history".to_owned(),
            format!("{place} holds the value of secret {secret}"),
            "rewrite the commits so that it was never in them".to_owned(),
        ),
        None => (
            place,
            format!("holds the value of secret {secret}"),
            format!("scripts read it as `ctx.secrets.{secret}`; if others have seen it, set another value"),
        ),
    };
    Diagnostic::error(place, None, words).with_help(help)
}
