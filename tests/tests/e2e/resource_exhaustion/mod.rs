//! Resource exhaustion: clients that send or read slowly, and scripts that use much memory. The node stays within
//! its memory limits, and serves others.

mod fetches;
mod pushes;
mod request_bodies;
mod responses;
mod scripts;

use tests::{Database, Repository, Server};

const MIB: u64 = 1024 * 1024;

/// The memory limit of nodes here. An app can use half of it, and work that belongs to no app a quarter.
const MEMORY: u64 = 64 * MIB;

/// The memory of a node besides that, once it serves its apps: a margin.
const OVERHEAD: u64 = 24 * MIB;

/// The length of the response at `/big`: much more than the kernel buffers for a client.
const BIG: usize = 4_000_061;

/// The `Authorization` header of a token.
fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A node with the apps `app` and `other`. Both answer POST at `/` with the length of the body, and serve GET at `/hello` and `/big`.
fn node(flags: &[&str]) -> Server {
    node_with(flags, "[limits]\nmemory = \"16MiB\"\n")
}

/// The same with other limits of executions.
fn node_with(flags: &[&str], limits: &str) -> Server {
    let memory = format!("{}MiB", MEMORY / MIB);
    with_apps(
        Server::start_with(Database::sqlite(), &[&["--memory", memory.as_str()], flags].concat()),
        limits,
    )
}

fn with_apps(server: Server, limits: &str) -> Server {
    let repository = Repository::new();
    let manifest = "sdk = \"1.1\"\n[[routes]]\npath = \"/\"\nmethods = [\"POST\"]\nscript = \"length.rhai\"\n\
        [[routes]]\npath = \"/big\"\nmethods = [\"GET\"]\nscript = \"big.rhai\"\n\
        [[routes]]\npath = \"/hello\"\nmethods = [\"GET\"]\nscript = \"hello.rhai\"\n";
    repository.write("picloud.toml", format!("{manifest}{limits}"));
    repository.write("length.rhai", "ctx.request.body.len");
    repository.write("hello.rhai", "`hello`");
    let big = "let text = `x`; text.pad(200_000, `x`); let all = []; for i in 0..20 { all.push(text); } all";
    repository.write("big.rhai", big);
    repository.commit("app");
    for app in ["app", "other"] {
        repository.push(&server.git_url(app), &["main"]).succeeded();
    }
    server
}

/// A node without a memory limit, and the same apps.
fn large_node(flags: &[&str]) -> Server {
    with_apps(Server::start_with(Database::sqlite(), flags), "")
}

/// Asserts that the node's memory never exceeded its limit above `before`.
#[track_caller]
fn assert_within_memory(server: &Server, before: u64) {
    let more = server.peak_memory().saturating_sub(before);
    println!("peak: {} MiB more than at rest", more / MIB);
    assert!(more < MEMORY + OVERHEAD, "{} MiB more than at rest", more / MIB);
}

/// The bytes in use for a purpose.
fn bytes_held(server: &Server, purpose: &str) -> u64 {
    server.metric(&format!("picloud_memory_used_bytes{{purpose=\"{purpose}\"}}")) as u64
}

/// How many requests to `app` were rejected for lack of memory.
fn rejected_for_memory(server: &Server, app: &str) -> u64 {
    server.metric(&format!("picloud_limit_hits_total{{app=\"{app}\",limit=\"no_memory\"}}")) as u64
}

/// A repository of so many mebibytes of incompressible files of half a mebibyte.
pub(crate) fn incompressible(mebibytes: usize, seed: u64) -> Repository {
    let repository = Repository::new();
    // git does not try.
    repository.git(&["config", "core.compression", "0"]);
    repository.write("picloud.toml", "sdk = \"1.1\"\n");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for number in 0..2 * mebibytes {
        let mut noise = Vec::with_capacity(MIB as usize / 2);
        while noise.len() < MIB as usize / 2 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend_from_slice(&state.to_le_bytes());
        }
        repository.write(&format!("{number}.bin"), noise);
    }
    repository.commit("noise");
    repository
}
