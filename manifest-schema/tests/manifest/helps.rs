//! Help that holds code is right: put in its span, it leaves one diagnostic fewer, and none that was not there.

use std::collections::BTreeSet;

use manifest_schema::diagnostic::{Diagnostic, Diagnostics};
use manifest_schema::limits::Ceiling;
use manifest_schema::parse::{ParseContext, parse};

const SCRIPTS: [&str; 4] = ["a.rhai", "b.rhai", "jobs/tidy.rhai", "api/users.rhai"];

fn diagnostics(text: &str) -> Diagnostics {
    let scripts: BTreeSet<String> = SCRIPTS.map(str::to_owned).into();
    match parse(text.as_bytes(), ParseContext { ceiling: &Ceiling::DEFAULT, scripts: &scripts }) {
        Ok(parsed) => parsed.warnings,
        Err(refused) => refused.diagnostics,
    }
}

/// What is said, apart from scripts that nothing names: they have no span.
fn said(diagnostics: &Diagnostics) -> Vec<String> {
    let placed = diagnostics.iter().filter(|diagnostic| diagnostic.span.is_some());
    placed.map(|diagnostic| diagnostic.message.clone()).collect()
}

/// The code that a help says to write in the span of what is wrong.
fn code(help: &str) -> Option<&str> {
    let begins = ["write `", "did you mean `", "such as `", "write a place, such as `", "set `"];
    let rest = begins.iter().find_map(|begin| help.strip_prefix(begin))?;
    rest.split_once('`').map(|(code, _)| code)
}

/// `text` with the help of `diagnostic` in its span. A string stays one.
fn helped(text: &str, diagnostic: &Diagnostic) -> Option<String> {
    let (span, help) = (diagnostic.span.as_ref()?, diagnostic.help.as_ref()?);
    let code = code(help)?;
    if help.starts_with("set `") || help.ends_with("in the first line") {
        let rest = text.strip_prefix("sdk = \"1.1\"\n").unwrap_or(text);
        return Some(format!("{code}\n{rest}"));
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = &mut lines[span.line - 1];
    let characters: Vec<char> = line.chars().collect();
    let (before, rest) = characters.split_at(span.column - 1);
    let (wrong, behind) = rest.split_at(span.width.min(rest.len()));
    let is_string = |text: &str| text.starts_with(['"', '\'', '[', '{', ',']) && !text.starts_with("{*");
    let mark = wrong
        .first()
        .copied()
        .filter(|c| matches!(c, '"' | '\''))
        .filter(|_| !is_string(code) && !help.ends_with("without quotation marks"));
    let mark = mark.map(String::from).unwrap_or_default();
    *line = before.iter().collect::<String>() + &mark + code + &mark + &behind.iter().collect::<String>();
    Some(lines.join("\n") + "\n")
}

/// The same, and that there is one at least.
#[track_caller]
fn helps(text: &str) {
    assert!(helps_where_it_holds_code(text), "no help for\n{text}\n{:#?}", said(&diagnostics(text)));
}

/// Asserts that each help of `text` which holds code helps, and says whether there is one.
#[track_caller]
pub(crate) fn helps_where_it_holds_code(text: &str) -> bool {
    let before = diagnostics(text);
    let mut helped_once = false;
    for diagnostic in before.iter() {
        let Some(after) = helped(text, diagnostic) else { continue };
        helped_once = true;
        let (before, after_faults) = (said(&before), said(&diagnostics(&after)));
        let new: Vec<_> = after_faults.iter().filter(|message| !before.contains(message)).collect();
        assert!(
            after_faults.len() < before.len() && new.is_empty(),
            "{text}\n{}: {:?}\nbecomes\n{after}\nwith {after_faults:#?}",
            diagnostic.message,
            diagnostic.help
        );
    }
    helped_once
}

fn route(path: &str) -> String {
    format!("sdk = \"1.2\"\n[[routes]]\npath = {path}\nscript = \"a.rhai\"\n")
}

#[test]
fn of_paths() {
    for path in [
        "/users/:id",
        "/users/:id/posts/:post",
        "/x/<name>",
        "/x/<int:id>",
        "/[id]",
        "/[...slug]",
        "/files/*",
        "/(.*)",
        "/**",
        "greet",
        "GET /greet",
        "https://example.org/greet",
        "",
        "/a//b",
        "/%C3%BC",
        "/a%20b",
        "/x{id}",
        "/{id}.json",
        "/{id:int}",
        "/{...rest}",
        "/{rest...}",
        "/{*}",
        "/{}",
        "/{1a}",
        "/{user-id}",
        "/{ä}",
        "/{a",
        "/{a}/{a}",
        "/{a}/{*a}",
        "/{*a}/b",
        "*",
        "./greet",
    ] {
        helps(&route(&format!("\"{path}\"")));
    }
    helps(&route("'/a\\b'"));
    helps(&route("'/users/:id(\\d+)'"));
    helps(&route("'/a/{id:\\d+}'"));
    for path in ["^/a$", "/a/{rest*}", "/:a-:b", "/a/[:id]", "/users/[id].json"] {
        helps(&route(&format!("\"{path}\"")));
    }
}

#[test]
fn of_methods() {
    for methods in [
        "\"GET\"",
        "\"get\"",
        "\"GET, POST\"",
        "\"get|post\"",
        "[\"get\"]",
        "[\"GET,POST\"]",
        "[GET]",
        "[\"PSOT\"]",
        "[\"GET\" \"POST\"]",
    ] {
        helps(&format!("{}methods = {methods}\n", route("\"/\"")));
    }
    for key in ["method = \"GET\"", "method = [\"GET\"]", "verbs = [\"GET\"]", "methds = [\"GET\"]"] {
        helps(&format!("{}{key}\n", route("\"/\"")));
    }
}

#[test]
fn of_scripts() {
    helps("sdk = \"1.2\"\n[[functions]]\nname = \"f\"\nscript = [\"a.rhai\"]\n");
    for script in [
        "a",
        "./a.rhai",
        "/a.rhai",
        "A.rhai",
        "a.js",
        "a.RHAI",
        "api\\\\users.rhai",
        "api/user.rhai",
        "users.rhai",
        "jobs",
        "api/",
        "src/a.rhai",
        "../a.rhai",
        "jobs/tidy",
    ] {
        helps(&format!("sdk = \"1.2\"\n[[functions]]\nname = \"f\"\nscript = \"{script}\"\n"));
    }
}

fn schedule(cron: &str, zone: &str) -> String {
    format!(
        "sdk = \"1.2\"\n[[schedules]]\nname = \"s\"\nscript = \"a.rhai\"\ncron = \"{cron}\"\ntimezone = \"{zone}\"\n"
    )
}

#[test]
fn of_cron_expressions() {
    for cron in [
        "@every 5m",
        "@every 30s",
        "@every 1h",
        "@every 6h",
        "@every 24h",
        "every 5 minutes",
        "every minute",
        "every hour",
        "every day",
        "5m",
        "@dayly",
        "daily",
        "hourly",
        "@minutely",
        "0 0 12 * * ?",
        "0 0 12 * * ? *",
        "0 12 * * ?",
        "0/5 * * * *",
        "3/10 * * * *",
        "0 9 * * monday",
        "0 9 * * Monday-Friday",
        "0 0 1 january *",
        "0 24 * * *",
        "60 * * * *",
        "12:30",
        "daily at 12:30",
        "0 22-6 * * *",
        "0 0 * * FRIL",
        "0 9 * * 1",
        "",
        "0 0 1-7 * MON",
    ] {
        helps(&schedule(cron, "UTC"));
    }
}

#[test]
fn of_time_zones() {
    for zone in [
        "CEST",
        "PST",
        "PDT",
        "EDT",
        "BST",
        "IST",
        "JST",
        "AEST",
        "MESZ",
        "UTC+2",
        "UTC-8",
        "GMT+2",
        "+02:00",
        "-05:00",
        "+05:30",
        "UTC+0",
        "Z",
        "Berlin",
        "New York",
        "new_york",
        "Europe/berlin",
        "europe/Berln",
        "America/New York",
        "local",
        "W. Europe Standard Time",
        "Pacific Time",
    ] {
        helps(&schedule("0 9 * * *", zone));
    }
}

#[test]
fn of_limits() {
    for limits in [
        "timeout = \"10 hours\"",
        "timeout = \"1m30s\"",
        "timeout = \"5 s\"",
        "timeout = \"5sec\"",
        "timeout = \"1.5s\"",
        "timeout = \"5S\"",
        "timeout = \"30\"",
        "timeout = 5",
        "timeout = 5000",
        "timeout = 1.5",
        "timeout = \"2 minutes\"",
        "timeout = \"1 day\"",
        "memory = 64",
        "memory = \"64MB\"",
        "memory = \"64M\"",
        "memory = \"64 MiB\"",
        "memory = \"64mb\"",
        "memory = \"1.5MiB\"",
        "memory = \"64\"",
        "memory = \"9TB\"",
        "body = \"1m\"",
        "operations = \"1000\"",
        "operations = \"1_000_000\"",
        "concurrency = \"8\"",
        "concurrency = 8.0",
        "timout = \"5s\"",
        "mem = \"64MiB\"",
    ] {
        helps(&format!("sdk = \"1.2\"\n[limits]\n{limits}\n"));
    }
}

#[test]
fn of_the_sdk_and_of_names() {
    for sdk in ["1", "1.2", "\"1\"", "\"2.0\"", "\"1.1.0\"", "\"latest\"", "\"v1.2\"", "\"^1.2\""] {
        helps(&format!("sdk = {sdk}\n"));
    }
    helps("[app]\n");
    for name in ["my job", "1st", "tidy.up", "größe", "@tick"] {
        helps(&format!("sdk = \"1.2\"\n[[functions]]\nname = \"{name}\"\nscript = \"a.rhai\"\n"));
    }
    for table in [
        "[env]\napi_url = \"x\"\n",
        "[env]\nA = 1\n",
        "[env]\nA = true\n",
        "[env]\n\"API-URL\" = \"x\"\n",
        "[secrets]\nrequired = [\"api_key\"]\n",
        "[secrets]\nrequired = \"API_KEY\"\n",
        "[app]\ndomains = \"a.example\"\n",
        "[app]\ndomains = [\"A.example\"]\n",
        "[app]\ndomains = [\"https://a.example/\"]\n",
        "[[app]]\ndescription = \"x\"\n",
    ] {
        helps(&format!("sdk = \"1.2\"\n{table}"));
    }
    helps("sdk = \"1.1\"\n[env]\nA = \"x\"\n");
    helps("sdk = \"1.2\"\nroutes = { path = \"/\", script = \"a.rhai\" }\n");
    helps("sdk = \"1.2\"\nsecrets = [\"A\"]\n");
    helps("sdk = \"1.2\"\n[routes]\npath = \"/\"\nscript = \"a.rhai\"\n");
}

#[test]
fn of_keys() {
    for entry in ["every = \"5m\"", "interval = \"1 hour\"", "at = \"12:30\""] {
        helps(&format!("sdk = \"1.2\"\n[[schedules]]\nname = \"s\"\nscript = \"a.rhai\"\n{entry}\n"));
    }
    helps("sdk = \"1.2\"\n[secrets]\nAPI_KEY = \"hush\"\n");
    for entry in ["url = \"/\"", "pth = \"/\"", "route = \"/\""] {
        helps(&format!("sdk = \"1.2\"\n[[routes]]\n{entry}\nscript = \"a.rhai\"\n"));
    }
    for entry in ["file = \"a.rhai\"", "handler = \"a.rhai\"", "scripts = \"a.rhai\""] {
        helps(&format!("sdk = \"1.2\"\n[[routes]]\npath = \"/\"\n{entry}\n"));
    }
    for entry in ["schedule = \"@daily\"", "crn = \"@daily\""] {
        helps(&format!("sdk = \"1.2\"\n[[schedules]]\nname = \"s\"\nscript = \"a.rhai\"\n{entry}\n"));
    }
    for table in [
        "[[route]]\npath = \"/\"\nscript = \"a.rhai\"",
        "[environment]\nA = \"x\"",
        "[limit]\ntimeout = \"5s\"",
    ] {
        helps(&format!("sdk = \"1.2\"\n{table}\n"));
    }
    helps("version = \"1.2\"\n");
}

#[test]
fn of_the_syntax() {
    for line in [
        "script = a.rhai",
        "script: \"a.rhai\"",
        "script: a.rhai",
        "script := \"a.rhai\"",
        "script == \"a.rhai\"",
        "script \"a.rhai\"",
        "script = \"a.rhai",
        "script = 'a.rhai",
        "script = “a.rhai”",
        "script = \"a.rhai”",
        "script = ‘a.rhai’",
        "script = `a.rhai`",
        "script ＝ \"a.rhai\"",
        "script = \"a.rhai\" // a comment",
    ] {
        helps(&format!("sdk = \"1.2\"\n[[functions]]\nname = \"f\"\n{line}\n"));
    }
    for line in ["[[functions]", "[functions]]", "[[functions", "functions]]"] {
        helps(&format!("sdk = \"1.2\"\n{line}\nname = \"f\"\nscript = \"a.rhai\"\n"));
    }
    for comment in ["// a comment", "-- a comment", "; a comment", "/* a comment */"] {
        helps(&format!("sdk = \"1.2\"\n{comment}\n"));
    }
    helps("sdk = \"1.2\"\nfunctions:\n  - name: f\n");
    helps("sdk = \"1.2\"\n[secrets]\nrequired = API_KEY\n");
    helps("sdk = \"1.2\"\n[env]\nA = True\n");
    helps("sdk = \"1.2\"\n[env]\nA = \"C:\\dir\"\n");
    helps("sdk = \"1.2\"\n[[schedules]]\nname = \"s\"\nscript = \"a.rhai\"\ncron = * * * * *\n");
}
