//! Disks that are full or cannot be written: a sentence at start or at the push, and nothing is damaged.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tests::server::picloud;
use tests::{Repository, TOKEN};

/// A node whose data folder is in a small file system of its own, which `prepare` fills or locks. It needs no root.
fn serve_in(folder: &Path, size: &str, prepare: &str) -> Command {
    let script = format!(
        "mount -t tmpfs -o size={size} tmpfs . && cd \"$PWD\" && {prepare} && \
         exec \"$0\" serve --listen 127.0.0.1:0 --data-dir data"
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(picloud());
    command
        .current_dir(folder)
        .env("PICLOUD_ADMIN_TOKEN", TOKEN)
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null());
    command
}

#[test]
fn a_node_does_not_start_on_a_disk_that_cannot_be_written_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let full = "mkdir data && { head -c 2M /dev/zero >fill || true; } 2>/dev/null";
    for (prepare, words) in [
        (full, "data/picloud.db"),
        ("mount -o remount,ro .", "cannot make the data folder data: Read-only file system"),
        (
            "mkdir data && mount -o remount,ro .",
            "cannot write the database data/picloud.db: Read-only file system",
        ),
        ("touch data", "cannot make the data folder data"),
    ] {
        let output = serve_in(folder.path(), "1m", prepare).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(words), "{prepare}: {said}");
    }
}

#[test]
fn a_push_that_finds_the_disk_full_is_refused_and_the_next_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut node =
        serve_in(folder.path(), "6m", "true").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let first = BufReader::new(node.stdout.take().unwrap()).lines().map_while(Result::ok).next().unwrap();
    let (_, address) = first.split_once("http://").unwrap();
    let url = format!("http://ada:{TOKEN}@{}/hello.git", address.trim());
    let repository = Repository::hello();
    let before = repository.push(&url, &["main"]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let large: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(7_000_000)
    .collect();
    repository.write("large.bin", large);
    repository.commit("large");
    let refused = repository.push(&url, &["main"]);
    repository.git(&["reset", "-q", "--hard", "HEAD~1"]);
    repository.write("more.md", "more");
    repository.commit("small");
    let after = repository.push(&url, &["main"]);
    let _ = node.kill();
    let _ = node.wait();
    before.succeeded();
    refused.refused().says("disk is full");
    after.succeeded().says("LIVE as deploy 2");
}
