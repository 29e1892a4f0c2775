//! Concurrent pushes.

use std::sync::Barrier;

use tests::repository::CommandOutput;
use tests::{Database, Repository, Server, on_both_databases};

on_both_databases!(
    loser_of_two_concurrent_pushes_gets_the_reason,
    concurrent_pushes_to_different_apps_succeed,
    two_hundred_concurrent_pushes_to_one_app_are_atomic,
    two_hundred_concurrent_pushes_to_as_many_apps_succeed
);

/// Starts `count` pushes at the same time, each with its own refspec and URL, and waits for all.
fn push_concurrently(
    repository: &Repository,
    count: usize,
    what: impl Fn(usize) -> (String, String) + Sync,
) -> Vec<CommandOutput> {
    let start = Barrier::new(count);
    let push = |number: usize| {
        let (url, refspec) = what(number);
        start.wait();
        repository.push(&url, &[&refspec])
    };
    let push = &push;
    std::thread::scope(|scope| {
        let pushes: Vec<_> = (0..count).map(|number| scope.spawn(move || push(number))).collect();
        pushes.into_iter().map(|push| push.join().unwrap()).collect()
    })
}

fn two_hundred_concurrent_pushes_to_one_app_are_atomic(database: Database) {
    let server = Server::start_with(database, &["--app-previews", "200"]);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let base = repository.head();
    // A hundred children of one commit for production, of which one can win, and a hundred branches, which can all win.
    let child = |number: usize| {
        let tree = repository.git(&["rev-parse", "HEAD^{tree}"]);
        repository.git(&["commit-tree", &tree, "-p", &base, "-m", &number.to_string()])
    };
    let children: Vec<String> = (0..100).map(child).collect();
    let pushed = push_concurrently(&repository, 200, |number| {
        let branch = if number < 100 { "main".to_owned() } else { format!("b{number}") };
        (url.clone(), format!("{}:refs/heads/{branch}", children[number % 100]))
    });
    let (to_main, to_branches) = pushed.split_at(100);
    assert!(to_main.iter().any(|push| push.accepted), "{}", to_main[0].text);
    let reasons =
        ["a concurrent push came first", "fetch first", "non-fast-forward", "push again in a moment"];
    for push in pushed.iter().filter(|push| !push.accepted) {
        assert!(reasons.iter().any(|expected| push.text.contains(expected)), "{}", push.text);
    }
    let refs = repository.git(&["ls-remote", &url, "refs/heads/*"]);
    let landed = to_branches.iter().filter(|push| push.accepted).count();
    assert_eq!(refs.lines().count(), landed + 1, "reported outcomes match the refs");
    let live = server.get("/hello/greet/Ann");
    assert!(
        refs.contains(&format!("{}\trefs/heads/main", live.header("picloud-revision").unwrap())),
        "{refs}"
    );
    let deploys = repository.git(&["ls-remote", &url, "refs/deploys/*"]);
    assert_eq!(deploys.lines().count(), 1 + pushed.iter().filter(|push| push.accepted).count());
}

fn two_hundred_concurrent_pushes_to_as_many_apps_succeed(database: Database) {
    let server = Server::start(database);
    let repository = Repository::hello();
    let url = |number: usize| server.git_url(&format!("app-{number}"));
    let pushed = push_concurrently(&repository, 200, |number| (url(number), "main".to_owned()));
    for (number, push) in pushed.into_iter().enumerate() {
        push.succeeded().says("LIVE as deploy 1");
        assert_eq!(server.get(&format!("/app-{number}/greet/x")).status, 200);
    }
}

fn loser_of_two_concurrent_pushes_gets_the_reason(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let base = Repository::hello();
    base.push(&url, &["main"]).succeeded();
    for round in 0..5 {
        let (left, right) = (Repository::clone_of(&url), Repository::clone_of(&url));
        for (repository, name) in [(&left, "left"), (&right, "right")] {
            repository.write("greet.rhai", format!("`{name} {round}`"));
            // Both files change, so that a mixture of two pushes would show.
            repository.write("other.md", name);
            repository.commit(name);
        }
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(|| left.push(&url, &["main"]));
            let two = scope.spawn(|| right.push(&url, &["main"]));
            (one.join().unwrap(), two.join().unwrap())
        });
        assert!(one.accepted ^ two.accepted, "{}\n{}", one.text, two.text);
        let (winner, loser) = if one.accepted { (&left, two) } else { (&right, one) };
        let reasons = ["a concurrent push came first", "fetch first", "rejected"];
        assert!(reasons.iter().any(|expected| loser.text.contains(expected)), "{}", loser.text);
        let live = server.get("/hello/greet/Ann");
        assert_eq!(live.header("picloud-revision"), Some(winner.head().as_str()));
        let name = if winner.path() == left.path() { "left" } else { "right" };
        assert_eq!(live.body, format!("\"{name} {round}\""));
        assert_eq!(Repository::clone_of(&url).head(), winner.head());
    }
    let deploys = base.git(&["ls-remote", &url, "refs/deploys/*"]);
    assert_eq!(deploys.lines().count(), 6, "one deploy a round: {deploys}");
}

fn concurrent_pushes_to_different_apps_succeed(database: Database) {
    let server = Server::start(database);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let repository = Repository::hello();
                repository.write("greet.rhai", format!("{number}"));
                repository.commit("number");
                repository.push(&server.git_url(&format!("app-{number}")), &["main"]).succeeded();
            });
        }
    });
    for number in 0..8 {
        assert_eq!(server.get(&format!("/app-{number}/greet/x")).body, number.to_string());
    }
}
