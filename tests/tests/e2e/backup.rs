//! Backups: made while nodes run, restored completely or not at all, on either database.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tests::{CommandOutput, Database, Repository, Server, SetOnDrop, on_both_databases, until};

on_both_databases!(
    backup_taken_during_pushes_restores_to_postgres,
    backup_taken_during_pushes_restores_to_sqlite,
    rejected_restore_changes_nothing,
    killed_backup_leaves_no_partial_file,
    killed_restore_is_all_or_nothing,
);

fn backup_taken_during_pushes_restores_to_postgres(from: Database) {
    restore_equals_source(from, Database::postgres());
}

fn backup_taken_during_pushes_restores_to_sqlite(from: Database) {
    restore_equals_source(from, Database::sqlite());
}

fn run(server: &Server, command: &str, file: &Path, flags: &[&str]) -> CommandOutput {
    let output = server.command(&[command]).arg(file).args(flags).output().expect("picloud runs");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    CommandOutput { accepted: output.status.success(), text }
}

/// Apps with all kinds of state: history with deltas, deploys, a rollback, previews, tags, a shallow push.
fn populate(server: &Server) -> Repository {
    let repository = Repository::hello();
    let url = server.git_url("hello");
    for number in 0..12 {
        let lines =
            (0..400).map(|line| format!("{line} {}\n", if line == number { "changed" } else { "same" }));
        repository.write("long.md", lines.collect::<String>());
        repository.write("greet.rhai", format!("`{number}`"));
        repository.commit(&format!("change {number}"));
        if number % 4 == 3 {
            repository.push(&url, &["main"]).succeeded();
        }
    }
    repository.git(&["tag", "-a", "-m", "one", "v1"]);
    repository.push(&url, &["v1", "HEAD~2:refs/heads/next"]).succeeded();
    repository.push(&url, &["-f", "HEAD~4:main"]).succeeded().says("LIVE as deploy 5");
    let shallow = Repository::new();
    shallow.git(&["fetch", "-q", "--depth", "1", &url, "main:main", "--update-head-ok"]);
    shallow.git(&["reset", "-q", "--hard"]);
    shallow.push(&server.git_url("ci"), &["main"]).succeeded();
    repository
}

/// The externally visible state of the apps.
fn observe(server: &Server, apps: &[&str]) -> BTreeMap<String, String> {
    let anywhere = Repository::new();
    let mut observe = BTreeMap::new();
    for app in apps {
        let url = server.git_url(app);
        observe.insert(format!("{app} refs"), anywhere.git(&["ls-remote", &url]));
        let clone = Repository::new();
        clone.git(&["fetch", "-q", &url, "refs/*:refs/copy/*"]);
        clone.git(&["fsck", "--strict", "--full"]);
        let shown = clone.git(&["for-each-ref", "--format=%(refname) %(objectname) %(tree)"]);
        observe.insert(format!("{app} clone"), shown + &clone.git(&["rev-list", "--objects", "--all"]));
    }
    for path in ["/hello/greet/Ann", "/hello@next/greet/Ann", "/ci/greet/Ann"] {
        let response = server.get(path);
        let revision = response.header("picloud-revision").unwrap_or_default();
        observe.insert(path.to_owned(), format!("{} {} {revision}", response.status, response.body));
    }
    observe
}

fn restore_equals_source(from: Database, to: Database) {
    let source = Server::start(from);
    let repository = populate(&source);
    let before = observe(&source, &["hello", "ci"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.picloud");
    // Another app is pushed to meanwhile.
    let (done, pushed) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let busy = Repository::hello();
            while !done.load(Ordering::Relaxed) {
                busy.write("greet.rhai", format!("{}", pushed.load(Ordering::Relaxed)));
                busy.commit("again");
                busy.push(&source.git_url("busy"), &["main"]).succeeded();
                pushed.fetch_add(1, Ordering::Relaxed);
            }
        });
        let stop = SetOnDrop(&done);
        let pushes_on =
            |at: usize| until("pushes continue", || (pushed.load(Ordering::Relaxed) > at).then_some(()));
        pushes_on(1);
        for round in 0..4 {
            run(&source, "backup", &file, &["--replace"]).succeeded().says("3 apps");
            pushes_on(2 + round);
        }
        drop(stop);
    });
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "there are other files next to the backup");

    let mut target = Server::start(to);
    target.stop();
    run(&target, "restore", &file, &[]).succeeded().says("3 apps");
    target.restart();
    assert_eq!(observe(&target, &["hello", "ci"]), before);
    // The busy app is consistent: the live revision is that of the branch and of its last deploy.
    let busy = target.git_url("busy");
    let refs = repository.git(&["ls-remote", &busy]);
    let live = target.get("/busy/greet/Ann");
    let revision = live.header("picloud-revision").unwrap();
    let deploys = refs.lines().filter(|line| line.contains("refs/deploys/")).count();
    assert!(refs.contains(&format!("{revision}\trefs/heads/main")), "{refs}");
    assert!(refs.contains(&format!("{revision}\trefs/deploys/{deploys}")), "{refs}");
    Repository::clone_of(&busy).git(&["fsck", "--strict", "--full"]);
    // The restored apps can be pushed to.
    let url = target.git_url("hello");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 6").says("already validated");
    assert_eq!(target.get("/hello/greet/Ann").body, "\"11\"");
    let elsewhere = Repository::clone_of(&url);
    elsewhere.git(&["fetch", "-q", &url, "refs/deploys/*:refs/deploys/*"]);
    elsewhere.push(&url, &["-f", "refs/deploys/1:refs/heads/main"]).succeeded().says("LIVE as deploy 7");
    assert_eq!(target.get("/hello/greet/Ann").body, "\"3\"");
    repository.push(&target.git_url("new"), &["main"]).succeeded().says("LIVE as deploy 1");
}

fn rejected_restore_changes_nothing(database: Database) {
    let mut server = Server::start(database);
    populate(&server);
    let before = observe(&server, &["hello", "ci"]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    run(&server, "backup", &path("all"), &[]).succeeded();
    run(&server, "backup", &path("all"), &[]).refused().says("already exists");
    let whole = fs::read(path("all")).unwrap();
    fs::write(path("cut"), &whole[..whole.len() / 2]).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    fs::write(path("flipped"), flipped).unwrap();
    fs::write(path("letter"), "Dear Ann, ".repeat(100)).unwrap();
    if !server.database.is_external() {
        run(&server, "restore", &path("all"), &["--replace"]).refused().says("stop the node");
        server.stop();
    }
    run(&server, "restore", &path("all"), &[])
        .refused()
        .says("the database is not empty (2 apps); nothing was changed")
        .says("--replace");
    for name in ["cut", "flipped"] {
        run(&server, "restore", &path(name), &["--replace"]).refused().says("is damaged");
    }
    run(&server, "restore", &path("letter"), &["--replace"]).refused().says("is not a PiCloud backup");
    run(&server, "restore", &path("nowhere"), &["--replace"]).refused().says("cannot read");
    server.kill();
    server.restart();
    assert_eq!(observe(&server, &["hello", "ci"]), before);
}

/// An app that takes a moment to copy.
fn push_large(server: &Server, app: &str, megabytes: usize) {
    let repository = Repository::hello();
    // Incompressible bytes.
    let mut state = 1_u64;
    for number in 0..megabytes {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let bytes: Vec<u8> = (0..1 << 20).map(|_| next()).collect();
        repository.write(&format!("{number}.bin"), bytes);
    }
    repository.write("greet.rhai", format!("`{app}`"));
    repository.commit("large");
    repository.push(&server.git_url(app), &["main"]).succeeded();
}

fn killed_backup_leaves_no_partial_file(database: Database) {
    let server = Server::start(database);
    push_large(&server, "large", 16);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all");
    let mut killed = 0;
    for _ in 0..10 {
        let mut backup = server.command(&["backup"]).arg(&file).stdout(Stdio::null()).spawn().unwrap();
        until("the backup is being written or complete", || {
            let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
            let drafts =
                fs::read_dir(&folder).unwrap().filter_map(|draft| fs::read_dir(draft.unwrap().path()).ok());
            let drafts = drafts.flatten().filter_map(|file| Some(size(&file.ok()?.path())));
            (drafts.max() > Some(1 << 20) || file.exists()).then_some(())
        });
        backup.kill().unwrap();
        killed += usize::from(!backup.wait().unwrap().success());
        if file.exists() {
            // The backup was faster than the kill: a file with the final name is complete.
            let mut elsewhere = Server::start(Database::sqlite());
            elsewhere.stop();
            run(&elsewhere, "restore", &file, &[]).succeeded();
            fs::remove_file(&file).unwrap();
        }
        let left = fs::read_dir(&folder).unwrap().count();
        assert!(left <= 2, "the previous partial file is removed: {left}");
    }
    assert!(killed > 0, "none was killed in time");
    run(&server, "backup", &file, &[]).succeeded();
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["all"], "no partial files are left");
}

fn killed_restore_is_all_or_nothing(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let mut server = Server::start(database);
    push_large(&server, "old", 1);
    run(&server, "backup", &old, &[]).succeeded();
    {
        let other = Server::start(Database::sqlite());
        push_large(&other, "new", 16);
        run(&other, "backup", &new, &[]).succeeded();
    }
    server.stop();
    let mut killed = 0;
    for round in 0..8_u64 {
        let mut restore =
            server.command(&["restore", "--replace"]).arg(&new).stdout(Stdio::null()).spawn().unwrap();
        // Anywhere between its first step and its last.
        std::thread::sleep(Duration::from_millis(30 * round));
        restore.kill().unwrap();
        let ended = restore.wait().unwrap().success();
        killed += usize::from(!ended);
        server.restart();
        let responses = ["/old/greet/Ann", "/new/greet/Ann"].map(|path| server.get(path).status);
        // A restore that was killed after its commit can have taken effect.
        assert!(responses == [404, 200] || (!ended && responses == [200, 404]), "{ended}: {responses:?}");
        let app = if responses[0] == 200 { "old" } else { "new" };
        Repository::clone_of(&server.git_url(app)).git(&["fsck", "--strict", "--full"]);
        server.stop();
        run(&server, "restore", &old, &["--replace"]).succeeded();
    }
    assert!(killed > 0, "none was killed in time");
}
