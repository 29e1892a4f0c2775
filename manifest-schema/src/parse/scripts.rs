//! The scripts that a manifest names, and those of the repository that it does not.

use std::collections::BTreeSet;

use crate::fault::{Fault, Faults};
use crate::manifest::FILE_NAME;
use crate::name::ScriptPath;
use crate::source::Source;
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

    /// The scripts that were named, unless a name was not understood: it may have meant any of them.
    pub(super) fn named(self) -> Option<BTreeSet<ScriptPath>> {
        self.all_understood.then_some(self.named)
    }

    /// A warning for each script that nothing names. There is none where a name was not understood.
    pub(super) fn warn_of_unnamed(&self, faults: &mut Faults) {
        if !self.all_understood {
            return;
        }
        let named: BTreeSet<&str> = self.named.iter().map(ScriptPath::as_str).collect();
        let message = format!("no route, schedule or function of {FILE_NAME} names it");
        for path in self.known.iter().filter(|path| !named.contains(path.as_str())) {
            faults.add(Fault::warning(path, None, message.as_str()));
        }
    }
}
