//! Cross-site requests: a page of another site in the browser of an authenticated user changes nothing, and
//! an app's response cannot act as a page of the server.

use tests::{Database, Repository, Response, Server, TOKEN, Wire};

/// The credentials of `ada` with the admin token, as a browser remembers them.
fn basic() -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let pair = format!("ada:{TOKEN}");
    let encoded = pair.as_bytes().chunks(3).map(|chunk| {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let letter = |at: usize| match at <= chunk.len() {
            true => char::from(letters[(bits >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        };
        (0..4).map(letter).collect::<String>()
    });
    format!("Basic {}", encoded.collect::<String>())
}

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

const NEW_TOKEN: &[u8] = br#"{"name": "evil", "scopes": ["admin"]}"#;

fn create_token(server: &Server, headers: &[(&str, &str)]) -> Response {
    server.request("POST", "/-/api/v1/tokens", headers, Some(NEW_TOKEN))
}

#[test]
fn cross_site_page_creates_no_token() {
    let server = Server::start(Database::sqlite());
    let (basic, bearer) = (basic(), bearer());
    // A cross-site form post, with the password that the browser stores for git.
    let form = [
        ("authorization", basic.as_str()),
        ("content-type", "text/plain"),
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    assert_eq!(create_token(&server, &form).status, 403);
    // Each defense works without the others.
    let json = ("content-type", "application/json");
    let remembered = create_token(&server, &[form[0], json]);
    assert_eq!(remembered.status, 401);
    assert!(remembered.body.contains("Authorization: Bearer"), "{}", remembered.body);
    assert_eq!(remembered.header("www-authenticate"), Some("Bearer"), "the browser shows no password prompt");
    let token = ("authorization", bearer.as_str());
    let plain = create_token(&server, &[token, form[1]]);
    assert_eq!(plain.status, 415);
    assert!(plain.body.contains("content-type: application/json"), "{}", plain.body);
    for header in [form[2], form[3], ("origin", "null"), ("sec-fetch-site", "same-site")] {
        assert_eq!(create_token(&server, &[token, json, header]).status, 403, "{header:?}");
    }
    let length = NEW_TOKEN.len();
    let head = format!(
        "POST /-/api/v1/tokens HTTP/1.1\r\nHost: test\r\nAuthorization: {bearer}\r\nContent-Length: {length}\r\n\r\n"
    );
    let nameless = Wire::sent(&server, [head.as_bytes(), NEW_TOKEN].concat()).response();
    assert_eq!((nameless.status, nameless.body.contains("missing content type")), (415, true));
    let listed = server.request("GET", "/-/api/v1/tokens", &[token], None);
    assert_eq!(listed.json()["tokens"], serde_json::json!([]), "{}", listed.body);

    // The client commands and same-origin pages are allowed.
    let own = format!("http://{}", server.address);
    assert_eq!(
        create_token(&server, &[token, json, ("origin", &own), ("sec-fetch-site", "same-origin")]).status,
        201
    );
}

#[test]
fn cross_site_page_pushes_nothing() {
    let server = Server::start(Database::sqlite());
    let basic = basic();
    let kind = "application/x-git-receive-pack-request";
    let push = |headers: &[(&str, &str)]| {
        let headers = [&[("authorization", basic.as_str())], headers].concat();
        server.request("POST", "/hello.git/git-receive-pack", &headers, Some(b"0000")).status
    };
    assert_eq!(push(&[("content-type", kind)]), 200, "as git does");
    for wrong in ["text/plain", "application/x-git-upload-pack-request", "application/x-www-form-urlencoded"]
    {
        assert_eq!(push(&[("content-type", wrong)]), 415, "{wrong}");
    }
    assert_eq!(push(&[("content-type", kind), ("origin", "http://evil.example")]), 403);
    assert_eq!(push(&[("content-type", kind), ("sec-fetch-site", "cross-site")]), 403);
    let fetch = |kind: &str| {
        let headers =
            [("authorization", basic.as_str()), ("content-type", kind), ("git-protocol", "version=2")];
        server.request("POST", "/hello.git/git-upload-pack", &headers, Some(b"0000")).status
    };
    Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
    assert_eq!(fetch("application/x-git-upload-pack-request"), 200);
    assert_eq!(fetch("text/plain"), 415);
}

#[test]
fn function_response_is_sandboxed_from_server_origin() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::new();
    repository.write("picloud.toml", "sdk = \"1.1\"\n[[functions]]\nname = \"page\"\nscript = \"a.rhai\"\n");
    repository.write(
        "a.rhai",
        "#{ statusCode: 200, headers: #{ \"content-type\": \"text/html\", \"set-cookie\": \"session=evil\", \
         \"clear-site-data\": \"*\", \"content-security-policy\": \"script-src *\" }, \
         body: \"<script>fetch('/-/api/v1/tokens')</script>\" }",
    );
    repository.commit("page");
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    let bearer = bearer();
    let call = |kind: &str| {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        server.request("POST", "/-/api/v1/apps/hello/functions/page", &headers, Some(b"null"))
    };
    let page = call("application/json");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html")));
    assert_eq!(page.header("content-security-policy"), Some("sandbox"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!((page.header("set-cookie"), page.header("clear-site-data")), (None, None));
    assert_eq!(call("text/plain").status, 415);
}

/// A cookie for the server's whole domain would be sent to every app and to the control plane.
#[test]
fn app_cookie_reaches_no_other_host() {
    let server = Server::start_with(Database::sqlite(), &["--domain", "pi.test"]);
    let repository = Repository::new();
    repository.write("picloud.toml", "sdk = \"1.1\"\n[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n");
    repository.write(
        "a.rhai",
        "#{ statusCode: 200, headers: #{ \"set-cookie\": [\"a=1; Domain=pi.test; Path=/\", \"b=2; domain=.hello.pi.test\"] } }",
    );
    repository.commit("cookies");
    let port = server.address.rsplit_once(':').expect("a port").1;
    let resolve = format!("http.curloptResolve=pi.test:{port}:127.0.0.1");
    let url = format!("http://ada:{TOKEN}@pi.test:{port}/hello.git");
    repository.try_git(&["-c", &resolve, "push", &url, "main"]).succeeded();
    let response = server.request("GET", "/", &[("host", "hello.pi.test")], None);
    let cookies: Vec<&str> = response
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(cookies, ["a=1; Path=/", "b=2; domain=.hello.pi.test"]);
}

/// A client that sends the server's token to an app uses the wrong URL; the author of the app must not get the token.
#[test]
fn script_sees_no_server_token() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::new();
    repository.write("picloud.toml", "sdk = \"1.1\"\n[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n");
    repository.write("a.rhai", "ctx.request.headers");
    repository.commit("headers");
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    let scoped = crate::access::token(&server, "ci", &["hello:read"]);
    let read = |value: &str| {
        let response =
            server.request("GET", "/hello/", &[("authorization", value), ("x-other", "kept")], None);
        assert_eq!(response.json()["x-other"], "kept");
        response.json()["authorization"].as_str().map(str::to_owned)
    };
    for token in [bearer(), basic(), format!("Bearer {scoped}"), format!("token {scoped}"), scoped.clone()] {
        assert_eq!(read(&token), None, "{token}");
    }
    for own in ["Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "Basic YWRhOnNlY3JldA==", "Digest username=\"ada\""] {
        assert_eq!(read(own).as_deref(), Some(own));
    }
}
