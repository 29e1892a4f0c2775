//! `[[functions]]`: what is called by name.

use crate::manifest::Function;
use crate::source::Source;
use crate::table::{Keys, Value};

use super::scripts::Scripts;
use super::{Job, job_name};

pub(super) const KEYS: Keys = Keys { known: &["name", "script"], not_yet: &[] };

/// Reads one of `[[functions]]`.
pub(super) fn read(value: Value<'_>, scripts: &mut Scripts<'_>, source: &mut Source<'_>) -> Job<Function> {
    let Some(table) = value.table("[[functions]]", &KEYS, source) else {
        return Job { name: None, job: None };
    };
    let name = job_name(&table, source);
    let script = scripts.read(&table, source);
    let job = name.clone().and_then(|(name, _)| Some(Function { name, script: script? }));
    Job { name, job }
}
