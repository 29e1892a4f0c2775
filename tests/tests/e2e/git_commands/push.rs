//! Options of `git push`.

use tests::{Database, Repository, Server};

use super::{clone, history};

#[test]
fn atomic_push_with_one_invalid_ref_is_rejected() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let before = repository.git(&["ls-remote", &url]);
    repository.write("greet.rhai", "2");
    repository.commit("second");
    repository.git(&["tag", "v1"]);
    repository
        .push(&url, &["--atomic", "main", "v1", "main:refs/notes/commits"])
        .refused()
        .says("main -> main (another ref of this atomic push was rejected)")
        .says("v1 -> v1 (another ref of this atomic push was rejected)")
        .says("only branches and tags are supported");
    assert_eq!(repository.git(&["ls-remote", &url]), before);
    repository.push(&url, &["--atomic", "main", "v1"]).succeeded().says("LIVE as deploy 2").says("STORED v1");
}

#[test]
fn several_tags_are_pushed_and_deleted() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(2);
    repository.git(&["tag", "-a", "-m", "release", "v1"]);
    repository.git(&["tag", "-a", "-m", "a tag of a tag", "v1-signed", "v1"]);
    repository.git(&["tag", "a-file", "HEAD:greet.rhai"]);
    repository.git(&["tag", "a-folder", "HEAD^{tree}"]);
    repository.push(&url, &["main"]).succeeded();
    repository.push(&url, &["--tags"]).succeeded().says("STORED c1").says("STORED a-file");
    let local = repository.git(&["for-each-ref", "--format=%(objectname)\t%(refname)", "refs/tags"]);
    assert_eq!(repository.git(&["ls-remote", "--refs", "--tags", &url]), local);
    let (copy, _) = clone(&url, &["--mirror"]);
    assert_eq!(copy.git(&["for-each-ref", "--format=%(objectname)\t%(refname)", "refs/tags"]), local);
    repository.push(&url, &["--delete", "v1-signed", "c1", "a-file"]).succeeded();
    repository.push(&url, &["--tags", "--force", "main~1:refs/tags/v1"]).succeeded();
    repository.push(&url, &["--delete", "nowhere"]).refused().says("remote ref does not exist");
    // An annotated tag that the branch reaches is pushed too.
    repository.git(&["tag", "-a", "-m", "next release", "v2"]);
    repository.write("greet.rhai", "9");
    repository.commit("ninth");
    repository.push(&url, &["--follow-tags", "main"]).succeeded().says("STORED v2");
}

#[test]
fn mirror_clone_can_be_pushed() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(1);
    repository.push(&url, &["main", "c1", "main:refs/heads/try"]).succeeded();
    let (mirror, _) = clone(&url, &["--mirror"]);
    // The mirror has the deploy refs too, which are read-only: they are up to date.
    mirror.push(&url, &["--mirror"]).succeeded().says("[new reference]   refs/deploys/1 -> refs/deploys/1");
    repository.write("greet.rhai", "`mirrored`");
    repository.commit("mirrored");
    repository.git(&[
        "push",
        "-q",
        mirror.path().to_str().unwrap(),
        "main",
        ":refs/heads/try",
        "main:refs/tags/new",
    ]);
    mirror.push(&url, &["--mirror"]).succeeded().says("LIVE as deploy 3").says("STORED try (deleted)");
    assert_eq!(server.get("/hello/greet/Ann").body, "\"mirrored\"");
    assert_eq!(server.get("/hello@try/greet/Ann").status, 404);
    // The mirror does not know the third deploy, and deletes only refs that it knows.
    mirror.push(&url, &["--mirror"]).succeeded();
    assert_eq!(repository.git(&["ls-remote", &url, "refs/deploys/*"]).lines().count(), 3);
    mirror.git(&["update-ref", "refs/deploys/1", "main"]);
    mirror.push(&url, &["--mirror"]).refused().says("refs/deploys/1 (refs/deploys/ is read-only)");
    mirror.git(&["fetch", "-q"]);
    mirror.push(&url, &["--mirror"]).succeeded();
}

#[test]
fn push_options_are_accepted() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository
        .push(&url, &["-o", "ci.skip", "-o", "", "-o", "reviewer=Ann Lee", "main"])
        .succeeded()
        .says("LIVE");
}

#[test]
fn force_with_lease_succeeds_or_is_stale() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let (ours, _) = clone(&url, &[]);
    let (theirs, _) = clone(&url, &[]);
    for (clone, body) in [(&ours, "`ours`"), (&theirs, "`theirs`")] {
        clone.write("greet.rhai", body);
        clone.git(&["commit", "-q", "-a", "--amend", "-m", body]);
    }
    ours.push("--force-with-lease", &["origin", "main"]).succeeded().says("LIVE as deploy 2");
    theirs.try_git(&["push", "--force-with-lease", "origin", "main"]).refused().says("stale info");
    assert_eq!(server.get("/hello/greet/Ann").body, "\"ours\"");
    let lease = format!("--force-with-lease=main:{}", ours.head());
    theirs.push(&lease, &["origin", "main"]).succeeded().says("LIVE as deploy 3");
    assert_eq!(server.get("/hello/greet/Ann").body, "\"theirs\"");
    let (fresh, _) = clone(&url, &[]);
    fresh.try_git(&["push", "--force-with-lease=new:", "origin", "HEAD:refs/heads/new"]).succeeded();
    fresh.commit("newer");
    fresh
        .try_git(&["push", "--force-with-lease=new:", "origin", "HEAD:refs/heads/new"])
        .refused()
        .says("stale info");
}

#[test]
fn large_push_is_sent_in_chunks() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    // No two of these numbers are equal, so there is nothing to compress.
    let large = |seed: u32| -> Vec<u8> {
        (0..600_000u32)
            .flat_map(|n| (n ^ seed).wrapping_mul(2_654_435_761).rotate_left(7).to_le_bytes())
            .collect()
    };
    repository.write("large.bin", large(0));
    repository.commit("large");
    let url = server.git_url("default");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 1");
    assert_eq!(std::fs::read(clone(&url, &[]).0.path().join("large.bin")).unwrap(), large(0));
    for (app, option) in [
        ("small-buffer", "http.postBuffer=65536"),
        ("large-buffer", "http.postBuffer=100000000"),
        ("asks-first", "http.extraHeader=Expect: 100-continue"),
        ("uncompressed", "core.compression=0"),
    ] {
        let url = server.git_url(app);
        repository
            .try_git(&["-c", option, "push", "--progress", &url, "main"])
            .succeeded()
            .says("LIVE as deploy 1");
        assert_eq!(clone(&url, &["-c", option]).0.head(), repository.head(), "{option}");
    }
    // A rejected push is read to its end and not reported as a broken connection.
    repository.write("large.bin", large(1 << 24));
    repository.write("greet.rhai", "oops(");
    repository.commit("broken");
    repository.push(&url, &["main"]).refused().says("greet.rhai:1:").says("deploy 1 is still live");
}

#[test]
fn refs_outside_known_namespaces_are_rejected() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let before = repository.git(&["ls-remote", &url]);
    repository.git(&["notes", "add", "-m", "a note", "HEAD"]);
    repository.git(&["tag", "-a", "-m", "release", "v1"]);
    for (refspec, why) in [
        ("refs/notes/commits", "refs/notes/commits (only branches and tags are supported)"),
        ("HEAD:refs/for/main", "only branches and tags are supported"),
        ("HEAD:refs/pull/1/head", "only branches and tags are supported"),
        ("HEAD:refs/picloud/other", "only branches and tags are supported"),
        ("HEAD:refs/one", "funny refname"),
        ("v1:refs/heads/tagged", "v1 is an annotated tag, but a branch must point to a commit: push v1^{}"),
        ("HEAD^{tree}:refs/heads/tree", "a branch must point to a commit, not a tree"),
        ("main:refs/heads/main/below", "conflicts with ref refs/heads/main"),
    ] {
        repository.push(&url, &[refspec]).refused().says(why);
    }
    assert_eq!(repository.git(&["ls-remote", &url]), before);
}

#[test]
fn push_negotiation_works() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(3);
    repository.push(&url, &["main"]).succeeded();
    let head = repository.head();
    let local = repository.commit("local");
    let common = repository.git(&["fetch", "--negotiate-only", "--negotiation-tip=HEAD", &url]);
    assert!(common.contains(&head) && !common.contains(&local), "{common}");
    let pushed = repository.try_git(&["-c", "push.negotiate=true", "push", &url, "main"]).succeeded();
    assert!(!pushed.text.contains("warning"), "{}", pushed.text);
}
