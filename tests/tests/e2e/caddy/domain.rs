//! One node with a domain and TLS.

use tests::server::picloud;
use tests::{Database, Repository, Server, until};

use super::{Caddy, DOMAIN, Release, send_requests_during, with_each_release};
use crate::getting_started;

with_each_release!(
    printed_first_push_works_through_proxy,
    client_commands_explain_tls_errors,
    tls_certificates_are_issued_for_known_names_only,
    script_sees_client_address_and_scheme_and_no_spoofed_ones,
    node_restart_under_load_fails_no_request,
);

/// Returns the forwarded headers.
const FORWARDED_SCRIPT: &str = "#{ \"for\": ctx.request.headers[\"x-forwarded-for\"], proto: ctx.request.headers[\"x-forwarded-proto\"] }";

const MANIFEST: &str = r#"sdk = "1.1"

[app]
domains = ["shop.example"]

[[routes]]
path = "/greet/{name}"
script = "greet.rhai"

[[routes]]
path = "/who"
script = "who.rhai"
"#;

fn shop() -> Repository {
    let repository = Repository::hello();
    repository.write("picloud.toml", MANIFEST);
    repository.write("who.rhai", FORWARDED_SCRIPT);
    repository.commit("shop");
    repository
}

fn domain(release: Release) -> (Server, Caddy) {
    let server =
        Server::start_with(Database::sqlite(), &["--domain", DOMAIN, "--domain-verification", "off"]);
    let caddy = Caddy::start(release, "Caddyfile", &[("PICLOUD_NODE", &server.address)]);
    caddy.ready();
    (server, caddy)
}

/// The node prints the usual port of HTTPS; here it is another one.
fn printed_first_push_works_through_proxy(release: Release) {
    let node = getting_started::serve(&format!("--listen 127.0.0.1:0 --domain {DOMAIN}"));
    let greeting = node.says("any user name");
    let (_, address) = greeting.lines().next().unwrap().split_once("http://").unwrap();
    let caddy = Caddy::start(release, "Caddyfile", &[("PICLOUD_NODE", address)]);
    caddy.ready();
    let repository = getting_started::repository();
    caddy.for_git(&repository);
    let here = format!("url.https://{DOMAIN}:{}/.insteadOf", caddy.https);
    repository.git(&["config", &here, &format!("https://{DOMAIN}/")]);
    let output = getting_started::shell(repository.path(), getting_started::line(&greeting, "first push"));
    assert!(output.contains(&format!("https://hello.{DOMAIN}/")), "{output}");
    assert_eq!(caddy.curl(&format!("hello.{DOMAIN}"), "/greet/Ann", &[]).body, r#"{"message":"Hello, Ann"}"#);
}

fn client_commands_explain_tls_errors(release: Release) {
    let server = Server::start_with(Database::sqlite(), &["--domain", "localhost"]);
    let environment = [("PICLOUD_NODE", server.address.as_str()), ("PICLOUD_DOMAIN", "localhost")];
    let caddy = Caddy::start(release, "Caddyfile", &environment);
    until("the proxy responds", || {
        (caddy.curl("localhost", "/-/health/ready", &[]).status == 200).then_some(())
    });
    let says = |url: &str, trusts: bool, clock: Option<&str>| {
        let mut command = std::process::Command::new(picloud());
        command.args(["apps", "--url", url]).env("PICLOUD_TOKEN", tests::TOKEN).current_dir("/tmp");
        if trusts {
            command.env("SSL_CERT_FILE", caddy.authority());
        }
        if let Some(offset) = clock {
            tests::clock::with_clock_offset(&mut command, offset);
        }
        let output = command.output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let here = format!("https://localhost:{}", caddy.https);
    assert_eq!(says(&here, true, None), "no apps; the first push to a name creates an app\n");
    let by_address = format!("https://127.0.0.1:{}", caddy.https);
    let without_tls = format!("http://localhost:{}", caddy.https);
    for (url, trusts, clock, expected) in [
        (
            &here,
            false,
            None,
            format!(
                "error: the certificate of {here} is signed by an unknown authority\n\
                 hint: install the certificate of the authority on this machine, or set SSL_CERT_FILE to its file\n"
            ),
        ),
        (
            &here,
            true,
            Some("+20000d"),
            format!(
                "error: the certificate of {here} has expired, according to the clock of this machine\nhint: renew the certificate on the server\n"
            ),
        ),
        (
            &here,
            true,
            Some("-5000d"),
            format!(
                "error: the certificate of {here} is not valid yet, according to the clock of this machine\n\
                 hint: check the clock of this machine\n"
            ),
        ),
        (
            &by_address,
            true,
            None,
            format!(
                "error: {by_address} has no certificate for this host name\n\
                 hint: use the domain of the server\n"
            ),
        ),
        (
            &without_tls,
            true,
            None,
            format!("error: {without_tls} does not support plain HTTP\nhint: use {here}\n"),
        ),
    ] {
        assert_eq!(says(url, trusts, clock), expected);
    }
    // Caddy redirects HTTP to HTTPS.
    let output = says(&format!("http://localhost:{}", caddy.http), true, None);
    assert!(
        output.contains(" redirects to https://localhost")
            && output.contains("\nhint: set --url or the remote to "),
        "{output}"
    );
}

fn tls_certificates_are_issued_for_known_names_only(release: Release) {
    let (_server, caddy) = domain(release);
    let repository = shop();
    caddy.for_git(&repository);
    // Large enough for git to send it in chunks, after a probe request.
    let large = (0..3_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(3_000_000);
    repository.write("large.bin", large.collect::<Vec<u8>>());
    repository.commit("large");
    let url = caddy.git_url("hello");
    repository
        .push(&url, &["main"])
        .succeeded()
        .says("LIVE as deploy 1")
        .says("+ shop.example")
        .says(&format!("https://hello.{DOMAIN}/"));
    repository.git(&["fetch", "-q", &url, "main"]);
    assert_eq!(repository.git(&["rev-parse", "FETCH_HEAD"]), repository.head());

    let app = format!("hello.{DOMAIN}");
    for name in [app.as_str(), "shop.example"] {
        let got = caddy.curl(name, "/greet/Ann", &[]);
        assert_eq!((got.status, got.body.as_str()), (200, r#"{"message":"Hello, Ann"}"#), "{name}: {got:?}");
        assert_eq!(got.version, "2", "{name}");
        assert_eq!(caddy.curl(name, "/-/health/live", &[]).status, 404, "{name} serves only the app");
    }
    let http = format!("::127.0.0.1:{}", caddy.http);
    let redirect = std::process::Command::new("curl")
        .args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{redirect_url}",
            "--connect-to",
            &http,
            "http://shop.example/who",
        ])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&redirect.stdout).starts_with("https://shop.example"), "{redirect:?}");

    for name in [&format!("nothing.{DOMAIN}"), "other.example", &format!("a.b.{DOMAIN}")] {
        let got = caddy.curl(name, "/", &[]);
        assert_eq!(got.status, 0, "{name}: {got:?}");
        assert!(got.output.contains("alert"), "there is no certificate for {name}: {}", got.output);
    }
}

fn script_sees_client_address_and_scheme_and_no_spoofed_ones(release: Release) {
    let (server, caddy) = domain(release);
    let repository = shop();
    caddy.for_git(&repository);
    repository.push(&caddy.git_url("hello"), &["main"]).succeeded();
    let truth = r#"{"for":"127.0.0.1","proto":"https"}"#;
    let lies = ["-H", "X-Forwarded-For: 6.6.6.6", "-H", "X-Forwarded-Proto: gopher"];
    for arguments in [&[][..], &lies] {
        assert_eq!(caddy.curl("shop.example", "/who", arguments).body, truth);
    }
    // As scripts of SDK 1.3 see it.
    repository.write("picloud.toml", MANIFEST.replace("1.1", "1.3"));
    repository.write("who.rhai", "let r = ctx.request; [r.scheme, r.ip, r.base]");
    repository.commit("origin");
    repository.push(&caddy.git_url("hello"), &["main"]).succeeded();
    for version in ["--http1.1", "--http2"] {
        let arguments = [&[version][..], &lies].concat();
        assert_eq!(caddy.curl("shop.example", "/who", &arguments).body, r#"["https","127.0.0.1",""]"#);
    }
    repository.write("picloud.toml", MANIFEST);
    repository.write("who.rhai", FORWARDED_SCRIPT);
    repository.commit("headers");
    // A node without trusted proxies ignores the headers.
    let stern = Server::start_with(Database::sqlite(), &["--trusted-proxies", "none"]);
    repository.push(&stern.git_url("hello"), &["main"]).succeeded();
    let headers = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https")];
    let response = stern.request("GET", "/hello/who", &headers, None);
    assert_eq!(response.body, r#"{"for":"127.0.0.1","proto":null}"#);
    drop(server);
}

fn node_restart_under_load_fails_no_request(release: Release) {
    let (mut server, caddy) = domain(release);
    let repository = shop();
    caddy.for_git(&repository);
    repository.push(&caddy.git_url("hello"), &["main"]).succeeded();
    assert_eq!(caddy.curl("shop.example", "/who", &[]).status, 200);
    let send = |path: &str, arguments: &[&str]| {
        let got = caddy.curl("shop.example", path, arguments);
        if got.status == 200 { Ok(()) } else { Err(format!("{got:?}")) }
    };
    let requests = send_requests_during(
        // Without a body: Caddy 2.6 does not retry one when a connection is refused, see docs/operations.md.
        || send("/greet/Ann", &[]).and_then(|()| send("/who", &["-X", "POST"])),
        || {
            for _ in 0..2 {
                server.stop();
                server.restart_in_place();
            }
        },
    );
    assert!(requests > 40, "{requests}");
}
