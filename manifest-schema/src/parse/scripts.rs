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

    /// Notes that something was not understood that can name scripts.
    pub(super) fn note_misunderstood(&mut self) {
        self.all_understood = false;
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
        let advice = match self.meant(text.value) {
            Some(path) => Some(format!("did you mean `{path}`?")),
            None => source.did_you_mean(text.value, self.known.iter().map(String::as_str)),
        };
        source.error_with(text.span, message, advice);
        None
    }

    /// The script that is meant by another way to write its path, by its folder or by its name alone.
    fn meant(&self, text: &str) -> Option<&str> {
        let text = text.replace('\\', "/");
        let path = text.trim_start_matches(['.', '/']).trim_end_matches('/');
        let known = || self.known.iter().map(String::as_str);
        let stem = |path: &str| match path.rsplit_once('.') {
            Some((stem, ending)) if !ending.contains('/') => stem.to_ascii_lowercase(),
            _ => path.to_ascii_lowercase(),
        };
        let name = |path: &str| stem(path).rsplit('/').next().map(str::to_owned);
        let same = known().find(|known| stem(known) == stem(path));
        let within =
            || known().find(|known| known.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')));
        let elsewhere = || known().find(|known| name(known) == name(path));
        if path.is_empty() { None } else { same.or_else(within).or_else(elsewhere) }
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
