//! Domains of an app's own: which it has, and what is proven, approved and released.
//!
//! Each change is carried out in a task of its own: a client that hangs up does not leave it stored and not served.

use axum::Json;
use axum::extract::State;
use manifest_schema::name::DomainName;
use platform::apps::App;
use platform::domains::{OwnNames, challenge};
use platform::repository::AppId;
use serde::Deserialize;

use super::extract::{Admin, DeployProduction, FoundApp, NoBody, NoQuery, PathParams, ReachedBy, Read};
use super::state::Api;
use crate::edge::api_error::ApiError;
use crate::rest;

/// The domains that an app claims or holds.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/domains",
    tag = "domains",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = rest::Domains), rest::Refusals),
)]
pub(super) async fn list(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<Read>,
    _: NoQuery,
) -> Result<Json<rest::Domains>, ApiError> {
    let domains = api.deployer.domains(&app).await?;
    Ok(Json(rest::Domains { domains: domains.into_iter().map(|domain| shown(app.id, domain)).collect() }))
}

#[derive(Deserialize)]
pub(super) struct DomainPath {
    domain: String,
}

/// Asks DNS whether a domain that production names is the app's, and has the app answer there if it is.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/domains/{domain}/verify",
    tag = "domains",
    params(("app" = String, Path, description = "The name of the app"), ("domain" = String, Path, description = "The domain")),
    responses((status = 200, body = rest::Domain), rest::Refusals),
)]
pub(super) async fn verify(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<DeployProduction>,
    PathParams(DomainPath { domain }): PathParams<DomainPath>,
    reached: ReachedBy,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<rest::Domain>, ApiError> {
    let name = not_reached_by(&domain, &reached)?;
    let (deployer, of, domain) = (api.deployer.clone(), app.clone(), name.clone());
    tokio::spawn(async move { deployer.verify_domain(&of, &domain, &caller.actor).await }).await??;
    found(&api, &app, &name).await
}

/// Has the app answer at a domain that production names, by the word of an admin.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/domains/{domain}/approve",
    tag = "domains",
    params(("app" = String, Path, description = "The name of the app"), ("domain" = String, Path, description = "The domain")),
    responses((status = 200, body = rest::Domain), rest::Refusals),
)]
pub(super) async fn approve(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Admin>,
    PathParams(DomainPath { domain }): PathParams<DomainPath>,
    reached: ReachedBy,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<rest::Domain>, ApiError> {
    let name = not_reached_by(&domain, &reached)?;
    let (deployer, of, domain) = (api.deployer.clone(), app.clone(), name.clone());
    tokio::spawn(async move { deployer.approve_domain(&of, &domain, &caller.actor).await }).await??;
    found(&api, &app, &name).await
}

/// Has the app answer at a domain no longer. Another app can have it then; this one has to prove it once more.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/domains/{domain}/release",
    tag = "domains",
    params(("app" = String, Path, description = "The name of the app"), ("domain" = String, Path, description = "The domain")),
    responses((status = 200, body = rest::Domains), rest::Refusals),
)]
pub(super) async fn release(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<DeployProduction>,
    PathParams(DomainPath { domain }): PathParams<DomainPath>,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<rest::Domains>, ApiError> {
    let name = DomainName::new(&domain)?;
    let (deployer, of) = (api.deployer.clone(), app.clone());
    let releasing = tokio::spawn(async move { deployer.release_domain(&of, &name, &caller.actor).await });
    if !releasing.await?? {
        return Err(ApiError::not_found("the app does not hold this domain"));
    }
    let domains = api.deployer.domains(&app).await?;
    Ok(Json(rest::Domains { domains: domains.into_iter().map(|domain| shown(app.id, domain)).collect() }))
}

/// The domain, unless the client reaches this server by it: it would reach an app there instead.
fn not_reached_by(domain: &str, reached: &ReachedBy) -> Result<DomainName, ApiError> {
    let name = DomainName::new(domain)?;
    if OwnNames::new(None, [reached.name().to_owned()]).contains(name.as_str()) {
        let words = format!(
            "you reach this server as {name}, which no app can have then; if an app is to have it, do this by another name of the server"
        );
        return Err(ApiError::conflict(words));
    }
    Ok(name)
}

async fn found(api: &Api, app: &App, name: &DomainName) -> Result<Json<rest::Domain>, ApiError> {
    let domains = api.deployer.domains(app).await?;
    let domain = domains.into_iter().find(|domain| domain.name == *name);
    let domain = domain.ok_or_else(|| ApiError::not_found("the app has no such domain any more"))?;
    Ok(Json(shown(app.id, domain)))
}

fn shown(app: AppId, domain: platform::deploy::Domain) -> rest::Domain {
    let challenge = challenge(app, &domain.name);
    let state = match (domain.claimed, domain.proof) {
        (_, None) => rest::DomainState::Pending,
        (true, Some(_)) => rest::DomainState::Live,
        (false, Some(_)) => rest::DomainState::Held,
    };
    rest::Domain {
        name: domain.name.to_string(),
        state,
        proof: domain.proof.map(|proof| proof.as_str().to_owned()),
        proven_at: domain.proven_at,
        proven_by: domain.proven_by,
        record: rest::TxtRecord { name: challenge.record, value: challenge.value },
    }
}
