//! One request to the REST API, or a stream of events from it. Errors are RFC 9457 problem details.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::tls::{RootCerts, TlsConfig};

use crate::hint::Hint;

/// How long an answer may take.
const TIME_MAX: Duration = Duration::from_secs(60);

/// The longest answer that is read.
const BYTES_MAX: u64 = 64 << 20;

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// There is no answer.
    #[error("cannot reach {url}")]
    Unreachable { url: String, source: Box<ureq::Error> },
    /// The token is wrong.
    #[error("the server does not take this token")]
    Unauthorized,
    /// The server says why not.
    #[error("{detail}")]
    Refused {
        /// The reason, in the server's words.
        detail: String,
    },
    /// What is to be sent cannot be written.
    #[error("the request cannot be written as JSON")]
    Document(#[source] serde_json::Error),
    /// What answers is no PiCloud, or another version of it.
    #[error("{url} answered with status {status} and nothing that is understood here")]
    NotUnderstood { url: String, status: u16 },
}

impl Hint for ApiError {
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } => {
                Some("is a server running there? name another one with --url, or PICLOUD_URL")
            }
            Self::Unauthorized => Some("set PICLOUD_TOKEN to a right one"),
            Self::NotUnderstood { .. } => Some(
                "is it a PiCloud? name the server without a path behind it, such as --url https://pi.example.com",
            ),
            Self::Refused { .. } | Self::Document(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The body says why the API refused, and is no answer of an app.
    is_problem: bool,
    url: String,
}

impl Answer {
    /// The document that the answer holds.
    pub(super) fn document<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        let answer = self.unless_refused()?;
        let not_understood = || ApiError::NotUnderstood { url: answer.url.clone(), status: answer.status };
        if !(200..300).contains(&answer.status) {
            return Err(not_understood());
        }
        serde_json::from_slice(&answer.body).map_err(|_| not_understood())
    }

    /// The answer, unless the API itself refused.
    pub(super) fn unless_refused(self) -> Result<Self, ApiError> {
        if self.status == 401 {
            return Err(ApiError::Unauthorized);
        }
        if !self.is_problem {
            return Ok(self);
        }
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(problem) => Err(ApiError::Refused { detail: problem.detail }),
            Err(_) => Err(ApiError::NotUnderstood { url: self.url, status: self.status }),
        }
    }
}

/// Asks, with a JSON document where there is a body.
pub(super) fn ask(method: &str, url: &str, token: &str, body: Option<&[u8]>) -> Result<Answer, ApiError> {
    let unreachable = |source: ureq::Error| unreachable(url, source);
    let agent: ureq::Agent = agent().timeout_global(Some(TIME_MAX)).build().into();
    let request = request(method, url, token).header("accept", "application/json");
    let answered = match body {
        Some(body) => {
            let request = request.header("content-type", "application/json").body(body);
            request.map_err(ureq::Error::from).and_then(|request| agent.run(request))
        }
        None => request.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request)),
    };
    read(answered.map_err(unreachable)?, url)
}

/// Asks for a stream of events, which lasts until either side ends it.
pub(super) fn stream(
    url: &str,
    token: &str,
    last_event_id: Option<&str>,
) -> Result<ureq::BodyReader<'static>, ApiError> {
    let agent: ureq::Agent =
        agent().timeout_connect(Some(TIME_MAX)).timeout_recv_response(Some(TIME_MAX)).build().into();
    let request = request("GET", url, token).header("accept", "text/event-stream");
    let request = match last_event_id {
        Some(id) => request.header("last-event-id", id),
        None => request,
    };
    let answered = request.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request));
    let answer = answered.map_err(|source| unreachable(url, source))?;
    if answer.status() == 200 {
        return Ok(answer.into_body().into_reader());
    }
    let answer = read(answer, url)?.unless_refused()?;
    Err(ApiError::NotUnderstood { url: answer.url, status: answer.status })
}

fn agent() -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        // A server on a LAN has a certificate that this machine was taught to trust.
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .user_agent(concat!("picloud/", env!("CARGO_PKG_VERSION")))
}

fn request(method: &str, url: &str, token: &str) -> ureq::http::request::Builder {
    let request = ureq::http::Request::builder().method(method).uri(url);
    request.header("authorization", format!("Bearer {token}"))
}

fn unreachable(url: &str, source: ureq::Error) -> ApiError {
    ApiError::Unreachable { url: url.to_owned(), source: Box::new(source) }
}

fn read(mut answer: ureq::http::Response<ureq::Body>, url: &str) -> Result<Answer, ApiError> {
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let is_problem = kind.is_some_and(|kind| kind.starts_with("application/problem+json"));
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(BYTES_MAX).read_to_vec();
    let body = body.map_err(|source| unreachable(url, source))?;
    Ok(Answer { status, body, is_problem, url: url.to_owned() })
}
