//! The queue of due times: when each schedule is evaluated next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::live::Live;
use chrono::{DateTime, Utc};
use manifest_schema::manifest::Schedule;
use manifest_schema::name::{AppName, JobName};
use store::ScheduleState;

use super::misfire::clamp_future;
use super::{DueSchedule, RETRY_DELAY};

/// The key of a branch with enabled schedules.
pub(super) type BranchKey = (AppName, String);

/// The schedules of every such branch, as declared by its live deploy.
#[derive(Debug, Default)]
pub(super) struct DueQueue {
    branches: HashMap<BranchKey, BranchSchedules>,
    /// The number of clock jumps when the due times were computed.
    jumps: u64,
}

#[derive(Debug)]
struct BranchSchedules {
    live: Arc<Live>,
    registration: Registration,
    entries: BTreeMap<JobName, Entry>,
}

/// The registration of the deploy's schedules in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registration {
    /// In progress.
    Pending,
    /// Retry at this time.
    RetryAt(DateTime<Utc>),
    /// Done.
    Done,
}

#[derive(Debug)]
struct Entry {
    schedule: Schedule,
    /// Up to when it was evaluated, as far as this node knows.
    evaluated_until: DateTime<Utc>,
    /// When it is evaluated next; `None` if it is never due again.
    next: Option<DateTime<Utc>>,
    /// Up to when its runs are skipped, since the app reached its limit of runs per minute.
    limited_until: Option<DateTime<Utc>>,
    /// Whether it is being evaluated.
    in_flight: bool,
}

impl DueQueue {
    /// Synchronizes with the live revisions. Returns those whose schedules have to be registered.
    pub(super) fn sync(&mut self, live: &[Arc<Live>], now: DateTime<Utc>) -> Vec<Arc<Live>> {
        let keys: HashSet<BranchKey> = live.iter().map(|live| branch_key(live)).collect();
        self.branches.retain(|key, _| keys.contains(key));
        let mut unregistered = Vec::new();
        for live in live {
            match self.branch(live) {
                Some(branch) => match branch.registration {
                    Registration::RetryAt(time) if time <= now => branch.registration = Registration::Pending,
                    _ => continue,
                },
                None => {
                    let branch = BranchSchedules {
                        live: Arc::clone(live),
                        registration: Registration::Pending,
                        entries: BTreeMap::new(),
                    };
                    self.branches.insert(branch_key(live), branch);
                }
            }
            unregistered.push(Arc::clone(live));
        }
        unregistered
    }

    /// Handles the result of a registration: the states of the schedules, or `None` to retry.
    pub(super) fn registered(&mut self, live: &Live, found: Option<Vec<ScheduleState>>, now: DateTime<Utc>) {
        let Some(branch) = self.branch(live) else { return };
        let mut evaluated_until: HashMap<JobName, DateTime<Utc>> =
            found.into_iter().flatten().map(|state| (state.name, state.evaluated_until)).collect();
        let declared = &live.revision.manifest().schedules;
        if !declared.iter().all(|schedule| evaluated_until.contains_key(&schedule.name)) {
            branch.registration = Registration::RetryAt(now + RETRY_DELAY);
            return;
        }
        branch.registration = Registration::Done;
        for schedule in declared {
            if let Some(evaluated_until) = evaluated_until.remove(&schedule.name) {
                let evaluated_until = clamp_future(&schedule.cron, evaluated_until, now);
                let next = schedule.cron.next_after(evaluated_until);
                let entry = Entry {
                    schedule: schedule.clone(),
                    evaluated_until,
                    next,
                    limited_until: None,
                    in_flight: false,
                };
                branch.entries.insert(schedule.name.clone(), entry);
            }
        }
    }

    /// Recomputes all due times if the clock has jumped. Retries are due immediately.
    pub(super) fn replan(&mut self, jumps: u64, now: DateTime<Utc>) {
        if std::mem::replace(&mut self.jumps, jumps) == jumps {
            return;
        }
        for branch in self.branches.values_mut() {
            if let Registration::RetryAt(time) = &mut branch.registration {
                *time = now;
            }
            for entry in branch.entries.values_mut() {
                let cron = &entry.schedule.cron;
                entry.evaluated_until = clamp_future(cron, entry.evaluated_until, now);
                entry.next = cron.next_after(entry.evaluated_until);
                entry.limited_until = None;
            }
        }
    }

    /// The number of clock jumps when the due times were computed.
    pub(super) fn jumps(&self) -> u64 {
        self.jumps
    }

    /// Takes the due schedules.
    pub(super) fn due(&mut self, now: DateTime<Utc>) -> Vec<DueSchedule> {
        let mut due = Vec::new();
        for branch in self.branches.values_mut() {
            for entry in branch.entries.values_mut() {
                let evaluated_until = clamp_future(&entry.schedule.cron, entry.evaluated_until, now);
                if evaluated_until < entry.evaluated_until {
                    // The clock was set back.
                    (entry.evaluated_until, entry.next) =
                        (evaluated_until, entry.schedule.cron.next_after(evaluated_until));
                }
                if entry.next.is_some_and(|next| next <= now) && !entry.in_flight {
                    entry.in_flight = true;
                    due.push(DueSchedule {
                        live: Arc::clone(&branch.live),
                        schedule: entry.schedule.clone(),
                        evaluated_until,
                        limited_until: entry.limited_until,
                        jumps: self.jumps,
                    });
                }
            }
        }
        due
    }

    /// Puts a schedule back: it is evaluated up to `evaluated_until` and due next after that, or at
    /// `retry_at`, which is ignored if the clock has jumped since it was taken.
    pub(super) fn reschedule(
        &mut self,
        key: &BranchKey,
        name: &JobName,
        evaluated_until: DateTime<Utc>,
        retry_at: Option<(u64, DateTime<Utc>)>,
    ) {
        let retry_at = retry_at.and_then(|(jumps, retry_at)| (jumps == self.jumps).then_some(retry_at));
        let entry = self.branches.get_mut(key).and_then(|branch| branch.entries.get_mut(name));
        if let Some(entry) = entry {
            let next = retry_at.or_else(|| entry.schedule.cron.next_after(evaluated_until));
            let schedule = entry.schedule.clone();
            *entry = Entry { schedule, evaluated_until, next, limited_until: None, in_flight: false };
        }
    }

    /// Puts back a schedule whose runs are skipped before `limited_until`.
    pub(super) fn reschedule_limited(
        &mut self,
        key: &BranchKey,
        name: &JobName,
        evaluated_until: DateTime<Utc>,
        retry_at: (u64, DateTime<Utc>),
        limited_until: DateTime<Utc>,
    ) {
        self.reschedule(key, name, evaluated_until, Some(retry_at));
        let entry = self.branches.get_mut(key).and_then(|branch| branch.entries.get_mut(name));
        if let Some(entry) = entry.filter(|_| retry_at.0 == self.jumps) {
            entry.limited_until = Some(limited_until);
        }
    }

    /// Registers the schedules of a branch again at the given time.
    pub(super) fn reregister(&mut self, key: &BranchKey, time: DateTime<Utc>) {
        if let Some(branch) = self.branches.get_mut(key)
            && branch.registration == Registration::Done
        {
            branch.registration = Registration::RetryAt(time);
        }
    }

    /// The schedules of a branch, if they are of this deploy.
    fn branch(&mut self, live: &Live) -> Option<&mut BranchSchedules> {
        self.branches
            .get_mut(&branch_key(live))
            .filter(|branch| Arc::ptr_eq(&branch.live.revision, &live.revision))
    }

    /// The next time at which anything is due.
    pub(super) fn next(&self) -> Option<DateTime<Utc>> {
        let next_of = |branch: &BranchSchedules| match branch.registration {
            Registration::RetryAt(time) => Some(time),
            _ => {
                branch.entries.values().filter(|entry| !entry.in_flight).filter_map(|entry| entry.next).min()
            }
        };
        self.branches.values().filter_map(next_of).min()
    }

    /// Whether a registration is in progress.
    #[cfg(test)]
    pub(super) fn is_registering(&self) -> bool {
        self.branches.values().any(|branch| branch.registration == Registration::Pending)
    }
}

/// The key of a live branch.
pub(super) fn branch_key(live: &Live) -> BranchKey {
    (live.revision.app().clone(), live.branch.name.clone())
}
