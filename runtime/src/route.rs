//! From a request's method and path to the script that answers it.
//!
//! Routes form a tree with one level for each part of a path. Among several routes that match, the one that is most
//! specific at the first part where they differ wins: literal text, then `{capture}`, then `{*rest}`. Where the more
//! specific branch leads nowhere, the others are tried. The path decides first and the method only then: a path that is
//! declared for other methods answers 405 and never falls through to a less specific route.
//!
//! Paths are read as RFC 3986 and RFC 9110 have it, strictly:
//!
//! - The path is split at `/` before it is percent-decoded, so an encoded slash stays within its part.
//! - `/greet` and `/greet/` are two paths. A capture is never empty, and neither is `{*rest}`.
//! - Parts `.` and `..`, encoded or not, are refused: clients resolve them before they send, so who sends them probes.
//! - A malformed encoding, text that is not UTF-8 and NUL are refused.
//! - HEAD is answered by what answers GET, unless it is declared itself. OPTIONS answers `Allow` unless it is declared.
//!   A method that no route can declare is answered 405, where the edge lets it get here.

use std::borrow::Cow;
use std::collections::HashMap;

use manifest_schema::manifest::{Manifest, Route};
use manifest_schema::method::{Method, MethodSet};
use manifest_schema::name::ScriptPath;
use manifest_schema::path::Segment;

use crate::percent;

/// The most parts of a request's path. It bounds the search; no route has more before `{*rest}`.
const SEGMENTS_MAX: usize = 512;

/// What a request leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routed {
    /// A script answers.
    Script(Matched),
    /// OPTIONS on a path that does not declare it: 204 with this `Allow`.
    Options {
        /// The methods, joined by `, `.
        allow: String,
    },
    /// The path is declared for other methods: 405 with this `Allow`.
    MethodNotAllowed {
        /// The methods, joined by `, `.
        allow: String,
    },
    /// No route has the path: 404.
    NotFound,
    /// The path is malformed: 400.
    BadPath,
}

/// A script, with what its route made of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The script that answers.
    pub script: ScriptPath,
    /// What each capture holds, decoded, `{*rest}` by its name included, in the order of the path.
    pub params: Vec<(String, String)>,
    /// What `{*rest}` holds, decoded, whatever its name.
    pub rest: Option<String>,
    /// The whole path, decoded.
    pub path: String,
    /// The request is HEAD: the answer goes without its body.
    pub head: bool,
}

/// Two routes that match the same requests, which a checked manifest never has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path `{0}` is declared twice for the same method")]
pub struct RouteConflict(pub String);

/// Says whether a revision with this manifest can lay out its routes.
///
/// # Errors
/// Two routes match the same requests.
pub fn check_routes(manifest: &Manifest) -> Result<(), RouteConflict> {
    RouteTable::new(&manifest.routes).map(drop)
}

/// The routes of one revision.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteTable {
    root: Node,
}

#[derive(Clone, Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    capture: Option<Box<Node>>,
    here: Vec<Endpoint>,
    rest: Vec<Endpoint>,
}

/// One declared route at the end of its path.
#[derive(Clone, Debug)]
struct Endpoint {
    methods: MethodSet,
    script: ScriptPath,
    /// The names of the captures on the way, in their order. Routes of one shape may name them differently.
    names: Box<[Box<str>]>,
}

impl RouteTable {
    pub(crate) fn new(routes: &[Route]) -> Result<Self, RouteConflict> {
        let mut root = Node::default();
        for route in routes {
            root.insert(route)?;
        }
        Ok(Self { root })
    }

    pub(crate) fn route(&self, method: &str, path: &str) -> Routed {
        let Some(parts) = parts(path) else { return Routed::BadPath };
        let mut captured = Vec::new();
        let Some(endpoints) = self.root.find(&parts, 0, &mut captured) else { return Routed::NotFound };
        let known = Method::parse(method);
        let chosen = known.and_then(|method| endpoint_for(endpoints.list, method));
        let Some(endpoint) = chosen else {
            let allow = allow(endpoints.list);
            return match known {
                Some(Method::Options) => Routed::Options { allow },
                _ => Routed::MethodNotAllowed { allow },
            };
        };
        let rest = endpoints.rest_from.map(|from| parts[from..].join("/"));
        let values = captured.into_iter().map(|at: usize| parts[at].to_string()).chain(rest.clone());
        let params = endpoint.names.iter().map(|name| name.to_string()).zip(values).collect();
        let path = if path.contains('%') { format!("/{}", parts.join("/")) } else { path.to_owned() };
        let head = known == Some(Method::Head);
        Routed::Script(Matched { script: endpoint.script.clone(), params, rest, path, head })
    }
}

/// The endpoints that a path leads to.
struct Found<'t> {
    list: &'t [Endpoint],
    /// The first part that `{*rest}` holds.
    rest_from: Option<usize>,
}

impl Node {
    fn insert(&mut self, route: &Route) -> Result<(), RouteConflict> {
        let mut node = self;
        let mut names = Vec::new();
        let mut rest = false;
        for segment in route.path.segments() {
            match segment {
                Segment::Literal(text) => node = node.literals.entry(text.as_str().into()).or_default(),
                Segment::Capture(name) => {
                    names.push(name.as_str().into());
                    node = node.capture.get_or_insert_default();
                }
                Segment::Rest(name) => {
                    names.push(name.as_str().into());
                    rest = true;
                }
            }
        }
        let list = if rest { &mut node.rest } else { &mut node.here };
        if list.iter().any(|other| !other.methods.intersection(route.methods).is_empty()) {
            return Err(RouteConflict(route.path.to_string()));
        }
        list.push(Endpoint { methods: route.methods, script: route.script.clone(), names: names.into() });
        Ok(())
    }

    /// The most specific endpoints for `parts[at..]`. Every node of the tree is visited at most once.
    fn find(&self, parts: &[Cow<'_, str>], at: usize, captured: &mut Vec<usize>) -> Option<Found<'_>> {
        let Some(part) = parts.get(at) else {
            return (!self.here.is_empty()).then_some(Found { list: &self.here, rest_from: None });
        };
        if let Some(found) =
            self.literals.get(part.as_ref()).and_then(|node| node.find(parts, at + 1, captured))
        {
            return Some(found);
        }
        if let Some(node) = &self.capture
            && !part.is_empty()
        {
            captured.push(at);
            if let Some(found) = node.find(parts, at + 1, captured) {
                return Some(found);
            }
            captured.pop();
        }
        let remains = parts.len() > at + 1 || !part.is_empty();
        (remains && !self.rest.is_empty()).then_some(Found { list: &self.rest, rest_from: Some(at) })
    }
}

fn endpoint_for(endpoints: &[Endpoint], method: Method) -> Option<&Endpoint> {
    let declared = |method| endpoints.iter().find(|endpoint| endpoint.methods.contains(method));
    match method {
        Method::Head => declared(Method::Head).or_else(|| declared(Method::Get)),
        method => declared(method),
    }
}

/// The value of `Allow` (RFC 9110 section 10.2.1): what is declared, and what follows from it.
fn allow(endpoints: &[Endpoint]) -> String {
    let mut methods =
        endpoints.iter().map(|endpoint| endpoint.methods).fold(MethodSet::NONE, MethodSet::union);
    if methods.contains(Method::Get) {
        methods.insert(Method::Head);
    }
    methods.insert(Method::Options);
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

/// The decoded parts of a path; `None` when it is malformed.
fn parts(path: &str) -> Option<Vec<Cow<'_, str>>> {
    let raw = path.strip_prefix('/')?;
    let mut parts = Vec::with_capacity(8);
    for part in raw.split('/') {
        let part = percent::decode_text(part)?;
        if matches!(part.as_ref(), "." | "..") || part.contains('\0') || parts.len() == SEGMENTS_MAX {
            return None;
        }
        parts.push(part);
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest_schema::path::RoutePath;
    use proptest::prelude::*;

    fn table(routes: &[(&str, &str)]) -> RouteTable {
        let routes: Vec<Route> = routes
            .iter()
            .map(|(methods, path)| Route {
                path: RoutePath::parse(path).unwrap(),
                methods: match *methods {
                    "*" => MethodSet::ALL,
                    methods => methods.split(' ').map(|name| Method::parse(name).unwrap()).collect(),
                },
                script: ScriptPath::new(&format!("{}.rhai", path.replace(['/', '{', '}', '*'], "_")))
                    .unwrap(),
            })
            .collect();
        RouteTable::new(&routes).unwrap()
    }

    fn gets(paths: &[&'static str]) -> RouteTable {
        table(&paths.iter().map(|path| ("GET", *path)).collect::<Vec<_>>())
    }

    fn matched(table: &RouteTable, path: &str) -> Matched {
        match table.route("GET", path) {
            Routed::Script(matched) => matched,
            other => panic!("{path}: {other:?}"),
        }
    }

    fn script(table: &RouteTable, path: &str) -> String {
        matched(table, path).script.stem().to_owned()
    }

    #[test]
    fn the_most_specific_route_wins_and_the_others_are_tried_behind_it() {
        let table = gets(&["/a/b/c", "/a/{x}/d", "/a/{*y}", "/{z}/b/{q}", "/{*all}", "/"]);
        assert_eq!(script(&table, "/a/b/c"), "_a_b_c");
        assert_eq!(script(&table, "/a/b/d"), "_a__x__d");
        assert_eq!(script(&table, "/a/b/e"), "_a___y_");
        assert_eq!(script(&table, "/b/b/e"), "__z__b__q_");
        assert_eq!(script(&table, "/b/c"), "___all_");
        assert_eq!(script(&table, "/"), "_");
        assert_eq!(table.route("GET", ""), Routed::BadPath);
    }

    #[test]
    fn a_branch_that_leads_nowhere_leaves_no_capture_behind() {
        let table = gets(&["/{a}/{b}/x", "/{c}/{*d}"]);
        let found = matched(&table, "/1/2/y");
        assert_eq!(found.params, [("c".into(), "1".into()), ("d".into(), "2/y".into())]);
        assert_eq!(found.rest.as_deref(), Some("2/y"));
    }

    #[test]
    fn a_trailing_slash_makes_another_path() {
        let table = gets(&["/greet", "/items/", "/{name}/x"]);
        assert_eq!(table.route("GET", "/greet/"), Routed::NotFound);
        assert_eq!(table.route("GET", "/items"), Routed::NotFound);
        assert_eq!(script(&table, "/items/"), "_items_");
        assert_eq!(table.route("GET", "//x"), Routed::NotFound);
    }

    #[test]
    fn the_remainder_is_never_empty() {
        let table = gets(&["/files/{*path}"]);
        assert_eq!(table.route("GET", "/files/"), Routed::NotFound);
        assert_eq!(table.route("GET", "/files"), Routed::NotFound);
        assert_eq!(matched(&table, "/files/a/b/").rest.as_deref(), Some("a/b/"));
    }

    #[test]
    fn an_encoded_slash_stays_in_its_part() {
        let table = gets(&["/a/{x}", "/a/{x}/b"]);
        let found = matched(&table, "/a/1%2Fb");
        assert_eq!(found.params, [("x".into(), "1/b".into())]);
        assert_eq!(found.path, "/a/1/b");
        assert_eq!(script(&table, "/%61/1"), "_a__x_");
    }

    #[test]
    fn malformed_paths_are_refused() {
        let table = gets(&["/{*all}"]);
        for path in ["", "*", "a", "/%", "/%zz", "/%ff", "/%00", "/.", "/a/../b", "/%2e%2E/b", "/a/%2e"] {
            assert_eq!(table.route("GET", path), Routed::BadPath, "{path}");
        }
        assert_eq!(table.route("GET", &"/a".repeat(SEGMENTS_MAX + 1)), Routed::BadPath);
        assert_eq!(matched(&table, "/...").rest.as_deref(), Some("..."));
    }

    #[test]
    fn head_follows_get_and_options_answers_allow() {
        let table = table(&[("GET POST", "/a"), ("DELETE", "/a"), ("*", "/all")]);
        assert!(matches!(table.route("HEAD", "/a"), Routed::Script(Matched { head: true, .. })));
        let allow = "GET, HEAD, POST, DELETE, OPTIONS".to_owned();
        assert_eq!(table.route("OPTIONS", "/a"), Routed::Options { allow: allow.clone() });
        assert_eq!(table.route("PUT", "/a"), Routed::MethodNotAllowed { allow: allow.clone() });
        assert_eq!(table.route("get", "/a"), Routed::MethodNotAllowed { allow });
        assert!(matches!(table.route("OPTIONS", "/all"), Routed::Script(_)));
        assert!(matches!(table.route("TRACE", "/all"), Routed::MethodNotAllowed { .. }));
    }

    #[test]
    fn routes_of_one_shape_may_differ_in_method_and_names() {
        let table = table(&[("GET", "/u/{id}"), ("PUT", "/u/{user}")]);
        assert_eq!(matched(&table, "/u/7").params, [("id".into(), "7".into())]);
        let Routed::Script(put) = table.route("PUT", "/u/7") else { panic!() };
        assert_eq!(put.params, [("user".into(), "7".into())]);
    }

    #[test]
    fn two_routes_for_the_same_request_are_refused() {
        let route = |path| Route {
            path: RoutePath::parse(path).unwrap(),
            methods: MethodSet::ALL,
            script: ScriptPath::new("a.rhai").unwrap(),
        };
        assert!(RouteTable::new(&[route("/a/{b}"), route("/a/{c}")]).is_err());
        assert!(RouteTable::new(&[route("/a/{b}"), route("/a/{*c}"), route("/a/c")]).is_ok());
    }

    proptest! {
        #[test]
        fn any_path_is_answered(path in "/?[a-c/%.2{}*é]{0,30}") {
            let table = gets(&["/a/{x}", "/{*y}", "/a/b/{z}/c"]);
            let _ = table.route("GET", &path);
        }
    }
}
