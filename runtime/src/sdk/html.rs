//! `html`: texts in HTML, and pages from templates.

use manifest_schema::sdk::SdkVersion;
use rhai::Dynamic;

use super::call::{Call, Outcome};
use super::output::Text;
use super::signature::{Function, Kinds, Parameter, SdkModule};
use crate::run_context;
use crate::template::{RenderError, render as render_template};

/// The module `html`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "html",
    since: SdkVersion::V1_3,
    summary: "Texts in HTML, and pages from templates of the commit.",
    functions: &[
        Function {
            name: "escape",
            parameters: &[Parameter::new("text", Kinds::TEXT)],
            required: 1,
            returns: "text",
            summary: "A text that HTML shows as it is: `&`, `<`, `>`, `\"` and `'` are written as entities.",
            errors: &[],
            run: escape,
        },
        Function {
            name: "render",
            parameters: &[Parameter::new("file", Kinds::TEXT), Parameter::new("data", Kinds::MAP)],
            required: 1,
            returns: "text",
            summary: "A template of the folder `templates`, filled with the values of a map.",
            errors: &[
                "there is no template `…`…",
                "templates/…:…:…: …",
                "`…` in `data` is …, which templates cannot read",
                "values are nested deeper than … levels",
                "`ctx.secrets` cannot be written as a whole; read its secrets by name",
            ],
            run: render,
        },
    ],
};

fn escape(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let text = call.text(0);
    let (mut escaped, mut rest) = (Text::new(call), text.as_str());
    while let Some(at) = rest.bytes().position(|byte| b"&<>\"'".contains(&byte)) {
        escaped.push_str(&rest[..at])?;
        escaped.push_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#39;",
        })?;
        rest = &rest[at + 1..];
    }
    escaped.push_str(rest)?;
    Ok(escaped.finish())
}

fn render(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let templates = run_context::templates().unwrap_or_default();
    let empty = Dynamic::from_map(rhai::Map::new());
    let data = if call.has(1) { call.value(1) } else { &empty };
    match render_template(&templates, &call.text(0), data) {
        Ok(page) => Ok(page.into()),
        Err(RenderError::Stopped) => call.terminated(),
        Err(RenderError::Failed(message)) => call.fail(message),
    }
}
