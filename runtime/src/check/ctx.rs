//! Reads of `ctx`: unknown properties, attempts to change it, and the parts that a script needs.

use manifest_schema::sdk::SdkVersion;
use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::declarations::Declarations;
use super::help::Help;
use super::{Findings, walk};
use crate::sdk::{CTX, Property, RequestProperty, Uses};

pub(super) fn check(
    ast: &AST,
    declarations: &Declarations,
    sdk: SdkVersion,
    findings: &mut Findings<'_>,
) -> Uses {
    let mut uses = Uses::default();
    uses.add_named(|name| declarations.members.contains(name) || declarations.removed.contains(name));
    let mut newer = Vec::new();
    // In a script with a variable of that name nothing is reported, and every part is built.
    let own_variable = declarations.variables.contains(CTX) || declarations.removed.contains(CTX);
    if own_variable {
        uses.add_everything();
        uses.in_functions = true;
        return uses;
    }
    walk(ast, &mut |body, path| match path {
        [.., ASTNode::Stmt(Stmt::Assignment(assignment))] => {
            if let Some(position) = root(&assignment.1.lhs) {
                let help = "change a copy: `let body = ctx.request.body;`".to_owned();
                findings.add(position, CTX.len(), "`ctx` is read-only".to_owned(), Some(help));
            }
        }
        [around @ .., ASTNode::Expr(expression)] if is_ctx(expression) => {
            uses.in_functions |= body.function.is_some() && !body.is_closure();
            match around.last().and_then(|parent| access_from(parent, expression)) {
                Some(Access::Property(chain)) => property(chain, sdk, &mut uses, &mut newer, findings),
                Some(Access::Index(index)) => {
                    if let Some((name, position)) = constant_key(index) {
                        let known = names(sdk);
                        check_known("ctx", name, position, &known, findings);
                    }
                    uses.add_everything();
                }
                None => uses.add_everything(),
            }
        }
        _ => {}
    });
    // A script that reads the version can use properties of later versions conditionally.
    if !uses.contains(Property::SdkVersion) {
        newer.into_iter().for_each(|newer: NewerProperty| newer.report(sdk, findings));
    }
    uses
}

/// A read of a property that a later version introduced.
struct NewerProperty {
    what: String,
    width: usize,
    position: Position,
    since: SdkVersion,
}

impl NewerProperty {
    fn report(self, sdk: SdkVersion, findings: &mut Findings<'_>) {
        let message = format!("`{}` requires sdk {}, the manifest has {sdk}", self.what, self.since);
        let help = format!("set `sdk = \"{}\"` in the manifest", self.since);
        findings.add(self.position, self.width, message, Some(help));
    }
}

fn is_ctx(expression: &Expr) -> bool {
    matches!(expression, Expr::Variable(variable, ..) if variable.1 == CTX && variable.2.is_empty())
}

/// The position of `ctx` if the target of an assignment starts with it.
fn root(target: &Expr) -> Option<Position> {
    match target {
        Expr::Dot(chain, ..) | Expr::Index(chain, ..) => root(&chain.lhs),
        Expr::Variable(_, _, position) if is_ctx(target) => Some(*position),
        _ => None,
    }
}

/// A read of a map.
enum Access<'a> {
    /// `map.` followed by this expression.
    Property(&'a Expr),
    /// `map[` followed by this expression, possibly with more after the bracket.
    Index(&'a Expr),
}

/// How `parent` reads `ctx`.
fn access_from<'a>(parent: &'a ASTNode<'_>, ctx: &Expr) -> Option<Access<'a>> {
    match parent {
        ASTNode::Expr(Expr::Dot(chain, ..)) if std::ptr::eq(&chain.lhs, ctx) => {
            Some(Access::Property(&chain.rhs))
        }
        ASTNode::Expr(Expr::Index(chain, ..)) if std::ptr::eq(&chain.lhs, ctx) => {
            Some(Access::Index(&chain.rhs))
        }
        _ => None,
    }
}

/// The key of `["key"]`, with its position.
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

/// The first property of a chain with its position, and how the rest is read.
fn first_property(chain: &Expr) -> Option<(&str, Position, Option<Access<'_>>)> {
    let (first, rest) = match chain {
        Expr::Property(..) => (chain, None),
        Expr::Dot(inner, ..) => (&inner.lhs, Some(Access::Property(&inner.rhs))),
        Expr::Index(inner, ..) => (&inner.lhs, Some(Access::Index(&inner.rhs))),
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
    newer: &mut Vec<NewerProperty>,
    findings: &mut Findings<'_>,
) {
    let Some((name, position, rest)) = first_property(chain) else { return uses.add_everything() };
    match Property::ALL.into_iter().find(|property| property.name() == name) {
        None => check_known("ctx", name, position, &names(sdk), findings),
        Some(property) if property.since() > sdk => {
            let (what, width) = (format!("ctx.{name}"), name.chars().count());
            newer.push(NewerProperty { what, width, position, since: property.since() });
        }
        Some(Property::Request) => match rest {
            Some(Access::Property(rest)) => request_property(rest, sdk, uses, newer, findings),
            Some(Access::Index(index)) => {
                if let Some((name, position)) = constant_key(index) {
                    let known = request_names(sdk);
                    check_known("ctx.request", name, position, &known, findings);
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
    newer: &mut Vec<NewerProperty>,
    findings: &mut Findings<'_>,
) {
    let Some((name, position, _)) = first_property(chain) else { return uses.add_whole_request() };
    match RequestProperty::ALL.into_iter().find(|property| property.name() == name) {
        None => check_known("ctx.request", name, position, &request_names(sdk), findings),
        Some(property) if property.since() > sdk => {
            // Read `()` instead of a property of `()`.
            uses.add(Property::Request);
            let (what, width) = (format!("ctx.request.{name}"), name.chars().count());
            newer.push(NewerProperty { what, width, position, since: property.since() });
        }
        Some(property) => uses.add_request(property),
    }
}

/// Checks a property of `ctx.request` that is read from a copy.
pub(super) fn request_name(name: &str, position: Position, findings: &mut Findings<'_>) {
    let known = request_names(findings.sdk);
    if !known.contains(&name) {
        let near = findings.suggestions.did_you_mean(name, known.iter().copied());
        let help = near.unwrap_or_else(|| format!("available: {}", known.join(", ")));
        let message = format!("`ctx.request` has no `{}`", name.escape_debug());
        findings.add_since_1_3(position, name.chars().count(), message, Some(help));
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

fn check_known(what: &str, name: &str, position: Position, known: &[&str], findings: &mut Findings<'_>) {
    if !known.contains(&name) {
        // `ctx["name"]` contains it in quotes.
        let quoted = || findings.range_of(position, &format!("\"{name}\""));
        let range = findings
            .range_of(position, name)
            .or_else(|| quoted().map(|range| range.start + 1..range.end - 1));
        let near = findings.suggestions.nearest(name, known.iter().copied());
        let help = match near.zip(range) {
            Some((near, range)) => Help::did_you_mean(near, range),
            None => Help::text(format!("available: {}", known.join(", "))),
        };
        let message = format!("`{what}` has no `{}`", name.escape_debug());
        findings.add_help(position, name.chars().count(), message, Some(help));
    }
}
