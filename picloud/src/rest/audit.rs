//! The audit list.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Acts, the latest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Audit {
    pub(crate) acts: Vec<Act>,
    /// Where the next page begins, where there is one: its `cursor`.
    pub(crate) next_cursor: Option<String>,
}

/// Something that was changed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Act {
    pub(crate) id: Uuid,
    pub(crate) at: DateTime<Utc>,
    pub(crate) who: String,
    /// The id of the token that was used; null: the admin token, whose holder's name is what they said.
    pub(crate) token: Option<Uuid>,
    /// From where.
    pub(crate) address: Option<String>,
    pub(crate) request_id: Option<Uuid>,
    /// `push`, `app.create`, `app.setting`, `token.create`, `token.revoke`, `schedule.pause`, `schedule.resume`,
    /// `schedule.run`, `secret.set`, `secret.unset`, `secret.rotate` or `secret.new_key`.
    pub(crate) action: String,
    pub(crate) app: Option<String>,
    /// What was changed: a ref, a token, a schedule, a setting, a secret.
    pub(crate) subject: String,
    /// What it was before: of a ref its commit, of a token its scopes.
    pub(crate) old: Option<String>,
    /// What it is now.
    pub(crate) new: Option<String>,
    /// The deploy that was made by it.
    pub(crate) deploy: Option<u64>,
}
