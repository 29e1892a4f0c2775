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
            "SETTING  {:<width$}  FROM\nlisten   {value:<width$}  --listen\nsuccess: 1 setting, the rest is as it is by itself\n",
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
                "error: invalid value 'pi.local:3000' for '--listen <ADDRESS>': pi.local is no address; write one such as \
                 127.0.0.1:3000, or 0.0.0.0:3000 for all of this machine\n\nFor more information, try '--help'.\n[2]",
            ),
            (
                "picloud demo --listen 99999",
                "error: invalid value '99999' for '--listen <ADDRESS>': 99999 is no port; they go from 0 to 65535\n\n\
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
    assert_eq!(shell(folder.path(), empty), "success: nothing is set, everything is as it is by itself\n");
    assert_outputs(
        folder.path(),
        &[
            (
                "PICLOUD_URL= PICLOUD_TOKEN_FILE= PICLOUD_TOKEN=x picloud apps",
                "error: which server? this folder's repository has no remote `picloud`\n\
                 hint: add it with  git remote add picloud URL/<app>.git , or name the server with --url\n[1]",
            ),
            (
                "PICLOUD_APP= PICLOUD_TOKEN=x picloud logs --url http://127.0.0.1:1",
                "error: which app?\nhint: name it with --app\n[1]",
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
                "error: DATABASE_URL begins with mysql:, and PiCloud works with PostgreSQL, or with an SQLite of its own\n\
                 hint: write postgres://USER:PASSWORD@HOST/DATABASE\n[1]",
            ),
            (
                "DATABASE_URL=127.0.0.1/picloud picloud backup b",
                "error: DATABASE_URL begins with no scheme, and PiCloud works with PostgreSQL, or with an SQLite of its own\n\
                 hint: write postgres://USER:PASSWORD@HOST/DATABASE\n[1]",
            ),
            (
                "DATABASE_URL=sqlite:picloud.db picloud serve --listen 127.0.0.1:0",
                "error: DATABASE_URL is for PostgreSQL, and names a file\n\
                 hint: leave it out; --data-dir names the folder of the embedded database\n[1]",
            ),
            (
                "DATABASE_URL=/var/lib/picloud/picloud.db picloud serve --listen 127.0.0.1:0",
                "error: DATABASE_URL is for PostgreSQL, and names a file\n\
                 hint: leave it out; --data-dir names the folder of the embedded database\n[1]",
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
    let none = "There are no apps yet; the first push to a name makes one.\n";
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
                "error: PICLOUD_TOKEN holds no token: it begins with Bearer\n\
                 hint: a token is one word, as  picloud tokens create  printed it\n[1]",
            ),
            (
                "PICLOUD_TOKEN='two words' picloud apps --url {url}",
                "error: PICLOUD_TOKEN holds no token: there are blanks or line ends within it\n\
                 hint: a token is one word, as  picloud tokens create  printed it\n[1]",
            ),
            (
                "PICLOUD_TOKEN='Grüße' picloud apps --url {url}",
                "error: PICLOUD_TOKEN holds no token: there are characters in it that no token has\n\
                 hint: a token is one word, as  picloud tokens create  printed it\n[1]",
            ),
            (
                "echo > empty; picloud apps --token-file empty --url {url}",
                "error: empty holds no token: it is empty\nhint: a token is one word, as  picloud tokens create  printed it\n[1]",
            ),
            (
                "picloud apps --token-file . --url {url}",
                "error: cannot read the token from .: Is a directory (os error 21)\nhint: name a file that you can read\n[1]",
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
            "HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: 79\r\n\r\n\
             {\"status\":404,\"title\":\"Not Found\",\"detail\":\"there is nothing at this address\"}  ",
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
                "error: cannot reach http://127.0.0.1:1: nothing listens there\n\
                 hint: is the server running? another one is named with --url, PICLOUD_URL or the remote `picloud`\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://pi.invalid:8080",
                "error: cannot reach http://pi.invalid:8080: there is no host pi.invalid\n\
                 hint: is its name right, in --url, PICLOUD_URL or the remote `picloud`?\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url https://{server}",
                "error: https://{server} does not speak TLS\nhint: write http://{server}\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://{secure}",
                "error: http://{secure} does not speak HTTP; TLS, perhaps\nhint: write https://{secure}\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://{elsewhere}",
                "error: http://{elsewhere} sends its clients on to https://pi.example\nhint: name that one: https://pi.example\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url pi:8080",
                "error: --url is pi:8080, which is no http:// or https:// address\n\
                 hint: write https://pi:8080, or http://pi:8080 where there is no TLS\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url htp://pi",
                "error: --url is htp://pi, which is no http:// or https:// address\n\
                 hint: write https://pi, or http://pi where there is no TLS\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url 'http://a b'",
                "error: http://a b is no address of a server\nhint: write it as https://pi.example.com, without a path\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://",
                "error: http:// is no address of a server\nhint: write it as https://pi.example.com, without a path\n[1]",
            ),
            (
                "PICLOUD_TOKEN={token} picloud apps --url http://{server}/hello.git",
                "There are no apps yet; the first push to a name makes one.\n",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://{website}",
                "error: http://{website} answered with status 200 and nothing that is understood here\n\
                 hint: is it a PiCloud? name the server without a path behind it, such as --url https://pi.example.com\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://{newer}",
                "error: the server is PiCloud 9.9.9 and does not understand PiCloud 0.1.0 here\n\
                 hint: use PiCloud 9.9.9 on this machine, too\n[1]",
            ),
            (
                "PICLOUD_TOKEN=x picloud apps --url http://{server}",
                "error: the server does not take this token\n\
                 hint: keep a right one with  picloud login , or set PICLOUD_TOKEN\n[1]",
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
                "error: invalid value '{\"n\": 21' for '--data <JSON>': no JSON: EOF while parsing an object at line 1 column 8; text \
                 stands in quotation marks, as in '\"Ann\"'\n\nFor more information, try '--help'.\n[2]",
            ),
            (
                "picloud invoke double --data Ann",
                "error: invalid value 'Ann' for '--data <JSON>': no JSON: expected value at line 1 column 1; text stands in quotation \
                 marks, as in '\"Ann\"'\n\nFor more information, try '--help'.\n[2]",
            ),
            (
                "echo '{n: 21}' | picloud invoke double --data -",
                "error: standard input holds no JSON: key must be a string at line 1 column 2\n[1]",
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
                "error: there is no `picloud deploy`\n\
                 hint: an app is deployed with  git push picloud main ;  picloud deploys  lists what was\n[2]",
            ),
            (
                "picloud open hello",
                "error: there is no `picloud open`\nhint: picloud previews  lists the address of each branch, production first\n[2]",
            ),
            (
                "picloud destroy hello --yes",
                "error: there is no `picloud destroy`\nhint: an app is deleted with  picloud apps delete APP\n[2]",
            ),
            (
                "picloud env",
                "error: there is no `picloud env`\n\
                 hint: settings of an app stand in [env] of its picloud.toml; secrets are set with  picloud secrets set NAME\n[2]",
            ),
            (
                "picloud config set A=B",
                "error: there is no `picloud config`\n\
                 hint: an app is configured by its picloud.toml; a node by the flags of  picloud serve , which --check-config lists\n[2]",
            ),
            (
                "picloud ps",
                "error: there is no `picloud ps`\nhint: picloud executions  lists what ran, and  picloud nodes  who is there\n[2]",
            ),
            (
                "picloud restart",
                "error: there is no `picloud restart`\n\
                 hint: apps are stopped with  picloud apps stop APP , and started with  picloud apps start APP\n[2]",
            ),
            (
                "picloud whoami",
                "error: there is no `picloud whoami`\nhint: picloud tokens list  has the tokens and what each can do\n[2]",
            ),
            (
                "picloud secret set KEY",
                "error: there is no `picloud secret`\nhint: its name is in the plural here, as in  picloud apps\n[2]",
            ),
            (
                "picloud executions xyz",
                "error: invalid value 'xyz' for '[ID]': write an id such as 019f2c1e-7b1a-7c3e-9d7e-0a1b2c3d4e5f, or four characters or \
                 more of its beginning\n\nFor more information, try '--help'.\n[2]",
            ),
        ],
        &[],
    );
}
