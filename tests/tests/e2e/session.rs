//! Console sessions: the full output of `git push` and of the client commands, as snapshots.
//!
//! `INSTA_UPDATE=always tests/with-postgres cargo test -p tests --test e2e session::` accepts changed output.

use std::process::Command;

use insta::{Settings, assert_snapshot};
use tests::repository::environment;
use tests::server::picloud;
use tests::{Database, Repository, Server, TOKEN, until};

/// Patterns of output that differs between runs, and their replacements. Commit ids are the same in every run.
const FILTERS: [(&str, &str); 14] = [
    (r"127\.0\.0\.1:\d+", "127.0.0.1:8080"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[id]"),
    (r"pcl_\w+", "[token]"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?", "[time]"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", "[minute]"),
    (r"\d\d:\d\d:\d\d(\.\d+)?", "[time]"),
    (r"(?m)  +\d+(\.\d+)? (ms|µs|s)$", "  [duration]"),
    (r"  +\d+(\.\d+)? (ms|µs|s)  +", "  [duration]  "),
    (r"\d+(\.\d+)? (ms|µs|s)\b", "[duration]"),
    (r"\d+(\.\d+)? (B|KiB|MiB|GiB)\b", "[size]"),
    (r"picloud \d+\.\d+\.\d+", "picloud [version]"),
    (r"\b\d{4}[a-z]\b", "[tzdata]"),
    (r"\d+(\.\d+)?%", "[percent]"),
    (r"/tmp/[^\s'`]+", "[folder]"),
];

/// git's progress on a terminal, which is not part of the session.
const PROGRESS: [&str; 7] = [
    "Enumerating objects",
    "Counting objects",
    "Delta compression",
    "Compressing objects",
    "Writing objects",
    "Total ",
    "Resolving deltas",
];

const MANIFEST: &str = r#"sdk = "1.2"

[[routes]]
path = "/greet/{name}"
methods = ["GET"]
script = "greet.rhai"

[[routes]]
path = "/fail"
script = "fail.rhai"

[[functions]]
name = "double"
script = "double.rhai"

[[schedules]]
name = "tick"
cron = "0 0 1 1 *"
script = "tick.rhai"
"#;

const GREET: &str =
    "log::info(`greeting ${ctx.request.params.name}`);\n`Hello, ${ctx.request.params.name}`\n";

/// A shell in the repository of an app, and everything that it has printed.
struct Console {
    server: Server,
    repository: Repository,
    transcript: String,
}

impl Console {
    /// A node, and a repository with a committed app and the remote `picloud`.
    fn new() -> Self {
        let server = Server::start_with(Database::sqlite(), &["--node-name", "pi"]);
        let repository = Repository::new();
        repository.write("picloud.toml", MANIFEST);
        repository.write("greet.rhai", GREET);
        repository
            .write("fail.rhai", "let stock = #{ flour: 0 };\nif stock.flour == 0 { throw \"no flour\"; }\n");
        repository.write("double.rhai", "ctx.request.body.n * 2\n");
        repository.write("tick.rhai", "log::info(\"tick\");\n");
        let helper = format!("!f() {{ printf 'username=ada\\npassword={TOKEN}\\n'; }}; f");
        repository.git(&["config", "credential.helper", &helper]);
        repository.git(&["remote", "add", "picloud", &format!("http://{}/hello.git", server.address)]);
        let console = Self { server, repository, transcript: String::new() };
        console.commit("first version");
        console
    }

    /// The same with the app live.
    fn live() -> Self {
        let console = Self::new();
        console.hidden("git push -q picloud main");
        console
    }

    fn commit(&self, message: &str) {
        self.hidden(&format!("git add -A && git commit -q -m '{message}'"));
    }

    /// Commits another greeting.
    fn change_greeting(&self, greeting: &str) {
        self.repository.write("greet.rhai", GREET.replace("Hello", greeting));
        self.commit(&format!("say {greeting}"));
    }

    /// Runs a command that must succeed and is not part of the session.
    #[track_caller]
    fn hidden(&self, line: &str) -> String {
        let (code, output) = self.shell(line);
        assert_eq!(code, Some(0), "{line}: {output}");
        output
    }

    /// Runs a command as if on a terminal, and adds it and its output to the session.
    fn run(&mut self, line: &str) {
        let (code, output) = self.shell(line);
        let code = code.filter(|code| *code != 0).map(|code| format!("[exit code {code}]\n"));
        self.transcript += &format!("$ {line}\n{output}{}\n", code.unwrap_or_default());
    }

    /// Calls the app.
    fn request(&mut self, path: &str) {
        self.run(&format!("curl -s http://{}{path}; echo", self.server.address));
    }

    /// Waits until so many executions are recorded.
    fn wait_for_executions(&self, count: usize) {
        until("the executions are recorded", || {
            (self.hidden("picloud executions --json").matches("\"id\"").count() == count).then_some(())
        });
    }

    fn shell(&self, line: &str) -> (Option<i32>, String) {
        let line = line.replace("git push picloud", "git push --progress picloud");
        let line = line.replace("git push --force", "git push --progress --force");
        let mut command = Command::new("sh");
        environment(&mut command, self.repository.path());
        let own = picloud().parent().expect("a folder").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let date = "2026-01-05T09:00:00Z";
        let output = command
            .args(["-c", &format!("exec 2>&1\n{line}")])
            .current_dir(self.repository.path())
            .env("PATH", format!("{own}:{path}"))
            .env("TZ", "UTC")
            .envs([("GIT_AUTHOR_DATE", date), ("GIT_COMMITTER_DATE", date)])
            .output()
            .expect("sh");
        let text = String::from_utf8(output.stdout).expect("text");
        let lines = text.split(['\n', '\r']).map(str::trim_end);
        let shown = lines.filter(|line| !PROGRESS.iter().any(|progress| line.starts_with(progress)));
        let shown: Vec<&str> = shown.collect();
        let shown = shown.join("\n");
        (output.status.code(), if text.ends_with('\n') { shown } else { shown + "\n" })
    }

    /// Compares the session with its snapshot.
    fn assert_session(&self, name: &str) {
        let mut settings = Settings::clone_current();
        settings.set_omit_expression(true);
        FILTERS.iter().for_each(|(pattern, replacement)| settings.add_filter(pattern, *replacement));
        settings.bind(|| assert_snapshot!(name, self.transcript));
    }
}

#[test]
fn push_goes_live() {
    let mut console = Console::new();
    console.run("git push picloud main");
    console.request("/hello/greet/Ann");
    console.change_greeting("Hi");
    console.run("git push picloud main");
    console.request("/hello/greet/Ann");
    console.run("git push picloud main");
    console.assert_session("push_goes_live");
}

#[test]
fn rejected_push_reports_all_errors() {
    let mut console = Console::live();
    console.repository.write("greet.rhai", "let name = ctx.request.parms.name;\nlgo::info(name);\n");
    console.repository.write("tick.rhai", "log::info(\"tick\"\n");
    console.commit("broken");
    console.run("git push picloud main");
    console.request("/hello/greet/Ann");
    console.assert_session("rejected_push_reports_all_errors");
}

#[test]
fn push_to_a_branch_creates_a_preview() {
    let mut console = Console::live();
    console.hidden("git checkout -q -b feature");
    console.change_greeting("Hey");
    console.run("git push picloud feature");
    console.request("/hello@feature/greet/Ann");
    console.run("picloud previews");
    console.run("git push picloud --delete feature");
    console.assert_session("push_to_a_branch_creates_a_preview");
}

#[test]
fn rollback_is_a_push_or_a_command() {
    let mut console = Console::live();
    console.change_greeting("Hi");
    console.hidden("git push -q picloud main");
    console.run("git push --force picloud HEAD~1:main");
    console.request("/hello/greet/Ann");
    console.run("picloud rollback 2");
    console.run("picloud rollback");
    console.run("picloud deploys");
    console.assert_session("rollback_is_a_push_or_a_command");
}

#[test]
fn push_to_a_protected_branch_is_rejected() {
    let mut console = Console::live();
    console.change_greeting("Hi");
    console.hidden("git push -q picloud main");
    console.run("picloud apps protect");
    let created = console.hidden("picloud tokens create ci --scope hello:deploy,read");
    let token = created.split_whitespace().find(|word| word.starts_with("pcl_")).expect("a token");
    let helper = format!("!f() {{ printf 'username=ci\\npassword={token}\\n'; }}; f");
    console.repository.git(&["config", "credential.helper", &helper]);
    console.run("git push --force picloud HEAD~1:main");
    console.assert_session("push_to_a_protected_branch_is_rejected");
}

#[test]
fn check_reports_errors_before_the_push() {
    let mut console = Console::new();
    console.run("picloud check");
    console.repository.write("greet.rhai", "lgo::info(\"hi\");\n");
    console.run("picloud check");
    console.assert_session("check_reports_errors_before_the_push");
}

#[test]
fn apps_routes_and_status_are_listed() {
    let mut console = Console::live();
    console.run("picloud apps");
    console.run("picloud routes");
    console.run("picloud status");
    console.run("picloud apps stop hello");
    console.run("picloud apps");
    console.run("picloud apps start hello");
    console.assert_session("apps_routes_and_status_are_listed");
}

#[test]
fn executions_and_logs_are_listed() {
    let mut console = Console::live();
    console.request("/hello/greet/Ann");
    console.wait_for_executions(1);
    console.hidden(&format!("curl -s http://{}/hello/fail", console.server.address));
    console.wait_for_executions(2);
    console.run("picloud invoke double --data '{\"n\": 21}'");
    console.wait_for_executions(3);
    console.run("picloud executions");
    console.run("picloud logs");
    console.run("picloud logs --level error");
    console.assert_session("executions_and_logs_are_listed");
}

#[test]
fn schedules_are_run_and_paused() {
    let mut console = Console::live();
    console.run("picloud schedules");
    console.run("picloud run tick");
    console.run("picloud pause tick");
    console.run("picloud schedules");
    console.run("picloud resume tick");
    console.assert_session("schedules_are_run_and_paused");
}

#[test]
fn secrets_and_tokens_are_managed() {
    let mut console = Console::live();
    console.run("printf 'correct horse battery' | picloud secrets set API_KEY");
    console.run("picloud secrets list");
    console.run("picloud secrets unset API_KEY");
    console.run("picloud tokens create ci --scope hello:deploy,read");
    console.run("picloud tokens list");
    console.run("picloud tokens revoke ci");
    console.assert_session("secrets_and_tokens_are_managed");
}
