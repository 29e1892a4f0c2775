//! Usage errors with their full output: the error, and one correct hint.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use tests::{Database, Repository, Server, TOKEN};

use crate::getting_started::shell;

/// The typed command, and the full output with the exit code in brackets after it. Words in braces are placeholders.
type UsageError = (&'static str, &'static str);

/// Compares each case with the output, and shows all differences.
#[track_caller]
fn assert_outputs(folder: &Path, errors: &[UsageError], known: &[(&str, &str)]) {
    let filled =
        |text: &str| known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let named =
        |text: &str| known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(value, name));
    let mut wrong = String::new();
    for (typed, printed) in errors {
        let output = shell(folder, &format!("({}) 2>&1 || printf '[%s]' $?", filled(typed)));
        let output = named(&output);
        if output != *printed {
            wrong += &format!("\n$ {typed}\n{output}\n--- instead of\n{printed}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn invalid_listen_address_is_a_usage_error() {
    let server = Server::start(Database::sqlite());
    let folder = tempfile::tempdir().unwrap();
    let listed = |value: &str| {
        let width = value.len().max(5);
        format!(
            "SETTING  {:<width$}  SOURCE\nlisten   {value:<width$}  --listen\nsuccess: 1 setting; all others are at their defaults\n",
            "VALUE"
        )
    };
    for value in ["8080", ":8080", "localhost:8080"] {
        let output = shell(folder.path(), &format!("picloud serve --check-config --listen {value}"));
        assert_eq!(output, listed(value));
    }
    let known = [("{address}", server.address.as_str())];
    assert_outputs(
        folder.path(),
        &[
            (
                "picloud serve --listen 0.0.0.0",
                "error: invalid value '0.0.0.0' for '--listen <ADDRESS>': a port is missing; write 0.0.0.0:8080\n\n\
                 For more information, try '--help'.\n[2]",
            ),
            (
                "picloud serve --listen http://localhost:8080",
                "error: invalid value 'http://localhost:8080' for '--listen <ADDRESS>': write localhost:8080 without http://\n\n\
                 For more information, try '--help'.\n[2]",
            ),
            (
                "picloud dev --listen pi.local:3000",
                "error: invalid value 'pi.local:3000' for '--listen <ADDRESS>': pi.local is not an IP address; write \
                 127.0.0.1:3000, or 0.0.0.0:3000 for all addresses of this machine\n\nFor more information, try '--help'.\n[2]",
            ),
            (
                "picloud demo --listen 99999",
                "error: invalid value '99999' for '--listen <ADDRESS>': invalid port `99999`; ports are 0 to 65535\n\n\
                 For more information, try '--help'.\n[2]",
            ),
            (
                "picloud serve --listen {address}",
                "error: cannot listen on {address}: Address already in use (os error 98)\n\
                 hint: use another address, such as  --listen {next}\n[1]",
            ),
        ],
        &[known[0], ("{next}", &next(&server.address))],
    );
}

/// The address with the next port.
fn next(address: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap();
    format!("{host}:{}", port.parse::<u16>().unwrap() + 1)
}

#[test]
fn empty_variables_count_as_unset() {
    let folder = tempfile::tempdir().unwrap();
    let empty = "PICLOUD_LISTEN= PICLOUD_DOMAIN= PICLOUD_ROLE= PICLOUD_MEMORY= PICLOUD_CONFIG= DATABASE_URL= PICLOUD_LOG= \
                 CREDENTIALS_DIRECTORY= OTEL_EXPORTER_OTLP_ENDPOINT= PICLOUD_TRUSTED_PROXIES= picloud serve --check-config";
    assert_eq!(shell(folder.path(), empty), "success: all settings are at their defaults\n");
    assert_outputs(
        folder.path(),
        &[
            (
                "PICLOUD_URL= PICLOUD_TOKEN_FILE= PICLOUD_TOKEN=x picloud apps",
                "error: unknown server: this repository has no remote `picloud`\n\
                 hint: run  git remote add picloud URL/<app>.git , or set --url\n[1]",
            ),
            (
                "PICLOUD_APP= PICLOUD_TOKEN=x picloud logs --url http://127.0.0.1:1",
                "error: no app specified\nhint: set --app\n[1]",
            ),
        ],
        &[],
    );
}

#[test]
fn invalid_database_url_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    assert_outputs(
        folder.path(),
        &[
            (
                "DATABASE_URL=mysql://ada:hunter2@127.0.0.1/x picloud serve --listen 127.0.0.1:0",
                "error: DATABASE_URL begins with mysql:, but must begin with postgres://; without it PiCloud uses an SQLite file in --data-dir\n\
                 hint: use postgres://USER:PASSWORD@HOST/DATABASE\n[1]",
            ),
            (
                "DATABASE_URL=127.0.0.1/picloud picloud backup b",
                "error: DATABASE_URL begins with no scheme, but must begin with postgres://; without it PiCloud uses an SQLite file in --data-dir\n\
                 hint: use postgres://USER:PASSWORD@HOST/DATABASE\n[1]",
            ),
            (
                "DATABASE_URL=sqlite:picloud.db picloud serve --listen 127.0.0.1:0",
                "error: DATABASE_URL names a file, but must be a postgres:// URL\n\
                 hint: remove it; --data-dir is the folder of the embedded database\n[1]",
            ),
            (
                "DATABASE_URL=/var/lib/picloud/picloud.db picloud serve --listen 127.0.0.1:0",
                "error: DATABASE_URL names a file, but must be a postgres:// URL\n\
                 hint: remove it; --data-dir is the folder of the embedded database\n[1]",
            ),
            (
                "DATABASE_URL=postgres://127.0.0.1:1/x picloud serve --listen 127.0.0.1:0",
                "error: cannot reach the database; is it running, and is DATABASE_URL right?: error communicating with database: \
                 Connection refused (os error 111)\n[1]",
            ),
        ],
        &[],
    );
}

#[test]
fn token() {
    let server = Server::start(Database::sqlite());
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}", server.address);
    let none = "no apps; the first push to a name creates an app\n";
    for token in [format!("{TOKEN}\n"), format!("  {TOKEN}\r\n")] {
        std::fs::write(folder.path().join("token"), token).unwrap();
        let given = format!(
            "PICLOUD_TOKEN=\"$(cat token; printf .)\"; export PICLOUD_TOKEN=\"${{PICLOUD_TOKEN%.}}\"; picloud apps --url {url}"
        );
        assert_eq!(shell(folder.path(), &given), none);
        assert_eq!(shell(folder.path(), &format!("picloud apps --token-file token --url {url}")), none);
    }
    assert_outputs(
        folder.path(),
        &[
            (
                "PICLOUD_TOKEN='Bearer {token}' picloud apps --url {url}",
                "error: invalid token in PICLOUD_TOKEN: it starts with Bearer\n\
                 hint: a token is a single word, as printed by  picloud tokens create\n[1]",
            ),
            (
                "PICLOUD_TOKEN='two words' picloud apps --url {url}",
                "error: invalid token in PICLOUD_TOKEN: it contains whitespace\n\
                 hint: a token is a single word, as printed by  picloud tokens create\n[1]",
            ),
            (
                "PICLOUD_TOKEN='Grüße' picloud apps --url {url}",
                "error: invalid token in PICLOUD_TOKEN: it contains invalid characters\n\
                 hint: a token is a single word, as printed by  picloud tokens create\n[1]",
            ),
            (
                "echo > empty; picloud apps --token-file empty --url {url}",
                "error: invalid token in empty: it is empty\nhint: a token is a single word, as printed by  picloud tokens create\n[1]",
            ),
            (
                "picloud apps --token-file . --url {url}",
                "error: cannot read the token from .: Is a directory (os error 21)\nhint: pass a readable file to --token-file\n[1]",
            ),
            (
                "PICLOUD_ADMIN_TOKEN='short' picloud serve --listen 127.0.0.1:0",
                "error: the admin token must be 32 to 512 printable ASCII characters without spaces\n[1]",
            ),
        ],
        &[("{url}", &url), ("{token}", TOKEN)],
    );
}

/// A server that is not PiCloud, or another version: returns what `responses` has for the path.
fn other_server(responses: &'static [(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split_whitespace().nth(1).unwrap_or_default();
            let found = responses.iter().find(|(begins, _)| path.starts_with(begins));
            let _ = stream.write_all(found.map_or("", |(_, response)| response).as_bytes());
        }
    });
    address
}

#[test]
fn server() {
    let server = Server::start(Database::sqlite());
    let folder = tempfile::tempdir().unwrap();
    let website = other_server(&[(
        "/",
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 15\r\n\r\n<html>hi</html>",
    )]);
    let newer = other_server(&[
        (
            "/-/api/openapi.json",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 46\r\n\r\n{\"info\":{\"title\":\"PiCloud\",\"version\":\"9.9.9\"}}",
        ),
        (
            "/",
            "HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: 55\r\n\r\n\
             {\"status\":404,\"title\":\"Not Found\",\"detail\":\"not found\"}",
        ),
    ]);
    let secure = other_server(&[(
        "/",
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
    )]);
    let elsewhere = other_server(&[(
        "/",
        "HTTP/1.1 308 Permanent Redirect\r\nconnection: close\r\nlocation: https://pi.example/-/api/v1/apps?limit=1\r\ncontent-length: 0\r\n\r\n",
    )]);
    let known = [
        ("{server}", server.address.as_str()),
        ("{website}", website.as_str()),
        ("{newer}", newer.as_str()),
        ("{secure}", secure.as_str()),
        ("{elsewhere}", elsewhere.as_str()),
        ("{token}", TOKEN),
    ];
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(own, "0.1.0");
    assert_outputs(
        folder.path(),
        &[
            (
                "PICLOUD_TOKEN=x picloud apps --url http://127.0.0.1:1",
                "error: cannot connect to http://127.0.0.1:1: connection refused\n\
                 hint: check that the server is running, or set another URL with --url, PICLOUD_URL or the remote `picloud`\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://pi.invalid:8080",
                "error: cannot connect to http://pi.invalid:8080: host pi.invalid not found\n\
                 hint: check the host name in --url, PICLOUD_URL or the remote `picloud`\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url https://{server}",
                "error: https://{server} does not support TLS\nhint: use http://{server}\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://{secure}",
                "error: http://{secure} does not support plain HTTP\nhint: use https://{secure}\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://{elsewhere}",
                "error: http://{elsewhere} redirects to https://pi.example\nhint: set --url or the remote to https://pi.example\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url pi:8080",
                "error: --url is pi:8080, which is not an http:// or https:// URL\n\
                 hint: use https://pi:8080, or http://pi:8080 without TLS\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url htp://pi",
                "error: --url is htp://pi, which is not an http:// or https:// URL\n\
                 hint: use https://pi, or http://pi without TLS\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url 'http://a b'",
                "error: invalid URL http://a b\nhint: write a URL without a path, such as https://pi.example.com\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://",
                "error: invalid URL http://\nhint: write a URL without a path, such as https://pi.example.com\n[1]",
            ),
            (
                "PICLOUD_TOKEN={token} picloud apps --url http://{server}/hello.git",
                "no apps; the first push to a name creates an app\n",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://{website}",
                "error: unexpected response from http://{website} (status 200)\n\
                 hint: is this a PiCloud server? set --url to its URL without a path, such as https://pi.example.com\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://{newer}",
                "error: the server runs PiCloud 9.9.9, which is not compatible with PiCloud 0.1.0 here\n\
                 hint: install PiCloud 9.9.9 on this machine\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://{server}",
                "error: the server rejected the token\n\
                 hint: run  picloud login , or set PICLOUD_TOKEN to a valid token\n[1]",
            ),
        ],
        &known,
    );
}

#[test]
fn remote_without_git_suffix_is_reported() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    let git = |url: &str, cli: &[&str]| repository.try_git(&[cli, &[url, "HEAD"]].concat()).refused().text;
    let hint = format!("remote: repository URLs end in .git; use http://{}/hello.git", server.address);
    let url = format!("http://{}/hello", server.address);
    for cli in [&["push"][..], &["fetch"]] {
        let output = git(&url, cli);
        assert!(output.contains(&hint), "{output}");
    }
    // An app with that address exists, and responds with 404 there.
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    let output = git(&url, &["push"]);
    assert!(output.contains(&hint), "{output}");
    let output = git(&format!("http://{}/", server.address), &["push"]);
    assert!(output.contains(&format!("use http://{}/<app>.git", server.address)), "{output}");
}

#[test]
fn invalid_function_arguments_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    assert_outputs(
        folder.path(),
        &[
            (
                "picloud invoke double --data '{\"n\": 21'",
                "error: invalid value '{\"n\": 21' for '--data <JSON>': invalid JSON: EOF while parsing an object at line 1 column 8; \
                 strings need quotation marks, as in '\"Ann\"'\n\nFor more information, try '--help'.\n[2]",
            ),
            (
                "picloud invoke double --data Ann",
                "error: invalid value 'Ann' for '--data <JSON>': invalid JSON: expected value at line 1 column 1; strings need \
                 quotation marks, as in '\"Ann\"'\n\nFor more information, try '--help'.\n[2]",
            ),
            (
                "echo '{n: 21}' | picloud invoke double --data -",
                "error: standard input is not JSON: key must be a string at line 1 column 2\n[1]",
            ),
        ],
        &[],
    );
}

#[test]
fn commands_of_other_platforms_get_suggestions() {
    let folder = tempfile::tempdir().unwrap();
    assert_outputs(
        folder.path(),
        &[
            (
                "picloud deploy",
                "error: unknown command `picloud deploy`\n\
                 hint: deploy an app with  git push picloud main ;  picloud deploys  lists its deploys\n[2]",
            ),
            (
                "picloud open hello",
                "error: unknown command `picloud open`\nhint: picloud previews  lists the URL of each branch\n[2]",
            ),
            (
                "picloud destroy hello --yes",
                "error: unknown command `picloud destroy`\nhint: delete an app with  picloud apps delete APP\n[2]",
            ),
            (
                "picloud env",
                "error: unknown command `picloud env`\n\
                 hint: set variables of an app in [env] of its picloud.toml, and secrets with  picloud secrets set NAME\n[2]",
            ),
            (
                "picloud config set A=B",
                "error: unknown command `picloud config`\n\
                 hint: an app is configured by its picloud.toml, a node by the flags of  picloud serve\n[2]",
            ),
            (
                "picloud ps",
                "error: unknown command `picloud ps`\nhint: picloud executions  lists executions, and  picloud nodes  lists nodes\n[2]",
            ),
            (
                "picloud restart",
                "error: unknown command `picloud restart`\n\
                 hint: stop an app with  picloud apps stop APP , and start it with  picloud apps start APP\n[2]",
            ),
            (
                "picloud whoami",
                "error: unknown command `picloud whoami`\nhint: picloud tokens list  lists tokens and their scopes\n[2]",
            ),
            (
                "picloud secret set KEY",
                "error: unknown command `picloud secret`\nhint: use the plural, as in  picloud apps\n[2]",
            ),
            (
                "picloud executions xyz",
                "error: invalid value 'xyz' for '[ID]': write an id such as 019f2c1e-7b1a-7c3e-9d7e-0a1b2c3d4e5f, or its first four or more \
                 characters\n\nFor more information, try '--help'.\n[2]",
            ),
        ],
        &[],
    );
}
