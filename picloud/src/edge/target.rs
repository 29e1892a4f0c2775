//! Which target a URL has: the control plane, a repository, or an app. Pure: nothing is looked up here.

use std::net::IpAddr;

use manifest_schema::name::{AppName, NameError};
use platform::domains::ServerNames;

/// Where a proxy asks whether to obtain a certificate for a name.
pub(super) const TLS_ALLOWED: &str = "/-/api/v1/tls-allowed";

/// The host names of this server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    /// The domain whose subdomains are apps. With a domain, the control plane is only served at it and apps have no paths below it, so
    /// that no app shares an origin with the control plane.
    pub(crate) domain: Option<String>,
    /// The names of the control plane, the domain included.
    pub(crate) own: ServerNames,
}

/// The target of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target<'h, 'p> {
    /// The control plane, with the whole path: `/-/...`.
    ControlPlane(&'p str),
    /// A repository; `rest` is the path after `<app>.git`, such as `/info/refs`.
    Git { app: Result<AppName, NameError>, rest: &'p str },
    /// An app by path: `/<app>/...` or `/<app>@<branch>/...`. `path` starts with `/`, or is empty where the slash after the name is
    /// missing. `app` is not validated.
    AppPath { app: &'p str, label: Option<&'p str>, path: &'p str },
    /// An app or one of its branches by host: the label in front of the domain.
    AppHost { label: &'h str, path: &'p str },
    /// `/` of the server.
    Root,
    /// No target.
    Unknown,
}

impl<'h, 'p> Target<'h, 'p> {
    /// The target where `app` is the only app: every path of neither the control plane nor the app is a path within the app.
    pub(crate) fn or_single_app(self, app: &'p str, path: &'p str) -> Self {
        match self {
            Self::ControlPlane(_) | Self::Git { .. } | Self::AppHost { .. } => self,
            Self::AppPath { app: named, .. } if named == app => self,
            Self::AppPath { .. } | Self::Root | Self::Unknown => Self::AppPath { app, label: None, path },
        }
    }
}

impl Hosts {
    /// The target of a host and a path, both as sent.
    pub(crate) fn target<'h, 'p>(&self, host: &'h str, path: &'p str) -> Target<'h, 'p> {
        let name = host_name(host);
        if let Some(label) = self.app_label(name) {
            return Target::AppHost { label, path };
        }
        if self.domain.is_some() && !self.is_domain(name) {
            let probe = is_probe(path) && is_ip_or_localhost(name);
            return if probe { Target::ControlPlane(path) } else { Target::Unknown };
        }
        if path == "/" {
            return Target::Root;
        }
        if path == "/-" || path.starts_with("/-/") {
            return Target::ControlPlane(path);
        }
        let Some(path) = path.strip_prefix('/') else { return Target::Unknown };
        let (first, rest) = path.split_at(path.bytes().position(|byte| byte == b'/').unwrap_or(path.len()));
        if let Some(app) = first.strip_suffix(".git") {
            return Target::Git { app: AppName::new(app), rest };
        }
        if self.domain.is_some() {
            return Target::Unknown;
        }
        let (app, label) = match first.split_once('@') {
            Some((app, label)) => (app, Some(label)),
            None => (first, None),
        };
        Target::AppPath { app, label, path: rest }
    }

    /// Whether `name` is this server's domain.
    pub(super) fn is_domain(&self, name: &str) -> bool {
        self.domain.as_deref().is_some_and(|domain| name.eq_ignore_ascii_case(domain))
    }

    /// The name in a `Host` that can be the custom domain of an app: not one of the server's own names.
    pub(super) fn custom_domain<'h>(&self, host: &'h str) -> Option<&'h str> {
        let name = host_name(host);
        (!self.own.contains(name) && self.app_label(name).is_none()).then_some(name)
    }

    /// The label in front of the server's domain, or of `localhost`, which resolves without configuration (RFC 6761 section 6.3).
    pub(super) fn app_label<'h>(&self, name: &'h str) -> Option<&'h str> {
        let domain = self.domain.as_deref().unwrap_or("localhost");
        let (label, parent) = name.split_once('.')?;
        (parent.eq_ignore_ascii_case(domain) && !label.is_empty()).then_some(label)
    }
}

/// Whether a path belongs to the control plane or a repository. At the custom domain of an app these are 404: a request to them can
/// carry a token of this server, which the script would read.
pub(super) fn is_reserved(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    first == "-" || first.ends_with(".git")
}

/// The name in a `Host`, without the port and the trailing dot.
pub(super) fn host_name(host: &str) -> &str {
    let digits = host.bytes().rev().take_while(u8::is_ascii_digit).count();
    let name = host[..host.len() - digits].strip_suffix(':').unwrap_or(host);
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether proxies and load balancers request this path by the node's IP address, whatever its domain is. These endpoints are
/// read-only and public.
fn is_probe(path: &str) -> bool {
    path.starts_with("/-/health/") || path == TLS_ALLOWED
}

/// Whether a host is an IP address or `localhost`: neither can be the domain of an app.
pub(super) fn is_ip_or_localhost(name: &str) -> bool {
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
        let own = ServerNames::new(Some(domain), ["pi.local".to_owned()]);
        Hosts { domain: Some(domain.to_owned()), own }
    }

    #[test]
    fn paths_without_domain_target_control_plane_repositories_and_apps() {
        let hosts = Hosts::default();
        let read = |path| hosts.target("pi:8080", path);
        assert_eq!(read("/"), Target::Root);
        assert_eq!(read("/-/health/live"), Target::ControlPlane("/-/health/live"));
        assert_eq!(read("/hello.git/info/refs"), Target::Git { app: Ok(app("hello")), rest: "/info/refs" });
        assert_eq!(read("/hello/a/b"), Target::AppPath { app: "hello", label: None, path: "/a/b" });
        assert_eq!(read("/hello@x/"), Target::AppPath { app: "hello", label: Some("x"), path: "/" });
        assert_eq!(read("/hello"), Target::AppPath { app: "hello", label: None, path: "" });
        assert_eq!(read("/Hello/"), Target::AppPath { app: "Hello", label: None, path: "/" });
        assert!(matches!(read("/Hello.git/info/refs"), Target::Git { app: Err(_), .. }));
    }

    #[test]
    fn subdomain_of_localhost_targets_app_without_domain() {
        let hosts = Hosts::default();
        assert_eq!(
            hosts.target("hello.localhost:8080", "/a"),
            Target::AppHost { label: "hello", path: "/a" }
        );
        assert_eq!(hosts.target("localhost:8080", "/-/x"), Target::ControlPlane("/-/x"));
        assert_eq!(hosts.target("hello.localhost.:80", "/"), Target::AppHost { label: "hello", path: "/" });
    }

    #[test]
    fn single_app_gets_all_other_paths() {
        let hosts = Hosts::default();
        let read = |path| hosts.target("127.0.0.1:8080", path).or_single_app("hello", path);
        let own = |path| Target::AppPath { app: "hello", label: None, path };
        assert_eq!(
            (read("/"), read("/greet/Ann"), read("/greet")),
            (own("/"), own("/greet/Ann"), own("/greet"))
        );
        assert_eq!((read("/hello/greet/Ann"), read("/hello")), (own("/greet/Ann"), own("")));
        assert_eq!(read("/-/health/live"), Target::ControlPlane("/-/health/live"));
        assert!(matches!(read("/hello.git/info/refs"), Target::Git { .. }));
    }

    #[test]
    fn apps_of_server_with_domain_are_hosts_only() {
        let hosts = at("example.com");
        assert_eq!(
            hosts.target("Hello.Example.com", "/-/x"),
            Target::AppHost { label: "Hello", path: "/-/x" }
        );
        assert_eq!(hosts.target("example.com", "/-/x"), Target::ControlPlane("/-/x"));
        assert_eq!(hosts.target("example.com", "/hello/"), Target::Unknown);
        assert_eq!(hosts.target("other.org", "/-/x"), Target::Unknown);
        assert_eq!(hosts.target("a.b.example.com", "/"), Target::Unknown);
    }

    #[test]
    fn ip_address_of_server_with_domain_only_serves_probes() {
        let hosts = at("example.com");
        for host in ["127.0.0.1:8080", "[::1]:8080", "localhost:8080", "10.0.0.7"] {
            for path in ["/-/health/ready", TLS_ALLOWED] {
                assert_eq!(hosts.target(host, path), Target::ControlPlane(path), "{host}");
            }
            for path in ["/-/", "/-/api/v1/apps", "/hello.git/info/refs", "/"] {
                assert_eq!(hosts.target(host, path), Target::Unknown, "{host}");
            }
        }
        assert_eq!(hosts.target("other.org", "/-/health/ready"), Target::Unknown);
    }

    #[test]
    fn custom_domain_is_no_name_of_the_server() {
        let hosts = at("example.com");
        assert_eq!(hosts.custom_domain("hello.example.org:443"), Some("hello.example.org"));
        for own in ["Example.com", "a.example.com", "a.b.example.com", "pi.local:8080", "PI.local."] {
            assert_eq!(hosts.custom_domain(own), None, "{own}");
        }
        assert_eq!(Hosts::default().custom_domain("a.localhost"), None);
    }

    #[test]
    fn control_plane_and_repository_paths_are_reserved() {
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
