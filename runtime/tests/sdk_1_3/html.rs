use runtime::FailureKind;

use super::{Call, call, fails};

/// A script that renders `page.html`.
fn page(template: &str, data: &str) -> Call {
    call(&format!("html::render(\"page.html\", {data})")).template("page.html", template)
}

/// The text of a page.
fn rendered(template: &str, data: &str) -> String {
    serde_json::from_str(&page(template, data).text()).unwrap()
}

/// The message of a page that fails, without `html::render: templates/page.html:`.
fn fault(template: &str, data: &str) -> String {
    let failure = page(template, data).failure();
    assert_eq!(failure.kind, FailureKind::Script);
    let prefix = "html::render: templates/page.html:";
    failure.message.strip_prefix(prefix).unwrap_or_else(|| panic!("{}", failure.message)).to_owned()
}

#[test]
fn text_is_escaped() {
    assert_eq!(
        call("html::escape(\"<a href='x'>&\\\"\")").text(),
        r#""&lt;a href=&#39;x&#39;&gt;&amp;&quot;""#
    );
}

#[test]
fn page_extends_a_layout() {
    let layout = "<title>{% block title %}Shop{% endblock %}</title>\n<main>{% block main %}{% endblock main %}</main>";
    let child = "{% extends \"layout.html\" %}\n{% block title %}{{ super() }}: {{ name }}{% endblock %}\n\
                 {% block main %}{% for item in items %}<p>{{ loop.index }} {{ item.name }}</p>{% else %}none{% endfor %}{% endblock %}";
    let call = call(
        "html::render(\"list.html\", #{ name: \"<Tea>\", items: [#{ name: \"a & b\" }, #{ name: \"c\" }] })",
    )
    .template("layout.html", layout)
    .template("list.html", child);
    assert_eq!(
        call.text(),
        "\"<title>Shop: &lt;Tea&gt;</title>\\n<main><p>1 a &amp; b</p><p>2 c</p></main>\""
    );
}

#[test]
fn text_is_escaped_except_in_text_files_and_safe_values() {
    assert_eq!(
        rendered("{{ a }}|{{ a|safe }}|{{ a|e }}", "#{ a: \"<'&\\\">\" }"),
        "&lt;&#39;&amp;&quot;&gt;|<'&\">|&lt;&#39;&amp;&quot;&gt;"
    );
    assert_eq!(rendered("{% set b %}<b>{{ a }}</b>{% endset %}{{ b }}", "#{ a: \"<\" }"), "<b>&lt;</b>");
    assert_eq!(rendered("{{ (\"<i>\"|safe) ~ a }}{{ a ~ \"x\" }}", "#{ a: \"<\" }"), "<i>&lt;&lt;x");
    let mail = call("html::render(\"mail.txt\", #{ a: \"<&>\" })").template("mail.txt", "{{ a }}");
    assert_eq!(mail.text(), "\"<&>\"");
}

#[test]
fn statements_and_operators() {
    for (template, data, expected) in [
        ("{% if a > 1 and b == \"x\" %}y{% elif a %}z{% else %}n{% endif %}", "#{ a: 1, b: \"x\" }", "z"),
        (
            "{{ 7 // 2 }} {{ 7 % 4 }} {{ 7 / 2 }} {{ 2 * 3 + 1 }} {{ -a }} {{ 1.5 + 1 }}",
            "#{ a: 2 }",
            "3 3 3.5 7 -2 2.5",
        ),
        (
            "{{ \"a\" in list }}{{ \"k\" not in map }}{{ \"el\" in \"hello\" }}",
            "#{ list: [\"a\"], map: #{ k: 1 } }",
            "truefalsetrue",
        ),
        ("{{ \"yes\" if a else \"no\" }}{{ \"x\" if not a }}", "#{ a: false }", "nox"),
        ("{% for k, v in map %}{{ k }}={{ v }};{% endfor %}", "#{ map: #{ b: 1, a: 2 } }", "a=2;b=1;"),
        (
            "{% for n in range(1, 6) if n is odd %}{{ n }}{{ \",\" if not loop.last }}{% endfor %}",
            "#{}",
            "1,3,5",
        ),
        ("{% for n in [1, 2] %}{{ loop.cycle(\"odd\", \"even\") }} {% endfor %}", "#{}", "odd even "),
        ("{% set a = [1, {\"b\": [2, 3]}] %}{{ a[1].b[-1] }}{{ a[1][\"b\"][0] }}", "#{}", "32"),
        ("a {%- if true -%} b {%- endif -%} c{# no #}{% raw %}{{ x }}{% endraw %}", "#{}", "abc{{ x }}"),
        ("{{ nothing }}|{{ t }}|{{ f }}|{{ n }}", "#{ nothing: (), t: true, f: 1.0, n: 3 }", "|true|1.0|3"),
        (
            "{% macro field(name, kind=\"text\") %}<input name={{ name }} type={{ kind }}>{% endmacro %}{{ field(\"a\") }}{{ field(name=\"<\", kind=\"b\") }}",
            "#{}",
            "<input name=a type=text><input name=&lt; type=b>",
        ),
        ("{{ ctx_like.a.b }}", "#{ ctx_like: #{ a: #{ b: 'c' } } }", "c"),
    ] {
        assert_eq!(rendered(template, data), expected, "{template}");
    }
}

#[test]
fn filters() {
    for (expression, expected) in [
        ("\"ab\"|upper|lower|title", "Ab"),
        ("\" x \"|trim|length", "1"),
        ("[3, 1, 2]|sort|join(\", \")", "1, 2, 3"),
        ("[{\"n\": 2}, {\"n\": 1}]|sort(\"n\")|first|tojson", "{\"n\":1}"),
        ("[1, 2, 3]|batch(2)|length", "2"),
        ("[1, 2, 3]|reverse|first + ([1, 2]|last) + ([1, 2.5]|sum|round)", "9"),
        ("missing|default(\"x\") ~ (missing.deep|d(\"y\")) ~ (\"\"|default(\"z\", true))", "xyz"),
        ("\"a-b\"|replace(\"-\", \"+\")|urlencode", "a%2Bb"),
        ("\"hello\"|truncate(2)", "he…"),
        ("{\"a\": \"</script>\"}|tojson", "{\"a\":\"\\u003c/script\\u003e\"}"),
        ("{\"b\": 1, \"a\": 2}|keys|join", "ab"),
        ("1.256|round(2) ~ (-3|abs) ~ (\"4\"|int)", "1.2634"),
        ("missing is defined or x is undefined or 4 is divisibleby(2)", "true"),
    ] {
        assert_eq!(rendered(&format!("{{{{ {expression} }}}}"), "#{}"), expected, "{expression}");
    }
}

#[test]
fn included_and_imported_templates() {
    let call = call("html::render(\"page.html\", #{ name: \"A\" })")
        .template("page.html", "{% from \"ui/forms.html\" import button as b %}{% import \"ui/forms.html\" as forms %}{% include \"head.html\" %}{{ b(\"x\") }}{{ forms.button(name) }}")
        .template("head.html", "<h1>{{ name }}</h1>")
        .template("ui/forms.html", "{% macro button(text) %}<button>{{ text }}</button>{% endmacro %}");
    assert_eq!(call.text(), "\"<h1>A</h1><button>x</button><button>A</button>\"");
}

#[test]
fn faults_name_the_place_in_the_template() {
    for (template, data, expected) in [
        ("<p>\n  {{ titel }}", "#{ title: 1 }", "2:6: `titel` is not defined; did you mean `title`?"),
        (
            "{{ user.nmae }}",
            "#{ user: #{ name: 1 } }",
            "1:4: `user.nmae` is not defined; did you mean `name`?",
        ),
        ("{{ a.b }}", "#{ a: () }", "1:4: cannot read `b` of `a`: it is nothing"),
        ("{{ list }}", "#{ list: [1] }", "1:4: an array cannot be written; use `join` or a loop"),
        ("{% for x in 3 %}{% endfor %}", "#{}", "1:13: cannot loop over an integer"),
        ("{{ 1 < \"a\" }}", "#{}", "1:4: cannot compare an integer with a string"),
        ("{{ 1 // 0 }}", "#{}", "1:4: division by zero"),
        ("{{ 9223372036854775807 + 1 }}", "#{}", "1:4: the result does not fit into 64 bits"),
        ("{{ \"a\"|sum }}", "#{}", "1:4: filter `sum`: expected an array, not a string"),
        ("{{ range(100000) }}", "#{}", "1:4: `range` makes 10000 numbers at most"),
        ("{% macro m(a) %}{{ a }}{% endmacro %}{{ m() }}", "#{}", "1:41: argument `a` of `m` is missing"),
        (
            "{% macro m(a) %}{{ m(a) }}{% endmacro %}{{ m(1) }}",
            "#{}",
            "1:20: macros and templates are nested deeper than 24 levels",
        ),
        ("{% if x", "#{}", "1:8: the tag is not closed; `%}` is missing"),
        ("{{ a b }}", "#{ a: 1 }", "1:6: expected `}}`, found `b`"),
        ("{{ super() }}", "#{}", "1:4: `super()` is only available in a block"),
    ] {
        assert_eq!(fault(template, data), expected, "{template}");
    }
    let failure = page("{{ x }}", "#{}").failure();
    assert_eq!(failure.location.map(|place| (place.line, place.column)), Some((1, 7)));
}

#[test]
fn faults_of_the_call() {
    assert_eq!(fails("html::render(\"a.html\")"), "html::render: there is no template `templates/a.html`");
    let near = call("let name = \"pgae.html\"; html::render(name, #{})").template("page.html", "").failure();
    assert_eq!(
        near.message,
        "html::render: there is no template `templates/pgae.html`; did you mean `page.html`?"
    );
    let data = |data: &str| page("", data).failure().message;
    assert_eq!(
        data("#{ a: #{ f: [|x| x] } }"),
        "html::render: `a.f[0]` in `data` is a function, which templates cannot read"
    );
    assert_eq!(data("#{ b: blob(1) }"), "html::render: `b` in `data` is a blob, which templates cannot read");
    assert_eq!(
        data("#{ s: [ctx.secrets][0] }"),
        "html::render: `ctx.secrets` cannot be written as a whole; read its secrets by name"
    );
    assert_eq!(
        fails("let d = [1]; html::render(\"a.html\", d)"),
        "html::render: `data` must be a map, not an array"
    );
    assert_eq!(rendered("{{ env.GREETING }}", "#{ env: ctx.env }"), "Hello");
    assert_eq!(call("html::render(\"a.html\")").template("a.html", "x").text(), "\"x\"");
}

#[test]
fn failure_can_be_caught_and_data_is_unchanged() {
    let source =
        "let d = #{ a: [1] }; try { html::render(\"page.html\", d) } catch (e) { d.b = \"caught\" } d";
    assert_eq!(call(source).template("page.html", "{{ x }}").text(), r#"{"a":[1],"b":"caught"}"#);
}
