//! What parses and is wrong at every call, as far as the text shows it.
//!
//! An error is what certainly fails or does nothing when it runs ([`Findings::add_new`]); what can be meant is a warning. Where it
//! is not certain what a value is, nothing is said.
//!
//! - `tree`: the nodes of a script, and chains such as `a.b[c].d()`
//! - `flow`: what variables and expressions certainly hold
//! - `members`: properties and methods that a value does not have, and what becomes of what methods give
//! - `callbacks`: functions that are handed to methods which call them with other arguments
//! - `reads`: names that `ctx` never has: headers in upper case, and what the manifest does not declare
//! - `responses`: maps that the response convention refuses, or does not take for a response
//! - `statements`: statements without effect, comparisons that never hold, and `${...}` in double quotes

mod callbacks;
mod flow;
mod members;
mod reads;
mod responses;
mod statements;
#[cfg(test)]
mod tests;
mod tree;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::declared::Declared;
use super::provided::Provided;
use super::{Findings, ctx, names};
use crate::sandbox::Sandbox;
use flow::Flow;
use tree::{Bodies, is_whole_chain};

pub(super) fn check(
    ast: &AST,
    declared: &Declared,
    sandbox: &Sandbox,
    provided: Option<&Provided<'_>>,
    findings: &mut Findings<'_>,
) {
    let bodies = Bodies::of(ast);
    let flow = Flow::of(&bodies, declared);
    let lines = Lines::of(findings.source);
    let context = Context { flow: &flow, declared, sandbox, provided, lines };
    bodies.walk(&mut |body, path| match path {
        [.., ASTNode::Stmt(statement)] => {
            statements::statement(statement, findings);
            match statement {
                Stmt::FnCall(call, _) => {
                    callbacks::call(call, &context, findings);
                    reads::call(call, &context, findings);
                }
                Stmt::Assignment(assignment) => members::assignment(assignment, &context, findings),
                _ => {}
            }
        }
        [around @ .., ASTNode::Expr(expression)] => match expression {
            Expr::Dot(..) | Expr::Index(..) if is_whole_chain(expression, around) => {
                members::chain_of(expression, body, around, &context, findings);
                reads::chain_of(expression, &context, findings);
            }
            Expr::FnCall(call, position) => {
                statements::operands(call, *position, &context, findings);
                callbacks::call(call, &context, findings);
                reads::call(call, &context, findings);
            }
            Expr::MethodCall(call, _) => callbacks::call(call, &context, findings),
            Expr::StringConstant(text, position) => {
                statements::text(text, *position, around, &context, findings);
            }
            _ => {}
        },
        _ => {}
    });
    for body in bodies.iter() {
        statements::block(body.statements, body.function.is_none(), findings);
    }
    responses::check(&bodies, &context, findings);
}

/// What is known of the script.
struct Context<'a> {
    flow: &'a Flow<'a>,
    declared: &'a Declared,
    sandbox: &'a Sandbox,
    provided: Option<&'a Provided<'a>>,
    lines: Lines<'a>,
}

/// The lines of a source, to look places up.
struct Lines<'a>(Vec<&'a str>);

impl<'a> Lines<'a> {
    fn of(source: &'a str) -> Self {
        Self(source.split('\n').collect())
    }

    /// The rest of the line from a position on.
    fn rest(&self, position: Position) -> &'a str {
        let line = position.line().and_then(|line| self.0.get(line - 1)).copied().unwrap_or_default();
        let skipped = position.position().unwrap_or(1).saturating_sub(1);
        line.char_indices().nth(skipped).map_or("", |(at, _)| &line[at..])
    }
}
