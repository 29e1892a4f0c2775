//! Templates that the commit does not have, in calls of `html::render` with a literal.

use rhai::{Expr, FnCallExpr};

use super::{Context, Findings};
use crate::template::TEMPLATE_FOLDER;

/// Checks `html::render("page.html", ...)`.
pub(super) fn call(call: &FnCallExpr, context: &Context<'_>, findings: &mut Findings<'_>) {
    let Some(known) = context.manifest_names.and_then(|names| names.templates()) else { return };
    let is_render = call.name == "render"
        && matches!(call.namespace.path.as_slice(), [module] if module.as_str() == "html");
    let [Expr::StringConstant(name, position), ..] = call.args.as_slice() else { return };
    if !is_render || known.contains(name.as_str()) {
        return;
    }
    let shown = name.escape_debug();
    let message = format!("there is no template `{TEMPLATE_FOLDER}{shown}`");
    // The folder is not part of the name.
    let near = match name.strip_prefix(TEMPLATE_FOLDER).filter(|name| known.contains(name)) {
        Some(name) => Some(format!("write `\"{name}\"`")),
        None => findings.suggestions.did_you_mean(name, known.iter().copied()),
    };
    let help = near.unwrap_or_else(|| format!("create the file {TEMPLATE_FOLDER}{shown}"));
    findings.add_since_1_3(*position, name.chars().count() + 2, message, Some(help));
}
