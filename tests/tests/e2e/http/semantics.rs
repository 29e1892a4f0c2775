//! Hosts, targets, methods, and hop-by-hop headers.

use tests::{Server, Wire};

use super::{app, echo, exchange};

fn raw(server: &Server, message: &str) -> u16 {
    Wire::sent(server, message).response().status
}

#[test]
fn missing_repeated_or_invalid_host_is_rejected() {
    let server = echo(&[]);
    let with = |lines: &str| raw(&server, &format!("GET /app/hello HTTP/1.1\r\n{lines}\r\n"));
    assert_eq!(with("Host: test\r\n"), 200);
    assert_eq!(with("Host: [::1]:80\r\n"), 200);
    assert_eq!(with(""), 400);
    assert_eq!(with("Host: \r\n"), 400);
    assert_eq!(with("Host: a\r\nHost: a\r\n"), 400);
    for odd in ["a b", "a,b", "u@a", "a/b", "a:b", "http://a", "[a", "a\\b", "<a>"] {
        assert_eq!(with(&format!("Host: {odd}\r\n")), 400, "{odd}");
    }
    assert_eq!(raw(&server, "GET /app/hello HTTP/1.0\r\n\r\n"), 200, "HTTP/1.0 has no Host header");
    assert_eq!(raw(&server, "GET /app/hello HTTP/1.0\r\nHost: a b\r\n\r\n"), 400);
}

#[test]
fn absolute_target_overrides_host() {
    let server = echo(&[]);
    let get = |target: &str| raw(&server, &format!("GET {target} HTTP/1.1\r\nHost: elsewhere\r\n\r\n"));
    assert_eq!(get("http://app.localhost/hello"), 200);
    assert_eq!(get("HTTPS://APP.LOCALHOST:8080/hello"), 200);
    assert_eq!(get("http://app.localhost./hello"), 200, "a name can end in a dot");
    assert_eq!(get("http://other.localhost/hello"), 404);
    assert_eq!(get("http://test/app/hello"), 200);
    assert_eq!(
        raw(&server, "GET http://app.localhost/hello HTTP/1.1\r\n\r\n"),
        400,
        "Host is there all the same"
    );
    for target in
        ["ftp://app.localhost/hello", "http://u:p@app.localhost/hello", "app.localhost:80", "*", "hello"]
    {
        assert_eq!(get(target), 400, "{target}");
    }
}

#[test]
fn unknown_methods_get_501() {
    let server = echo(&[]);
    for method in ["TRACE", "PROPFIND", "get", "CONNECT", "PRI"] {
        for path in ["/app/hello", "/-/health/live", "/nothing"] {
            assert_eq!(
                exchange(&server, &format!("{method} {path} HTTP/1.1")).status,
                501,
                "{method} {path}"
            );
        }
    }
    let mut tunnel =
        Wire::sent(&server, "CONNECT app.localhost:80 HTTP/1.1\r\nHost: app.localhost:80\r\n\r\n");
    assert_eq!(tunnel.response().status, 501);
    tunnel.send("GET /app/hello HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(tunnel.response().body, "\"hello\"", "it is still HTTP");
}

#[test]
fn unsupported_methods_get_405_with_allow() {
    let server = echo(&[]);
    let allowed = |method: &str, path: &str| {
        let response = exchange(&server, &format!("{method} {path} HTTP/1.1\r\nContent-Length: 0"));
        let allow = response
            .header("allow")
            .map(|allow| allow.split(',').map(|method| method.trim().to_owned()).collect());
        let mut allow: Vec<String> = allow.unwrap_or_default();
        allow.sort();
        (response.status, allow.join(" "))
    };
    assert_eq!(allowed("DELETE", "/app/hello"), (405, "GET HEAD OPTIONS".to_owned()));
    assert_eq!(allowed("OPTIONS", "/app/hello"), (204, "GET HEAD OPTIONS".to_owned()));
    assert_eq!(allowed("POST", "/app/nothing"), (404, String::new()));
    assert_eq!(allowed("POST", "/"), (405, "GET HEAD".to_owned()));
    assert_eq!(allowed("POST", "/-/health/live"), (405, "GET HEAD".to_owned()));
    assert_eq!(allowed("GET", "/-/api/v1/apps/app/functions/f"), (405, "POST".to_owned()));
    let everything = (204, "DELETE GET HEAD OPTIONS PATCH POST PUT".to_owned());
    assert_eq!(allowed("OPTIONS", "*"), everything);
}

#[test]
fn head_response_is_get_response_without_content() {
    let server = echo(&[]);
    for path in ["/app/hello", "/-/health/live", "/"] {
        let get = exchange(&server, &format!("GET {path} HTTP/1.1"));
        let mut wire =
            Wire::sent(&server, format!("HEAD {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
        let head = wire.head();
        assert_eq!(head.status, get.status);
        for name in ["content-type", "content-length"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
        assert_eq!(wire.rest(), b"", "{path}");
    }
}

#[test]
fn responses_without_content_ignore_body_of_script() {
    let route = |status: u16| format!("[[routes]]\npath = \"/{status}\"\nscript = \"{status}.rhai\"\n");
    let statuses = [101, 103, 204, 205, 304];
    let manifest: String = statuses.iter().map(|status| route(*status)).collect();
    let script = |status: u16| {
        format!("#{{ statusCode: {status}, headers: #{{ upgrade2: \"x\" }}, body: \"content\" }}")
    };
    let scripts: Vec<_> = statuses.iter().map(|status| (format!("{status}.rhai"), script(*status))).collect();
    let scripts: Vec<_> = scripts.iter().map(|(path, source)| (path.as_str(), source.as_str())).collect();
    let server = app(&[], &manifest, &scripts);
    let next = "GET /app/none HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    for status in statuses {
        let upgrade = "Connection: upgrade\r\nUpgrade: websocket";
        let mut wire = Wire::sent(
            &server,
            format!("GET /app/{status} HTTP/1.1\r\nHost: test\r\n{upgrade}\r\n\r\n{next}"),
        );
        let response = wire.head();
        if status < 200 {
            // 1xx are interim responses, and 101 switches protocols.
            assert_eq!(response.status, 500, "{status}");
            continue;
        }
        assert_eq!(response.status, status);
        let length = response.header("content-length");
        assert!(
            length.is_none() || (status == 205 && length == Some("0")) || status == 304,
            "{status}: {length:?}"
        );
        assert!(response.header("transfer-encoding").is_none(), "{status}");
        assert_eq!(wire.response().status, 404, "the next response follows {status}");
    }
}

#[test]
fn upgrade_requests_are_ignored() {
    let server = echo(&[]);
    let upgrades = [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    ];
    for upgrade in upgrades {
        let request = format!("GET /app/hello HTTP/1.1\r\nHost: test\r\n{upgrade}\r\n\r\n");
        let mut wire = Wire::sent(&server, &request);
        assert_eq!(wire.response().body, "\"hello\"");
        wire.send(&request);
        assert_eq!(wire.response().body, "\"hello\"", "the connection stays open");
    }
}

#[test]
fn repeated_headers_are_joined_and_last_query_value_wins() {
    let server = echo(&[]);
    let lines = "X-A: 1\r\nCookie: a=1\r\nx-a: 2\r\ncookie: b=2\r\nX-Empty:";
    let echoed = exchange(&server, &format!("GET /app/?a=1&b=x+y&a=2&%61=3&c HTTP/1.1\r\n{lines}")).json();
    assert_eq!(echoed["headers"]["x-a"], "1, 2");
    assert_eq!(echoed["headers"]["cookie"], "a=1; b=2");
    assert_eq!(echoed["headers"]["x-empty"], "");
    assert_eq!(echoed["query"], serde_json::json!({"a": "3", "b": "x y", "c": ""}));
}

/// If a proxy forwards an invalid address, the client is unknown: it is neither the proxy nor an earlier address.
#[test]
fn invalid_forwarded_client_address_is_rejected() {
    let server = echo(&[]);
    let send = |line: &str| exchange(&server, &format!("GET /app/ HTTP/1.1\r\n{line}"));
    for wrong in ["unknown", "6.6.6.6, _hidden", "1.2.3", "6.6.6.6;", "<script>"] {
        let response = send(&format!("X-Forwarded-For: {wrong}"));
        assert_eq!(response.status, 400, "{wrong}: {response:?}");
        assert!(
            response.body.contains("invalid X-Forwarded-For header: not a list of addresses"),
            "{response:?}"
        );
    }
    for (output, client) in [
        ("192.0.2.1", "192.0.2.1"),
        ("6.6.6.6, 192.0.2.1:99", "192.0.2.1"),
        ("[2001:db8::1]:8", "2001:db8::1"),
    ] {
        let response = send(&format!("X-Forwarded-For: {output}"));
        assert_eq!(response.json()["headers"]["x-forwarded-for"], client, "{output}");
    }
}
