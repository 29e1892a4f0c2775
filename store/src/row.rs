//! Reading columns that both databases write alike.

use crate::error::StoreError;
use crate::id::{DeployNumber, Oid};
use crate::record::{ObjectKind, RunOutcome};

/// An object name written as hexadecimal digits.
pub(crate) fn hex(table: &'static str, hex: &str) -> Result<Oid, StoreError> {
    Oid::from_hex(hex).ok_or_else(|| StoreError::Corrupt { table, what: format!("object name {hex}") })
}

/// An object name as bytes.
pub(crate) fn key(bytes: &[u8]) -> Result<Oid, StoreError> {
    let bytes = bytes.try_into();
    bytes
        .map(Oid::new)
        .map_err(|_| StoreError::Corrupt { table: "objects", what: "an object name".to_owned() })
}

/// The kind of an object.
pub(crate) fn object_kind(name: &str) -> Result<ObjectKind, StoreError> {
    ObjectKind::parse(name)
        .ok_or_else(|| StoreError::Corrupt { table: "objects", what: format!("kind {name}") })
}

/// The number of a deploy.
pub(crate) fn deploy_number(number: i64) -> Result<DeployNumber, StoreError> {
    let read = u64::try_from(number).ok().and_then(DeployNumber::new);
    read.ok_or_else(|| StoreError::Corrupt { table: "deploys", what: format!("number {number}") })
}

/// How a run ended.
pub(crate) fn outcome(name: &str) -> Result<RunOutcome, StoreError> {
    RunOutcome::parse(name)
        .ok_or_else(|| StoreError::Corrupt { table: "schedule_runs", what: format!("outcome {name}") })
}

/// The branch that a ref is, as deploys have it; no deploy has the one of a tag.
pub(crate) fn branch_of(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or_default()
}

/// A number as rows have it: both databases have signed ones only.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
