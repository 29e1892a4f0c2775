//! A site with a layout: pages from templates of the commit, faults of templates in a push, and a rollback.

use tests::{Database, Repository, Server, on_both_databases};

on_both_databases!(page_from_templates_is_served_rejected_and_rolled_back);

const MANIFEST: &str = "sdk = \"1.3\"\n[[routes]]\npath = \"/{name}\"\nscript = \"page.rhai\"\n";

const SCRIPT: &str = "#{ statusCode: 200, headers: #{ \"content-type\": \"text/html\" }, \
                      body: html::render(\"page.html\", #{ name: ctx.request.params.name }) }";

fn page_from_templates_is_served_rejected_and_rolled_back(database: Database) {
    let server = Server::start(database);
    let repository = Repository::hello();
    repository.write("picloud.toml", MANIFEST);
    repository.write("page.rhai", SCRIPT);
    repository.write("templates/layout.html", "<title>{% block title %}{% endblock %}</title>");
    repository.write(
        "templates/page.html",
        "{% extends \"layout.html\" %}\n{% block title %}Hello, {{ name }}{% endblock %}\n",
    );
    repository.commit("a page");
    let url = server.git_url("hello");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 1");
    assert_eq!(server.get("/hello/%3CAnn%3E").body, "<title>Hello, &lt;Ann&gt;</title>");

    repository.write(
        "templates/page.html",
        "{% extends \"layout.html\" %}\n{% block title %}Hello, {{ name|uper }}{% endblock %}\n",
    );
    repository.commit("a typo");
    repository
        .push(&url, &["main"])
        .refused()
        .says("templates/page.html:2:33")
        .says("unknown filter `uper`")
        .says("did you mean `upper`?");
    assert_eq!(server.get("/hello/Ann").body, "<title>Hello, Ann</title>");

    repository.write(
        "templates/page.html",
        "{% extends \"layout.html\" %}\n{% block title %}Hello, {{ name|upper }}{% endblock %}\n",
    );
    repository.commit("upper case");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 2");
    assert_eq!(server.get("/hello/Ann").body, "<title>Hello, ANN</title>");
    repository.push(&url, &["-f", "HEAD~2:main"]).succeeded().says("LIVE as deploy 3");
    assert_eq!(server.get("/hello/Ann").body, "<title>Hello, Ann</title>");
}
