//! Who may what, and who did what.

mod audit;
mod protected_branches;
mod scope_matrix;
mod scopes;
mod tokens;

use std::process::{Command, Output};

use serde_json::{Value, json};
use tests::server::picloud;
use tests::{Answer, Pushed, Server, TOKEN};

/// Runs a verb against the server, as whoever has the token.
pub(crate) fn verb_as(server: &Server, token: &str, arguments: &[&str]) -> Pushed {
    let Output { status, stdout, stderr } = Command::new(picloud())
        .args(arguments)
        .env("PICLOUD_URL", format!("http://{}", server.address))
        .env("PICLOUD_TOKEN", token)
        .current_dir(server.data_dir())
        .output()
        .expect("the binary");
    Pushed { accepted: status.success(), text: String::from_utf8([stdout, stderr].concat()).expect("text") }
}

/// The same with the admin token.
pub(crate) fn verb(server: &Server, arguments: &[&str]) -> Pushed {
    verb_as(server, TOKEN, arguments)
}

/// Creates a token that may this, and is named so.
pub(crate) fn token(server: &Server, name: &str, scopes: &[&str]) -> String {
    let asked = json!({"name": name, "scopes": scopes});
    let created = ask(server, TOKEN, "POST", "tokens", Some(&asked));
    assert_eq!(created.status, 201, "{}", created.body);
    created.json()["secret"].as_str().expect("a token").to_owned()
}

/// Asks the API.
pub(crate) fn ask(
    server: &Server,
    token: &str,
    method: &str,
    path: &str,
    document: Option<&Value>,
) -> Answer {
    let bearer = format!("Bearer {token}");
    let body = document.map(|document| document.to_string().into_bytes());
    let path = format!("/-/api/v1/{path}");
    server.request(method, &path, &[("authorization", &bearer)], body.as_deref())
}

/// The URL of a repository, as whoever has the token.
pub(crate) fn url(server: &Server, token: &str, app: &str) -> String {
    format!("http://x:{token}@{}/{app}.git", server.address)
}
