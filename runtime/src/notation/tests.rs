use manifest_schema::method::Method;

use super::*;

fn kinds(text: &str, dialect: Dialect) -> Vec<Kind> {
    let notation = parse("a.rhai", text, dialect);
    assert!(notation.errors.is_empty(), "{text}: {:?}", notation.errors);
    notation.statements.into_iter().map(|statement| statement.kind).collect()
}

fn claim(text: &str) -> (Start, Answer) {
    match kinds(text, Dialect::Script).pop() {
        Some(Kind::Claim { start, answer }) => (start, answer),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn answers_have_status_content_type_and_body() {
    let answer = |text: &str| claim(&format!("// GET / => {text}")).1;
    let of = |status, content_type: Option<&str>, body: Option<&str>| Answer {
        status,
        content_type: content_type.map(str::to_owned),
        body: body.map(str::to_owned),
    };
    let cases = [
        ("", of(None, None, None)),
        ("204", of(Some(204), None, None)),
        ("[1, 2]", of(None, None, Some("[1, 2]"))),
        ("1234", of(None, None, Some("1234"))),
        ("200 600", of(Some(200), None, Some("600"))),
        ("404 text/plain no such page", of(Some(404), Some("text/plain"), Some("no such page"))),
        ("text/html; charset=utf-8 <p>a</p>", of(None, Some("text/html; charset=utf-8"), Some("<p>a</p>"))),
        ("1st", of(None, None, Some("1st"))),
        ("a/b c", of(None, None, Some("a/b c"))),
        ("text/plain;", of(None, Some("text/plain"), None)),
    ];
    for (text, expected) in cases {
        assert_eq!(answer(text), expected, "{text}");
    }
}

#[test]
fn triggers_have_bodies_and_names() {
    let (start, answer) = claim(r#"// POST /a?b=c {"a":"x => y"} => 201 {"b":"=> z"}"#);
    let body = Body { content_type: "application/json".to_owned(), text: r#"{"a":"x => y"}"#.to_owned() };
    assert_eq!(start, Start::Request { method: Method::Post, target: "/a?b=c".to_owned(), body: Some(body) });
    assert_eq!(answer.body.as_deref(), Some(r#"{"b":"=> z"}"#));
    let (start, _) = claim("// PUT / application/json {oops => 400");
    assert!(matches!(start, Start::Request { body: Some(body), .. } if body.text == "{oops"));
    assert_eq!(
        claim(r#"// call {"n":2} => 4"#).0,
        Start::Call { name: None, payload: "{\"n\":2}".to_owned() }
    );
    assert_eq!(claim("// scheduled =>").0, Start::Scheduled { name: None });
    let named = kinds("// call double 2 => 4\n// scheduled nightly => 204", Dialect::TestFile);
    let names: Vec<_> = named
        .iter()
        .map(|kind| match kind {
            Kind::Claim { start: Start::Call { name, .. } | Start::Scheduled { name }, .. } => {
                name.as_ref().unwrap().as_str()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["double", "nightly"]);
}

#[test]
fn settings_stand_before_claims_and_expectations_behind() {
    let text = "// at 2026-12-01T09:00:00Z\n// seed 7\n// with header x-a: b: c\n// with secret KEY=a=b\n\
                // GET / => 303\n// header Location: /thanks\n// contains <h1>\n// logs info \"a\" 1\n// fails no";
    let kinds = kinds(text, Dialect::Script);
    let expected = [
        Kind::At(1_796_115_600_000),
        Kind::Seed(7),
        Kind::WithHeader { name: "x-a".to_owned(), value: "b: c".to_owned() },
        Kind::WithSecret { name: "KEY".to_owned(), value: "a=b".to_owned() },
        Kind::Header { name: "location".to_owned(), value: "/thanks".to_owned() },
        Kind::Contains("<h1>".to_owned()),
        Kind::Logs("info \"a\" 1".to_owned()),
        Kind::Fails("no".to_owned()),
    ];
    assert_eq!(kinds.len(), expected.len() + 1);
    assert!(expected.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
}

#[test]
fn prose_is_no_claim() {
    let prose = [
        "GET requests are answered with JSON => see below",
        "GET /users/{id} answers the user",
        "POST / with a body of more than 1 MB is refused",
        "call the other script => it answers",
        "call {name} later",
        "calls => nothing",
        "scheduled every night => see picloud.toml",
        "scheduled runs are logged",
        "=> 5",
        "see /docs => there",
        "at noon, the bell rings",
        "seed the data first",
        "with header files this would be C",
        "with secret knowledge",
        "logs info about the order",
        "header location is set by the proxy",
        "contains the helpers",
        "fails if the order is empty",
        "route the order",
        "a => b",
    ];
    for line in prose {
        let notation = parse("a.rhai", &format!("// {line}\n1"), Dialect::Script);
        assert!(notation.statements.is_empty() && notation.errors.is_empty(), "{line}: {notation:?}");
    }
    let inside = "let a = `\n// GET / => 1\n${ #{ a: \"`\" }.a }\n// GET / => 1\n`;\n/* /* */\n// GET / => 1\n*/\n    // GET / => 1\n1 // GET / => 1";
    assert_eq!(kinds(inside, Dialect::Script), []);
}

#[test]
fn wrong_claims_are_errors_with_place_and_advice() {
    let script = [
        ("POST / => 42x", "`42x` is not a status"),
        ("GET / => 999", "`999` is not a status"),
        ("GET / -> 200", "the claim has no ` => ` before the answer"),
        ("GET / 200 {}", "the claim has no ` => ` before the answer"),
        ("GET /=> 200", "the claim has no ` => ` before the answer"),
        ("GET users => 200", "the path `users` does not begin with /"),
        ("get /users => 200", "methods are written in capitals, as in GET"),
        ("FETCH /users => 200", "`FETCH` is not a method that routes can have"),
        ("POST / {a: 1} => 200", "the body is not JSON"),
        ("POST / hello => 200", "the body has no content type"),
        ("call {n: 2} => 4", "the payload is not JSON"),
        ("call {\"n\":2}", "the claim has no ` => ` before the answer"),
        ("at 2026-12-01", "`2026-12-01` is not a time"),
        ("seed 99999999999999999999", "the seed 99999999999999999999 is too large"),
        ("with header a=b", "no `:` after the name"),
        ("with secret A: b", "no `=` after the name"),
    ];
    for (line, message) in script {
        let notation = parse("a.rhai", &format!("1;\n// {line}\n"), Dialect::Script);
        let [error] = &notation.errors[..] else { panic!("{line}: {notation:?}") };
        let place = error.span.as_ref().map(|span| (span.line, span.column));
        assert_eq!((error.message.as_str(), place), (message, Some((2, 1))), "{line}");
        assert!(error.help.is_some(), "{line}");
    }
    for (line, message) in [
        ("logs about it", "`logs` needs a level and a message"),
        ("header location", "no `:` after the name of the header"),
    ] {
        let notation = parse("a.rhai", &format!("// GET / => 200\n// {line}"), Dialect::Script);
        assert_eq!(notation.errors.iter().map(|error| &error.message).collect::<Vec<_>>(), [message]);
    }
    for (line, message) in [
        ("GET /users", "the claim has no ` => ` before the answer"),
        ("call 2 => 4", "a file of tests calls functions by name"),
        ("call double n => 4", "this is no call of a function by name with JSON"),
        ("scheduled => 4", "a file of tests runs schedules by name"),
        ("contains a", "`contains` has no claim before it"),
    ] {
        let notation = parse("a.test.rhai", &format!("// {line}"), Dialect::TestFile);
        assert_eq!(
            notation.errors.iter().map(|error| &error.message).collect::<Vec<_>>(),
            [message],
            "{line}"
        );
    }
}

#[test]
fn code_is_anything_but_comments() {
    for (text, has_code) in [("", false), ("// a\n\n/* b */\n", false), ("// a\n1", true), ("`a`", true)] {
        assert_eq!(parse("a.rhai", text, Dialect::TestFile).has_code, has_code, "{text}");
    }
}

#[test]
fn arbitrary_texts_do_not_end_in_a_panic() {
    for text in
        ["// GET / => é x", "// at 20é6-", "\"\\", "`${`", "}`${}}`", "// with header é: ü", "/*", "'\\"]
    {
        for dialect in [Dialect::Document, Dialect::Script, Dialect::TestFile] {
            parse("a.rhai", text, dialect);
        }
    }
}
