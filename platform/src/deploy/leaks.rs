//! What is pushed and holds the value of a secret: it would be in every clone and every backup.
//!
//! Looked at are all files of the commit, and every blob that came with the push, those of earlier commits among them. The
//! faults name file and line and never show the line.

use std::collections::{BTreeSet, HashMap};

use git_receiver::{FileKind, Kind, ObjectId, Pack, ReadError, Repository, Staged, TreeLimits};
use manifest_schema::fault::{Fault, Faults};
use memchr::memmem;
use runtime::Secrets;

/// The faults of a push that holds secrets: of `commit`, where it is one that is served, and of all that came.
///
/// # Errors
/// The repository cannot be read.
pub(super) async fn leaks<R: Repository>(
    staged: &Staged<'_, R>,
    pack: &Pack,
    commit: Option<ObjectId>,
    limits: &TreeLimits,
    secrets: &Secrets,
) -> Result<Faults, ReadError> {
    let mut faults = Faults::default();
    if secrets.is_empty() {
        return Ok(faults);
    }
    let files = match commit {
        Some(commit) => match staged.files(commit, limits).await {
            // That is told by whoever reads the files.
            Err(ReadError::Limit(_)) => Vec::new(),
            files => files?,
        },
        None => Vec::new(),
    };
    let mut paths: HashMap<ObjectId, Vec<String>> = HashMap::new();
    for file in files.into_iter().filter(|file| file.kind != FileKind::Submodule) {
        paths.entry(file.id).or_default().push(file.path);
    }
    let came = pack.ids().filter(|id| pack.kind(id) == Some(Kind::Blob) && !paths.contains_key(id));
    let ids: Vec<ObjectId> = paths.keys().copied().chain(came.collect::<Vec<_>>()).collect();
    let finders: Vec<_> =
        secrets.needles().map(|(needle, name)| (memmem::Finder::new(needle), name)).collect();
    let mut found: BTreeSet<(String, usize, String, bool)> = BTreeSet::new();
    staged
        .each(&ids, |id, _, content| {
            for (finder, name) in &finders {
                let Some(at) = finder.find(content) else { continue };
                let line = memchr::memchr_iter(b'\n', &content[..at]).count() + 1;
                match paths.get(&id) {
                    Some(paths) => {
                        let place = |path: &String| (path.clone(), line, (*name).to_owned(), true);
                        found.extend(paths.iter().map(place));
                    }
                    None => drop(found.insert((id.to_string(), line, (*name).to_owned(), false))),
                }
            }
        })
        .await?;
    for (place, line, name, is_file) in found {
        let fault = if is_file {
            let words = format!("holds the value of secret {name}");
            Fault::error(format!("{place}:{line}"), None, words).advise(format!(
                "scripts read it as `ctx.secrets.{name}`; if others have seen it, set another value"
            ))
        } else {
            let words = format!(
                "line {line} of blob {place}, which an earlier commit has, holds the value of secret {name}"
            );
            Fault::error("history", None, words).advise("rewrite the commits so that it was never in them")
        };
        faults.add(fault);
    }
    Ok(faults)
}
