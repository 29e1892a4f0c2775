//! Functions passed to methods that call them with another number of arguments.

use rhai::{Expr, FnCallExpr, FnPtr, Position};

use super::flow::variable_name;
use super::{Context, Findings};
use crate::check::CLOSURE_PREFIX;
use crate::check::declarations::captures;

/// Methods that call a function, and the supported parameter counts. With fewer parameters, the element is `this`.
pub(super) const CALLERS: [(&str, &[usize]); 18] = [
    ("all", &[0, 1, 2]),
    ("dedup", &[2]),
    ("drain", &[0, 1, 2]),
    ("filter", &[0, 1, 2]),
    ("find", &[0, 1, 2]),
    ("find_map", &[0, 1, 2]),
    ("for_each", &[0, 1]),
    ("index_of", &[0, 1, 2]),
    ("map", &[0, 1, 2]),
    ("order", &[2]),
    ("order_by", &[2]),
    ("reduce", &[1, 2, 3]),
    ("reduce_rev", &[1, 2, 3]),
    ("retain", &[0, 1, 2]),
    ("some", &[0, 1, 2]),
    ("sort", &[2]),
    ("sort_by", &[2]),
    ("zip", &[2, 3]),
];

/// Checks a method call, or a function call with the collection as first argument.
pub(super) fn call<'a>(call: &'a FnCallExpr, context: &Context<'a>, findings: &mut Findings<'_>) {
    let Some((name, accepted)) = CALLERS.iter().find(|(name, _)| call.name == *name) else { return };
    if call.is_qualified() || context.flow.is_own_method(name) {
        return;
    }
    for argument in &call.args {
        let Some((takes, position)) = parameters(argument, context) else { continue };
        if takes.iter().any(|count| accepted.contains(count)) {
            continue;
        }
        let Some(least) = takes.first() else { continue };
        let with = list(accepted);
        let message = format!("`{name}` calls a function with {with} arguments; this one takes {least}");
        findings.add_since_1_3(position, 1, message, help(name, *least));
    }
}

fn help(name: &str, takes: usize) -> Option<String> {
    match name {
        "sort" | "sort_by" | "order" | "order_by" if takes == 1 => {
            Some("it compares two elements: `|a, b| a.price - b.price`".to_owned())
        }
        "reduce" | "reduce_rev" => Some("write `|sum, x| sum + x`".to_owned()),
        "for_each" => Some("the element is `this`: `|| this.name`, or `for x in list { ... }`".to_owned()),
        _ => None,
    }
}

/// ``0, 1 or 2``
fn list(counts: &[usize]) -> String {
    match counts {
        [] => String::new(),
        [one] => one.to_string(),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(usize::to_string).collect();
            format!("{} or {last}", first.join(", "))
        }
    }
}

/// The parameter counts of a function argument, with its position; several for an overloaded function.
fn parameters<'a>(argument: &'a Expr, context: &Context<'a>) -> Option<(Vec<usize>, Position)> {
    match argument {
        Expr::DynamicConstant(value, position) => {
            let function = value.read_lock::<FnPtr>()?;
            let takes = closure_parameters(function.fn_name(), 0, context)?;
            Some((vec![takes], *position))
        }
        Expr::Stmt(block) => {
            let (name, captured) = captures(argument)?;
            Some((vec![closure_parameters(&name, captured, context)?], block.position()))
        }
        Expr::Variable(_, None, position) => {
            let name = variable_name(argument).filter(|name| context.flow.variables(name).is_none())?;
            Some((context.declarations.functions.get(name)?.clone(), *position))
        }
        Expr::Variable(_, _, position) => {
            let source = context.flow.only_source(argument)?;
            // Only one level of variables is followed.
            if matches!(source, Expr::Variable(..)) {
                return None;
            }
            parameters(source, context).map(|(takes, _)| (takes, *position))
        }
        Expr::FnCall(call, position) if call.name == "Fn" => match call.args.as_slice() {
            [Expr::StringConstant(name, _)] if !context.sandbox.natives.contains_key(name.as_str()) => {
                Some((context.declarations.functions.get(name.as_str())?.clone(), *position))
            }
            _ => None,
        },
        _ => None,
    }
}

fn closure_parameters(name: &str, captured: usize, context: &Context<'_>) -> Option<usize> {
    if !name.starts_with(CLOSURE_PREFIX) {
        return None;
    }
    context.declarations.closures.get(name).map(|parameters| parameters.saturating_sub(captured))
}
