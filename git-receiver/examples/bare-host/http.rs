//! Smart HTTP (gitprotocol-http) for all repositories below a directory, without authentication.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_compression::tokio::bufread::GzipDecoder;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use futures_util::TryStreamExt as _;
use git_receiver::{Protocol, Received, Transport, advertise_receive, advertise_upload, receive, upload};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::repository::DiskRepository;
use crate::service::Service;
use crate::{AGENT, BoxError, limits, push};

/// The largest fetch request.
const FETCH_REQUEST_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How many bytes of a response are buffered for a slow client.
const RESPONSE_BUFFER_BYTES: usize = 256 * 1024;

/// Serves until the process is stopped, and prints the address.
pub(crate) async fn serve(listen: &str, root: &Path) -> Result<(), BoxError> {
    let root: Arc<Path> = root.into();
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    let router = Router::new().fallback(move |request: Request<Body>| {
        let root = Arc::clone(&root);
        async move {
            handle(&root, request).await.unwrap_or_else(|error| {
                (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
            })
        }
    });
    Ok(axum::serve(listener, router).await?)
}

async fn handle(root: &Path, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let not_found = || (StatusCode::NOT_FOUND, "not found\n").into_response();
    let Some((dir, rest)) = resolve_path(root, request.uri().path()) else { return Ok(not_found()) };
    // The suffix `.git` is optional.
    if !dir.is_dir() && !dir.with_added_extension("git").is_dir() {
        return Ok(not_found());
    }
    let open = |service| DiskRepository::open(&dir, service).map(Arc::new);
    let protocol = protocol(request.headers());
    match (request.method(), rest) {
        (&Method::GET, "info/refs") => {
            let requested = request.uri().query().and_then(|query| query.strip_prefix("service="));
            let Some(service) = requested.and_then(Service::from_name) else {
                return Ok(
                    (StatusCode::FORBIDDEN, "only the smart HTTP protocol is supported\n").into_response()
                );
            };
            let repository = open(service)?;
            let advertised = match service {
                Service::ReceivePack => {
                    advertise_receive(&*repository, Transport::Http, protocol, AGENT).await?
                }
                Service::UploadPack => {
                    advertise_upload(&*repository, Transport::Http, protocol, AGENT).await?
                }
            };
            Ok(git_response(service, "advertisement", Body::from(advertised)))
        }
        (&Method::POST, "git-receive-pack") => receive_pack(open(Service::ReceivePack)?, request).await,
        (&Method::POST, "git-upload-pack") => {
            upload_pack(open(Service::UploadPack)?, protocol, request).await
        }
        _ => Ok(not_found()),
    }
}

async fn receive_pack(
    repository: Arc<DiskRepository>,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let push = match receive(&*repository, decoded_body(request), &limits(&repository.config)).await {
        Ok(Received::Probe) => return Ok(git_response(Service::ReceivePack, "result", Body::empty())),
        Ok(Received::Push(push)) => *push,
        Err(error) => return Ok((StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()),
    };
    let (mut output, input) = tokio::io::duplex(RESPONSE_BUFFER_BYTES);
    tokio::spawn(async move {
        if let Err(error) = push::respond(repository, push, &mut output).await {
            eprintln!("error: {error}");
        }
    });
    Ok(git_response(Service::ReceivePack, "result", Body::from_stream(ReaderStream::new(input))))
}

async fn upload_pack(
    repository: Arc<DiskRepository>,
    protocol: Protocol,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let mut requested = Vec::new();
    decoded_body(request).take(FETCH_REQUEST_BYTES_MAX + 1).read_to_end(&mut requested).await?;
    if requested.len() as u64 > FETCH_REQUEST_BYTES_MAX {
        return Ok((StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n").into_response());
    }
    let (mut output, input) = tokio::io::duplex(RESPONSE_BUFFER_BYTES);
    tokio::spawn(async move {
        if let Err(error) = upload(&*repository, protocol, requested.into(), &mut output).await {
            eprintln!("error: {error}");
        }
    });
    Ok(git_response(Service::UploadPack, "result", Body::from_stream(ReaderStream::new(input))))
}

/// The repository's directory and the rest of the path. No path leads out of `root`.
fn resolve_path(root: &Path, path: &str) -> Option<(PathBuf, &'static str)> {
    let path = path.strip_prefix('/')?;
    let requested = ["info/refs", "git-receive-pack", "git-upload-pack"];
    let (name, requested) = requested
        .into_iter()
        .find_map(|requested| Some((path.strip_suffix(requested)?.strip_suffix('/')?, requested)))?;
    let plain = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
    };
    name.split('/').all(plain).then(|| (root.join(name), requested))
}

fn protocol(headers: &HeaderMap) -> Protocol {
    Protocol::from_header(headers.get("git-protocol").and_then(|value| value.to_str().ok()))
}

/// The body after content decoding.
fn decoded_body(request: Request<Body>) -> Box<dyn AsyncRead + Send + Unpin> {
    let encoding = request.headers().get(header::CONTENT_ENCODING).cloned();
    let reader = StreamReader::new(request.into_body().into_data_stream().map_err(io::Error::other));
    match encoding.as_ref().map(|value| value.as_bytes()) {
        Some(b"gzip" | b"x-gzip") => Box::new(GzipDecoder::new(reader)),
        _ => Box::new(reader),
    }
}

fn git_response(service: Service, kind: &str, body: Body) -> Response<Body> {
    let headers = [
        (header::CONTENT_TYPE, format!("application/x-{}-{kind}", service.name())),
        (header::CACHE_CONTROL, "no-cache, max-age=0, must-revalidate".to_owned()),
        (header::PRAGMA, "no-cache".to_owned()),
        (header::EXPIRES, "Fri, 01 Jan 1980 00:00:00 GMT".to_owned()),
    ];
    (headers, body).into_response()
}
