//! Whether a client has told enough of what it has: below everything that it wants lies something in common.

use std::collections::{HashMap, HashSet};

use gix_hash::ObjectId;
use gix_object::Kind;

use super::UploadError;
use super::commits::Commits;
use crate::advertise::PEEL_MAX;
use crate::{Repository, content, links};

/// How many commits are looked at in one round. Beyond, anything in common is enough: what is sent then may be more than is
/// needed, never less.
const COMMITS_MAX: usize = 2000;

/// Whether to stop asking. A branch in common says nothing of others: while one that is wanted goes down to nothing that the
/// client is known to have, all of it would be sent.
pub(super) async fn enough_in_common<R: Repository>(
    repository: &R,
    wants: &[ObjectId],
    common: &[ObjectId],
) -> Result<bool, UploadError> {
    if common.is_empty() {
        return Ok(false);
    }
    let mut commits = Commits::of(repository).await?;
    commits.read(common).await?;
    // Below the oldest of them nothing in common is to be found, as far as clocks are right.
    let Some(oldest) = common.iter().filter_map(|id| commits.get(id)).map(|commit| commit.time).min() else {
        return Ok(true);
    };
    let common: HashSet<ObjectId> = common.iter().copied().collect();
    let wanted = wanted_commits(repository, wants).await?;
    let mut reached: HashSet<ObjectId> = wanted.iter().copied().collect();
    let mut children: HashMap<ObjectId, Vec<ObjectId>> = HashMap::new();
    let mut met: Vec<ObjectId> = Vec::new();
    let mut level: Vec<ObjectId> = reached.iter().copied().collect();
    while !level.is_empty() {
        if reached.len() > COMMITS_MAX {
            return Ok(true);
        }
        commits.read(&level).await?;
        let mut next = Vec::new();
        for id in level {
            if common.contains(&id) {
                met.push(id);
                continue;
            }
            let Some(commit) = commits.get(&id).filter(|commit| commit.time >= oldest) else { continue };
            for parent in &commit.parents {
                children.entry(*parent).or_default().push(id);
                next.extend(reached.insert(*parent).then_some(*parent));
            }
        }
        level = next;
    }
    let mut covered: HashSet<ObjectId> = HashSet::new();
    while let Some(id) = met.pop() {
        if covered.insert(id) {
            met.extend(children.get(&id).into_iter().flatten());
        }
    }
    Ok(wanted.iter().all(|want| covered.contains(want)))
}

/// The commits among the wants, and those that wanted tags name. Of trees and files nothing can be told.
async fn wanted_commits<R: Repository>(
    repository: &R,
    wants: &[ObjectId],
) -> Result<Vec<ObjectId>, UploadError> {
    let mut wanted = Vec::new();
    let mut level = wants.to_vec();
    for _ in 0..PEEL_MAX {
        let mut next = Vec::new();
        content::each(repository, &level, |id, kind, content| {
            match kind {
                Kind::Commit => wanted.push(id),
                Kind::Tag => next.push(links::tag(id, content)?),
                Kind::Tree | Kind::Blob => {}
            }
            Ok::<_, UploadError>(())
        })
        .await?;
        level = next;
        if level.is_empty() {
            break;
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::History;

    #[tokio::test]
    async fn each_want_needs_something_in_common_below_it() {
        let (mut history, ids) = History::line(6);
        let aside = history.commit(&[]);
        let merge = history.commit(&[aside, ids[5]]);
        let absent = ObjectId::null(gix_hash::Kind::Sha1);
        for (wants, common, enough) in [
            (&[ids[5]][..], &[][..], false),
            (&[ids[5]], &[ids[5]], true),
            (&[ids[5]], &[ids[0]], true),
            (&[ids[3]], &[ids[5]], false),
            (&[ids[5]], &[aside], false),
            (&[ids[5], aside], &[aside], false),
            (&[ids[5], aside], &[aside, ids[2]], true),
            (&[merge], &[aside], true),
            (&[absent], &[aside], true),
        ] {
            assert_eq!(
                enough_in_common(&history, wants, common).await.unwrap(),
                enough,
                "{wants:?} {common:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_long_search_is_given_up() {
        let (mut history, ids) = History::line(1);
        let mut tip = history.commit(&[]);
        for _ in 0..=COMMITS_MAX {
            tip = history.commit(&[tip]);
        }
        assert!(enough_in_common(&history, &[tip], &ids).await.unwrap());
    }
}
