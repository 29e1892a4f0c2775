//! Names that `ctx` never contains: headers in upper case, and names that the manifest does not declare.

use rhai::{Expr, FnCallExpr, Position};

use super::ast::{Link, chain};
use super::flow::{Part, Value, variable_name};
use super::{Context, Findings, ctx};
use crate::check::manifest_names::NameKind;

/// Headers with a `-` that are sometimes written with `_` as property names.
const DASHED: [&str; 14] = [
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "if-modified-since",
    "if-none-match",
    "user-agent",
    "x-api-key",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
];

/// Checks the reads of a chain.
pub(super) fn chain_of<'a>(expression: &'a Expr, context: &Context<'a>, findings: &mut Findings<'_>) {
    let Some((root, links)) = chain(expression) else { return };
    let values = context.flow.steps(root, &links);
    for (index, (link, value)) in links.iter().zip(&values).enumerate() {
        let Value::Ctx(part) = *value else { continue };
        let (name, position) = match link {
            Link::Method(call, _) if matches!(call.name.as_str(), "get" | "contains") => {
                match call.args.as_slice() {
                    [Expr::StringConstant(name, position)] => (name.as_str(), *position),
                    _ => continue,
                }
            }
            link => match link.key() {
                Some(key) => key,
                None => continue,
            },
        };
        // A key that is set in a copy exists.
        if index == 0 && context.flow.sets_key(root, name) {
            continue;
        }
        let is_test = matches!(link, Link::Method(call, _) if call.name == "contains");
        read(part, name, position, is_test, is_direct(root), context, findings);
    }
}

/// Checks `"name" in headers` and `contains(headers, "name")`.
pub(super) fn call<'a>(call: &'a FnCallExpr, context: &Context<'a>, findings: &mut Findings<'_>) {
    if let ("contains", [map, Expr::StringConstant(name, position)]) =
        (call.name.as_str(), call.args.as_slice())
        && let Value::Ctx(part) = context.flow.value(map)
    {
        read(part, name, *position, true, true, context, findings);
    }
}

/// Whether the chain starts with `ctx` itself, whose properties [`ctx`] checks.
fn is_direct(root: &Expr) -> bool {
    variable_name(root) == Some(crate::sdk::CTX)
}

fn read(
    part: Part,
    name: &str,
    position: Position,
    is_test: bool,
    is_direct: bool,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) {
    match part {
        Part::Headers => header(name, position, findings),
        Part::Params => manifest_names(NameKind::Params, name, position, is_test, context, findings),
        Part::Env => manifest_names(NameKind::Env, name, position, is_test, context, findings),
        Part::Secrets => manifest_names(NameKind::Secrets, name, position, is_test, context, findings),
        Part::Request if !is_direct => ctx::request_name(name, position, findings),
        Part::Request | Part::Whole | Part::Query | Part::Cookies | Part::Form => {}
    }
}

fn header(name: &str, position: Position, findings: &mut Findings<'_>) {
    let width = name.chars().count();
    let dashed = |name: &str| {
        let name = name.replace('_', "-").to_ascii_lowercase();
        // `contentType`
        DASHED.into_iter().find(|dashed| *dashed == name || dashed.replace('-', "") == name)
    };
    if name.contains(|c: char| c.is_ascii_uppercase()) {
        let lower = dashed(name).map_or_else(|| name.to_ascii_lowercase(), str::to_owned);
        let message = format!(
            "`ctx.request.headers` never contains `{}`: header names are lower case",
            name.escape_debug()
        );
        let is_name = lower.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let help = if is_name {
            format!("write `{lower}`")
        } else {
            format!("write `[\"{}\"]`", lower.escape_debug())
        };
        findings.add_since_1_3(position, width, message, Some(help));
    } else if name.contains('_')
        && let Some(dashed) = dashed(name)
    {
        let message = format!("no header is named `{}`", name.escape_debug());
        findings.warn(position, width, message, Some(format!("write `[\"{dashed}\"]`")));
    }
}

fn manifest_names(
    named: NameKind,
    name: &str,
    position: Position,
    is_test: bool,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) {
    let Some(manifest_names) = context.manifest_names else { return };
    let known = manifest_names.names(named);
    let is_unknown = named == NameKind::Params && manifest_names.is_library();
    if known.contains(name) || is_test || is_unknown {
        return;
    }
    let near = findings.suggestions.did_you_mean(name, known.iter().copied());
    let shown = name.escape_debug();
    let message = match named {
        NameKind::Env => format!("the manifest declares no setting `{shown}` in [env]"),
        NameKind::Secrets => format!("the manifest declares no secret `{shown}`"),
        NameKind::Params if !manifest_names.is_routed() => {
            format!("no route uses this script: `ctx.request.params.{shown}` is always `()`")
        }
        NameKind::Params => format!("no route of this script captures `{shown}`"),
    };
    let help = near.or_else(|| match named {
        NameKind::Env => Some(format!("add `{shown} = \"...\"` to [env] in picloud.toml")),
        NameKind::Secrets => Some(format!("add `\"{shown}\"` to `required` of [secrets] in picloud.toml")),
        NameKind::Params if known.is_empty() => None,
        NameKind::Params => {
            Some(format!("its routes capture {}", known.iter().copied().collect::<Vec<_>>().join(", ")))
        }
    });
    findings.add_since_1_3(position, name.chars().count(), message, help);
}
