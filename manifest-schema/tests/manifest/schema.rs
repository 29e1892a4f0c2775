//! Validates manifests with the JSON Schema, by an independent validator.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use manifest_schema::limits::Ceiling;
use manifest_schema::parse::{ParseContext, parse};
use manifest_schema::schema::json_schema;
use proptest::prelude::*;
use serde_json::Value;

fn validator() -> Validator {
    jsonschema::draft7::new(&json_schema()).expect("a schema of draft 7")
}

/// The manifest as editors validate it: TOML as JSON.
fn as_json(manifest: &str) -> Value {
    toml::from_str(manifest).unwrap_or_else(|error| panic!("{error}\n{manifest}"))
}

fn schema_errors(validator: &Validator, manifest: &str) -> Vec<String> {
    let describe = |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path());
    validator.iter_errors(&as_json(manifest)).map(describe).collect()
}

fn is_accepted(manifest: &str) -> bool {
    let scripts: BTreeSet<String> = ["a.rhai", "jobs/b.rhai"].map(str::to_owned).into();
    parse(manifest.as_bytes(), ParseContext::new(&Ceiling::DEFAULT, &scripts)).is_ok()
}

/// All manifests in `folder`, except in build directories.
fn find_manifests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find_manifests(&path, found);
        } else if path.ends_with("picloud.toml") {
            found.push(path);
        }
    }
}

#[test]
fn schema_is_valid() {
    jsonschema::meta::validate(&json_schema()).expect("it follows the schema of schemas");
}

#[test]
fn examples_are_valid() {
    let validator = validator();
    let mut found = Vec::new();
    find_manifests(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples"), &mut found);
    assert!(found.len() >= 2, "{found:?}");
    for path in found {
        let manifest = std::fs::read_to_string(&path).expect("a file");
        assert_eq!(schema_errors(&validator, &manifest), Vec::<String>::new(), "{}", path.display());
    }
}

const FUNCTION: &str = "[[functions]]\nname = 'f'\nscript = 'a.rhai'\n";

fn route(path: &str) -> String {
    format!("[[routes]]\npath = '{path}'\nscript = 'a.rhai'\n")
}

fn schedule(key: &str, value: &str) -> String {
    let cron = if key == "cron" { String::new() } else { "cron = '@daily'\n".to_owned() };
    format!("[[schedules]]\nname = 's'\nscript = 'a.rhai'\n{cron}{key} = {value}\n")
}

#[test]
fn valid_manifests_are_valid_in_the_schema() {
    let validator = validator();
    for rest in [
        String::new(),
        "[app]\ndescription = 'Grüße'".to_owned(),
        FUNCTION.to_owned(),
        route("/"),
        route("/a b/{x}/ü.json/{*rest}"),
        route("/a/"),
        route("/.well-known/x..y"),
        "[[routes]]\npath = '/'\nscript = 'jobs/b.rhai'\nmethods = ['GET', 'PATCH']".to_owned(),
        schedule("cron", "'*/5 * * * *'"),
        schedule("cron", "'  0 0 7 * JAN MON-FRI '"),
        schedule("cron", "'@hourly'"),
        schedule("timezone", "'Europe/Berlin'"),
        schedule("overlap", "'allow'"),
        schedule("catch_up", "'none'"),
        "[limits]\ntimeout = '500ms'\noperations = 1_000\nmemory = '64MiB'\nbody = 4096\nconcurrency = 1"
            .to_owned(),
        "[[checks]]\nname = 'a'\nrequest = 'POST /a?b=%20'\nheaders = { a = '1' }\nbody = [1]\n\
         expect = { status = 404, json = { a = 1.5 }, contains = 'x' }"
            .to_owned(),
        "routes = []\nfunctions = []\nschedules = []\napp = {}\nlimits = {}".to_owned(),
    ] {
        let sdk = if rest.starts_with("[[checks]]") { "1.3" } else { "1.1" };
        let manifest = format!("sdk = '{sdk}'\n{rest}");
        assert_eq!(schema_errors(&validator, &manifest), Vec::<String>::new(), "{manifest}");
        assert!(is_accepted(&manifest), "{manifest}");
    }
}

#[test]
fn invalid_manifests_are_invalid_in_the_schema() {
    let validator = validator();
    let one = "sdk = '1.1'\n".to_owned();
    let with = |rest: &str| format!("{one}{rest}");
    for manifest in [
        String::new(),
        "sdk = '9'".to_owned(),
        "sdk = 1.1".to_owned(),
        with("ruotes = []"),
        with("app = 1"),
        with("[app]\ncolour = 'red'"),
        with("[app]\ndescription = \"a\\nb\""),
        with(&format!("[app]\ndescription = '{}'", "x".repeat(201))),
        "sdk = '1.2'\n[env]\nA = 1".to_owned(),
        "sdk = '1.2'\n[secrets]\nrequired = ['a']".to_owned(),
        "sdk = '1.2'\n[secrets]\nneeded = []".to_owned(),
        with("[routes]\npath = '/'"),
        with("[[routes]]\nscript = 'a.rhai'"),
        with("[[checks]]\nname = 'a'"),
        with("[[checks]]\nname = 'a'\nrequest = '/'"),
        with("[[checks]]\nname = 'a'\nrequest = 'GET /'\nexpect = { status = 100 }"),
        with("[[routes]]\npath = '/'"),
        with(&format!("{}colour = 'red'", route("/"))),
        with(&format!("{}methods = []", route("/"))),
        with(&format!("{}methods = ['get']", route("/"))),
        with(&format!("{}methods = ['GET', 'GET']", route("/"))),
        with(&format!("{}methods = 'GET'", route("/"))),
        with("[[functions]]\nname = '1'\nscript = 'a.rhai'"),
        with("[[functions]]\nname = 'f'\nscript = 'a.txt'"),
        with("[[functions]]\nname = 'f'\nscript = '../a.rhai'"),
        with("[[functions]]\nname = 'f'\nscript = '/a.rhai'"),
        with("[[functions]]\nname = 'f'\nscript = 'x/.rhai'"),
        with("[[functions]]\nname = 'f'\nscript = 'x//a.rhai'"),
        with(&format!("{FUNCTION}cron = '@daily'")),
        with("[[schedules]]\nname = 's'\nscript = 'a.rhai'"),
        with(&schedule("cron", "'* * *'")),
        with(&schedule("cron", "5")),
        with(&schedule("timezone", "'Europe/Berln'")),
        with(&schedule("overlap", "'skp'")),
        with(&schedule("catch_up", "true")),
        with("[limits]\ntimeout = '2y'"),
        with("[limits]\ntimeout = 5"),
        with("[limits]\nmemory = '64MB'"),
        with("[limits]\nmemory = 0"),
        with("[limits]\noperations = 0"),
        with("[limits]\ncolour = 1"),
    ] {
        assert!(!validator.is_valid(&as_json(&manifest)), "valid:\n{manifest}");
        assert!(!is_accepted(&manifest), "accepted:\n{manifest}");
    }
    for path in [
        "", "greet", "//", "/a//b", "/a/./b", "/..", "/a?b", "/a#b", "/%20", "/x{a}", "/{a", "/{}", "/{1a}",
        "/{*a}/b",
    ] {
        let manifest = with(&route(path));
        assert!(!validator.is_valid(&as_json(&manifest)), "{path}");
        assert!(!is_accepted(&manifest), "{path}");
    }
}

proptest! {
    /// Otherwise editors would report errors in valid files.
    #[test]
    fn accepted_manifest_is_valid_in_the_schema(
        name in "[a-z0-9_-]{0,4}",
        path in "(/[a{}*.%ü -]{0,4}){0,3}",
        script in prop::sample::select(vec!["a.rhai", "jobs/b.rhai", "c.rhai"]),
        cron in "([*]|[0-9]{1,2}|[*]/5|@daily|MON)( ([*]|[0-9]{1,2}|1-5|L|MON#2)){3,6}",
        amount in 0..70_u32,
        unit in prop::sample::select(vec!["", "ms", "s", "m", "B", "KiB", "MiB"]),
    ) {
        let manifest = format!(
            "sdk = '1.1'\n[[functions]]\nname = '{name}'\nscript = '{script}'\n{}\n{}\n[limits]\ntimeout = '{amount}{unit}'",
            route(&path),
            schedule("cron", &format!("'{cron}'")),
        );
        let halves = [
            format!("sdk = '1.1'\n[[functions]]\nname = 'f{name}'\nscript = '{script}'\n"),
            format!("sdk = '1.1'\n{}", route(&path)),
            format!("sdk = '1.1'\n{}", schedule("cron", &format!("'{cron}'"))),
            format!("sdk = '1.1'\n[limits]\ntimeout = '{amount}{unit}'"),
            format!("sdk = '1.1'\n[limits]\nmemory = '{amount}{unit}'"),
            manifest,
        ];
        let validator = validator();
        for manifest in halves.iter().filter(|manifest| is_accepted(manifest)) {
            prop_assert_eq!(schema_errors(&validator, manifest), Vec::<String>::new(), "{}", manifest);
        }
    }
}
