//! The HTTP server: from an accepted connection to the handler that responds.
//!
//! The path of a request:
//!
//! 1. [`listener`] accepts the connection and speaks HTTP/1.1 or HTTP/2.
//! 2. [`Edge::handle`] starts the span and the clock, and counts the response.
//! 3. [`dispatch`] validates the request ([`request`]), resolves the client ([`forwarded`], [`client_ip`]), reads the [`target`] of host
//!    and path, and calls the handler.
//! 4. The handler responds: [`app`] runs a script, [`git`] serves a repository, [`control_plane`] serves health, metrics and the REST
//!    [`api`]. [`dev`] replaces the control plane in `picloud dev`.
//!
//! Shared by the handlers: [`authenticator`] and [`auth_rate_limit`] check tokens, [`csrf`] rejects cross-site requests, [`cookies`]
//! confines cookies to their app, [`read_body`] and [`min_rate`] bound slow clients, [`response`] and [`api_error`] build responses.

mod api;
mod api_error;
mod app;
mod app_lookup;
mod auth_rate_limit;
mod authenticator;
mod client_ip;
mod control_plane;
mod cookies;
mod csrf;
mod dev;
mod dispatch;
mod forwarded;
mod functions;
mod git;
pub(crate) mod listener;
mod live;
mod min_rate;
mod on_demand_tls;
mod peer;
mod public_url;
mod read_body;
mod request;
mod request_body;
mod request_span;
mod response;
mod response_body;
mod shutdown;
mod target;

pub(crate) use api::Api;
pub(crate) use authenticator::Authenticator;
pub(crate) use control_plane::{Health, MetricsAccess, MetricsRoute};
pub(crate) use dev::DevApp;
pub(crate) use forwarded::TrustedProxies;
pub(crate) use functions::FunctionCaller;
pub(crate) use git::{GitService, PushConfig, PushLimits};
pub(crate) use min_rate::MinRate;
pub(crate) use public_url::PublicUrl;
pub(crate) use read_body::BodyLimits;
pub(crate) use shutdown::Shutdown;

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::HttpBody as _;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use platform::certificates::PreviewCertificates;
use platform::domains::ServerNames;
use platform::live::{Live, LiveTable};
use platform::memory::Account;
use platform::nodes::Role;
use platform::recording::Recorder;
use tracing::Instrument as _;

use crate::metrics::{EdgeMetrics, Handler};
use app_lookup::AppLookup;
use forwarded::{CADDY_RACE_DELAY, SINGLE_READ_BYTES};
use on_demand_tls::OnDemandTls;
use peer::Peer;
use response_body::ResponseBody;
use target::Hosts;

/// The target of the log events of requests in `picloud dev`.
pub(crate) const DEV_REQUEST: &str = "request";

/// The handlers of a node and what they share.
pub(crate) struct Edge {
    apps: AppLookup,
    proxies: TrustedProxies,
    public_url: PublicUrl,
    recorder: Recorder,
    /// `None` on nodes that accept no pushes.
    git: Option<GitService>,
    control_plane: Router,
    body_limits: BodyLimits,
    role: Role,
    numbers: Arc<EdgeMetrics>,
    /// Accounts for responses that belong to no app.
    memory: Account,
    /// Set in `picloud dev`: the only app, which every otherwise unused path belongs to.
    dev: Option<DevApp>,
    /// `None` in `picloud dev`, which has no tokens.
    authenticator: Option<Authenticator>,
}

/// How clients reach the server.
#[derive(Clone, Debug)]
pub(crate) struct ServerOptions {
    /// The names of the control plane and the domain whose subdomains are apps.
    pub(crate) own_names: ServerNames,
    /// The URL of the server for users, where it differs from the `Host` of requests.
    pub(crate) public_url: Option<String>,
    /// The proxies whose `X-Forwarded-*` headers are trusted.
    pub(crate) proxies: TrustedProxies,
    /// The limits of request bodies to apps.
    pub(crate) bodies: BodyLimits,
}

/// The services that requests are dispatched to.
pub(crate) struct Services {
    pub(crate) table: Arc<LiveTable>,
    pub(crate) recorder: Recorder,
    pub(crate) health: Health,
    pub(crate) api: Api,
    pub(crate) git: GitService,
    pub(crate) metrics: MetricsRoute,
    pub(crate) numbers: Arc<EdgeMetrics>,
    pub(crate) certificates: PreviewCertificates,
}

/// Which handler responded, for metrics and traces.
enum HandledBy {
    App(Arc<Live>),
    Other(Handler),
}

impl Edge {
    pub(crate) fn new(options: ServerOptions, role: Role, services: Services) -> Self {
        let Services { table, recorder, health, api, git, metrics, numbers, certificates } = services;
        let authenticator = metrics.authenticator.clone();
        let (api, git) = if role.manages() { (Some(api), Some(git)) } else { (None, None) };
        let domain = options.own_names.domain().map(str::to_owned);
        let public_url = PublicUrl::new(domain.as_deref(), options.public_url.as_deref());
        let memory = table.memory().node_account();
        let apps = AppLookup { hosts: Arc::new(Hosts { domain, own: options.own_names }), table };
        let tls = OnDemandTls { apps: apps.clone(), certificates };
        Self {
            apps,
            proxies: options.proxies,
            public_url,
            recorder,
            git,
            control_plane: control_plane::router(health, metrics, tls, api),
            body_limits: options.bodies,
            role,
            numbers,
            memory,
            dev: None,
            authenticator: Some(authenticator),
        }
    }

    /// The server of `picloud dev`: one app, no pushes, and a log event for each request.
    pub(crate) fn for_dev(
        table: Arc<LiveTable>,
        recorder: Recorder,
        app: DevApp,
        body_limits: BodyLimits,
    ) -> Self {
        let memory = table.memory().node_account();
        let functions =
            FunctionCaller { table: Arc::clone(&table), recorder: recorder.clone(), bodies: body_limits };
        Self {
            apps: AppLookup { hosts: Arc::default(), table },
            proxies: TrustedProxies::default(),
            public_url: PublicUrl::default(),
            control_plane: dev::router(functions, app.histories.clone()),
            recorder,
            git: None,
            body_limits,
            role: Role::All,
            numbers: Arc::default(),
            memory,
            dev: Some(app),
            authenticator: None,
        }
    }

    /// Handles one request of `peer`: dispatches it, and counts, traces and logs the response.
    async fn handle(&self, request: Request<Incoming>, peer: &Arc<Peer>) -> Response<ResponseBody> {
        let started = Instant::now();
        let dev_event =
            self.dev.as_ref().map(|_| (request.method().clone(), request.uri().path().to_owned()));
        let span = request_span::start(&request);
        let races_caddy = self.proxies.may_race_response(peer.address, &request);
        // Pinned here: a combinator that takes the future by value doubles its size.
        let (handled_by, response) = pin!(self.dispatch(request, peer)).instrument(span.clone()).await;
        if races_caddy && response.body().size_hint().exact().is_none_or(|bytes| bytes > SINGLE_READ_BYTES) {
            tokio::time::sleep(CADDY_RACE_DELAY).await;
        }
        let (status, elapsed) = (response.status().as_u16(), started.elapsed());
        match &handled_by {
            HandledBy::App(live) => live.metrics().observe(status, elapsed),
            HandledBy::Other(handler) => self.numbers.observe_response(*handler, status),
        }
        if !span.is_disabled() {
            let live = match &handled_by {
                HandledBy::App(live) => Some(&**live),
                HandledBy::Other(_) => None,
            };
            request_span::finish(&span, status, live);
        }
        if let Some((method, path)) = dev_event {
            let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
            tracing::info!(target: DEV_REQUEST, %method, path, status, micros);
        }
        response
    }
}
