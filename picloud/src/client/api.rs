//! One request to the REST API, or a stream of events from it. Errors are RFC 9457 problem details.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::tls::{RootCerts, TlsConfig};

use super::unreachable::{TIME_MAX, UnreachableError, base_of};
use crate::hint::Hint;

/// The longest answer that is read.
const BYTES_MAX: u64 = 64 << 20;

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// There is no answer.
    #[error(transparent)]
    Unreachable(#[from] UnreachableError),
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
    /// The server is at another URL.
    #[error("{base} sends its clients on to {to}")]
    Redirected { base: String, to: String },
    /// Server and client are of different versions, and do not understand each other here.
    #[error("the server is PiCloud {server} and does not understand PiCloud {own} here")]
    OtherVersion { server: String, own: &'static str },
    /// What answers is no PiCloud.
    #[error("{base} answered with status {status} and nothing that is understood here")]
    NotUnderstood { base: String, status: u16 },
}

impl Hint for ApiError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Unreachable(error) => return error.hint(),
            Self::Unauthorized => "keep a right one with  picloud login , or set PICLOUD_TOKEN".into(),
            Self::NotUnderstood { .. } => {
                "is it a PiCloud? name the server without a path behind it, such as --url https://pi.example.com".into()
            }
            Self::Redirected { to, .. } => format!("name that one: {to}").into(),
            Self::OtherVersion { server, .. } => format!("use PiCloud {server} on this machine, too").into(),
            Self::Refused { .. } | Self::Document(_) => return None,
        })
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
    /// What has run for it, where a script has.
    pub(crate) execution: Option<String>,
    /// Where else it is to be asked.
    location: Option<String>,
    base: String,
}

impl Answer {
    /// The document that the answer holds.
    pub(super) fn document<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        let answer = self.unless_refused()?;
        // So servers of TLS answer who does not speak it.
        let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(1024)]).to_ascii_lowercase();
        if answer.status == 400 && answer.base.starts_with("http://") && text.contains("https") {
            return Err(UnreachableError::Tls(answer.base).into());
        }
        let not_understood = || ApiError::NotUnderstood { base: answer.base.clone(), status: answer.status };
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
        if let Some(to) = &self.location {
            return Err(ApiError::Redirected { to: base_of(to), base: self.base });
        }
        if !self.is_problem {
            return Ok(self);
        }
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(problem) => Err(ApiError::Refused { detail: problem.detail }),
            Err(_) => Err(ApiError::NotUnderstood { base: self.base, status: self.status }),
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
    Err(ApiError::NotUnderstood { base: answer.base, status: answer.status })
}

/// The version of the server, where it tells it as PiCloud does.
pub(super) fn server_version(base: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Described {
        info: Info,
    }
    #[derive(Deserialize)]
    struct Info {
        title: String,
        version: String,
    }
    let agent: ureq::Agent = agent().timeout_global(Some(TIME_MAX)).build().into();
    let mut answer = agent.get(format!("{base}/-/api/openapi.json")).call().ok()?;
    let text = answer.body_mut().with_config().limit(BYTES_MAX).read_to_vec().ok()?;
    let Described { info } = serde_json::from_slice(&text).ok()?;
    (info.title == "PiCloud").then_some(info.version)
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
    UnreachableError::new(url, source).into()
}

fn read(mut answer: ureq::http::Response<ureq::Body>, url: &str) -> Result<Answer, ApiError> {
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let is_problem = kind.is_some_and(|kind| kind.starts_with("application/problem+json"));
    let status = answer.status().as_u16();
    let location = answer.headers().get("location").and_then(|location| location.to_str().ok());
    let location = location.filter(|_| (300..400).contains(&status)).map(str::to_owned);
    let execution = answer.headers().get("picloud-execution").and_then(|id| id.to_str().ok());
    let execution = execution.map(str::to_owned);
    let body = answer.body_mut().with_config().limit(BYTES_MAX).read_to_vec();
    let body = body.map_err(|source| unreachable(url, source))?;
    Ok(Answer { status, body, is_problem, execution, location, base: base_of(url) })
}
