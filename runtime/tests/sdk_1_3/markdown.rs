use super::call;

/// The HTML of a text.
fn html(text: &str) -> String {
    let call = call("markdown::html(ctx.request.body)").body("text/plain", text.to_owned());
    serde_json::from_str(&call.text()).unwrap()
}

#[test]
fn markdown_becomes_html() {
    assert_eq!(
        html("# A *b*\n\n- x\n- ~~y~~"),
        "<h1>A <em>b</em></h1>\n<ul>\n<li>x</li>\n<li><del>y</del></li>\n</ul>\n"
    );
    assert!(html("|a|b|\n|-|-|\n|1|2|").contains("<td>1</td>"));
    assert_eq!(
        html("[a](https://example.org/?x=1&y=2)"),
        "<p><a href=\"https://example.org/?x=1&amp;y=2\">a</a></p>\n"
    );
    assert_eq!(html("[a](/b \"t\")"), "<p><a href=\"/b\" title=\"t\">a</a></p>\n");
}

#[test]
fn text_of_anybody_is_safe() {
    let page = html("<script>alert(1)</script>\n\nx <b onclick=\"y\">z</b>");
    assert!(!page.contains("<script") && !page.contains("<b "), "{page}");
    for link in [
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "[a](java&#115;cript:alert(1))",
        "[a](<java\tscript:alert(1)>)",
        "[a](data:text/html,x)",
        "[a](vbscript:x)",
        "![a](javascript:x)",
        "<javascript:alert(1)>",
        "[a]: javascript:x\n\n[a]",
    ] {
        let page = html(link).to_lowercase();
        let links =
            ["href=\"javascript", "href=\"java", "href=\"data:", "href=\"vbscript", "src=\"javascript"];
        assert!(links.iter().all(|link| !page.contains(link)), "{link}: {page}");
    }
}

#[test]
fn long_and_deep_texts_are_refused() {
    let failure =
        |text: String| call("markdown::html(ctx.request.body)").body("text/plain", text).failure().message;
    assert_eq!(failure("x".repeat(128 * 1024 + 1)), "markdown::html: the text is longer than 128 KiB");
    assert_eq!(failure(">".repeat(1000)), "markdown::html: quotes and lists are nested too deep");
}
