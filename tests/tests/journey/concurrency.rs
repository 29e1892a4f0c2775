//! Two at once.

use tests::{Database, Repository, Server, on_both_databases};

on_both_databases!(
    of_two_pushes_at_once_one_is_told_why_it_lost,
    pushes_to_different_apps_do_not_disturb_each_other
);

fn of_two_pushes_at_once_one_is_told_why_it_lost(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let base = Repository::hello();
    base.push(&url, &["main"]).succeeded();
    for round in 0..5 {
        let (left, right) = (Repository::clone_of(&url), Repository::clone_of(&url));
        for (repository, name) in [(&left, "left"), (&right, "right")] {
            repository.write("greet.rhai", format!("`{name} {round}`"));
            // Both files change, so that a mixture of the two would show.
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
        let told = ["another push was first", "fetch first", "rejected"];
        assert!(told.iter().any(|words| loser.text.contains(words)), "{}", loser.text);
        let live = server.get("/hello/greet/Ann");
        assert_eq!(live.header("picloud-revision"), Some(winner.head().as_str()));
        let name = if winner.path() == left.path() { "left" } else { "right" };
        assert_eq!(live.body, format!("\"{name} {round}\""));
        assert_eq!(Repository::clone_of(&url).head(), winner.head());
    }
    let deploys = base.git(&["ls-remote", &url, "refs/deploys/*"]);
    assert_eq!(deploys.lines().count(), 6, "one deploy a round: {deploys}");
}

fn pushes_to_different_apps_do_not_disturb_each_other(database: Database) {
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
