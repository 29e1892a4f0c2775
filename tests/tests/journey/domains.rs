//! Domains of apps' own: who has them, who answers there, and for which names a proxy may have certificates.

use tests::{Answer, Database, Repository, Server, on_both_databases};

on_both_databases!(a_domain_is_one_apps_and_goes_over_when_it_is_let_go);

fn app(domains: &str) -> Repository {
    let repository = Repository::new();
    name(&repository, domains);
    repository
}

fn name(repository: &Repository, domains: &str) {
    let route = "[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n";
    repository.write("picloud.toml", format!("sdk = \"1.1\"\n[app]\ndomains = [{domains}]\n{route}"));
    repository.write("a.rhai", "ctx.request.headers.host");
    repository.commit("domains");
}

fn at(server: &Server, host: &str) -> Answer {
    server.request("GET", "/", &[("host", host)], None)
}

fn allowed(server: &Server, name: &str) -> u16 {
    server.get(&format!("/-/api/v1/tls-allowed?domain={name}")).status
}

fn a_domain_is_one_apps_and_goes_over_when_it_is_let_go(database: Database) {
    let mut server = Server::start(database);
    let first = app(r#""a.example", "shop.example""#);
    first.push(&server.git_url("first"), &["main"]).succeeded().says("+ shop.example");
    for host in ["shop.example", "Shop.Example:8080", "a.example."] {
        let answer = at(&server, host);
        assert_eq!((answer.status, answer.json()), (200, host.into()), "{host}");
    }
    assert_eq!(server.request("GET", "/first/", &[("host", "shop.example")], None).status, 404);

    let second = app(r#""shop.example""#);
    let refused = second.push(&server.git_url("second"), &["main"]).refused();
    refused
        .says("error: picloud.toml:3:12  domain `shop.example` is that of the app first")
        .says("3 | domains = [\"shop.example\"]")
        .says("1 problem in 1 file; nothing changed");
    second
        .push(&server.git_url("second"), &["HEAD:refs/picloud/check"])
        .refused()
        .says("is that of the app first");
    second.push(&server.git_url("second"), &["main:next"]).succeeded().says("PREVIEW");

    name(&first, r#""a.example""#);
    first.push(&server.git_url("first"), &["main"]).succeeded().says("- shop.example");
    assert_eq!(allowed(&server, "shop.example"), 404);
    second.push(&server.git_url("second"), &["main"]).succeeded().says("LIVE");
    let revision = second.head();
    assert_eq!(at(&server, "shop.example").header("picloud-revision"), Some(revision.as_str()));
    // An older commit names what is another app's by now.
    let back = first.push(&server.git_url("first"), &["-f", "main~1:main"]).refused();
    back.says("picloud.toml:3:25  domain `shop.example` is that of the app second");

    server.kill();
    server.restart();
    assert_eq!(at(&server, "shop.example").header("picloud-revision"), Some(revision.as_str()));
}

#[test]
fn certificates_are_for_names_at_which_something_is_served() {
    let server = Server::start_with(Database::sqlite(), &["--domain", "pi.test"]);
    let repository = app(r#""shop.example""#);
    let push = |refspec: &str| {
        let token = format!("Authorization: Bearer {}", tests::TOKEN);
        let at = format!("pi.test:{}:127.0.0.1", server.address.rsplit_once(':').unwrap().1);
        let url = format!("http://{}/hello.git", at.trim_end_matches(":127.0.0.1"));
        let (header, resolve) = (format!("http.extraHeader={token}"), format!("http.curloptResolve={at}"));
        repository.try_git(&["-c", &header, "-c", &resolve, "push", &url, refspec]).succeeded();
    };
    push("main");
    push("main:next");
    for name in ["pi.test", "PI.test", "hello.pi.test", "next--hello.pi.test", "shop.example", "Shop.Example"]
    {
        assert_eq!(allowed(&server, name), 200, "{name}");
    }
    let long = "a".repeat(10_000);
    for name in
        ["other.pi.test", "a.hello.pi.test", "other--hello.pi.test", "x.example", "127.0.0.1", "", &long]
    {
        assert_eq!(allowed(&server, name), 404, "{name}");
    }
    assert_eq!(server.get("/-/api/v1/tls-allowed").status, 400);
    // By its address a node tells what a proxy has to know, and nothing else.
    assert_eq!(server.get("/-/health/ready").status, 200);
    assert_eq!(server.get("/-/api/v1/apps").status, 404);
    assert_eq!(at(&server, "pi.test").status, 200);
}

#[test]
fn no_app_has_the_servers_own_domain() {
    let server = Server::start_with(Database::sqlite(), &["--domain", "pi.test"]);
    let repository = app(r#""shop.example", "pi.test", "a.pi.test""#);
    let port = server.address.rsplit_once(':').unwrap().1;
    let resolve = format!("http.curloptResolve=pi.test:{port}:127.0.0.1");
    let url = format!("http://ada:{}@pi.test:{port}/hello.git", tests::TOKEN);
    let refused = repository.try_git(&["-c", &resolve, "push", &url, "main"]).refused();
    refused
        .says("picloud.toml:3:28  domain `pi.test` is this server's")
        .says("picloud.toml:3:39  domain `a.pi.test`");
}
