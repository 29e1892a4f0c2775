//! Turns of dear work: so many at once. Nobody who has one takes the last one, nor the last one that is left to other apps. Who waits is
//! served before those who have more turns at that moment, however long the line of these is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::holder::{Holder, LEVELS};

/// The turns. Cheap to clone; clones are the same turns.
#[derive(Clone, Debug)]
pub struct FairTurns(Arc<TurnsState>);

#[derive(Debug)]
struct TurnsState {
    all: usize,
    of_one: usize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    working: Vec<Holder>,
    /// In the order of their arrival.
    waiting: Vec<(Holder, oneshot::Sender<FairTurn>)>,
}

/// A turn, given back on drop.
#[derive(Debug)]
#[must_use = "the turn is over as soon as it is dropped"]
pub struct FairTurn {
    turns: Arc<TurnsState>,
    holder: Holder,
}

impl FairTurns {
    /// So many at once, and so many of one token, or for one app by those who have one already.
    pub fn new(all: usize, of_one: usize) -> Self {
        Self(Arc::new(TurnsState { all, of_one, line: Mutex::default() }))
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.0.lock().working.len()
    }

    /// Waits for a turn. A caller that stops waiting is out of the line.
    pub async fn next(&self, holder: &Holder) -> FairTurn {
        loop {
            let (sender, turn) = oneshot::channel();
            self.0.lock().waiting.push((holder.clone(), sender));
            TurnsState::serve(&self.0);
            // Only who waits takes it out of the line.
            if let Ok(turn) = turn.await {
                return turn;
            }
        }
    }
}

impl TurnsState {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the free turns to those who wait.
    fn serve(turns: &Arc<Self>) {
        loop {
            let mut line = turns.lock();
            line.waiting.retain(|(_, sender)| !sender.is_closed());
            if line.working.len() >= turns.all {
                return;
            }
            let Some(next) = line.next(turns.of_one) else { return };
            let (holder, sender) = line.waiting.remove(next);
            line.working.push(holder.clone());
            drop(line);
            // One that was given up meanwhile is given back at once.
            drop(sender.send(FairTurn { turns: Arc::clone(turns), holder }));
        }
    }
}

impl Line {
    /// The first of those who have the fewest turns: of their token, then of their address, then of their app.
    fn next(&self, of_one: usize) -> Option<usize> {
        let has = |holder: &Holder| -> [usize; LEVELS] {
            std::array::from_fn(|level| {
                self.working.iter().filter(|other| holder.is_same_before(other, level + 1)).count()
            })
        };
        let of_app = |holder: &Holder| self.working.iter().filter(|other| other.app == holder.app).count();
        let waiting = self.waiting.iter().enumerate().map(|(at, (holder, _))| (has(holder), at, holder));
        // Who has none can have the last one, whatever others have of the same app.
        let can =
            waiting.filter(|(has, _, holder)| has[0] == 0 || (has[0] < of_one && of_app(holder) < of_one));
        can.map(|(has, at, _)| (has, at)).min().map(|(_, at)| at)
    }
}

impl Drop for FairTurn {
    fn drop(&mut self) {
        let mut line = self.turns.lock();
        if let Some(at) = line.working.iter().position(|holder| *holder == self.holder) {
            line.working.swap_remove(at);
        }
        drop(line);
        TurnsState::serve(&self.turns);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::super::holder::tests::holder;
    use super::*;

    fn now<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_has_a_turn_leaves_the_last_one_to_others() {
        let turns = FairTurns::new(3, 2);
        let next = |token, app| {
            let holder = holder(token, 1, app);
            now(pin!(turns.next(&holder)))
        };
        let (first, second) = (next(1, "app").unwrap(), next(1, "other").unwrap());
        assert!(next(1, "more").is_none(), "a token has two");
        let third = next(2, "app").unwrap();
        assert_eq!(turns.taken(), 3);
        assert!(next(3, "more").is_none(), "all are taken");
        drop(second);
        assert!(next(2, "app").is_none(), "an app has two, unless somebody has none yet");
        let fourth = next(3, "app").unwrap();
        drop((first, third, fourth));
        assert_eq!(turns.taken(), 0, "and who stopped waiting has none");
    }

    #[test]
    fn who_has_the_fewest_turns_is_next_however_long_the_line_is() {
        let turns = FairTurns::new(2, 2);
        let (hog, other) = (holder(1, 1, "app"), holder(2, 1, "new"));
        let first = now(pin!(turns.next(&hog))).unwrap();
        let _second = now(pin!(turns.next(&hog))).unwrap();
        let mut line: Vec<_> = (0..50).map(|_| Box::pin(turns.next(&hog))).collect();
        assert!(line.iter_mut().all(|waiting| now(waiting.as_mut()).is_none()));
        let mut last = pin!(turns.next(&other));
        assert!(now(last.as_mut()).is_none());
        drop(first);
        assert!(now(last.as_mut()).is_some(), "the last one is served first");
        assert!(line.iter_mut().any(|waiting| now(waiting.as_mut()).is_some()), "and then the first");
    }
}
