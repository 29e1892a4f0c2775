//! Types for limits of apps.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// The limits of an app and their sources.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AppLimits {
    /// The effective limits.
    pub(crate) granted: Limits,
    /// The limits that were set for this app; null for the default.
    pub(crate) own: Limits,
    /// The default limits of the responding node.
    pub(crate) default: Limits,
    /// The current usage.
    pub(crate) used: UsedLimits,
}

/// The current usage of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct UsedLimits {
    /// Size of the repository in the database.
    pub(crate) disk_bytes: u64,
    /// Number of live previews.
    pub(crate) previews: usize,
}

/// Limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Limits {
    /// Maximum memory of the app on each node.
    pub(crate) memory_share_bytes: Option<u64>,
    /// Maximum size of the repository in the database.
    pub(crate) disk_bytes: Option<u64>,
    /// Maximum size of the state.
    pub(crate) state_bytes: Option<u64>,
    /// Maximum number of live previews.
    pub(crate) previews: Option<u64>,
    /// Maximum number of schedule runs a minute.
    pub(crate) schedule_runs_per_minute: Option<u64>,
    /// Maximum `timeout` in the manifest.
    pub(crate) timeout_ms: Option<u64>,
    /// Maximum `operations` in the manifest.
    pub(crate) operations: Option<u64>,
    /// Maximum `memory` in the manifest.
    pub(crate) script_memory_bytes: Option<u64>,
    /// Maximum `body` in the manifest.
    pub(crate) body_bytes: Option<u64>,
    /// Maximum `concurrency` in the manifest.
    pub(crate) concurrency: Option<u64>,
    /// Maximum number of schedules in the manifest.
    pub(crate) schedules: Option<u64>,
}

/// Changes of the limits of an app. Omitted limits are unchanged; null resets a limit to the default.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitChanges {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) memory_share_bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) disk_bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) state_bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) previews: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) schedule_runs_per_minute: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) timeout_ms: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) operations: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) script_memory_bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) body_bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) concurrency: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub(crate) schedules: Option<Option<u64>>,
}

/// Distinguishes null from an omitted field.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(value).map(Some)
}
