//! Diagnostics of invalid manifests, as `line:column message | help`.

use std::collections::BTreeSet;

use manifest_schema::diagnostic::{Diagnostic, Severity};
use manifest_schema::limits::Ceiling;
use manifest_schema::name::AppName;
use manifest_schema::parse::{ParseContext, ParseError, Parsed, parse};
use manifest_schema::sdk::SdkVersion;

use super::helps::assert_helps_apply;

/// Parses `text` in a repository with `a.rhai` and `b.rhai`.
fn read(text: &[u8]) -> Result<Parsed, ParseError> {
    let scripts: BTreeSet<String> = ["a.rhai", "b.rhai"].map(str::to_owned).into();
    parse(text, ParseContext::new(&Ceiling::DEFAULT, &scripts))
}

fn shown(diagnostic: &Diagnostic) -> String {
    let span =
        diagnostic.span.as_ref().map(|span| format!("{}:{} ", span.line, span.column)).unwrap_or_default();
    let help = diagnostic.help.as_ref().map(|help| format!(" | {help}")).unwrap_or_default();
    format!("{span}{}{help}", diagnostic.message)
}

/// The errors of `text`, without warnings about unused scripts.
pub(super) fn errors(text: &str) -> Vec<String> {
    let diagnostics = read(text.as_bytes()).expect_err(text).diagnostics;
    diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).map(shown).collect()
}

/// Asserts the errors of a manifest with `sdk = "1.1"` in line 1 and `rest` from line 2 on.
#[track_caller]
fn assert_diagnostics(rest: &str, expected: &[&str]) {
    assert_first_diagnostics(rest, expected);
    assert_helps_apply(&format!("sdk = \"1.1\"\n{rest}"));
}

/// Like [`assert_diagnostics`], ignoring later errors.
#[track_caller]
fn assert_first_diagnostics(rest: &str, expected: &[&str]) {
    assert_eq!(errors(&format!("sdk = \"1.1\"\n{rest}")), expected, "\n{rest}");
}

#[test]
fn sdk_is_required_and_must_be_supported() {
    for (text, expected) in [
        ("", "1:1 the manifest has no `sdk` | write `sdk = \"1.2\"` in the first line"),
        (
            "sdk = \"2.0\"",
            "1:7 sdk `2.0` is not supported, this server supports `1.0`, `1.1`, `1.2`, `1.3` | write `\"1.2\"`",
        ),
        (
            "sdk = \"1.1.0\"",
            "1:7 sdk `1.1.0` is not supported, this server supports `1.0`, `1.1`, `1.2`, `1.3` | write `\"1.1\"`",
        ),
        ("sdk = 1.1", "1:7 `sdk` must be a string, not a float | write `\"1.1\"`"),
        ("sdk = true", "1:7 `sdk` must be a string, not a boolean"),
    ] {
        assert_eq!(errors(text), [expected], "{text}");
    }
}

#[test]
fn unknown_key_is_reported_with_a_suggestion_or_the_known_keys() {
    assert_diagnostics("ruotes = []", &["2:1 unknown key `ruotes` | did you mean `routes`?"]);
    assert_diagnostics(
        "\"über\\n\" = 1",
        &[
            "2:1 unknown key `über\\n` | the manifest accepts sdk, app, routes, schedules, functions, env, secrets, limits, checks",
        ],
    );
    assert_diagnostics(
        "[app]\n  colour = 1",
        &["3:3 unknown key `colour` | [app] accepts description, domains"],
    );
    assert_diagnostics(
        "app.descripton = 'x'",
        &["2:5 unknown key `descripton` | did you mean `description`?"],
    );
    assert_first_diagnostics("[limit]\ntimeout = 1", &["2:2 unknown key `limit` | did you mean `limits`?"]);
    assert_diagnostics(
        "[[functions]]\nname = \"f\"\nscript = \"a.rhai\"\ncron = \"x\"",
        &["5:1 unknown key `cron` | [[functions]] accepts name, script"],
    );
}

#[test]
fn reserved_key_is_not_yet_supported() {
    assert_diagnostics(
        "[capabilities]\nkv = true",
        &["2:2 `capabilities` is not yet supported by this server"],
    );
}

#[test]
fn settings_and_secrets_require_sdk_1_2() {
    assert_diagnostics(
        "[env]\nA = \"b\"",
        &["2:2 `env` requires sdk 1.2, this manifest has 1.1 | set `sdk = \"1.2\"`"],
    );
    assert_diagnostics(
        "[secrets]",
        &["2:2 `secrets` requires sdk 1.2, this manifest has 1.1 | set `sdk = \"1.2\"`"],
    );
}

#[test]
fn names_and_values_of_settings_and_secrets_are_validated() {
    let refused = |rest: &str| -> Vec<String> {
        let scripts = BTreeSet::new();
        let context = ParseContext::new(&Ceiling::DEFAULT, &scripts);
        let refused = parse(format!("sdk = \"1.2\"\n{rest}").as_bytes(), context).unwrap_err();
        let shown = refused.diagnostics.iter().map(|diagnostic| {
            let span = diagnostic.span.as_ref().unwrap();
            format!("{}:{} {}", span.line, span.column, diagnostic.message)
        });
        shown.collect()
    };
    let rule = "must be 1 to 64 characters of A-Z, 0-9 and `_`, and begin with a letter";
    assert_eq!(
        refused("[env]\nA = 1\nb = \"c\"\n"),
        ["3:5 `A` must be a string".to_owned(), format!("4:1 name `b` {rule}")]
    );
    assert_eq!(refused("env = 1"), ["2:7 `env` must be a table, not an integer"]);
    assert_eq!(
        refused("[env]\nA = \"b\"\n[secrets]\nrequired = [\"A\", \"B\", \"B\", \"c\", 1]"),
        [
            "5:13 `A` is also a setting in `[env]`; a secret needs a different name".to_owned(),
            "5:23 duplicate secret `B`".to_owned(),
            format!("5:28 name `c` {rule}"),
            "5:33 `required` must be a string, not an integer".to_owned(),
        ]
    );
    assert_eq!(refused("[secrets]\nneeded = []"), ["3:1 unknown key `needed`"]);
}

#[test]
fn wrong_type_is_reported_at_the_value() {
    assert_diagnostics("app = 1", &["2:7 `app` must be a table, not an integer"]);
    assert_diagnostics("[[app]]", &["2:1 `app` must be a table, not an array | write `[app]`"]);
    assert_first_diagnostics(
        "[routes]",
        &["2:1 `routes` must be an array of tables, not a table | write `[[routes]]`"],
    );
    assert_diagnostics("routes = \"a\"", &["2:10 `routes` must be an array, not a string"]);
    assert_diagnostics("routes = [7]", &["2:11 `routes` must be a table, not an integer"]);
    assert_diagnostics("[app]\ndescription = []", &["3:15 `description` must be a string, not an array"]);
    assert_diagnostics(
        "[app]\ndescription = 2026-01-01",
        &["3:15 `description` must be a string, not a date or time"],
    );
    assert_diagnostics(
        "[app]\ndescription = \"a\\nb\"",
        &["3:15 `description` must be one line of at most 200 characters"],
    );
}

#[test]
fn domains_are_validated_and_unique() {
    assert_diagnostics(
        "[app]\ndomains = \"a.b\"",
        &["3:11 `domains` must be an array, not a string | write `[\"a.b\"]`"],
    );
    let rule = "must be a full host name in lower case, such as `hello.example.com`";
    assert_first_diagnostics(
        "[app]\ndomains = [\"a.example\", \"A.example\", 7, \"a.example\"]",
        &[
            &format!("3:25 domain `A.example` {rule} | write `a.example`"),
            "3:38 `domains` must be a string, not an integer",
            "3:41 duplicate domain `a.example`",
        ],
    );
}

#[test]
fn missing_key_is_reported_at_the_header() {
    assert_diagnostics("[[routes]]", &["2:1 [[routes]] has no `path`", "2:1 [[routes]] has no `script`"]);
    assert_diagnostics("\n  [[functions]]\nscript = \"a.rhai\"", &["3:3 [[functions]] has no `name`"]);
    assert_diagnostics("functions = [{name = \"f\"}]", &["2:14 [[functions]] has no `script`"]);
    assert_diagnostics(
        "[[schedules]]",
        &[
            "2:1 [[schedules]] has no `name`",
            "2:1 [[schedules]] has no `cron`",
            "2:1 [[schedules]] has no `script`",
        ],
    );
}

#[test]
fn path_error_is_reported_at_the_broken_segment() {
    let route = |path: &str| format!("[[routes]]\npath = {path}\nscript = \"a.rhai\"");
    assert_diagnostics(&route("\"greet\""), &["3:9 path `greet` must begin with `/` | write `/greet`"]);
    assert_diagnostics(&route("'/a//b'"), &["3:11 path `/a//b` has an empty segment | write `/`"]);
    assert_diagnostics(
        &route("\"/ü/{a}/{a}\""),
        &["3:16 path `/ü/{a}/{a}` has two captures of one name | write `{a2}`"],
    );
    assert_diagnostics(
        &route("\"/a%20b\""),
        &["3:11 path `/a%20b` has a `%`; paths are written decoded, such as `ü` for `%C3%BC` | write ` `"],
    );
    // With an escape, the span is the whole string.
    assert_diagnostics(
        &route("\"/\\u0061?\""),
        &[
            "3:8 path `/a?` has a `?`; routes do not match queries | remove it: scripts read it as `ctx.request.query`",
        ],
    );
    assert_diagnostics(&route("\"\""), &["3:8 path `` must begin with `/` | write `/`"]);
}

#[test]
fn methods_are_validated_and_unique() {
    let route = |methods: &str| format!("[[routes]]\npath = \"/\"\nmethods = {methods}\nscript = \"a.rhai\"");
    assert_diagnostics(
        &route("[\"get\", \"FLY\", \"PUT\", \"PUT\", 1]"),
        &[
            "4:12 `get` is not a supported method | did you mean `GET`?",
            "4:19 `FLY` is not a supported method | expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            "4:33 duplicate method `PUT`",
            "4:40 `methods` must be a string, not an integer",
        ],
    );
    assert_diagnostics(&route("[]"), &["4:11 `methods` is empty | remove it to match every method"]);
    assert_diagnostics(
        &route("\"GET\""),
        &["4:11 `methods` must be an array, not a string | write `[\"GET\"]`"],
    );
}

#[test]
fn routes_that_match_one_request_conflict() {
    let routes = |routes: &[(&str, &str)]| -> String {
        let route = |(path, methods): &(&str, &str)| {
            format!("[[routes]]\npath = \"{path}\"\nscript = \"a.rhai\"\nmethods = [{methods}]\n")
        };
        routes.iter().map(route).collect()
    };
    let get = "\"GET\"";
    let every = "'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'";
    assert_diagnostics(
        &routes(&[("/{a}", "\"GET\", \"PUT\""), ("/{b}", "\"PUT\""), ("/{c}", "\"POST\"")]),
        &[
            "7:8 path `/{b}` conflicts with the route in line 3 for PUT | remove one, or restrict the `methods` of each",
        ],
    );
    assert_diagnostics(
        &routes(&[("/a/{*x}", every), ("/a/{*y}", every)]),
        &[
            "7:8 path `/a/{*y}` conflicts with the route in line 3 for every method | remove one, or restrict the `methods` of each",
        ],
    );
    // Each duplicate names the first.
    assert_diagnostics(
        &routes(&[("/", get), ("/", get), ("/", get)]),
        &[
            "7:8 path `/` conflicts with the route in line 3 for GET | remove one, or restrict the `methods` of each",
            "11:8 path `/` conflicts with the route in line 3 for GET | remove one, or restrict the `methods` of each",
        ],
    );
    for (one, other) in
        [("/a", "/{x}"), ("/{x}", "/{*x}"), ("/a", "/a/"), ("/{x}/b", "/a/{x}"), ("/", "/{x}")]
    {
        let text = format!("sdk = \"1.1\"\n{}", routes(&[(one, get), (other, get)]));
        assert!(read(text.as_bytes()).is_ok(), "{one} and {other}");
    }
}

#[test]
fn schedule_diagnostic_names_the_schedule() {
    assert_diagnostics(
        "[[schedules]]\nname = \"tick\"\ncron = \"61 * * * *\"\ntimezone = \"Europe/Berln\"\nscript = \"a.rhai\"\noverlap = \"skp\"\ncatch_up = \"all\"",
        &[
            "4:8 schedule `tick`: minute 61 in `61 * * * *` is out of range 0-59",
            "5:12 schedule `tick`: `Europe/Berln` is not an IANA time zone | did you mean `Europe/Berlin`?",
            "7:11 schedule `tick`: `overlap` must be `skip` or `allow`, not `skp` | did you mean `skip`?",
            "8:12 schedule `tick`: `catch_up` must be `once` or `none`, not `all`",
        ],
    );
    let cron = |cron: &str| format!("[[schedules]]\nname = \"t\"\nscript = \"a.rhai\"\ncron = \"{cron}\"");
    assert_diagnostics(
        &cron("@dayly"),
        &["5:8 schedule `t`: `@dayly` is not a nickname of a cron expression | did you mean `@daily`?"],
    );
    assert_diagnostics(
        &cron("0 0 30 2 *"),
        &["5:8 schedule `t`: `0 0 30 2 *` is never due: none of its months has such a day"],
    );
    assert_diagnostics(
        &cron("* * *"),
        &[
            "5:8 schedule `t`: `* * *` has 3 fields, must have 5, or 6 with seconds first | such as `*/5 * * * *`, every five minutes",
        ],
    );
    // A schedule without a name is identified by the span.
    assert_diagnostics(
        "[[schedules]]\nname = \"1\"\nscript = \"a.rhai\"\ncron = \"x * * * *\"\ntimezone = \"+01:00\"",
        &[
            "3:8 name `1` must be 1 to 60 characters of a-z, A-Z, 0-9, `-` and `_`, and begin with a letter",
            "5:8 minute `x` in `x * * * *` is not `*`, a number, a range such as `1-5` or a step such as `*/2`",
            "6:12 `+01:00` is not an IANA time zone | write `Etc/GMT-1`, always an hour ahead of UTC despite its sign, or a location, which observes daylight saving time",
        ],
    );
}

#[test]
fn names_are_unique_in_their_list() {
    let function = "[[functions]]\nname = \"f\"\nscript = \"a.rhai\"\n";
    let schedule = "[[schedules]]\nname = \"f\"\ncron = \"@daily\"\nscript = \"a.rhai\"\n";
    assert!(read(format!("sdk = \"1.1\"\n{function}{schedule}").as_bytes()).is_ok());
    assert_diagnostics(&[function, function].concat(), &["6:8 function `f` is already declared in line 3"]);
    assert_diagnostics(&[schedule, schedule].concat(), &["7:8 schedule `f` is already declared in line 3"]);
    // Even if the first one is otherwise invalid.
    assert_diagnostics(
        &["[[functions]]\nname = \"f\"\n", function].concat(),
        &["2:1 [[functions]] has no `script`", "5:8 function `f` is already declared in line 3"],
    );
}

#[test]
fn scripts_must_exist_in_the_repository() {
    let function = |script: &str| format!("[[functions]]\nname = \"f\"\nscript = \"{script}\"");
    assert_diagnostics(
        &function("c.rhai"),
        &["4:10 script `c.rhai` is not in the repository | did you mean `a.rhai`?"],
    );
    assert_diagnostics(
        &function("jobs/tidy_up_at_night.rhai"),
        &["4:10 script `jobs/tidy_up_at_night.rhai` is not in the repository"],
    );
    assert_diagnostics(
        &function("../a.rhai"),
        &[
            "4:10 script `../a.rhai` must be a relative path within the repository that ends in `.rhai` | did you mean `a.rhai`?",
        ],
    );
}

#[test]
fn limits_have_units_and_a_ceiling() {
    assert_diagnostics(
        "[limits]\ntimeout = \"2h\"\noperations = \"many\"\nmemory = \"64MB\"\nbody = 1.5\nconcurrency = []",
        &[
            "3:11 `timeout` is 2h, more than the 60s that a server grants by default \
             | checked against the default limits; an admin can raise them with  picloud apps limits APP --timeout 2h",
            "4:14 `operations` must be an integer, not a string",
            "5:10 `memory` must be a size such as `\"64MiB\"` or `\"512KiB\"`, or a number of bytes, not `64MB` | write `\"64MiB\"`",
            "6:8 `body` must be a size such as `\"64MiB\"` or `\"512KiB\"`, or a number of bytes, not a float",
            "7:15 `concurrency` must be an integer, not an array",
        ],
    );
    assert_diagnostics(
        "[limits]\ntimeout = 5",
        &[
            "3:11 `timeout` must be a duration such as `\"5s\"`, `\"500ms\"` or `\"1m\"`, not an integer | write `\"5s\"`",
        ],
    );
    let with = |values: [&str; 5]| {
        let [timeout, operations, memory, body, concurrency] = values;
        format!(
            "sdk = \"1.1\"\n[limits]\ntimeout = {timeout}\noperations = {operations}\nmemory = {memory}\nbody = {body}\nconcurrency = {concurrency}"
        )
    };
    for values in [["\"0s\"", "0", "\"0B\"", "0", "0"], ["\"0m\"", "-7", "\"0GiB\"", "-1", "-2"]] {
        assert_eq!(
            errors(&with(values)),
            [
                "3:11 `timeout` must be above zero",
                "4:14 `operations` must be above zero",
                "5:10 `memory` must be above zero",
                "6:8 `body` must be above zero",
                "7:15 `concurrency` must be above zero",
            ]
        );
    }
    let refused = errors(&with(["\"61s\"", "1_000_000_001", "\"257MiB\"", "33_554_433", "1025"]));
    let most = [
        "3:11 `timeout` is 61s, more than the 60s that a server grants by default",
        "4:14 `operations` is 1000000001, more than the 1000000000 that a server grants by default",
        "5:10 `memory` is 257MiB, more than the 256MiB that a server grants by default",
        "6:8 `body` is 33554433B, more than the 32MiB that a server grants by default",
        "7:15 `concurrency` is 1025, more than the 1024 that a server grants by default",
    ];
    let without_advice: Vec<&str> =
        refused.iter().filter_map(|diagnostic| diagnostic.split(" | ").next()).collect();
    assert_eq!(without_advice, most);
    let beyond =
        ["\"99999999999999999999m\"", "9223372036854775807", "\"99999999999GiB\"", "33554433", "5000000000"];
    assert_eq!(errors(&with(beyond)).len(), 5);
}

#[test]
fn limit_beyond_the_ceiling_names_the_flag_that_raises_it() {
    let scripts = BTreeSet::from(["a.rhai".to_owned()]);
    let tick = |n: u32| format!("[[schedules]]\nname = \"t{n}\"\ncron = \"@hourly\"\nscript = \"a.rhai\"\n");
    let text =
        format!("sdk = \"1.1\"\n{}{}[limits]\ntimeout = \"90s\"\nmemory = \"1GiB\"\n", tick(1), tick(2));
    let refused = |app: Option<&str>| {
        let app = app.map(|name| AppName::new(name).unwrap());
        let ceiling = Ceiling { schedules: 1, app, ..Ceiling::DEFAULT };
        let refused = parse(text.as_bytes(), ParseContext::new(&ceiling, &scripts)).unwrap_err();
        refused.diagnostics.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(
        refused(Some("hello")),
        [
            "2:1 `schedules` has 2 entries, more than the 1 that the server grants the app \
             | an admin can raise it with  picloud apps limits hello --schedules 2",
            "11:11 `timeout` is 90s, more than the 60s that the server grants the app \
             | an admin can raise it with  picloud apps limits hello --timeout 90s",
            "12:10 `memory` is 1GiB, more than the 256MiB that the server grants the app \
             | an admin can raise it with  picloud apps limits hello --script-memory 1GiB",
        ]
    );
    assert!(refused(None).iter().all(|diagnostic| {
        diagnostic.contains("checked against the default limits; an admin can raise them with")
    }),);
}

#[test]
fn total_run_rate_is_limited_at_the_first_schedule_that_exceeds_it() {
    let scripts = BTreeSet::from(["a.rhai".to_owned()]);
    let refused = |crons: &[&str], schedule_runs: u32| {
        let schedule = |(n, cron): (usize, &&str)| {
            format!("[[schedules]]\nname = \"t{n}\"\nscript = \"a.rhai\"\ncron = \"{cron}\"\n")
        };
        let text = format!("sdk = \"1.1\"\n{}", crons.iter().enumerate().map(schedule).collect::<String>());
        let app = Some(AppName::new("hello").unwrap());
        let ceiling = Ceiling { schedule_runs, app, ..Ceiling::DEFAULT };
        let parsed = parse(text.as_bytes(), ParseContext::new(&ceiling, &scripts));
        parsed
            .err()
            .map(|refused| refused.diagnostics.iter().map(shown).collect::<Vec<_>>())
            .unwrap_or_default()
    };
    // They run 60, 6, 2, 1 and 1 times a minute. A daily schedule counts like one of every minute.
    let crons = ["* * * * * *", "*/10 * * * * *", "0,30 * * * * *", "* * * * *", "0 3 * * *"];
    assert_eq!(refused(&crons, 70), Vec::<String>::new());
    assert_eq!(
        refused(&crons, 67),
        [
            "13:8 the schedules together run up to 70 times a minute, more than the 67 that the server grants the app \
          | run some of them less often; an admin can raise it with  picloud apps limits hello --schedule-runs-per-minute 70"
        ]
    );
    assert!(refused(&crons, 0)[0].starts_with("5:8 "), "{:?}", refused(&crons, 0));
    let every_second = ["* * * * * *"; 100];
    assert!(
        refused(&every_second, 300)[0]
            .starts_with("25:8 the schedules together run up to 6000 times a minute")
    );
}

#[test]
fn all_syntax_errors_are_reported_at_once() {
    let found = errors("sdk = \n[app]\ndescription = 'x\n[limits]\ntimeout 5\n");
    let places: Vec<&str> = found.iter().filter_map(|diagnostic| diagnostic.split(' ').next()).collect();
    assert_eq!(places, ["1:6", "3:15", "5:9"], "{found:?}");
    assert_eq!(errors("sdk = \"1.1\"\nsdk = \"1.0\""), ["2:1 duplicate key"]);
}

#[test]
fn syntax_error_only_suppresses_diagnostics_of_its_section() {
    let text = "sdk = \"9\"\n[[routes]]\npath = \nnonsense = 1\n[limits]\ntimeout = \"9h\"\n";
    let found = errors(text);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].starts_with("1:7 sdk `9`")
            && found[1].starts_with("3:7 ")
            && found[2].starts_with("6:11 `timeout`")
    );
}

#[test]
fn unused_script_is_a_warning() {
    let parsed = read(b"sdk = \"1.1\"\n[[functions]]\nname = \"f\"\nscript = \"a.rhai\"").unwrap();
    let warnings: Vec<_> = parsed.warnings.iter().collect();
    let [warning] = warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(
        (warning.severity, warning.file.as_str(), &warning.span),
        (Severity::Warning, "b.rhai", &None)
    );
    assert_eq!(warning.message, "not used by any route, schedule, function or import of picloud.toml");
}

#[test]
fn unused_scripts_are_unknown_while_a_script_name_is_unreadable() {
    let files = |text: &str| -> Vec<String> {
        read(text.as_bytes())
            .unwrap_err()
            .diagnostics
            .iter()
            .map(|diagnostic| diagnostic.file.clone())
            .collect()
    };
    let function = |script: &str| format!("sdk = \"9\"\n[[functions]]\nname = \"f\"\nscript = {script}");
    assert_eq!(files(&function("\"a.rhai\"")), ["picloud.toml", "b.rhai"]);
    assert_eq!(files(&function("\"c.rhai\"")), ["picloud.toml"; 2]);
    assert_eq!(files(&function("")), ["picloud.toml"; 2]);
}

#[test]
fn invalid_utf_8_is_reported_at_its_first_byte() {
    let diagnostics = read(b"sdk = \"1.1\"\n\xc3\xbc\xff").unwrap_err().diagnostics;
    assert_eq!(
        diagnostics.iter().map(shown).collect::<Vec<_>>(),
        ["2:2 the manifest is not valid UTF-8 at byte 15 | save it as UTF-8"]
    );
}

#[test]
fn byte_order_mark_and_crlf_do_not_shift_columns() {
    assert_eq!(
        errors("\u{feff}sdk = \"9\"\r\n[app]\r\nx = 1\r\n")[1],
        "3:1 unknown key `x` | [app] accepts description, domains"
    );
    assert!(errors("\u{feff}sdk = \"9\"")[0].starts_with("1:7 "));
}

#[test]
fn invalid_manifest_returns_its_valid_parts() {
    let refused = |text: &str| {
        let refused = read(text.as_bytes()).unwrap_err();
        let scripts = refused.scripts.map(|scripts| scripts.iter().map(ToString::to_string).collect());
        (refused.sdk, scripts)
    };
    let function = |sdk: &str, script: &str| {
        format!("sdk = \"{sdk}\"\nx = 1\n[[functions]]\nname = \"f\"\nscript = \"{script}\"")
    };
    let named: Vec<String> = vec!["a.rhai".to_owned()];
    assert_eq!(refused(&function("1.0", "a.rhai")), (Some(SdkVersion::V1_0), Some(named.clone())));
    assert_eq!(refused(&function("9", "a.rhai")), (None, Some(named)));
    assert_eq!(refused(&function("1.1", "c.rhai")), (Some(SdkVersion::V1_1), None));
    assert_eq!(refused("sdk = "), (None, None));
}

#[test]
fn weekday_number_is_a_warning() {
    let schedule = |cron: &str| {
        let text = format!(
            "sdk = \"1.1\"\n[[schedules]]\nname = \"s\"\nscript = \"a.rhai\"\ncron = \"{cron}\"\n\
             [[functions]]\nname = \"f\"\nscript = \"b.rhai\"\n"
        );
        read(text.as_bytes()).expect("a manifest").warnings.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(
        schedule("0 9 * * 1-5"),
        [
            "5:8 schedule `s`: weekday `1-5` in `0 9 * * 1-5` is a number | write `0 9 * * MON-FRI`: other crons number weekdays differently"
        ]
    );
    assert_eq!(schedule("0 9 * * MON-FRI"), [""; 0]);
}

#[test]
fn sdk_draft_is_a_warning() {
    let warnings = |sdk: &str| {
        let text = format!(
            "sdk = \"{sdk}\"\n[[functions]]\nname = \"f\"\nscript = \"a.rhai\"\n[[functions]]\nname = \"g\"\nscript = \"b.rhai\"\n"
        );
        read(text.as_bytes()).expect("a manifest").warnings.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(
        warnings("1.3"),
        [
            "1:7 sdk 1.3 is a draft: it can change until PiCloud 0.1.0 is released | for a stable contract, set `sdk = \"1.2\"`"
        ]
    );
    assert_eq!(warnings("1.2"), [""; 0]);
}

#[test]
fn misspelt_key_is_one_diagnostic() {
    assert_diagnostics(
        "[[functions]]\nname = \"f\"\nscirpt = \"a.rhai\"",
        &["4:1 unknown key `scirpt` | did you mean `script`?"],
    );
    assert_eq!(errors("SDK = \"1.2\""), ["1:1 unknown key `SDK` | did you mean `sdk`?"]);
    let warnings = |text: &str| {
        let diagnostics = read(text.as_bytes()).expect_err(text).diagnostics;
        diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Warning).count()
    };
    assert_eq!(
        warnings("sdk = \"1.2\"\n[[route]]\npath = \"/\"\nscript = \"a.rhai\"\n"),
        0,
        "it names a script"
    );
    assert_eq!(warnings("sdk = \"1.2\"\nroutes.script = \"a.rhai\"\n"), 0);
}

#[test]
fn json_and_yaml_are_recognized() {
    assert_eq!(
        errors("{\n  \"sdk\": \"1.2\"\n}\n"),
        ["1:1 the manifest must be TOML, not JSON | `picloud init` creates one"]
    );
    assert_eq!(
        errors("sdk: \"1.2\"\nroutes:\n  - path: /\n    script: a.rhai\n"),
        [
            "1:1 `sdk` must be set with `=` | write `sdk = \"1.2\"`",
            "2:1 a table header is its name in brackets | write `[[routes]]`",
            "3:3 `path` must be set with `=` | write `path = \"/\"`",
            "4:5 `script` must be set with `=` | write `script = \"a.rhai\"`",
        ]
    );
}

#[test]
fn city_is_suggested_for_a_typo_but_not_for_similarity() {
    let help = |zone: &str| {
        let text = format!(
            "sdk = \"1.1\"\n[[schedules]]\nname = \"s\"\nscript = \"a.rhai\"\ncron = \"@daily\"\ntimezone = \"{zone}\"\n"
        );
        let diagnostics = read(text.as_bytes()).expect_err(&text).diagnostics;
        diagnostics.iter().next().and_then(|diagnostic| diagnostic.help.clone()).unwrap_or_default()
    };
    for (zone, meant) in [
        ("Europe/Berln", "Europe/Berlin"),
        ("Europe/Hamburg", "Europe/Berlin"),
        ("America/San_Francisco", "America/Los_Angeles"),
        ("Asia/Mumbai", "Asia/Kolkata"),
        ("Munich", "Europe/Berlin"),
    ] {
        assert_eq!(help(zone), format!("did you mean `{meant}`?"), "{zone}");
    }
    for zone in ["Asia/Dubia_City", "Europe/Bielefeld", "Africa/Nowhere"] {
        assert_eq!(help(zone), "such as `Europe/Berlin`", "{zone}");
    }
}

#[test]
fn merge_conflict_is_one_diagnostic() {
    let text = "<<<<<<< HEAD\nsdk = \"1.2\"\n=======\nsdk = \"1.1\"\n>>>>>>> other\n";
    assert_eq!(
        errors(text),
        [
            "1:1 unresolved merge conflict | keep one of the two sides, and remove the lines of `<`, `=` and `>`"
        ]
    );
}

#[test]
fn sdk_in_a_table_is_one_diagnostic() {
    assert_eq!(
        errors("[app]\nsdk = \"1.2\"\n"),
        ["2:1 unknown key `sdk` | it is a key of the root table: move it above the first table"]
    );
}

/// A manifest of SDK 1.3 whose route in lines 4 to 7 has these limits.
fn route_with(limits: &str) -> String {
    format!(
        "sdk = \"1.3\"\n[limits]\ntimeout = \"2s\"\n[[routes]]\npath = \"/a\"\nscript = \"a.rhai\"\nlimits = {limits}\n"
    )
}

#[test]
fn route_has_at_most_the_limits_of_the_app() {
    for (limits, expected) in [
        (
            "{ timeout = \"3s\" }",
            "7:22 `timeout` is 3s, more than the 2s that [limits] allows \
             | lower it, or raise `timeout` in [limits]: a route can only have less",
        ),
        (
            "{ body = \"2MiB\" }",
            "7:19 `body` is 2MiB, more than the 1MiB that [limits] allows \
             | lower it, or raise `body` in [limits]: a route can only have less",
        ),
        ("{ operations = 0 }", "7:25 `operations` must be above zero"),
        (
            "{ memory = \"1 GB\" }",
            "7:21 `memory` must be a size such as `\"64MiB\"` or `\"512KiB\"`, or a number of bytes, not `1 GB` \
             | write `\"64MiB\"`, the most that [limits] allows",
        ),
        (
            "{ concurrency = 1 }",
            "7:12 unknown key `concurrency` | limits = { ... } accepts timeout, operations, memory, body",
        ),
        ("\"2s\"", "7:10 `limits` must be a table, not a string"),
    ] {
        assert_eq!(errors(&route_with(limits)), [expected], "{limits}");
    }
    // What the app requests in vain is reported once.
    let text = route_with("{ timeout = \"3m\" }").replacen("2s", "2m", 1);
    assert_eq!(errors(&text).len(), 1);
}

#[test]
fn schedule_has_at_most_the_timeout_that_the_server_grants() {
    let schedule = |timeout: &str| {
        format!(
            "sdk = \"1.3\"\n[[schedules]]\nname = \"t\"\ncron = \"@daily\"\nscript = \"a.rhai\"\ntimeout = {timeout}\n"
        )
    };
    assert_eq!(
        errors(&schedule("\"90s\"")),
        ["6:11 `timeout` is 90s, more than the 60s that a server grants by default \
          | checked against the default limits; an admin can raise them with  picloud apps limits APP --timeout 90s"]
    );
    assert_eq!(
        errors(&schedule("30")),
        [
            "6:11 `timeout` must be a duration such as `\"5s\"`, `\"500ms\"` or `\"1m\"`, not an integer | write `\"30s\"`"
        ]
    );
}

#[test]
fn limits_of_routes_and_schedules_require_sdk_1_3() {
    let older = |text: String| text.replacen("1.3", "1.2", 1);
    assert_eq!(
        errors(&older(route_with("{ timeout = \"9m\" }"))),
        ["7:1 `limits` of a route requires sdk 1.3, this manifest has 1.2 | set `sdk = \"1.3\"`"]
    );
    let schedule = "sdk = \"1.2\"\n[[schedules]]\nname = \"t\"\ncron = \"@daily\"\nscript = \"a.rhai\"\ntimeout = \"9s\"\n";
    assert_eq!(
        errors(schedule),
        ["6:1 `timeout` of a schedule requires sdk 1.3, this manifest has 1.2 | set `sdk = \"1.3\"`"]
    );
}
