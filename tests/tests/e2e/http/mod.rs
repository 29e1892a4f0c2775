//! The HTTP edge, by RFC 9110, 9112 and 9113.

mod client_disconnect;
mod connections;
mod framing;
mod graceful_shutdown;
mod http2;
mod limits;
mod paths;
mod semantics;
mod timeouts;

use tests::{Database, Repository, Response, Server, Wire};

/// An app that returns the request at `/app/echo/...` and `/app/` for any method, and serves `/app/hello` for GET only.
fn echo(flags: &[&str]) -> Server {
    let manifest = "[[routes]]\npath = \"/echo/{*rest}\"\nscript = \"echo.rhai\"\n\
        [[routes]]\npath = \"/\"\nscript = \"echo.rhai\"\n\
        [[routes]]\npath = \"/hello\"\nmethods = [\"GET\"]\nscript = \"hello.rhai\"\n\
        [limits]\nbody = \"64KiB\"\n";
    let echo = "let r = ctx.request;\n\
        #{ path: r.path, rest: r.rest, query: r.query, headers: r.headers, body: r.body }";
    app(flags, manifest, &[("echo.rhai", echo), ("hello.rhai", "`hello`")])
}

/// The app `app` with this manifest and these scripts.
fn app(flags: &[&str], manifest: &str, scripts: &[(&str, &str)]) -> Server {
    let server = Server::start_with(Database::sqlite(), flags);
    let repository = Repository::new();
    repository.write("picloud.toml", format!("sdk = \"1.1\"\n{manifest}"));
    scripts.iter().for_each(|(path, source)| repository.write(path, source));
    repository.commit("app");
    repository.push(&server.git_url("app"), &["main"]).succeeded();
    server
}

/// Sends one HTTP/1.1 request and returns the response. The head is given without `Host` and the empty line: `GET / HTTP/1.1`, and header
/// lines.
fn exchange(server: &Server, head: &str) -> Response {
    Wire::sent(server, format!("{head}\r\nHost: test\r\n\r\n")).response()
}
