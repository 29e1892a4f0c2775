//! Dispatches a request to its handler: the control plane, a repository or an app.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use manifest_schema::name::AppName;
use platform::activation::RETRY_INTERVAL;
use platform::live::LiveState;
use runtime::{Origin, Scheme};
use serde_json::json;
use tower::ServiceExt as _;

use super::api_error::ApiError;
use super::app::{self, RequestHead};
use super::client_ip::ClientIp;
use super::git::{self, GitError};
use super::peer::Peer;
use super::request_body::RequestBody;
use super::response_body::{self, ResponseBody};
use super::target::{self, Target};
use super::{Edge, HandledBy, cookies, csrf, forwarded, request, response};
use crate::metrics::Handler;

type Handled = (HandledBy, Response<ResponseBody>);

/// A request that host and path assign to an app, which does not have to exist.
struct AppRequest<'p> {
    found: Option<LiveState>,
    /// The path that the script sees.
    path: &'p str,
    /// The host, where it belongs to this app only.
    own_host: Option<String>,
}

impl Edge {
    /// Validates a request, resolves its client and its target, and calls the handler.
    pub(super) async fn dispatch(&self, request: Request<Incoming>, peer: &Arc<Peer>) -> Handled {
        if let Some(response) = request::early_response(&request) {
            return unhandled(response);
        }
        let (mut parts, body) = request.into_parts();
        if let Err(error) = self.proxies.resolve_client(peer.address, &mut parts.headers) {
            return unhandled(response::json(StatusCode::BAD_REQUEST, &json!({"error": error.to_string()})));
        }
        let client = forwarded::client(&parts.headers, peer.address);
        let body = RequestBody::new(body, || peer.begin_body(client));
        let (host, path) = (request::host(&parts.uri, &parts.headers), parts.uri.path());
        if self.dev.as_ref().is_some_and(|dev| !dev.serves_host(host)) {
            return unhandled(host_misdirected());
        }
        let own_host = || Some(target::host_name(host).to_owned());
        let app = match self.apps.by_domain(host) {
            Some(_) if target::is_reserved(path) => return unhandled(not_found()),
            Some(found) => AppRequest { found: Some(found), path, own_host: own_host() },
            None => match self.target(host, path) {
                Target::Root => return unhandled(root(&parts.method)),
                Target::Unknown => return unhandled(self.unknown_target(host, path)),
                Target::ControlPlane(_) => {
                    let response = Box::pin(self.call_control_plane(parts, body, ClientIp(client))).await;
                    return (HandledBy::Other(Handler::Control), response);
                }
                Target::Git { app: Ok(app), rest } => {
                    let rest = rest.to_owned();
                    let response = Box::pin(self.call_git(app, &rest, parts, body, ClientIp(client))).await;
                    return (HandledBy::Other(Handler::Git), response);
                }
                Target::Git { app: Err(error), .. } => {
                    return unhandled(GitError::from(error).into_response());
                }
                Target::AppPath { app, label, path } => match self.find(app, label) {
                    Some(_) if path.is_empty() => return unhandled(redirect_to_slash(&parts.uri)),
                    found => AppRequest { found, path, own_host: None },
                },
                Target::AppHost { label, path } => {
                    AppRequest { found: self.apps.by_label(label), path, own_host: own_host() }
                }
            },
        };
        let base = path.strip_suffix(app.path).unwrap_or_default();
        let git_hint = self.git_suffix_hint(&parts, host);
        let origin = Origin {
            scheme: if forwarded::is_https(&parts.headers) { Scheme::Https } else { Scheme::Http },
            host: host.to_owned(),
            client,
            base: base.to_owned(),
        };
        let headers = std::mem::take(&mut parts.headers);
        let head = RequestHead { method: &parts.method, query: parts.uri.query(), headers, origin };
        self.call_app(app, head, body, git_hint).await
    }

    /// Calls the router of `/-/`.
    async fn call_control_plane(
        &self,
        parts: Parts,
        body: RequestBody,
        client: ClientIp,
    ) -> Response<ResponseBody> {
        if let Err(error) = csrf::check(&parts, request::host(&parts.uri, &parts.headers)) {
            return error.into_response().map(ResponseBody::from);
        }
        let mut request = Request::from_parts(parts, Body::new(body));
        request.extensions_mut().insert(client);
        match self.control_plane.clone().oneshot(request).await {
            Ok(response) => response_body::reserve(response, &self.memory).await,
            Err(never) => match never {},
        }
    }

    /// Calls the git handler; `rest` is the path after `<app>.git`.
    async fn call_git(
        &self,
        app: AppName,
        rest: &str,
        parts: Parts,
        body: RequestBody,
        client: ClientIp,
    ) -> Response<ResponseBody> {
        let host = request::host(&parts.uri, &parts.headers);
        if let Err(error) = csrf::check(&parts, host) {
            return error.into_response().map(ResponseBody::from);
        }
        let urls = self.public_url.of_app(host, forwarded::is_https(&parts.headers), &app);
        let mut request = Request::from_parts(parts, Body::new(body));
        request.extensions_mut().insert(client);
        let Some(git) = &self.git else { return self.pushes_misdirected().map(ResponseBody::from) };
        let response = git::handle(git, app, rest, urls, request).await;
        response_body::reserve(response.unwrap_or_else(IntoResponse::into_response), &self.memory).await
    }

    /// Runs the script of an app that is live here. `git_hint` replaces a 404 for git clients.
    async fn call_app(
        &self,
        app: AppRequest<'_>,
        mut head: RequestHead<'_>,
        body: RequestBody,
        git_hint: Option<String>,
    ) -> Handled {
        if !self.role.serves_apps() {
            return unhandled(apps_misdirected());
        }
        let live = match app.found {
            Some(LiveState::Live(live)) => live,
            Some(LiveState::Unserved) => return unhandled(unserved()),
            Some(LiveState::Stopped) => return unhandled(stopped()),
            None => {
                return unhandled(match git_hint {
                    Some(hint) => response::text(StatusCode::NOT_FOUND, &hint),
                    None => not_found(),
                });
            }
        };
        if let Some(authenticator) = &self.authenticator {
            authenticator.strip_tokens(&mut head.headers);
        }
        let mut response = app::handle(&self.recorder, &live, app.path, head, body, self.body_limits).await;
        match git_hint.filter(|_| response.status() == StatusCode::NOT_FOUND) {
            Some(hint) => response = response::text(StatusCode::NOT_FOUND, &hint).map(ResponseBody::from),
            None => cookies::confine(response.headers_mut(), app.own_host.as_deref()),
        }
        (HandledBy::App(live), response)
    }

    fn target<'h, 'p>(&'p self, host: &'h str, path: &'p str) -> Target<'h, 'p> {
        let target = self.apps.hosts.target(host, path);
        match &self.dev {
            Some(dev) => target.or_single_app(dev.app.as_str(), path),
            None => target,
        }
    }

    /// The revision of a branch, given by its label, or of production.
    fn find(&self, app: &str, branch: Option<&str>) -> Option<LiveState> {
        match branch {
            Some(branch) => self.apps.table.find(app, branch),
            None => self.apps.table.find_production(app),
        }
    }

    /// The hint for a git client that left out the `.git` of a repository URL.
    fn git_suffix_hint(&self, parts: &Parts, host: &str) -> Option<String> {
        let (_, service) = parts.uri.query()?.split_once("service=git-")?;
        let repository = parts.uri.path().strip_suffix("/info/refs")?;
        if !matches!(service, "receive-pack" | "upload-pack") || self.dev.is_some() {
            return None;
        }
        let label = self.apps.hosts.app_label(target::host_name(host));
        let app = AppName::new(label.unwrap_or(repository.trim_matches('/')));
        let app = app.map_or_else(|_| "<app>".to_owned(), |app| app.to_string());
        let scheme = if forwarded::is_https(&parts.headers) { "https" } else { "http" };
        let server = self.public_url.of_domain().unwrap_or_else(|| format!("{scheme}://{host}"));
        Some(format!("repository URLs end in .git; use {server}/{app}.git\n"))
    }

    /// 404, or 421 with the URL to use for a request by IP address to a node that has a domain. At unknown names the response does
    /// not reveal the domain.
    fn unknown_target(&self, host: &str, path: &str) -> Response<Body> {
        let by_address = target::is_ip_or_localhost(target::host_name(host));
        let Some(url) = self.public_url.of_domain().filter(|_| by_address && target::is_reserved(path))
        else {
            return not_found();
        };
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        match first.strip_suffix(".git").map(AppName::new) {
            Some(Ok(app)) => {
                let message =
                    format!("repositories are served at the server's domain; use {url}/{app}.git\n");
                response::text(StatusCode::MISDIRECTED_REQUEST, &message)
            }
            Some(Err(_)) => not_found(),
            None => {
                let message = format!("the API is served at the server's domain; use {url}");
                ApiError::new(StatusCode::MISDIRECTED_REQUEST, message).into_response()
            }
        }
    }

    /// 421 (RFC 9110 section 15.5.20): this node accepts no pushes.
    fn pushes_misdirected(&self) -> Response<Body> {
        let message = match self.dev {
            None => "this node only serves apps; push to a manager node\n",
            Some(_) => "`picloud dev` serves the saved files and accepts no pushes; push to a server\n",
        };
        response::text(StatusCode::MISDIRECTED_REQUEST, message)
    }
}

/// A response that no handler gave.
fn unhandled(response: Response<Body>) -> Handled {
    (HandledBy::Other(Handler::None), response.map(ResponseBody::from))
}

/// The response at `/` of the server's own name.
fn root(method: &Method) -> Response<Body> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return response::text(StatusCode::OK, "PiCloud. Push a repository to /<app>.git to begin.\n");
    }
    let mut response = response::text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn not_found() -> Response<Body> {
    response::json(StatusCode::NOT_FOUND, &json!({"error": "no app at this address"}))
}

/// 421: this node is a manager and serves no apps.
fn apps_misdirected() -> Response<Body> {
    let error = json!({"error": "this node is a manager and serves no apps"});
    response::json(StatusCode::MISDIRECTED_REQUEST, &error)
}

/// 421: `picloud dev` is not configured for this host.
fn host_misdirected() -> Response<Body> {
    let message =
        "`picloud dev` serves IP addresses and localhost; start it with --host NAME to serve another name";
    response::json(StatusCode::MISDIRECTED_REQUEST, &json!({"error": message}))
}

/// This node cannot load the app. Its log and `/-/health/ready` have the cause.
fn unserved() -> Response<Body> {
    let error = json!({"error": "this app is unavailable on this node"});
    response::with_retry_after(response::json(StatusCode::SERVICE_UNAVAILABLE, &error), RETRY_INTERVAL)
}

/// An admin has stopped the app.
fn stopped() -> Response<Body> {
    response::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "this app is stopped"}))
}

/// Adds the slash after the app's name, so that relative links of the app resolve.
fn redirect_to_slash(uri: &Uri) -> Response<Body> {
    let mut response = response::text(StatusCode::PERMANENT_REDIRECT, "");
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(location) = HeaderValue::try_from(format!("{}/{query}", uri.path())) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
