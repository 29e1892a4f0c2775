//! Custom domains of an app: list, verify, approve, release.
//!
//! Each change runs in a spawned task, so that a disconnect of the client does not leave it stored but not live.

use axum::Json;
use axum::extract::State;
use manifest_schema::name::DomainName;
use platform::apps::App;
use platform::domains::{ServerNames, challenge};
use platform::repository::AppId;
use serde::Deserialize;

use super::extract::{Admin, DeployProduction, FoundApp, NoBody, NoQuery, PathParams, Read, RequestedHost};
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;

/// Lists the custom domains of an app.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/domains",
    tag = "domains",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = api_types::Domains), api_types::ErrorResponses),
)]
pub(super) async fn list(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<Read>,
    _: NoQuery,
) -> Result<Json<api_types::Domains>, ApiError> {
    let domains = api.deployer.domains(&app).await?;
    Ok(Json(api_types::Domains {
        domains: domains.into_iter().map(|domain| to_api(app.id, domain)).collect(),
    }))
}

#[derive(Deserialize)]
pub(super) struct DomainPath {
    domain: String,
}

/// Verifies in DNS that a domain in the production manifest belongs to the app, and serves the app at it.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/domains/{domain}/verify",
    tag = "domains",
    params(("app" = String, Path, description = "The name of the app"), ("domain" = String, Path, description = "The domain")),
    responses((status = 200, body = api_types::Domain), api_types::ErrorResponses),
)]
pub(super) async fn verify(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<DeployProduction>,
    PathParams(DomainPath { domain }): PathParams<DomainPath>,
    host: RequestedHost,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<api_types::Domain>, ApiError> {
    let name = reject_own_host(&domain, &host)?;
    let (deployer, of, domain) = (api.deployer.clone(), app.clone(), name.clone());
    tokio::spawn(async move { deployer.verify_domain(&of, &domain, &caller.actor).await }).await??;
    found(&api, &app, &name).await
}

/// Serves the app at a domain in the production manifest without verification, as approved by an admin.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/domains/{domain}/approve",
    tag = "domains",
    params(("app" = String, Path, description = "The name of the app"), ("domain" = String, Path, description = "The domain")),
    responses((status = 200, body = api_types::Domain), api_types::ErrorResponses),
)]
pub(super) async fn approve(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Admin>,
    PathParams(DomainPath { domain }): PathParams<DomainPath>,
    host: RequestedHost,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<api_types::Domain>, ApiError> {
    let name = reject_own_host(&domain, &host)?;
    let (deployer, of, domain) = (api.deployer.clone(), app.clone(), name.clone());
    tokio::spawn(async move { deployer.approve_domain(&of, &domain, &caller.actor).await }).await??;
    found(&api, &app, &name).await
}

/// Stops serving the app at a domain. Another app can claim it then; this one has to verify it again.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/domains/{domain}/release",
    tag = "domains",
    params(("app" = String, Path, description = "The name of the app"), ("domain" = String, Path, description = "The domain")),
    responses((status = 200, body = api_types::Domains), api_types::ErrorResponses),
)]
pub(super) async fn release(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<DeployProduction>,
    PathParams(DomainPath { domain }): PathParams<DomainPath>,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<api_types::Domains>, ApiError> {
    let name = DomainName::new(&domain)?;
    let (deployer, of) = (api.deployer.clone(), app.clone());
    let task = tokio::spawn(async move { deployer.release_domain(&of, &name, &caller.actor).await });
    if !task.await?? {
        return Err(ApiError::not_found("the app does not have this domain"));
    }
    let domains = api.deployer.domains(&app).await?;
    Ok(Json(api_types::Domains {
        domains: domains.into_iter().map(|domain| to_api(app.id, domain)).collect(),
    }))
}

/// Parses the domain, and rejects the one by which the client reaches this server: it would reach the app instead.
fn reject_own_host(domain: &str, host: &RequestedHost) -> Result<DomainName, ApiError> {
    let name = DomainName::new(domain)?;
    if ServerNames::new(None, [host.name().to_owned()]).contains(name.as_str()) {
        let message = format!(
            "this request was sent to {name} itself, so it cannot be the domain of an app; send it to another name of the server"
        );
        return Err(ApiError::conflict(message));
    }
    Ok(name)
}

async fn found(api: &Api, app: &App, name: &DomainName) -> Result<Json<api_types::Domain>, ApiError> {
    let domains = api.deployer.domains(app).await?;
    let domain = domains.into_iter().find(|domain| domain.name == *name);
    let domain = domain.ok_or_else(|| ApiError::not_found("the app no longer has this domain"))?;
    Ok(Json(to_api(app.id, domain)))
}

fn to_api(app: AppId, domain: platform::deploy::Domain) -> api_types::Domain {
    let challenge = challenge(app, &domain.name);
    let state = match (domain.claimed, domain.proof) {
        (_, None) => api_types::DomainState::Pending,
        (true, Some(_)) => api_types::DomainState::Live,
        (false, Some(_)) => api_types::DomainState::Held,
    };
    api_types::Domain {
        name: domain.name.to_string(),
        state,
        proof: domain.proof.map(|proof| proof.as_str().to_owned()),
        proven_at: domain.proven_at,
        proven_by: domain.proven_by,
        record: api_types::TxtRecord { name: challenge.record, value: challenge.value },
    }
}
