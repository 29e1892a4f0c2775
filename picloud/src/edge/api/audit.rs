//! The audit list: who did what, when, from where.

use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{Response, StatusCode};
use manifest_schema::name::AppName;
use store::{Act, Actor, AuditRow};
use uuid::Uuid;

use super::{Api, allow_admin, document, failed, problem};
use crate::edge::credentials::Caller;
use crate::rest;

/// How many acts are listed where nothing else is asked for, and at most.
const ACTS: u32 = 50;
const ACTS_MAX: u32 = 1000;

/// The latest acts, the latest first: `?limit=` at most, of `?app=`, behind the cursor `?before=`.
pub(super) async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    Extension(caller): Extension<Caller>,
) -> Response<Body> {
    if let Err(response) = allow_admin(&caller) {
        return *response;
    }
    let query = query.unwrap_or_default();
    let asked = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let limit = asked("limit").map_or(Ok(ACTS), str::parse);
    let app = asked("app").map(AppName::new).transpose();
    let before = asked("before").map(Uuid::try_parse).transpose();
    let (Ok(limit), Ok(app), Ok(before)) = (limit, app, before) else {
        let words =
            "`limit` is a number, `app` the name of an app, and `before` the `next` of another answer";
        return problem(StatusCode::BAD_REQUEST, words);
    };
    let limit = limit.clamp(1, ACTS_MAX);
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
