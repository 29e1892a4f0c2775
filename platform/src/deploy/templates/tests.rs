use manifest_schema::limits::Ceiling;

use super::*;
use crate::deploy::{Checked, check};

/// A snapshot with one function and these templates.
fn snapshot(sdk: &str, script: &str, templates: &[(&str, &str)]) -> Snapshot {
    let manifest = format!("sdk = \"{sdk}\"\n[[functions]]\nname = \"a\"\nscript = \"a.rhai\"\n");
    let mut snapshot = Snapshot::default();
    let files = [("picloud.toml", manifest.as_str()), ("a.rhai", script)];
    for (path, text) in files.into_iter().chain(templates.iter().copied()) {
        snapshot.add(path, || File::Bytes(text.to_owned().into()));
    }
    snapshot
}

/// `file:line:column: message; help` of each diagnostic, without the warning about the draft.
fn found(snapshot: &Snapshot) -> Vec<String> {
    let diagnostics = match check(snapshot, &Ceiling::DEFAULT) {
        Ok(Checked { warnings, .. }) => warnings,
        Err(diagnostics) => diagnostics,
    };
    let others = diagnostics.iter().filter(|diagnostic| !diagnostic.message.contains("is a draft"));
    let describe = |diagnostic: &Diagnostic| {
        let span = diagnostic.span.as_ref();
        let place = span.map(|span| format!(":{}:{}", span.line, span.column)).unwrap_or_default();
        let help = diagnostic.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        format!("{}{place}: {}{help}", diagnostic.file, diagnostic.message)
    };
    others.map(describe).collect()
}

#[test]
fn faults_of_templates_have_a_place() {
    let layout = "<html>{% block main %}{% endblock %}</html>";
    let files = [
        ("templates/layout.html", layout),
        ("templates/open.html", "<p>\n  {% if title %}x"),
        ("templates/page.html", "{% extends \"layuot.html\" %}\n{% block main %}{{ a|uper }}{% endblock %}"),
        ("templates/tag.html", "{% blok x %}"),
    ];
    assert_eq!(
        found(&snapshot("1.3", "1", &files)),
        [
            "templates/open.html:2:3: `if` is not closed; `{% endif %}` is missing",
            "templates/page.html:2:22: unknown filter `uper`; did you mean `upper`?",
            "templates/tag.html:1:4: unknown tag `blok`; did you mean `block`?",
        ]
    );
}

#[test]
fn names_between_templates_are_checked() {
    let files = [
        ("templates/a.html", "{% include \"b.html\" %}"),
        ("templates/b.html", "{% extends \"c.html\" %}"),
        ("templates/c.html", "{% include \"a.html\" %}"),
        ("templates/forms.html", "{% macro field(name) %}<input name={{ name }}>{% endmacro %}"),
        ("templates/self.html", "{% include \"self.html\" %}"),
        (
            "templates/page.html",
            "{% from \"forms.html\" import feld %}{% import \"forms.html\" as forms %}\n{{ forms.fild(1) }}{{ now() }}",
        ),
        ("templates/miss.html", "{% include \"form.html\" %}"),
        ("templates/child.html", "{% extends \"layout.html\" %}text{% block man %}{% endblock %}"),
        ("templates/layout.html", "{% block main %}{% endblock %}"),
    ];
    assert_eq!(
        found(&snapshot("1.3", "1", &files)),
        [
            "templates/miss.html:1:12: there is no template `form.html`; did you mean `forms.html`?",
            "templates/page.html:1:29: templates/forms.html has no macro `feld`; did you mean `field`?",
            "templates/page.html:2:4: unknown function `forms.fild`; did you mean `field`?",
            "templates/page.html:2:23: unknown function `now`; only macros, `range` and `super` can be called; call others in the script",
            "templates/a.html:1:12: the templates name each other in a cycle: a.html -> b.html -> c.html -> a.html",
            "templates/self.html:1:12: the template includes or extends itself",
            "templates/child.html:1:12: what is outside of blocks is not written, since the template extends another one",
            "templates/child.html:1:41: no template that this one extends has a block `man`; did you mean `main`?",
        ]
    );
}

#[test]
fn scripts_can_only_name_templates_of_the_commit() {
    let files = [("templates/page.html", "x")];
    let script = "html::render(\"page.html\") + html::render(\"pgae.html\", #{}) + html::render(\"templates/page.html\")";
    assert_eq!(
        found(&snapshot("1.3", script, &files)),
        [
            "a.rhai:1:42: there is no template `templates/pgae.html`; did you mean `page.html`?",
            "a.rhai:1:75: there is no template `templates/templates/page.html`; write `\"page.html\"`",
        ]
    );
    assert_eq!(
        found(&snapshot("1.3", "html::render(\"a.html\")", &[])),
        ["a.rhai:1:14: there is no template `templates/a.html`; create the file templates/a.html"]
    );
}

#[test]
fn files_that_cannot_be_templates_are_reported() {
    let mut wrong = snapshot("1.3", "1", &[("templates/nul.html", "a\0")]);
    wrong.add("templates/link.html", || File::Symlink);
    wrong.add("templates/large.html", || File::TooLarge);
    wrong.add("templates/bytes.html", || File::Bytes(b"1\n\xff".to_vec().into()));
    assert_eq!(
        found(&wrong),
        [
            "templates/bytes.html:2:1: the template is not UTF-8; save it as UTF-8",
            "templates/large.html: the template is larger than 256 KiB; split it with `include`, or pass texts from the script",
            "templates/link.html: the file is a symbolic link; links are not followed",
            "templates/nul.html:1:2: the template contains a NUL byte",
        ]
    );
    for n in 0..101 {
        wrong.add(&format!("templates/{n}.html"), || File::Bytes(bytes::Bytes::new()));
    }
    assert_eq!(
        found(&wrong),
        ["templates/: the folder has more than 100 templates; move other files to another folder"]
    );
}

#[test]
fn older_versions_have_no_templates() {
    let broken = [("templates/page.html", "{% if %}")];
    assert!(found(&snapshot("1.2", "1", &broken)).is_empty());
    let Checked { prepared, .. } = check(&snapshot("1.2", "1", &broken), &Ceiling::DEFAULT).unwrap();
    assert!(prepared.templates.is_empty());
    let valid = snapshot("1.3", "1", &[("templates/a/b.html", "x")]);
    let Checked { prepared, .. } = check(&valid, &Ceiling::DEFAULT).unwrap();
    assert_eq!(prepared.templates["a/b.html"].text(), "x");
}

#[test]
fn unused_templates_are_reported_if_all_names_are_known() {
    let files = [
        ("templates/layout.html", "{% block main %}{% endblock %}"),
        (
            "templates/page.html",
            "{% extends \"layout.html\" %}{% block main %}{% include \"a/b.html\" %}{% endblock %}",
        ),
        ("templates/a/b.html", "x"),
        ("templates/lost.html", "x"),
        ("templates/mail.txt", "x"),
    ];
    let lost = "templates/lost.html: not used by any script or other template";
    let mail = "templates/mail.txt: not used by any script or other template";
    let rendered = "let x = 1; if x > 0 { x = html::render(\"page.html\", #{ x: x }); } x";
    assert_eq!(found(&snapshot("1.3", rendered, &files)), [lost, mail]);
    let other = "fn f(name) { html::render(name, #{}) } f(\"lost.html\") + html::render(\"page.html\", #{})";
    assert!(found(&snapshot("1.3", other, &files)).is_empty());
    // A library renders it.
    let script = "import \"lib/mail\" as mail; mail::text() + html::render(\"page.html\", #{})";
    let mut with_library = snapshot("1.3", script, &files);
    let library = "fn text() { html::render(\"mail.txt\", #{}) }";
    with_library.add("lib/mail.rhai", || File::Bytes(library.into()));
    assert_eq!(found(&with_library), [lost]);
    // Errors first.
    assert_eq!(found(&snapshot("1.3", "nope()", &files)), ["a.rhai:1:1: unknown function `nope`"]);
}
