//! The edge: from a request to the plane that answers it.
//!
//! In the order of a request: [`listener`] accepts connections, [`request`] refuses what breaks a rule of HTTP, [`forwarded`]
//! settles who sent it, [`address`] and [`names`] read what a URL means, then [`control`] (with [`api`]), [`git`] or [`app`]
//! answer. The first two ask [`credentials`] who it is, from where ([`client`]), and how often they were wrong ([`slips`]), and take no
//! changes from pages of other sites ([`cross_site`]); what an app answers has [`cookies`] of its own only;
//! [`api_error`] says how the control plane refuses, and [`reply`] holds the server's own short answers. [`live`] and [`functions`] are
//! what the API has of apps, [`body`] reads what they are sent, no slower than [`pace`] allows. [`folder`] takes the place of the control plane where a folder is served.

mod address;
mod api;
mod api_error;
mod app;
mod body;
mod client;
mod control;
mod cookies;
mod credentials;
mod cross_site;
mod folder;
mod forwarded;
mod functions;
mod git;
pub(crate) mod listener;
mod live;
mod names;
mod pace;
mod peer;
mod public;
mod reply;
mod request;
mod request_body;
mod slips;
mod stopping;

pub(crate) use api::Api;
pub(crate) use body::BodyBounds;
pub(crate) use control::{Health, Metrics, MetricsAccess};
pub(crate) use credentials::Door;
pub(crate) use forwarded::Proxies;
pub(crate) use functions::FunctionCaller;
pub(crate) use git::{GitEdge, PushBounds, Pushes};
pub(crate) use pace::MinRate;
pub(crate) use public::Public;
pub(crate) use stopping::Stopping;

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use manifest_schema::name::AppName;
use platform::activation::RETRY;
use platform::certificates::PreviewCertificates;
use platform::domains::OwnNames;
use platform::live::{Found, Live, LiveTable};
use platform::memory::Account;
use platform::nodes::Role;
use platform::recording::Recorder;
use tower::ServiceExt as _;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::numbers::{Numbers, Plane};
use crate::traces::TARGET;
use address::{Address, Hosts};
use api_error::ApiError;
use app::Asked;
use client::From;
use forwarded::{AT_ONCE_BYTES, TOO_EARLY};
use git::GitError;
use names::{Names, TlsNames};
use peer::Peer;
use reply::Content;
use request_body::RequestBody;

/// Where `picloud dev` hears of requests.
pub(crate) const DEV_REQUEST: &str = "request";

/// Everything that answers requests.
pub(crate) struct Edge {
    names: Names,
    proxies: Proxies,
    public: Public,
    recorder: Recorder,
    /// `None`: pushes are for other nodes.
    git: Option<GitEdge>,
    control: Router,
    bodies: BodyBounds,
    role: Role,
    numbers: Arc<Numbers>,
    /// What is held for answers that belong to no app.
    memory: Account,
    /// The only app there is, where a folder is served: then every address that means nothing else is the app's.
    folder: Option<Folder>,
    /// Knows tokens, where there are any.
    door: Option<Door>,
}

/// How a server is reached, and how long it listens to a request.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// The names of the control plane, with the domain whose subdomains are apps.
    pub(crate) own_names: OwnNames,
    /// The URL that people use, where it is not the one a request shows.
    pub(crate) public_url: Option<String>,
    /// Who may say who their clients are.
    pub(crate) proxies: Proxies,
    /// How long a client may take to send a body to an app.
    pub(crate) bodies: BodyBounds,
}

/// What the edge leads to.
pub(crate) struct Planes {
    pub(crate) table: Arc<LiveTable>,
    pub(crate) recorder: Recorder,
    pub(crate) health: Health,
    pub(crate) api: Api,
    pub(crate) git: GitEdge,
    pub(crate) metrics: Metrics,
    pub(crate) numbers: Arc<Numbers>,
    pub(crate) certificates: PreviewCertificates,
}

/// A folder that is served while it is worked on.
pub(crate) struct Folder {
    pub(crate) app: AppName,
    /// The names at which it answers, beside addresses and `localhost`.
    pub(crate) hosts: Vec<String>,
}

impl Folder {
    /// Whether it answers at a host. A page elsewhere can make its own name lead to this machine, and would have an origin in common
    /// with what answers there; it cannot do that with an address.
    fn is_asked_for(&self, host: &str) -> bool {
        let name = address::name_of(host);
        let is_local = |name: &str| name.eq_ignore_ascii_case("localhost");
        address::is_of_no_domain(name)
            || name.rsplit_once('.').is_some_and(|(_, top)| is_local(top))
            || self.hosts.iter().any(|asked| asked.eq_ignore_ascii_case(name))
    }
}

/// Who answered a request.
enum Answering {
    App(Arc<Live>),
    Other(Plane),
}

impl Edge {
    pub(crate) fn new(reach: Reach, role: Role, planes: Planes) -> Self {
        let Planes { table, recorder, health, api, git, metrics, numbers, certificates } = planes;
        let door = metrics.door.clone();
        let (api, git) = if role.manages() { (Some(api), Some(git)) } else { (None, None) };
        let domain = reach.own_names.domain().map(str::to_owned);
        let public = Public::new(domain.as_deref(), reach.public_url.as_deref());
        let memory = table.memory().node_account();
        let names = Names { hosts: Arc::new(Hosts { domain, own: reach.own_names }), table };
        Self {
            names: names.clone(),
            proxies: reach.proxies,
            public,
            recorder,
            git,
            control: control::router(health, metrics, TlsNames { names, certificates }, api),
            bodies: reach.bodies,
            role,
            numbers,
            memory,
            folder: None,
            door: Some(door),
        }
    }

    /// Leads to the one app of a folder, and tells every request.
    pub(crate) fn of_a_folder(
        table: Arc<LiveTable>,
        recorder: Recorder,
        folder: Folder,
        bodies: BodyBounds,
    ) -> Self {
        let memory = table.memory().node_account();
        let functions = FunctionCaller { table: Arc::clone(&table), recorder: recorder.clone(), bodies };
        Self {
            names: Names { hosts: Arc::default(), table },
            proxies: Proxies::default(),
            public: Public::default(),
            control: folder::router(functions),
            recorder,
            git: None,
            bodies,
            role: Role::All,
            numbers: Arc::default(),
            memory,
            folder: Some(folder),
            door: None,
        }
    }

    /// Answers one request, which came from `peer`, and counts it.
    async fn answer(&self, request: Request<Incoming>, peer: &Arc<Peer>) -> Response<Content> {
        let began = Instant::now();
        let told = self.folder.as_ref().map(|_| (request.method().clone(), request.uri().path().to_owned()));
        let mut answering = Answering::Other(Plane::Nothing);
        let span = span_of(&request);
        let answers_too_early = self.proxies.answers_too_early(peer.address, &request);
        // Pinned here, since whatever wraps a future by value makes it twice as large.
        let response = pin!(self.lead(request, peer, &mut answering)).instrument(span.clone()).await;
        if answers_too_early && response.body().size_hint().exact().is_none_or(|bytes| bytes > AT_ONCE_BYTES)
        {
            tokio::time::sleep(TOO_EARLY).await;
        }
        let (status, took) = (response.status().as_u16(), began.elapsed());
        match &answering {
            Answering::App(live) => live.tally().answered(status, took),
            Answering::Other(plane) => self.numbers.answered(*plane, status),
        }
        if !span.is_disabled() {
            end(&span, &answering, &response);
        }
        if let Some((method, path)) = told {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            tracing::info!(target: DEV_REQUEST, %method, path, status, micros);
        }
        response
    }

    /// Leads a request to what it is for, and notes what that is.
    async fn lead(
        &self,
        request: Request<Incoming>,
        from: &Arc<Peer>,
        answering: &mut Answering,
    ) -> Response<Content> {
        if let Some(response) = request::answer(&request) {
            return response.map(Content::from);
        }
        let (mut parts, body) = request.into_parts();
        let peer = from.address;
        if let Err(error) = self.proxies.settle(peer, &mut parts.headers) {
            return reply::json(StatusCode::BAD_REQUEST, &serde_json::json!({"error": error.to_string()}))
                .map(Content::from);
        }
        let body = RequestBody::new(body, || from.begins_body(forwarded::client(&parts.headers, peer)));
        let host = request::host(&parts.uri, &parts.headers);
        if self.folder.as_ref().is_some_and(|folder| !folder.is_asked_for(host)) {
            return misdirected().map(Content::from);
        }
        let own_host = || Some(address::name_of(host).to_owned());
        let (found, path, own_host) = match self.names.by_domain(host) {
            Some(_) if address::is_reserved(parts.uri.path()) => return nothing_here().map(Content::from),
            Some(found) => (Some(found), parts.uri.path(), own_host()),
            None => match self.address(host, parts.uri.path()) {
                Address::AppPath { app, label, path } => match self.find(app, label) {
                    Some(_) if path.is_empty() => return redirect(&parts.uri).map(Content::from),
                    found => (found, path, None),
                },
                Address::AppHost { label, path } => (self.names.by_label(label), path, own_host()),
                Address::Control(_) => {
                    *answering = Answering::Other(Plane::Control);
                    if let Err(refused) = cross_site::refuse(&parts, host) {
                        return refused.into_response().map(Content::from);
                    }
                    let from = From(forwarded::client(&parts.headers, peer));
                    let mut request = Request::from_parts(parts, Body::new(body));
                    request.extensions_mut().insert(from);
                    return match Box::pin(self.control.clone().oneshot(request)).await {
                        Ok(response) => reply::held(response, &self.memory).await,
                        Err(never) => match never {},
                    };
                }
                Address::Git { app: Ok(app), rest } => {
                    *answering = Answering::Other(Plane::Git);
                    if let Err(refused) = cross_site::refuse(&parts, host) {
                        return refused.into_response().map(Content::from);
                    }
                    let addresses = self.public.addresses(host, forwarded::is_https(&parts.headers), &app);
                    let from = From(forwarded::client(&parts.headers, peer));
                    let rest = rest.to_owned();
                    let mut request = Request::from_parts(parts, Body::new(body));
                    request.extensions_mut().insert(from);
                    let Some(git) = &self.git else { return self.no_pushes_here().map(Content::from) };
                    let answered = Box::pin(git::answer(git, app, &rest, addresses, request)).await;
                    let response = answered.unwrap_or_else(IntoResponse::into_response);
                    return reply::held(response, &self.memory).await;
                }
                Address::Git { app: Err(error), .. } => {
                    return GitError::from(error).into_response().map(Content::from);
                }
                Address::Root => return front_door(&parts.method).map(Content::from),
                Address::Unknown => return self.elsewhere(host, parts.uri.path()).map(Content::from),
            },
        };
        let not_git = self.missing_git(&parts, host);
        if !self.role.answers_apps() {
            return no_apps_here().map(Content::from);
        }
        let live = match found {
            Some(Found::Live(live)) => live,
            Some(Found::Unserved) => return unserved().map(Content::from),
            Some(Found::Stopped) => return stopped().map(Content::from),
            None => {
                let there = not_git.map(|words| reply::text(StatusCode::NOT_FOUND, &words));
                return there.unwrap_or_else(nothing_here).map(Content::from);
            }
        };
        *answering = Answering::App(live);
        let Answering::App(live) = answering else { return nothing_here().map(Content::from) };
        if let Some(door) = &self.door {
            door.withhold_tokens(&mut parts.headers);
        }
        let asked = Asked { method: &parts.method, query: parts.uri.query(), headers: parts.headers };
        let mut response = app::answer(&self.recorder, live, path, asked, body, self.bodies).await;
        if let Some(words) = not_git.filter(|_| response.status() == StatusCode::NOT_FOUND) {
            return reply::text(StatusCode::NOT_FOUND, &words).map(Content::from);
        }
        cookies::confine(response.headers_mut(), own_host.as_deref());
        response
    }

    /// What a request is for, by its host and its path.
    fn address<'h, 'p>(&'p self, host: &'h str, path: &'p str) -> Address<'h, 'p> {
        let address = self.names.hosts.address(host, path);
        match &self.folder {
            Some(folder) => address.or_alone(folder.app.as_str(), path),
            None => address,
        }
    }

    /// Another node is meant (RFC 9110 section 15.5.20).
    fn no_pushes_here(&self) -> Response<Body> {
        let words = match self.folder {
            None => "this node answers apps alone and takes no pushes; push to a manager\n",
            Some(_) => "`picloud dev` serves what is saved and takes no pushes; push to a server\n",
        };
        reply::text(StatusCode::MISDIRECTED_REQUEST, words)
    }

    /// What a git is told that takes an app's address for that of its repository.
    fn missing_git(&self, parts: &Parts, host: &str) -> Option<String> {
        let (_, service) = parts.uri.query()?.split_once("service=git-")?;
        let place = parts.uri.path().strip_suffix("/info/refs")?;
        if !matches!(service, "receive-pack" | "upload-pack") || self.folder.is_some() {
            return None;
        }
        let label = self.names.hosts.app_label(address::name_of(host)).unwrap_or(place.trim_matches('/'));
        let app = AppName::new(label).map_or_else(|_| "<app>".to_owned(), |app| app.to_string());
        let scheme = if forwarded::is_https(&parts.headers) { "https" } else { "http" };
        let server = self.public.at_a_domain().unwrap_or_else(|| format!("{scheme}://{host}"));
        Some(format!("the address of a repository ends in .git; use {server}/{app}.git\n"))
    }

    /// Nothing is at this address. A client that asks for the control plane by the address of a node that has a domain is shown the way;
    /// at a name that is not the server's, not even that.
    fn elsewhere(&self, host: &str, path: &str) -> Response<Body> {
        let asks_by_address = address::is_of_no_domain(address::name_of(host));
        let Some(url) = self.public.at_a_domain().filter(|_| asks_by_address && address::is_reserved(path))
        else {
            return nothing_here();
        };
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        match first.strip_suffix(".git").map(AppName::new) {
            Some(Ok(app)) => {
                let words = format!("this server's repositories are at its domain; use {url}/{app}.git\n");
                reply::text(StatusCode::MISDIRECTED_REQUEST, &words)
            }
            Some(Err(_)) => nothing_here(),
            None => {
                let words = format!("this server answers at its domain; ask {url}");
                ApiError::new(StatusCode::MISDIRECTED_REQUEST, words).into_response()
            }
        }
    }

    /// What is on a branch, given by its label, or in production.
    fn find(&self, app: &str, branch: Option<&str>) -> Option<Found> {
        match branch {
            Some(branch) => self.names.table.find(app, branch),
            None => self.names.table.find_production(app),
        }
    }
}

/// What is traced of a request; nothing where nobody traces, or where it only asks how the node is.
fn span_of(request: &Request<Incoming>) -> Span {
    if request.uri().path().starts_with("/-/health/") || request.uri().path() == "/-/metrics" {
        return Span::none();
    }
    tracing::trace_span!(
        target: TARGET,
        "request",
        "otel.name" = %request.method(),
        traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default(),
        "http.request.method" = %request.method(),
        "url.path" = request.uri().path(),
        "http.response.status_code" = Empty,
        app = Empty,
        deploy = Empty,
    )
}

/// Notes how a request that is traced was answered.
fn end(span: &Span, answering: &Answering, response: &Response<Content>) {
    span.record("http.response.status_code", response.status().as_u16());
    if let Answering::App(live) = answering {
        span.record("app", live.revision.app().as_str());
        span.record("deploy", live.deploy);
    }
}

fn front_door(method: &Method) -> Response<Body> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return reply::text(StatusCode::OK, "PiCloud. Push a repository to /<app>.git to begin.\n");
    }
    let mut response = reply::text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// Another node is meant.
fn no_apps_here() -> Response<Body> {
    let words = serde_json::json!({"error": "this node is a manager and answers no apps"});
    reply::json(StatusCode::MISDIRECTED_REQUEST, &words)
}

/// `picloud dev` does not answer at every name that leads to it.
fn misdirected() -> Response<Body> {
    let words = "`picloud dev` answers at addresses and at localhost; start it with --host NAME to have it answer at another name";
    reply::json(StatusCode::MISDIRECTED_REQUEST, &serde_json::json!({"error": words}))
}

fn nothing_here() -> Response<Body> {
    reply::json(StatusCode::NOT_FOUND, &serde_json::json!({"error": "nothing is served at this address"}))
}

/// The app is there, and this node cannot load it. Why is in its log, and in `/-/health/ready`.
fn unserved() -> Response<Body> {
    let words = serde_json::json!({"error": "this app cannot be served at the moment"});
    reply::wait(reply::json(StatusCode::SERVICE_UNAVAILABLE, &words), RETRY)
}

/// An admin has stopped the app.
fn stopped() -> Response<Body> {
    reply::json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({"error": "this app is stopped"}))
}

/// To the address with the slash, so that an app's relative links work.
fn redirect(uri: &Uri) -> Response<Body> {
    let mut response = reply::text(StatusCode::PERMANENT_REDIRECT, "");
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(location) = HeaderValue::try_from(format!("{}/{query}", uri.path())) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
