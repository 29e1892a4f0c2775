//! Calls of `functions::invoke` with names that the manifest does not declare.

use rhai::{Expr, FnCallExpr};

use super::{Context, Findings};

/// Checks `functions::invoke("resize", ...)`.
pub(super) fn call(call: &FnCallExpr, context: &Context<'_>, findings: &mut Findings<'_>) {
    let is_invoke = call.name == "invoke"
        && matches!(call.namespace.path.as_slice(), [module] if module.as_str() == "functions");
    let (true, [Expr::StringConstant(name, position), ..]) = (is_invoke, call.args.as_slice()) else {
        return;
    };
    let Some(names) = context.manifest_names else { return };
    if names.functions().contains(name.as_str()) {
        return;
    }
    let near = findings.suggestions.did_you_mean(name, names.functions().iter().copied());
    let shown = name.escape_debug();
    let message = format!("the manifest declares no function `{shown}`");
    let help = near.unwrap_or_else(|| format!("declare it in [[functions]] with `name = \"{shown}\"`"));
    findings.add_since_1_3(*position, name.chars().count() + 2, message, Some(help));
}
