//! The audit list: who did what, when, from where.

use axum::Json;
use axum::extract::State;
use manifest_schema::name::AppName;
use platform::audit::{Act, Actor, AuditRow};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::extract::{AdminCaller, Cursor, Limit, StrictQuery, page};
use super::names;
use super::state::Api;
use crate::edge::api_error::ApiError;
use crate::rest;

/// How many acts are listed where nothing else is asked for.
const ACTS: u32 = 50;

/// Which acts are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
    /// Those about this app.
    app: Option<String>,
    /// Where to go on: the `next_cursor` of another answer.
    #[param(value_type = Option<Uuid>)]
    cursor: Option<Cursor<Uuid>>,
}

/// The latest acts, the latest first.
#[utoipa::path(
    get,
    path = "/-/api/v1/audit",
    tag = "audit",
    params(ListParams),
    responses((status = 200, body = rest::Audit), rest::Refusals),
)]
pub(super) async fn list(
    State(api): State<Api>,
    AdminCaller(caller): AdminCaller,
    StrictQuery(params): StrictQuery<ListParams>,
) -> Result<Json<rest::Audit>, ApiError> {
    let ListParams { limit, app, cursor } = params;
    let app = app.as_deref().map(AppName::new).transpose();
    let app = app.map_err(|_| ApiError::bad_request("`app` is the name of an app"))?;
    let is_first = cursor.is_none();
    let found = api.audit.acts(app.as_ref(), page(limit, cursor, ACTS)).await?;
    if let Some(app) = app.filter(|_| is_first && found.items.is_empty())
        && api.apps.find(&app).await?.is_none()
    {
        return Err(names::no_app(&api, &caller.who, app.as_str()));
    }
    Ok(Json(rest::Audit {
        next_cursor: found.next.map(|next| next.to_string()),
        acts: found.items.into_iter().map(shown).collect(),
    }))
}

fn shown(AuditRow { id, act }: AuditRow) -> rest::Act {
    let Act { by: Actor { name, token, address, request }, at, action, app, subject, old, new, deploy } = act;
    rest::Act {
        id,
        at,
        who: name,
        token,
        address,
        request_id: request,
        action: action.as_str().to_owned(),
        app: app.map(|app| app.as_str().to_owned()),
        subject,
        old,
        new,
        deploy: deploy.map(|deploy| deploy.get()),
    }
}
