//! Templates: pages of an app that `html::render` fills with data, in the syntax of Jinja.
//!
//! The engine is our own, because every step of a render must be metered: engines that bound a render by counted
//! instructions do not charge what one instruction costs (comparing two large texts, walking a value whose parts are
//! shared), so that a render within the bound can take minutes. Here the parser, the renderer and the filters charge
//! the meter as they progress, values are converted and texts grown within reserved memory, and nothing is kept after
//! the call: templates are parsed when they are rendered, which costs less than rendering them.
//!
//! - `lexer` and `parser`: from the text to the tree in `ast`
//! - `value`: the values of a template; `filters` and `json`: what is done with them
//! - `render`: statements and expressions
//! - `check`: the checks of a push
//!
//! Names of templates are always written as literals, so that a push finds missing ones and cycles.

mod ast;
mod check;
mod filters;
mod json;
mod lexer;
mod parser;
mod render;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use manifest_schema::diagnostic::{Span, Suggestions};
use rhai::Dynamic;

pub use check::{TEMPLATE_BYTES_MAX, TEMPLATES_MAX, check_templates, template_too_large};

use crate::source::Source;

/// The folder of templates in a repository, with its slash.
pub const TEMPLATE_FOLDER: &str = "templates/";

/// The templates of a revision by name: their path below [`TEMPLATE_FOLDER`].
pub type Templates = BTreeMap<String, Arc<Source>>;

/// Why a template is not rendered.
#[derive(Debug)]
pub(crate) enum RenderError {
    /// The execution must stop; the meter has the reason.
    Stopped,
    /// The template or its data is invalid. The message names the place in the template.
    Failed(String),
}

/// A fault at a place of a template.
#[derive(Debug)]
struct Fault {
    at: Range<usize>,
    message: String,
    help: Option<String>,
    /// Not a fault of the template: the execution must stop.
    stopped: bool,
}

impl Fault {
    fn new(at: Range<usize>, message: String) -> Self {
        Self { at, message, help: None, stopped: false }
    }

    fn stopped() -> Self {
        Self { at: 0..0, message: String::new(), help: None, stopped: true }
    }

    fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// With the similar name as a suggestion, or all known names.
    fn with_known<'k>(self, name: &str, known: impl Iterator<Item = &'k str> + Clone) -> Self {
        let near = Suggestions::default().did_you_mean(name, known.clone());
        let all = || format!("available: {}", known.collect::<Vec<_>>().join(", "));
        let help = near.unwrap_or_else(all);
        self.with_help(help)
    }

    /// ``templates/page.html:3:7: unknown filter `uper`; did you mean `upper`?``
    fn describe(&self, name: &str, text: &str) -> String {
        let span = Span::from_range(text, self.at.clone());
        let help = self.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        format!("{TEMPLATE_FOLDER}{name}:{}:{}: {}{help}", span.line, span.column, self.message)
    }
}

/// The templates that scripts render, as far as it is known before they run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenderedTemplates {
    /// Those that are named by a literal and exist.
    pub names: BTreeSet<String>,
    /// Whether a name is not a literal, so that it can be any template.
    pub any: bool,
}

impl RenderedTemplates {
    /// Adds those of another script.
    pub fn append(&mut self, mut other: Self) {
        self.names.append(&mut other.names);
        self.any |= other.any;
    }
}

/// Whether what a template writes is escaped.
fn escapes(name: &str) -> bool {
    !name.ends_with(".txt")
}

/// Renders a template with data, a map.
///
/// # Errors
/// The template does not exist or does not parse, the data does not fit, or the execution must stop.
pub(crate) fn render(templates: &Templates, name: &str, data: &Dynamic) -> Result<String, RenderError> {
    render::render(templates, name, data)
}
