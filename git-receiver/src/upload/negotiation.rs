//! Decides when negotiation can stop: every want must have an ancestor in common.

use std::collections::{HashMap, HashSet};

use gix_hash::ObjectId;
use gix_object::Kind;

use super::UploadError;
use super::commits::Commits;
use crate::advertise::PEEL_MAX;
use crate::{Repository, content, parse};

/// The most commits of one check. Beyond that, any common commit is enough; the pack can then be larger than necessary, but
/// never incomplete.
const COMMITS_MAX: usize = 2000;

/// Whether the server has enough common commits, like git's function of the same name. One common branch is not enough: for
/// a want without a common ancestor, its whole history would be sent.
pub(super) async fn ok_to_give_up<R: Repository>(
    repository: &R,
    wants: &[ObjectId],
    common: &[ObjectId],
) -> Result<bool, UploadError> {
    if common.is_empty() {
        return Ok(false);
    }
    let mut commits = Commits::of(repository).await?;
    commits.read(common).await?;
    // Unless clocks are skewed, no ancestor of the oldest common commit is in common.
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

/// The wanted commits, and the commits of wanted tags. Trees and blobs do not matter for negotiation.
async fn wanted_commits<R: Repository>(
    repository: &R,
    wants: &[ObjectId],
) -> Result<Vec<ObjectId>, UploadError> {
    let mut wanted = Vec::new();
    let mut level = wants.to_vec();
    for _ in 0..PEEL_MAX {
        let mut next = Vec::new();
        content::for_each(repository, &level, |id, kind, content| {
            match kind {
                Kind::Commit => wanted.push(id),
                Kind::Tag => next.push(parse::tag(id, content)?),
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
    use crate::test_repo::TestRepo;

    #[tokio::test]
    async fn every_want_needs_a_common_ancestor() {
        let (mut repo, ids) = TestRepo::linear(6);
        let aside = repo.commit(&[]);
        let merge = repo.commit(&[aside, ids[5]]);
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
            assert_eq!(ok_to_give_up(&repo, wants, common).await.unwrap(), enough, "{wants:?} {common:?}");
        }
    }

    #[tokio::test]
    async fn long_search_ends_negotiation() {
        let (mut repo, ids) = TestRepo::linear(1);
        let mut tip = repo.commit(&[]);
        for _ in 0..=COMMITS_MAX {
            tip = repo.commit(&[tip]);
        }
        assert!(ok_to_give_up(&repo, &[tip], &ids).await.unwrap());
    }
}
