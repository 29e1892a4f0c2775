use std::path::Path;

use manifest_schema::manifest;

use super::*;
use crate::deploy::{File, Snapshot};
use crate::dry_run::RunOptions;
use manifest_schema::diagnostic::{Diagnostics, Severity};
use manifest_schema::name::AppName;
use runtime::Secrets;

const MANIFEST: &str = "sdk = \"1.3\"\n[[routes]]\npath = \"/a/{n}\"\nscript = \"a.rhai\"\n\
    [[routes]]\npath = \"/b\"\nscript = \"b.rhai\"\n[[functions]]\nname = \"double\"\nscript = \"double.rhai\"\n\
    [[schedules]]\nname = \"nightly\"\ncron = \"0 3 * * *\"\nscript = \"b.rhai\"\n[env]\nGREETING = \"Hi\"\n\
    [secrets]\nrequired = [\"KEY\"]\n[limits]\ntimeout = \"200ms\"\n";

const A: &str = "log::info(\"asked\", #{ n: 1 }); #{ n: ctx.request.params.n, list: [1, 2] }";
const B: &str =
    "if ctx.invocation_type == \"scheduled\" { time::rfc3339(ctx.schedule.due) } else { throw \"no b\" }";
const DOUBLE: &str = "import \"lib/math\" as math; math::double(ctx.request.body.n)";
const MATH: &str = "fn double(n) { n * 2 }";

fn suite(files: &[(&str, &str)]) -> Result<Suite, Diagnostics> {
    let mut snapshot = Snapshot::default();
    let mut tests = TestFiles::new();
    let mut app = std::collections::BTreeMap::from([
        (manifest::FILE_NAME, MANIFEST),
        ("a.rhai", A),
        ("b.rhai", B),
        ("double.rhai", DOUBLE),
        ("lib/math.rhai", MATH),
    ]);
    app.extend(files.iter().copied());
    for (path, text) in app {
        let file = File::Bytes(text.to_owned().into());
        match path.ends_with(TEST_SUFFIX) {
            true => drop(tests.insert(path.to_owned(), file)),
            false => snapshot.add(path, || file),
        }
    }
    let secrets = Secrets::new([("KEY".to_owned(), "tangerine".to_owned())].into());
    Suite::of_folder(&snapshot, &tests, AppName::new("shop").unwrap(), &secrets)
}

/// The results of the claims in a file of tests; an empty text for one that passed.
fn results(claims: &str) -> Vec<String> {
    let suite = suite(&[("x.test.rhai", claims)]).unwrap_or_else(|errors| panic!("{claims}: {errors:?}"));
    let outcomes = run_tests(&suite, None, &RunOptions::default()).outcomes.into_iter();
    outcomes.map(|outcome| outcome.mismatch.map(|found| found.to_string()).unwrap_or_default()).collect()
}

#[test]
fn true_claims_pass() {
    let claims = "// GET /a/1 => {\"list\": [1, 2.0], \"n\": \"1\"}\n// logs info \"asked\"\n// logs info \"asked\" {\"n\":1}\n\
                  // header content-type: application/json\n// contains \"list\"\n// GET /a/1 => 200 application/json\n\
                  // GET /none => 404\n// GET /b => 500\n// fails no b\n// call double {\"n\":2} => 4\n\
                  // at 2026-12-01T03:00:00Z\n// scheduled nightly => \"2026-12-01T03:00:00Z\"\n";
    assert_eq!(results(claims), [""; 6]);
}

#[test]
fn false_claims_fail_with_the_first_difference() {
    let cases = [
        ("GET /a/1 => {\"list\":[1,3],\"n\":\"1\"}", "/list/1: expected 3, found 2"),
        ("GET /a/1 => {\"n\":\"1\"}", "/list: expected nothing, found [1,2]"),
        ("GET /b => 1", "status: expected 200, found 500 (b.rhai:1:82: no b)"),
        ("GET /none => 1", "status: expected 200, found 404 (no route has this path)"),
        ("GET /a/1 => 200 text/plain", "content type: expected text/plain, found application/json"),
        ("GET /a/1 =>\n// header location: /", "header location: expected /, found none"),
        (
            "GET /a/1 =>\n// contains <b>",
            "body: expected a text with \"<b>\", found \"{\\\"list\\\":[1,2],\\\"n\\\":\\\"1\\\"}\"",
        ),
        (
            "GET /a/1 =>\n// logs warn \"asked\"",
            "log: expected warn \"asked\", found info \"asked\" {\"n\":1}",
        ),
        ("GET /a/1 =>\n// fails no", "failure: expected \"no\", found an answer with status 200"),
        ("call triple 1 => 3", "function: expected `triple`, found double"),
        ("scheduled daily => 3", "schedule: expected `daily`, found nightly"),
    ];
    for (claim, expected) in cases {
        assert_eq!(results(&format!("// {claim}")), [expected], "{claim}");
    }
}

#[test]
fn claims_of_a_script_reach_it() {
    let script = format!("// GET /a/7 => 200\n// GET /b => 500\n// GET /none => 404\n// call 1 => 1\n{A}");
    let suite = suite(&[("a.rhai", &script)]).unwrap();
    let report = run_tests(&suite, None, &RunOptions::default());
    let found: Vec<String> = report.failed().map(|(test, found)| format!("{}: {found}", test.line)).collect();
    assert_eq!(
        found,
        [
            "2: script: expected a.rhai, found b.rhai (the route of this path belongs to b.rhai)",
            "3: script: expected a.rhai, found none, and status 404 (no route has this path)",
            "4: function: expected one that runs this script, found double",
        ]
    );
    assert_eq!(report.outcomes.len(), 4);
    assert_eq!(run_tests(&suite, Some("/b"), &RunOptions::default()).outcomes.len(), 1);
}

#[test]
fn files_with_code_test_libraries() {
    let code = "import \"lib/math\" as math;\n[math::double(4), ctx.env.GREETING, ctx.secrets.KEY.len()]\n// => [8,\"Hi\",9]\n\n\
                // with secret KEY=a-longer-secret\n// => [8, \"Hi\", 15]\n\n// => 8\n";
    assert_eq!(results(code), ["", "", "body: expected 8, found [8,\"Hi\",9]"]);
    assert_eq!(results("throw \"never\";\n// fails never"), [""]);
    let stopped = results("loop {}\n// => 1");
    assert!(stopped[0].starts_with("status: expected 200, found 50"), "{stopped:?}");
}

#[test]
fn settings_apply_to_their_group_or_to_the_file() {
    let code = "time::rfc3339(time::now());\n// at 2026-12-01T03:00:00Z\n\n// => \"2026-12-01T03:00:00Z\"\n\n\
                // at 2027-12-01T03:00:00Z\n// => \"2027-12-01T03:00:00Z\"\n\n// => \"2026-12-01T03:00:00Z\"";
    let code = code.replacen("time::rfc3339(time::now());", "time::rfc3339(time::now())", 1);
    assert_eq!(results(&code), [""; 3]);
}

#[test]
fn wrong_files_are_errors() {
    let cases = [
        (("x.test.rhai", "// nothing"), "x.test.rhai: the file of tests has no claims"),
        (("x.test.rhai", "// => 1"), "x.test.rhai: the file has no code that ends with a value"),
        (("x.test.rhai", "// GET / 200"), "x.test.rhai: the claim has no ` => ` before the answer"),
        (("x.test.rhai", "nope()\n// => 1"), "x.test.rhai: unknown function `nope`"),
        (
            ("x.test.rhai", "// with secret NO=1\n// GET /b => 1"),
            "x.test.rhai: the manifest declares no secret `NO` in [secrets]",
        ),
        (
            ("lib/math.rhai", "fn double(n) { n }\n// GET /b => 1"),
            "lib/math.rhai: no route, schedule or function runs this script, so it cannot have claims",
        ),
    ];
    for (file, expected) in cases {
        let errors = suite(&[file]).unwrap_err();
        let found: Vec<String> = errors
            .iter()
            .filter(|error| error.severity == Severity::Error)
            .map(|error| format!("{}: {}", error.file, error.message))
            .collect();
        assert_eq!(found, [expected], "{file:?}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let results = results("throw ctx.secrets.KEY;\n// => 1");
    assert!(!results[0].contains("tangerine") && results[0].contains("500"), "{results:?}");
}

/// The files of a folder as a push of all of them sends them.
fn read_folder(folder: &Path, prefix: &str, snapshot: &mut Snapshot, tests: &mut TestFiles) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            read_folder(&entry.path(), &format!("{path}/"), snapshot, tests);
            continue;
        }
        let file = File::Bytes(std::fs::read(entry.path()).unwrap().into());
        match path.ends_with(TEST_SUFFIX) {
            true => drop(tests.insert(path, file)),
            false => snapshot.add(&path, || file),
        }
    }
}

#[test]
fn tests_of_example_apps_pass() {
    let mut passed = 0;
    for app in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")).unwrap() {
        let (mut snapshot, mut tests) = (Snapshot::default(), TestFiles::new());
        read_folder(&app.unwrap().path(), "", &mut snapshot, &mut tests);
        let name = AppName::new("example").unwrap();
        let suite = Suite::of_folder(&snapshot, &tests, name, &Secrets::default()).unwrap();
        let report = run_tests(&suite, None, &RunOptions::default());
        let failed: Vec<String> =
            report.failed().map(|(test, found)| format!("{}:{}: {found}", test.file, test.line)).collect();
        assert_eq!(failed, Vec::<String>::new());
        passed += report.outcomes.len();
    }
    assert!(passed >= 10, "{passed}");
}
