//! When each schedule is looked at next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::live::Live;
use chrono::{DateTime, Utc};
use manifest_schema::manifest::Schedule;
use manifest_schema::name::{AppName, JobName};
use store::ScheduleState;

use super::owed::believed;
use super::{AGAIN, Turn};

/// A branch of an app whose schedules run by the clock.
pub(super) type Place = (AppName, String);

/// The schedules of every such branch, as its live deploy declares them.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    pages: HashMap<Place, Page>,
    /// How often the clock had jumped when this was planned.
    jumps: u64,
}

#[derive(Debug)]
struct Page {
    live: Arc<Live>,
    state: PageState,
    entries: BTreeMap<JobName, Entry>,
}

/// Whether the store knows the schedules of the deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageState {
    /// It is being told.
    Asked,
    /// It is to be told at this time.
    Again(DateTime<Utc>),
    /// It does.
    Known,
}

#[derive(Debug)]
struct Entry {
    schedule: Schedule,
    /// Up to when it is reckoned, as far as this node knows.
    since: DateTime<Utc>,
    /// When it is looked at next; `None` where it is never due again.
    next: Option<DateTime<Utc>>,
    /// Up to when nothing of it is run, since the app had begun as many runs within the minute as it can.
    limited_until: Option<DateTime<Utc>>,
    /// Whether it is being looked at.
    out: bool,
}

impl Agenda {
    /// Takes over what is live, and returns the deploys whose schedules are yet to be registered.
    pub(super) fn follow(&mut self, live: &[Arc<Live>], now: DateTime<Utc>) -> Vec<Arc<Live>> {
        let places: HashSet<Place> = live.iter().map(|live| place(live)).collect();
        self.pages.retain(|place, _| places.contains(place));
        let mut unknown = Vec::new();
        for live in live {
            match self.page(live) {
                Some(page) => match page.state {
                    PageState::Again(time) if time <= now => page.state = PageState::Asked,
                    _ => continue,
                },
                None => {
                    let page =
                        Page { live: Arc::clone(live), state: PageState::Asked, entries: BTreeMap::new() };
                    self.pages.insert(place(live), page);
                }
            }
            unknown.push(Arc::clone(live));
        }
        unknown
    }

    /// What became of registering a deploy: how far its schedules have come, or that it is tried again.
    pub(super) fn registered(&mut self, live: &Live, found: Option<Vec<ScheduleState>>, now: DateTime<Utc>) {
        let Some(page) = self.page(live) else { return };
        let mut since: HashMap<JobName, DateTime<Utc>> =
            found.into_iter().flatten().map(|state| (state.name, state.reckoned_until)).collect();
        let declared = &live.revision.manifest().schedules;
        if !declared.iter().all(|schedule| since.contains_key(&schedule.name)) {
            page.state = PageState::Again(now + AGAIN);
            return;
        }
        page.state = PageState::Known;
        for schedule in declared {
            if let Some(since) = since.remove(&schedule.name) {
                let since = believed(&schedule.cron, since, now);
                let next = schedule.cron.next_after(since);
                let entry =
                    Entry { schedule: schedule.clone(), since, next, limited_until: None, out: false };
                page.entries.insert(schedule.name.clone(), entry);
            }
        }
    }

    /// Plans everything anew where the clock has jumped since. What was to be tried again at some time is tried now.
    pub(super) fn plan_anew(&mut self, jumps: u64, now: DateTime<Utc>) {
        if std::mem::replace(&mut self.jumps, jumps) == jumps {
            return;
        }
        for page in self.pages.values_mut() {
            if let PageState::Again(time) = &mut page.state {
                *time = now;
            }
            for entry in page.entries.values_mut() {
                let cron = &entry.schedule.cron;
                entry.since = believed(cron, entry.since, now);
                entry.next = cron.next_after(entry.since);
                entry.limited_until = None;
            }
        }
    }

    /// How often the clock had jumped when this was planned.
    pub(super) fn jumps(&self) -> u64 {
        self.jumps
    }

    /// Hands out what is due.
    pub(super) fn due(&mut self, now: DateTime<Utc>) -> Vec<Turn> {
        let mut turns = Vec::new();
        for page in self.pages.values_mut() {
            for entry in page.entries.values_mut() {
                let since = believed(&entry.schedule.cron, entry.since, now);
                if since < entry.since {
                    // The clock was set back.
                    (entry.since, entry.next) = (since, entry.schedule.cron.next_after(since));
                }
                if entry.next.is_some_and(|next| next <= now) && !entry.out {
                    entry.out = true;
                    turns.push(Turn {
                        live: Arc::clone(&page.live),
                        schedule: entry.schedule.clone(),
                        since,
                        limited_until: entry.limited_until,
                        jumps: self.jumps,
                    });
                }
            }
        }
        turns
    }

    /// Takes back what was handed out: it is reckoned up to `since`, and due next after that, or looked at `again`. That time
    /// says nothing where the clock has jumped since it was handed out.
    pub(super) fn give_back(
        &mut self,
        place: &Place,
        name: &JobName,
        since: DateTime<Utc>,
        again: Option<(u64, DateTime<Utc>)>,
    ) {
        let again = again.and_then(|(jumps, again)| (jumps == self.jumps).then_some(again));
        let entry = self.pages.get_mut(place).and_then(|page| page.entries.get_mut(name));
        if let Some(entry) = entry {
            let next = again.or_else(|| entry.schedule.cron.next_after(since));
            let schedule = entry.schedule.clone();
            *entry = Entry { schedule, since, next, limited_until: None, out: false };
        }
    }

    /// The same of one of which nothing is run that is due before `limited_until`.
    pub(super) fn give_back_limited(
        &mut self,
        place: &Place,
        name: &JobName,
        since: DateTime<Utc>,
        again: (u64, DateTime<Utc>),
        limited_until: DateTime<Utc>,
    ) {
        self.give_back(place, name, since, Some(again));
        let entry = self.pages.get_mut(place).and_then(|page| page.entries.get_mut(name));
        if let Some(entry) = entry.filter(|_| again.0 == self.jumps) {
            entry.limited_until = Some(limited_until);
        }
    }

    /// Has the schedules of a branch registered once more, at that time.
    pub(super) fn register_again(&mut self, place: &Place, time: DateTime<Utc>) {
        if let Some(page) = self.pages.get_mut(place)
            && page.state == PageState::Known
        {
            page.state = PageState::Again(time);
        }
    }

    /// The page of a deploy, if that is what the agenda goes by.
    fn page(&mut self, live: &Live) -> Option<&mut Page> {
        self.pages.get_mut(&place(live)).filter(|page| Arc::ptr_eq(&page.live.revision, &live.revision))
    }

    /// The first time at which something is to be looked at.
    pub(super) fn next(&self) -> Option<DateTime<Utc>> {
        let of_page = |page: &Page| match page.state {
            PageState::Again(time) => Some(time),
            _ => page.entries.values().filter(|entry| !entry.out).filter_map(|entry| entry.next).min(),
        };
        self.pages.values().filter_map(of_page).min()
    }

    /// Whether the store is just being told of a deploy.
    #[cfg(test)]
    pub(super) fn is_being_told(&self) -> bool {
        self.pages.values().any(|page| page.state == PageState::Asked)
    }
}

/// Where something is live.
pub(super) fn place(live: &Live) -> Place {
    (live.revision.app().clone(), live.branch.name.clone())
}
