//! Errors in code that parses, as far as the text shows them.
//!
//! An error is an operation that always fails or has no effect at run time ([`Findings::add_since_1_3`]); code that
//! can be intended is a warning. If a type is uncertain, nothing is reported.
//!
//! - `ast`: the nodes of a script, and chains such as `a.b[c].d()`
//! - `flow`: the types of variables and expressions
//! - `functions`: functions that the manifest does not declare
//! - `members`: missing properties and methods, and the use of method results
//! - `callbacks`: functions with a parameter count that their caller does not support
//! - `ctx_reads`: names that `ctx` never contains: headers in upper case, and names that the manifest does not
//!   declare
//! - `responses`: maps that the response convention rejects or does not recognize
//! - `sdk_calls`: arguments and options that a function of the SDK does not take
//! - `templates`: templates that the commit does not have
//! - `statements`: statements without effect, constant comparisons, and `${...}` in double quotes

mod ast;
mod callbacks;
mod ctx_reads;
mod flow;
mod functions;
mod members;
mod responses;
mod sdk_calls;
mod statements;
mod templates;
#[cfg(test)]
mod tests;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::declarations::Declarations;
use super::manifest_names::ManifestNames;
use super::{Findings, ctx, names};
use crate::sandbox::Sandbox;
use ast::{Bodies, is_whole_chain};
use flow::Flow;

pub(super) fn check(
    ast: &AST,
    declarations: &Declarations,
    sandbox: &Sandbox,
    manifest_names: Option<&ManifestNames<'_>>,
    findings: &mut Findings<'_>,
) {
    let bodies = Bodies::of(ast);
    let flow = Flow::of(&bodies, declarations);
    let lines = Lines::of(findings.source);
    let context = Context { flow: &flow, declarations, sandbox, manifest_names, lines };
    bodies.walk(&mut |body, path| match path {
        [.., ASTNode::Stmt(statement)] => {
            statements::statement(statement, findings);
            match statement {
                Stmt::FnCall(call, _) => {
                    sdk_calls::call(call, &context, findings);
                    callbacks::call(call, &context, findings);
                    ctx_reads::call(call, &context, findings);
                    templates::call(call, &context, findings);
                    functions::call(call, &context, findings);
                }
                Stmt::Assignment(assignment) => members::assignment(assignment, &context, findings),
                _ => {}
            }
        }
        [around @ .., ASTNode::Expr(expression)] => match expression {
            Expr::Dot(..) | Expr::Index(..) if is_whole_chain(expression, around) => {
                members::chain_of(expression, body, around, &context, findings);
                ctx_reads::chain_of(expression, &context, findings);
            }
            Expr::FnCall(call, position) => {
                statements::operands(call, *position, &context, findings);
                sdk_calls::call(call, &context, findings);
                callbacks::call(call, &context, findings);
                ctx_reads::call(call, &context, findings);
                templates::call(call, &context, findings);
                functions::call(call, &context, findings);
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

/// The analysis of the script.
struct Context<'a> {
    flow: &'a Flow<'a>,
    declarations: &'a Declarations,
    sandbox: &'a Sandbox,
    manifest_names: Option<&'a ManifestNames<'a>>,
    lines: Lines<'a>,
}

/// The lines of a source, for position lookups.
struct Lines<'a>(Vec<&'a str>);

impl<'a> Lines<'a> {
    fn of(source: &'a str) -> Self {
        Self(source.split('\n').collect())
    }

    /// The rest of the line from a position.
    fn rest(&self, position: Position) -> &'a str {
        let line = position.line().and_then(|line| self.0.get(line - 1)).copied().unwrap_or_default();
        let skipped = position.position().unwrap_or(1).saturating_sub(1);
        line.char_indices().nth(skipped).map_or("", |(at, _)| &line[at..])
    }
}
