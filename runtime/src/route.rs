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
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZero;
use std::sync::Arc;

use hashbrown::HashTable;
use manifest_schema::manifest::{Manifest, Route};
use manifest_schema::method::{Method, MethodSet};
use manifest_schema::name::ScriptPath;
use manifest_schema::path::Segment;
use smallvec::SmallVec;

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
    pub params: Vec<(Arc<str>, String)>,
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

/// The routes of one revision, laid out so that a request looks at little memory however many there are: a large table
/// is slow where every step leads to a place that is in no cache. Nodes, scripts and names are known by their numbers.
#[derive(Clone, Debug)]
pub(crate) struct RouteTable {
    /// The root is the first; there is always one.
    nodes: Vec<Node>,
    /// The nodes behind literal parts, by the node in front of them and their text. It holds nothing but numbers, so that
    /// much of it stays in a cache; what they are compared with stands in the nodes, which are looked at anyway.
    literals: HashTable<NodeId>,
    hasher: RandomState,
    /// The routes of one path, most often one. Paths that lead to the same have the same list; the first is empty.
    lists: Vec<Box<[Endpoint]>>,
    scripts: Vec<ScriptPath>,
    /// The names of the captures on the way to a route, in their order: most routes share theirs with many.
    names: Vec<Box<[Arc<str>]>>,
}

/// A part of a path as it is written; a short one lies where it is looked up.
type Literal = rhai::Identifier;

/// The decoded parts of a request's path. What most paths have needs no memory of its own, as with [`Captured`].
type Parts<'p> = SmallVec<[Cow<'p, str>; 8]>;

/// Which parts are captured.
type Captured = SmallVec<[usize; 8]>;

/// A node's number. Nothing leads to the root, which is 0.
type NodeId = u32;

/// The number of a list; 0 is the empty one.
type ListId = u32;

/// What a path is followed through: one line of a cache, and for most routes the last.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Node {
    /// The node in front, and the text that leads from there to here; of a captured part there is none.
    before: NodeId,
    text: Literal,
    has_literals: bool,
    /// The node behind a captured part, where more follows that.
    capture: Option<NonZero<NodeId>>,
    /// The routes that end here, that end with a captured part behind this, and that capture all the rest.
    ends: [ListId; 3],
}

const _: () = assert!(size_of::<Node>() == 64, "a node takes one line of a cache");

/// How a route ends behind a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    Here,
    Capture,
    Rest,
}

/// One declared route at the end of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Endpoint {
    methods: MethodSet,
    script: u32,
    /// Routes of one shape may name their captures differently.
    names: u32,
}

/// What is told apart while a table is made.
#[derive(Default)]
struct Numbers {
    scripts: HashMap<ScriptPath, u32>,
    names: HashMap<Box<[Arc<str>]>, u32>,
    ends: HashMap<(NodeId, End), Vec<Endpoint>>,
}

impl RouteTable {
    pub(crate) fn new(routes: &[Route]) -> Result<Self, RouteConflict> {
        let mut table = Self {
            nodes: vec![Node::default()],
            literals: HashTable::new(),
            hasher: RandomState::new(),
            lists: vec![Box::default()],
            scripts: Vec::new(),
            names: Vec::new(),
        };
        let mut numbers = Numbers::default();
        for route in routes {
            table.insert(route, &mut numbers)?;
        }
        let mut known: HashMap<Vec<Endpoint>, ListId> = HashMap::new();
        for ((node, end), endpoints) in numbers.ends {
            let list = *known.entry(endpoints).or_insert_with_key(|endpoints| {
                table.lists.push(endpoints.as_slice().into());
                number(table.lists.len() - 1)
            });
            table.nodes[node as usize].ends[end as usize] = list;
        }
        table.nodes.shrink_to_fit();
        let (nodes, hasher) = (&table.nodes, &table.hasher);
        table.literals.shrink_to_fit(|id| nodes[*id as usize].hash(hasher));
        Ok(table)
    }

    pub(crate) fn route(&self, method: &str, path: &str) -> Routed {
        let Some(parts) = parts(path) else { return Routed::BadPath };
        let mut captured = Captured::new();
        let found = self.find(0, &parts, 0, &mut captured);
        let Some(endpoints) = found else { return Routed::NotFound };
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
        let params = self.names[endpoint.names as usize].iter().cloned().zip(values).collect();
        let path = if path.contains('%') { format!("/{}", parts.join("/")) } else { path.to_owned() };
        let head = known == Some(Method::Head);
        let script = self.scripts[endpoint.script as usize].clone();
        Routed::Script(Matched { script, params, rest, path, head })
    }

    fn add_node(&mut self) -> NodeId {
        self.nodes.push(Node::default());
        number(self.nodes.len() - 1)
    }

    fn insert(&mut self, route: &Route, numbers: &mut Numbers) -> Result<(), RouteConflict> {
        let (mut at, mut end): (NodeId, End) = (0, End::Here);
        let mut names: Vec<Arc<str>> = Vec::new();
        for segment in route.path.segments() {
            if end == End::Capture {
                (at, end) = (self.capture(at), End::Here);
            }
            match segment {
                Segment::Literal(text) => at = self.literal(at, text),
                Segment::Capture(name) => {
                    names.push(name.as_str().into());
                    end = End::Capture;
                }
                Segment::Rest(name) => {
                    names.push(name.as_str().into());
                    end = End::Rest;
                }
            }
        }
        let script = *numbers.scripts.entry(route.script.clone()).or_insert_with(|| {
            self.scripts.push(route.script.clone());
            number(self.scripts.len() - 1)
        });
        let names = *numbers.names.entry(names.into()).or_insert_with_key(|names| {
            self.names.push(names.clone());
            number(self.names.len() - 1)
        });
        let list = numbers.ends.entry((at, end)).or_default();
        if list.iter().any(|other| !other.methods.intersection(route.methods).is_empty()) {
            return Err(RouteConflict(route.path.to_string()));
        }
        list.push(Endpoint { methods: route.methods, script, names });
        Ok(())
    }

    /// The node behind a literal part.
    fn literal(&mut self, at: NodeId, text: &str) -> NodeId {
        if let Some(known) = self.known_literal(at, text) {
            return known;
        }
        let new = self.add_node();
        self.nodes[at as usize].has_literals = true;
        let node = &mut self.nodes[new as usize];
        (node.before, node.text) = (at, text.into());
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let hash = nodes[new as usize].hash(hasher);
        self.literals.insert_unique(hash, new, |id| nodes[*id as usize].hash(hasher));
        new
    }

    fn known_literal(&self, at: NodeId, text: &str) -> Option<NodeId> {
        let is_it = |id: &NodeId| {
            let node = &self.nodes[*id as usize];
            node.before == at && node.text == text
        };
        self.literals.find(hash(&self.hasher, at, text), is_it).copied()
    }

    /// The node behind a captured part.
    fn capture(&mut self, at: NodeId) -> NodeId {
        if let Some(known) = self.nodes[at as usize].capture {
            return known.get();
        }
        let new = self.add_node();
        self.nodes[at as usize].capture = NonZero::new(new);
        new
    }

    /// The most specific endpoints for `parts[at..]`. Every node of the tree is visited at most once.
    fn find<'t>(
        &'t self,
        id: NodeId,
        parts: &[Cow<'_, str>],
        at: usize,
        captured: &mut Captured,
    ) -> Option<Found<'t>> {
        let node = &self.nodes[id as usize];
        let Some(part) = parts.get(at) else { return self.end(node, End::Here, None) };
        if node.has_literals
            && let Some(next) = self.known_literal(id, part)
            && let Some(found) = self.find(next, parts, at + 1, captured)
        {
            return Some(found);
        }
        let is_last = parts.len() == at + 1;
        if !part.is_empty() {
            captured.push(at);
            let found = match (is_last, node.capture) {
                (true, _) => self.end(node, End::Capture, None),
                (false, Some(next)) => self.find(next.get(), parts, at + 1, captured),
                (false, None) => None,
            };
            if found.is_some() {
                return found;
            }
            captured.pop();
        }
        if is_last && part.is_empty() { None } else { self.end(node, End::Rest, Some(at)) }
    }

    /// The routes that end so behind a node.
    fn end(&self, node: &Node, end: End, rest_from: Option<usize>) -> Option<Found<'_>> {
        let list = &*self.lists[node.ends[end as usize] as usize];
        (!list.is_empty()).then_some(Found { list, rest_from })
    }
}

impl Node {
    fn hash(&self, hasher: &RandomState) -> u64 {
        hash(hasher, self.before, &self.text)
    }
}

fn hash(hasher: &RandomState, before: NodeId, text: &str) -> u64 {
    hasher.hash_one((before, text))
}

/// A place in a list as it is kept. A manifest of more parts than 32 bits count would be larger than any may be.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The endpoints that a path leads to.
struct Found<'t> {
    list: &'t [Endpoint],
    /// The first part that `{*rest}` holds.
    rest_from: Option<usize>,
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
fn parts(path: &str) -> Option<Parts<'_>> {
    let raw = path.strip_prefix('/')?;
    let encoded = raw.bytes().any(|byte| byte == b'%');
    let mut parts = Parts::new();
    let mut behind = Some(raw);
    while let Some(from_here) = behind {
        let slash = from_here.bytes().position(|byte| byte == b'/');
        let part = &from_here[..slash.unwrap_or(from_here.len())];
        behind = slash.map(|slash| &from_here[slash + 1..]);
        let part = if encoded { percent::decode_text(part)? } else { Cow::Borrowed(part) };
        let refused = matches!(part.as_ref(), "." | "..") || part.bytes().any(|byte| byte == 0);
        if refused || parts.len() == SEGMENTS_MAX {
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
