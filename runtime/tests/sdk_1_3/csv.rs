use super::{Call, call, fails};

/// The rows of a text, with these options.
fn rows(text: &str, options: &str) -> String {
    parse(text, options).text()
}

fn parse(text: &str, options: &str) -> Call {
    call(&format!("csv::parse(ctx.request.body{options})")).body("text/plain", text.to_owned())
}

#[test]
fn rows_are_parsed() {
    assert_eq!(rows("a,b\n1,\"x, \"\"y\"\"\"\n", ""), r#"[["a","b"],["1","x, \"y\""]]"#);
    assert_eq!(
        rows("\u{feff}a;b\r\n\r\n,\r\n\"two\nlines\",2", ""),
        r#"[["a;b"],["",""],["two\nlines","2"]]"#
    );
    assert_eq!(call("csv::parse(\"\")").text(), "[]");
    assert_eq!(rows("name,age\nAnn,7\n", ", #{ header: true }"), r#"[{"age":"7","name":"Ann"}]"#);
}

#[test]
fn malformed_tables_are_refused_with_their_line() {
    for (text, options, message) in [
        ("a\n\"b", "", "line 2: a field begins with a quote that is not closed"),
        ("a,a\n1,2", ", #{ header: true }", "the header has `a` twice"),
        ("a,b\n1,2\n3", ", #{ header: true }", "line 3: the number of cells is 1, but the header has 2"),
    ] {
        let failure = parse(text, options).failure();
        assert_eq!(failure.message, format!("csv::parse: {message}"), "{text}");
    }
}

#[test]
fn rows_are_written() {
    assert_eq!(
        call("csv::write([[\"a\", 1, 1.5, true, ()], [\"x, \\\"y\\\"\", \"two\\nlines\"]])").text(),
        r#""a,1,1.5,true,\r\n\"x, \"\"y\"\"\",\"two\nlines\"\r\n""#
    );
    assert_eq!(
        call("csv::write([#{ b: 1, a: \"x\" }, #{ a: \"y\", b: 2 }])").text(),
        r#""a,b\r\nx,1\r\ny,2\r\n""#
    );
    assert_eq!(call("csv::write([])").text(), "\"\"");
    assert!(fails("csv::write([[[1]]])").starts_with("csv::write: "));
    assert!(fails("csv::write([[1], #{ a: 1 }])").starts_with("csv::write: row 2 is a map"));
}

#[test]
fn texts_that_spreadsheets_evaluate_are_marked() {
    let source = "csv::write([[\"=1+1\", \"+49 30\", \"-x\", \"@a\", \"\\tb\", -5, \"-5\", \"+1.5\"]])";
    assert_eq!(call(source).text(), r#""'=1+1,'+49 30,'-x,'@a,'\tb,-5,-5,+1.5\r\n""#);
    assert_eq!(call("csv::write([[\"=1\"]], #{ formulas: true })").text(), r#""=1\r\n""#);
}
