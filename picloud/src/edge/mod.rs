//! The edge: from a request to the plane that answers it.
//!
//! In the order of a request: [`listener`] accepts connections, [`address`] reads what a URL means, then [`control`],
//! [`git`] (with [`credentials`]) or [`app`] answer; [`reply`] holds the server's own short answers.

mod address;
mod app;
mod control;
mod credentials;
mod git;
pub(crate) mod listener;
mod reply;

pub(crate) use git::{PushBounds, Pushes};

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use platform::deploy::Deployer;
use platform::tokens::AdminToken;
use runtime::LiveTable;
use store::Store;
use tower::ServiceExt as _;

use crate::words::push::Addresses;
use address::{Address, Hosts, readings};
use control::Control;
use git::GitEdge;

/// Everything that answers requests.
#[derive(Clone)]
pub(crate) struct Edge {
    hosts: Arc<Hosts>,
    public_url: Option<Arc<str>>,
    table: Arc<LiveTable>,
    git: GitEdge,
    control: Router,
}

/// How a server is reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    /// The domain whose subdomains are apps.
    pub(crate) domain: Option<String>,
    /// The URL that people use, where it is not the one a request shows.
    pub(crate) public_url: Option<String>,
}

impl Edge {
    pub(crate) fn new(
        reach: Reach,
        store: Store,
        table: Arc<LiveTable>,
        deployer: Deployer,
        admin: AdminToken,
        pushes: Pushes,
    ) -> Self {
        let control = Control { store: store.clone(), table: Arc::clone(&table), admin: admin.clone() };
        Self {
            hosts: Arc::new(Hosts { domain: reach.domain }),
            public_url: reach.public_url.map(|url| url.trim_end_matches('/').into()),
            table,
            git: GitEdge::new(store, deployer, admin, pushes),
            control: control::router(control),
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        // The parts of the address are read from copies, since the request itself travels on.
        let host = host(&request).to_owned();
        let path = request.uri().path().to_owned();
        match self.hosts.address(&host, &path) {
            Address::Control(_) => match self.control.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Address::Git { app: Ok(app), rest } => {
                let addresses = self.addresses(&host, app.as_str());
                self.git.answer(app, rest, addresses, request).await
            }
            Address::Git { app: Err(error), .. } => git::bad_name(&error),
            Address::AppPath { path: "", .. } => redirect(&format!("{path}/"), request.uri().query()),
            Address::AppPath { app, label, path } => {
                let live = match label {
                    Some(label) => self.table.get(app.as_str(), label),
                    None => self.table.get_production(&app),
                };
                match live {
                    Some(live) => app::answer(live, path, request).await,
                    None => nothing_here(),
                }
            }
            Address::AppHost { label, path } => {
                let label = label.to_ascii_lowercase();
                let live = readings(&label).find_map(|(app, branch)| match branch {
                    Some(branch) => self.table.get(app.as_str(), branch),
                    None => self.table.get_production(&app),
                });
                match live {
                    Some(live) => app::answer(live, path, request).await,
                    None => nothing_here(),
                }
            }
            Address::Root => {
                reply::text(StatusCode::OK, "PiCloud. Push a repository to /<app>.git to begin.\n")
            }
            Address::Unknown => nothing_here(),
        }
    }

    /// Where an app answers, as whoever sent a request to `host` reaches it.
    fn addresses(&self, host: &str, app: &str) -> Addresses {
        match (&self.hosts.domain, &self.public_url) {
            (Some(domain), public) => {
                let scheme = public
                    .as_deref()
                    .and_then(|url| url.split_once("://"))
                    .map_or("https", |(scheme, _)| scheme);
                Addresses {
                    production: format!("{scheme}://{app}.{domain}/"),
                    preview: format!("{scheme}://{{}}--{app}.{domain}/"),
                }
            }
            (None, public) => {
                let base = public.as_deref().map_or_else(|| format!("http://{host}"), str::to_owned);
                Addresses { production: format!("{base}/{app}/"), preview: format!("{base}/{app}@{{}}/") }
            }
        }
    }
}

/// The name the client asked for: `Host`, or the authority of HTTP/2 and of absolute request targets.
fn host(request: &Request<Body>) -> &str {
    let header = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    request.uri().authority().map(|authority| authority.as_str()).or(header).unwrap_or_default()
}

fn nothing_here() -> Response<Body> {
    reply::json(StatusCode::NOT_FOUND, &serde_json::json!({"error": "nothing is served at this address"}))
}

/// To the address with the slash, so that an app's relative links work.
fn redirect(path: &str, query: Option<&str>) -> Response<Body> {
    let mut response = reply::text(StatusCode::PERMANENT_REDIRECT, "");
    let location = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
