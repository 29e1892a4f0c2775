//! Protected production branches.

use tests::{Database, Repository, Server, on_both_databases};

use super::{cli, cli_as, token, url};

on_both_databases!(protected_branch_accepts_only_fast_forwards);

fn protected_branch_accepts_only_fast_forwards(database: Database) {
    let server = Server::start(database);
    let repository = Repository::hello();
    let ci = token(&server, "ci", &["hello:deploy,create"]);
    let url_of_ci = url(&server, &ci, "hello");
    repository.push(&url_of_ci, &["main"]).succeeded();
    let first = repository.head();
    for number in 2..=4 {
        repository.write("greet.rhai", number.to_string());
        repository.commit("forward");
    }
    repository.push(&url_of_ci, &["main"]).succeeded().says("LIVE as deploy 2");
    repository.push(&url_of_ci, &["-f", &format!("{first}:main")]).succeeded().says("LIVE as deploy 3");
    repository.push(&url_of_ci, &["main"]).succeeded().says("LIVE as deploy 4");

    cli_as(&server, &ci, &["apps", "protect", "--app", "hello"]).refused().says("it needs the scope admin");
    cli(&server, &["apps", "protect", "--app", "hello"])
        .succeeded()
        .says("the production branch of hello is protected; force-pushes require the scope hello:force");
    cli(&server, &["apps"]).succeeded().says("main (protected)");
    let held = "(the branch is protected and the push is not a fast-forward; merge the live commit first, or push with a token \
                that has the scope hello:force)";
    repository.push(&url_of_ci, &["-f", &format!("{first}:main")]).refused().says(held);
    assert_eq!(server.get("/hello/greet/Ann").body, "4");
    let unrelated = Repository::hello();
    unrelated.write("greet.rhai", "9");
    unrelated.commit("from elsewhere");
    unrelated.push(&url_of_ci, &["-f", "main"]).refused().says(held);
    // Fast-forwards are accepted, also over a merge, and previews can be forced.
    repository.git(&["checkout", "-q", "-b", "side", &first]);
    repository.write("more.rhai", "1");
    repository.commit("another");
    repository.git(&["checkout", "-q", "main"]);
    repository.git(&["merge", "-q", "--no-edit", "side"]);
    repository.push(&url_of_ci, &["main"]).succeeded().says("LIVE as deploy 5");
    repository
        .push(&url_of_ci, &[&format!("{first}:refs/heads/try")])
        .succeeded()
        .says("PREVIEW as deploy 6");
    repository.push(&url_of_ci, &["-f", "main:try"]).succeeded();
    repository.push(&url_of_ci, &["-f", &format!("{first}:try")]).succeeded();

    let keeper = token(&server, "keeper", &["hello:deploy,force"]);
    let rollback = format!("{first}:main");
    repository.push(&url(&server, &keeper, "hello"), &["-f", &rollback]).succeeded().says("LIVE as deploy 9");
    cli(&server, &["apps", "unprotect", "--app", "hello"])
        .succeeded()
        .says("the production branch of hello is not protected any more");
    repository.push(&url_of_ci, &["main"]).succeeded();
    repository.push(&url_of_ci, &["-f", &rollback]).succeeded().says("LIVE as deploy 11");
}
