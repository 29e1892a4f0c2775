//! Calls of SDK functions, checked against their signatures as far as the arguments are written out.

use rhai::{Expr, FnCallExpr, Position};

use super::flow::Type;
use super::{Context, Findings};
use crate::sdk::{Accepts, Function, Kinds, MODULES, OptionKey, Parameter};
use crate::sdk::{NOTHING_STORED, check_integer, check_text, unknown_option, wrong_kind};

/// Checks a call such as `random::int(1, 6)`.
pub(super) fn call<'a>(call: &'a FnCallExpr, context: &Context<'a>, findings: &mut Findings<'_>) {
    let [module] = call.namespace.path.as_ref() else { return };
    let Some(function) = function(module.as_str(), &call.name, findings) else { return };
    // A wrong number of arguments is reported with the unknown names.
    for (parameter, argument) in function.parameters.iter().zip(&call.args) {
        check_argument(parameter, argument, context, findings);
    }
}

fn function(module: &str, name: &str, findings: &Findings<'_>) -> Option<&'static Function> {
    let module = MODULES.iter().find(|of| of.name == module && of.since <= findings.sdk)?;
    module.functions.iter().find(|function| function.name == name)
}

fn check_argument<'a>(
    parameter: &Parameter,
    argument: &'a Expr,
    context: &Context<'a>,
    findings: &mut Findings<'_>,
) {
    check_value((parameter.name, parameter.kinds, &parameter.accepts), argument, context, findings);
}

fn check_value<'a>(
    (name, kinds, accepts): (&str, Kinds, &Accepts),
    value: &'a Expr,
    context: &Context<'a>,
    findings: &mut Findings<'_>,
) {
    // If the type is uncertain, nothing is reported.
    let Some(of) = context.flow.value(value).of_type() else { return };
    if Kinds::of_type(of.id()).is_some_and(|kind| !kinds.contains(kind)) {
        let message = wrong_kind(name, kinds, of.name());
        return findings.add_since_1_3(value.start_position(), width(value), message, None);
    }
    if matches!((accepts, of), (Accepts::Stored, Type::Unit)) {
        return findings.add_since_1_3(value.start_position(), width(value), NOTHING_STORED.to_owned(), None);
    }
    match (accepts, value) {
        (
            Accepts::Texts(_)
            | Accepts::Durations
            | Accepts::DurationsWithin(_)
            | Accepts::Keys
            | Accepts::Prefixes,
            Expr::StringConstant(text, position),
        ) => {
            if let Err(message) = check_text(name, accepts, text) {
                findings.add_since_1_3(*position, width(value), message, None);
            }
        }
        (Accepts::Integers(_), Expr::IntegerConstant(number, position)) => {
            if let Err(message) = check_integer(name, accepts, *number) {
                findings.add_since_1_3(*position, width(value), message, None);
            }
        }
        (Accepts::Options(keys), Expr::Map(map, _)) => {
            for (key, value) in &map.0 {
                option(keys, &key.name, key.pos, value, context, findings);
            }
        }
        _ => {}
    }
}

fn option<'a>(
    keys: &[OptionKey],
    name: &str,
    position: Position,
    value: &'a Expr,
    context: &Context<'a>,
    findings: &mut Findings<'_>,
) {
    match keys.iter().find(|key| key.name == name) {
        None => {
            findings.add_since_1_3(position, name.chars().count(), unknown_option(keys, name), None);
        }
        // `()` is the same as no option.
        Some(_) if matches!(value, Expr::Unit(_)) => {}
        Some(key) => check_value((key.name, key.kinds, &key.accepts), value, context, findings),
    }
}

/// The number of characters to underline.
fn width(value: &Expr) -> usize {
    match value {
        Expr::StringConstant(text, _) => text.chars().count() + 2,
        Expr::IntegerConstant(number, _) => number.to_string().len(),
        Expr::Unit(_) => "()".len(),
        _ => 1,
    }
}
