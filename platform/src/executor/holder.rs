//! Identifies the holder of a permit: permits are shared fairly among tokens first, then among the client
//! networks of a token, then among the apps they are used for.

use std::net::IpAddr;

use manifest_schema::name::AppName;
use uuid::Uuid;

/// The holder of a permit, or a waiter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The token that was used.
    pub principal: Principal,
    /// The client network.
    pub client: Option<IpAddr>,
    /// The app.
    pub app: AppName,
}

/// An identity with its own share; it cannot be multiplied by the holder of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The holder of this token.
    Token(Uuid),
    /// The holder of the admin token in this network, since several users can share that token.
    Admin(Option<IpAddr>),
}

/// The number of levels.
pub(super) const LEVELS: usize = 3;

/// The key of a holder at one level.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum LevelKey<'h> {
    Principal(Principal),
    Client(Option<IpAddr>),
    App(&'h AppName),
}

impl Holder {
    /// Creates the holder for `token`, or for the admin token if there is none, from the network `client`,
    /// for `app`.
    pub fn new(token: Option<Uuid>, client: Option<IpAddr>, app: AppName) -> Self {
        let principal = token.map_or(Principal::Admin(client), Principal::Token);
        Self { principal, client, app }
    }

    pub(super) fn key(&self, level: usize) -> LevelKey<'_> {
        match level {
            0 => LevelKey::Principal(self.principal),
            1 => LevelKey::Client(self.client),
            _ => LevelKey::App(&self.app),
        }
    }

    /// Whether both have the same keys at all levels before `level`.
    pub(super) fn shares_levels_before(&self, other: &Self, level: usize) -> bool {
        (0..level).all(|level| self.key(level) == other.key(level))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A holder with the numbered token and network, for an app.
    pub(crate) fn holder(token: u128, client: u8, app: &str) -> Holder {
        let client = IpAddr::from([127, 0, 0, client]);
        Holder::new(Some(Uuid::from_u128(token)), Some(client), AppName::new(app).unwrap())
    }

    #[test]
    fn admin_token_holders_are_distinguished_by_network() {
        let admin = |client: u8| Holder {
            ..Holder::new(None, holder(1, client, "app").client, holder(1, 1, "app").app)
        };
        assert!(admin(1).shares_levels_before(&admin(1), LEVELS));
        assert!(admin(1).key(0) != admin(2).key(0));
        assert!(holder(1, 1, "app").key(0) == holder(1, 2, "other").key(0));
        assert!(!holder(1, 1, "app").shares_levels_before(&holder(1, 1, "other"), LEVELS));
    }
}
