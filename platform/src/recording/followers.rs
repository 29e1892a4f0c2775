//! Places for those who follow logs: each of them has the database asked twice a second.

use store::StoreError;

use crate::executor::Holder;
use crate::executor::places::{NoPlace, Place, PlaceBounds, Places};

/// How many can follow logs of a node at once, and how many of them those of one app.
const FOLLOWERS_MAX: usize = 256;
const APP_FOLLOWERS_MAX: usize = 16;

/// Who follows the logs of which app. Where there is no place for one more, who follows most gives way. Cheap to clone; clones are the same
/// places.
#[derive(Clone, Debug)]
pub(crate) struct Followers(Places);

/// Why an app cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// There is no place for one more.
    #[error(
        "this token follows as many logs as it can, since others follow logs of this app or this node too"
    )]
    Full,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Default for Followers {
    fn default() -> Self {
        Self(Places::new(PlaceBounds {
            places: FOLLOWERS_MAX,
            app_places: APP_FOLLOWERS_MAX,
            bytes: 0,
            app_bytes: 0,
        }))
    }
}

impl Followers {
    /// Takes a place.
    pub(super) fn follow(&self, holder: &Holder) -> Result<Place, FollowError> {
        self.0.try_enter(holder).map_err(|NoPlace| FollowError::Full)
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
    fn followers_of_one_token_give_way_to_others() {
        let followers = Followers::default();
        let hog = |app| followers.follow(&holder(1, app));
        let mut places: Vec<_> = (0..APP_FOLLOWERS_MAX).map(|_| hog(0).unwrap()).collect();
        assert!(matches!(hog(0), Err(FollowError::Full)));
        places.push(followers.follow(&holder(2, 0)).unwrap());
        for app in 1..=FOLLOWERS_MAX / APP_FOLLOWERS_MAX {
            places.extend((0..APP_FOLLOWERS_MAX).filter_map(|_| hog(app).ok()));
        }
        assert_eq!(followers.0.taken(), FOLLOWERS_MAX);
        places.push(followers.follow(&holder(3, 99)).unwrap());
        assert_eq!(followers.0.taken(), FOLLOWERS_MAX);
        places.clear();
        assert_eq!(followers.0.taken(), 0);
    }
}
