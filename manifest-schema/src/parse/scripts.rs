//! The scripts that a manifest names, and those of the repository that it does not.

use std::collections::BTreeSet;

use crate::fault::Fault;
use crate::manifest::FILE_NAME;
use crate::name::ScriptPath;
use crate::source::{FAULTS_MAX, Source};
use crate::table::Table;

/// The scripts of a repository, and which of them have been named.
pub(super) struct Scripts<'a> {
    known: &'a BTreeSet<String>,
    named: BTreeSet<ScriptPath>,
    all_understood: bool,
}

impl<'a> Scripts<'a> {
    /// The scripts `known`; whether all of the manifest could be read so far.
    pub(super) fn new(known: &'a BTreeSet<String>, all_understood: bool) -> Self {
        Self { known, named: BTreeSet::new(), all_understood }
    }

    /// The script that `table` names.
    pub(super) fn read(&mut self, table: &Table<'_>, source: &mut Source<'_>) -> Option<ScriptPath> {
        let script = self.find(table, source);
        self.all_understood &= script.is_some();
        self.named.extend(script.clone());
        script
    }

    fn find(&self, table: &Table<'_>, source: &mut Source<'_>) -> Option<ScriptPath> {
        let text = table.require_string("script", source)?;
        let message = match ScriptPath::new(text.value) {
            Ok(path) if self.known.contains(path.as_str()) => return Some(path),
            Ok(path) => format!("script `{}` is not in the repository", path.as_str().escape_debug()),
            Err(error) => error.to_string(),
        };
        let near = source.did_you_mean(text.value, self.known.iter().map(String::as_str));
        source.error_with(text.span, message, near);
        None
    }

    /// A warning for each script that nothing names. There is none where a name was not understood: it may have meant
    /// any of them.
    pub(super) fn unnamed(&self) -> Vec<Fault> {
        if !self.all_understood {
            return Vec::new();
        }
        let named: BTreeSet<&str> = self.named.iter().map(ScriptPath::as_str).collect();
        let unnamed = self.known.iter().filter(|path| !named.contains(path.as_str()));
        let message = format!("no route, schedule or function of {FILE_NAME} names it");
        let mut warnings: Vec<Fault> = unnamed
            .clone()
            .take(FAULTS_MAX)
            .map(|path| Fault::warning(path, None, message.as_str()))
            .collect();
        let left_out = unnamed.count() - warnings.len();
        if left_out > 0 {
            let more = format!("{left_out} more scripts are named by nothing");
            warnings.push(Fault::warning(FILE_NAME, None, more));
        }
        warnings
    }
}
