//! Requests to the REST API, and event streams from it. Errors are RFC 9457 problem details.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::tls::{RootCerts, TlsConfig};

use super::connection_error::{ConnectionError, REQUEST_TIMEOUT, base_of};
use crate::hint::Hint;

/// The maximum size of a response.
const RESPONSE_BYTES_MAX: u64 = 64 << 20;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The server did not respond.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The server rejected the token.
    #[error("the server rejected the token")]
    Unauthorized,
    /// The server rejected the request.
    #[error("{detail}")]
    Rejected {
        /// The reason.
        detail: String,
        /// The entry of an import that it concerns.
        entry: Option<usize>,
    },
    /// The request body cannot be serialized.
    #[error("cannot serialize the request body")]
    Serialize(#[source] serde_json::Error),
    /// The server redirects to another URL.
    #[error("{base} redirects to {to}")]
    Redirected { base: String, to: String },
    /// The versions of server and client differ in this request.
    #[error("the server runs PiCloud {server}, which is not compatible with PiCloud {own} here")]
    VersionMismatch { server: String, own: &'static str },
    /// The response is not one of a PiCloud server.
    #[error("unexpected response from {base} (status {status})")]
    UnexpectedResponse { base: String, status: u16 },
}

impl Hint for ApiError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Connection(error) => return error.hint(),
            Self::Unauthorized => "run  picloud login , or set PICLOUD_TOKEN to a valid token".into(),
            Self::UnexpectedResponse { .. } => {
                "is this a PiCloud server? set --url to its URL without a path, such as https://pi.example.com".into()
            }
            Self::Redirected { to, .. } => format!("set --url or the remote to {to}").into(),
            Self::VersionMismatch { server, .. } => format!("install PiCloud {server} on this machine").into(),
            Self::Rejected { .. } | Self::Serialize(_) => return None,
        })
    }
}

#[derive(Deserialize)]
struct ProblemDetails {
    detail: String,
    #[serde(default)]
    entry: Option<usize>,
}

/// A response of a server.
pub(crate) struct ApiResponse {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The body is an error of the API, not the response of a function.
    is_problem: bool,
    /// The execution of the function, if one ran.
    pub(crate) execution: Option<String>,
    /// The target of a redirect.
    location: Option<String>,
    base: String,
}

impl ApiResponse {
    /// Parses the JSON body of a successful response.
    pub(super) fn json<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        let response = self.check()?;
        // The response of TLS servers to plain HTTP.
        let text =
            String::from_utf8_lossy(&response.body[..response.body.len().min(1024)]).to_ascii_lowercase();
        if response.status == 400 && response.base.starts_with("http://") && text.contains("https") {
            return Err(ConnectionError::TlsRequired(response.base).into());
        }
        let unexpected =
            || ApiError::UnexpectedResponse { base: response.base.clone(), status: response.status };
        if !(200..300).contains(&response.status) {
            return Err(unexpected());
        }
        serde_json::from_slice(&response.body).map_err(|_| unexpected())
    }

    /// Turns errors of the API into [`ApiError`].
    pub(super) fn check(self) -> Result<Self, ApiError> {
        if self.status == 401 {
            return Err(ApiError::Unauthorized);
        }
        if let Some(to) = &self.location {
            return Err(ApiError::Redirected { to: base_of(to), base: self.base });
        }
        if !self.is_problem {
            return Ok(self);
        }
        match serde_json::from_slice::<ProblemDetails>(&self.body) {
            Ok(problem) => Err(ApiError::Rejected { detail: problem.detail, entry: problem.entry }),
            Err(_) => Err(ApiError::UnexpectedResponse { base: self.base, status: self.status }),
        }
    }
}

/// Sends a request with an optional JSON body.
pub(super) fn send(
    method: &str,
    url: &str,
    token: &str,
    body: Option<&[u8]>,
) -> Result<ApiResponse, ApiError> {
    let failed = |source: ureq::Error| connection_error(url, source);
    let agent: ureq::Agent = agent().timeout_global(Some(REQUEST_TIMEOUT)).build().into();
    let request = request_builder(method, url, token).header("accept", "application/json");
    let result = match body {
        Some(body) => {
            let request = request.header("content-type", "application/json").body(body);
            request.map_err(ureq::Error::from).and_then(|request| agent.run(request))
        }
        None => request.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request)),
    };
    read(result.map_err(failed)?, url)
}

/// Opens an event stream.
pub(super) fn event_stream(
    url: &str,
    token: &str,
    last_event_id: Option<&str>,
) -> Result<ureq::BodyReader<'static>, ApiError> {
    let agent: ureq::Agent = agent()
        .timeout_connect(Some(REQUEST_TIMEOUT))
        .timeout_recv_response(Some(REQUEST_TIMEOUT))
        .build()
        .into();
    let request = request_builder("GET", url, token).header("accept", "text/event-stream");
    let request = match last_event_id {
        Some(id) => request.header("last-event-id", id),
        None => request,
    };
    let result = request.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request));
    let response = result.map_err(|source| connection_error(url, source))?;
    if response.status() == 200 {
        return Ok(response.into_body().into_reader());
    }
    let response = read(response, url)?.check()?;
    Err(ApiError::UnexpectedResponse { base: response.base, status: response.status })
}

/// The version of a PiCloud server, from its OpenAPI document.
pub(super) fn server_version(base: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct OpenApi {
        info: Info,
    }
    #[derive(Deserialize)]
    struct Info {
        title: String,
        version: String,
    }
    let agent: ureq::Agent = agent().timeout_global(Some(REQUEST_TIMEOUT)).build().into();
    let mut response = agent.get(format!("{base}/-/api/openapi.json")).call().ok()?;
    let text = response.body_mut().with_config().limit(RESPONSE_BYTES_MAX).read_to_vec().ok()?;
    let OpenApi { info } = serde_json::from_slice(&text).ok()?;
    (info.title == "PiCloud").then_some(info.version)
}

fn agent() -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        // Servers on a LAN have certificates of a private authority.
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .user_agent(concat!("picloud/", env!("CARGO_PKG_VERSION")))
}

fn request_builder(method: &str, url: &str, token: &str) -> ureq::http::request::Builder {
    let request = ureq::http::Request::builder().method(method).uri(url);
    request.header("authorization", format!("Bearer {token}"))
}

fn connection_error(url: &str, source: ureq::Error) -> ApiError {
    ConnectionError::new(url, source).into()
}

fn read(mut response: ureq::http::Response<ureq::Body>, url: &str) -> Result<ApiResponse, ApiError> {
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let is_problem = kind.is_some_and(|kind| kind.starts_with("application/problem+json"));
    let status = response.status().as_u16();
    let location = response.headers().get("location").and_then(|location| location.to_str().ok());
    let location = location.filter(|_| (300..400).contains(&status)).map(str::to_owned);
    let execution = response.headers().get("picloud-execution").and_then(|id| id.to_str().ok());
    let execution = execution.map(str::to_owned);
    let body = response.body_mut().with_config().limit(RESPONSE_BYTES_MAX).read_to_vec();
    let body = body.map_err(|source| connection_error(url, source))?;
    Ok(ApiResponse { status, body, is_problem, execution, location, base: base_of(url) })
}
