//! Places for those who follow logs: each of them has the database asked twice a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{AppId, StoreError};

/// How many can follow logs of a node at once, and how many of them those of one app.
const FOLLOWERS_MAX: usize = 256;
const APP_FOLLOWERS_MAX: usize = 16;

/// Who follows the logs of which app. Cheap to clone; clones are the same places.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followers(Arc<Mutex<HashMap<AppId, usize>>>);

/// A place among those who follow an app, until it is dropped.
#[derive(Debug)]
pub(super) struct FollowerPlace {
    followers: Followers,
    app: AppId,
}

/// Why an app cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// There is no place for one more.
    #[error("{APP_FOLLOWERS_MAX} others follow the logs of this app already")]
    AppFull,
    /// The same, whatever the app.
    #[error("{FOLLOWERS_MAX} others follow logs of this node already")]
    NodeFull,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Followers {
    /// Takes a place.
    pub(super) fn follow(&self, app: AppId) -> Result<FollowerPlace, FollowError> {
        let mut following = self.following();
        if following.get(&app).is_some_and(|followers| *followers >= APP_FOLLOWERS_MAX) {
            return Err(FollowError::AppFull);
        }
        if following.values().sum::<usize>() >= FOLLOWERS_MAX {
            return Err(FollowError::NodeFull);
        }
        *following.entry(app).or_default() += 1;
        Ok(FollowerPlace { followers: self.clone(), app })
    }

    /// The numbers by app. They are changed in steps that cannot panic halfway.
    fn following(&self) -> MutexGuard<'_, HashMap<AppId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FollowerPlace {
    fn drop(&mut self) {
        let mut following = self.followers.following();
        if let Some(followers) = following.get_mut(&self.app) {
            *followers -= 1;
            if *followers == 0 {
                following.remove(&self.app);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn followers_of_one_app_leave_places_to_those_of_others() {
        let followers = Followers::default();
        let follow = |app: u128| followers.follow(AppId::from_uuid(Uuid::from_u128(app)));
        let mut places: Vec<_> = (0..APP_FOLLOWERS_MAX).map(|_| follow(1).unwrap()).collect();
        assert!(matches!(follow(1), Err(FollowError::AppFull)));
        drop(places.pop());
        places.push(follow(1).unwrap());
        for app in 2..=(FOLLOWERS_MAX / APP_FOLLOWERS_MAX) as u128 {
            places.extend((0..APP_FOLLOWERS_MAX).map(|_| follow(app).unwrap()));
        }
        assert!(matches!(follow(99), Err(FollowError::NodeFull)));
        places.clear();
        assert!(followers.following().is_empty());
    }
}
