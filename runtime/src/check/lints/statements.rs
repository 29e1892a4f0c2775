//! Statements without effect, comparisons that never hold, code that is never reached, and `${...}` in double quotes.

use rhai::{ASTFlags, ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::flow::Type;
use super::{Context, Findings};
use crate::sdk::CTX;

/// Methods that are handed text to look for, in which `${...}` can be meant.
const SEARCHES: [&str; 8] =
    ["replace", "contains", "index_of", "split", "split_rev", "starts_with", "ends_with", "remove"];

/// The blocks within a statement.
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

/// The statements of one block, in their order.
pub(super) fn block(statements: &[Stmt], is_script: bool, findings: &mut Findings<'_>) {
    for pair in statements.windows(2) {
        let [statement, next] = pair else { continue };
        match statement {
            // At the top of a script, people write comparisons down to say what holds.
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
        let message = "the result of the comparison is not used".to_owned();
        findings.warn(position, 2, message, Some("`=` assigns".to_owned()));
    }
}

/// A string is compared with a number or a boolean: which it never is.
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
        let message = format!("a string and {} are compared, which is always {always}", other.words());
        let help = match other {
            Type::Int => Some("make it a number with `parse_int`".to_owned()),
            Type::Float => Some("make it a number with `parse_float`".to_owned()),
            _ => None,
        };
        findings.add_new(position, name.len(), message, help);
    }
}

fn unreachable(word: &str, next: &Stmt, findings: &mut Findings<'_>) {
    if !matches!(next, Stmt::Noop(_)) {
        findings.warn(next.position(), 1, format!("this is never reached: it follows `{word}`"), None);
    }
}

/// Text in double quotes, with what looks like an interpolation of something that the script knows.
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
    // What is escaped is meant.
    let written = literal(written);
    let Some(inner) =
        written.split("${").skip(1).find_map(|rest| rest.split_once('}').map(|(inner, _)| inner))
    else {
        return;
    };
    if names_of(inner).any(|name| name == CTX || name == "this" || context.declared.variables.contains(name))
    {
        let message = "`${...}` is text in double quotes".to_owned();
        findings.warn(
            position,
            written.chars().count(),
            message,
            Some("write the string in backquotes".to_owned()),
        );
    }
}

/// A string in double quotes as it is written, quotes included.
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

/// The names that stand in a piece of code.
fn names_of(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}
