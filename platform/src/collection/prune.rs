//! Which deploys are kept, and the deletion of the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store::{Act, Actor, App, AuditAction, Deploy, DeployNumber, Ref, StoreError};

use super::{CollectError, Collected, Collector, TRIES, give_way};

/// How many deploys of each preview are kept while it is there.
const PREVIEW_DEPLOYS_KEPT: usize = 10;

/// How many deploys one transaction deletes.
const BATCH_DEPLOYS: usize = 200;

/// How long deploys are kept, and what was released by them and by refs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployRetention {
    /// How many deploys to production are kept.
    pub kept: usize,
    /// For how long; `None`: for ever.
    pub age: Option<Duration>,
    /// How long objects stay after nothing reaches them any more.
    pub released_kept: Duration,
}

impl Default for DeployRetention {
    fn default() -> Self {
        Self { kept: 200, age: None, released_kept: Duration::from_secs(10 * 60) }
    }
}

/// Which deploys are kept. What is live always is; and of a preview that has ended, none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneRule {
    /// The latest deploys to production.
    pub production: usize,
    /// The latest of each preview.
    pub previews: usize,
    /// Those that are not older; `None`: of any age.
    pub age: Option<Duration>,
}

impl PruneRule {
    /// What is to be deleted by it of `deploys`, the app having these refs.
    fn to_delete(
        &self,
        app: &App,
        deploys: &[Deploy],
        refs: &[Ref],
        now: DateTime<Utc>,
    ) -> Vec<DeployNumber> {
        let tips: HashMap<&str, _> = refs
            .iter()
            .filter_map(|found| Some((found.name.strip_prefix("refs/heads/")?, found.target)))
            .collect();
        let before = self.age.map(|age| {
            let age = TimeDelta::from_std(age).ok();
            age.and_then(|age| now.checked_sub_signed(age)).unwrap_or(DateTime::UNIX_EPOCH)
        });
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut live: BTreeSet<&str> = BTreeSet::new();
        let mut deleted = Vec::new();
        for deploy in deploys.iter().rev() {
            let branch = deploy.branch.as_str();
            let place = places.entry(branch).or_default();
            *place += 1;
            let tip = tips.get(branch);
            // The latest deploy of the commit that the branch points to is the live one.
            if tip == Some(&deploy.commit) && live.insert(branch) {
                continue;
            }
            let most = match tip {
                Some(_) if branch == app.production_branch => self.production,
                Some(_) => self.previews,
                None => 0,
            };
            if *place > most || before.is_some_and(|before| deploy.at < before) {
                deleted.push(deploy.number);
            }
        }
        deleted
    }
}

/// What was deleted where somebody asked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many deploys.
    pub deploys: u64,
    /// How many objects.
    pub objects: u64,
    /// How many bytes of the disk the app takes less.
    pub bytes: u64,
}

/// Why not everything was deleted.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// See [`CollectError`].
    #[error(transparent)]
    Collect(#[from] CollectError),
}

impl From<StoreError> for PruneError {
    fn from(error: StoreError) -> Self {
        Self::Collect(error.into())
    }
}

impl Collector {
    /// What is kept of an app where somebody says how many deploys or for how long, and by the settings otherwise.
    pub fn rule(&self, deploys: Option<usize>, age: Option<Duration>) -> PruneRule {
        PruneRule {
            production: deploys.unwrap_or(self.retention.kept),
            previews: deploys.unwrap_or(PREVIEW_DEPLOYS_KEPT),
            age: age.or(self.retention.age),
        }
    }

    /// Deletes the deploys of an app that `rule` does not keep, and all that nothing reaches then, at once.
    ///
    /// # Errors
    /// Not everything could be deleted. What was is gone.
    pub async fn prune(&self, app: &App, rule: &PruneRule, by: &Actor) -> Result<Pruned, PruneError> {
        let now = self.clock.now();
        let (deploys, bytes) = self.delete_deploys(app, rule, now).await?;
        let act = Act::new(by, AuditAction::AppPrune, Some(&app.name), app.name.as_str());
        let collected = self.collect(app, DateTime::<Utc>::MAX_UTC, now).await;
        let Collected { objects, bytes: of_objects } = *collected.as_ref().unwrap_or(&Collected::default());
        let pruned = Pruned { deploys, objects, bytes: bytes + of_objects };
        let done = format!("{deploys} deploys, {objects} objects, {} bytes", pruned.bytes);
        self.store.record(&act.changing(None, Some(done))).await?;
        collected?;
        self.give_back_pages().await?;
        self.store.forget_deleted().await?;
        Ok(pruned)
    }

    /// Deletes the old deploys of all apps.
    pub(super) async fn prune_old(&self) -> Result<(), CollectError> {
        let Some(now) = self.clock.retention_now(&self.store).await? else { return Ok(()) };
        let rule = self.rule(None, None);
        for app in self.store.apps().await? {
            match self.delete_deploys(&app, &rule, now).await {
                Ok((0, _)) | Err(CollectError::Busy | CollectError::OlderNode) => {}
                Ok((deploys, _)) => tracing::info!(app = %app.name, deploys, "deleted old deploys"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes the deploys that `rule` does not keep. How many those were, and how many bytes of the disk they took.
    async fn delete_deploys(
        &self,
        app: &App,
        rule: &PruneRule,
        now: DateTime<Utc>,
    ) -> Result<(u64, u64), CollectError> {
        if !self.store.all_notice_deletions().await? {
            return Err(CollectError::OlderNode);
        }
        let (mut rows, mut bytes) = (0, 0);
        for _ in 0..TRIES {
            // What is read after the app is of its generation, or of a later one that is noticed.
            let Some(app) = self.store.app(&app.name).await?.filter(|found| found.id == app.id) else {
                return Ok((rows, bytes));
            };
            let deploys = self.store.deploys(app.id).await?;
            let refs = self.store.refs(app.id).await?;
            let deleted = rule.to_delete(&app, &deploys, &refs, now);
            let mut state = Some(app.collection_state());
            for batch in deleted.chunks(BATCH_DEPLOYS) {
                let began = std::time::Instant::now();
                let Some(seen) = state else { break };
                let done = self.store.prune_deploys(app.id, seen, batch, now).await?;
                state = done.map(|done| done.state);
                if let Some(done) = done {
                    rows += done.rows;
                    bytes += done.bytes;
                }
                give_way(began).await;
            }
            if state.is_some() {
                return Ok((rows, bytes));
            }
        }
        Err(CollectError::Busy)
    }
}

#[cfg(test)]
mod tests {
    use manifest_schema::name::AppName;
    use store::Oid;

    use super::*;

    fn oid(digit: u8) -> Oid {
        Oid::new([digit; 20])
    }

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + day)
    }

    /// Deploys by branch and the digit of their commit, numbered from 1 and a day apart.
    fn deploys(list: &[(&str, u8)]) -> Vec<Deploy> {
        let deploy = |(number, (branch, digit)): (u64, &(&str, u8))| Deploy {
            number: DeployNumber::new(number).unwrap(),
            branch: (*branch).to_owned(),
            commit: oid(*digit),
            at: at(i64::try_from(number).unwrap()),
            by: "ada".to_owned(),
            because: None,
            message: None,
        };
        (1..).zip(list).map(deploy).collect()
    }

    fn deleted(rule: &PruneRule, list: &[(&str, u8)], tips: &[(&str, u8)]) -> Vec<u64> {
        let app = App::new(AppName::new("hello").unwrap(), "main");
        let tip =
            |(branch, digit): &(&str, u8)| Ref { name: format!("refs/heads/{branch}"), target: oid(*digit) };
        let refs: Vec<Ref> = tips.iter().map(tip).collect();
        let mut deleted: Vec<u64> =
            rule.to_delete(&app, &deploys(list), &refs, at(10)).into_iter().map(DeployNumber::get).collect();
        deleted.sort_unstable();
        deleted
    }

    const KEEP_TWO: PruneRule = PruneRule { production: 2, previews: 1, age: None };

    #[test]
    fn latest_deploys_of_each_branch_are_kept() {
        let list = [("main", 1), ("try", 2), ("main", 3), ("try", 4), ("main", 5)];
        assert_eq!(deleted(&KEEP_TWO, &list, &[("main", 5), ("try", 4)]), [1, 2]);
        assert_eq!(deleted(&KEEP_TWO, &list[..3], &[("main", 3), ("try", 2)]), [0; 0]);
    }

    #[test]
    fn what_is_live_is_kept_however_old_it_is() {
        // Gone back to the first.
        let list = [("main", 1), ("main", 2), ("main", 3), ("main", 4), ("main", 1), ("try", 9)];
        let none = PruneRule { production: 0, previews: 0, age: Some(Duration::ZERO) };
        assert_eq!(deleted(&none, &list, &[("main", 1), ("try", 9)]), [1, 2, 3, 4]);
        assert_eq!(deleted(&none, &list[..4], &[("main", 1)]), [2, 3, 4]);
    }

    #[test]
    fn preview_that_has_ended_keeps_no_deploy() {
        let list = [("main", 1), ("try", 2), ("try", 3)];
        assert_eq!(deleted(&KEEP_TWO, &list, &[("main", 1)]), [2, 3]);
    }

    #[test]
    fn old_deploys_are_deleted_however_few_they_are() {
        let list = [("main", 1), ("main", 2), ("main", 3)];
        let week = PruneRule { production: 9, previews: 9, age: Some(Duration::from_secs(8 * 24 * 60 * 60)) };
        assert_eq!(deleted(&week, &list, &[("main", 3)]), [1]);
    }
}
