//! How long a push is looked at: all of its commits together, and only as long as somebody wants to know.

use std::time::{Duration, Instant};

use super::report::{Rejection, Tell};

/// How long the commits of one push can take to be looked at, and the scripts of a folder. What is left then is not looked at.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The time of one push.
#[derive(Clone, Debug)]
pub(crate) struct PushTime {
    most: Duration,
    ends: Instant,
    tell: Tell,
}

impl PushTime {
    /// From now on.
    pub(crate) fn begin(tell: &Tell) -> Self {
        Self::of(TIME_MAX, tell)
    }

    pub(super) fn of(most: Duration, tell: &Tell) -> Self {
        Self { most, ends: Instant::now() + most, tell: tell.clone() }
    }

    /// How long it is in all.
    pub(super) fn most(&self) -> Duration {
        self.most
    }

    /// Why nothing more is looked at, where that is so.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        if !self.tell.is_heard() {
            return Err(Rejection::Unheard);
        }
        if Instant::now() >= self.ends { Err(Rejection::TooLong) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_looked_at_for_a_time_and_as_long_as_somebody_listens() {
        let (tell, events) = Tell::channel();
        let time = PushTime::begin(&tell);
        assert!(time.check().is_ok());
        assert!(matches!(PushTime::of(Duration::ZERO, &tell).check(), Err(Rejection::TooLong)));
        drop(events);
        assert!(matches!(time.check(), Err(Rejection::Unheard)));
        assert!(PushTime::begin(&Tell::to_nobody()).check().is_ok());
    }
}
