//! git's smart HTTP (gitprotocol-http) for `<app>.git`: authentication, authorization and ref advertisement. [`receive`] handles pushes,
//! which [`spool`] buffers until they are complete, and [`upload`] handles fetches.

mod error;
mod receive;
mod spool;
mod state;
mod upload;
mod wire;

use axum::body::Body;
use axum::http::{Method, Request, Response, header};
use git_receiver::{Protocol, Transport, advertise_receive, advertise_upload};
use manifest_schema::name::AppName;
use platform::executor::Holder;
use platform::tokens::Right;

use super::authenticator::Caller;
use super::client_ip;
use crate::render::app_urls::AppUrls;
use crate::render::push::PushReporter;
use wire::{git_response, protocol};

pub(super) use error::GitError;
pub(crate) use state::{GitService, PushConfig, PushLimits};

/// The `agent` capability.
const AGENT: &str = concat!("picloud/", env!("CARGO_PKG_VERSION"));

/// Handles a request to the repository of `app`; `rest` is the path after `<app>.git`.
pub(super) async fn handle(
    git: &GitService,
    app: AppName,
    rest: &str,
    urls: AppUrls,
    request: Request<Body>,
) -> Result<Response<Body>, GitError> {
    if rest.starts_with("/info/lfs/") {
        return Err(GitError::LargeFiles);
    }
    let address = client_ip::client_ip(&request);
    let endpoint = endpoint_of(rest, &request);
    if let Some((service, Endpoint::Rpc)) = endpoint {
        require_content_type(&request, service)?;
    }
    let headers = request.headers();
    let authorized = async {
        let caller = git.authenticator.authenticate(headers, address).await;
        let caller = caller.map_err(GitError::Unauthorized)?;
        let (service, endpoint) = endpoint.ok_or(GitError::NotGit)?;
        authorize(git, &caller, &app, service).await?;
        Ok((caller, service, endpoint))
    };
    let (caller, service, endpoint) = match (authorized.await, endpoint) {
        (Ok(authorized), _) => authorized,
        (Err(error), Some((Service::Receive, Endpoint::Rpc))) => {
            let reporter = PushReporter::new(app, String::new(), urls, true);
            return receive::reject_unread(git, reporter, request, error).await;
        }
        (Err(error), _) => return Err(error),
    };
    let holder = Holder::new(caller.principal.token, address.map(client_ip::network), app.clone());
    match (service, endpoint) {
        (service, Endpoint::InfoRefs) => advertise(git, app, service, protocol(request.headers())).await,
        (Service::Receive, Endpoint::Rpc) => receive::receive(git, holder, caller, urls, request).await,
        (Service::Upload, Endpoint::Rpc) => upload::upload(git, holder, request).await,
    }
}

/// Rejects other content types than git's (gitprotocol-http): a page of another site cannot send these without a CORS preflight.
fn require_content_type(request: &Request<Body>, service: Service) -> Result<(), GitError> {
    let expected = match service {
        Service::Receive => "application/x-git-receive-pack-request",
        Service::Upload => "application/x-git-upload-pack-request",
    };
    let sent = request.headers().get(header::CONTENT_TYPE);
    match sent.is_some_and(|sent| sent.as_bytes().eq_ignore_ascii_case(expected.as_bytes())) {
        true => Ok(()),
        false => Err(GitError::ContentType(expected)),
    }
}

/// Checks that the caller has access to the service of the app. Without any access the app appears not to exist.
async fn authorize(
    git: &GitService,
    caller: &Caller,
    app: &AppName,
    service: Service,
) -> Result<(), GitError> {
    let has = |right| caller.principal.can(right, app);
    let (can_fetch, can_push) = (has(Right::Read), has(Right::DeployPreviews));
    let allowed = if matches!(service, Service::Upload) { can_fetch } else { can_push };
    let can_create = has(Right::Create);
    let forbidden = || {
        let (what, right) = match service {
            Service::Upload => ("read", Right::Read),
            Service::Receive => ("push to", Right::DeployProduction),
        };
        GitError::Forbidden { app: app.clone(), what, right }
    };
    if !allowed && !can_create {
        return Err(if caller.principal.can_see(app) {
            forbidden()
        } else {
            GitError::NotFound(app.clone())
        });
    }
    match git.apps.find(app).await? {
        Some(_) if allowed => Ok(()),
        None if can_create && git.config.create_apps => match service {
            Service::Receive if can_push => Ok(()),
            _ => Err(GitError::CreatedByPush(app.clone())),
        },
        None if can_create => Err(GitError::CreatedByHand(app.clone())),
        _ if caller.principal.can_see(app) && !allowed => Err(forbidden()),
        _ => Err(GitError::NotFound(app.clone())),
    }
}

async fn advertise(
    git: &GitService,
    app: AppName,
    service: Service,
    protocol: Protocol,
) -> Result<Response<Body>, GitError> {
    let repository = git.apps.repository(&app).await?;
    let http = Transport::Http;
    let (name, body) = match service {
        Service::Upload => ("git-upload-pack", advertise_upload(&repository, http, protocol, AGENT).await?),
        Service::Receive => {
            let repository = repository.without_deploy_refs();
            ("git-receive-pack", advertise_receive(&repository, http, protocol, AGENT).await?)
        }
    };
    Ok(git_response(&format!("application/x-{name}-advertisement"), Body::from(body)))
}

#[derive(Clone, Copy)]
enum Service {
    Receive,
    Upload,
}

#[derive(Clone, Copy)]
enum Endpoint {
    /// `/info/refs`: the ref advertisement.
    InfoRefs,
    /// `/git-receive-pack` or `/git-upload-pack`.
    Rpc,
}

fn endpoint_of(rest: &str, request: &Request<Body>) -> Option<(Service, Endpoint)> {
    match (request.method(), rest) {
        (&Method::GET | &Method::HEAD, "/info/refs") => {
            match request.uri().query()?.strip_prefix("service=")? {
                "git-receive-pack" => Some((Service::Receive, Endpoint::InfoRefs)),
                "git-upload-pack" => Some((Service::Upload, Endpoint::InfoRefs)),
                _ => None,
            }
        }
        (&Method::POST, "/git-receive-pack") => Some((Service::Receive, Endpoint::Rpc)),
        (&Method::POST, "/git-upload-pack") => Some((Service::Upload, Endpoint::Rpc)),
        _ => None,
    }
}
