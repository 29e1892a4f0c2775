//! git's smart HTTP (gitprotocol-http) for `<app>.git`: what is asked, and by whom. [`receive`] answers pushes, whose
//! requests wait in [`spool`] until they are whole, and [`upload`] fetches. [`state`] is what they work with, [`wire`] what their messages
//! have in common.

mod receive;
mod spool;
mod state;
mod upload;
mod wire;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use git_receiver::{Protocol, Transport, advertise_receive, advertise_upload};
use manifest_schema::name::AppName;
use platform::tokens::Right;

use super::credentials::{Caller, Refused};
use super::{client, reply};
use crate::words::addresses::Addresses;
use wire::{git_reply, protocol, unknown};

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
) -> Response<Body> {
    let caller = match git.door.caller(request.headers(), client::address(&request)).await {
        Ok(caller) => caller,
        Err(refused) => return unauthorized(&refused),
    };
    let service = service_of(rest, &request);
    if let Some((service, _)) = service
        && let Err(response) = allow(git, &caller, &app, service).await
    {
        return *response;
    }
    match service {
        Some((service, Step::Advertise)) => advertise(git, app, service, protocol(request.headers())).await,
        Some((Service::Receive, Step::Exchange)) => {
            receive::receive(git, app, caller, addresses, request).await
        }
        Some((Service::Upload, Step::Exchange)) => upload::upload(git, app, request).await,
        None => reply::text(StatusCode::NOT_FOUND, "this address is for git: clone, fetch or push it\n"),
    }
}

/// Whether the caller may have the service of that app. Whoever may nothing with it is told the same as where there is
/// none.
async fn allow(
    git: &GitEdge,
    caller: &Caller,
    app: &AppName,
    service: Service,
) -> Result<(), Box<Response<Body>>> {
    let may = |right| caller.who.may(right, app);
    let (fetches, pushes) = (may(Right::Read), may(Right::DeployPreviews));
    let allowed = if matches!(service, Service::Upload) { fetches } else { pushes };
    let creates = may(Right::Create);
    if !allowed && !creates {
        return Err(Box::new(if caller.who.knows(app) { forbidden(app, service) } else { unknown(app) }));
    }
    match git.apps.find(app).await {
        Ok(Some(_)) if allowed => Ok(()),
        Ok(None) if creates && git.pushes.create_apps => match service {
            Service::Receive if pushes => Ok(()),
            _ => Err(Box::new(pushed_first(app))),
        },
        Ok(None) if creates => Err(Box::new(created_by_hand(app))),
        Ok(_) if caller.who.knows(app) && !allowed => Err(Box::new(forbidden(app, service))),
        Ok(_) => Err(Box::new(unknown(app))),
        Err(error) => Err(Box::new(reply::unavailable(&error))),
    }
}

async fn advertise(git: &GitEdge, app: AppName, service: Service, protocol: Protocol) -> Response<Body> {
    let repository = match git.apps.repository(&app).await {
        Ok(repository) => repository,
        Err(error) => return reply::unavailable(&error),
    };
    let http = Transport::Http;
    let (name, advertised) = match service {
        Service::Upload => ("git-upload-pack", advertise_upload(&repository, http, protocol, AGENT).await),
        Service::Receive => {
            let repository = repository.for_pushers();
            ("git-receive-pack", advertise_receive(&repository, http, protocol, AGENT).await)
        }
    };
    match advertised {
        Ok(body) => git_reply(&format!("application/x-{name}-advertisement"), Body::from(body)),
        Err(error) => reply::unavailable(&error),
    }
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
        (&Method::GET, "/info/refs") => match request.uri().query()?.strip_prefix("service=")? {
            "git-receive-pack" => Some((Service::Receive, Step::Advertise)),
            "git-upload-pack" => Some((Service::Upload, Step::Advertise)),
            _ => None,
        },
        (&Method::POST, "/git-receive-pack") => Some((Service::Receive, Step::Exchange)),
        (&Method::POST, "/git-upload-pack") => Some((Service::Upload, Step::Exchange)),
        _ => None,
    }
}

fn unauthorized(refused: &Refused) -> Response<Body> {
    let words = match refused {
        Refused::Missing => "a token is needed: give it as the password, with any user name\n",
        Refused::Wrong => "the token is wrong\n",
        Refused::Expired => "the token has expired\n",
        Refused::TooMany { wait } => {
            let words = "too many wrong tokens came from this address; try again later\n";
            return reply::wait(reply::text(StatusCode::TOO_MANY_REQUESTS, words), *wait);
        }
        Refused::Unknown(error) => return reply::unavailable(error),
    };
    let mut response = reply::text(StatusCode::UNAUTHORIZED, words);
    let challenge = header::HeaderValue::from_static("Basic realm=\"picloud\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// The app is not there, and may be created.
fn pushed_first(app: &AppName) -> Response<Body> {
    reply::text(StatusCode::NOT_FOUND, &format!("there is no app {app}; the first push creates it\n"))
}

/// The app is not there, and may be created, but not by a push.
fn created_by_hand(app: &AppName) -> Response<Body> {
    let words = format!(
        "there is no app {app}, and this server creates none on a push; do it with  picloud apps create {app}\n"
    );
    reply::text(StatusCode::NOT_FOUND, &words)
}

/// Whoever asks may something else with the app.
fn forbidden(app: &AppName, service: Service) -> Response<Body> {
    let (what, right) = match service {
        Service::Upload => ("read", Right::Read),
        Service::Receive => ("push to", Right::DeployProduction),
    };
    let words = format!("this token may not {what} {app}; it needs the scope {}\n", right.scope(app));
    reply::text(StatusCode::FORBIDDEN, &words)
}

/// The answer to an app name that breaks its rule.
pub(crate) fn bad_name(error: &manifest_schema::name::NameError) -> Response<Body> {
    reply::text(StatusCode::BAD_REQUEST, &format!("{error}\n"))
}
