use manifest_schema::diagnostic::Severity;
use proptest::prelude::*;

use super::*;

/// The diagnostics of a script, whose help is applied too.
#[track_caller]
fn errors_for(sdk: SdkVersion, source: &str) -> Vec<String> {
    let wrong = mistakes::wrong_help(sdk, source);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    errors_of_anything(sdk, source)
}

/// The errors of generated text.
fn errors_of_anything(sdk: SdkVersion, source: &str) -> Vec<String> {
    let path = ScriptPath::new("a.rhai").unwrap();
    let Err(diagnostics) = compile(sdk, &path, source) else { return Vec::new() };
    diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .cloned()
        .map(|diagnostic| {
            assert_eq!(diagnostic.file, "a.rhai");
            let place =
                diagnostic.span.map(|place| format!("{}:{} ", place.line, place.column)).unwrap_or_default();
            let help = diagnostic.help.map(|help| format!(" | {help}")).unwrap_or_default();
            format!("{place}{}{help}", diagnostic.message)
        })
        .collect()
}

#[track_caller]
fn diagnostics(source: &str) -> Vec<String> {
    errors_for(SdkVersion::V1_1, source)
}

#[track_caller]
fn clean(source: &str) {
    assert_eq!(diagnostics(source), Vec::<String>::new(), "{source}");
}

fn uses(source: &str) -> Uses {
    compile(SdkVersion::V1_1, &ScriptPath::new("a.rhai").unwrap(), source).unwrap().uses()
}

#[test]
fn unknown_function_is_reported_with_suggestion() {
    let path = ScriptPath::new("greet.rhai").unwrap();
    let diagnostics = compile(SdkVersion::V1_1, &path, "\n\nlgo::info(\"hi\");\n").unwrap_err();
    let diagnostic = diagnostics.iter().next().unwrap();
    let place = diagnostic.span.as_ref().unwrap();
    assert_eq!((place.line, place.column, place.width), (3, 1, 9));
    assert_eq!(place.source, "lgo::info(\"hi\");");
    assert_eq!(diagnostic.message, "unknown function `lgo::info`");
    assert_eq!(diagnostic.help.as_deref(), Some("did you mean `log::info`?"));
}

#[test]
fn all_errors_are_reported_at_once_in_order() {
    assert_eq!(
        diagnostics(
            "fn greet(name) { hi(name) }\nlet total = 1;\ngreet();\ntotl + 1;\n\"x\".trimm();\nprint(1);"
        ),
        [
            "1:18 unknown function `hi`",
            "3:1 `greet` takes 1 argument, not 0",
            "4:1 unknown variable `totl` | did you mean `total`?",
            "5:5 unknown method `trimm` | did you mean `trim`?",
            "6:1 `print` is disabled | use `log::info`",
        ]
    );
}

#[test]
fn disabled_functions_are_reported_with_help() {
    assert_eq!(
        diagnostics("import \"x\" as x;\neval(\"1\");\ndebug(1);\nsleep(1);"),
        [
            "1:1 `import` is disabled | imports require sdk 1.3; define the functions in the script",
            "2:1 `eval` is disabled | write the code directly, or call a function by name with `Fn(\"name\")`",
            "3:1 `debug` is disabled | use `log::trace`",
            "4:1 `sleep` is disabled | scripts cannot wait; use a schedule for later work",
        ]
    );
    assert_eq!(
        diagnostics("  log::debug(\"x\");"),
        ["1:3 `log::debug` does not exist: `debug` is reserved in Rhai | use `log::trace`"]
    );
}

#[test]
fn parse_errors_have_positions() {
    assert_eq!(diagnostics("let x = ;"), ["1:9 unexpected `;`"]);
    assert_eq!(diagnostics("let a = 1\nlet b = 2;"), ["1:10 missing `;` | write `;`"]);
    assert_eq!(diagnostics("let spawn = 1;"), ["1:5 `spawn` is a reserved word | choose another name"]);
    assert_eq!(diagnostics("let x = \"abc").len(), 1);
    assert_eq!(diagnostics("if true {").len(), 1);
}

#[test]
fn byte_order_mark_is_accepted_and_not_counted() {
    let path = ScriptPath::new("a.rhai").unwrap();
    let source = "\u{feff}let a = 1;\na";
    clean(source);
    let budget: Arc<dyn CompileBudget> = Arc::new(UnlimitedMemory);
    assert!(recompile(SdkVersion::V1_1, &path, source, &[], &budget).is_ok());
    assert_eq!(diagnostics("\u{feff}nope()"), ["1:1 unknown function `nope`"]);
    assert_eq!(diagnostics("\u{feff}let x = ;"), ["1:9 unexpected `;`"]);
}

#[test]
fn foreign_words_are_translated_and_hide_no_error() {
    assert_eq!(
        diagnostics("var x = null;\nif x === 1 { nope() }\nlog::debug(x);\nundefined"),
        [
            "1:1 `var` is not valid Rhai | write `let`",
            "1:9 `null` is not valid Rhai | write `()`",
            "2:6 `===` is not valid Rhai | write `==`",
            "2:14 unknown function `nope`",
            "3:1 `log::debug` does not exist: `debug` is reserved in Rhai | use `log::trace`",
            "4:1 unknown variable `undefined` | write `()`",
        ]
    );
    for (source, found) in [
        ("const a = 1; a = 2;", "1:14 `a` is a constant | declare it with `let` to change it"),
        (
            "fn f(x) { x } fn f(y) { y }",
            "1:15 function `f` with 1 parameter is defined twice | overloads must differ in the number of parameters",
        ),
        ("fn f(a, a) { a }", "1:9 duplicate parameter `a` of function `f`"),
        (
            "fn f() { fn g() { 1 } }",
            "1:10 functions cannot be defined inside a block or another function | define it at the top level, or use a closure: `let f = |x| x + 1;`",
        ),
        ("let x = 1; x++;", "1:13 `++` is not valid Rhai | write `x += 1`"),
        ("let s = 'hello';", "1:9 `'hello'` is not a single character | write `\"hello\"`"),
        ("let x = { a: 1 };", "1:9 `{` starts a block | maps start with `#{`"),
        ("let f = (x) => x;", "1:13 `=>` is not valid Rhai | write closures as `|x|`"),
        ("function f(x) { x }", "1:1 `function` is not valid Rhai | write `fn`"),
        ("if true { 1 } elif false { 2 }", "1:15 `elif` is not valid Rhai | write `else if`"),
        ("let x = 2; if x = 1 { }", "1:17 assignment in a condition | write `==`"),
        ("print 1", "1:1 `print` is not valid Rhai | write `log::info(1)`"),
        ("let x = \"abc\ndef\";", "1:9 unterminated string | multi-line strings need backquotes"),
        ("for (let i = 0; i < 3; i++) {}", "1:5 invalid loop syntax | write `for i in 0..3`"),
    ] {
        assert_eq!(diagnostics(source), [found], "{source}");
    }
}

#[test]
fn language_functions_are_checked() {
    assert_eq!(
        diagnostics(
            "fn ring() { 1 } let f = Fn(\"rng\"); let g = Fn(\"eval\"); type_of(1, 2); is_def_fn(\"f\"); curry()"
        ),
        [
            "1:28 unknown function `rng` | did you mean `ring`?",
            "1:47 `eval` is disabled | write the code directly, or call a function by name with `Fn(\"name\")`",
            "1:56 `type_of` takes 1 argument, not 2",
            "1:71 `is_def_fn` takes 2 or 3 arguments, not 1",
            "1:87 `curry` takes at least 1 argument",
        ]
    );
    assert_eq!(
        diagnostics(
            "const RATE = 2; let price = 1; fn f() { global::RATES + global::price + math::PI + log::info }"
        ),
        [
            "1:41 unknown name `global::RATES` | did you mean `global::RATE`?",
            "1:57 unknown name `global::price` | `global::` only reaches constants; declare it as `const price`",
            "1:73 unknown name `math::PI`",
            "1:84 unknown name `log::info` | it is a function; call it as `log::info(...)`",
        ]
    );
    clean("let f = Fn(\"max\"); let plus = Fn(\"+\"); let g = Fn(\"la\" + \"ter\"); f.call(1, 2)");
    clean("if is_def_fn(\"maybe\", 0) { Fn(\"maybe\").call() }");
}

#[test]
fn unclosed_bracket_is_reported_with_its_start() {
    assert_eq!(
        diagnostics("fn f(x) {\n  if x {\n    1\n}\nf(1)"),
        ["4:1 unclosed `{` of line 2: is a `}` missing before line 4? | add `}` there"]
    );
    assert_eq!(
        diagnostics("let a = [1,\n  max(2, 3"),
        ["2:6 unclosed `(` | the script ends without the closing `)`"]
    );
    assert_eq!(
        diagnostics("let a = (1 +\n2];"),
        ["2:2 mismatched `]`: it closes the `(` of line 1 | write `)`"]
    );
    assert_eq!(diagnostics("`text ${1"), ["1:7 unclosed `${` | the script ends without the closing `}`"]);
}

#[test]
fn text_in_backquotes_that_is_never_closed_is_reported_whatever_it_holds() {
    for source in ["`${1}", "`${1}\u{e4}", "`\u{1f600}${1}\u{1f600}", "`a${}", "x`${1}"] {
        assert!(!errors_of_anything(SdkVersion::V1_1, source).is_empty(), "{source}");
    }
}

#[test]
fn comment_that_is_never_closed_is_reported_where_it_begins() {
    let rest = "the rest of the script is a comment; add `*/` where it ends";
    let nested = "comments nest: the inner `/*` of line 3 needs its own `*/`";
    for (source, found) in [
        ("1;\n /* all that follows\nnope()", format!("2:2 `/*` is never closed | {rest}")),
        ("1;\n/* a\n/* b */\nctx.request.path", format!("2:1 `/*` is never closed | {nested}")),
        ("1; // /*\n/*", format!("2:1 `/*` is never closed | {rest}")),
    ] {
        assert_eq!(errors_for(SdkVersion::V1_3, source), [found], "{source}");
        clean(source);
        let compiled = compile(SdkVersion::V1_2, &ScriptPath::new("a.rhai").unwrap(), source).unwrap();
        assert_eq!(compiled.warnings().warnings(), 1, "{source}");
    }
    // In a function it takes the `}` with it, which no version parses.
    assert_eq!(diagnostics("fn f(a) {\n  a /* why\n}\nf(1)"), [format!("2:5 `/*` is never closed | {rest}")]);
    for source in
        ["1 /* /* */ */ + 1", "\"/*\" + '/'", "`/*${1 /* in code */}/*`", "// /*\n1", "#\"/*\"#", "1 /**/"]
    {
        assert_eq!(errors_for(SdkVersion::V1_3, source), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn wrong_argument_counts_are_reported() {
    assert_eq!(
        diagnostics("fn f(a) { a } fn f(a, b) { a + b } f(1, 2, 3)"),
        ["1:36 `f` takes 1 or 2 arguments, not 3"]
    );
    assert_eq!(
        diagnostics("fn add(a, b) { a + b } 1.add(2)"),
        ["1:26 `add` takes 2 arguments, not 1 | call it as `add(...)`: the value before the dot is `this`"]
    );
    assert_eq!(diagnostics("\"x\".trim(1)"), ["1:5 `trim` takes 0 arguments, not 1"]);
    assert_eq!(diagnostics("log::info()"), ["1:1 `log::info` takes 1 or 2 arguments, not 0"]);
}

#[test]
fn common_mistakes_with_functions_are_explained() {
    assert_eq!(diagnostics("info(\"x\")"), ["1:1 unknown function `info` | did you mean `log::info`?"]);
    assert_eq!(
        diagnostics("let double = |x| x * 2; double(4)"),
        [
            "1:25 unknown function `double` | `double` is a variable; call the function it holds with `double.call(...)`"
        ]
    );
    assert_eq!(
        diagnostics("let rate = 3; fn cost(x) { x * rate } cost(2)"),
        [
            "1:32 unknown variable `rate` | functions cannot access the script's variables; pass it as an argument"
        ]
    );
}

#[test]
fn variables_are_checked_in_their_scope() {
    assert_eq!(diagnostics("x"), ["1:1 unknown variable `x`"]);
    assert_eq!(diagnostics("{ let y = 1; } y").len(), 1);
    assert_eq!(diagnostics("let f = || missing; f.call()"), ["1:12 unknown variable `missing`"]);
    assert_eq!(diagnostics("fn g() { || || lost } g()"), ["1:16 unknown variable `lost`"]);
    assert_eq!(diagnostics("`${who}`"), ["1:4 unknown variable `who`"]);
    assert_eq!(diagnostics("try { 1 } catch (e) { } e").len(), 1);
    assert_eq!(diagnostics("for i in 0..3 { } i").len(), 1);
    assert_eq!(diagnostics("let a = b; let b = 1;").len(), 1);
}

#[test]
fn unknown_properties_of_ctx_are_reported() {
    assert_eq!(diagnostics("ctx.reqest.path"), ["1:5 `ctx` has no `reqest` | did you mean `request`?"]);
    assert_eq!(
        diagnostics("ctx.request.heads"),
        ["1:13 `ctx.request` has no `heads` | did you mean `headers`?"]
    );
    assert_eq!(
        diagnostics("fn f() { ctx.request.zzzzzz[0] } f()"),
        ["1:22 `ctx.request` has no `zzzzzz` | available: path, headers, body, params, query, rest"]
    );
    assert_eq!(diagnostics("let f = |x| ctx.nme + x; f.call(1)").len(), 1);
    assert_eq!(diagnostics("ctx[\"reqest\"].path"), ["1:5 `ctx` has no `reqest` | did you mean `request`?"]);
    assert_eq!(
        diagnostics("ctx.request[\"heads\"]"),
        ["1:13 `ctx.request` has no `heads` | did you mean `headers`?"]
    );
    clean("ctx.request[\"body\"][\"anything\"]; let key = \"x\"; ctx[key]; ctx[\"request\"][\"path\"]");
    assert_eq!(
        errors_for(SdkVersion::V1_0, "ctx.request.rest"),
        [
            "1:13 `ctx.request.rest` requires sdk 1.1, the manifest has 1.0 | set `sdk = \"1.1\"` in the manifest"
        ]
    );
    clean("let ctx = #{ anything: 1 }; ctx.anything");
    clean("let f = |ctx| ctx.anything; f.call(#{ anything: 1 })");
    clean("ctx.request.body.anything.at.all");
}

#[test]
fn ctx_cannot_be_changed() {
    for source in
        ["ctx = 1;", "ctx.request = 1;", "ctx.request.body.x = 1;", "ctx.request.params[\"a\"] += 1;"]
    {
        let found = diagnostics(source);
        assert_eq!(found.len(), 1, "{source}");
        assert!(found[0].contains("`ctx` is read-only"), "{found:?}");
    }
    clean("let body = ctx.request.body; body.x = 1;");
}

#[test]
fn possible_names_have_no_findings() {
    for source in [
        // Functions and closures, in any order and by name.
        "let x = later(1); fn later(n) { n + 1 } x",
        "let f = Fn(\"later\"); fn later(n) { n } f.call(1) + call(f, 2)",
        "fn f(a, b) { a + b } let g = curry(Fn(\"f\"), 1); g.call(2)",
        "fn f(x) { x } let g = f; g.call(1)",
        "let n = 2; let f = |x| x * n; [1, 2].map(f).reduce(|sum, v| (sum ?? 0) + v)",
        "let make = |n| |x| x + n; make.call(1).call(2)",
        "fn outer() { let n = 1; let f = || { let g = || n; g.call() }; f.call() } outer()",
        "let f = || ctx.request.path; f.call()",
        // Methods: on `this`, of maps, of any type.
        "fn double() { this * 2 } let x = 2; x.double()",
        "fn add(n) { this + n } 1.add(2)",
        "let o = #{ hit: 0, act: |n| this.hit += n }; o.act(1); o.hit",
        "let o = #{}; o.later = || 1; o.later()",
        "let o = #{}; o[\"other\"] = |x| x; o.other(1)",
        "let m = ctx.request.body; m.items.filter(|i| i.price > 3).len()",
        "let s = \"a,b\"; s.split(\",\").map(|p| p.to_upper()); s.len; s.is_empty()",
        "len(\"x\"); to_upper(\"x\"); push([1], 2)",
        "#{ a: 1 }.keys().contains(\"a\"); 1.max(2); max(1, 2); \"x\" in [\"x\"]; 5.is_odd",
        // Scopes.
        "let x = 1; { let x = x + 1; x } x",
        "let x = 1; let x = \"a\" + x; x",
        "for (item, index) in [1, 2] { let y = item + index; y }",
        "try { throw \"no\" } catch (e) { log::warn(e) }",
        "try { 1 } catch { 2 }",
        "switch 3 { 1 => 2, 6 if false => 1, 3..5 => { let z = 1; z }, _ => 0 }",
        "const A = 1; fn f() { global::A } f() + A",
        "if is_def_var(\"maybe\") { maybe }",
        "if is_def_fn(\"maybe\", 1) { 1 } else { 2 }",
        "let i = 0; while i < 3 { i += 1; } do { i -= 1; } until i == 0; loop { break; }",
        "let a = [1, [2]]; a[1][0] = 3; a[-1][0]; a?[7]; a.len",
        "let a = if true { 1 } else { 2 }; let b = { 3 }; a + b",
        // Operators and literals.
        "1 + 2 ** 3 % 2; !true; -1; 1..3; 1..=3; 6 & 3 | 1 ^ 2 << 1; true && false || true; () ?? 1",
        "'c'; 0x1f; 1e3; `multi\n${1 + 1} line`; \"\\u2764\"; #{ \"quoted key\": 1 }",
        "type_of(1); is_shared(1); PI(); parse_json(\"{}\"); #{}.to_json(); blob(3)",
        "exit(#{ statusCode: 204 })",
        "return 1;",
        "export let x = 1;",
        "private fn f() { 1 } f()",
        "fn f() { let x = 1; g!(2) } fn g(n) { n } f()",
        "let x = 1; foo!(2); fn foo(n) { n + x }",
        "let x = 1; let f = Fn(\"foo\"); call!(f, 2); fn foo(n) { n + x }",
    ] {
        clean(source);
    }
}

#[test]
fn ctx_uses_are_collected() {
    let path_only = uses("ctx.request.path");
    assert!(path_only.contains_request(crate::sdk::RequestProperty::Path));
    assert!(!path_only.contains_request(crate::sdk::RequestProperty::Body));
    assert!(!path_only.contains(crate::sdk::Property::ExecutionId));
    let mut everything = Uses::default();
    everything.add_everything();
    for source in ["ctx", "ctx[\"request\"]", "let c = ctx;", "f(ctx); fn f(x) { x }", "let f = || ctx;"] {
        assert_eq!(uses(source), everything, "{source}");
    }
    let mut request = Uses::default();
    request.add_whole_request();
    for source in
        ["ctx.request", "ctx.request[\"body\"]", "ctx.request.keys()", "let r = ctx.request; r.path"]
    {
        assert_eq!(uses(source), request, "{source}");
    }
    assert!(uses("1").is_empty());
    assert!(uses("fn f() { ctx.request.path } f()").in_functions);
    assert!(!uses("ctx.request.path").in_functions);
    let chained = uses("(ctx.request).body.name[0].x + ctx?.request?.query");
    assert!(chained.contains_request(crate::sdk::RequestProperty::Body));
    assert!(chained.contains_request(crate::sdk::RequestProperty::Query));
    assert!(!chained.contains_request(crate::sdk::RequestProperty::Headers));
}

#[test]
fn oversized_scripts_are_rejected_before_compilation() {
    assert_eq!(
        errors_of_anything(SdkVersion::V1_1, &"x".repeat(SOURCE_MAX + 1)),
        ["the script is larger than 256 KiB | split it into several scripts"]
    );
    assert!(
        errors_of_anything(SdkVersion::V1_1, &"let a=1;".repeat(DECLARATIONS_MAX + 1))[0]
            .contains("declares more than")
    );
    assert!(!errors_of_anything(SdkVersion::V1_1, &"(".repeat(10_000)).is_empty());
    assert!(!errors_of_anything(SdkVersion::V1_1, &"[".repeat(10_000)).is_empty());
    assert!(!errors_of_anything(SdkVersion::V1_1, &"{".repeat(10_000)).is_empty());
    assert!(!errors_of_anything(SdkVersion::V1_1, &format!("{}1", "-".repeat(10_000))).is_empty());
    assert!(!errors_of_anything(SdkVersion::V1_1, &format!("1{}", "+1".repeat(10_000))).is_empty());
}

#[test]
fn depth_and_size_errors_have_help() {
    assert_eq!(
        diagnostics(&format!("{}1{}", "(".repeat(200), ")".repeat(200))),
        [
            "1:64 the expression is nested deeper than 128 levels | assign its parts to variables; replace a long `else if` chain by a `switch`"
        ]
    );
    let functions: String = (0..1001).map(|number| format!("fn f{number}() {{ 1 }}\n")).collect();
    assert_eq!(
        diagnostics(&functions),
        [
            "1001:1 the script has more than 1000 functions, including closures | split it into several scripts"
        ]
    );
    assert_eq!(
        diagnostics(&"\n".repeat(70_000)),
        ["the script has more than 65534 lines | split it into several scripts"]
    );
}

#[test]
fn message_is_one_short_line() {
    let found =
        diagnostics(&format!("{}();\nlet x = #{{ \"a\\nb\": 1, \"a\\nb\": 2 }};", "n".repeat(100_000)));
    assert_eq!(found[1], "2:23 duplicate key `a\\nb` in the map");
    assert!(found.len() == 2 && found[0].chars().count() < 320);
}

#[test]
fn slow_compilation_is_stopped() {
    let lets = |name: &str| (0..3900).map(|number| format!("let {name}{number}=1;")).collect::<String>();
    for hostile in [
        // Each name is looked for among thousands, blocks are taken away one by one, each diagnostic wants a suggestion.
        format!("{}{}", lets("a"), "a0;".repeat(60_000)),
        "{}".repeat(SOURCE_MAX / 2),
        format!("{}{}", lets("abcdefghijk"), lets("abcdefghij").replace("let ", "").replace("=1", "z")),
        (0..30_000).map(|number| format!("v{number};")).collect(),
        format!("#{{{}}}", (0..18_000).map(|number| format!("a{number}:1,")).collect::<String>()),
        "{1}".repeat(SOURCE_MAX / 3),
        // Unparsable code is parsed repeatedly.
        "x = ;\n".repeat(SOURCE_MAX / 6),
        "x = ;".repeat(SOURCE_MAX / 5),
        "a and b;\n".repeat(SOURCE_MAX / 9),
        format!("fn f() {{\n{}", "if x {\n".repeat(SOURCE_MAX / 7)),
        "x => \"".repeat(SOURCE_MAX / 6),
        "`${".repeat(SOURCE_MAX / 3),
        "/*".repeat(SOURCE_MAX / 2),
        "'a b' + ".repeat(SOURCE_MAX / 8),
        "\u{201c}x\u{201d};".repeat(SOURCE_MAX / 8),
        format!("{}{}", lets("a"), "b c;a0;".repeat(30_000)),
        format!("{};", "#{ a b [ ( ".repeat(SOURCE_MAX / 11)),
        format!("def f():\n{}", " x\n".repeat(SOURCE_MAX / 3)),
        format!("let {{ {} }} = x;", "a,".repeat(SOURCE_MAX / 2)),
    ] {
        let hostile = &hostile[..hostile.floor_char_boundary(SOURCE_MAX)];
        let start = std::time::Instant::now();
        errors_of_anything(SdkVersion::V1_1, hostile);
        // Twice the time of a parse, with a tolerance for slow machines; quadratic time takes far longer.
        assert!(start.elapsed() < 4 * PARSE_TIME_MAX, "{:?} took {:?}", hostile.get(..20), start.elapsed());
    }
}

#[test]
fn number_of_reported_errors_is_limited() {
    let path = ScriptPath::new("a.rhai").unwrap();
    let found = compile(SdkVersion::V1_1, &path, &"nope();\n".repeat(10_000)).unwrap_err();
    assert_eq!((found.iter().count(), found.errors()), (DIAGNOSTICS_MAX, 10_000));
}

/// Correct programs to damage.
const PROGRAMS: [&str; 3] = [
    include_str!("../../tests/programs/account.rhai"),
    include_str!("../../tests/programs/control.rhai"),
    include_str!("../../tests/programs/closures.rhai"),
];

proptest! {
    #[test]
    fn any_damaged_program_is_compiled_or_rejected(
        program in 0..PROGRAMS.len(), from in any::<prop::sample::Index>(), length in 0..20usize,
        with in "[{}()\\[\\]|`\"'$;:.,=!a0 \n\u{e4}-]{0,4}",
    ) {
        let mut damaged = PROGRAMS[program].to_owned();
        let from = from.index(damaged.len());
        let (from, to) = (damaged.floor_char_boundary(from), damaged.ceil_char_boundary((from + length).min(damaged.len())));
        damaged.replace_range(from..to, &with);
        for diagnostic in errors_of_anything(SdkVersion::V1_1, &damaged) {
            prop_assert!(!diagnostic.contains('\n'), "{}", diagnostic);
        }
    }

    #[test]
    fn any_text_is_compiled_or_rejected(source in ".{0,200}") {
        let _ = errors_of_anything(SdkVersion::V1_1, &source);
    }

    #[test]
    fn any_tokens_are_compiled_or_rejected(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "let", "x", "=", "1", ";", "{", "}", "(", ")", "[", "]", "|", "||", "fn", "f", ",", ".", "ctx",
                "request", "if", "else", "for", "in", "#{", ":", "`${", "}`", "\"", "switch", "=>", "_", "return",
                "function", "def", "elif", "and", "or", "not", "is", "class", "case", "default", "new", "Error", "lambda",
                "foreach", "of", "unless", "then", "end", "typeof", "delete", "async", "await", "mut", "import", "from",
                "export", "f", "r", "JSON", "console", "++", "--", "->", ":=", "<>", "===", "?", "...", "&", "@", "$", "#",
                "\\", "'", "'a b'", "\"a\"", "`", "\"\"\"", "/*", "*/", "/", "<!--", "\u{e4}", "\u{200b}", "\u{201c}", "\u{feff}",
                "\u{1f600}", "5px", "0x", "\r\n", "\t", "  ", "def f():\n",
                "log::", "info", "this", "try", "catch", "import", "export", "as", "?.", "??", "!", "..", "+=", "\n",
            ]),
            0..40,
        )
    ) {
        let _ = errors_of_anything(SdkVersion::V1_1, &tokens.join(" "));
        let _ = errors_of_anything(SdkVersion::V1_1, &tokens.concat());
    }
}

#[test]
fn findings_of_new_checks_are_errors_since_sdk_1_3() {
    let path = ScriptPath::new("a.rhai").unwrap();
    let found = |sdk| {
        let mut findings = Findings::new(sdk, &path, "first\nsecond");
        findings.warn(Position::new(2, 1), 6, "likely".to_owned(), None);
        findings.add_since_1_3(Position::new(2, 1), 6, "wrong".to_owned(), None);
        findings.add_since_1_3(Position::new(1, 1), 5, "also wrong".to_owned(), None);
        let has_errors = findings.has_errors();
        let diagnostics = findings.into_diagnostics();
        let messages: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.message.clone()).collect();
        (has_errors, messages)
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(found(SdkVersion::V1_2), (false, words(&["also wrong", "likely"])));
    assert_eq!(
        found(SdkVersion::V1_3),
        (true, words(&["also wrong", "wrong"])),
        "an error stands before a warning"
    );
}

#[test]
fn merge_conflict_is_one_error() {
    let path = ScriptPath::new("a.rhai").unwrap();
    let reported = |source: &str| {
        let diagnostics = compile(SdkVersion::V1_2, &path, source).err().unwrap_or_default();
        diagnostics
            .iter()
            .map(|diagnostic| (diagnostic.span.as_ref().unwrap().line, diagnostic.message.clone()))
            .collect::<Vec<_>>()
    };
    let text = "let a = 1;\n<<<<<<< HEAD\nlet b = 1;\n=======\nlet b = 2;\n>>>>>>> other\na + b\n";
    assert_eq!(reported(text), [(2, "unresolved merge conflict".to_owned())]);
    assert_eq!(reported(&format!("`\n{text}`")), [], "it is text");
    assert_eq!(reported("5 = 1"), [(1, "cannot assign to a value".to_owned())]);
}
