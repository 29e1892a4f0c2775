//! What a script reads of `ctx`: properties that are not there, attempts to change it, and which parts are needed.

use manifest_schema::fault::nearest;
use manifest_schema::sdk::SdkVersion;
use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::declared::Declared;
use super::{Faults, walk};
use crate::sdk::{CTX, Property, RequestProperty, Uses};

pub(super) fn check(ast: &AST, declared: &Declared, sdk: SdkVersion, faults: &mut Faults<'_>) -> Uses {
    let mut uses = Uses::default();
    // A script with a variable of that name may mean either; then nothing is said and everything is there.
    let own_variable = declared.variables.contains(CTX);
    if own_variable {
        uses.add_everything();
        uses.in_functions = true;
        return uses;
    }
    walk(ast, &mut |body, path| match path {
        [.., ASTNode::Stmt(Stmt::Assignment(assignment))] => {
            if let Some(position) = root(&assignment.1.lhs) {
                let advice = "copy what you change: `let body = ctx.request.body;`".to_owned();
                faults.add(position, CTX.len(), "`ctx` is read-only".to_owned(), Some(advice));
            }
        }
        [around @ .., ASTNode::Expr(expression)] if is_ctx(expression) => {
            uses.in_functions |= body.function.is_some() && !body.is_closure();
            let read = around.last().and_then(|parent| read_from(parent, expression));
            match read {
                Some(rest) => property(rest, sdk, &mut uses, faults),
                None => uses.add_everything(),
            }
        }
        _ => {}
    });
    uses
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

/// The rest of the chain in `parent` that begins with `ctx.`.
fn read_from<'a>(parent: &'a ASTNode<'_>, ctx: &Expr) -> Option<&'a Expr> {
    match parent {
        ASTNode::Expr(Expr::Dot(chain, ..)) if std::ptr::eq(&chain.lhs, ctx) => Some(&chain.rhs),
        _ => None,
    }
}

/// The first property of a chain with its place, and what is read from it by name, if that is what follows.
fn head(chain: &Expr) -> Option<(&str, Position, Option<&Expr>)> {
    match chain {
        Expr::Property(property, position) => Some((&property.2, *position, None)),
        Expr::Dot(inner, ..) => match &inner.lhs {
            Expr::Property(property, position) => Some((&property.2, *position, Some(&inner.rhs))),
            _ => None,
        },
        Expr::Index(inner, ..) => match &inner.lhs {
            Expr::Property(property, position) => Some((&property.2, *position, None)),
            _ => None,
        },
        _ => None,
    }
}

fn property(chain: &Expr, sdk: SdkVersion, uses: &mut Uses, faults: &mut Faults<'_>) {
    let Some((name, position, rest)) = head(chain) else { return uses.add_everything() };
    match Property::ALL.into_iter().find(|property| property.name() == name) {
        None => {
            let known = Property::ALL.map(Property::name);
            let advice = instead(name, &known);
            faults.add(position, name.chars().count(), format!("`ctx` has no `{name}`"), Some(advice));
        }
        Some(Property::Request) => match rest {
            Some(rest) => request_property(rest, sdk, uses, faults),
            None => uses.add_whole_request(),
        },
        Some(property) => uses.add(property),
    }
}

fn request_property(chain: &Expr, sdk: SdkVersion, uses: &mut Uses, faults: &mut Faults<'_>) {
    let Some((name, position, _)) = head(chain) else { return uses.add_whole_request() };
    match RequestProperty::ALL.into_iter().find(|property| property.name() == name) {
        None => {
            let known = RequestProperty::ALL.map(RequestProperty::name);
            let advice = instead(name, &known);
            faults.add(
                position,
                name.chars().count(),
                format!("`ctx.request` has no `{name}`"),
                Some(advice),
            );
        }
        Some(property) if property.since() > sdk => {
            let message = format!("`ctx.request.{name}` came with sdk {}, this is {sdk}", property.since());
            let advice = format!("set `sdk = \"{}\"` in the manifest", property.since());
            faults.add(position, name.chars().count(), message, Some(advice));
        }
        Some(property) => uses.add_request(property),
    }
}

fn instead(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has {}", known.join(", ")),
    }
}
