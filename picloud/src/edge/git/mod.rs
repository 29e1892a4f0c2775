//! git's smart HTTP (gitprotocol-http) for `<app>.git`: what is asked, and by whom. [`receive`] answers pushes, whose
//! requests wait in [`spool`] until they are whole, and [`upload`] fetches. [`state`] is what they work with, [`wire`] what their messages
//! have in common, [`error`] how they refuse.

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

use super::client;
use super::credentials::Caller;
use crate::words::addresses::Addresses;
use crate::words::push::PushWords;
use wire::{git_reply, protocol};

pub(super) use error::GitError;
pub(crate) use state::{GitEdge, PushBounds, Pushes};

/// How the server names itself to clients.
const AGENT: &str = concat!("picloud/", env!("CARGO_PKG_VERSION"));

/// Answers a request to the repository of `app`; `rest` is the path behind `<app>.git`.
pub(super) async fn answer(
    git: &GitEdge,
    app: AppName,
    rest: &str,
    addresses: Addresses,
    request: Request<Body>,
) -> Result<Response<Body>, GitError> {
    if rest.starts_with("/info/lfs/") {
        return Err(GitError::LargeFiles);
    }
    let address = client::address(&request);
    let asked = service_of(rest, &request);
    if let Some((service, Step::Exchange)) = asked {
        require_type(&request, service)?;
    }
    let headers = request.headers();
    let admitted = async {
        let caller = git.door.caller(headers, address).await;
        let caller = caller.map_err(GitError::Unauthorized)?;
        let (service, step) = asked.ok_or(GitError::Address)?;
        allow(git, &caller, &app, service).await?;
        Ok((caller, service, step))
    };
    let (caller, service, step) = match (admitted.await, asked) {
        (Ok(admitted), _) => admitted,
        (Err(error), Some((Service::Receive, Step::Exchange))) => {
            let words = PushWords::new(app, String::new(), addresses, true);
            return receive::refuse(git, words, request, error).await;
        }
        (Err(error), _) => return Err(error),
    };
    let holder = Holder::new(caller.who.token, address.map(client::network), app.clone());
    match (service, step) {
        (service, Step::Advertise) => advertise(git, app, service, protocol(request.headers())).await,
        (Service::Receive, Step::Exchange) => receive::receive(git, holder, caller, addresses, request).await,
        (Service::Upload, Step::Exchange) => upload::upload(git, holder, request).await,
    }
}

/// Refuses what is not called what git calls it (gitprotocol-http): a page of another site can send nothing else unasked.
fn require_type(request: &Request<Body>, service: Service) -> Result<(), GitError> {
    let expected = match service {
        Service::Receive => "application/x-git-receive-pack-request",
        Service::Upload => "application/x-git-upload-pack-request",
    };
    let called = request.headers().get(header::CONTENT_TYPE);
    match called.is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(expected.as_bytes())) {
        true => Ok(()),
        false => Err(GitError::ContentType(expected)),
    }
}

/// Whether the caller may have the service of that app. Whoever may nothing with it is refused as where there is none.
async fn allow(git: &GitEdge, caller: &Caller, app: &AppName, service: Service) -> Result<(), GitError> {
    let may = |right| caller.who.may(right, app);
    let (fetches, pushes) = (may(Right::Read), may(Right::DeployPreviews));
    let allowed = if matches!(service, Service::Upload) { fetches } else { pushes };
    let creates = may(Right::Create);
    let forbidden = || {
        let (what, right) = match service {
            Service::Upload => ("read", Right::Read),
            Service::Receive => ("push to", Right::DeployProduction),
        };
        GitError::Forbidden { app: app.clone(), what, right }
    };
    if !allowed && !creates {
        return Err(if caller.who.knows(app) { forbidden() } else { GitError::Unknown(app.clone()) });
    }
    match git.apps.find(app).await? {
        Some(_) if allowed => Ok(()),
        None if creates && git.pushes.create_apps => match service {
            Service::Receive if pushes => Ok(()),
            _ => Err(GitError::PushedFirst(app.clone())),
        },
        None if creates => Err(GitError::CreatedByHand(app.clone())),
        _ if caller.who.knows(app) && !allowed => Err(forbidden()),
        _ => Err(GitError::Unknown(app.clone())),
    }
}

async fn advertise(
    git: &GitEdge,
    app: AppName,
    service: Service,
    protocol: Protocol,
) -> Result<Response<Body>, GitError> {
    let repository = git.apps.repository(&app).await?;
    let http = Transport::Http;
    let (name, body) = match service {
        Service::Upload => ("git-upload-pack", advertise_upload(&repository, http, protocol, AGENT).await?),
        Service::Receive => {
            let repository = repository.for_pushers();
            ("git-receive-pack", advertise_receive(&repository, http, protocol, AGENT).await?)
        }
    };
    Ok(git_reply(&format!("application/x-{name}-advertisement"), Body::from(body)))
}

#[derive(Clone, Copy)]
enum Service {
    Receive,
    Upload,
}

#[derive(Clone, Copy)]
enum Step {
    Advertise,
    Exchange,
}

fn service_of(rest: &str, request: &Request<Body>) -> Option<(Service, Step)> {
    match (request.method(), rest) {
        (&Method::GET | &Method::HEAD, "/info/refs") => {
            match request.uri().query()?.strip_prefix("service=")? {
                "git-receive-pack" => Some((Service::Receive, Step::Advertise)),
                "git-upload-pack" => Some((Service::Upload, Step::Advertise)),
                _ => None,
            }
        }
        (&Method::POST, "/git-receive-pack") => Some((Service::Receive, Step::Exchange)),
        (&Method::POST, "/git-upload-pack") => Some((Service::Upload, Step::Exchange)),
        _ => None,
    }
}
