//! A script with a library: deployed, rejected for an error in the library, rolled back to another version of it, and
//! served after a restart.

use tests::{Database, Repository, Server, on_both_databases};

on_both_databases!(library_is_deployed_rejected_rolled_back_and_loaded);

const MANIFEST: &str = "sdk = \"1.3\"\n[[routes]]\npath = \"/{name}\"\nscript = \"page.rhai\"\n";

const SCRIPT: &str = "import \"lib/text\" as text;\n\ntext::greet(ctx.request.params.name)\n";

const LIBRARY: &str =
    "import \"lib/marks\" as marks;\n\nfn greet(name) {\n    \"Hello, \" + name + marks::END\n}\n";

fn library_is_deployed_rejected_rolled_back_and_loaded(database: Database) {
    let mut server = Server::start(database);
    let repository = Repository::hello();
    repository.write("picloud.toml", MANIFEST);
    repository.write("page.rhai", SCRIPT);
    repository.write("lib/text.rhai", LIBRARY);
    repository.write("lib/marks.rhai", "export const END = \"!\";\n");
    repository.write("templates/lost.html", "x");
    repository.commit("a page");
    let url = server.git_url("hello");
    repository
        .push(&url, &["main"])
        .succeeded()
        .says("1 script, 2 libraries, 1 template, sdk 1.3")
        .says("+ lib/text.rhai")
        .says("+ templates/lost.html")
        .says("templates/lost.html  not used by any script or other template")
        .says("LIVE as deploy 1");
    assert_eq!(server.get("/hello/Ann").body, "\"Hello, Ann!\"");

    repository.write("lib/text.rhai", LIBRARY.replace("name + marks::END", "name + marks::EDN"));
    repository.commit("a typo");
    repository
        .push(&url, &["main"])
        .refused()
        .says("lib/text.rhai:4:")
        .says("lib/marks.rhai has no constant `EDN`")
        .says("deploy 1 is still live");
    assert_eq!(server.get("/hello/Ann").body, "\"Hello, Ann!\"");

    repository.write("lib/text.rhai", LIBRARY.replace("Hello", "Good morning"));
    repository.commit("another greeting");
    repository
        .push(&url, &["main"])
        .succeeded()
        .says("~ lib/text.rhai")
        .says("libraries 1 unchanged")
        .says("LIVE as deploy 2");
    assert_eq!(server.get("/hello/Ann").body, "\"Good morning, Ann!\"");

    server.kill();
    server.restart();
    assert_eq!(server.get("/hello/Ann").body, "\"Good morning, Ann!\"");

    repository.push(&server.git_url("hello"), &["-f", "HEAD~2:main"]).succeeded().says("LIVE as deploy 3");
    assert_eq!(server.get("/hello/Ann").body, "\"Hello, Ann!\"");
    server.kill();
    server.restart();
    assert_eq!(server.get("/hello/Ann").body, "\"Hello, Ann!\"");
}
