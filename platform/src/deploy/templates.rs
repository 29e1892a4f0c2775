//! The templates of a snapshot: read, limited and checked.

use std::collections::{BTreeMap, BTreeSet};

use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Span};
use manifest_schema::sdk::SdkVersion;
use runtime::{
    ManifestNames, RenderedTemplates, TEMPLATE_FOLDER, TEMPLATES_MAX, Templates, check_templates,
    template_too_large,
};

use super::check::bytes;
use super::snapshot::{File, SNAPSHOT_BYTES_MAX, Snapshot, TEMPLATES_SINCE};
use crate::memory::OutOfMemory;
use crate::scripts::AppScripts;

/// The templates that can be read, with their texts by name.
#[derive(Debug, Default)]
pub(super) struct CheckedTemplates<'s> {
    texts: BTreeMap<&'s str, &'s str>,
    /// All names, also of files that cannot be read; `None` if the SDK version has no templates.
    names: Option<Vec<&'s str>>,
    /// Those that other templates extend, include or import.
    named: BTreeSet<&'s str>,
}

impl<'s> CheckedTemplates<'s> {
    /// Reads and checks the templates of a snapshot for an SDK version.
    pub(super) fn check(snapshot: &'s Snapshot, sdk: SdkVersion, diagnostics: &mut Diagnostics) -> Self {
        if sdk < TEMPLATES_SINCE {
            return Self::default();
        }
        if snapshot.templates.len() > TEMPLATES_MAX {
            let message = format!("the folder has more than {TEMPLATES_MAX} templates");
            diagnostics.add(
                Diagnostic::error(TEMPLATE_FOLDER, None, message)
                    .with_help("move other files to another folder"),
            );
            return Self::default();
        }
        if snapshot.bytes() + snapshot.template_bytes() > SNAPSHOT_BYTES_MAX {
            let message =
                format!("manifest, scripts and templates exceed {} MiB", SNAPSHOT_BYTES_MAX / (1024 * 1024));
            diagnostics
                .add(Diagnostic::error("the app", None, message).with_help("split it into several apps"));
            return Self::default();
        }
        let mut checked = Self { names: Some(Vec::new()), ..Self::default() };
        for (path, file) in &snapshot.templates {
            let Some(name) = path.strip_prefix(TEMPLATE_FOLDER) else { continue };
            checked.names.get_or_insert_default().push(name);
            match text(path, file) {
                Ok(text) => {
                    checked.texts.insert(name, text);
                }
                Err(diagnostic) => diagnostics.add(diagnostic),
            }
        }
        let names = checked.names.as_deref().unwrap_or_default();
        checked.named = check_templates(&checked.texts, names, diagnostics);
        checked
    }

    /// Adds the names that scripts can pass to `html::render`, if they are known.
    pub(super) fn add_names<'m>(&'m self, to: ManifestNames<'m>) -> ManifestNames<'m> {
        match &self.names {
            Some(names) => to.with_templates(names.iter().copied()),
            None => to,
        }
    }

    /// Warns about templates that neither the scripts nor other templates use, as far as that is known.
    pub(super) fn warn_of_unused(&self, rendered: &RenderedTemplates, diagnostics: &mut Diagnostics) {
        if rendered.any {
            return;
        }
        let is_used = |name: &str| rendered.names.contains(name) || self.named.contains(name);
        for name in self.texts.keys().filter(|name| !is_used(name)) {
            let message = "not used by any script or other template";
            diagnostics.add(Diagnostic::warning(format!("{TEMPLATE_FOLDER}{name}"), None, message));
        }
    }

    /// The templates of the revision, in memory of the app.
    ///
    /// # Errors
    /// Memory is short.
    pub(super) fn into_sources(self, app: &AppScripts) -> Result<Templates, OutOfMemory> {
        let texts = self.texts.into_iter();
        texts.map(|(name, text)| Ok((name.to_owned(), app.source(text)?))).collect()
    }
}

fn text<'s>(path: &str, file: &'s File) -> Result<&'s str, Diagnostic> {
    let bytes = bytes(path, file, || template_too_large(path))?;
    if bytes.len() > runtime::TEMPLATE_BYTES_MAX {
        return Err(template_too_large(path));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let readable = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let end = error.valid_up_to();
        let span = Span::from_range(&format!("{readable}\u{fffd}"), end..end);
        Diagnostic::error(path, Some(span), "the template is not UTF-8").with_help("save it as UTF-8")
    })?;
    match text.find('\0') {
        Some(at) => {
            let span = Span::from_range(text, at..at + 1);
            Err(Diagnostic::error(path, Some(span), "the template contains a NUL byte"))
        }
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests;
