//! Places for what clients bring or take at their own speed: so many at once, and so many bytes of it. Where none is left, who holds
//! most of them gives way, so that nobody keeps others out by beginning much and ending nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::holder::{Holder, LEVELS};

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub struct PlaceBounds {
    /// How many at once …
    pub places: usize,
    /// … and of one app.
    pub app_places: usize,
    /// How many bytes all of them bring together …
    pub bytes: u64,
    /// … and those of one app.
    pub app_bytes: u64,
}

/// All places of a kind. Cheap to clone; clones are the same places.
#[derive(Clone, Debug)]
pub struct Places(Arc<PlacesState>);

#[derive(Debug)]
struct PlacesState {
    bounds: PlaceBounds,
    taken: Mutex<Taken>,
    /// Notified when a place is free.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    /// By when they were taken.
    entries: HashMap<u64, Entry>,
    next: u64,
    waiting: usize,
}

#[derive(Debug)]
struct Entry {
    holder: Holder,
    bytes: u64,
    /// Whether it can be taken away.
    gives_way: bool,
    given_way: CancellationToken,
}

/// A place, given back on drop.
#[derive(Debug)]
#[must_use = "the place is free as soon as it is dropped"]
pub struct Place {
    places: Arc<PlacesState>,
    id: u64,
    given_way: CancellationToken,
}

/// Nobody holds more than who asks, and there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no room, and nobody holds more")]
pub struct NoPlace;

impl Places {
    /// So many, all of them free.
    pub fn new(bounds: PlaceBounds) -> Self {
        Self(Arc::new(PlacesState { bounds, taken: Mutex::default(), freed: Notify::new() }))
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.0.lock().entries.len()
    }

    /// A place for `holder`, at once: a free one, or that of someone who holds more.
    ///
    /// # Errors
    /// All are taken, and nobody holds more.
    pub fn try_enter(&self, holder: &Holder) -> Result<Place, NoPlace> {
        let mut taken = self.0.lock();
        let is_of_app = |entry: &Entry| entry.holder.app == holder.app;
        loop {
            let of_app = taken.entries.values().filter(|entry| is_of_app(entry)).count();
            let victim = if of_app >= self.0.bounds.app_places {
                taken.heaviest(holder, 1, is_of_app, |_| 1)
            } else if taken.entries.len() >= self.0.bounds.places {
                taken.heaviest(holder, 1, |_| true, |_| 1)
            } else {
                break;
            };
            taken.take_away(victim.ok_or(NoPlace)?);
        }
        let (id, given_way) = (taken.next, CancellationToken::new());
        taken.next += 1;
        let entry = Entry { holder: holder.clone(), bytes: 0, gives_way: true, given_way: given_way.clone() };
        taken.entries.insert(id, entry);
        Ok(Place { places: Arc::clone(&self.0), id, given_way })
    }

    /// The same after a while, where those who hold most want another one. As many can wait as there are places.
    ///
    /// # Errors
    /// None was free within `time`, or too many wait.
    pub async fn enter(&self, holder: &Holder, time: Duration) -> Result<Place, NoPlace> {
        if let Ok(place) = self.try_enter(holder) {
            return Ok(place);
        }
        let _waiting = Waiting::begin(&self.0)?;
        let waiting = async {
            loop {
                let mut freed = std::pin::pin!(self.0.freed.notified());
                // From here on no release is missed.
                freed.as_mut().enable();
                match self.try_enter(holder) {
                    Ok(place) => return place,
                    Err(NoPlace) => freed.await,
                }
            }
        };
        tokio::time::timeout(time, waiting).await.map_err(|_| NoPlace)
    }
}

impl Place {
    /// Ends when the place was taken away.
    pub async fn given_way(&self) {
        self.given_way.cancelled().await;
    }

    /// Is cancelled when the place is taken away.
    pub(crate) fn watch(&self) -> CancellationToken {
        self.given_way.clone()
    }

    /// It is not taken away any more.
    pub fn settle(&self) {
        if let Some(entry) = self.places.lock().entries.get_mut(&self.id) {
            entry.gives_way = false;
        }
    }

    /// Brings so many bytes more. Where there is no room for them, others give way who bring more.
    ///
    /// # Errors
    /// Nobody does, or the place was taken away itself.
    pub fn grow(&self, bytes: u64) -> Result<(), NoPlace> {
        let mut taken = self.places.lock();
        let bounds = self.places.bounds;
        loop {
            let holder = taken.entries.get(&self.id).ok_or(NoPlace)?.holder.clone();
            let sum = |of: &dyn Fn(&Entry) -> bool| {
                taken.entries.values().filter(|entry| of(entry)).map(|entry| entry.bytes).sum::<u64>()
            };
            let is_of_app = |entry: &Entry| entry.holder.app == holder.app;
            let victim = if sum(&is_of_app).saturating_add(bytes) > bounds.app_bytes {
                taken.heaviest(&holder, bytes, is_of_app, |entry| entry.bytes)
            } else if sum(&|_| true).saturating_add(bytes) > bounds.bytes {
                taken.heaviest(&holder, bytes, |_| true, |entry| entry.bytes)
            } else {
                if let Some(entry) = taken.entries.get_mut(&self.id) {
                    entry.bytes += bytes;
                }
                return Ok(());
            };
            taken.take_away(victim.ok_or(NoPlace)?);
            self.places.freed.notify_waiters();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let gone = self.places.lock().entries.remove(&self.id);
        drop(gone);
        self.places.freed.notify_waiters();
    }
}

impl PlacesState {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Who gives way to `newcomer`, who wants so much more: the oldest place of whom holds most, among tokens, else among the addresses
    /// that use the same token, else among the apps for which they do. The loser still holds as much as the newcomer then.
    fn heaviest(
        &self,
        newcomer: &Holder,
        wanted: u64,
        counts: impl Fn(&Entry) -> bool,
        weight: impl Fn(&Entry) -> u64,
    ) -> Option<u64> {
        let counted = || self.entries.iter().filter(|(_, entry)| counts(entry));
        for level in 0..LEVELS {
            let mut weights = HashMap::new();
            for (_, entry) in counted().filter(|(_, entry)| entry.holder.is_same_before(newcomer, level)) {
                let (sum, id) = weights.entry(entry.holder.part(level)).or_insert((0_u64, None));
                *sum += weight(entry);
                if entry.gives_way && weight(entry) > 0 {
                    id.get_or_insert(&entry.holder);
                }
            }
            let own = weights.remove(&newcomer.part(level)).map_or(0, |(sum, _)| sum);
            let heaviest = weights.into_values().filter_map(|(sum, some)| Some((sum, some?)));
            let Some((sum, mut holder)) = heaviest.max_by_key(|(sum, _)| *sum) else { continue };
            if sum <= own.saturating_add(wanted) {
                continue;
            }
            // The heaviest of its addresses, and of those the heaviest of their apps.
            let is_there = |entry: &Entry| entry.gives_way && weight(entry) > 0;
            for below in level + 1..LEVELS {
                let mut weights = HashMap::new();
                for (_, entry) in counted()
                    .filter(|(_, entry)| entry.holder.is_same_before(holder, below) && is_there(entry))
                {
                    let (sum, _) = weights.entry(entry.holder.part(below)).or_insert((0, &entry.holder));
                    *sum += weight(entry);
                }
                holder = weights.into_values().max_by_key(|(sum, _)| *sum)?.1;
            }
            let of_it = counted().filter(|(_, entry)| entry.holder == *holder && is_there(entry));
            return of_it.map(|(id, _)| *id).min();
        }
        None
    }

    fn take_away(&mut self, id: u64) {
        if let Some(entry) = self.entries.remove(&id) {
            entry.given_way.cancel();
        }
    }
}

/// One who waits, until it is dropped.
struct Waiting<'p>(&'p PlacesState);

impl<'p> Waiting<'p> {
    fn begin(places: &'p PlacesState) -> Result<Self, NoPlace> {
        let mut taken = places.lock();
        if taken.waiting >= places.bounds.places {
            return Err(NoPlace);
        }
        taken.waiting += 1;
        drop(taken);
        Ok(Self(places))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::holder::tests::holder;
    use super::*;

    fn places(number: usize) -> Places {
        Places::new(PlaceBounds { places: number, app_places: number, bytes: 100, app_bytes: 60 })
    }

    fn has_given_way(place: &Place) -> bool {
        place.given_way.is_cancelled()
    }

    #[test]
    fn who_holds_most_gives_way_and_an_equal_part_is_kept() {
        let all = places(6);
        let enter = |token| all.try_enter(&holder(token, 1, "app"));
        let hog: Vec<Place> = (0..6).map(|_| enter(1).unwrap()).collect();
        assert!(enter(1).is_err(), "nobody holds more");
        let others = [enter(2).unwrap(), enter(2).unwrap(), enter(2).unwrap()];
        let given_way: Vec<bool> = hog.iter().map(has_given_way).collect();
        assert_eq!(given_way, [true, true, true, false, false, false], "the oldest");
        assert!(enter(2).is_err() && enter(1).is_err(), "three and three");
        let third = enter(3).unwrap();
        assert_eq!(all.taken(), 6);
        drop((hog, others));
        assert_eq!(all.taken(), 1, "what was taken away is not given back a second time");
        drop(third);
        assert_eq!(all.taken(), 0);
    }

    #[test]
    fn one_token_is_shared_by_its_addresses_and_those_by_their_apps() {
        let all = places(4);
        let enter = |client, app| all.try_enter(&holder(1, client, app));
        let hog: Vec<Place> = (0..4).map(|_| enter(1, "app").unwrap()).collect();
        let elsewhere = enter(2, "app").unwrap();
        let other = enter(1, "other").unwrap();
        assert_eq!(hog.iter().filter(|place| has_given_way(place)).count(), 2);
        assert!(!has_given_way(&elsewhere) && !has_given_way(&other));
        // Of the three of the first address, two are for one app.
        let _second = enter(2, "more").unwrap();
        assert_eq!(hog.iter().filter(|place| has_given_way(place)).count(), 3);
    }

    #[test]
    fn an_app_has_a_part_which_is_shared_like_all() {
        let all = Places::new(PlaceBounds { places: 5, app_places: 3, bytes: 0, app_bytes: 0 });
        let enter = |token, app| all.try_enter(&holder(token, 1, app));
        let hog: Vec<Place> = (0..3).map(|_| enter(1, "app").unwrap()).collect();
        assert!(enter(1, "app").is_err());
        let other = enter(2, "app").unwrap();
        assert!(has_given_way(&hog[0]) && !has_given_way(&hog[1]));
        let more = [enter(1, "more").unwrap(), enter(1, "more").unwrap()];
        assert_eq!(all.taken(), 5);
        drop((hog, other, more));
    }

    #[test]
    fn what_is_worked_on_gives_no_way() {
        let all = places(2);
        let hog = [1, 1].map(|token| all.try_enter(&holder(token, 1, "app")).unwrap());
        hog.iter().for_each(Place::settle);
        assert!(all.try_enter(&holder(2, 1, "app")).is_err());
        assert!(!hog.iter().any(has_given_way));
    }

    #[test]
    fn bytes_are_bounded_in_sum_and_for_an_app() {
        let all = places(10);
        let enter = |token, app| all.try_enter(&holder(token, 1, app)).unwrap();
        let (hog, other) = (enter(1, "app"), enter(1, "more"));
        hog.grow(50).unwrap();
        assert_eq!(hog.grow(11), Err(NoPlace), "an app has its bound");
        other.grow(45).unwrap();
        let small = enter(2, "new");
        small.grow(5).unwrap();
        assert!(![&hog, &other, &small].into_iter().any(has_given_way), "all fit");
        small.grow(5).unwrap();
        assert!(has_given_way(&hog) && !has_given_way(&other), "the heavier app of the heavier token");
        assert_eq!(hog.grow(1), Err(NoPlace));
        let same_app = enter(3, "more");
        same_app.grow(20).unwrap();
        assert!(has_given_way(&other), "and of an app, who brings most for it");
        drop((hog, other, small, same_app));
        enter(1, "app").grow(60).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_hold_most_wait_and_not_for_ever() {
        let all = places(1);
        let first = all.try_enter(&holder(1, 1, "app")).unwrap();
        let second = Duration::from_secs(1);
        assert!(all.enter(&holder(1, 1, "app"), second).await.is_err());
        let waiting = tokio::spawn({
            let all = all.clone();
            async move { all.enter(&holder(1, 1, "app"), Duration::from_secs(60)).await.map(drop) }
        });
        tokio::time::sleep(second).await;
        assert!(all.enter(&holder(1, 1, "app"), second).await.is_err(), "too many wait");
        drop(first);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }
}
