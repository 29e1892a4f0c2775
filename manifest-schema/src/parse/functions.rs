//! `[[functions]]`: scripts that are called by name.

use crate::manifest::Function;
use crate::source::Source;
use crate::table::{Keys, Value};

use super::scripts::Scripts;
use super::{JobDraft, job_name};

pub(super) const KEYS: Keys = Keys { known: &["name", "script"], reserved: &[] };

/// Reads one `[[functions]]` table.
pub(super) fn read(
    value: Value<'_>,
    scripts: &mut Scripts<'_>,
    source: &mut Source<'_>,
) -> JobDraft<Function> {
    let Some(table) = value.table("[[functions]]", &KEYS, source) else {
        return JobDraft { name: None, job: None };
    };
    let name = job_name(&table, source);
    let script = scripts.read(&table, source);
    let job = name.clone().and_then(|(name, _)| Some(Function { name, script: script? }));
    JobDraft { name, job }
}
