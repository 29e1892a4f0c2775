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
use platform::deploy::Deployer;
use platform::repository::AppRepository;
use platform::tokens::AdminToken;
use store::Store;
use tokio::io::AsyncRead;
use tokio::sync::Semaphore;
use tokio_util::io::StreamReader;

use super::credentials::{Refused, caller};
use super::reply;
use crate::words::push::Addresses;

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

/// How pushes are taken in.
#[derive(Clone, Debug)]
pub(crate) struct Pushes {
    /// What they may take.
    pub(crate) bounds: PushBounds,
    /// The folder in which large ones wait until they are whole.
    pub(crate) spool: PathBuf,
}

/// Serves repositories.
#[derive(Clone)]
pub(crate) struct GitEdge {
    store: Store,
    deployer: Deployer,
    admin: AdminToken,
    pushes: Pushes,
    arriving: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl GitEdge {
    pub(crate) fn new(store: Store, deployer: Deployer, admin: AdminToken, pushes: Pushes) -> Self {
        let places = Arc::new(Semaphore::new(pushes.bounds.at_once));
        Self { store, deployer, admin, pushes, arriving: Arc::new(Semaphore::new(ARRIVING_MAX)), places }
    }

    /// Answers a request to the repository of `app`; `rest` is the path behind `<app>.git`.
    pub(crate) async fn answer(
        &self,
        app: AppName,
        rest: &str,
        addresses: Addresses,
        request: Request<Body>,
    ) -> Response<Body> {
        let caller = match caller(request.headers(), &self.admin) {
            Ok(caller) => caller,
            Err(refused) => return unauthorized(refused),
        };
        let service = service_of(rest, &request);
        match service {
            Some((service, Step::Advertise)) => {
                self.advertise(app, service, protocol(request.headers())).await
            }
            Some((Service::Receive, Step::Exchange)) => self.receive(app, caller, addresses, request).await,
            Some((Service::Upload, Step::Exchange)) => self.upload(app, request).await,
            None => reply::text(StatusCode::NOT_FOUND, "this address is for git: clone, fetch or push it\n"),
        }
    }

    async fn advertise(&self, app: AppName, service: Service, protocol: Protocol) -> Response<Body> {
        let found = match self.store.app(&app).await {
            Ok(found) => found,
            Err(error) => return reply::unavailable(&error),
        };
        if found.is_none() && matches!(service, Service::Upload) {
            return no_such_app(&app);
        }
        let repository = AppRepository::new(self.store.clone(), found);
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

fn unauthorized(refused: Refused) -> Response<Body> {
    let words = match refused {
        Refused::Missing => "a token is needed: give it as the password, with any user name\n",
        Refused::Wrong => "the token is wrong\n",
    };
    let mut response = reply::text(StatusCode::UNAUTHORIZED, words);
    let challenge = header::HeaderValue::from_static("Basic realm=\"picloud\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn no_such_app(app: &AppName) -> Response<Body> {
    reply::text(StatusCode::NOT_FOUND, &format!("there is no app {app}; the first push creates it\n"))
}

/// The answer to an app name that breaks its rule.
pub(crate) fn bad_name(error: &manifest_schema::name::NameError) -> Response<Body> {
    reply::text(StatusCode::BAD_REQUEST, &format!("{error}\n"))
}
