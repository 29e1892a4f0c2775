//! What a failed run is recorded with: in the words of those who write scripts, and never in Rhai's own.

use std::time::Duration;

use manifest_schema::sdk::SdkVersion;

use super::FailureKind;
use super::support::{Call, script};

/// What must be in no message.
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
    ("let x = (); x.trim()", "`trim` is called on nothing: the value is `()`"),
    ("let x = 1; x.trim()", "`trim` does not take an integer"),
    ("\"a\".contains(1)", "`contains` does not take a string and an integer"),
    ("let f = 1.5; f.push([])", "`push` does not take a float and an array"),
    ("let m = #{}; m.push(1)", "`push` does not take a map and an integer"),
    ("call(Fn(\"nope\"), 1, \"x\")", "unknown function `nope`, called with an integer and a string"),
    ("Fn(\"nope\").call()", "unknown function `nope`, called with no argument"),
    (
        "let f = |x| x; f.call(1, 2)",
        "a closure is called with an integer and an integer, and takes another number of arguments",
    ),
    ("let f = |x, y, z, u| x; [1].map(f)", "`map` calls its function with 0 to 2 arguments, and it takes 4"),
    ("1 + ()", "`+` cannot be used with an integer and nothing (`()`)"),
    ("[1] - 1", "`-` cannot be used with an array and an integer"),
    ("#{} * 2", "`*` cannot be used with a map and an integer"),
    ("let x = \"a\"; -x", "`-` cannot be used with a string"),
    ("let x = [1]; x *= 2; x", "`*` cannot be used with an array and an integer"),
    ("let x = 1; x += \"\".chars(); x", "`+` cannot be used with an integer and an iterator"),
    ("[1, \"a\"].sort()", "elements of different types cannot be sorted"),
    ("[[1], [2]].sort()", "an array with an array cannot be sorted without a function"),
    // Properties and indices.
    ("let x = (); x.name", "`name` is asked of nothing: the value is `()`"),
    ("#{}.a.b", "`b` is asked of nothing: the value is `()`"),
    ("let x = 1; x.name", "an integer has no property `name`"),
    ("let x = 1; x.name = 2", "an integer has no property `name`"),
    ("let x = [1]; x.name", "an array has no property `name`"),
    ("let x = #{ f: |y| y }; x.f.g", "a function has no property `g`"),
    ("let x = (); x[0]", "an element is asked of nothing: the value is `()`"),
    ("let x = (); x[\"a\"] = 1", "an element is asked of nothing: the value is `()`"),
    ("let x = 1.5; x[0]", "a float has no elements"),
    ("let x = [1]; x[\"a\"]", "an integer is needed here, not a string"),
    ("let x = #{}; x[1]", "a string is needed here, not an integer"),
    ("let x = [1]; x[3]", "there is no index 3: there is 1 element"),
    ("let x = []; x[0]", "there is no index 0: there are no elements"),
    ("let x = [1, 2]; x[-5]", "there is no index -5: there are 2 elements"),
    ("let x = blob(2); x[2]", "there is no index 2: there are 2 elements"),
    ("let x = \"abc\"; x[5]", "there is no index 5: the string has 3 characters"),
    ("let x = \"\"; x[0]", "there is no index 0: the string has no characters"),
    ("let x = 1; x[99]", "there is no bit 99: an integer has 64"),
    // Kinds.
    ("let x = 1; if x { 2 }", "true or false is needed here, not an integer"),
    ("let x = (); while x { }", "true or false is needed here, not nothing (`()`)"),
    ("let x = 1; let y = true; x && y", "true or false is needed here, not an integer"),
    (
        "let n = 5; for x in n { }",
        "`for` goes through an array, a string, a blob or a range, and not through this value",
    ),
    (
        "let m = #{}; for x in m { }",
        "`for` goes through an array, a string, a blob or a range, and not through this value",
    ),
    ("let f = 1; f.call()", "a function is needed here, not an integer"),
    ("Fn(1)", "a string is needed here, not an integer"),
    // Variables, constants and `this`.
    (
        "fn f() { this.x } f()",
        "`this` is nothing here: the function was not called as a method (`value.function()`)",
    ),
    ("const A = [1]; A.push(2)", "`push` changes what it is called on, and that is a constant"),
    ("fn f(n) { f(n + 1) } f(0)", "functions call one another too deep"),
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
    ("let a = []; a.pad(9223372036854775807, 1)", "one call would make too many values"),
    ("blob(4000000).to_array()", "one call would make too many values"),
    // Of functions that give what they cannot.
    ("#{ f: |x| x }.to_json()", "to_json: a function has no JSON form"),
    ("parse_json(\"{\")", "parse_json: EOF while parsing an object at line 1 column 1"),
    ("|x| x", "a function has no JSON form"),
    ("[blob(1)]", "a blob has no JSON form"),
    ("#{ statusCode: 200.0 }", "statusCode must be an integer, not a float"),
    ("#{ statusCode: 200, headers: 1 }", "headers must be a map, not an integer"),
    ("#{ statusCode: 200, headers: #{ a: () } }", "header `a` must be a string, not nothing"),
    ("log::info(|x| x)", "log::info: a function has no JSON form"),
    // Words of the language that are no names of functions.
    ("Fn(\"let\")", "'let' is a reserved keyword"),
    ("let list = [1]; let f = |x| list.push(x); f.call(list)", ""),
];

#[test]
fn message_of_a_failure_is_in_the_words_of_authors() {
    let mut wrong = Vec::new();
    for (source, message) in FAILING {
        for sdk in [SdkVersion::V1_2, SdkVersion::V1_3] {
            // The checks find some of them before.
            let call = Call { sdk, ..script(source) }.stored();
            match call.run().execution.outcome {
                Ok(answer) if message.is_empty() => drop(answer),
                Ok(answer) => wrong.push(format!("{source} answers {answer:?}")),
                Err(failure) if failure.message != *message => {
                    wrong.push(format!("{source}: {}", failure.message));
                }
                Err(failure) => {
                    let recorded = failure.message.as_str();
                    // A document has lines of its own.
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
fn caught_error_is_in_the_words_of_authors() {
    let mut wrong = Vec::new();
    // Functions stand outside of blocks, what is no error of the script is not caught, and Rhai leaves conditions out that do nothing.
    let catchable = |(source, message): &&(&str, &str)| {
        !source.contains("fn ")
            && !message.contains("JSON form")
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
        // All of it, and thrown on.
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
                wrong.push(format!("{source}, thrown on by `{again}`: {thrown}"));
            }
        }
        tried += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 40, "{tried}");
}

#[test]
fn what_is_caught_in_older_scripts_is_what_it_was() {
    let source = "try { let x = (); x.name } catch (e) { return [e.error, e.message, e.line, e.position]; }";
    let call = |sdk: SdkVersion| Call { sdk, ..script(source) }.text();
    let before =
        "[\"ErrorDotExpr\",\"Unknown property 'name' - a getter is not registered for type '()'\",1,21]";
    assert_eq!(call(SdkVersion::V1_2), before);
    let since = "[\"ErrorDotExpr\",\"`name` is asked of nothing: the value is `()`\",1,21]";
    assert_eq!(call(SdkVersion::V1_3), since);
    // What is thrown is what is caught, and a variable of the same name is none.
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
fn message_of_a_limit_says_which_it_is() {
    let call = |source: &str| {
        script(source).limits(|limits| {
            limits.operations = 10_000;
            limits.timeout = Duration::from_secs(2);
            limits.memory = 1024 * 1024;
        })
    };
    assert_eq!(call("loop { }").failure().message, "ran more than 10000 operations");
    let memory = call("let a = [1]; loop { a += a; }").failure().message;
    assert!(memory.starts_with("held more than 1048576 bytes"), "{memory}");
    let variables = (0..501).map(|n| format!("let v{n} = 1;")).collect::<String>();
    let failure = script(&format!("fn f() {{ {variables} }} f()")).stored().failure();
    assert_eq!(failure.message, "there are too many variables at once");
    let caught = format!("fn f() {{ {variables} }} try {{ [1].map(|x| f()) }} catch {{ }} 1");
    let failure = script(&caught).stored().failure();
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::Size, "there are too many variables at once")
    );
    let doubled = script("let s = \"x\"; loop { s += s; }").failure();
    assert_eq!(doubled.message, "a string or a blob is longer than 32 MiB");
}
