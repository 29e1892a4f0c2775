//! What an app is granted.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// The limits of an app, and where they come from.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AppLimits {
    /// What the app is granted.
    pub(crate) granted: Limits,
    /// The limits that it has of its own; null: what the server grants every app.
    pub(crate) own: Limits,
    /// What the server grants every app, as the node that answers is set.
    pub(crate) default: Limits,
    /// How much of it is used.
    pub(crate) used: UsedLimits,
}

/// What an app uses of what it is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct UsedLimits {
    /// Bytes that its repository takes in the database.
    pub(crate) disk_bytes: u64,
    /// How many previews are live.
    pub(crate) previews: usize,
}

/// Limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Limits {
    /// Bytes of each node's memory that the app can hold at once.
    pub(crate) memory_share_bytes: Option<u64>,
    /// Bytes that its repository can take in the database.
    pub(crate) disk_bytes: Option<u64>,
    /// How many previews can be live.
    pub(crate) previews: Option<u64>,
    /// How many executions a minute its schedules can start.
    pub(crate) schedule_runs_per_minute: Option<u64>,
    /// The longest `timeout` of its manifest.
    pub(crate) timeout_ms: Option<u64>,
    /// The most `operations` of its manifest.
    pub(crate) operations: Option<u64>,
    /// The most `memory` of its manifest.
    pub(crate) script_memory_bytes: Option<u64>,
    /// The longest `body` of its manifest.
    pub(crate) body_bytes: Option<u64>,
    /// The most `concurrency` of its manifest.
    pub(crate) concurrency: Option<u64>,
    /// How many schedules its manifest can declare.
    pub(crate) schedules: Option<u64>,
}

/// New limits of an app. Those that are left out stay as they are, and null is what the server grants every app.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitChanges {
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) memory_share_bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) disk_bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) previews: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) schedule_runs_per_minute: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) timeout_ms: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) operations: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) script_memory_bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) body_bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) concurrency: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) schedules: Option<Option<u64>>,
}

/// What is there, null or not.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(value).map(Some)
}
