//! Statements without effect, constant comparisons, unreachable code, and `${...}` in double quotes.

use rhai::{ASTFlags, ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::flow::Type;
use super::{Context, Findings};
use crate::sdk::CTX;

/// Methods that search for text, in which `${...}` can be intended.
const SEARCHES: [&str; 9] = [
    "replace",
    "replaced",
    "contains",
    "index_of",
    "split",
    "split_rev",
    "starts_with",
    "ends_with",
    "remove",
];

/// Checks the blocks of a statement.
pub(super) fn statement(statement: &Stmt, findings: &mut Findings<'_>) {
    match statement {
        Stmt::If(flow, ..) | Stmt::TryCatch(flow, ..) => {
            block(flow.body.statements(), false, findings);
            block(flow.branch.statements(), false, findings);
        }
        Stmt::While(flow, ..) | Stmt::Do(flow, ..) => block(flow.body.statements(), false, findings),
        Stmt::For(each, ..) => block(each.2.body.statements(), false, findings),
        Stmt::Block(inner) => block(inner.statements(), false, findings),
        _ => {}
    }
}

/// Checks the statements of a block.
pub(super) fn block(statements: &[Stmt], is_script: bool, findings: &mut Findings<'_>) {
    for pair in statements.windows(2) {
        let [statement, next] = pair else { continue };
        match statement {
            // At the top level, authors write comparisons to document a result.
            Stmt::Expr(expression) if !is_script => {
                if let Expr::FnCall(call, position) = expression.as_ref() {
                    comparison(call, *position, findings);
                }
            }
            Stmt::FnCall(call, position) if !is_script => comparison(call, *position, findings),
            Stmt::Return(_, flags, _) => {
                let word = if flags.contains(ASTFlags::BREAK) { "throw" } else { "return" };
                unreachable(word, next, findings);
            }
            Stmt::BreakLoop(_, flags, _) => {
                let word = if flags.contains(ASTFlags::BREAK) { "break" } else { "continue" };
                unreachable(word, next, findings);
            }
            _ => {}
        }
    }
}

fn comparison(call: &FnCallExpr, position: Position, findings: &mut Findings<'_>) {
    if call.is_operator_call() && call.name == "==" {
        let message = "unused result of a comparison".to_owned();
        findings.warn(position, 2, message, Some("use `=` to assign".to_owned()));
    }
}

/// Checks comparisons of a string with a number or a boolean.
pub(super) fn operands<'a>(
    call: &'a FnCallExpr,
    position: Position,
    context: &Context<'a>,
    findings: &mut Findings<'_>,
) {
    let (name, [left, right]) = (call.name.as_str(), call.args.as_slice()) else { return };
    let always = match name {
        "==" | "<" | ">" | "<=" | ">=" => "false",
        "!=" => "true",
        _ => return,
    };
    if !call.is_operator_call() {
        return;
    }
    let of = |operand: &'a Expr| context.flow.value(operand).of_type();
    let other = match (of(left), of(right)) {
        (Some(Type::Text), Some(other)) | (Some(other), Some(Type::Text)) => other,
        _ => return,
    };
    if matches!(other, Type::Int | Type::Float | Type::Bool) {
        let message = format!("comparison of a string and {} is always {always}", other.name());
        let help = match other {
            Type::Int => Some("convert it with `parse_int`".to_owned()),
            Type::Float => Some("convert it with `parse_float`".to_owned()),
            _ => None,
        };
        findings.add_since_1_3(position, name.len(), message, help);
    }
}

fn unreachable(word: &str, next: &Stmt, findings: &mut Findings<'_>) {
    if !matches!(next, Stmt::Noop(_)) {
        findings.warn(next.position(), 1, format!("unreachable statement after `{word}`"), None);
    }
}

/// Checks a string in double quotes for an interpolation of a known name.
pub(super) fn text(
    text: &str,
    position: Position,
    around: &[ASTNode<'_>],
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) {
    let is_searched_for = matches!(
        around.last(),
        Some(ASTNode::Expr(Expr::MethodCall(call, _) | Expr::FnCall(call, _))) if SEARCHES.contains(&call.name.as_str())
    );
    if is_searched_for || !text.contains("${") {
        return;
    }
    let written = context.lines.rest(position);
    if !written.starts_with('"') {
        return;
    }
    // An escaped `$` is intended.
    let written = literal(written);
    let Some(inner) =
        written.split("${").skip(1).find_map(|rest| rest.split_once('}').map(|(inner, _)| inner))
    else {
        return;
    };
    if names_of(inner)
        .any(|name| name == CTX || name == "this" || context.declarations.variables.contains(name))
    {
        let message = "`${...}` is not interpolated in double quotes".to_owned();
        findings.warn(position, written.chars().count(), message, Some("use backquotes".to_owned()));
    }
}

/// A string literal in double quotes, including the quotes.
fn literal(written: &str) -> &str {
    let mut is_escaped = false;
    let end = written.char_indices().skip(1).find(|(_, c)| match c {
        _ if std::mem::take(&mut is_escaped) => false,
        '\\' => {
            is_escaped = true;
            false
        }
        c => *c == '"',
    });
    end.map_or(written, |(at, _)| &written[..=at])
}

/// The names in a piece of code.
fn names_of(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}
