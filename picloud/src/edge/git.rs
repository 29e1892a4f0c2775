//! git's smart HTTP (gitprotocol-http) for `<app>.git`.

use std::io;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use git_receiver::{Protocol, Push, Received, advertise_receive, advertise_upload};
use manifest_schema::name::AppName;
use platform::deploy::{Deployer, Pusher, Tell};
use platform::repository::AppRepository;
use platform::tokens::AdminToken;
use store::Store;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::io::{ReaderStream, StreamReader};

use super::credentials::{Caller, Refused, caller};
use super::reply;
use crate::words::push::{Addresses, PushWords};

/// How the server names itself to clients.
const AGENT: &str = concat!("picloud/", env!("CARGO_PKG_VERSION"));

/// The longest a client may take to send its push or its request.
const BODY_TIME_MAX: Duration = Duration::from_secs(120);

/// The longest request of a fetch: a few hundred thousand haves.
const FETCH_REQUEST_MAX: u64 = 16 * 1024 * 1024;

/// How many bytes of an answer may wait for a slow client.
const ANSWER_BUFFER: usize = 256 * 1024;

/// How often a silent server says that it is still there.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// How many pushes are received at once; each may hold a whole pack in memory.
const PUSHES_AT_ONCE: usize = 4;

/// Serves repositories.
#[derive(Clone)]
pub(crate) struct GitEdge {
    store: Store,
    deployer: Deployer,
    admin: AdminToken,
    limits: git_receiver::Limits,
    places: std::sync::Arc<tokio::sync::Semaphore>,
}

impl GitEdge {
    pub(crate) fn new(
        store: Store,
        deployer: Deployer,
        admin: AdminToken,
        limits: git_receiver::Limits,
    ) -> Self {
        let places = std::sync::Arc::new(tokio::sync::Semaphore::new(PUSHES_AT_ONCE));
        Self { store, deployer, admin, limits, places }
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
            Some((Service::Receive, Step::Advertise)) => self.advertise(app, None).await,
            Some((Service::Upload, Step::Advertise)) => {
                self.advertise(app, Some(protocol(request.headers()))).await
            }
            Some((Service::Receive, Step::Exchange)) => self.receive(app, caller, addresses, request).await,
            Some((Service::Upload, Step::Exchange)) => self.upload(app, request).await,
            None => reply::text(StatusCode::NOT_FOUND, "this address is for git: clone, fetch or push it\n"),
        }
    }

    async fn advertise(&self, app: AppName, upload: Option<Protocol>) -> Response<Body> {
        let found = match self.store.app(&app).await {
            Ok(found) => found,
            Err(error) => return reply::unavailable(&error),
        };
        if found.is_none() && upload.is_some() {
            return no_such_app(&app);
        }
        let repository = AppRepository::new(self.store.clone(), found);
        let (name, advertised) = match upload {
            Some(protocol) => ("git-upload-pack", advertise_upload(&repository, protocol, AGENT).await),
            None => ("git-receive-pack", advertise_receive(&repository, AGENT).await),
        };
        match advertised {
            Ok(body) => git_reply(&format!("application/x-{name}-advertisement"), Body::from(body)),
            Err(error) => reply::unavailable(&error),
        }
    }

    async fn receive(
        &self,
        app: AppName,
        caller: Caller,
        addresses: Addresses,
        request: Request<Body>,
    ) -> Response<Body> {
        let started = Instant::now();
        let Ok(place) = std::sync::Arc::clone(&self.places).acquire_owned().await else {
            return reply::text(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping\n");
        };
        let found = match self.store.app(&app).await {
            Ok(found) => found,
            Err(error) => return reply::unavailable(&error),
        };
        let repository = AppRepository::new(self.store.clone(), found);
        let body = match plain_body(request) {
            Ok(body) => body,
            Err(response) => return *response,
        };
        let receiving = git_receiver::receive(&repository, body, &self.limits);
        let push = match tokio::time::timeout(BODY_TIME_MAX, receiving).await {
            Ok(Ok(Received::Probe)) => return git_reply(RECEIVE_RESULT, Body::empty()),
            Ok(Ok(Received::Push(push))) => push,
            Ok(Err(error)) => {
                tracing::info!(%app, %error, "push not understood");
                return reply::text(StatusCode::BAD_REQUEST, &format!("{error}\n"));
            }
            Err(_) => return reply::text(StatusCode::REQUEST_TIMEOUT, "the push took too long to arrive\n"),
        };
        let (output, input) = tokio::io::duplex(ANSWER_BUFFER);
        let pusher = Pusher { name: caller.name, may_create: true };
        let deployer = self.deployer.clone();
        // The push is carried out by a task of its own: a client that hangs up now does not stop it halfway.
        tokio::spawn(async move {
            carry_out(deployer, app, push, pusher, addresses, started, output).await;
            drop(place);
        });
        git_reply(RECEIVE_RESULT, Body::from_stream(ReaderStream::new(input)))
    }

    async fn upload(&self, app: AppName, request: Request<Body>) -> Response<Body> {
        let protocol = protocol(request.headers());
        let found = match self.store.app(&app).await {
            Ok(Some(found)) => found,
            Ok(None) => return no_such_app(&app),
            Err(error) => return reply::unavailable(&error),
        };
        let repository = AppRepository::new(self.store.clone(), Some(found));
        let body = match plain_body(request) {
            Ok(body) => body,
            Err(response) => return *response,
        };
        let mut asked = Vec::new();
        let mut limited = body.take(FETCH_REQUEST_MAX + 1);
        match tokio::time::timeout(BODY_TIME_MAX, limited.read_to_end(&mut asked)).await {
            Ok(Ok(read)) if read as u64 <= FETCH_REQUEST_MAX => {}
            Ok(Ok(_)) => return reply::text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n"),
            Ok(Err(error)) => return reply::text(StatusCode::BAD_REQUEST, &format!("{error}\n")),
            Err(_) => {
                return reply::text(StatusCode::REQUEST_TIMEOUT, "the request took too long to arrive\n");
            }
        }
        let (mut output, input) = tokio::io::duplex(ANSWER_BUFFER);
        tokio::spawn(async move {
            if let Err(error) = git_receiver::upload(&repository, protocol, asked.into(), &mut output).await {
                tracing::info!(%app, %error, "fetch failed");
            }
        });
        git_reply("application/x-git-upload-pack-result", Body::from_stream(ReaderStream::new(input)))
    }
}

const RECEIVE_RESULT: &str = "application/x-git-receive-pack-result";

/// Carries out a push and tells the client, for as long as it listens.
async fn carry_out(
    deployer: Deployer,
    app: AppName,
    push: Push,
    pusher: Pusher,
    addresses: Addresses,
    started: Instant,
    mut output: DuplexStream,
) {
    let capabilities = push.capabilities.clone();
    let mut words = PushWords::new(app.clone(), pusher.name.clone(), addresses, capabilities.quiet());
    let unpacked = push.pack.as_ref().map(|_| ()).map_err(ToString::to_string);
    let (tell, mut events) = Tell::channel();
    let deploying = tokio::spawn(async move { deployer.deploy(&app, push, &pusher, &tell).await });
    loop {
        let bytes = match tokio::time::timeout(KEEPALIVE, events.recv()).await {
            Ok(Some(event)) => capabilities.progress(&words.event(&event)),
            Ok(None) => break,
            Err(_) => capabilities.keepalive(),
        };
        // A client that is gone is told nothing more; the push goes on.
        let _ = output.write_all(&bytes).await;
    }
    let Ok(verdicts) = deploying.await else {
        tracing::error!("a push ended in a panic; nothing is known of it");
        return;
    };
    let ending = words.ending(&verdicts, started.elapsed());
    let results: Vec<_> =
        ending.results.iter().map(|(name, result)| (name.as_str(), result.clone())).collect();
    let unpacked = unpacked.as_ref().copied().map_err(String::as_str);
    let _ = output.write_all(&capabilities.progress(&ending.text)).await;
    let _ = output.write_all(&capabilities.report(unpacked, &results)).await;
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
