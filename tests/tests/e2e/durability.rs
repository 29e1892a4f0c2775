//! Acknowledged changes survive a crash, from the database only.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};

use tests::{Database, Repository, Server, TOKEN, on_both_databases, until};

on_both_databases!(
    killed_node_serves_all_live_apps_after_restart,
    stopped_node_finishes_running_requests,
    interrupted_push_changes_nothing,
);

fn killed_node_serves_all_live_apps_after_restart(database: Database) {
    let mut server = Server::start(database);
    let repository = Repository::hello();
    repository.push(&server.git_url("one"), &["main", "HEAD:refs/heads/next"]).succeeded();
    repository.write("greet.rhai", "`two`");
    repository.commit("two");
    repository.push(&server.git_url("two"), &["main"]).succeeded();
    repository.push(&server.git_url("two"), &["-f", "HEAD~1:main"]).succeeded();
    server.kill();
    server.restart();
    for path in ["/one/greet/Ann", "/one@next/greet/Ann", "/two/greet/Ann"] {
        assert_eq!(server.get(path).body, r#"{"message":"Hello, Ann"}"#, "{path}");
    }
    repository
        .push(&server.git_url("two"), &["main"])
        .succeeded()
        .says("LIVE as deploy 3")
        .says("already validated");
    assert_eq!(server.get("/two/greet/Ann").body, "\"two\"");
}

fn stopped_node_finishes_running_requests(database: Database) {
    let mut server = Server::start(database);
    let repository = Repository::hello();
    // Long enough to be still running when the node stops.
    repository.write("greet.rhai", "log::info(\"begun\"); let n = 0; while n < 1_500_000 { n += 1; } `done`");
    repository.commit("slow");
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    std::thread::scope(|scope| {
        let address = server.address.clone();
        let client = scope.spawn(move || {
            let mut response =
                ureq::get(format!("http://{address}/hello/greet/Ann")).call().expect("a response");
            response.body_mut().read_to_string().expect("text")
        });
        until("the script runs", || server.log().contains("begun").then_some(()));
        server.stop();
        assert_eq!(client.join().unwrap(), "\"done\"");
    });
}

fn interrupted_push_changes_nothing(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    let commit = repository.head();
    let pack = {
        let listed = repository.git(&["rev-list", "--objects", "HEAD"]);
        let packed = tests::repository::command(repository.path(), &["pack-objects", "--stdout", "-q"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .and_then(|mut git| {
                let names: String = listed.lines().map(|line| format!("{}\n", &line[..40])).collect();
                git.stdin.take().expect("a pipe").write_all(names.as_bytes())?;
                git.wait_with_output()
            });
        packed.expect("a pack").stdout
    };
    let command = format!("{:040} {commit} refs/heads/main\0report-status\n", 0);
    let mut body = format!("{:04x}{command}0000", command.len() + 4).into_bytes();
    body.extend(&pack);
    // The head declares the full length; the connection is closed in the middle.
    let head = format!(
        "POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\n\r\n",
        server.address,
        body.len()
    );
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body[..body.len() / 2]).unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    repository.push(&url, &["HEAD:refs/picloud/check"]).succeeded();
    repository.try_git(&["ls-remote", &url]).refused().says("app hello not found; the first push creates it");
    assert_eq!(server.get("/hello/greet/Ann").status, 404);
    if server.database.is_external() {
        assert_eq!(
            server.database.query("SELECT (SELECT count(*) FROM apps) + (SELECT count(*) FROM objects)"),
            "0"
        );
    }
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 1");
}
