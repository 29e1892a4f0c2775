//! Who holds a place: what is shared out fairly is shared among tokens first, then among the addresses that use one, then among the
//! apps for which they do.

use std::net::IpAddr;

use manifest_schema::name::AppName;
use uuid::Uuid;

/// Who holds a place, or wants one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Whose token was used.
    pub principal: Principal,
    /// From which network.
    pub client: Option<IpAddr>,
    /// For which app.
    pub app: AppName,
}

/// Someone who has a part of their own. Who holds a token cannot make others of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Who has that token.
    Token(Uuid),
    /// Who has the admin token, in that network: all who need no other share it.
    Admin(Option<IpAddr>),
}

/// How many levels there are.
pub(super) const LEVELS: usize = 3;

/// What tells holders apart at a level who are the same at those before it.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Part<'h> {
    Principal(Principal),
    Client(Option<IpAddr>),
    App(&'h AppName),
}

impl Holder {
    /// Someone who uses `token`, or the admin token where there is none, from the network `client`, for `app`.
    pub fn new(token: Option<Uuid>, client: Option<IpAddr>, app: AppName) -> Self {
        let principal = token.map_or(Principal::Admin(client), Principal::Token);
        Self { principal, client, app }
    }

    pub(super) fn part(&self, level: usize) -> Part<'_> {
        match level {
            0 => Part::Principal(self.principal),
            1 => Part::Client(self.client),
            _ => Part::App(&self.app),
        }
    }

    /// Whether both are the same at all levels before that one.
    pub(super) fn is_same_before(&self, other: &Self, level: usize) -> bool {
        (0..level).all(|level| self.part(level) == other.part(level))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Someone with the token of that number, from a network and for an app of those numbers.
    pub(crate) fn holder(token: u128, client: u8, app: &str) -> Holder {
        let client = IpAddr::from([127, 0, 0, client]);
        Holder::new(Some(Uuid::from_u128(token)), Some(client), AppName::new(app).unwrap())
    }

    #[test]
    fn those_with_the_admin_token_are_told_apart_by_their_networks() {
        let admin = |client: u8| Holder {
            ..Holder::new(None, holder(1, client, "app").client, holder(1, 1, "app").app)
        };
        assert!(admin(1).is_same_before(&admin(1), LEVELS));
        assert!(admin(1).part(0) != admin(2).part(0));
        assert!(holder(1, 1, "app").part(0) == holder(1, 2, "other").part(0));
        assert!(!holder(1, 1, "app").is_same_before(&holder(1, 1, "other"), LEVELS));
    }
}
