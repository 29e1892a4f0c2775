//! Environment variables and secrets of apps.

mod canary;
mod encryption_key;
mod environments;
mod lifecycle;
mod lost_key;
mod secret_scanning;

use std::io::Write as _;
use std::process::{Command, Stdio};

use tests::server::picloud;
use tests::{CommandOutput, Repository, Server, TOKEN};

/// Runs `picloud secrets ...` for the app `hello`, with a value on standard input.
pub(super) fn secrets(server: &Server, arguments: &[&str], value: &str) -> CommandOutput {
    secrets_of("hello", server, arguments, value)
}

/// The same for another app.
pub(super) fn secrets_of(app: &str, server: &Server, arguments: &[&str], value: &str) -> CommandOutput {
    let mut process = Command::new(picloud())
        .arg("secrets")
        .args(arguments)
        .env("PICLOUD_URL", format!("http://{}", server.address))
        .env("PICLOUD_TOKEN", TOKEN)
        .env("PICLOUD_APP", app)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    process.stdin.take().expect("a pipe").write_all(value.as_bytes()).ok();
    let output = process.wait_with_output().expect("the process exits");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    CommandOutput { accepted: output.status.success(), text }
}

/// An app that returns the length of its secret, and logs it.
fn app() -> Repository {
    let repository = Repository::new();
    repository.write(
        "picloud.toml",
        "sdk = \"1.2\"\n\n[[routes]]\npath = \"/\"\nscript = \"main.rhai\"\n\n[env]\nGREETING = \"Hello\"\n\n[secrets]\n\
         required = [\"API_KEY\"]\n",
    );
    repository.write(
        "main.rhai",
        "log::info(`key ${ctx.secrets.API_KEY}`, #{ key: ctx.secrets.API_KEY });\n`${ctx.env.GREETING} \
         ${ctx.secrets.API_KEY.len()} ${ctx.secrets.API_KEY.ends_with(\"1\")}`\n",
    );
    repository.commit("first");
    repository
}
