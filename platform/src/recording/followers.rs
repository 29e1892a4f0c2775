//! Slots for log streams: each polls the database twice a second.

use store::StoreError;

use crate::executor::Holder;
use crate::executor::evictable_slots::{EvictablePermit, EvictableSlots, NoSlotError, SlotLimits};

/// The maximum numbers of log streams per node and per app.
const STREAMS_MAX: usize = 256;
const APP_STREAMS_MAX: usize = 16;

/// The open log streams. If the limit is reached, the holder of the most is evicted. Cheap to clone; clones
/// share their slots.
#[derive(Clone, Debug)]
pub(crate) struct Followers(EvictableSlots);

/// Why a log stream was rejected.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The limit is reached.
    #[error("too many open log streams: this token has its share of this app's or node's streams")]
    Full,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Default for Followers {
    fn default() -> Self {
        Self(EvictableSlots::new(SlotLimits {
            slots: STREAMS_MAX,
            app_slots: APP_STREAMS_MAX,
            bytes: 0,
            app_bytes: 0,
        }))
    }
}

impl Followers {
    /// Acquires a slot.
    pub(super) fn follow(&self, holder: &Holder) -> Result<EvictablePermit, FollowError> {
        self.0.try_acquire(holder).map_err(|NoSlotError| FollowError::Full)
    }
}

#[cfg(test)]
mod tests {
    use manifest_schema::name::AppName;
    use uuid::Uuid;

    use super::*;

    fn holder(token: u128, app: usize) -> Holder {
        Holder::new(Some(Uuid::from_u128(token)), None, AppName::new(&format!("app-{app}")).unwrap())
    }

    #[test]
    fn streams_of_one_token_are_evicted_for_others() {
        let followers = Followers::default();
        let hog = |app| followers.follow(&holder(1, app));
        let mut permits: Vec<_> = (0..APP_STREAMS_MAX).map(|_| hog(0).unwrap()).collect();
        assert!(matches!(hog(0), Err(FollowError::Full)));
        permits.push(followers.follow(&holder(2, 0)).unwrap());
        for app in 1..=STREAMS_MAX / APP_STREAMS_MAX {
            permits.extend((0..APP_STREAMS_MAX).filter_map(|_| hog(app).ok()));
        }
        assert_eq!(followers.0.in_use(), STREAMS_MAX);
        permits.push(followers.follow(&holder(3, 99)).unwrap());
        assert_eq!(followers.0.in_use(), STREAMS_MAX);
        permits.clear();
        assert_eq!(followers.0.in_use(), 0);
    }
}
