//! Routes the method and the path of a request to a script.
//!
//! Routes form a tree with one level per path segment. If several routes match, the most specific one at the first
//! differing segment wins: literal text, then `{capture}`, then `{*rest}`. If the more specific branch has no match,
//! the others are tried. The path decides before the method: a path that is declared for other methods gets 405 and
//! never falls through to a less specific route.
//!
//! Paths are interpreted strictly by RFC 3986 and RFC 9110:
//!
//! - The path is split at `/` before percent-decoding, so an encoded slash stays within its segment.
//! - `/greet` and `/greet/` are two paths. A capture is never empty, and neither is `{*rest}`.
//! - The segments `.` and `..`, encoded or not, are rejected: clients resolve them before they send a request.
//! - Invalid encodings, text that is not UTF-8 and NUL are rejected.
//! - HEAD is handled by the script for GET unless declared itself. OPTIONS returns `Allow` unless declared. A method
//!   that no route can declare gets 405, if the edge passes it on.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZero;
use std::sync::Arc;

use hashbrown::HashTable;
use manifest_schema::limits::RouteLimits;
use manifest_schema::manifest::{Manifest, Route};
use manifest_schema::method::{Method, MethodSet};
use manifest_schema::name::ScriptPath;
use manifest_schema::path::Segment;
use smallvec::SmallVec;

use crate::percent;

/// The maximum number of segments of a request path. It limits the search; no route has more before `{*rest}`.
const SEGMENTS_MAX: usize = 512;

/// The result of routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteOutcome {
    /// A script handles the request.
    Script(RouteMatch),
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

/// A matched script, with the captures of its route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// The script.
    pub script: ScriptPath,
    /// The decoded captures, including `{*rest}` by its name, in path order.
    pub params: Vec<(Arc<str>, String)>,
    /// The decoded value of `{*rest}`.
    pub rest: Option<String>,
    /// The decoded path.
    pub path: String,
    /// The request is HEAD: the response is sent without its body.
    pub head: bool,
    /// The limits of the route, if it has any.
    pub limits: Option<Arc<RouteLimits>>,
}

/// Two routes that match the same requests; a checked manifest never has any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path `{0}` is declared twice for the same method")]
pub struct RouteConflict(pub String);

/// Checks that the routes of this manifest have no conflicts.
///
/// # Errors
/// Two routes match the same requests.
pub fn check_routes(manifest: &Manifest) -> Result<(), RouteConflict> {
    RouteTable::new(&manifest.routes).map(drop)
}

/// The routes of one revision, laid out so that a request touches little memory: in a large table, every step would
/// be a cache miss. Nodes, scripts and names are referenced by index.
#[derive(Clone, Debug)]
pub(crate) struct RouteTable {
    /// The root is the first node and always exists.
    nodes: Vec<Node>,
    /// The nodes of literal segments, by parent node and text. It only contains indices, so that much of it stays in
    /// a cache; the compared texts are in the nodes, which are accessed anyway.
    literals: HashTable<NodeId>,
    hasher: RandomState,
    /// The routes of one path, usually one. Paths with the same routes share a list; the first list is empty.
    endpoint_lists: Vec<Box<[Endpoint]>>,
    scripts: Vec<ScriptPath>,
    /// The capture names of a route in path order; most routes share theirs with many others.
    names: Vec<Box<[Arc<str>]>>,
    limits: Vec<Arc<RouteLimits>>,
}

/// The text of a literal segment; a short one is stored inline.
type Literal = rhai::Identifier;

/// The decoded segments of a request path, stored inline for most paths.
type Segments<'p> = SmallVec<[Cow<'p, str>; 8]>;

/// The indices of the captured segments.
type Captured = SmallVec<[usize; 8]>;

/// The index of a node. The root is 0 and has no parent.
type NodeId = u32;

/// The index of a list; 0 is the empty one.
type ListId = u32;

/// A node of the tree: one cache line.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Node {
    /// The parent node and the literal text of the edge to this node, if any.
    parent: NodeId,
    text: Literal,
    has_literals: bool,
    /// The child node after a captured segment.
    capture: Option<NonZero<NodeId>>,
    /// The routes that end here, that end with a capture below, and that end with `{*rest}`.
    ends: [ListId; 3],
}

const _: () = assert!(size_of::<Node>() == 64, "a node takes one line of a cache");

/// How a route ends below a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ending {
    Here,
    Capture,
    Rest,
}

/// A declared route at the end of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Endpoint {
    methods: MethodSet,
    script: u32,
    /// Routes with the same path shape can have different capture names.
    names: u32,
    /// One more than the index of its limits; 0 if it has none.
    limits: u32,
}

/// The indices while a table is built.
#[derive(Default)]
struct TableBuilder {
    scripts: HashMap<ScriptPath, u32>,
    names: HashMap<Box<[Arc<str>]>, u32>,
    ends: HashMap<(NodeId, Ending), Vec<Endpoint>>,
}

impl RouteTable {
    pub(crate) fn new(routes: &[Route]) -> Result<Self, RouteConflict> {
        let mut table = Self {
            nodes: vec![Node::default()],
            literals: HashTable::new(),
            hasher: RandomState::new(),
            endpoint_lists: vec![Box::default()],
            scripts: Vec::new(),
            names: Vec::new(),
            limits: Vec::new(),
        };
        let mut builder = TableBuilder::default();
        for route in routes {
            table.insert(route, &mut builder)?;
        }
        let mut known: HashMap<Vec<Endpoint>, ListId> = HashMap::new();
        for ((node, end), endpoints) in builder.ends {
            let list = *known.entry(endpoints).or_insert_with_key(|endpoints| {
                table.endpoint_lists.push(endpoints.as_slice().into());
                id(table.endpoint_lists.len() - 1)
            });
            table.nodes[node as usize].ends[end as usize] = list;
        }
        table.nodes.shrink_to_fit();
        let (nodes, hasher) = (&table.nodes, &table.hasher);
        table.literals.shrink_to_fit(|id| nodes[*id as usize].hash(hasher));
        Ok(table)
    }

    pub(crate) fn route(&self, method: &str, path: &str) -> RouteOutcome {
        let Some(segments) = segments(path) else { return RouteOutcome::BadPath };
        let mut captured = Captured::new();
        let found = self.find(0, &segments, 0, &mut captured);
        let Some(endpoints) = found else { return RouteOutcome::NotFound };
        let known = Method::parse(method);
        let chosen = known.and_then(|method| endpoint_for(endpoints.list, method));
        let Some(endpoint) = chosen else {
            let allow = allow(endpoints.list);
            return match known {
                Some(Method::Options) => RouteOutcome::Options { allow },
                _ => RouteOutcome::MethodNotAllowed { allow },
            };
        };
        let rest = endpoints.rest_from.map(|from| segments[from..].join("/"));
        let values = captured.into_iter().map(|at: usize| segments[at].to_string()).chain(rest.clone());
        let params = self.names[endpoint.names as usize].iter().cloned().zip(values).collect();
        let path = if path.contains('%') { format!("/{}", segments.join("/")) } else { path.to_owned() };
        let head = known == Some(Method::Head);
        let script = self.scripts[endpoint.script as usize].clone();
        let limits = endpoint.limits.checked_sub(1).map(|index| Arc::clone(&self.limits[index as usize]));
        RouteOutcome::Script(RouteMatch { script, params, rest, path, head, limits })
    }

    fn add_node(&mut self) -> NodeId {
        self.nodes.push(Node::default());
        id(self.nodes.len() - 1)
    }

    fn insert(&mut self, route: &Route, builder: &mut TableBuilder) -> Result<(), RouteConflict> {
        let (mut at, mut end): (NodeId, Ending) = (0, Ending::Here);
        let mut names: Vec<Arc<str>> = Vec::new();
        for segment in route.path.segments() {
            if end == Ending::Capture {
                (at, end) = (self.capture(at), Ending::Here);
            }
            match segment {
                Segment::Literal(text) => at = self.literal(at, text),
                Segment::Capture(name) => {
                    names.push(name.as_str().into());
                    end = Ending::Capture;
                }
                Segment::Rest(name) => {
                    names.push(name.as_str().into());
                    end = Ending::Rest;
                }
            }
        }
        let script = *builder.scripts.entry(route.script.clone()).or_insert_with(|| {
            self.scripts.push(route.script.clone());
            id(self.scripts.len() - 1)
        });
        let names = *builder.names.entry(names.into()).or_insert_with_key(|names| {
            self.names.push(names.clone());
            id(self.names.len() - 1)
        });
        let list = builder.ends.entry((at, end)).or_default();
        if list.iter().any(|other| !other.methods.intersection(route.methods).is_empty()) {
            return Err(RouteConflict(route.path.to_string()));
        }
        let limits = if route.limits.is_empty() {
            0
        } else {
            self.limits.push(Arc::new(route.limits.clone()));
            id(self.limits.len())
        };
        list.push(Endpoint { methods: route.methods, script, names, limits });
        Ok(())
    }

    /// The child node for a literal segment.
    fn literal(&mut self, at: NodeId, text: &str) -> NodeId {
        if let Some(known) = self.known_literal(at, text) {
            return known;
        }
        let new = self.add_node();
        self.nodes[at as usize].has_literals = true;
        let node = &mut self.nodes[new as usize];
        (node.parent, node.text) = (at, text.into());
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let hash = nodes[new as usize].hash(hasher);
        self.literals.insert_unique(hash, new, |id| nodes[*id as usize].hash(hasher));
        new
    }

    fn known_literal(&self, at: NodeId, text: &str) -> Option<NodeId> {
        let is_it = |id: &NodeId| {
            let node = &self.nodes[*id as usize];
            node.parent == at && node.text == text
        };
        self.literals.find(hash(&self.hasher, at, text), is_it).copied()
    }

    /// The child node for a captured segment.
    fn capture(&mut self, at: NodeId) -> NodeId {
        if let Some(known) = self.nodes[at as usize].capture {
            return known.get();
        }
        let new = self.add_node();
        self.nodes[at as usize].capture = NonZero::new(new);
        new
    }

    /// The most specific endpoints for `segments[at..]`. Visits every node at most once.
    fn find<'t>(
        &'t self,
        id: NodeId,
        segments: &[Cow<'_, str>],
        at: usize,
        captured: &mut Captured,
    ) -> Option<MatchedEndpoints<'t>> {
        let node = &self.nodes[id as usize];
        let Some(segment) = segments.get(at) else { return self.end(node, Ending::Here, None) };
        if node.has_literals
            && let Some(next) = self.known_literal(id, segment)
            && let Some(found) = self.find(next, segments, at + 1, captured)
        {
            return Some(found);
        }
        let is_last = segments.len() == at + 1;
        if !segment.is_empty() {
            captured.push(at);
            let found = match (is_last, node.capture) {
                (true, _) => self.end(node, Ending::Capture, None),
                (false, Some(next)) => self.find(next.get(), segments, at + 1, captured),
                (false, None) => None,
            };
            if found.is_some() {
                return found;
            }
            captured.pop();
        }
        if is_last && segment.is_empty() { None } else { self.end(node, Ending::Rest, Some(at)) }
    }

    /// The routes that end in this way below a node.
    fn end(&self, node: &Node, end: Ending, rest_from: Option<usize>) -> Option<MatchedEndpoints<'_>> {
        let list = &*self.endpoint_lists[node.ends[end as usize] as usize];
        (!list.is_empty()).then_some(MatchedEndpoints { list, rest_from })
    }
}

impl Node {
    fn hash(&self, hasher: &RandomState) -> u64 {
        hash(hasher, self.parent, &self.text)
    }
}

fn hash(hasher: &RandomState, parent: NodeId, text: &str) -> u64 {
    hasher.hash_one((parent, text))
}

/// An index as stored. A manifest with more than 2^32 segments exceeds its size limit.
fn id(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The endpoints of a matched path.
struct MatchedEndpoints<'t> {
    list: &'t [Endpoint],
    /// The first segment of `{*rest}`.
    rest_from: Option<usize>,
}

fn endpoint_for(endpoints: &[Endpoint], method: Method) -> Option<&Endpoint> {
    let declared = |method| endpoints.iter().find(|endpoint| endpoint.methods.contains(method));
    match method {
        Method::Head => declared(Method::Head).or_else(|| declared(Method::Get)),
        method => declared(method),
    }
}

/// The value of `Allow` (RFC 9110 section 10.2.1): the declared methods and the implied ones.
fn allow(endpoints: &[Endpoint]) -> String {
    let mut methods =
        endpoints.iter().map(|endpoint| endpoint.methods).fold(MethodSet::NONE, MethodSet::union);
    if methods.contains(Method::Get) {
        methods.insert(Method::Head);
    }
    methods.insert(Method::Options);
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

/// The decoded segments of a path; `None` if it is malformed.
fn segments(path: &str) -> Option<Segments<'_>> {
    let raw = path.strip_prefix('/')?;
    let encoded = raw.bytes().any(|byte| byte == b'%');
    let mut segments = Segments::new();
    let mut remaining = Some(raw);
    while let Some(from_here) = remaining {
        let slash = from_here.bytes().position(|byte| byte == b'/');
        let segment = &from_here[..slash.unwrap_or(from_here.len())];
        remaining = slash.map(|slash| &from_here[slash + 1..]);
        let segment = if encoded { percent::decode_text(segment)? } else { Cow::Borrowed(segment) };
        let rejected = matches!(segment.as_ref(), "." | "..") || segment.bytes().any(|byte| byte == 0);
        if rejected || segments.len() == SEGMENTS_MAX {
            return None;
        }
        segments.push(segment);
    }
    Some(segments)
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
                limits: RouteLimits::default(),
                script: ScriptPath::new(&format!("{}.rhai", path.replace(['/', '{', '}', '*'], "_")))
                    .unwrap(),
            })
            .collect();
        RouteTable::new(&routes).unwrap()
    }

    fn gets(paths: &[&'static str]) -> RouteTable {
        table(&paths.iter().map(|path| ("GET", *path)).collect::<Vec<_>>())
    }

    fn matched(table: &RouteTable, path: &str) -> RouteMatch {
        match table.route("GET", path) {
            RouteOutcome::Script(matched) => matched,
            other => panic!("{path}: {other:?}"),
        }
    }

    fn script(table: &RouteTable, path: &str) -> String {
        matched(table, path).script.stem().to_owned()
    }

    #[test]
    fn most_specific_route_wins_and_others_are_tried_after_it() {
        let table = gets(&["/a/b/c", "/a/{x}/d", "/a/{*y}", "/{z}/b/{q}", "/{*all}", "/"]);
        assert_eq!(script(&table, "/a/b/c"), "_a_b_c");
        assert_eq!(script(&table, "/a/b/d"), "_a__x__d");
        assert_eq!(script(&table, "/a/b/e"), "_a___y_");
        assert_eq!(script(&table, "/b/b/e"), "__z__b__q_");
        assert_eq!(script(&table, "/b/c"), "___all_");
        assert_eq!(script(&table, "/"), "_");
        assert_eq!(table.route("GET", ""), RouteOutcome::BadPath);
    }

    #[test]
    fn failed_branch_leaves_no_capture() {
        let table = gets(&["/{a}/{b}/x", "/{c}/{*d}"]);
        let found = matched(&table, "/1/2/y");
        assert_eq!(found.params, [("c".into(), "1".into()), ("d".into(), "2/y".into())]);
        assert_eq!(found.rest.as_deref(), Some("2/y"));
    }

    #[test]
    fn trailing_slash_is_a_different_path() {
        let table = gets(&["/greet", "/items/", "/{name}/x"]);
        assert_eq!(table.route("GET", "/greet/"), RouteOutcome::NotFound);
        assert_eq!(table.route("GET", "/items"), RouteOutcome::NotFound);
        assert_eq!(script(&table, "/items/"), "_items_");
        assert_eq!(table.route("GET", "//x"), RouteOutcome::NotFound);
    }

    #[test]
    fn rest_is_never_empty() {
        let table = gets(&["/files/{*path}"]);
        assert_eq!(table.route("GET", "/files/"), RouteOutcome::NotFound);
        assert_eq!(table.route("GET", "/files"), RouteOutcome::NotFound);
        assert_eq!(matched(&table, "/files/a/b/").rest.as_deref(), Some("a/b/"));
    }

    #[test]
    fn encoded_slash_stays_in_its_segment() {
        let table = gets(&["/a/{x}", "/a/{x}/b"]);
        let found = matched(&table, "/a/1%2Fb");
        assert_eq!(found.params, [("x".into(), "1/b".into())]);
        assert_eq!(found.path, "/a/1/b");
        assert_eq!(script(&table, "/%61/1"), "_a__x_");
    }

    #[test]
    fn malformed_paths_are_rejected() {
        let table = gets(&["/{*all}"]);
        for path in ["", "*", "a", "/%", "/%zz", "/%ff", "/%00", "/.", "/a/../b", "/%2e%2E/b", "/a/%2e"] {
            assert_eq!(table.route("GET", path), RouteOutcome::BadPath, "{path}");
        }
        assert_eq!(table.route("GET", &"/a".repeat(SEGMENTS_MAX + 1)), RouteOutcome::BadPath);
        assert_eq!(matched(&table, "/...").rest.as_deref(), Some("..."));
    }

    #[test]
    fn head_follows_get_and_options_returns_allow() {
        let table = table(&[("GET POST", "/a"), ("DELETE", "/a"), ("*", "/all")]);
        assert!(matches!(table.route("HEAD", "/a"), RouteOutcome::Script(RouteMatch { head: true, .. })));
        let allow = "GET, HEAD, POST, DELETE, OPTIONS".to_owned();
        assert_eq!(table.route("OPTIONS", "/a"), RouteOutcome::Options { allow: allow.clone() });
        assert_eq!(table.route("PUT", "/a"), RouteOutcome::MethodNotAllowed { allow: allow.clone() });
        assert_eq!(table.route("get", "/a"), RouteOutcome::MethodNotAllowed { allow });
        assert!(matches!(table.route("OPTIONS", "/all"), RouteOutcome::Script(_)));
        assert!(matches!(table.route("TRACE", "/all"), RouteOutcome::MethodNotAllowed { .. }));
    }

    #[test]
    fn routes_of_one_shape_can_differ_in_method_and_names() {
        let table = table(&[("GET", "/u/{id}"), ("PUT", "/u/{user}")]);
        assert_eq!(matched(&table, "/u/7").params, [("id".into(), "7".into())]);
        let RouteOutcome::Script(put) = table.route("PUT", "/u/7") else { panic!() };
        assert_eq!(put.params, [("user".into(), "7".into())]);
    }

    #[test]
    fn conflicting_routes_are_rejected() {
        let route = |path| Route {
            path: RoutePath::parse(path).unwrap(),
            methods: MethodSet::ALL,
            script: ScriptPath::new("a.rhai").unwrap(),
            limits: RouteLimits::default(),
        };
        assert!(RouteTable::new(&[route("/a/{b}"), route("/a/{c}")]).is_err());
        assert!(RouteTable::new(&[route("/a/{b}"), route("/a/{*c}"), route("/a/c")]).is_ok());
    }

    proptest! {
        #[test]
        fn any_path_is_routed(path in "/?[a-c/%.2{}*é]{0,30}") {
            let table = gets(&["/a/{x}", "/{*y}", "/a/b/{z}/c"]);
            let _ = table.route("GET", &path);
        }
    }
}
