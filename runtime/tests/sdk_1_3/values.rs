use super::{call, fails};

#[test]
fn items_are_joined() {
    assert_eq!(call("[1, \"a\", true, 1.5, 'x', ()].join(\", \")").text(), "\"1, a, true, 1.5, x, \"");
    assert_eq!(
        call("[join([], \",\"), [\"a\"].join(\",\"), [1, 2].join('-'), [1, 2].join(\"\")]").text(),
        r#"["","a","1-2","12"]"#
    );
    assert_eq!(
        fails("let a = [1, [2]]; a.join(\",\")"),
        "join: item 1 is an array, which has no text; use `map` first"
    );
    assert_eq!(
        fails("let s = 5; [1].join(s)"),
        "join: `separator` must be a character or a string, not an integer"
    );
}

#[test]
fn numbers_are_added() {
    assert_eq!(call("[[].sum(), [1, 2, 3].sum(), [1, 0.5].sum(), [0.5, 1].sum()]").text(), "[0,6,1.5,1.5]");
    assert_eq!(fails("let a = [1, \"2\"]; a.sum()"), "sum: item 1 is a string, not a number");
    let message = "sum: the sum is too large for an integer";
    assert_eq!(fails("let a = [9223372036854775807, 1]; a.sum()"), message);
    assert_eq!(fails("let a = [9223372036854775807, 1, 0.5]; a.sum()"), message);
}

#[test]
fn ends_of_an_array_are_copies() {
    assert_eq!(call("[[1, 2].first(), [1, 2].last(), [].first(), [].last()]").text(), "[1,2,null,null]");
    assert_eq!(call("let a = [[1], [2]]; let f = a.first(); f.push(9); [a, f]").text(), "[[[1],[2]],[1,9]]");
    assert_eq!(call("const A = [1, 2]; A.first() + A.last()").text(), "3");
}

#[test]
fn text_functions_return_new_texts() {
    assert_eq!(
        call("let s = \" a-b \"; [s.trimmed(), s.replaced(\"-\", \"+\"), s.replaced('a', \"\"), s]").text(),
        r#"["a-b"," a+b "," -b "," a-b "]"#
    );
    assert_eq!(
        call("[\"aaa\".replaced(\"aa\", \"b\"), \"a\".replaced(\"x\", \"y\")]").text(),
        r#"["ba","a"]"#
    );
    assert_eq!(fails("let s = \"\"; \"a\".replaced(s, \"b\")"), "replaced: `from` must not be empty");
    assert_eq!(
        call("[\"ab\".repeat(3), \"a\".repeat(0), \"\".repeat(9223372036854775807)]").text(),
        r#"["ababab","",""]"#
    );
    assert_eq!(fails("let n = -1; \"a\".repeat(n)"), "repeat: `times` must not be negative, but is -1");
    let failure = call("let n = 40_000_000; \"a\".repeat(n)").failure();
    assert_eq!(failure.message, "a string would be longer than 32 MiB");
    assert_eq!(call("[\"a\\r\\nb\\n\\nc\\n\".lines(), \"\".lines()]").text(), r#"[["a","b","","c"],[]]"#);
}

#[test]
fn numbers_are_formatted() {
    for (source, text) in [
        ("format_number(1234.5, 2)", "1234.50"),
        ("1234.567.format_number(1)", "1234.6"),
        ("7.format_number(2)", "7.00"),
        ("7.format_number(0)", "7"),
        ("(0.0 - 0.001).format_number(2)", "0.00"),
        ("(-1234567).format_number(2, #{ group: \",\" })", "-1,234,567.00"),
        ("123456.format_number(1, #{ group: \".\", point: \",\" })", "123.456,0"),
        ("123.format_number(0, #{ group: \",\" })", "123"),
    ] {
        assert_eq!(call(source).text(), format!("\"{text}\""), "{source}");
    }
    assert_eq!(
        fails("let d = 21; 1.format_number(d)"),
        "format_number: `digits` must be between 0 and 20, not 21"
    );
    assert_eq!(fails("(1.0 / 0.0).format_number(2)"), "format_number: `number` must be finite, not inf");
    assert_eq!(
        fails("let o = #{ grup: \",\" }; 1.format_number(2, o)"),
        "format_number: unknown option `grup`; did you mean `group`?"
    );
}

#[test]
fn functions_of_the_script_take_precedence() {
    assert_eq!(call("fn join(a, s) { \"own\" } join([1], \",\")").text(), "\"own\"");
    assert_eq!(call("fn first() { \"own\" } [1].first()").text(), "\"own\"");
    assert_eq!(call("let m = #{ sum: |x| x + 1 }; m.sum(1)").text(), "2");
}
