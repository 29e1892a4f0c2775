//! What a script reads of `ctx`: properties that are not there, attempts to change it, and which parts are needed.

use manifest_schema::sdk::SdkVersion;
use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::declared::Declared;
use super::help::Help;
use super::{Findings, walk};
use crate::sdk::{CTX, Property, RequestProperty, Uses};

pub(super) fn check(ast: &AST, declared: &Declared, sdk: SdkVersion, findings: &mut Findings<'_>) -> Uses {
    let mut uses = Uses::default();
    let mut later = Vec::new();
    // A script with a variable of that name may mean either; then nothing is said and everything is there.
    let own_variable = declared.variables.contains(CTX) || declared.left_out.contains(CTX);
    if own_variable {
        uses.add_everything();
        uses.in_functions = true;
        return uses;
    }
    walk(ast, &mut |body, path| match path {
        [.., ASTNode::Stmt(Stmt::Assignment(assignment))] => {
            if let Some(position) = root(&assignment.1.lhs) {
                let help = "copy what you change: `let body = ctx.request.body;`".to_owned();
                findings.add(position, CTX.len(), "`ctx` is read-only".to_owned(), Some(help));
            }
        }
        [around @ .., ASTNode::Expr(expression)] if is_ctx(expression) => {
            uses.in_functions |= body.function.is_some() && !body.is_closure();
            match around.last().and_then(|parent| read_from(parent, expression)) {
                Some(Read::Property(chain)) => property(chain, sdk, &mut uses, &mut later, findings),
                Some(Read::Index(index)) => {
                    if let Some((name, position)) = constant_key(index) {
                        let known = names(sdk);
                        refuse_unless_known("ctx", name, position, &known, findings);
                    }
                    uses.add_everything();
                }
                None => uses.add_everything(),
            }
        }
        _ => {}
    });
    // A script that asks for the version may read what a later one has where it is there.
    if !uses.contains(Property::SdkVersion) {
        later.into_iter().for_each(|later: Later| later.tell(sdk, findings));
    }
    uses
}

/// What a later version brought, read at a place.
struct Later {
    what: String,
    width: usize,
    position: Position,
    since: SdkVersion,
}

impl Later {
    fn tell(self, sdk: SdkVersion, findings: &mut Findings<'_>) {
        let message = format!("`{}` came with sdk {}, this is {sdk}", self.what, self.since);
        let help = format!("set `sdk = \"{}\"` in the manifest", self.since);
        findings.add(self.position, self.width, message, Some(help));
    }
}

fn is_ctx(expression: &Expr) -> bool {
    matches!(expression, Expr::Variable(variable, ..) if variable.1 == CTX && variable.2.is_empty())
}

/// Where `ctx` stands if the target of an assignment begins with it.
fn root(target: &Expr) -> Option<Position> {
    match target {
        Expr::Dot(chain, ..) | Expr::Index(chain, ..) => root(&chain.lhs),
        Expr::Variable(_, _, position) if is_ctx(target) => Some(*position),
        _ => None,
    }
}

/// How something is read from a map.
enum Read<'a> {
    /// `map.` and this.
    Property(&'a Expr),
    /// `map[` and this, perhaps with more behind the bracket.
    Index(&'a Expr),
}

/// What `parent` reads from `ctx`.
fn read_from<'a>(parent: &'a ASTNode<'_>, ctx: &Expr) -> Option<Read<'a>> {
    match parent {
        ASTNode::Expr(Expr::Dot(chain, ..)) if std::ptr::eq(&chain.lhs, ctx) => {
            Some(Read::Property(&chain.rhs))
        }
        ASTNode::Expr(Expr::Index(chain, ..)) if std::ptr::eq(&chain.lhs, ctx) => {
            Some(Read::Index(&chain.rhs))
        }
        _ => None,
    }
}

/// The key of `["key"]`, with where it stands.
fn constant_key(index: &Expr) -> Option<(&str, Position)> {
    match index {
        Expr::StringConstant(key, position) => Some((key, *position)),
        Expr::Dot(chain, ..) | Expr::Index(chain, ..) => match &chain.lhs {
            Expr::StringConstant(key, position) => Some((key, *position)),
            _ => None,
        },
        _ => None,
    }
}

/// The first property of a chain with its place, and how more is read from it.
fn head(chain: &Expr) -> Option<(&str, Position, Option<Read<'_>>)> {
    let (first, rest) = match chain {
        Expr::Property(..) => (chain, None),
        Expr::Dot(inner, ..) => (&inner.lhs, Some(Read::Property(&inner.rhs))),
        Expr::Index(inner, ..) => (&inner.lhs, Some(Read::Index(&inner.rhs))),
        _ => return None,
    };
    match first {
        Expr::Property(property, position) => Some((&property.2, *position, rest)),
        _ => None,
    }
}

fn property(
    chain: &Expr,
    sdk: SdkVersion,
    uses: &mut Uses,
    later: &mut Vec<Later>,
    findings: &mut Findings<'_>,
) {
    let Some((name, position, rest)) = head(chain) else { return uses.add_everything() };
    match Property::ALL.into_iter().find(|property| property.name() == name) {
        None => refuse_unless_known("ctx", name, position, &names(sdk), findings),
        Some(property) if property.since() > sdk => {
            let (what, width) = (format!("ctx.{name}"), name.chars().count());
            later.push(Later { what, width, position, since: property.since() });
        }
        Some(Property::Request) => match rest {
            Some(Read::Property(rest)) => request_property(rest, sdk, uses, later, findings),
            Some(Read::Index(index)) => {
                if let Some((name, position)) = constant_key(index) {
                    let known = request_names(sdk);
                    refuse_unless_known("ctx.request", name, position, &known, findings);
                }
                uses.add_whole_request();
            }
            None => uses.add_whole_request(),
        },
        Some(property) => uses.add(property),
    }
}

fn request_property(
    chain: &Expr,
    sdk: SdkVersion,
    uses: &mut Uses,
    later: &mut Vec<Later>,
    findings: &mut Findings<'_>,
) {
    let Some((name, position, _)) = head(chain) else { return uses.add_whole_request() };
    match RequestProperty::ALL.into_iter().find(|property| property.name() == name) {
        None => refuse_unless_known("ctx.request", name, position, &request_names(sdk), findings),
        Some(property) if property.since() > sdk => {
            // So that nothing is read, rather than nothing's property.
            uses.add(Property::Request);
            let (what, width) = (format!("ctx.request.{name}"), name.chars().count());
            later.push(Later { what, width, position, since: property.since() });
        }
        Some(property) => uses.add_request(property),
    }
}

/// A property of `ctx.request` that is read from a copy of it.
pub(super) fn request_name(name: &str, position: Position, findings: &mut Findings<'_>) {
    let known = request_names(findings.sdk);
    if !known.contains(&name) {
        let near = findings.suggestions.did_you_mean(name, known.iter().copied());
        let help = near.unwrap_or_else(|| format!("it has {}", known.join(", ")));
        let message = format!("`ctx.request` has no `{}`", name.escape_debug());
        findings.add_new(position, name.chars().count(), message, Some(help));
    }
}

fn names(sdk: SdkVersion) -> Vec<&'static str> {
    let there = Property::ALL.into_iter().filter(|property| property.since() <= sdk);
    there.map(Property::name).collect()
}

fn request_names(sdk: SdkVersion) -> Vec<&'static str> {
    let there = RequestProperty::ALL.into_iter().filter(|property| property.since() <= sdk);
    there.map(RequestProperty::name).collect()
}

fn refuse_unless_known(
    what: &str,
    name: &str,
    position: Position,
    known: &[&str],
    findings: &mut Findings<'_>,
) {
    if !known.contains(&name) {
        // `ctx["name"]` has it in quotes.
        let quoted = || findings.range_of(position, &format!("\"{name}\""));
        let range = findings
            .range_of(position, name)
            .or_else(|| quoted().map(|range| range.start + 1..range.end - 1));
        let near = findings.suggestions.nearest(name, known.iter().copied());
        let help = match near.zip(range) {
            Some((near, range)) => Help::did_you_mean(near, range),
            None => Help::words(format!("it has {}", known.join(", "))),
        };
        let message = format!("`{what}` has no `{}`", name.escape_debug());
        findings.add_help(position, name.chars().count(), message, Some(help));
    }
}
