//! The audit log: who did what, when and from where.

use axum::Json;
use axum::extract::State;
use manifest_schema::name::AppName;
use platform::audit::{Actor, AuditEvent, AuditRow};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::extract::{AdminCaller, Cursor, Limit, StrictQuery, page};
use super::lookup;
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;

/// The default number of events on a page.
const PAGE: u32 = 50;

/// The filter of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// The maximum number of items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
    /// Only events about this app.
    app: Option<String>,
    /// The `next_cursor` of the previous page.
    #[param(value_type = Option<Uuid>)]
    cursor: Option<Cursor<Uuid>>,
}

/// Lists audit events, latest first.
#[utoipa::path(
    get,
    path = "/-/api/v1/audit",
    tag = "audit",
    params(ListParams),
    responses((status = 200, body = api_types::Audit), api_types::ErrorResponses),
)]
pub(super) async fn list(
    State(api): State<Api>,
    AdminCaller(caller): AdminCaller,
    StrictQuery(params): StrictQuery<ListParams>,
) -> Result<Json<api_types::Audit>, ApiError> {
    let ListParams { limit, app, cursor } = params;
    let app = app.as_deref().map(AppName::new).transpose();
    let app =
        app.map_err(|_| ApiError::bad_request("invalid query parameter `app`: not the name of an app"))?;
    let is_first = cursor.is_none();
    let found = api.audit.events(app.as_ref(), page(limit, cursor, PAGE)).await?;
    if let Some(app) = app.filter(|_| is_first && found.items.is_empty())
        && api.apps.find(&app).await?.is_none()
    {
        return Err(lookup::no_app(&api, &caller.principal, app.as_str()));
    }
    Ok(Json(api_types::Audit {
        next_cursor: found.next.map(|next| next.to_string()),
        events: found.items.into_iter().map(to_api).collect(),
    }))
}

fn to_api(AuditRow { id, event }: AuditRow) -> api_types::AuditEvent {
    let AuditEvent {
        by: Actor { name, token, address, request },
        at,
        action,
        app,
        subject,
        old,
        new,
        deploy,
    } = event;
    api_types::AuditEvent {
        id,
        at,
        actor: name,
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
