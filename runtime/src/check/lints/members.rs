//! Missing properties and methods, mutating methods on constants, and results that are `()`.

use std::any::TypeId;

use rhai::{ASTNode, BinaryExpr, Expr, FnCallExpr, OpAssignment, Position, Stmt};

use super::ast::{Body, Link, chain};
use super::flow::{Part, Type, Value, variable_name};
use super::{Context, Findings, names};
use crate::sdk::{CTX, Settings};

/// Methods that change their receiver and return `()`, with an alternative that returns a value, if the SDK version
/// has it.
pub(super) const RETURN_UNIT: [(&str, Option<&str>); 29] = [
    ("append", None),
    ("chop", None),
    ("clear", None),
    ("crop", Some("sub_string")),
    ("dedup", None),
    ("fill_with", None),
    ("for_each", Some("map")),
    ("insert", None),
    ("make_lower", Some("to_lower")),
    ("make_upper", Some("to_upper")),
    ("mixin", None),
    ("pad", None),
    ("push", None),
    ("replace", Some("replaced")),
    ("reverse", None),
    ("set", None),
    ("set_bit", None),
    ("set_bits", None),
    ("set_tag", None),
    ("sort", Some("order")),
    ("sort_by", Some("order_by")),
    ("sort_desc", Some("order_desc")),
    ("splice", None),
    ("trim", Some("trimmed")),
    ("truncate", None),
    ("write_ascii", None),
    ("write_be", None),
    ("write_le", None),
    ("write_utf8", None),
];

/// Other methods that cannot be called on a constant, because Rhai registers them as mutating.
pub(super) const MUTATING: [&str; 10] =
    ["drain", "extract", "order", "order_by", "order_desc", "pop", "remove", "retain", "shift", "take"];

/// Names of the length in other languages.
const LENGTHS: [&str; 4] = ["length", "size", "count", "Length"];

/// Checks every step of a chain.
pub(super) fn chain_of<'a>(
    expression: &'a Expr,
    body: Body<'a>,
    around: &[ASTNode<'a>],
    context: &Context<'a>,
    findings: &mut Findings<'_>,
) {
    let Some((root, links)) = chain(expression) else { return };
    let values = context.flow.steps(root, &links);
    let is_target = matches!(
        around.last(),
        Some(ASTNode::Stmt(Stmt::Assignment(assignment))) if std::ptr::eq(&assignment.1.lhs, expression)
    );
    stored_copy(root, &links, body, around, context, findings);
    let constant = constant_name(root, context);
    let mut is_within_constant = constant.is_some();
    for (index, (link, value)) in links.iter().zip(&values).enumerate() {
        let is_last = index + 1 == links.len();
        match (*link, *value) {
            (Link::Property(name, position), value) if !(is_target && is_last) => {
                if let (Some(of), false) = (value.of_type(), matches!(value, Value::Ctx(_))) {
                    property(of, name, position, context, findings);
                }
            }
            (Link::Method(call, position), value) => {
                if is_within_constant && is_change(&call.name) && !context.flow.is_own_method(&call.name) {
                    report_constant(constant.unwrap_or_default(), &call.name, position, findings);
                } else if let Value::Ctx(part @ (Part::Env | Part::Secrets)) = value {
                    settings_method(part, call, position, context, findings);
                } else if let Some(of) = value.of_type() {
                    method(of, call, position, context, findings);
                }
                if returns_unit(&call.name, value) && !context.flow.is_own_method(&call.name) {
                    let used = if is_last {
                        result_use(expression, body, around, context)
                    } else {
                        Some(ResultUse::Fails)
                    };
                    let receiver = variable_name(root).filter(|_| index == 0);
                    result(used, &call.name, receiver, position, context, findings);
                }
                is_within_constant = false;
            }
            _ => {}
        }
    }
}

/// Warns about `kv::get("list").push(1)`, which changes a copy that nothing stores.
fn stored_copy<'a>(
    root: &'a Expr,
    links: &[Link<'a>],
    body: Body<'a>,
    around: &[ASTNode<'a>],
    context: &Context<'a>,
    findings: &mut Findings<'_>,
) {
    let Expr::FnCall(read, _) = root else { return };
    let is_read = matches!(read.namespace.path.as_slice(), [module] if module.as_str() == "kv")
        && matches!(read.name.as_str(), "get" | "peek" | "get_many" | "list");
    let [parts @ .., Link::Method(call, position)] = links else { return };
    let of_value = parts.iter().all(|link| matches!(link, Link::Property(..) | Link::Index(_)));
    let name = call.name.as_str();
    let returns_unit = RETURN_UNIT.iter().any(|(changes, _)| *changes == name);
    if !is_read || !of_value || !is_change(name) || name == "for_each" || context.flow.is_own_method(name) {
        return;
    }
    // The result of `pop` and its like can be all that is wanted.
    let is_discarded = match around.last() {
        Some(ASTNode::Stmt(statement @ Stmt::Expr(_))) => {
            let is_result = body.statements.last().is_some_and(|last| std::ptr::eq(last, *statement));
            returns_unit || (around.len() == 1 && !is_result)
        }
        _ => false,
    };
    if is_discarded {
        let message = format!("`{name}` changes a copy of the value, which is not stored");
        let help = "assign the value to a variable, change that, and store it with `kv::set`".to_owned();
        findings.warn(*position, name.chars().count(), message, Some(help));
    }
}

/// Checks an assignment to a part of a constant.
pub(super) fn assignment(
    assignment: &(OpAssignment, BinaryExpr),
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) {
    let Some((root @ Expr::Variable(_, _, position), links)) = chain(&assignment.1.lhs) else { return };
    // The result of a method is not a part of the constant.
    let is_part = links.iter().all(|link| matches!(link, Link::Property(..) | Link::Index(_)));
    if let Some(name) = constant_name(root, context).filter(|name| is_part && *name != CTX) {
        let help = "declare it with `let` to change it".to_owned();
        findings.add_since_1_3(
            *position,
            name.chars().count(),
            format!("`{name}` is a constant"),
            Some(help),
        );
    }
}

/// The name of the constant `root`, if it is one.
fn constant_name<'a>(root: &'a Expr, context: &Context<'_>) -> Option<&'a str> {
    // `for_each` is called for its side effects.
    let name = variable_name(root)?;
    let is_constant = match context.flow.variables(name) {
        Some(variable) => variable.is_constant(),
        None => name == CTX && !context.declarations.variables.contains(CTX),
    };
    is_constant.then_some(name)
}

fn is_change(name: &str) -> bool {
    MUTATING.contains(&name) || RETURN_UNIT.iter().any(|(changes, _)| *changes == name)
}

fn report_constant(constant: &str, name: &str, position: Position, findings: &mut Findings<'_>) {
    let message = format!("`{name}` cannot be called on a constant");
    let help = if constant == CTX {
        "`ctx` is read-only; change a copy: `let body = ctx.request.body;`".to_owned()
    } else {
        format!("declare `{constant}` with `let`, or change a copy: `let copy = {constant};`")
    };
    findings.add_since_1_3(position, name.chars().count(), message, Some(help));
}

fn property(of: Type, name: &str, position: Position, context: &Context<'_>, findings: &mut Findings<'_>) {
    if matches!(of, Type::Unit | Type::Map) || context.sandbox.has_property(of.id(), name) {
        return;
    }
    let is_method = |name: &str| context.sandbox.method_counts(of.id(), name).contains(&0);
    let help = if is_method(name) {
        Some(format!("it is a method: `{name}()`"))
    } else if LENGTHS.contains(&name) && is_method("len") {
        Some("write `len()`".to_owned())
    } else {
        let properties = context.sandbox.properties(of.id());
        let methods = context.sandbox.methods().map(|(name, _)| name).filter(|name| is_method(name));
        let known: Vec<_> = properties.chain(methods).collect();
        findings.suggestions.did_you_mean(name, known.into_iter())
    };
    let message = format!("{} has no property `{}`", of.name(), name.escape_debug());
    findings.add_since_1_3(position, name.chars().count(), message, help);
}

fn method(
    of: Type,
    call: &FnCallExpr,
    position: Position,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) {
    let name = call.name.as_str();
    let can_be_anything = matches!(of, Type::Unit | Type::Map | Type::Function)
        || names::is_keyword(name)
        || context.flow.is_own_method(name)
        || context.sandbox.signatures(name).is_empty();
    if can_be_anything {
        return;
    }
    let counts = context.sandbox.method_counts(of.id(), name);
    let width = name.chars().count();
    if counts.is_empty() {
        let known = context.sandbox.methods().map(|(name, _)| name);
        let known: Vec<_> =
            known.filter(|name| !context.sandbox.method_counts(of.id(), name).is_empty()).collect();
        let help = findings.suggestions.did_you_mean(name, known.into_iter());
        findings.add_since_1_3(position, width, format!("{} has no method `{name}`", of.name()), help);
    } else if !counts.contains(&call.args.len()) {
        findings.add_since_1_3(position, width, names::wrong_count(name, &counts, call.args.len()), None);
    }
}

/// Checks a method of `ctx.env` or `ctx.secrets`, which are maps before [`Settings`].
fn settings_method(
    part: Part,
    call: &FnCallExpr,
    position: Position,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) {
    let name = call.name.as_str();
    let can_be_anything = names::is_keyword(name)
        || context.flow.is_own_method(name)
        || context.sandbox.signatures(name).is_empty();
    if findings.sdk < Settings::SINCE || can_be_anything {
        return;
    }
    let counts = context.sandbox.method_counts(TypeId::of::<Settings>(), name);
    let width = name.chars().count();
    if counts.is_empty() {
        let whole = if part == Part::Env { "ctx.env" } else { "ctx.secrets" };
        let help = "available: get, contains, keys, len and is_empty".to_owned();
        findings.add(position, width, format!("`{whole}` has no method `{name}`"), Some(help));
    } else if !counts.contains(&call.args.len()) {
        findings.add(position, width, names::wrong_count(name, &counts, call.args.len()), None);
    } else if part == Part::Secrets && matches!(name, "values" | "to_json") {
        let message = format!("`{name}` would expose all secrets");
        findings.add(position, width, message, Some("read secrets by name".to_owned()));
    }
}

/// How the result of a method that returns `()` is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ResultUse {
    /// It is stored, passed on or returned as `()`.
    Kept,
    /// It is used in an operation that fails with `()`.
    Fails,
}

fn returns_unit(name: &str, receiver: Value) -> bool {
    match name {
        "remove" => receiver == Value::Of(Type::Text),
        name => RETURN_UNIT.iter().any(|(returns_unit, _)| *returns_unit == name),
    }
}

fn result_use<'a>(
    expression: &'a Expr,
    body: Body<'a>,
    around: &[ASTNode<'a>],
    context: &Context<'a>,
) -> Option<ResultUse> {
    match around.last()? {
        ASTNode::Stmt(Stmt::Var(..) | Stmt::FnCall(..)) => Some(ResultUse::Kept),
        ASTNode::Stmt(Stmt::Assignment(assignment)) => {
            let is_value = std::ptr::eq(&assignment.1.rhs, expression);
            // `s = s.trim()` loses the value.
            let is_own = chain(expression).is_some_and(|(root, _)| {
                variable_name(root) == variable_name(&assignment.1.lhs) && variable_name(root).is_some()
            });
            is_value.then_some(if is_own { ResultUse::Fails } else { ResultUse::Kept })
        }
        ASTNode::Stmt(Stmt::Return(..)) => changes_parameter(expression, body, context),
        ASTNode::Stmt(Stmt::Expr(_)) if is_interpolated(around) => Some(ResultUse::Fails),
        ASTNode::Stmt(statement @ Stmt::Expr(_)) => {
            let is_result = around.len() == 1
                && body.statements.last().is_some_and(|last| std::ptr::eq(last, *statement));
            if is_result { changes_parameter(expression, body, context) } else { None }
        }
        ASTNode::Expr(Expr::FnCall(call, _)) if call.is_operator_call() => Some(ResultUse::Fails),
        ASTNode::Expr(Expr::FnCall(..) | Expr::MethodCall(..) | Expr::Array(..) | Expr::Map(..)) => {
            Some(ResultUse::Kept)
        }
        _ => None,
    }
}

/// Whether the value of the innermost statement is interpolated into a text.
fn is_interpolated(around: &[ASTNode<'_>]) -> bool {
    match around {
        [
            ..,
            ASTNode::Expr(Expr::InterpolatedString(..)),
            ASTNode::Expr(Expr::Stmt(block)),
            ASTNode::Stmt(statement),
        ] => block.statements().last().is_some_and(|last| std::ptr::eq(last, *statement)),
        _ => false,
    }
}

/// A function that ends with `parameter.trim()` changes its own copy and returns `()`.
fn changes_parameter<'a>(expression: &'a Expr, body: Body<'a>, context: &Context<'a>) -> Option<ResultUse> {
    let function = body.function?;
    let (root, links) = chain(expression)?;
    let [Link::Method(call, _)] = links.as_slice() else { return None };
    // It is called for what its function does.
    let name = variable_name(root).filter(|_| call.name != "for_each")?;
    let captured = context.declarations.captured.get(function.name.as_str()).copied().unwrap_or(0);
    function.params.iter().skip(captured).any(|parameter| parameter == name).then_some(ResultUse::Kept)
}

fn result(
    used: Option<ResultUse>,
    name: &str,
    receiver: Option<&str>,
    position: Position,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) {
    let Some(used) = used else { return };
    let message = format!("`{name}` changes its receiver in place and returns `()`");
    let instead = RETURN_UNIT.iter().find(|(changes, _)| *changes == name).and_then(|(_, instead)| *instead);
    let instead = instead.filter(|instead| !context.sandbox.signatures(instead).is_empty());
    let help = match (instead, receiver) {
        (Some(instead), _) => format!("`{instead}` returns a changed copy"),
        (None, Some(receiver)) => format!("call it as a separate statement, then use `{receiver}`"),
        (None, None) => {
            "assign the value to a variable, call it as a separate statement, then use the variable"
                .to_owned()
        }
    };
    let width = name.chars().count();
    match used {
        ResultUse::Fails => findings.add_since_1_3(position, width, message, Some(help)),
        ResultUse::Kept => findings.warn(position, width, message, Some(help)),
    }
}
