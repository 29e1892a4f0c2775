//! The audit list: who did what, when, from where.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{Response, StatusCode};
use manifest_schema::name::AppName;
use serde::Deserialize;
use store::{Act, Actor, AuditRow};
use utoipa::IntoParams;
use uuid::Uuid;

use super::query::{Asked, Limit};
use super::{Api, allow_admin, document, failed, problem};
use crate::edge::credentials::Caller;
use crate::rest;

/// How many acts are listed where nothing else is asked for.
const ACTS: u32 = 50;

/// Which acts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
    /// Those about this app.
    app: Option<String>,
    /// Those behind this one: the `next` of another answer.
    before: Option<Uuid>,
}

/// The latest acts, the latest first.
#[utoipa::path(
    get,
    path = "/-/api/v1/audit",
    tag = "audit",
    params(Which),
    responses((status = 200, body = rest::Audit), rest::Refusals),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Asked(which): Asked<Which>,
) -> Response<Body> {
    if let Err(response) = allow_admin(&caller) {
        return *response;
    }
    let Ok(app) = which.app.as_deref().map(AppName::new).transpose() else {
        return problem(StatusCode::BAD_REQUEST, "`app` is the name of an app");
    };
    let before = which.before;
    let limit = Limit::or(which.limit, ACTS);
    match api.store.audit(app.as_ref(), before, limit).await {
        Ok(rows) => {
            let is_full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
            let next = rows.last().map(|row| row.id).filter(|_| is_full);
            document(&rest::Audit { acts: rows.into_iter().map(shown).collect(), next })
        }
        Err(error) => failed(&error),
    }
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
