//! The import statements of a text.

use std::time::Instant;

use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use rhai::{Position, Token};

use crate::check::PARSE_TIME_MAX;
use crate::sandbox::Sandbox;
use crate::token_mapper;

/// The version that introduced imports.
pub(crate) const SINCE: SdkVersion = SdkVersion::V1_3;

/// A file that a text imports.
#[derive(Clone, Debug)]
pub(crate) struct ImportedFile {
    pub(crate) path: ScriptPath,
    /// The position of the path.
    pub(crate) position: Position,
}

/// The files that a text imports, sorted, without duplicates. The text is not checked; in a text that does not parse,
/// the imports before the error are found.
pub fn imported_files(sdk: SdkVersion, text: &str) -> Vec<ScriptPath> {
    let mut files: Vec<_> = imports(sdk, text).into_iter().map(|import| import.path).collect();
    files.sort_unstable();
    files.dedup();
    files
}

/// The imports of a text.
pub(super) fn imports(sdk: SdkVersion, text: &str) -> Vec<ImportedFile> {
    // Most scripts have none, and are not parsed for them.
    if sdk < SINCE || !text.contains("import") {
        return Vec::new();
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // A text that takes longer is rejected by its check.
    let deadline = Instant::now() + PARSE_TIME_MAX;
    let parse = || token_mapper::with_deadline(deadline, || Sandbox::of(sdk).compile(text));
    let (_, tokens) = token_mapper::collect_tokens(parse);
    tokens
        .windows(2)
        .filter_map(|pair| match pair {
            [(Token::Import, _), (Token::StringConstant(name), position)] => {
                Some(ImportedFile { path: imported_file(name)?, position: *position })
            }
            _ => None,
        })
        .collect()
}

/// The file of an import path: relative to the root of the commit, without extension.
pub(crate) fn imported_file(name: &str) -> Option<ScriptPath> {
    let is_plain = !name.ends_with(".rhai");
    is_plain.then(|| ScriptPath::new(&format!("{name}.rhai")).ok()).flatten()
}
