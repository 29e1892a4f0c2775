//! Access control and the audit log.

mod audit;
mod protected_branches;
mod scope_matrix;
mod scopes;
mod tokens;

use std::process::{Command, Output};

use serde_json::{Value, json};
use tests::server::picloud;
use tests::{CommandOutput, Response, Server, TOKEN};

/// Runs a client command against the server with a token.
pub(crate) fn cli_as(server: &Server, token: &str, arguments: &[&str]) -> CommandOutput {
    let Output { status, stdout, stderr } = Command::new(picloud())
        .args(arguments)
        .env("PICLOUD_URL", format!("http://{}", server.address))
        .env("PICLOUD_TOKEN", token)
        .current_dir(server.data_dir())
        .output()
        .expect("the binary");
    CommandOutput {
        accepted: status.success(),
        text: String::from_utf8([stdout, stderr].concat()).expect("text"),
    }
}

/// The same with the admin token.
pub(crate) fn cli(server: &Server, arguments: &[&str]) -> CommandOutput {
    cli_as(server, TOKEN, arguments)
}

/// Creates a token with these scopes.
pub(crate) fn token(server: &Server, name: &str, scopes: &[&str]) -> String {
    let body = json!({"name": name, "scopes": scopes});
    let created = api(server, TOKEN, "POST", "tokens", Some(&body));
    assert_eq!(created.status, 201, "{}", created.body);
    created.json()["secret"].as_str().expect("a token").to_owned()
}

/// Sends an API request.
pub(crate) fn api(
    server: &Server,
    token: &str,
    method: &str,
    path: &str,
    document: Option<&Value>,
) -> Response {
    let bearer = format!("Bearer {token}");
    let body = document.map(|document| document.to_string().into_bytes());
    let path = format!("/-/api/v1/{path}");
    server.request(method, &path, &[("authorization", &bearer)], body.as_deref())
}

/// The URL of a repository, with the token.
pub(crate) fn url(server: &Server, token: &str, app: &str) -> String {
    format!("http://x:{token}@{}/{app}.git", server.address)
}
