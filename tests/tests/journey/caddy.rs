//! The Caddyfile that ships, with the real Caddy.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tests::{Database, Repository, Server, TOKEN, until};

struct Caddy(Child);

impl Drop for Caddy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn caddyfile() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../caddy/Caddyfile")).unwrap()
}

#[test]
fn a_push_and_a_call_go_through_the_proxy() {
    let server = Server::start(Database::sqlite());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Caddyfile");
    fs::write(&file, caddyfile()).unwrap();
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let caddy = Command::new("caddy")
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(&file)
        .env("HOME", folder.path())
        .env("XDG_DATA_HOME", folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .env("PICLOUD_SITE", format!("http://127.0.0.1:{port}"))
        .env("PICLOUD_NODE", &server.address)
        .env("PICLOUD_CADDY_ADMIN", "off")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("caddy is installed");
    let _caddy = Caddy(caddy);
    let proxy = format!("127.0.0.1:{port}");
    until("the proxy answers", || {
        let answer = ureq::get(format!("http://{proxy}/-/health/ready")).call().ok()?;
        (answer.status() == 200).then_some(())
    });
    let repository = Repository::hello();
    // Large enough for git to send it in chunks, behind a probe.
    repository.write(
        "large.bin",
        (0..3_000_000u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .take(3_000_000)
            .collect::<Vec<u8>>(),
    );
    repository.commit("large");
    let url = format!("http://ada:{TOKEN}@{proxy}/hello.git");
    repository
        .push(&url, &["main"])
        .succeeded()
        .says("LIVE as deploy 1")
        .says(&format!("http://{proxy}/hello/"));
    let answer = ureq::get(format!("http://{proxy}/hello/greet/Ann"))
        .call()
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    assert_eq!(answer, r#"{"message":"Hello, Ann"}"#);
    // Answers that come at once were cut off now and then, see the Caddyfile.
    for _ in 0..10 {
        assert_eq!(Repository::clone_of(&url).head(), repository.head());
    }
}

#[test]
fn the_caddyfile_is_valid_and_formatted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Caddyfile");
    fs::write(&file, caddyfile()).unwrap();
    let caddy = |arguments: &[&str]| {
        let output =
            Command::new("caddy").args(arguments).arg(&file).env("HOME", folder.path()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
        String::from_utf8(text).unwrap()
    };
    caddy(&["validate", "--adapter", "caddyfile", "--config"]);
    caddy(&["fmt", "--overwrite"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), caddyfile());
}
