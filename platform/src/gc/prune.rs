//! Deploy retention.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store::{Actor, App, AuditAction, AuditEvent, Deploy, DeployNumber, Ref, StoreError};

use super::{ATTEMPTS_MAX, GarbageCollector, GcError, GcStats, pause};

/// How many deploys of each preview are kept while it exists.
const PREVIEW_HISTORY_LIMIT: usize = 10;

/// How many deploys one transaction deletes.
const BATCH_DEPLOYS: usize = 200;

/// How long deploys and unreachable objects are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployRetention {
    /// How many production deploys are kept.
    pub kept: usize,
    /// For how long; `None`: without a time limit.
    pub age: Option<Duration>,
    /// How long unreachable objects are kept.
    pub gc_grace_period: Duration,
}

impl Default for DeployRetention {
    fn default() -> Self {
        Self { kept: 200, age: None, gc_grace_period: Duration::from_secs(10 * 60) }
    }
}

/// Which deploys are kept. Live ones always are; those of an ended preview never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneRule {
    /// How many production deploys are kept.
    pub production: usize,
    /// How many deploys of each preview are kept.
    pub previews: usize,
    /// The maximum age; `None`: any age.
    pub age: Option<Duration>,
}

impl PruneRule {
    /// The `deploys` that the rule does not keep, given the app's refs.
    fn expired(&self, app: &App, deploys: &[Deploy], refs: &[Ref], now: DateTime<Utc>) -> Vec<DeployNumber> {
        let tips: HashMap<&str, _> = refs
            .iter()
            .filter_map(|found| Some((found.name.strip_prefix("refs/heads/")?, found.target)))
            .collect();
        let before = self.age.map(|age| {
            let age = TimeDelta::from_std(age).ok();
            age.and_then(|age| now.checked_sub_signed(age)).unwrap_or(DateTime::UNIX_EPOCH)
        });
        let mut ranks: BTreeMap<&str, usize> = BTreeMap::new();
        let mut live: BTreeSet<&str> = BTreeSet::new();
        let mut deleted = Vec::new();
        for deploy in deploys.iter().rev() {
            let branch = deploy.branch.as_str();
            let rank = ranks.entry(branch).or_default();
            *rank += 1;
            let tip = tips.get(branch);
            // The latest deploy of the branch's commit is the live one.
            if tip == Some(&deploy.commit) && live.insert(branch) {
                continue;
            }
            let limit = match tip {
                Some(_) if branch == app.production_branch => self.production,
                Some(_) => self.previews,
                None => 0,
            };
            if *rank > limit || before.is_some_and(|before| deploy.at < before) {
                deleted.push(deploy.number);
            }
        }
        deleted
    }
}

/// What a requested prune deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The deploys.
    pub deploys: u64,
    /// The objects.
    pub objects: u64,
    /// The bytes freed on disk.
    pub bytes: u64,
}

/// Why a prune stopped early.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// See [`GcError`].
    #[error(transparent)]
    Collect(#[from] GcError),
}

impl From<StoreError> for PruneError {
    fn from(error: StoreError) -> Self {
        Self::Collect(error.into())
    }
}

impl GarbageCollector {
    /// The rule for the given limits; the settings apply where there are none.
    pub fn rule(&self, deploys: Option<usize>, age: Option<Duration>) -> PruneRule {
        PruneRule {
            production: deploys.unwrap_or(self.retention.kept),
            previews: deploys.unwrap_or(PREVIEW_HISTORY_LIMIT),
            age: age.or(self.retention.age),
        }
    }

    /// Deletes the deploys of an app that `rule` does not keep, and all objects that are unreachable then,
    /// without a grace period.
    ///
    /// # Errors
    /// Not everything could be deleted. What was deleted before stays deleted.
    pub async fn prune(&self, app: &App, rule: &PruneRule, by: &Actor) -> Result<Pruned, PruneError> {
        let now = self.clock.now();
        let (deploys, bytes) = self.delete_deploys(app, rule, now).await?;
        let act = AuditEvent::new(by, AuditAction::AppPrune, Some(&app.name), app.name.as_str());
        let collected = self.collect(app, DateTime::<Utc>::MAX_UTC, now).await;
        let GcStats { objects, bytes: object_bytes } = *collected.as_ref().unwrap_or(&GcStats::default());
        let pruned = Pruned { deploys, objects, bytes: bytes + object_bytes };
        let done = format!("{deploys} deploys, {objects} objects, {} bytes", pruned.bytes);
        self.store.record_audit(&act.changing(None, Some(done))).await?;
        collected?;
        self.shrink_database().await?;
        self.store.purge_deleted().await?;
        Ok(pruned)
    }

    /// Prunes the deploys of all apps.
    pub(super) async fn prune_old(&self) -> Result<(), GcError> {
        let Some(now) = self.clock.retention_now(&self.store).await? else { return Ok(()) };
        let rule = self.rule(None, None);
        for app in self.store.apps().await? {
            match self.delete_deploys(&app, &rule, now).await {
                Ok((0, _)) | Err(GcError::Busy | GcError::OlderNode) => {}
                Ok((deploys, _)) => tracing::info!(app = %app.name, deploys, "deleted old deploys"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes the deploys that `rule` does not keep. Returns their number and their size on disk.
    async fn delete_deploys(
        &self,
        app: &App,
        rule: &PruneRule,
        now: DateTime<Utc>,
    ) -> Result<(u64, u64), GcError> {
        if !self.store.all_nodes_support_gc().await? {
            return Err(GcError::OlderNode);
        }
        let (mut rows, mut bytes) = (0, 0);
        for _ in 0..ATTEMPTS_MAX {
            // Everything read after the app belongs to its generation, or to a later one that is detected.
            let Some(app) = self.store.app(&app.name).await?.filter(|found| found.id == app.id) else {
                return Ok((rows, bytes));
            };
            let deploys = self.store.deploys(app.id).await?;
            let refs = self.store.refs(app.id).await?;
            let deleted = rule.expired(&app, &deploys, &refs, now);
            let mut state = Some(app.gc_state());
            for batch in deleted.chunks(BATCH_DEPLOYS) {
                let began = std::time::Instant::now();
                let Some(seen) = state else { break };
                let done = self.store.prune_deploys(app.id, seen, batch, now).await?;
                state = done.map(|done| done.state);
                if let Some(done) = done {
                    rows += done.rows;
                    bytes += done.bytes;
                }
                pause(began).await;
            }
            if state.is_some() {
                return Ok((rows, bytes));
            }
        }
        Err(GcError::Busy)
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

    /// Deploys by branch and digit of the commit, numbered from 1 and one day apart.
    fn deploys(list: &[(&str, u8)]) -> Vec<Deploy> {
        let deploy = |(number, (branch, digit)): (u64, &(&str, u8))| Deploy {
            number: DeployNumber::new(number).unwrap(),
            branch: (*branch).to_owned(),
            commit: oid(*digit),
            at: at(i64::try_from(number).unwrap()),
            by: "ada".to_owned(),
            cause: None,
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
            rule.expired(&app, &deploys(list), &refs, at(10)).into_iter().map(DeployNumber::get).collect();
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
    fn live_deploy_is_kept_at_any_age() {
        // Rolled back to the first.
        let list = [("main", 1), ("main", 2), ("main", 3), ("main", 4), ("main", 1), ("try", 9)];
        let none = PruneRule { production: 0, previews: 0, age: Some(Duration::ZERO) };
        assert_eq!(deleted(&none, &list, &[("main", 1), ("try", 9)]), [1, 2, 3, 4]);
        assert_eq!(deleted(&none, &list[..4], &[("main", 1)]), [2, 3, 4]);
    }

    #[test]
    fn ended_preview_keeps_no_deploy() {
        let list = [("main", 1), ("try", 2), ("try", 3)];
        assert_eq!(deleted(&KEEP_TWO, &list, &[("main", 1)]), [2, 3]);
    }

    #[test]
    fn old_deploys_are_deleted_below_the_limit() {
        let list = [("main", 1), ("main", 2), ("main", 3)];
        let week = PruneRule { production: 9, previews: 9, age: Some(Duration::from_secs(8 * 24 * 60 * 60)) };
        assert_eq!(deleted(&week, &list, &[("main", 3)]), [1]);
    }
}
