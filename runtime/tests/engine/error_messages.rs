//! Messages of failures, without names of Rhai and Rust.

use std::time::Duration;

use manifest_schema::sdk::SdkVersion;

use super::FailureKind;
use super::support::{Call, script};

/// Texts that no message contains.
const NEVER: &[&str] = &[
    "anon$",
    "Dynamic",
    "rhai",
    "alloc",
    "core::",
    "std::",
    "i64",
    "f64",
    "u8",
    "ImmutableString",
    "&str",
    "getter",
    "setter",
    "registered",
    "(line",
    "line ",
    "position ",
    "Fn*",
    "NOT AN ERROR",
    "Function not found",
];

/// A script and the message of its failure.
const FAILING: &[(&str, &str)] = &[
    // Functions.
    ("let x = (); x.trim()", "cannot call `trim` on nothing: the value is `()`"),
    ("let x = 1; x.trim()", "`trim` does not take an integer"),
    ("\"a\".contains(1)", "`contains` does not take a string and an integer"),
    ("let f = 1.5; f.push([])", "`push` does not take a float and an array"),
    ("let m = #{}; m.push(1)", "`push` does not take a map and an integer"),
    ("call(Fn(\"nope\"), 1, \"x\")", "unknown function `nope`, called with an integer and a string"),
    ("Fn(\"nope\").call()", "unknown function `nope`, called with no argument"),
    ("let f = |x| x; f.call(1, 2)", "the closure does not take an integer and an integer"),
    ("let f = |x, y, z, u| x; [1].map(f)", "the function passed to `map` must take 0 to 2 parameters, not 4"),
    ("1 + ()", "`+` cannot be used with an integer and nothing (`()`)"),
    ("[1] - 1", "`-` cannot be used with an array and an integer"),
    ("#{} * 2", "`*` cannot be used with a map and an integer"),
    ("let x = \"a\"; -x", "`-` cannot be used with a string"),
    ("let x = [1]; x *= 2; x", "`*` cannot be used with an array and an integer"),
    ("let x = 1; x += \"\".chars(); x", "`+` cannot be used with an integer and an iterator"),
    ("[1, \"a\"].sort()", "elements of different types cannot be sorted"),
    ("[[1], [2]].sort()", "an array with an array can only be sorted with a comparison function"),
    // Properties and indices.
    ("let x = (); x.name", "cannot read `name` of nothing: the value is `()`"),
    ("#{}.a.b", "cannot read `b` of nothing: the value is `()`"),
    ("let x = 1; x.name", "an integer has no property `name`"),
    ("let x = 1; x.name = 2", "an integer has no property `name`"),
    ("let x = [1]; x.name", "an array has no property `name`"),
    ("let x = #{ f: |y| y }; x.f.g", "a function has no property `g`"),
    ("let x = (); x[0]", "cannot index nothing: the value is `()`"),
    ("let x = (); x[\"a\"] = 1", "cannot index nothing: the value is `()`"),
    ("let x = 1.5; x[0]", "a float has no elements"),
    ("let x = [1]; x[\"a\"]", "expected an integer, found a string"),
    ("let x = #{}; x[1]", "expected a string, found an integer"),
    ("let x = [1]; x[3]", "index 3 is out of bounds: the array has 1 element"),
    ("let x = []; x[0]", "index 0 is out of bounds: the array has no elements"),
    ("let x = [1, 2]; x[-5]", "index -5 is out of bounds: the array has 2 elements"),
    ("let x = blob(2); x[2]", "index 2 is out of bounds: the array has 2 elements"),
    ("let x = \"abc\"; x[5]", "index 5 is out of bounds: the string has 3 characters"),
    ("let x = \"\"; x[0]", "index 0 is out of bounds: the string has no characters"),
    ("let x = 1; x[99]", "bit 99 is out of bounds: an integer has 64 bits"),
    // Types.
    ("let x = 1; if x { 2 }", "expected true or false, found an integer"),
    ("let x = (); while x { }", "expected true or false, found nothing (`()`)"),
    ("let x = 1; let y = true; x && y", "expected true or false, found an integer"),
    ("let n = 5; for x in n { }", "`for` can only iterate over an array, a string, a blob or a range"),
    ("let m = #{}; for x in m { }", "`for` can only iterate over an array, a string, a blob or a range"),
    ("let f = 1; f.call()", "expected a function, found an integer"),
    ("Fn(1)", "expected a string, found an integer"),
    // Variables, constants and `this`.
    (
        "fn f() { this.x } f()",
        "`this` is not set: the function was not called as a method (`value.function()`)",
    ),
    ("const A = [1]; A.push(2)", "`push` cannot be called on a constant"),
    ("fn f(n) { f(n + 1) } f(0)", "function calls are nested too deep"),
    // Numbers.
    ("9223372036854775807 + 1", "Addition overflow: 9223372036854775807 + 1"),
    ("1 / 0", "Division by zero: 1 / 0"),
    ("parse_int(\"x\")", "Error parsing integer number 'x': invalid digit found in string"),
    // What is thrown.
    ("throw \"no\"", "no"),
    ("throw #{ code: 7 }", "{\"code\":7}"),
    ("throw ()", "null"),
    ("throw", "null"),
    ("throw |x| x", "threw a function"),
    ("throw blob(2)", "threw a blob"),
    ("throw \"a\".chars()", "threw an iterator"),
    // Sizes.
    ("let s = \"x\"; s.pad(9223372036854775807, 'x')", "a string would be longer than 32 MiB"),
    ("blob(9223372036854775807)", "a blob would be longer than 32 MiB"),
    ("let a = []; a.pad(9223372036854775807, 1)", "one call would create too many values"),
    ("blob(4000000).to_array()", "one call would create too many values"),
    // Invalid results of functions.
    ("#{ f: |x| x }.to_json()", "to_json: a function cannot be converted to JSON"),
    ("parse_json(\"{\")", "parse_json: EOF while parsing an object at line 1 column 1"),
    ("|x| x", "a function cannot be converted to JSON"),
    ("[blob(1)]", "a blob cannot be converted to JSON"),
    ("#{ statusCode: 200.0 }", "statusCode must be an integer, not a float"),
    ("#{ statusCode: 200, headers: 1 }", "headers must be a map, not an integer"),
    ("#{ statusCode: 200, headers: #{ a: () } }", "header `a` must be a string, not nothing"),
    ("log::info(|x| x)", "log::info: a function cannot be converted to JSON"),
    // Keywords are not function names.
    ("Fn(\"let\")", "'let' is a reserved keyword"),
    ("let list = [1]; let f = |x| list.push(x); f.call(list)", ""),
];

#[test]
fn failure_messages_name_no_internals() {
    let mut wrong = Vec::new();
    for (source, message) in FAILING {
        for sdk in [SdkVersion::V1_2, SdkVersion::V1_3] {
            // Some are found by the checks.
            let call = Call { sdk, ..script(source) }.stored();
            match call.run().execution.outcome {
                Ok(answer) if message.is_empty() => drop(answer),
                Ok(answer) => wrong.push(format!("{source} answers {answer:?}")),
                Err(failure) if failure.message != *message => {
                    wrong.push(format!("{source}: {}", failure.message));
                }
                Err(failure) => {
                    let recorded = failure.message.as_str();
                    let forbidden = NEVER
                        .iter()
                        .filter(|word| !source.starts_with("parse_json") && recorded.contains(**word));
                    wrong.extend(forbidden.map(|word| format!("{source}: {recorded} has `{word}`")));
                }
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn caught_errors_name_no_internals() {
    let mut wrong = Vec::new();
    // Functions must be at the top level, failures that are not script errors cannot be caught, and Rhai removes
    // conditions without effect.
    let catchable = |(source, message): &&(&str, &str)| {
        !source.contains("fn ")
            && !message.contains("converted to JSON")
            && !message.contains("must be")
            && !message.is_empty()
            && !message.contains("MiB")
            && !message.contains("too many")
            && !source.contains("if x")
            && !source.starts_with("throw")
            && !source.contains("Fn(\"let")
    };
    let mut tried = 0;
    for (source, message) in FAILING.iter().filter(catchable) {
        let run = |sdk: SdkVersion, caught: &str| {
            let source = format!("try {{ {source} }} catch (e) {{ {caught} }}");
            Call { sdk, ..script(&source) }.stored().run().execution.outcome
        };
        let text = "return if type_of(e) == \"map\" { e.message } else { e };";
        let recorded = run(SdkVersion::V1_3, text).unwrap().body;
        let Ok(recorded) = serde_json::from_slice::<String>(&recorded) else {
            wrong.push(format!("{source} is not caught: {recorded:?}"));
            continue;
        };
        if recorded != *message {
            wrong.push(format!("{source}: {recorded}"));
        }
        // The whole value, and rethrown.
        let all = String::from_utf8(run(SdkVersion::V1_3, "return e;").unwrap().body.to_vec()).unwrap();
        let forbidden = NEVER.iter().filter(|word| {
            **word != "line "
                && **word != "position "
                && !source.starts_with("parse_json")
                && all.contains(**word)
        });
        wrong.extend(forbidden.map(|word| format!("{source}: {all} has `{word}`")));
        for again in ["throw e;", "throw;"] {
            let thrown = run(SdkVersion::V1_2, again).unwrap_err().message;
            if thrown != *message {
                wrong.push(format!("{source}, rethrown by `{again}`: {thrown}"));
            }
        }
        tried += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 40, "{tried}");
}

#[test]
fn caught_errors_of_older_scripts_are_unchanged() {
    let source = "try { let x = (); x.name } catch (e) { return [e.error, e.message, e.line, e.position]; }";
    let call = |sdk: SdkVersion| Call { sdk, ..script(source) }.text();
    let before =
        "[\"ErrorDotExpr\",\"Unknown property 'name' - a getter is not registered for type '()'\",1,21]";
    assert_eq!(call(SdkVersion::V1_2), before);
    let since = "[\"ErrorDotExpr\",\"cannot read `name` of nothing: the value is `()`\",1,21]";
    assert_eq!(call(SdkVersion::V1_3), since);
    // Thrown values are unchanged, and a variable of the same name is not the error.
    for (source, json) in [
        (
            "try { throw #{ error: 1, message: \"x\" } } catch (e) { return e; }",
            "{\"error\":1,\"message\":\"x\"}",
        ),
        ("try { throw \"x\" } catch (e) { let e = 5; return e; }", "5"),
        ("try { let x = (); x.a } catch (e) { let f = || e.message; return f.call().len() > 0; }", "true"),
        ("try { let x = (); x.a } catch (e) { try { throw 1 } catch (e) { return e; } }", "1"),
        ("try { [1].map(|x| x.a) } catch (e) { return e.message; }", "\"an integer has no property `a`\""),
    ] {
        assert_eq!(Call { sdk: SdkVersion::V1_3, ..script(source) }.text(), json, "{source}");
    }
}

#[test]
fn limit_messages_name_the_limit() {
    let call = |source: &str| {
        script(source).limits(|limits| {
            limits.operations = 10_000;
            limits.timeout = Duration::from_secs(2);
            limits.memory = 1024 * 1024;
        })
    };
    assert_eq!(call("loop { }").failure().message, "ran more than 10000 operations");
    let memory = call("let a = [1]; loop { a += a; }").failure().message;
    assert!(memory.starts_with("used more than 1048576 bytes"), "{memory}");
    let variables = (0..501).map(|n| format!("let v{n} = 1;")).collect::<String>();
    let failure = script(&format!("fn f() {{ {variables} }} f()")).stored().failure();
    assert_eq!(failure.message, "too many variables");
    let caught = format!("fn f() {{ {variables} }} try {{ [1].map(|x| f()) }} catch {{ }} 1");
    let failure = script(&caught).stored().failure();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Size, "too many variables"));
    let doubled = script("let s = \"x\"; loop { s += s; }").failure();
    assert_eq!(doubled.message, "a string or a blob is longer than 32 MiB");
}
