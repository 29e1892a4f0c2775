//! Types for the audit log.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Audit events, latest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Audit {
    pub(crate) events: Vec<AuditEvent>,
    /// Cursor of the next page; null on the last.
    pub(crate) next_cursor: Option<String>,
}

/// A change and its actor.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AuditEvent {
    pub(crate) id: Uuid,
    pub(crate) at: DateTime<Utc>,
    pub(crate) actor: String,
    /// Id of the token; null for the admin token, whose actor name is supplied by the client.
    pub(crate) token: Option<Uuid>,
    /// IP address of the client.
    pub(crate) address: Option<String>,
    pub(crate) request_id: Option<Uuid>,
    /// `push`, `app.create`, `app.setting`, `token.create`, `token.revoke`, `schedule.pause`, `schedule.resume`,
    /// `schedule.run`, `secret.set`, `secret.unset`, `secret.rotate` or `secret.new_key`.
    pub(crate) action: String,
    pub(crate) app: Option<String>,
    /// The changed object: a ref, a token, a schedule, a setting, a secret.
    pub(crate) subject: String,
    /// The old value, such as the commit of a ref or the scopes of a token.
    pub(crate) old: Option<String>,
    /// The new value.
    pub(crate) new: Option<String>,
    /// The deploy that the change created.
    pub(crate) deploy: Option<u64>,
}
