//! Types for the state of apps.
//!
//! Values are raw JSON: they are passed on as they are stored, also those that are nested so deep that they could not be
//! parsed within another document.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A page of the entries of a namespace, in the order of their keys.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct KvPage {
    pub(crate) entries: Vec<KvEntry>,
    /// Cursor of the next page; null on the last. A page can end before its limit, because of the size of its values.
    pub(crate) next_cursor: Option<String>,
}

/// Entries to import.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KvEntries {
    pub(crate) entries: Vec<KvEntry>,
}

/// An entry: a JSON value, or a blob.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KvEntry {
    pub(crate) key: String,
    /// The value; absent for a blob, and where only keys are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) value: Option<Box<RawValue>>,
    /// The bytes in Base64; absent for a JSON value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blob: Option<String>,
    /// When the key ends; absent if it stays until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

/// A new value of a key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKvValue {
    /// A JSON value other than null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) value: Option<Box<RawValue>>,
    /// Bytes in Base64, instead of a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blob: Option<String>,
    /// How long the key exists, such as `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttl: Option<String>,
}

/// The result of a change.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct KvChanged {
    /// The number of changed keys.
    pub(crate) keys: usize,
}

/// The result of an import.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct KvImported {
    /// The number of stored entries.
    pub(crate) keys: usize,
    /// The number of entries that were left out because they have ended.
    pub(crate) expired: usize,
}

/// What the namespaces of an app store.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct KvUsage {
    pub(crate) namespaces: Vec<KvNamespace>,
}

/// What production or a preview stores.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct KvNamespace {
    /// The branch of a preview; absent for production.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) branch: Option<String>,
    /// The stored bytes, as they count for the quota.
    pub(crate) bytes: u64,
    pub(crate) quota_bytes: u64,
    /// The number of keys.
    pub(crate) entries: u64,
    /// The number of commits so far.
    pub(crate) commits: u64,
    /// The keys that executions ran again for most often since the start of the responding node.
    pub(crate) conflicts: Vec<KvConflict>,
}

/// A key with conflicts.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct KvConflict {
    pub(crate) key: String,
    pub(crate) count: u64,
}
