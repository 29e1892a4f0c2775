//! `import "lib/text" as text;`: functions and constants of other files of the commit.

use manifest_schema::diagnostic::{Diagnostic, Severity};
use manifest_schema::sdk::SdkVersion;

use super::support::FailureKind;
use super::{Call, call};

const TEXT: &str = r#"
import "lib/words" as words;

export const LIMIT = 5;
export const MARKS = ["…", "!"];

/// Shortens a text.
fn shorten(text) {
    if text.len() <= global::LIMIT { return text; }
    cut(text, global::LIMIT) + global::MARKS[0]
}

private fn cut(text, length) { text.sub_string(0, length) }

fn first_words(text, n) { words::of(text).extract(0, n) }

fn each(items, f) { items.map(|item| f.call(item)) }

fn shortener(limit) { |text| cut(text, limit) }

fn own(name) { Fn(name) }

fn by_name() { Fn("shorten").call("abcdefgh") }

fn as_value(items) { items.map(shorten) }

fn doubled() { this + this }

fn twice(text) { text.doubled() }

fn path() { ctx.request.path }
"#;

const WORDS: &str = "fn of(text) { text.split(\" \") }\nfn cut(a, b) { throw \"the wrong one\" }";

fn with(source: &str, libraries: &[(&'static str, &'static str)]) -> Call {
    Call { libraries: libraries.to_vec(), ..call(source) }
}

fn texts(source: &str) -> Call {
    with(
        &format!("import \"lib/text\" as text;\n{source}"),
        &[("lib/text.rhai", TEXT), ("lib/words.rhai", WORDS)],
    )
}

/// The diagnostics of a push, in the form `file:line:column: message; help`.
fn found(call: &Call) -> Vec<String> {
    let diagnostics = match call.check() {
        Ok((mut script, _)) => script.take_warnings(),
        Err(diagnostics) => diagnostics,
    };
    let written = |diagnostic: &Diagnostic| {
        let at =
            diagnostic.span.as_ref().map_or(String::new(), |span| format!(":{}:{}", span.line, span.column));
        let help = diagnostic.help.as_ref().map_or(String::new(), |help| format!("; {help}"));
        let severity = if diagnostic.severity == Severity::Warning { "warning: " } else { "" };
        format!("{severity}{}{at}: {}{help}", diagnostic.file, diagnostic.message)
    };
    diagnostics.iter().map(written).collect()
}

#[test]
fn functions_and_constants_are_called_by_alias() {
    for (source, value) in [
        ("text::shorten(\"abcdefgh\")", "\"abcde…\""),
        ("text::first_words(\"one two three\", 2)", "[\"one\",\"two\"]"),
        ("[text::LIMIT, text::MARKS, text::MARKS.len() + text::LIMIT]", "[5,[\"…\",\"!\"],7]"),
        ("`${text::shorten(`${text::LIMIT}bcdefgh`)}`", "\"5bcde…\""),
        ("text::path()", "\"/\""),
        ("text::by_name()", "\"abcde…\""),
        ("text::as_value([\"abcdefg\"])", "[\"abcde…\"]"),
        ("text::twice(\"ab\")", "\"abab\""),
    ] {
        assert_eq!(texts(source).text(), value, "{source}");
        assert_eq!(texts(source).stored().text(), value, "{source}, as loaded by another node");
    }
}

#[test]
fn names_are_those_of_the_file() {
    // Both files have a function `cut`, and the script too.
    let source = "fn cut(a, b) { \"own\" } fn shorten(x) { \"own\" }
                  [cut(1, 2), shorten(1), text::shorten(\"abcdefgh\"), text::each([1], |x| cut(x, x))]";
    assert_eq!(texts(source).text(), r#"["own","own","abcde…",["own"]]"#);
    let source = "const LIMIT = 9; let limit = || text::LIMIT; [LIMIT, limit.call()]";
    assert_eq!(texts(source).text(), "[9,5]");
}

#[test]
fn closures_and_function_pointers_pass_between_files() {
    assert_eq!(texts("let f = text::shortener(2); f.call(\"abc\")").text(), "\"ab\"");
    assert_eq!(texts("[\"abc\"].map(text::shortener(1))").text(), "[\"a\"]");
    assert_eq!(texts("let n = 2; text::each([1, 2], |x| x * n)").text(), "[2,4]");
    assert_eq!(texts("fn g(x) { -x } text::each([1], Fn(\"g\"))").text(), "[-1]");
}

#[test]
fn errors_and_log_lines_are_placed_in_their_file() {
    let libraries = [("lib/a.rhai", "fn f(x) {\n  log::info(\"here\");\n  [1][x]\n}\nfn g(x) { f(x) }")];
    let source = "import \"lib/a\" as a;\n\nlog::info(\"before\");\na::g(7)";
    let ran = with(source, &libraries).run();
    let failure = ran.execution.outcome.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "script_error at lib/a.rhai:3:7: index 7 is out of bounds: the array has 1 element"
    );
    let places: Vec<_> =
        ran.log.iter().map(|line| (line.library.as_ref().map(ToString::to_string), line.line)).collect();
    assert_eq!(places, [(None, Some(3)), (Some("lib/a.rhai".to_owned()), Some(2))]);
    let failure = with("import \"lib/a\" as a;\nlet f = a::g(0);\nf.nope.nope", &libraries).failure();
    assert_eq!(failure.location.unwrap().to_string(), "main.rhai:3:3");
    // A caught error of a call is placed at the call.
    let caught =
        "import \"lib/a\" as a;\nlet at = []; try { a::f(1) } catch (e) { at = [e.file, e.line] } at";
    assert_eq!(with(caught, &libraries).text(), "[null,2]");
    let catches = [(
        "lib/a.rhai",
        "fn f() {\n  let at = [];\n  try { [][1] } catch (e) { at = [e.file, e.line] }\n  at\n}",
    )];
    assert_eq!(with("import \"lib/a\" as a; a::f()", &catches).text(), r#"["lib/a.rhai",3]"#);
    let caught = "import \"lib/a\" as a;\nlet x = a::f(0);\nlet at = []; try { [][1] } catch (e) { at = [e.file, e.line] } at";
    assert_eq!(with(caught, &libraries).text(), "[null,3]");
}

#[test]
fn limits_and_exit_hold_in_libraries() {
    let libraries =
        [("a.rhai", "fn forever() { loop { } } fn out(x) { exit(x) } fn deep(n) { deep(n + 1) }")];
    let failure =
        |source: &str| with(source, &libraries).limits(|limits| limits.operations = 10_000).failure();
    assert_eq!(failure("import \"a\" as a; try { a::forever() } catch { 1 }").kind, FailureKind::Operations);
    assert_eq!(failure("import \"a\" as a; try { a::deep(1) } catch { 1 }").kind, FailureKind::Depth);
    assert_eq!(with("import \"a\" as a; try { a::out(7) } catch { 1 }", &libraries).text(), "7");
}

#[test]
fn calls_are_checked_against_the_library() {
    for (source, expected) in [
        ("text::shortn(1)", "main.rhai:2:1: lib/text.rhai has no function `shortn`; did you mean `shorten`?"),
        ("text::shorten()", "main.rhai:2:1: `text::shorten` takes 1 argument, not 0"),
        (
            "text::cut(1, 2)",
            "main.rhai:2:1: `cut` is private in lib/text.rhai; remove `private` before `fn cut`",
        ),
        ("text::LIMT", "main.rhai:2:1: lib/text.rhai has no constant `LIMT`; did you mean `LIMIT`?"),
        ("text::LIMIT()", "main.rhai:2:1: `text::LIMIT` is a constant, not a function; write `text::LIMIT`"),
        (
            "[1].map(text::shorten)",
            "main.rhai:2:9: lib/text.rhai has no constant `shorten`; it is a function; write `text::shorten(...)`, or a closure to pass it on",
        ),
        (
            "texts::shorten(1)",
            "main.rhai:2:1: unknown function `texts::shorten`; did you mean `text::shorten`?",
        ),
    ] {
        let found = found(&texts(source));
        assert!(found.iter().any(|line| line == expected), "{source}: {found:#?}");
    }
}

#[test]
fn import_statements_are_checked() {
    let libraries = [
        ("lib/a.rhai", "fn f() { 1 }"),
        ("lib/b.rhai", "let x = 1; fn f() { x }"),
        ("lib/c.rhai", "fn f( {"),
    ];
    for (source, expected) in [
        (
            "import \"lib/x\" as x; x::f()",
            "main.rhai:1:8: the repository has no `lib/x.rhai`; did you mean `lib/a`?",
        ),
        (
            "import \"./lib/a.rhai\" as a; a::f()",
            "main.rhai:1:8: `./lib/a.rhai` is not the path of a library; write `\"lib/a\"`: paths start at the root of the repository",
        ),
        (
            "import \"../a\" as a; a::f()",
            "main.rhai:1:8: `../a` is not the path of a library; paths start at the root of the repository and have no `..` and no extension",
        ),
        ("import \"lib/a\"; 1", "main.rhai:1:1: the import has no name; write `import \"lib/a\" as a;`"),
        (
            "let x = \"lib/a\"; import x as a; a::f()",
            "main.rhai:1:25: the path of an import must be written out; write `import \"lib/text\" as text;`",
        ),
        (
            "import \"lib/a\" as time; time::f()",
            "main.rhai:1:19: `time` is a module of the SDK; choose another name after `as`",
        ),
        (
            "import \"lib/a\" as a; import \"lib/a\" as a; a::f()",
            "main.rhai:1:40: `a` is imported twice; choose another name after `as`",
        ),
        (
            "if true { import \"lib/a\" as a; a::f() }",
            "main.rhai:1:11: `import` is only allowed at the top level of a file; move it to the beginning of the file",
        ),
        (
            "fn f() { import \"lib/a\" as a; a::f() } f()",
            "main.rhai:1:10: `import` is only allowed at the top level of a file; move it to the beginning of the file",
        ),
        ("import \"lib/a\" as a; 1", "warning: main.rhai:1:19: unused import `a`"),
        (
            "import \"lib/b\" as b; b::f()",
            "lib/b.rhai:1:1: statement at the top level of a library; a library only has functions, `export const` and imports; move the statement into a function",
        ),
        (
            "import \"lib/c\" as c; c::f()",
            "lib/c.rhai:1:7: `)` is missing to close the parameters list of function `f`; the `(` of line 1 is still open",
        ),
    ] {
        let found = found(&with(source, &libraries));
        assert!(found.iter().any(|line| line == expected), "{source}: {found:#?}");
    }
    let older = Call { sdk: SdkVersion::V1_2, ..with("import \"lib/a\" as a; 1", &libraries) };
    assert_eq!(
        found(&older),
        ["main.rhai:1:1: `import` is disabled; imports require sdk 1.3; define the functions in the script"]
    );
}

#[test]
fn libraries_hold_functions_constants_and_imports_only() {
    for (library, expected) in [
        (
            "const X = 1; fn f() { 1 }",
            "a.rhai:1:1: a library only has exported constants; write `export const X`",
        ),
        (
            "export let x = 1; fn f() { 1 }",
            "a.rhai:1:8: statement at the top level of a library; a library only has functions, `export const` and imports; move the statement into a function",
        ),
        (
            "export const X = f(); fn f() { 1 }",
            "a.rhai:1:18: the value of `X` is not a literal; a library runs nothing when it is imported; write a function",
        ),
        ("fn f() { nope() }", "a.rhai:1:10: unknown function `nope`"),
        (
            "import \"x\" as x; fn f() { x::g() }",
            "a.rhai:1:8: the repository has no `x.rhai`; paths start at the root of the repository",
        ),
    ] {
        let found = found(&with("import \"a\" as a; a::f()", &[("a.rhai", library)]));
        assert!(found.iter().any(|line| line == expected), "{library}: {found:#?}");
    }
}

#[test]
fn cycles_and_long_chains_of_imports_are_refused() {
    let cycle = [
        ("lib/a.rhai", "import \"lib/b\" as b; fn f() { b::f() }"),
        ("lib/b.rhai", "import \"lib/c\" as c; fn f() { c::f() }"),
        ("lib/c.rhai", "import \"lib/a\" as a; fn f() { a::f() }"),
    ];
    assert_eq!(
        found(&with("import \"lib/b\" as b; b::f()", &cycle)),
        [
            "lib/a.rhai:1:8: imports form a cycle: lib/b -> lib/c -> lib/a -> lib/b; move what both need into a third file"
        ]
    );
    let own = [("a.rhai", "import \"a\" as a; fn f() { a::f() }")];
    assert_eq!(
        found(&with("import \"a\" as a; a::f()", &own)),
        ["a.rhai:1:8: imports form a cycle: a -> a; move what both need into a third file"]
    );
    let chain: Vec<(&'static str, &'static str)> = vec![
        ("1.rhai", "import \"2\" as n; fn f() { n::f() }"),
        ("2.rhai", "import \"3\" as n; fn f() { n::f() }"),
        ("3.rhai", "import \"4\" as n; fn f() { n::f() }"),
        ("4.rhai", "import \"5\" as n; fn f() { n::f() }"),
        ("5.rhai", "import \"6\" as n; fn f() { n::f() }"),
        ("6.rhai", "import \"7\" as n; fn f() { n::f() }"),
        ("7.rhai", "import \"8\" as n; fn f() { n::f() }"),
        ("8.rhai", "import \"9\" as n; fn f() { n::f() }"),
        ("9.rhai", "fn f() { 9 }"),
    ];
    assert_eq!(with("import \"2\" as n; n::f()", &chain).text(), "9");
    let found = found(&with("import \"1\" as n; n::f()", &chain));
    assert_eq!(
        found,
        ["8.rhai:1:8: imports are nested more than 8 levels deep; import the file where it is needed"]
    );
}

#[test]
fn linked_scripts_are_bounded() {
    let text: &'static str =
        Box::leak(format!("fn f() {{ 1 }}\n// {}", "x".repeat(250 * 1024)).into_boxed_str());
    let names = ["a", "b", "c", "d", "e"];
    let files = ["a.rhai", "b.rhai", "c.rhai", "d.rhai", "e.rhai"];
    let libraries: Vec<_> = files.map(|file| (file, text)).to_vec();
    let imports: String = names.map(|name| format!("import \"{name}\" as {name}; {name}::f();")).concat();
    assert_eq!(
        found(&with(&imports, &libraries)),
        ["main.rhai: the script and its libraries are longer than 1024 KiB; import fewer libraries"]
    );
    let many: String = (0..400).map(|n| format!("fn f{n}() {{ 1 }}\n")).collect();
    let many: &'static str = Box::leak(many.into_boxed_str());
    let libraries: Vec<_> = files[..3].iter().map(|file| (*file, many)).collect();
    let imports: String =
        names[..3].iter().map(|name| format!("import \"{name}\" as {name}; {name}::f1();")).collect();
    assert_eq!(
        found(&with(&imports, &libraries)),
        ["main.rhai: the script and its libraries have more than 1000 functions; import fewer libraries"]
    );
}

#[test]
fn only_what_the_reached_libraries_read_is_built() {
    let libraries = [("body.rhai", "fn body() { ctx.request.body }"), ("none.rhai", "fn one() { 1 }")];
    let read = with("import \"body\" as b; b::body()", &libraries).body("application/json", "{");
    assert_eq!(read.failure().kind, FailureKind::InvalidJson);
    let not_read = with("import \"none\" as n; n::one()", &libraries).body("application/json", "{");
    assert_eq!(not_read.text(), "1");
}
