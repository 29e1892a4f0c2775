//! Rights, and the scopes that grant them.

use std::fmt;
use std::str::FromStr;

use manifest_schema::name::AppName;

/// The maximum number of scopes of a token.
const SCOPES_MAX: usize = 100;

/// A right. All but the last are on one app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Clone, fetch, and read live deploys, schedules and logs.
    Read,
    /// Push to branches other than production.
    DeployPreviews,
    /// Push to the production branch, and tags.
    DeployProduction,
    /// Force-push a protected production branch.
    ForcePush,
    /// Call functions; run, pause and resume schedules.
    Invoke,
    /// List, set and unset secrets.
    Secrets,
    /// Read the state.
    KvRead,
    /// Change the state.
    KvWrite,
    /// Create the app.
    Create,
    /// Everything on every app, and on tokens, settings, nodes and the audit log.
    Admin,
}

/// A right on the node. No app grants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeRight {
    /// Read metrics.
    Metrics,
    /// Read the status.
    Status,
}

impl NodeRight {
    const ALL: [Self; 2] = [Self::Metrics, Self::Status];

    /// The scope that grants it.
    pub fn scope(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Status => "status",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.scope() == word)
    }
}

/// A grant: the part of a scope after the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grant {
    Read,
    Preview,
    Deploy,
    Force,
    Invoke,
    Secrets,
    KvRead,
    KvWrite,
    Create,
}

impl Grant {
    const ALL: [Self; 9] = [
        Self::Read,
        Self::Preview,
        Self::Deploy,
        Self::Force,
        Self::Invoke,
        Self::Secrets,
        Self::KvRead,
        Self::KvWrite,
        Self::Create,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Preview => "preview",
            Self::Deploy => "deploy",
            Self::Force => "force",
            Self::Invoke => "invoke",
            Self::Secrets => "secrets",
            Self::KvRead => "kv-read",
            Self::KvWrite => "kv-write",
            Self::Create => "create",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.as_str() == word)
    }

    /// The right to deploy to production includes previews, and that to change the state includes reading it.
    fn allows(self, right: Right) -> bool {
        match right {
            Right::Read => self == Self::Read,
            Right::DeployPreviews => matches!(self, Self::Preview | Self::Deploy),
            Right::DeployProduction => self == Self::Deploy,
            Right::ForcePush => self == Self::Force,
            Right::Invoke => self == Self::Invoke,
            Right::Secrets => self == Self::Secrets,
            Right::KvRead => matches!(self, Self::KvRead | Self::KvWrite),
            Right::KvWrite => self == Self::KvWrite,
            Right::Create => self == Self::Create,
            Right::Admin => false,
        }
    }
}

impl Right {
    /// The scope that grants it on `app`.
    pub fn scope(self, app: &AppName) -> String {
        let grant = match self {
            Self::Read => Grant::Read,
            Self::DeployPreviews => Grant::Preview,
            Self::DeployProduction => Grant::Deploy,
            Self::ForcePush => Grant::Force,
            Self::Invoke => Grant::Invoke,
            Self::Secrets => Grant::Secrets,
            Self::KvRead => Grant::KvRead,
            Self::KvWrite => Grant::KvWrite,
            Self::Create => Grant::Create,
            Self::Admin => return ADMIN.to_owned(),
        };
        format!("{}:{}", app.as_str(), grant.as_str())
    }
}

const ADMIN: &str = "admin";
const EVERY_APP: &str = "*";

/// A scope: `admin`, `metrics`, `status`, or `APP:GRANT` with `*` for every app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Admin,
    Node(NodeRight),
    /// `None`: every app, including future ones.
    App(Option<AppName>, Grant),
}

impl Scope {
    fn is_of(&self, app: &AppName) -> bool {
        match self {
            Self::Admin | Self::App(None, _) => true,
            Self::App(Some(of), _) => of == app,
            Self::Node(_) => false,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str(ADMIN),
            Self::Node(right) => f.write_str(right.scope()),
            Self::App(app, grant) => {
                write!(f, "{}:{}", app.as_ref().map_or(EVERY_APP, AppName::as_str), grant.as_str())
            }
        }
    }
}

/// The scopes of a token, sorted without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

/// Invalid scopes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// The scope is malformed.
    #[error(
        "invalid scope `{}`: use `admin`, `metrics`, `status`, or APP:GRANT with `*` for every app, where GRANT is a \
         comma-separated list of read, preview, deploy, force, invoke, secrets, kv-read, kv-write, create", .0.escape_debug()
    )]
    Invalid(String),
    /// There is no scope.
    #[error("a token needs at least one scope")]
    None,
    /// There are too many scopes.
    #[error("a token has at most {SCOPES_MAX} scopes; `*` stands for every app")]
    TooMany,
}

impl Scopes {
    /// Parses scopes: each `admin`, `metrics`, `status`, or `APP:GRANT` with comma-separated grants.
    ///
    /// # Errors
    /// A scope is malformed, or there are none or too many.
    pub fn parse<'a>(written: impl IntoIterator<Item = &'a str>) -> Result<Self, ScopeError> {
        let mut scopes = Vec::new();
        for text in written {
            let invalid = || ScopeError::Invalid(text.chars().take(80).collect());
            if text == ADMIN {
                scopes.push(Scope::Admin);
                continue;
            }
            if let Some(right) = NodeRight::parse(text) {
                scopes.push(Scope::Node(right));
                continue;
            }
            let (app, grants) = text.split_once(':').ok_or_else(invalid)?;
            let app = match app {
                EVERY_APP => None,
                app => Some(AppName::new(app).map_err(|_| invalid())?),
            };
            for grant in grants.split(',') {
                scopes.push(Scope::App(app.clone(), Grant::parse(grant).ok_or_else(invalid)?));
            }
        }
        scopes.sort();
        scopes.dedup();
        match scopes.len() {
            0 => Err(ScopeError::None),
            1..=SCOPES_MAX => Ok(Self(scopes)),
            _ => Err(ScopeError::TooMany),
        }
    }

    /// Parses stored scopes. Unknown scopes of a newer version grant nothing.
    pub(super) fn from_stored(text: &str) -> Self {
        let scopes = text.split(' ').filter_map(|scope| Self::parse([scope]).ok());
        Self(scopes.flat_map(|Self(scopes)| scopes).collect())
    }

    /// All rights.
    pub(super) fn admin() -> Self {
        Self(vec![Scope::Admin])
    }

    /// Whether all rights are granted.
    pub(super) fn is_admin(&self) -> bool {
        self.0.contains(&Scope::Admin)
    }

    /// Whether `right` is granted on `app`.
    pub(super) fn allow(&self, right: Right, app: &AppName) -> bool {
        self.0.iter().any(|scope| match scope {
            Scope::Admin => true,
            Scope::Node(_) => false,
            Scope::App(_, grant) => scope.is_of(app) && grant.allows(right),
        })
    }

    /// Whether `right` is granted on every app.
    pub(super) fn allow_everywhere(&self, right: Right) -> bool {
        self.0.iter().any(|scope| match scope {
            Scope::Admin => true,
            Scope::Node(_) => false,
            Scope::App(of, grant) => of.is_none() && grant.allows(right),
        })
    }

    /// Whether `right` is granted.
    pub(super) fn allow_on_node(&self, right: NodeRight) -> bool {
        self.0.contains(&Scope::Node(right)) || self.is_admin()
    }

    /// Whether anything is granted on `app`, so that its existence is visible. The right to create does not
    /// count.
    pub(super) fn can_see(&self, app: &AppName) -> bool {
        self.0.iter().any(|scope| scope.is_of(app) && !matches!(scope, Scope::App(_, Grant::Create)))
    }
}

/// Separated by spaces.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&scopes.join(" "))
    }
}

/// The format of `--scope`.
impl FromStr for Scopes {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::parse(text.split(' '))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppName {
        AppName::new(name).unwrap()
    }

    fn scopes(text: &str) -> Scopes {
        text.parse().unwrap()
    }

    #[test]
    fn scope_grants_exactly_its_rights() {
        use Right::{Admin, Create, DeployPreviews, DeployProduction, ForcePush, Invoke, Read, Secrets};
        let all = [Read, DeployPreviews, DeployProduction, ForcePush, Invoke, Secrets, Create, Admin];
        let granted = |text: &str| -> Vec<Right> {
            let scopes = scopes(text);
            all.into_iter().filter(|right| scopes.allow(*right, &app("hello"))).collect()
        };
        assert_eq!(granted("hello:read"), [Read]);
        assert_eq!(granted("hello:preview"), [DeployPreviews]);
        assert_eq!(granted("hello:deploy"), [DeployPreviews, DeployProduction]);
        assert_eq!(granted("hello:force"), [ForcePush]);
        assert_eq!(granted("hello:invoke,secrets"), [Invoke, Secrets]);
        assert_eq!(granted("*:create"), [Create]);
        assert_eq!(granted("other:deploy,read,force,invoke,secrets,create"), []);
        assert_eq!(granted("admin"), all);
        for right in all {
            assert!(scopes(&right.scope(&app("hello"))).allow(right, &app("hello")), "{right:?}");
        }
    }

    #[test]
    fn node_rights_have_their_own_scopes() {
        for right in NodeRight::ALL {
            let scope = scopes(right.scope());
            assert!(scope.allow_on_node(right) && scopes("admin").allow_on_node(right), "{right:?}");
            assert!(!scopes("*:read").allow_on_node(right) && !scope.allow(Right::Read, &app("hello")));
            assert!(!scope.can_see(&app("hello")) && !scope.allow_everywhere(Right::Read));
            assert!(!NodeRight::ALL.into_iter().any(|other| other != right && scope.allow_on_node(other)));
        }
    }

    #[test]
    fn stored_scopes_are_deduplicated_and_round_trip() {
        let read = scopes("hello:read,deploy *:invoke metrics hello:read");
        assert_eq!(read.to_string(), "metrics *:invoke hello:read hello:deploy");
        assert_eq!(Scopes::from_stored(&read.to_string()), read);
        assert_eq!(Scopes::from_stored("hello:read hello:fly world"), scopes("hello:read"));
    }

    #[test]
    fn invalid_scope_is_rejected() {
        for wrong in ["", "hello", "hello:", ":read", "hello:write", "Hello:read", "hello:read,", "*"] {
            assert!(Scopes::parse([wrong]).is_err(), "{wrong}");
        }
        assert_eq!(Scopes::parse([]), Err(ScopeError::None));
        let many: Vec<String> = (0..=SCOPES_MAX).map(|number| format!("a{number}:read")).collect();
        assert_eq!(Scopes::parse(many.iter().map(String::as_str)), Err(ScopeError::TooMany));
    }

    #[test]
    fn create_right_does_not_reveal_existing_apps() {
        assert!(scopes("hello:read").can_see(&app("hello")) && !scopes("hello:read").can_see(&app("other")));
        assert!(!scopes("*:create").can_see(&app("hello")) && scopes("admin").can_see(&app("hello")));
    }
}
