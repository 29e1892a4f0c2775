//! Calls of `html::render`: the templates that a script renders, and those that the commit does not have.

use rhai::{Expr, FnCallExpr};

use super::{Context, Findings};
use crate::template::TEMPLATE_FOLDER;

/// Checks `html::render("page.html", ...)`.
pub(super) fn call(call: &FnCallExpr, context: &Context<'_>, findings: &mut Findings<'_>) {
    let is_render = call.name == "render"
        && matches!(call.namespace.path.as_slice(), [module] if module.as_str() == "html");
    let (true, [template, ..]) = (is_render, call.args.as_slice()) else { return };
    let Expr::StringConstant(name, position) = template else {
        findings.rendered.any = true;
        return;
    };
    let Some(known) = context.manifest_names.and_then(|names| names.templates()) else { return };
    if known.contains(name.as_str()) {
        findings.rendered.names.insert(name.to_string());
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
