//! The attacks, each on one app and in a loop. Their results are ignored: the node is allowed to reject everything.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::{Pid, Signal};
use tests::faults::rounds;
use tests::frames::{DATA, HEADERS, PING, PREFACE, SETTINGS, literals};
use tests::repository::command;
use tests::{Repository, TOKEN};

use super::{AttackContext, state};

/// An attack on a node, through one app.
type Attack = fn(&AttackContext, u32);

pub(super) const ATTACKS: &[(&str, Attack)] = &[
    ("reference cycles", reference_cycles),
    ("large heaps", large_heaps),
    ("unread responses", unread_responses),
    ("endless bodies", endless_bodies),
    ("endless heads", endless_heads),
    ("inflating fetches", inflating_fetches),
    ("fetches with millions of lines", long_fetches),
    ("stalled clones", stalled_clones),
    ("endless pushes", endless_pushes),
    ("inflating pushes", inflating_pushes),
    ("slow checks", long_checks),
    ("previews of the same scripts", previews),
    ("compiled scripts", programs),
    ("bytes on disk", bytes_on_disk),
    ("log lines", log_lines),
    ("infinite loops in previews", infinite_loops),
    ("idle frames", idle_frames),
    ("certificates of previews", certificates),
    ("state: many keys", state::many_keys),
    ("state: large values", state::large_values),
    ("state: lists", state::lists),
    ("state: hot keys", state::hot_keys),
    ("state: long arrays", state::long_arrays),
    ("state: expiring keys", state::expiring_keys),
    ("state: clients that leave", state::clients_that_leave),
    ("state: previews", state::previews),
];

/// How many connections one attacker holds at once, and for how long.
const CONNECTIONS: usize = 8;
const HOLD_TIME: Duration = Duration::from_secs(2);

pub(super) fn name(app: u32) -> String {
    format!("hostile-{app}")
}

/// The app of every attacker: each route is one attack.
pub(super) fn hostile_app() -> Repository {
    let routes: [(&str, &str); 5] = [
        ("leak", "for n in 0..7 { let b = [blob(32_000_000)]; let f = || b; b += f; } 1"),
        (
            "heap",
            "let held = []; for n in 0..12 { held.push(blob(20_000_000)); } let n = 0; while n < 300_000 { n += 1; } 1",
        ),
        (
            "answer",
            "let long = \"\"; long.pad(250_000, \"y\"); let all = []; for n in 0..32 { all.push(long); } all",
        ),
        ("body", "ctx.request.body.len()"),
        (
            "log",
            "for n in 0..1000 { log::info(\"a line that is written again and again, to fill what there is\"); } 1",
        ),
    ];
    let repository = Repository::new();
    let mut manifest =
        "sdk = \"1.3\"\n[limits]\nmemory = \"256MiB\"\ntimeout = \"5s\"\noperations = 1_000_000_000\n"
            .to_owned();
    for (name, script) in routes {
        manifest += &format!("[[routes]]\npath = \"/{name}\"\nscript = \"{name}.rhai\"\n");
        repository.write(&format!("{name}.rhai"), script);
    }
    for (name, script) in state::ROUTES {
        manifest += &format!("[[routes]]\npath = \"/{name}\"\nscript = \"{name}.rhai\"\n");
        repository.write(&format!("{name}.rhai"), script);
    }
    manifest += "[[routes]]\npath = \"/loop\"\nscript = \"loop.rhai\"\n";
    repository.write("loop.rhai", "loop { }");
    repository.write("picloud.toml", manifest);
    repository.commit("hostile");
    repository
}

/// Adds the maximum number of schedules to the hostile app.
pub(super) fn schedule(repository: &Repository) {
    let manifest = std::fs::read_to_string(repository.path().join("picloud.toml")).expect("a manifest");
    let schedule =
        |n| format!("[[schedules]]\nname = \"tick{n}\"\ncron = \"* * * * * *\"\nscript = \"log.rhai\"\n");
    repository.write("picloud.toml", (0..5).fold(manifest, |manifest, n| manifest + &schedule(n)));
    repository.commit("scheduled");
}

pub(super) fn connect(context: &AttackContext) -> Option<TcpStream> {
    let stream = TcpStream::connect(&context.server.address).ok()?;
    stream.set_read_timeout(Some(HOLD_TIME)).ok()?;
    stream.set_write_timeout(Some(HOLD_TIME)).ok()?;
    Some(stream)
}

/// Sends a request, and reads the response to its end or for a while.
fn exchange(context: &AttackContext, request: &[u8]) {
    let Some(mut stream) = connect(context) else { return };
    if stream.write_all(request).is_ok() {
        let mut piece = [0; 16 * 1024];
        while context.is_running() && stream.read(&mut piece).is_ok_and(|read| read > 0) {}
    }
}

pub(super) fn get(context: &AttackContext, path: &str) {
    exchange(context, format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes());
}

/// Opens connections that each send something and then nothing more, and holds them for a while.
fn hold(context: &AttackContext, request: &[u8]) {
    hold_many(context, request, CONNECTIONS);
}

fn hold_many(context: &AttackContext, request: &[u8], at_once: usize) {
    let open: Vec<TcpStream> = (0..at_once)
        .filter_map(|_| {
            let mut stream = connect(context)?;
            stream.write_all(request).ok()?;
            Some(stream)
        })
        .collect();
    let mut byte = [0];
    for mut stream in open {
        let _ = stream.read(&mut byte);
    }
}

fn reference_cycles(context: &AttackContext, app: u32) {
    get(context, &format!("/{}/leak", name(app)));
}

fn large_heaps(context: &AttackContext, app: u32) {
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| get(context, &format!("/{}/heap", name(app))));
        }
    });
}

fn infinite_loops(context: &AttackContext, app: u32) {
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| get(context, &format!("/{}@loop/loop", name(app))));
        }
    });
}

fn log_lines(context: &AttackContext, app: u32) {
    get(context, &format!("/{}/log", name(app)));
}

/// Responses of eight megabytes, on streams with a window of one byte.
fn unread_responses(context: &AttackContext, app: u32) {
    let Some(mut stream) = connect(context) else { return };
    let frame = |kind: u8, flags: u8, id: u32, payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
    };
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let window = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &1u32.to_be_bytes()].concat();
    let mut sent = [PREFACE, &frame(SETTINGS, 0, 0, &window)].concat();
    let path = format!("/{}/answer", name(app));
    for id in (1..).step_by(2).take(CONNECTIONS) {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", &path)];
        sent.extend(frame(HEADERS, 5, id, &literals(&fields)));
    }
    if stream.write_all(&sent).is_ok() {
        let mut piece = [0; 1024];
        while context.is_running() && stream.read(&mut piece).is_ok_and(|read| read > 0) {}
    }
    debug_assert_eq!(DATA, 0);
}

/// Floods of PING and SETTINGS on connections without requests.
fn idle_frames(context: &AttackContext, _: u32) {
    let Some(mut stream) = connect(context) else { return };
    let (ping, settings) =
        ([&[0, 0, 8, PING, 0, 0, 0, 0, 0][..], &[7; 8]].concat(), [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]);
    let flood = [&ping[..], &settings].concat().repeat(1000);
    let mut taken = stream.write_all(&[PREFACE, &settings].concat()).is_ok();
    let mut piece = [0; 16 * 1024];
    while taken && context.is_running() {
        taken = stream.write_all(&flood).is_ok() && stream.read(&mut piece).is_ok_and(|read| read > 0);
    }
}

/// Requests certificates for existing names in a loop.
fn certificates(context: &AttackContext, app: u32) {
    for label in ["loop--", "x--", ""] {
        get(context, &format!("/-/api/v1/tls-allowed?domain={label}{}.localhost", name(app)));
    }
}

/// A mebibyte without its last byte.
fn endless_bodies(context: &AttackContext, app: u32) {
    let head = format!(
        "POST /{}/body HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\nContent-Length: 1048576\r\n\r\n",
        name(app)
    );
    hold(context, &[head.as_bytes(), &vec![b'x'; 1_048_575]].concat());
}

/// In the long form, ten thousand from all attackers together.
fn endless_heads(context: &AttackContext, _: u32) {
    let at_once = rounds(CONNECTIONS as u32, 250) as usize;
    hold_many(context, b"GET / HTTP/1.1\r\nHost: test\r\nX-Slow: ", at_once);
}

/// A fetch of sixteen kilobytes that inflates to sixteen megabytes.
fn inflating_fetches(context: &AttackContext, app: u32) {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let line = b"0011ref-prefix a\n";
    let _ = gzip.write_all(b"0014command=ls-refs\n0001");
    for _ in 0..(16 << 20) / line.len() {
        let _ = gzip.write_all(line);
    }
    let body = gzip.finish().unwrap_or_default();
    let head = format!(
        "POST /{}.git/git-upload-pack HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKEN}\r\nContent-Encoding: gzip\r\n\
         Content-Type: application/x-git-upload-pack-request\r\nGit-Protocol: version=2\r\nContent-Length: {}\r\n\r\n",
        name(app),
        body.len()
    );
    hold(context, &[head.as_bytes(), &body].concat());
}

/// Thirteen megabytes of empty arguments.
fn long_fetches(context: &AttackContext, app: u32) {
    let mut lines = b"0014command=ls-refs\n0001".to_vec();
    lines.extend(b"0004".repeat(3_300_000));
    lines.extend(b"0000");
    let head = format!(
        "POST /{}.git/git-upload-pack HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/x-git-upload-pack-request\r\nGit-Protocol: version=2\r\nContent-Length: {}\r\n\r\n",
        name(app),
        lines.len()
    );
    exchange(context, &[head.as_bytes(), &lines].concat());
}

/// Clones that do not read their packs.
fn stalled_clones(context: &AttackContext, app: u32) {
    let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let main = context.server.try_request(
        "GET",
        &format!("/-/api/v1/apps/{}/deploys", name(app)),
        &[("authorization", &format!("Bearer {TOKEN}"))],
        None,
    );
    let commit = main.ok().and_then(|response| {
        let at = response.body.find("\"commit\":\"")? + 10;
        Some(response.body.get(at..at + 40)?.to_owned())
    });
    let Some(commit) = commit else { return };
    let wants = [
        line("command=fetch\n"),
        line("object-format=sha1"),
        "0001".to_owned(),
        line(&format!("want {commit}\n")),
        line("done\n"),
        "0000".to_owned(),
    ]
    .concat();
    let head = format!(
        "POST /{}.git/git-upload-pack HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/x-git-upload-pack-request\r\nGit-Protocol: version=2\r\nContent-Length: {}\r\n\r\n",
        name(app),
        wants.len()
    );
    hold(context, &[head.as_bytes(), wants.as_bytes()].concat());
}

fn endless_pushes(context: &AttackContext, app: u32) {
    let head = format!(
        "POST /{}.git/git-receive-pack HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n",
        name(app)
    );
    hold(context, head.as_bytes());
}

/// A push of 32 KB that inflates to 32 MB.
fn inflating_pushes(context: &AttackContext, app: u32) {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    (0..32).for_each(|_| drop(gzip.write_all(&vec![b'0'; 1 << 20])));
    let body = gzip.finish().unwrap_or_default();
    let head = format!(
        "POST /{}.git/git-receive-pack HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKEN}\r\nContent-Encoding: gzip\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\n\r\n",
        name(app),
        body.len()
    );
    hold(context, &[head.as_bytes(), &body].concat());
}

/// Scripts that take half a minute to check, pushed to the check ref and to branches.
fn long_checks(context: &AttackContext, app: u32) {
    let repository = Repository::new();
    let mut manifest = "sdk = \"1.2\"\n".to_owned();
    for n in 0..60 {
        manifest += &format!("[[functions]]\nname = \"f{n}\"\nscript = \"{n}.rhai\"\n");
        let variables: String = (0..3990).map(|at| format!("let v{at} = {n};\n")).collect();
        repository.write(&format!("{n}.rhai"), variables + &"v0;".repeat(20_000));
    }
    repository.write("picloud.toml", manifest);
    repository.commit("long");
    let url = format!("http://x:{}@{}/{}.git", context.checker, context.server.address, name(app));
    let refs = ["HEAD:refs/picloud/check", "HEAD:long-1", "HEAD:long-2", "HEAD:long-3"];
    let mut push = command(repository.path(), &[&["push", url.as_str()], refs.as_slice()].concat());
    let Ok(mut push) = push.stderr(Stdio::null()).process_group(0).spawn() else { return };
    while context.is_running() && push.try_wait().is_ok_and(|ended| ended.is_none()) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = rustix::process::kill_process_group(Pid::from_child(&push), Signal::KILL);
    let _ = push.wait();
}

/// One script of 256 KiB under 126 names, on more and more branches.
fn previews(context: &AttackContext, app: u32) {
    let repository = Repository::new();
    let script = format!("1{}", " ".repeat(256 * 1024 - 8));
    let mut manifest = "sdk = \"1.2\"\n".to_owned();
    for n in 0..126 {
        manifest += &format!("[[routes]]\npath = \"/{n}\"\nscript = \"{n}.rhai\"\n");
        repository.write(&format!("{n}.rhai"), &script);
    }
    repository.write("picloud.toml", manifest);
    repository.commit("previews");
    for branch in 0..40 {
        if !context.is_running() {
            return;
        }
        repository.push(&context.server.git_url(&name(app)), &[&format!("main:same-{branch}")]);
        get(context, &format!("/{}@same-{branch}/{branch}", name(app)));
    }
}

/// Scripts whose compiled form is a hundred times as large.
fn programs(context: &AttackContext, app: u32) {
    let repository = Repository::new();
    let mut manifest = "sdk = \"1.2\"\n".to_owned();
    for n in 0..4 {
        manifest += &format!("[[routes]]\npath = \"/{n}\"\nscript = \"{n}.rhai\"\n");
        let script = format!("let a = #{{ b: {n} }};\n{}", "a.b;".repeat(64 * 1024 - 16));
        repository.write(&format!("{n}.rhai"), script);
    }
    repository.write("picloud.toml", manifest);
    repository.commit("programs");
    for branch in 0..4 {
        if !context.is_running() {
            return;
        }
        repository.push(&context.server.git_url(&name(app)), &[&format!("main:dots-{branch}")]);
        for n in 0..4 {
            get(context, &format!("/{}@dots-{branch}/{n}", name(app)));
        }
    }
}

/// Incompressible pushes in a loop.
fn bytes_on_disk(context: &AttackContext, app: u32) {
    let repository = Repository::hello();
    for round in 0..8_u64 {
        let mut state = round.wrapping_add(u64::from(app) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut noise = Vec::with_capacity(4 << 20);
        while noise.len() < 4 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend_from_slice(&state.to_le_bytes());
        }
        repository.write("noise.bin", noise);
        repository.commit("noise");
        if !context.is_running() {
            return;
        }
        repository.push(&context.server.git_url(&name(app)), &["-f", "main:noise"]);
    }
}
