//! Transports: programs, pipes and smart HTTP.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::host::{Host, Transport, on_every_transport, program, run};

#[test]
fn program_name_selects_the_service() {
    let host = Host::start(Transport::Stdio);
    host.create_work_tree("work");
    let [receive, upload] = ["git-receive-pack", "git-upload-pack"].map(|name| {
        std::os::unix::fs::symlink(program(), host.path(name)).expect("a link");
        host.path(name).display().to_string()
    });
    let mut push = host.command("git");
    push.arg("-C").arg(host.path("work")).args(["push", "--receive-pack", &receive, "origin", "main"]);
    run(&mut push).ok();
    let mut clone = host.command("git");
    clone.args(["clone", "--upload-pack", &upload, &host.url()]).arg(host.path("clone"));
    run(&mut clone).ok();
    assert_eq!(host.id("clone", "HEAD"), host.id("work", "HEAD"));
    run(Command::new(program()).args(["upload-pack", "/nowhere"]))
        .fails(&["not appear to be a git repository"]);
    run(Command::new(program()).arg("dance")).fails(&["usage"]);
}

#[test]
fn client_that_keeps_its_side_open_gets_a_report() {
    let host = Host::start(Transport::Stdio);
    host.create_work_tree("work");
    let new = host.id("work", "HEAD");
    let mut service = host
        .command(program())
        .arg("receive-pack")
        .arg(host.path("app.git"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut input = service.stdin.take().expect("stdin");
    let line = format!("{} {new} refs/heads/main\0 report-status", "0".repeat(40));
    write!(input, "{:04x}{line}0000", line.len() + 4).expect("a command");
    let pack = host
        .command("sh")
        .current_dir(host.path("work"))
        .args(["-c", "git rev-list --objects --all | git pack-objects --stdout -q"])
        .output()
        .expect("a pack");
    input.write_all(&pack.stdout).expect("write");
    input.flush().expect("write");
    let mut stdout = service.stdout.take().expect("stdout");
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut output = String::new();
        stdout.read_to_string(&mut output).map(|_| sender.send(output))
    });
    let output = receiver.recv_timeout(std::time::Duration::from_secs(60)).unwrap_or_else(|_| {
        service.kill().expect("exit status");
        panic!("it waits for the end of its input");
    });
    assert!(output.ends_with("unpack ok\n0017ok refs/heads/main\n0000"), "{output}");
    assert!(service.wait().expect("exit status").success());
    drop(input);
    assert_eq!(host.id("app.git", "main"), new);
    host.fsck();
}

#[test]
fn http_responses_have_the_headers_git_expects() {
    let host = Host::start(Transport::Http);
    let (_, address) = host.server.as_ref().expect("a server");
    let authority = address.trim_start_matches("http://").trim_end_matches('/');
    let request = |head: &str, body: &str| {
        let mut stream = TcpStream::connect(authority).expect("a connection");
        let length = body.len();
        let headers = format!("Host: x\r\nConnection: close\r\nContent-Length: {length}");
        write!(stream, "{head} HTTP/1.1\r\n{headers}\r\n\r\n{body}").expect("a request");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("a response");
        response
    };
    let refs = request("GET /app.git/info/refs?service=git-upload-pack", "");
    assert!(refs.starts_with("HTTP/1.1 200 "), "{refs}");
    assert!(refs.contains("content-type: application/x-git-upload-pack-advertisement\r\n"), "{refs}");
    assert!(refs.contains("cache-control: no-cache, max-age=0, must-revalidate\r\n"), "{refs}");
    assert!(refs.contains("001e# service=git-upload-pack\n0000"), "{refs}");
    let probe = request("POST /app.git/git-receive-pack", "0000");
    assert!(probe.starts_with("HTTP/1.1 200 ") && probe.ends_with("\r\n\r\n"), "{probe}");
    assert!(probe.contains("content-type: application/x-git-receive-pack-result\r\n"), "{probe}");
    for nowhere in
        ["/none.git/info/refs?service=git-upload-pack", "/../app.git/info/refs", "/app.git/HEAD", "/"]
    {
        assert!(request(&format!("GET {nowhere}"), "").starts_with("HTTP/1.1 404 "), "{nowhere}");
    }
    assert!(
        request("GET /app.git/info/refs", "").starts_with("HTTP/1.1 403 "),
        "the dumb HTTP protocol is not supported"
    );
    assert!(request("POST /app.git/git-receive-pack", "what?").starts_with("HTTP/1.1 400 "));
}

#[test]
fn large_pushes_succeed() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        let noise = (0..3_000_000_u64)
            .map(|n| n.wrapping_mul(n).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[1]);
        fs::write(host.path("work/large"), noise.collect::<Vec<u8>>()).expect("a file");
        for number in 0..500 {
            fs::write(host.path("work").join(number.to_string()), number.to_string()).expect("a file");
        }
        let new = host.commit("work", "much");
        // Over HTTP, a push beyond the buffer starts with a probe and is sent in chunks.
        host.git("work", &["-c", "http.postBuffer=65536", "push", "-q", "origin", "main"]).ok();
        host.git("", &["clone", "-q", &host.url(), "clone"]).ok();
        assert_eq!(host.id("clone", "HEAD"), new);
    });
}

#[test]
fn repository_is_found_by_short_name_and_gitdir_file() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        fs::create_dir(host.path("linked")).expect("a directory");
        fs::write(host.path("linked/.git"), "gitdir: ../app.git\n").expect("a file");
        for name in ["app", "linked"] {
            let clone = format!("clone-of-{name}");
            host.git("", &["clone", "-q", &host.url().replace("app.git", name), &clone]).ok();
            assert_eq!(host.id(&clone, "HEAD"), host.id("work", "HEAD"));
        }
    });
}
