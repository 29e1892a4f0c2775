//! `functions::invoke`: a function is a part of the execution that calls it.

use std::sync::Arc;

use manifest_schema::name::ScriptPath;
use runtime::{FailureKind, ManifestNames};

use super::call;
use super::support::Call;

/// A script that calls `f`, which has this text.
fn with(source: &str, function: &str) -> Call {
    call(source).function_named("f", function)
}

#[test]
fn function_gives_the_value_that_it_ends_with() {
    assert_eq!(with("functions::invoke(\"f\", 20) + 1", "ctx.request.body * 2").text(), "41");
    assert_eq!(with("functions::invoke(\"f\", ())", "type_of(ctx.request.body)").text(), "\"()\"");
    // Not a response: a map of it is a value like any other.
    assert_eq!(
        with("functions::invoke(\"f\", 1).statusCode", "#{ statusCode: 404, body: \"none\" }").text(),
        "404"
    );
    assert_eq!(with("functions::invoke(\"f\", 1).b.len()", "#{ b: blob(3) }").text(), "3");
}

#[test]
fn function_has_no_request_and_the_rest_of_the_execution() {
    let function =
        "[ctx.invocation_type, ctx.request.path, ctx.request.query, ctx.request.method, ctx.script_name]";
    assert_eq!(with("functions::invoke(\"f\", 1)", function).text(), r#"["function","",{},"","f"]"#);
    let same =
        "[ctx.execution_id, ctx.request_id, ctx.started, ctx.env.GREETING, ctx.secrets.PIN, time::now()]";
    assert_eq!(with(&format!("functions::invoke(\"f\", 1) == {same}"), same).text(), "true");
    // One sequence of random numbers.
    let here = call("let a = random::int(0, 1000000); let b = random::int(0, 1000000); [a, b]").text();
    let drawn = "let a = random::int(0, 1000000); let b = functions::invoke(\"f\", 1); [a, b]";
    assert_eq!(with(drawn, "random::int(0, 1000000)").text(), here);
    assert_eq!(
        with(
            "let e = 0; try { functions::invoke(\"f\", 1) } catch (error) { e = error } e",
            "webhook::verify(\"github\", \"s\")"
        )
        .text(),
        "\"functions::invoke: `f` failed at f.rhai:1:10: webhook::verify: there is no request to verify; a function or \
         a schedule has none\""
    );
}

#[test]
fn function_has_its_own_variables_functions_and_constants() {
    let source = "let x = 1; const K = 2; fn g() { 3 } let f = || x; let there = functions::invoke(\"f\", 0);
        [x, g(), f.call(), ctx.request.path, there]";
    let function = "let x = 10; let list = []; let add = |v| list.push(v); fn g() { ctx.request.body + 30 }
        add.call(x); [list, g()]";
    assert_eq!(with(source, function).text(), "[1,3,1,\"/\",[[10],30]]");
}

#[test]
fn values_of_a_function_are_copies_without_functions() {
    let function =
        "let list = [1]; let add = |v| list.push(v); add.call(2); #{ list: list, n: 1.5, t: \"a\", r: () }";
    assert_eq!(
        with("functions::invoke(\"f\", 0)", function).text(),
        r#"{"list":[1,2],"n":1.5,"r":null,"t":"a"}"#
    );
    assert_eq!(
        with("functions::invoke(\"f\", 0)", "[|x| x]").failure().message,
        "functions::invoke: `f` failed: its value contains a function, which cannot leave its script"
    );
    assert_eq!(
        with("functions::invoke(\"f\", |x| x)", "1").failure().message,
        "functions::invoke: `payload`: a function cannot be converted to JSON"
    );
    let deep = "let v = 1; for i in 0..200 { v = [v]; } v";
    assert_eq!(
        with("functions::invoke(\"f\", 0)", deep).failure().message,
        "functions::invoke: `f` failed: its value is nested deeper than 127 levels"
    );
}

#[test]
fn throw_undoes_the_changes_of_the_function() {
    let source = "kv::set(\"a\", 1); kv::set(\"b\", 1);
        try { functions::invoke(\"f\", 0) } catch (e) { log::info(e); }
        [kv::get(\"a\"), kv::get(\"b\"), kv::get(\"c\")]";
    let function = "kv::set(\"a\", 2); kv::delete(\"b\"); kv::set(\"c\", 2);\n throw \"no\"";
    let ran = with(source, function).run();
    assert_eq!(&ran.execution.outcome.unwrap().body[..], b"[1,1,null]");
    assert_eq!(ran.log[0].message, "functions::invoke: `f` failed at f.rhai:2:2: no");
    assert_eq!(ran.state.changes.len(), 2);
    // Without a throw they stay, those before a caught throw of the inner one too.
    let outer = "kv::set(\"a\", 3); try { functions::invoke(\"g\", 0) } catch { } 0";
    let call = with("functions::invoke(\"f\", 0); [kv::get(\"a\"), kv::get(\"g\")]", outer);
    assert_eq!(call.function_named("g", "kv::set(\"g\", 1); [][1]").text(), "[3,null]");
}

#[test]
fn exit_ends_the_function_only() {
    assert_eq!(with("functions::invoke(\"f\", 0) + 1", "[1].map(|x| exit(7)); 8").text(), "8");
    assert_eq!(with("functions::invoke(\"f\", 0) + 1", "try { exit(7) } catch { exit(9) } 8").text(), "8");
    assert_eq!(with("exit(functions::invoke(\"f\", 0)); 5", "exit(7)").text(), "7");
    assert_eq!(with("exit(1); functions::invoke(\"f\", 0)", "exit(7)").text(), "1");
}

#[test]
fn limit_ends_the_caller_too() {
    let caught = |function: &str| {
        with("try { functions::invoke(\"f\", 0) } catch { } [2, 1].sort(|a, b| { try { functions::invoke(\"f\", 0) } catch { } a - b }); 1", function)
            .limits(|limits| limits.operations = 50_000)
            .failure()
    };
    assert_eq!(caught("loop { }").kind, FailureKind::Operations);
    let failure = caught("fn f(n) { f(n + 1) }\nf(0)");
    assert_eq!(failure.kind, FailureKind::Depth);
    assert_eq!(failure.location.unwrap().script.as_str(), "f.rhai");
    assert_eq!(caught("let s = \"x\"; loop { s += s; }").kind, FailureKind::Size);
}

#[test]
fn functions_call_each_other_to_a_depth_of_eight() {
    let f = "if ctx.request.body == 0 { 0 } else { functions::invoke(\"f\", ctx.request.body - 1) + 1 }";
    assert_eq!(with("functions::invoke(\"f\", 7)", f).text(), "7");
    let message = with("functions::invoke(\"f\", 8)", f).failure().message;
    assert!(
        message.ends_with("functions::invoke: functions can call each other 8 levels deep, not deeper"),
        "{message}"
    );
    // `main` is the script itself.
    assert!(call("functions::invoke(\"main\", 0)").failure().message.ends_with("not deeper"));
}

#[test]
fn unknown_function_is_an_error() {
    assert_eq!(
        with("let name = \"mian\"; functions::invoke(name, 0)", "1").failure().message,
        "functions::invoke: there is no function `mian`; did you mean `main`?"
    );
    let call = with("1", "1");
    let revision = call.revision();
    let main = ScriptPath::new("main.rhai").unwrap();
    let names = ManifestNames::of(revision.manifest(), &main);
    let check = |source: &str| {
        let budget: Arc<dyn runtime::CompileBudget> = Arc::new(runtime::UnlimitedMemory);
        match runtime::compile_within(
            call.sdk,
            &main,
            source,
            Some(&names),
            &runtime::Libraries::default(),
            &budget,
        ) {
            Ok(_) => None,
            Err(runtime::CompileError::Diagnostics(found)) => {
                let first = found.iter().next().unwrap();
                Some((first.message.clone(), first.help.clone().unwrap()))
            }
            Err(error) => panic!("{error:?}"),
        }
    };
    assert_eq!(check("functions::invoke(\"f\", 0) + functions::invoke(\"main\", 0)"), None);
    assert_eq!(
        check("functions::invoke(\"mian\", 0)"),
        Some(("the manifest declares no function `mian`".into(), "did you mean `main`?".into()))
    );
}

#[test]
fn lines_of_a_function_name_its_script() {
    let ran = with("log::info(1); functions::invoke(\"f\", 0); log::info(3)", "\n log::info(2)").run();
    let place = |line: &runtime::LogLine| {
        (line.number, line.library.as_ref().map(|path| path.as_str().to_owned()), line.line)
    };
    let places: Vec<_> = ran.log.iter().map(place).collect();
    assert_eq!(places, [(0, None, Some(1)), (1, Some("f.rhai".into()), Some(2)), (2, None, Some(1))]);
}
