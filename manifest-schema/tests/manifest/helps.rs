//! Applying the code of a help at its span removes a diagnostic and adds none.

use std::collections::BTreeSet;

use manifest_schema::diagnostic::{Diagnostic, Diagnostics};
use manifest_schema::limits::Ceiling;
use manifest_schema::parse::{ParseContext, parse};

const SCRIPTS: [&str; 4] = ["a.rhai", "b.rhai", "jobs/tidy.rhai", "api/users.rhai"];

fn diagnostics(text: &str) -> Diagnostics {
    let scripts: BTreeSet<String> = SCRIPTS.map(str::to_owned).into();
    match parse(text.as_bytes(), ParseContext::new(&Ceiling::DEFAULT, &scripts)) {
        Ok(parsed) => parsed.warnings,
        Err(refused) => refused.diagnostics,
    }
}

/// The messages, except those about unused scripts.
fn messages(diagnostics: &Diagnostics) -> Vec<String> {
    let placed = diagnostics.iter().filter(|diagnostic| diagnostic.span.is_some());
    placed.map(|diagnostic| diagnostic.message.clone()).collect()
}

/// The code in a help.
fn code(help: &str) -> Option<&str> {
    let begins = ["write `", "did you mean `", "such as `", "write a location, such as `", "set `"];
    let rest = begins.iter().find_map(|begin| help.strip_prefix(begin))?;
    rest.split_once('`').map(|(code, _)| code)
}

/// `text` with the help of `diagnostic` applied. A string stays a string.
fn apply_help(text: &str, diagnostic: &Diagnostic) -> Option<String> {
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
    let (spanned, after) = rest.split_at(span.width.min(rest.len()));
    let is_string = |text: &str| text.starts_with(['"', '\'', '[', '{', ',']) && !text.starts_with("{*");
    let mark = spanned
        .first()
        .copied()
        .filter(|c| matches!(c, '"' | '\''))
        .filter(|_| !is_string(code) && !help.ends_with("without quotation marks"));
    let mark = mark.map(String::from).unwrap_or_default();
    *line = before.iter().collect::<String>() + &mark + code + &mark + &after.iter().collect::<String>();
    Some(lines.join("\n") + "\n")
}

/// Like [`assert_helps_apply`], with at least one help that has code.
#[track_caller]
fn assert_help_applies(text: &str) {
    assert!(assert_helps_apply(text), "no help for\n{text}\n{:#?}", messages(&diagnostics(text)));
}

/// Asserts that each help with code in it applies, and returns whether there is one.
#[track_caller]
pub(crate) fn assert_helps_apply(text: &str) -> bool {
    let before = diagnostics(text);
    let mut helped_once = false;
    for diagnostic in before.iter() {
        let Some(after) = apply_help(text, diagnostic) else { continue };
        helped_once = true;
        let (before, messages_after) = (messages(&before), messages(&diagnostics(&after)));
        let new: Vec<_> = messages_after.iter().filter(|message| !before.contains(message)).collect();
        assert!(
            messages_after.len() < before.len() && new.is_empty(),
            "{text}\n{}: {:?}\nbecomes\n{after}\nwith {messages_after:#?}",
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
fn path_helps() {
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
        assert_help_applies(&route(&format!("\"{path}\"")));
    }
    assert_help_applies(&route("'/a\\b'"));
    assert_help_applies(&route("'/users/:id(\\d+)'"));
    assert_help_applies(&route("'/a/{id:\\d+}'"));
    for path in ["^/a$", "/a/{rest*}", "/:a-:b", "/a/[:id]", "/users/[id].json"] {
        assert_help_applies(&route(&format!("\"{path}\"")));
    }
}

#[test]
fn method_helps() {
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
        assert_help_applies(&format!("{}methods = {methods}\n", route("\"/\"")));
    }
    for key in ["method = \"GET\"", "method = [\"GET\"]", "verbs = [\"GET\"]", "methds = [\"GET\"]"] {
        assert_help_applies(&format!("{}{key}\n", route("\"/\"")));
    }
}

#[test]
fn script_helps() {
    assert_help_applies("sdk = \"1.2\"\n[[functions]]\nname = \"f\"\nscript = [\"a.rhai\"]\n");
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
        assert_help_applies(&format!("sdk = \"1.2\"\n[[functions]]\nname = \"f\"\nscript = \"{script}\"\n"));
    }
}

fn schedule(cron: &str, zone: &str) -> String {
    format!(
        "sdk = \"1.2\"\n[[schedules]]\nname = \"s\"\nscript = \"a.rhai\"\ncron = \"{cron}\"\ntimezone = \"{zone}\"\n"
    )
}

#[test]
fn cron_helps() {
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
        assert_help_applies(&schedule(cron, "UTC"));
    }
}

#[test]
fn time_zone_helps() {
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
        assert_help_applies(&schedule("0 9 * * *", zone));
    }
}

#[test]
fn limit_helps() {
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
        assert_help_applies(&format!("sdk = \"1.2\"\n[limits]\n{limits}\n"));
    }
}

#[test]
fn sdk_and_name_helps() {
    for sdk in ["1", "1.2", "\"1\"", "\"2.0\"", "\"1.1.0\"", "\"latest\"", "\"v1.2\"", "\"^1.2\""] {
        assert_help_applies(&format!("sdk = {sdk}\n"));
    }
    assert_help_applies("[app]\n");
    for name in ["my job", "1st", "tidy.up", "größe", "@tick"] {
        assert_help_applies(&format!(
            "sdk = \"1.2\"\n[[functions]]\nname = \"{name}\"\nscript = \"a.rhai\"\n"
        ));
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
        assert_help_applies(&format!("sdk = \"1.2\"\n{table}"));
    }
    assert_help_applies("sdk = \"1.1\"\n[env]\nA = \"x\"\n");
    assert_help_applies("sdk = \"1.2\"\nroutes = { path = \"/\", script = \"a.rhai\" }\n");
    assert_help_applies("sdk = \"1.2\"\nsecrets = [\"A\"]\n");
    assert_help_applies("sdk = \"1.2\"\n[routes]\npath = \"/\"\nscript = \"a.rhai\"\n");
}

#[test]
fn key_helps() {
    for entry in ["every = \"5m\"", "interval = \"1 hour\"", "at = \"12:30\""] {
        assert_help_applies(&format!(
            "sdk = \"1.2\"\n[[schedules]]\nname = \"s\"\nscript = \"a.rhai\"\n{entry}\n"
        ));
    }
    assert_help_applies("sdk = \"1.2\"\n[secrets]\nAPI_KEY = \"hush\"\n");
    for entry in ["url = \"/\"", "pth = \"/\"", "route = \"/\""] {
        assert_help_applies(&format!("sdk = \"1.2\"\n[[routes]]\n{entry}\nscript = \"a.rhai\"\n"));
    }
    for entry in ["file = \"a.rhai\"", "handler = \"a.rhai\"", "scripts = \"a.rhai\""] {
        assert_help_applies(&format!("sdk = \"1.2\"\n[[routes]]\npath = \"/\"\n{entry}\n"));
    }
    for entry in ["schedule = \"@daily\"", "crn = \"@daily\""] {
        assert_help_applies(&format!(
            "sdk = \"1.2\"\n[[schedules]]\nname = \"s\"\nscript = \"a.rhai\"\n{entry}\n"
        ));
    }
    for table in [
        "[[route]]\npath = \"/\"\nscript = \"a.rhai\"",
        "[environment]\nA = \"x\"",
        "[limit]\ntimeout = \"5s\"",
    ] {
        assert_help_applies(&format!("sdk = \"1.2\"\n{table}\n"));
    }
    assert_help_applies("version = \"1.2\"\n");
}

#[test]
fn syntax_helps() {
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
        assert_help_applies(&format!("sdk = \"1.2\"\n[[functions]]\nname = \"f\"\n{line}\n"));
    }
    for line in ["[[functions]", "[functions]]", "[[functions", "functions]]"] {
        assert_help_applies(&format!("sdk = \"1.2\"\n{line}\nname = \"f\"\nscript = \"a.rhai\"\n"));
    }
    for comment in ["// a comment", "-- a comment", "; a comment", "/* a comment */"] {
        assert_help_applies(&format!("sdk = \"1.2\"\n{comment}\n"));
    }
    assert_help_applies("sdk = \"1.2\"\nfunctions:\n  - name: f\n");
    assert_help_applies("sdk = \"1.2\"\n[secrets]\nrequired = API_KEY\n");
    assert_help_applies("sdk = \"1.2\"\n[env]\nA = True\n");
    assert_help_applies("sdk = \"1.2\"\n[env]\nA = \"C:\\dir\"\n");
    assert_help_applies(
        "sdk = \"1.2\"\n[[schedules]]\nname = \"s\"\nscript = \"a.rhai\"\ncron = * * * * *\n",
    );
}
