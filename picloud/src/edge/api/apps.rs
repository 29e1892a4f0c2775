//! Apps: what there is, and what is live.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;

use super::{Api, document, failed};
use crate::rest::{App, Apps, LiveDeploy};

/// All apps, by name.
pub(super) async fn list(State(api): State<Api>) -> Response<Body> {
    let apps = match api.store.apps().await {
        Ok(apps) => apps,
        Err(error) => return failed(&error),
    };
    let shown = apps.into_iter().map(|app| App {
        live: api
            .table
            .get_production(app.name.as_str())
            .map(|live| LiveDeploy { deploy: live.deploy, commit: live.revision.commit().to_owned() }),
        name: app.name.as_str().to_owned(),
        production_branch: app.production_branch,
        created_at: app.created_at,
    });
    document(&Apps { apps: shown.collect() })
}
