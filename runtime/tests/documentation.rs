//! Documents and programs do what they say, and the scripts that come with Rhai raise no false alarm.
//!
//! - here: the examples of `docs/sdk.md`, the programs of `programs/`, and Rhai's own scripts
//! - `reference`: the pages of the standard library, their tables, and an example for everything in them
//! - `guides`: the apps of `docs/guides/`
//! - `testing`: `docs/testing.md` and `docs/checks.md`
//! - `links`: links between the documents

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "documentation/guides.rs"]
mod guides;
#[path = "documentation/links.rs"]
mod links;
#[path = "documentation/reference.rs"]
mod reference;
mod support;
#[path = "documentation/testing.rs"]
mod testing;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use manifest_schema::diagnostic::{Diagnostics, Severity};
use manifest_schema::limits::Ceiling;
use manifest_schema::name::ScriptPath;
use manifest_schema::parse::{ParseContext, parse};
use manifest_schema::sdk::SdkVersion;
use runtime::notation::{self, Answer, Dialect, Kind, Start, Statement};
use runtime::{CountingAllocator, callable_functions, compile};
use support::stops::assert_stops_change_nothing;
use support::{Call, script};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code blocks of a language with their first lines.
fn blocks(document: &str, language: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut inside: Option<bool> = None;
    for (index, line) in document.lines().enumerate() {
        match (inside, line.strip_prefix("```")) {
            (None, Some(begun)) => {
                inside = Some(begun == language);
                if begun == language {
                    found.push((index + 2, String::new()));
                }
            }
            (Some(_), Some(_)) => inside = None,
            (Some(true), None) => {
                let (_, block) = found.last_mut().unwrap();
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    found
}

// ---- docs/sdk.md ----

/// The claims of an example, and what else it says about itself.
fn statements(place: &str, example: &str) -> Vec<Statement> {
    let notation = notation::parse(place, example, Dialect::Document);
    assert_eq!(notation.errors, [], "{place}");
    notation.statements
}

/// The lines of an example that are no statements.
fn code<'e>(place: &str, example: &'e str) -> Vec<&'e str> {
    let stated: Vec<usize> = statements(place, example).iter().map(|statement| statement.span.line).collect();
    let lines = example.lines().enumerate();
    lines.filter(|(index, _)| !stated.contains(&(index + 1))).map(|(_, line)| line).collect()
}

/// A call of the script, in the SDK version and with the settings that it mentions.
fn call_of(base: &Call) -> Call {
    let call = base.clone();
    let named = |version: &SdkVersion| base.source.contains(&format!("// sdk {version}\n"));
    let Some(sdk) = SdkVersion::ALL.into_iter().find(named) else { return call };
    let (env, secrets) = (vec![("GREETING", "Hello")], vec![("API_KEY", "tangerine")]);
    Call { sdk, env, secrets, ..call }
}

/// The script called as a claim says; by itself it is called as by `GET /`.
fn called(base: &Call, route: Option<&str>, start: &Start) -> Call {
    let call = call_of(base);
    match start {
        Start::Script => call,
        Start::Scheduled { .. } => call.scheduled(),
        Start::Call { payload, .. } => call.function(payload.clone()),
        Start::Request { method, target, body } => {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let call = match route {
                Some(route) => call.routed(route, target),
                None => call.with_request(|request| {
                    request.path = path.to_owned();
                    request.query = query.to_owned();
                }),
            };
            let call = match body {
                None => call,
                Some(body) => call.body(&body.content_type, body.text.clone()),
            };
            call.with_request(|request| request.method = *method)
        }
    }
}

/// Asserts the answer of a call. Other than in tests of apps, a claim without a body is about an empty one.
fn assert_answer(call: &Call, expected: &Answer, place: &str) {
    let answer = call.response();
    let (body, expected_body) =
        (String::from_utf8_lossy(&answer.body), expected.body.as_deref().unwrap_or_default());
    assert_eq!(answer.status, expected.status.unwrap_or(200), "{place}: {body}");
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    if json(expected_body).is_none_or(|expected| json(&body) != Some(expected)) {
        assert_eq!(body, expected_body, "{place}");
    }
    if let Some(expected) = &expected.content_type {
        let content_type = answer.headers.iter().find(|(name, _)| name == "content-type");
        assert_eq!(content_type.map(|(_, value)| value), Some(expected), "{place}");
    }
}

/// The errors and warnings of a push.
fn diagnostics(sdk: SdkVersion, source: &str) -> (Vec<String>, Vec<String>) {
    let compiled = compile(sdk, &ScriptPath::new("main.rhai").unwrap(), source);
    by_severity(&compiled.map_or_else(|diagnostics| diagnostics, |script| script.warnings().clone()))
}

/// Errors and warnings as documents write them.
fn by_severity(diagnostics: &Diagnostics) -> (Vec<String>, Vec<String>) {
    let of = |severity: Severity| {
        let shown =
            diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).map(|diagnostic| {
                let place = diagnostic.span.as_ref().map_or((0, 0), |place| (place.line, place.column));
                format!("{}:{} {}", place.0, place.1, diagnostic.message)
            });
        shown.collect()
    };
    (of(Severity::Error), of(Severity::Warning))
}

/// What was checked of an example.
struct Checked {
    statements: usize,
    /// At how many host calls it was stopped.
    stops: usize,
}

/// Checks the example at `place`.
fn holds(place: &str, example: &str) -> Checked {
    holds_in(&script(example), place)
}

/// Checks an example with the other files of its commit: what it says about itself, and that it ends the same however
/// it is stopped.
fn holds_in(base: &Call, place: &str) -> Checked {
    let mut stops = 0;
    let statements = statements(place, &base.source);
    let route = statements.iter().find_map(|statement| match &statement.kind {
        Kind::Route(path) => Some(path.as_str()),
        _ => None,
    });
    let mut logged: Option<Vec<String>> = None;
    let mut expected_log = Vec::new();
    let (mut refused, mut warned) = (Vec::new(), Vec::new());
    for Statement { kind, text, .. } in &statements {
        match kind {
            Kind::Route(_) => {}
            Kind::Refused(diagnostic) => refused.push(diagnostic.clone()),
            Kind::Warned(diagnostic) => warned.push(diagnostic.clone()),
            Kind::Logs(line) => expected_log.push(line.clone()),
            Kind::Claim { start, answer } => {
                let call = called(base, route, start);
                assert_answer(&call, answer, &format!("{place}, {text}"));
                stops += assert_stops_change_nothing(&call, &format!("{place}, {text}"));
                let lines = call.run().log.into_iter().map(|line| {
                    let data = line.data.map(|data| format!(" {data}")).unwrap_or_default();
                    format!("{} {:?}{data}", line.level.as_str(), line.message)
                });
                logged.get_or_insert(lines.collect());
            }
            Kind::Fails(words) => {
                let call = call_of(base);
                let failure = call.failure();
                assert!(failure.message.contains(words.as_str()), "{place}: {failure}");
                stops += assert_stops_change_nothing(&call, &format!("{place}, {text}"));
            }
            other => panic!("{place}, {text}: documents have no {other:?}"),
        }
    }
    assert_eq!(logged.unwrap_or_default(), expected_log, "{place}");
    let checked = call_of(base).check();
    let found = checked.map_or_else(|found| found, |(script, _)| script.warnings().clone());
    assert_eq!(by_severity(&found), (refused, warned), "{place}");
    Checked { statements: statements.len(), stops }
}

#[test]
fn examples_of_the_reference_hold() {
    let document = read(&root().join("docs/sdk.md"));
    let examples = blocks(&document, "rhai");
    assert!(examples.len() > 40, "{}", examples.len());
    let mut stops = 0;
    for (line, example) in examples {
        let place = format!("docs/sdk.md:{line}");
        let checked = holds(&place, &example);
        assert!(checked.statements > 0, "{place}: no claims about this example");
        stops += checked.stops;
    }
    assert!(stops > 20, "{stops}");
}

/// Parses a manifest of a document, with `before` in front of it if it is a part of one.
fn accepts(place: &str, manifest: &str, before: &str) {
    let before = if manifest.contains("sdk = ") { "" } else { before };
    let manifest = format!("{before}{manifest}");
    let named = manifest.split('"').filter(|word| word.ends_with(".rhai"));
    let scripts: BTreeSet<String> = named.map(str::to_owned).collect();
    let parsed = parse(manifest.as_bytes(), ParseContext::new(&Ceiling::DEFAULT, &scripts));
    assert!(parsed.is_ok(), "{place}: {:?}", parsed.unwrap_err().diagnostics);
}

#[test]
fn manifests_of_the_reference_are_accepted() {
    let document = read(&root().join("docs/sdk.md"));
    let manifests = blocks(&document, "toml");
    assert!(manifests.len() >= 3);
    for (line, manifest) in manifests {
        accepts(&format!("docs/sdk.md:{line}"), &manifest, "sdk = \"1.1\"\n");
    }
}

#[test]
fn functions_and_properties_are_in_the_reference() {
    let document: String = reference::pages().iter().map(|page| read(&root().join(page))).collect();
    let words: BTreeSet<&str> =
        document.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').collect();
    let missing: Vec<&str> = callable_functions(SdkVersion::NEWEST)
        .map(|(name, _)| name)
        .filter(|name| !words.contains(name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

// ---- programs/ ----

#[test]
fn programs_of_every_kind_hold() {
    let mut ran = 0;
    for file in std::fs::read_dir(root().join("runtime/tests/programs")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(holds(&name, &read(&path)).statements > 0, "{name}: no claims about this program");
        ran += 1;
    }
    assert!(ran >= 7);
}

// ---- what comes with Rhai ----

/// The folder of Rhai's sources in cargo's registry. Packages of other platforms can be missing there.
fn rhai_sources() -> PathBuf {
    let platform = format!("--filter-platform={}", host());
    let arguments = ["metadata", "--format-version=1", "--locked", "--offline", &platform];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let rhai = packages.iter().find(|package| package["name"] == "rhai").unwrap();
    Path::new(rhai["manifest_path"].as_str().unwrap()).parent().unwrap().join("src")
}

/// The platform of this machine, from `rustc -vV`.
fn host() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// Every script in Rhai's documentation, with the name of its file.
fn rhai_scripts(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rhai_scripts(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = read(&path);
            let comments: String = text
                .lines()
                .filter_map(|line| line.trim_start().strip_prefix("///"))
                .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
                .collect();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.extend(blocks(&comments, "rhai").into_iter().map(|(_, script)| (name.clone(), script)));
        }
    }
}

/// Errors in those scripts: mistakes of the documentation, functions of disabled features, placeholders, and
/// functions that the sandbox disables.
const WRONG_IN_RHAI: [(&str, &str); 22] = [
    ("blob_basic", "missing `;`"),
    ("blob_basic", "unknown method `write_be_int`"),
    ("blob_basic", "unknown method `write_le_int`"),
    ("blob_basic", "unknown variable `x`"),
    ("blob_basic", "unknown variable `z`"),
    ("func_call", "unknown function `func`"),
    ("func_call", "unknown method `func`"),
    ("func_call", "unknown variable `a`"),
    ("func_call", "unknown variable `b`"),
    ("func_call", "unknown variable `c`"),
    ("iter_basic", "unterminated string"),
    ("lang_core", "`sleep` is disabled"),
    ("map_basic", "unterminated string"),
    ("map_basic", "unknown variable `x`"),
    ("math_basic", "unknown function `parse_decimal`"),
    ("rhai-repl", "unknown function `test`"),
    ("rhai-repl", "unknown method `test`"),
    ("string_more", "missing `;`"),
    ("string_more", "`'***'` is not a single character"),
    ("string_more", "unterminated string"),
    ("time_basic", "`sleep` is disabled"),
    ("time_basic", "`timestamp` is disabled"),
];

#[test]
fn scripts_of_rhai_have_no_false_positives() {
    let mut scripts = Vec::new();
    rhai_scripts(&rhai_sources(), &mut scripts);
    assert!(scripts.len() >= 240, "{}", scripts.len());
    let (mut found, mut warned) = (BTreeSet::new(), BTreeSet::new());
    for (file, script) in scripts {
        // Replaces the two functions that the sandbox disables.
        let adapted = script.replace("print(", "log::info(").replace("debug(", "log::trace(");
        let (errors, warnings) = diagnostics(SdkVersion::NEWEST, &adapted);
        warned.extend(
            warnings
                .into_iter()
                .map(|diagnostic| (file.clone(), diagnostic.split_once(' ').unwrap().1.to_owned())),
        );
        found.extend(
            errors
                .into_iter()
                .map(|diagnostic| (file.clone(), diagnostic.split_once(' ').unwrap().1.to_owned())),
        );
    }
    let expected = WRONG_IN_RHAI.map(|(file, message)| (file.to_owned(), message.to_owned()));
    assert_eq!(found, BTreeSet::from(expected));
    assert_eq!(warned, BTreeSet::new());
}
