//! What a token may: rights, and the scopes that grant them.

use std::fmt;
use std::str::FromStr;

use manifest_schema::name::AppName;

/// The most scopes that one token has.
const SCOPES_MAX: usize = 100;

/// What somebody wants to do. All but the last are about one app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Clone, fetch, look at what is live, at schedules and logs.
    Read,
    /// Push to branches other than production.
    DeployPreviews,
    /// Push to the production branch, and tags.
    DeployProduction,
    /// Set a protected production branch back.
    ForcePush,
    /// Call functions; run, pause and resume schedules.
    Invoke,
    /// See which secrets are set; set and unset them.
    Secrets,
    /// Create the app.
    Create,
    /// Everything of every app, and what belongs to none: tokens, settings, nodes, the audit list.
    Admin,
}

/// What somebody wants to see of the node. No app grants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeRight {
    /// What Prometheus reads.
    Metrics,
    /// Whether all is well.
    Status,
}

impl NodeRight {
    const ALL: [Self; 2] = [Self::Metrics, Self::Status];

    /// The scope that a token needs for it.
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

/// What is granted behind the colon of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grant {
    Read,
    Preview,
    Deploy,
    Force,
    Invoke,
    Secrets,
    Create,
}

impl Grant {
    const ALL: [Self; 7] =
        [Self::Read, Self::Preview, Self::Deploy, Self::Force, Self::Invoke, Self::Secrets, Self::Create];

    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Preview => "preview",
            Self::Deploy => "deploy",
            Self::Force => "force",
            Self::Invoke => "invoke",
            Self::Secrets => "secrets",
            Self::Create => "create",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.as_str() == word)
    }

    /// Whoever may change production may show a preview first.
    fn allows(self, right: Right) -> bool {
        match right {
            Right::Read => self == Self::Read,
            Right::DeployPreviews => matches!(self, Self::Preview | Self::Deploy),
            Right::DeployProduction => self == Self::Deploy,
            Right::ForcePush => self == Self::Force,
            Right::Invoke => self == Self::Invoke,
            Right::Secrets => self == Self::Secrets,
            Right::Create => self == Self::Create,
            Right::Admin => false,
        }
    }
}

impl Right {
    /// The scope that a token needs for it, where it is about `app`.
    pub fn scope(self, app: &AppName) -> String {
        let grant = match self {
            Self::Read => Grant::Read,
            Self::DeployPreviews => Grant::Preview,
            Self::DeployProduction => Grant::Deploy,
            Self::ForcePush => Grant::Force,
            Self::Invoke => Grant::Invoke,
            Self::Secrets => Grant::Secrets,
            Self::Create => Grant::Create,
            Self::Admin => return ADMIN.to_owned(),
        };
        format!("{}:{}", app.as_str(), grant.as_str())
    }
}

const ADMIN: &str = "admin";
const EVERY_APP: &str = "*";

/// One thing that a token may: `admin`, `metrics`, `status`, or `APP:WHAT` with `*` for every app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Admin,
    Node(NodeRight),
    /// `None`: every app, also those that come later.
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

/// All that a token may. Each scope is there once, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

/// A scope that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// It is neither `admin`, `metrics` or `status` nor `APP:WHAT`.
    #[error(
        "scope `{}` is not understood: write `admin`, `metrics`, `status`, or APP:WHAT with `*` for every app, and WHAT one or more of \
         read, preview, deploy, force, invoke, secrets, create, with commas between them", .0.escape_debug()
    )]
    NotUnderstood(String),
    /// There is none.
    #[error("a token needs at least one scope")]
    None,
    /// There are too many.
    #[error("a token has at most {SCOPES_MAX} scopes; `*` stands for every app")]
    TooMany,
}

impl Scopes {
    /// Reads scopes as people write them: each `admin`, `metrics`, `status`, or `APP:WHAT` with several WHATs behind commas.
    ///
    /// # Errors
    /// One of them is none, or there are none or too many.
    pub fn parse<'a>(written: impl IntoIterator<Item = &'a str>) -> Result<Self, ScopeError> {
        let mut scopes = Vec::new();
        for text in written {
            let not_understood = || ScopeError::NotUnderstood(text.chars().take(80).collect());
            if text == ADMIN {
                scopes.push(Scope::Admin);
                continue;
            }
            if let Some(right) = NodeRight::parse(text) {
                scopes.push(Scope::Node(right));
                continue;
            }
            let (app, grants) = text.split_once(':').ok_or_else(not_understood)?;
            let app = match app {
                EVERY_APP => None,
                app => Some(AppName::new(app).map_err(|_| not_understood())?),
            };
            for grant in grants.split(',') {
                scopes.push(Scope::App(app.clone(), Grant::parse(grant).ok_or_else(not_understood)?));
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

    /// Reads what [`Scopes`] are kept as. What a newer version wrote and this one does not understand grants nothing.
    pub(super) fn kept(text: &str) -> Self {
        let scopes = text.split(' ').filter_map(|scope| Self::parse([scope]).ok());
        Self(scopes.flat_map(|Self(scopes)| scopes).collect())
    }

    /// Everything.
    pub(super) fn admin() -> Self {
        Self(vec![Scope::Admin])
    }

    /// Whether everything is granted.
    pub(super) fn is_admin(&self) -> bool {
        self.0.contains(&Scope::Admin)
    }

    /// Whether `right` is granted, upon `app`.
    pub(super) fn allow(&self, right: Right, app: &AppName) -> bool {
        self.0.iter().any(|scope| match scope {
            Scope::Admin => true,
            Scope::Node(_) => false,
            Scope::App(_, grant) => scope.is_of(app) && grant.allows(right),
        })
    }

    /// Whether `right` is granted upon every app.
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

    /// Whether anything is granted upon `app`, so that it is no secret that there is one.
    pub(super) fn know(&self, app: &AppName) -> bool {
        self.0.iter().any(|scope| scope.is_of(app) && !matches!(scope, Scope::App(_, Grant::Create)))
    }
}

/// With a space between one and the next.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&scopes.join(" "))
    }
}

/// As the command line reads one `--scope`.
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
    fn a_scope_grants_what_it_says_and_no_more() {
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
    fn what_is_of_the_node_has_scopes_of_its_own() {
        for right in NodeRight::ALL {
            let scope = scopes(right.scope());
            assert!(scope.allow_on_node(right) && scopes("admin").allow_on_node(right), "{right:?}");
            assert!(!scopes("*:read").allow_on_node(right) && !scope.allow(Right::Read, &app("hello")));
            assert!(!scope.know(&app("hello")) && !scope.allow_everywhere(Right::Read));
            assert!(!NodeRight::ALL.into_iter().any(|other| other != right && scope.allow_on_node(other)));
        }
    }

    #[test]
    fn scopes_are_kept_as_they_are_read_each_once() {
        let read = scopes("hello:read,deploy *:invoke metrics hello:read");
        assert_eq!(read.to_string(), "metrics *:invoke hello:read hello:deploy");
        assert_eq!(Scopes::kept(&read.to_string()), read);
        assert_eq!(Scopes::kept("hello:read hello:fly world"), scopes("hello:read"));
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for wrong in ["", "hello", "hello:", ":read", "hello:write", "Hello:read", "hello:read,", "*"] {
            assert!(Scopes::parse([wrong]).is_err(), "{wrong}");
        }
        assert_eq!(Scopes::parse([]), Err(ScopeError::None));
        let many: Vec<String> = (0..=SCOPES_MAX).map(|number| format!("a{number}:read")).collect();
        assert_eq!(Scopes::parse(many.iter().map(String::as_str)), Err(ScopeError::TooMany));
    }

    #[test]
    fn whoever_may_only_create_an_app_is_not_told_whether_there_is_one() {
        assert!(scopes("hello:read").know(&app("hello")) && !scopes("hello:read").know(&app("other")));
        assert!(!scopes("*:create").know(&app("hello")) && scopes("admin").know(&app("hello")));
    }
}
