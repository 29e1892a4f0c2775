//! Custom domains of apps: verification, routing, and the names for which a proxy can get certificates.

use serde_json::Value;
use tests::{Database, Dns, Repository, Response, Server, TOKEN, on_both_databases};

use crate::access::{api, cli, cli_as, token, url};

on_both_databases!(
    verified_domain_belongs_to_one_app_until_removed,
    domain_of_deleted_app_is_free_and_restored_with_it,
);

fn app(domains: &str) -> Repository {
    let repository = Repository::new();
    name(&repository, domains);
    repository
}

fn name(repository: &Repository, domains: &str) {
    let route = "[[routes]]\npath = \"/{*rest}\"\nscript = \"a.rhai\"\n";
    repository.write("picloud.toml", format!("sdk = \"1.1\"\n[app]\ndomains = [{domains}]\n{route}"));
    repository.write("a.rhai", "#{ script: true, headers: ctx.request.headers }");
    repository.commit("domains");
}

fn at(server: &Server, host: &str) -> Response {
    server.request("GET", "/", &[("host", host)], None)
}

/// The commit that serves a host, if an app does.
fn live_commit(server: &Server, host: &str) -> Option<String> {
    at(server, host).header("picloud-revision").map(str::to_owned)
}

fn allowed(server: &Server, name: &str) -> u16 {
    server.get(&format!("/-/api/v1/tls-allowed?domain={name}")).status
}

/// A domain of an app, from the API.
fn domain_json(server: &Server, app: &str, domain: &str) -> Value {
    let listed = api(server, TOKEN, "GET", &format!("apps/{app}/domains"), None).json();
    let domains = listed["domains"].as_array().expect("domains").clone();
    domains.into_iter().find(|found| found["name"] == domain).unwrap_or_default()
}

/// Sets the DNS record that verifies a domain for an app.
fn add_dns_proof(dns: &Dns, server: &Server, app: &str, domain: &str) {
    let record = domain_json(server, app, domain)["record"].clone();
    dns.set(record["name"].as_str().expect("a name"), record["value"].as_str().expect("a value"));
}

fn verified_domain_belongs_to_one_app_until_removed(database: Database) {
    let dns = Dns::start();
    let mut server = Server::start_with(database, &["--dns-server", &dns.address.to_string()]);
    let first = app(r#""a.example", "shop.example""#);
    let pushed = first.push(&server.git_url("first"), &["main"]).succeeded();
    pushed
        .says("LIVE as deploy 1")
        .says("+ shop.example")
        .says("domain pending: shop.example")
        .says("_picloud-challenge.shop.example  TXT  \"picloud-domain=")
        .says("picloud domains verify shop.example");
    assert_eq!((live_commit(&server, "shop.example"), allowed(&server, "shop.example")), (None, 404));
    cli(&server, &["domains", "verify", "shop.example", "--app", "first"])
        .refused()
        .says("DNS has no TXT record _picloud-challenge.shop.example");
    cli(&server, &["domains", "verify", "other.example", "--app", "first"])
        .refused()
        .says("the manifest of production does not claim this domain");

    // Another app can declare the domain too; the first verified app gets it, independent of order.
    let second = app(r#""shop.example""#);
    second.push(&server.git_url("second"), &["main"]).succeeded().says("domain pending: shop.example");
    add_dns_proof(&dns, &server, "first", "shop.example");
    cli(&server, &["domains", "verify", "shop.example", "--app", "second"]).refused().says("no TXT record");
    cli(&server, &["domains", "verify", "shop.example", "--app", "first"]).succeeded();
    for host in ["shop.example", "Shop.Example:8080", "shop.example."] {
        assert_eq!(live_commit(&server, host), Some(first.head()), "{host}");
    }
    assert_eq!((allowed(&server, "shop.example"), allowed(&server, "a.example")), (200, 404));
    cli(&server, &["domains", "list", "--app", "first"])
        .succeeded()
        .says("shop.example  live     dns")
        .says("a.example     pending  -");

    // A token without access to the other app does not learn its name.
    name(&second, r#""shop.example", "b.example""#);
    second
        .push(&server.git_url("second"), &["main"])
        .refused()
        .says("error: picloud.toml:3:12  domain `shop.example` belongs to app first")
        .says("3 | domains = [\"shop.example\"")
        .says("1 problem in 1 file; nothing changed");
    let seconds = token(&server, "seconds", &["second:deploy,read,preview"]);
    for refspec in ["main", "HEAD:refs/picloud/check"] {
        let refused = second.push(&url(&server, &seconds, "second"), &[refspec]).refused();
        assert!(!refused.text.contains("first"), "{}", refused.text);
        refused.says("domain `shop.example` belongs to another app");
    }
    second.push(&server.git_url("second"), &["main:next"]).succeeded().says("PREVIEW");

    // A verified domain is kept while production does not declare it, and a rollback restores it.
    name(&first, r#""a.example""#);
    first.push(&server.git_url("first"), &["main"]).succeeded().says("- shop.example");
    assert_eq!((live_commit(&server, "shop.example"), allowed(&server, "shop.example")), (None, 404));
    second.push(&server.git_url("second"), &["main"]).refused();
    cli(&server, &["rollback", "--app", "first"]).succeeded();
    assert_eq!(live_commit(&server, "shop.example").as_ref(), Some(&first.git(&["rev-parse", "main~1"])));

    // Once released, the domain belongs to the other app after verification. A push checks DNS too.
    cli(&server, &["domains", "release", "shop.example", "--app", "first"]).succeeded();
    assert_eq!(live_commit(&server, "shop.example"), None);
    add_dns_proof(&dns, &server, "second", "shop.example");
    let pushed = second.push(&server.git_url("second"), &["main"]).succeeded();
    assert!(!pushed.text.contains("domain pending: shop.example"), "{}", pushed.text);
    pushed.says("domain pending: b.example");
    assert_eq!(live_commit(&server, "shop.example"), Some(second.head()));
    cli(&server, &["domains", "verify", "shop.example", "--app", "first"]).refused();

    server.kill();
    server.restart();
    assert_eq!(live_commit(&server, "shop.example"), Some(second.head()));
    assert_eq!(domain_json(&server, "second", "shop.example")["proven_by"], "ada");
    cli(&server, &["audit", "--app", "second"]).succeeded().says("domain.hold").says("shop.example");
    cli(&server, &["audit", "--app", "first"]).succeeded().says("domain.release");
}

fn domain_of_deleted_app_is_free_and_restored_with_it(database: Database) {
    let server = Server::start(database);
    let first = app(r#""shop.example""#);
    first.push(&server.git_url("first"), &["main"]).succeeded();
    cli(&server, &["domains", "approve", "shop.example", "--app", "first"]).succeeded();
    assert_eq!(live_commit(&server, "shop.example"), Some(first.head()));
    cli(&server, &["apps", "delete", "first", "--yes"]).succeeded();
    assert_eq!(live_commit(&server, "shop.example"), None);
    // A new app of the same name does not get the domain.
    first.push(&server.git_url("first"), &["main"]).succeeded().says("domain pending: shop.example");
    cli(&server, &["apps", "undelete", "first", "--as", "old"]).succeeded();
    assert_eq!(domain_json(&server, "old", "shop.example")["proof"], "admin");
    assert_eq!(domain_json(&server, "first", "shop.example")["state"], "pending");
    assert_eq!(live_commit(&server, "shop.example"), Some(first.head()));

    // If another app has the domain by now, it is not restored.
    cli(&server, &["apps", "delete", "old", "--yes"]).succeeded();
    cli(&server, &["domains", "approve", "shop.example", "--app", "first"]).succeeded();
    cli(&server, &["apps", "undelete", "old"]).refused().says("domain shop.example belongs to another app");
}

#[test]
fn domain_is_verified_by_deployer_and_approved_by_admin() {
    let server = Server::start(Database::sqlite());
    app(r#""shop.example""#).push(&server.git_url("shop"), &["main"]).succeeded();
    let deploys = token(&server, "deploys", &["shop:deploy,read"]);
    let reads = token(&server, "reads", &["shop:read"]);
    let other = token(&server, "other", &["other:deploy,read"]);
    let act = |token: &str, act: &str| {
        api(&server, token, "POST", &format!("apps/shop/domains/shop.example/{act}"), None).status
    };
    assert_eq!((act(&deploys, "approve"), act(&reads, "verify"), act(&reads, "release")), (403, 403, 403));
    assert_eq!((act(&other, "approve"), act(&other, "verify"), act(&other, "release")), (403, 404, 404));
    assert_eq!(api(&server, &other, "GET", "apps/shop/domains", None).status, 404);
    assert_eq!(live_commit(&server, "shop.example"), None);
    assert_eq!(act(TOKEN, "approve"), 200);
    assert!(live_commit(&server, "shop.example").is_some());
    assert_eq!(
        (act(&deploys, "verify"), act(&deploys, "release"), act(&deploys, "release")),
        (200, 200, 404)
    );
    cli_as(&server, &reads, &["domains", "list", "--app", "shop"]).succeeded().says("pending");
}

/// A malicious app tries to claim a server name: its script would get the admin's next request with the token.
#[test]
fn app_cannot_claim_a_server_name() {
    // A state that an earlier version allowed: the app has the name, and `--server-names` does not list it.
    let mut server = Server::start_with(Database::sqlite(), &["--domain-verification", "off"]);
    let evil = app(r#""pi.local""#);
    evil.push(&server.git_url("evil"), &["main"]).succeeded();
    Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
    let bearer = format!("Bearer {TOKEN}");
    let api = |server: &Server, path: &str| {
        server.request("GET", path, &[("host", "pi.local"), ("authorization", &bearer)], None)
    };
    let reserved =
        ["/-/api/v1/apps", "/-/", "/-", "//-/api/v1/apps", "/hello.git/info/refs?service=git-receive-pack"];
    for path in reserved {
        let response = api(&server, path);
        assert_eq!(
            (response.status, response.header("picloud-revision")),
            (404, None),
            "{path}: {}",
            response.body
        );
        assert!(!response.body.contains(TOKEN), "{path}: {}", response.body);
    }
    assert_eq!(live_commit(&server, "pi.local"), Some(evil.head()), "the app serves all other paths");

    server.kill();
    server.restart_with(&[
        "--server-names",
        "pi.local,cloud.lan",
        "--public-url",
        "http://pi.example.com:8080/",
    ]);
    assert_eq!(live_commit(&server, "pi.local"), None);
    assert_eq!(api(&server, "/-/api/v1/apps").status, 200);
    assert_eq!(api(&server, reserved[4]).status, 200);
    for name in ["pi.local", "cloud.lan", "pi.example.com"] {
        let refused = app(&format!("\"{name}\"")).push(&server.git_url("other"), &["main"]).refused();
        refused.says(&format!("picloud.toml:3:12  domain `{name}` belongs to this server"));
        let path = format!("apps/evil/domains/{name}/approve");
        let response = crate::access::api(&server, TOKEN, "POST", &path, None);
        assert!(matches!(response.status, 404 | 409), "{name}: {response:?}");
    }
    // Nor can the domain be approved by a request to that name.
    app(r#""other.lan""#).push(&server.git_url("other"), &["main"]).succeeded();
    let approve = "/-/api/v1/apps/other/domains/other.lan/approve";
    let by = |host: &str| {
        let headers = [("host", host), ("authorization", bearer.as_str())];
        server.request("POST", approve, &headers, Some(b"")).status
    };
    assert_eq!((by("other.lan:8080"), by("OTHER.lan"), by("pi.local")), (409, 409, 200));
}

/// Without other settings, the hostname of the machine is a server name.
#[test]
fn hostname_of_machine_is_a_server_name() {
    let server = Server::start_with(Database::sqlite(), &["--domain-verification", "off"]);
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_ascii_lowercase();
    let refused = app(&format!("\"{machine}.local\"")).push(&server.git_url("evil"), &["main"]).refused();
    refused.says("belongs to this server: its API and repositories are served there");
}

#[test]
fn certificates_are_allowed_for_served_names_only() {
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
    assert_eq!(allowed(&server, "shop.example"), 404, "the domain is pending");
    let (bearer, approve) = (format!("Bearer {TOKEN}"), "/-/api/v1/apps/hello/domains/shop.example/approve");
    let headers = [("host", "pi.test"), ("authorization", bearer.as_str())];
    assert_eq!(server.request("POST", approve, &headers, Some(b"")).status, 200);
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
    // Requests by IP address get what a proxy needs, and a hint with the domain.
    assert_eq!(server.get("/-/health/ready").status, 200);
    assert_eq!(server.get("/-/api/v1/apps").status, 421);
    assert_eq!(at(&server, "pi.test").status, 200);
}

#[test]
fn app_cannot_claim_the_server_domain() {
    let server = Server::start_with(Database::sqlite(), &["--domain", "pi.test"]);
    let repository = app(r#""shop.example", "pi.test", "a.pi.test""#);
    let port = server.address.rsplit_once(':').unwrap().1;
    let resolve = format!("http.curloptResolve=pi.test:{port}:127.0.0.1");
    let url = format!("http://ada:{}@pi.test:{port}/hello.git", tests::TOKEN);
    let refused = repository.try_git(&["-c", &resolve, "push", &url, "main"]).refused();
    refused
        .says("picloud.toml:3:28  domain `pi.test` belongs to this server")
        .says("picloud.toml:3:39  domain `a.pi.test`");
}

/// Certificate authorities limit certificates per domain and week: previews do not use up those of production.
#[test]
fn preview_certificates_per_week_are_limited() {
    let flags = ["--domain", "pi.test", "--preview-certificates-per-week", "5"];
    let mut server = Server::start_with(Database::sqlite(), &flags);
    let push = |server: &Server, app: &str, refspecs: &[&str]| {
        let port = server.address.rsplit_once(':').unwrap().1;
        let resolve = format!("http.curloptResolve=pi.test:{port}:127.0.0.1");
        let url = format!("http://ada:{TOKEN}@pi.test:{port}/{app}.git");
        let repository = Repository::hello();
        repository.try_git(&[&["-c", &resolve, "push", &url], refspecs].concat()).succeeded();
    };
    let previews = ["main", "main:a", "main:b", "main:c", "main:d"];
    for app in ["one", "two", "three"] {
        push(&server, app, &previews);
    }
    // At most two for one app and five in all; repeated requests get the same response.
    for _ in 0..2 {
        for (name, status) in [
            ("a--one", 200),
            ("B--one", 200),
            ("c--one", 429),
            ("d--one", 429),
            ("a--two", 200),
            ("b--two", 200),
            ("c--two", 429),
            ("a--three", 200),
            ("b--three", 429),
            ("x--three", 404),
        ] {
            assert_eq!(allowed(&server, &format!("{name}.pi.test")), status, "{name}");
        }
    }
    for name in ["pi.test", "one.pi.test", "two.pi.test", "three.pi.test"] {
        assert_eq!(allowed(&server, name), 200, "{name}: production is not counted");
    }
    let bearer = format!("Bearer {TOKEN}");
    let status =
        server.request("GET", "/-/api/v1/status", &[("host", "pi.test"), ("authorization", &bearer)], None);
    assert!(status.body.contains("preview_without_certificate"), "{}", status.body);
    assert!(server.log().contains("certificate for a preview rejected"), "{}", server.log());

    // Granted certificates stay allowed, since they are renewed.
    server.kill();
    server.restart();
    assert_eq!((allowed(&server, "a--one.pi.test"), allowed(&server, "c--one.pi.test")), (200, 429));
}
