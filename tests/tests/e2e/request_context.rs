//! `ctx.request` of SDK 1.3: where a request came from, and its form.

use std::process::Command;

use tests::{Database, Repository, Server};

const MANIFEST: &str = r#"sdk = "1.3"

[[routes]]
path = "/who"
script = "who.rhai"

[[routes]]
path = "/form"
script = "form.rhai"
"#;

const WHO: &str = "let r = ctx.request; `${r.scheme} ${r.host} ${r.ip} ${r.base}|`";

const FORM: &str = "let files = ctx.request.files.map(|file| [file.field, file.name, file.data.as_string()]);
[ctx.request.form, files]";

fn app(server: &Server) -> Repository {
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("who.rhai", WHO);
    repository.write("form.rhai", FORM);
    repository.commit("first");
    repository.push(&server.git_url("hello"), &["main", "main:refs/heads/next"]).succeeded();
    repository
}

/// The body of curl's response.
fn curl(server: &Server, path: &str, arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(arguments)
        .arg(format!("http://{}{path}", server.address))
        .output()
        .expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn script_sees_where_the_request_came_from() {
    let server = Server::start(Database::sqlite());
    app(&server);
    let (address, (_, port)) = (&server.address, server.address.rsplit_once(':').unwrap());
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let who = |path: &str, headers: &[&str]| {
            let mut arguments = vec![version];
            headers.iter().for_each(|header| arguments.extend(["-H", header]));
            curl(&server, path, &arguments)
        };
        assert_eq!(who("/hello/who", &[]), format!("\"http {address} 127.0.0.1 /hello|\""), "{version}");
        assert_eq!(who("/hello@next/who", &[]), format!("\"http {address} 127.0.0.1 /hello@next|\""));
        for host in [format!("hello.localhost:{port}"), format!("next--hello.localhost:{port}")] {
            let header = format!("Host: {host}");
            assert_eq!(who("/who", &[&header]), format!("\"http {host} 127.0.0.1 |\""), "{version}");
        }
        // This machine is a trusted proxy; what its client claims is not trusted.
        let forwarded = ["X-Forwarded-For: 6.6.6.6, 192.0.2.7", "X-Forwarded-Proto: https"];
        assert_eq!(who("/hello/who", &forwarded), format!("\"https {address} 192.0.2.7 /hello|\""));
    }
}

#[test]
fn forwarding_headers_of_untrusted_peers_change_nothing() {
    let server = Server::start_with(Database::sqlite(), &["--trusted-proxies", "10.0.0.0/8"]);
    app(&server);
    let lies = [
        "-H",
        "X-Forwarded-For: 6.6.6.6",
        "-H",
        "X-Forwarded-Proto: https",
        "-H",
        "X-Forwarded-Host: lie.example",
        "-H",
        "Forwarded: for=6.6.6.6;proto=https;host=lie.example",
    ];
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let arguments = [&[version][..], &lies].concat();
        let seen = curl(&server, "/hello/who", &arguments);
        assert_eq!(seen, format!("\"http {} 127.0.0.1 /hello|\"", server.address), "{version}");
    }
}

#[test]
fn forms_are_read_as_clients_send_them() {
    let server = Server::start(Database::sqlite());
    let repository = app(&server);
    let post = |arguments: &[&str]| curl(&server, "/hello/form", arguments);
    assert_eq!(post(&["-d", "a=1", "--data-urlencode", "b=ü & é"]), r#"[{"a":"1","b":"ü & é"},[]]"#);
    std::fs::write(repository.path().join("a \"b\".txt"), "content").unwrap();
    let file = format!("f=@\"{}/a \\\"b\\\".txt\"", repository.path().display());
    assert_eq!(
        post(&["--form-string", "a=1\r\n2", "-F", &file]),
        r#"[{"a":"1\r\n2"},[["f","a \"b\".txt","content"]]]"#
    );
    assert_eq!(curl(&server, "/hello/form", &[]), "[{},[]]");
    let refused = server.request(
        "POST",
        "/hello/form",
        &[("content-type", "application/x-www-form-urlencoded")],
        Some(b"a=%zz"),
    );
    assert_eq!((refused.status, refused.json()["error"].as_str()), (400, Some("invalid form body")));
    assert!(refused.json()["execution_id"].is_string());
}
