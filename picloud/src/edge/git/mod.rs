//! git's smart HTTP (gitprotocol-http) for `<app>.git`: what is asked, and by whom. [`receive`] answers pushes, whose
//! requests wait in [`spool`] until they are whole, and [`upload`] fetches.

mod receive;
mod spool;
mod upload;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use git_receiver::{Protocol, Transport, advertise_receive, advertise_upload};
use manifest_schema::name::AppName;
use platform::apps::Apps;
use platform::deploy::Deployer;
use platform::tokens::Right;
use tokio::io::AsyncRead;
use tokio::sync::Semaphore;
use tokio_util::io::StreamReader;

use super::credentials::{Caller, Door, Refused};
use super::{client, reply};
use crate::numbers::Numbers;
use crate::words::addresses::Addresses;
use platform::executor::threads::PushThreads;

/// How the server names itself to clients.
const AGENT: &str = concat!("picloud/", env!("CARGO_PKG_VERSION"));

/// How many bytes of an answer may wait for a slow client.
const ANSWER_BUFFER: usize = 256 * 1024;

/// How long a client may send nothing of a request that it has begun.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How many pushes may be arriving or waiting for their turn at once, each in a file of its own.
const ARRIVING_MAX: usize = 256;

/// What pushes may take.
#[derive(Clone, Debug)]
pub(crate) struct PushBounds {
    /// What one may hold.
    pub(crate) limits: git_receiver::Limits,
    /// How long one may take to arrive.
    pub(crate) time: Duration,
    /// How many are unpacked at once; each may hold a whole pack in memory.
    pub(crate) at_once: usize,
}

impl Default for PushBounds {
    fn default() -> Self {
        Self { limits: git_receiver::Limits::default(), time: Duration::from_secs(300), at_once: 4 }
    }
}

/// How pushes are taken in.
#[derive(Clone, Debug)]
pub(crate) struct Pushes {
    /// What they may take.
    pub(crate) bounds: PushBounds,
    /// The folder in which large ones wait until they are whole.
    pub(crate) spool: PathBuf,
    /// Whether the first push to a name creates the app.
    pub(crate) create_apps: bool,
    /// Where they are counted.
    pub(crate) numbers: Arc<Numbers>,
    /// Where they are worked on.
    pub(crate) threads: Arc<PushThreads>,
}

/// Serves repositories.
#[derive(Clone)]
pub(crate) struct GitEdge {
    apps: Apps,
    deployer: Deployer,
    door: Door,
    pushes: Pushes,
    arriving: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl GitEdge {
    pub(crate) fn new(apps: Apps, deployer: Deployer, door: Door, pushes: Pushes) -> Self {
        let places = Arc::new(Semaphore::new(pushes.bounds.at_once));
        Self { apps, deployer, door, pushes, arriving: Arc::new(Semaphore::new(ARRIVING_MAX)), places }
    }

    /// How many pushes arrive or wait for their turn, and how many are worked on.
    pub(crate) fn queue(&self) -> (usize, usize) {
        let arriving = ARRIVING_MAX.saturating_sub(self.arriving.available_permits());
        (arriving, self.pushes.bounds.at_once.saturating_sub(self.places.available_permits()))
    }

    /// Answers a request to the repository of `app`; `rest` is the path behind `<app>.git`.
    pub(crate) async fn answer(
        &self,
        app: AppName,
        rest: &str,
        addresses: Addresses,
        request: Request<Body>,
    ) -> Response<Body> {
        let caller = match self.door.caller(request.headers(), client::address(&request)).await {
            Ok(caller) => caller,
            Err(refused) => return unauthorized(&refused),
        };
        let service = service_of(rest, &request);
        if let Some((service, _)) = service
            && let Err(response) = self.allow(&caller, &app, service).await
        {
            return *response;
        }
        match service {
            Some((service, Step::Advertise)) => {
                self.advertise(app, service, protocol(request.headers())).await
            }
            Some((Service::Receive, Step::Exchange)) => self.receive(app, caller, addresses, request).await,
            Some((Service::Upload, Step::Exchange)) => self.upload(app, request).await,
            None => reply::text(StatusCode::NOT_FOUND, "this address is for git: clone, fetch or push it\n"),
        }
    }

    /// Whether the caller may have the service of that app. Whoever may nothing with it is told the same as where there is
    /// none.
    async fn allow(
        &self,
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
        match self.apps.find(app).await {
            Ok(Some(_)) if allowed => Ok(()),
            Ok(None) if creates && self.pushes.create_apps => match service {
                Service::Receive if pushes => Ok(()),
                _ => Err(Box::new(pushed_first(app))),
            },
            Ok(None) if creates => Err(Box::new(created_by_hand(app))),
            Ok(_) if caller.who.knows(app) && !allowed => Err(Box::new(forbidden(app, service))),
            Ok(_) => Err(Box::new(unknown(app))),
            Err(error) => Err(Box::new(reply::unavailable(&error))),
        }
    }

    async fn advertise(&self, app: AppName, service: Service, protocol: Protocol) -> Response<Body> {
        let repository = match self.apps.repository(&app).await {
            Ok(repository) => repository,
            Err(error) => return reply::unavailable(&error),
        };
        let http = Transport::Http;
        let (name, advertised) = match service {
            Service::Upload => {
                ("git-upload-pack", advertise_upload(&repository, http, protocol, AGENT).await)
            }
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

fn protocol(headers: &HeaderMap) -> Protocol {
    Protocol::from_header(headers.get("git-protocol").and_then(|value| value.to_str().ok()))
}

/// The body as it was before the client compressed it. The receiver's limits count what comes out.
fn plain_body(request: Request<Body>) -> Result<Box<dyn AsyncRead + Send + Unpin>, Box<Response<Body>>> {
    use futures_util::TryStreamExt as _;
    let encoding = request.headers().get(header::CONTENT_ENCODING).cloned();
    let stream = request.into_body().into_data_stream().map_err(io::Error::other);
    let reader = StreamReader::new(stream);
    match encoding.as_ref().map(|value| value.as_bytes()) {
        None | Some(b"identity") => Ok(Box::new(reader)),
        Some(b"gzip" | b"x-gzip") => {
            Ok(Box::new(async_compression::tokio::bufread::GzipDecoder::new(reader)))
        }
        Some(_) => {
            let words = "only gzip is understood as content encoding\n";
            Err(Box::new(reply::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, words)))
        }
    }
}

fn git_reply(kind: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if let Ok(kind) = kind.parse() {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-cache, max-age=0, must-revalidate"),
    );
    response
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

/// The app is not there, or whoever asks may not know that it is.
fn unknown(app: &AppName) -> Response<Body> {
    reply::text(StatusCode::NOT_FOUND, &format!("there is no app {app}, or this token may nothing with it\n"))
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
