//! The live revision of an app, for the API.

use std::sync::Arc;

use manifest_schema::label::branch_label;
use manifest_schema::name::AppName;
use platform::live::{Live, LiveState, LiveTable};

use super::api_error::ApiError;

/// The revision that is live in production.
pub(super) fn production(table: &LiveTable, app: &AppName) -> Result<Arc<Live>, ApiError> {
    match table.find_production(app.as_str()) {
        Some(LiveState::Live(live)) => Ok(live),
        Some(LiveState::Unserved) => Err(ApiError::unserved()),
        Some(LiveState::Stopped) => Err(ApiError::stopped(app)),
        None => Err(ApiError::no_app()),
    }
}

/// The revision that is live on a branch.
pub(super) fn on_branch(table: &LiveTable, app: &AppName, branch: &str) -> Result<Arc<Live>, ApiError> {
    match table.find(app.as_str(), &branch_label(app, branch)) {
        Some(LiveState::Live(live)) if live.branch.name == branch => Ok(live),
        Some(LiveState::Unserved) => Err(ApiError::unserved()),
        Some(LiveState::Stopped) => Err(ApiError::stopped(app)),
        _ => Err(ApiError::no_branch()),
    }
}
