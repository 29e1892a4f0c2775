//! What a URL addresses: the control plane, a repository, or an app. Pure; nothing is looked up here.

use std::net::IpAddr;

use manifest_schema::name::{AppName, NameError};
use platform::domains::OwnNames;

/// Where a proxy asks whether a name may have a certificate.
pub(super) const TLS_ALLOWED: &str = "/-/api/v1/tls-allowed";

/// The names this server answers to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    /// The domain whose subdomains are apps. With one set, the control plane answers on this name alone and apps have no
    /// paths, so that they never share an origin with it.
    pub(crate) domain: Option<String>,
    /// The names of the control plane, that domain among them.
    pub(crate) own: OwnNames,
}

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Address<'h, 'p> {
    /// Something under `/-/`; the path is whole.
    Control(&'p str),
    /// Something of a repository: the rest is the path behind `<app>.git`, such as `/info/refs`.
    Git { app: Result<AppName, NameError>, rest: &'p str },
    /// An app by its path: `/<app>/...` or `/<app>@<branch>/...`. The path starts with `/`, or is empty where the slash
    /// behind the name is missing. The app may be one that cannot be.
    AppPath { app: &'p str, label: Option<&'p str>, path: &'p str },
    /// An app or a branch of it by its host: the label in front of the domain.
    AppHost { label: &'h str, path: &'p str },
    /// The front door.
    Root,
    /// Nothing.
    Unknown,
}

impl<'h, 'p> Address<'h, 'p> {
    /// The same where `app` is all there is: what names neither the control plane nor the app is a path within the app.
    pub(crate) fn or_alone(self, app: &'p str, path: &'p str) -> Self {
        match self {
            Self::Control(_) | Self::Git { .. } | Self::AppHost { .. } => self,
            Self::AppPath { app: named, .. } if named == app => self,
            Self::AppPath { .. } | Self::Root | Self::Unknown => Self::AppPath { app, label: None, path },
        }
    }
}

impl Hosts {
    /// Reads the `Host` of a request and its path, both as they were sent.
    pub(crate) fn address<'h, 'p>(&self, host: &'h str, path: &'p str) -> Address<'h, 'p> {
        let name = name_of(host);
        if let Some(label) = self.app_label(name) {
            return Address::AppHost { label, path };
        }
        if self.domain.is_some() && !self.is_domain(name) {
            let probed = is_probe(path) && is_of_no_domain(name);
            return if probed { Address::Control(path) } else { Address::Unknown };
        }
        if path == "/" {
            return Address::Root;
        }
        if path == "/-" || path.starts_with("/-/") {
            return Address::Control(path);
        }
        let Some(path) = path.strip_prefix('/') else { return Address::Unknown };
        let (first, rest) = path.split_at(path.bytes().position(|byte| byte == b'/').unwrap_or(path.len()));
        if let Some(app) = first.strip_suffix(".git") {
            return Address::Git { app: AppName::new(app), rest };
        }
        if self.domain.is_some() {
            return Address::Unknown;
        }
        let (app, label) = match first.split_once('@') {
            Some((app, label)) => (app, Some(label)),
            None => (first, None),
        };
        Address::AppPath { app, label, path: rest }
    }

    /// Whether `name` is this server's domain.
    pub(super) fn is_domain(&self, name: &str) -> bool {
        self.domain.as_deref().is_some_and(|domain| name.eq_ignore_ascii_case(domain))
    }

    /// The name in a `Host` where it can be the domain of an app: none of the server's own.
    pub(super) fn custom_domain<'h>(&self, host: &'h str) -> Option<&'h str> {
        let name = name_of(host);
        (!self.own.contains(name) && self.app_label(name).is_none()).then_some(name)
    }

    /// The label in front of this server's domain or of `localhost`, which needs no set-up (RFC 6761 section 6.3).
    pub(super) fn app_label<'h>(&self, name: &'h str) -> Option<&'h str> {
        let domain = self.domain.as_deref().unwrap_or("localhost");
        let (label, parent) = name.split_once('.')?;
        (parent.eq_ignore_ascii_case(domain) && !label.is_empty()).then_some(label)
    }
}

/// Whether a path belongs to the control plane or to a repository. At an app's own domain there is neither, and the app gets no such
/// request: it could hold a token that was meant for this server.
pub(super) fn is_reserved(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    first == "-" || first.ends_with(".git")
}

/// The name in a `Host`, without the port and without the dot of the root that a whole name may end in.
pub(super) fn name_of(host: &str) -> &str {
    let digits = host.bytes().rev().take_while(u8::is_ascii_digit).count();
    let name = host[..host.len() - digits].strip_suffix(':').unwrap_or(host);
    name.strip_suffix('.').unwrap_or(name)
}

/// What proxies and balancers ask a node by its address, whatever its domain is. It changes nothing, and what it tells is no
/// secret.
fn is_probe(path: &str) -> bool {
    path.starts_with("/-/health/") || path == TLS_ALLOWED
}

/// Whether a host is an address or `localhost`, which no app can have as its domain.
pub(super) fn is_of_no_domain(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppName {
        AppName::new(name).unwrap()
    }

    fn at(domain: &str) -> Hosts {
        let own = OwnNames::new(Some(domain), ["pi.local".to_owned()]);
        Hosts { domain: Some(domain.to_owned()), own }
    }

    #[test]
    fn paths_lead_to_control_repositories_and_apps() {
        let hosts = Hosts::default();
        let read = |path| hosts.address("pi:8080", path);
        assert_eq!(read("/"), Address::Root);
        assert_eq!(read("/-/health/live"), Address::Control("/-/health/live"));
        assert_eq!(read("/hello.git/info/refs"), Address::Git { app: Ok(app("hello")), rest: "/info/refs" });
        assert_eq!(read("/hello/a/b"), Address::AppPath { app: "hello", label: None, path: "/a/b" });
        assert_eq!(read("/hello@x/"), Address::AppPath { app: "hello", label: Some("x"), path: "/" });
        assert_eq!(read("/hello"), Address::AppPath { app: "hello", label: None, path: "" });
        assert_eq!(read("/Hello/"), Address::AppPath { app: "Hello", label: None, path: "/" });
        assert!(matches!(read("/Hello.git/info/refs"), Address::Git { app: Err(_), .. }));
    }

    #[test]
    fn localhost_needs_no_set_up() {
        let hosts = Hosts::default();
        assert_eq!(
            hosts.address("hello.localhost:8080", "/a"),
            Address::AppHost { label: "hello", path: "/a" }
        );
        assert_eq!(hosts.address("localhost:8080", "/-/x"), Address::Control("/-/x"));
        assert_eq!(hosts.address("hello.localhost.:80", "/"), Address::AppHost { label: "hello", path: "/" });
    }

    #[test]
    fn an_app_that_is_alone_has_every_address_that_means_nothing_else() {
        let hosts = Hosts::default();
        let read = |path| hosts.address("127.0.0.1:8080", path).or_alone("hello", path);
        let own = |path| Address::AppPath { app: "hello", label: None, path };
        assert_eq!(
            (read("/"), read("/greet/Ann"), read("/greet")),
            (own("/"), own("/greet/Ann"), own("/greet"))
        );
        assert_eq!((read("/hello/greet/Ann"), read("/hello")), (own("/greet/Ann"), own("")));
        assert_eq!(read("/-/health/live"), Address::Control("/-/health/live"));
        assert!(matches!(read("/hello.git/info/refs"), Address::Git { .. }));
    }

    #[test]
    fn with_a_domain_apps_are_hosts_and_only_hosts() {
        let hosts = at("example.com");
        assert_eq!(
            hosts.address("Hello.Example.com", "/-/x"),
            Address::AppHost { label: "Hello", path: "/-/x" }
        );
        assert_eq!(hosts.address("example.com", "/-/x"), Address::Control("/-/x"));
        assert_eq!(hosts.address("example.com", "/hello/"), Address::Unknown);
        assert_eq!(hosts.address("other.org", "/-/x"), Address::Unknown);
        assert_eq!(hosts.address("a.b.example.com", "/"), Address::Unknown);
    }

    #[test]
    fn with_a_domain_a_node_is_probed_by_its_address_and_no_more() {
        let hosts = at("example.com");
        for host in ["127.0.0.1:8080", "[::1]:8080", "localhost:8080", "10.0.0.7"] {
            for path in ["/-/health/ready", TLS_ALLOWED] {
                assert_eq!(hosts.address(host, path), Address::Control(path), "{host}");
            }
            for path in ["/-/", "/-/api/v1/apps", "/hello.git/info/refs", "/"] {
                assert_eq!(hosts.address(host, path), Address::Unknown, "{host}");
            }
        }
        assert_eq!(hosts.address("other.org", "/-/health/ready"), Address::Unknown);
    }

    #[test]
    fn name_that_is_not_the_servers_can_be_an_apps() {
        let hosts = at("example.com");
        assert_eq!(hosts.custom_domain("hello.example.org:443"), Some("hello.example.org"));
        for own in ["Example.com", "a.example.com", "a.b.example.com", "pi.local:8080", "PI.local."] {
            assert_eq!(hosts.custom_domain(own), None, "{own}");
        }
        assert_eq!(Hosts::default().custom_domain("a.localhost"), None);
    }

    #[test]
    fn paths_of_the_control_plane_and_of_repositories_are_reserved() {
        for path in
            ["/-", "/-/", "/-/api/v1/apps", "//-/api", "/hello.git", "/hello.git/info/refs", "/.git/config"]
        {
            assert!(is_reserved(path), "{path}");
        }
        for path in ["/", "/-x", "/a/-/b", "/git", "/a/b.git", "/hello.gitx"] {
            assert!(!is_reserved(path), "{path}");
        }
    }
}
