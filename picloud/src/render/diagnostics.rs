//! Diagnostics in the form of rustc: location, source line, caret and help; and as JSON for editors and CI.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Severity, Span};
use serde_json::{Value, json};

use super::style::{red, yellow};
use super::{count, printable};

/// The maximum number of printed diagnostics; the others are only counted.
pub(crate) const SHOWN_MAX: usize = 50;

/// The maximum length of a summary in characters.
const SUMMARY_CHARS_MAX: usize = 160;

/// The maximum number of files in the count of unprinted errors.
const COUNTED_FILES_MAX: usize = 5;

/// Renders at most `shown_max` diagnostics and counts the others; without colors, since git adds its own.
pub(crate) fn render(diagnostics: &Diagnostics, shown_max: usize) -> String {
    anstream::adapter::strip_str(&render_styled(diagnostics, shown_max)).to_string()
}

/// Renders diagnostics with colors.
pub(crate) fn render_styled(diagnostics: &Diagnostics, shown_max: usize) -> String {
    let mut text = String::new();
    let shown: Vec<&Diagnostic> = diagnostics.iter().take(shown_max).collect();
    for diagnostic in &shown {
        text += &render_one(diagnostic);
        text.push('\n');
    }
    let errors = diagnostics.errors()
        - shown.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    let warnings = diagnostics.warnings() + diagnostics.errors() - errors - shown.len();
    if errors > 0 {
        text += &format!(
            "{}: {} more not shown{}\n",
            label(Severity::Error),
            count(errors, "problem"),
            by_file(diagnostics, &shown)
        );
    }
    if warnings > 0 {
        text += &format!("{}: {} more not shown\n", label(Severity::Warning), count(warnings, "warning"));
    }
    text
}

/// `: 9950 in a.rhai, 3 in b.rhai`
fn by_file(diagnostics: &Diagnostics, shown: &[&Diagnostic]) -> String {
    let shown_of = |file: &str| {
        shown
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error && diagnostic.file == file)
            .count()
    };
    let mut left: Vec<(usize, &str)> = diagnostics
        .errors_by_file()
        .iter()
        .map(|(file, errors)| (errors - shown_of(file), file.as_str()))
        .filter(|(left, _)| *left > 0)
        .collect();
    left.sort_by_key(|(left, _)| std::cmp::Reverse(*left));
    let files = left.len();
    let mut parts: Vec<String> = left
        .iter()
        .take(COUNTED_FILES_MAX)
        .map(|(left, file)| format!("{left} in {}", printable(file)))
        .collect();
    if files > COUNTED_FILES_MAX {
        parts.push(format!("others in {}", count(files - COUNTED_FILES_MAX, "file")));
    }
    format!(": {}", parts.join(", "))
}

/// `3 problems in 2 files`
pub(crate) fn count_by_file(errors: usize, files: usize) -> String {
    format!("{} in {}", count(errors, "problem"), count(files, "file"))
}

/// Diagnostics as JSON. Lines and columns start at 1; columns count characters (Unicode scalar values); `end_column` is
/// exclusive. A diagnostic of a whole file has no location. Beyond [`Diagnostics::KEPT_MAX`] of each
/// severity, diagnostics are only counted. `files` is the number of validated files.
pub(crate) fn to_json(diagnostics: &Diagnostics, files: usize) -> Value {
    let listed: Vec<Value> = diagnostics.iter().map(diagnostic_json).collect();
    json!({
        "ok": diagnostics.errors() == 0,
        "errors": diagnostics.errors(),
        "warnings": diagnostics.warnings(),
        "files": files,
        "files_with_errors": diagnostics.errors_by_file().len(),
        "omitted": diagnostics.errors() + diagnostics.warnings() - listed.len(),
        "diagnostics": listed,
    })
}

fn diagnostic_json(diagnostic: &Diagnostic) -> Value {
    let span = diagnostic.span.as_ref();
    json!({
        "severity": severity(diagnostic.severity),
        "file": diagnostic.file,
        "line": span.map(|span| span.line),
        "column": span.map(|span| span.column),
        "end_column": span.map(|span| span.column + span.width),
        "message": diagnostic.message,
        "help": diagnostic.help,
        "source": span.map(|span| span.source.as_str()),
        "source_column": span.map(|span| span.source_offset + 1),
    })
}

/// Renders a diagnostic.
fn render_one(diagnostic: &Diagnostic) -> String {
    let title = title(diagnostic);
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let Some(span) = &diagnostic.span else {
        let help = diagnostic.help.as_ref().map(|help| format!("\nhint: {}", printable(help)));
        return format!("{}: {title}{}", label(diagnostic.severity), help.unwrap_or_default());
    };
    let (source, range) = source_line(span);
    let help = diagnostic.help.as_deref().map(printable).unwrap_or_default();
    let annotation = AnnotationKind::Primary.span(range).label(help);
    let snippet = Snippet::source(source).line_start(span.line).annotation(annotation);
    Renderer::styled().decor_style(DecorStyle::Ascii).render(&[level.primary_title(title).element(snippet)])
}

/// A diagnostic in one short line: `greet.rhai:3:1 unknown function`.
pub(crate) fn summary(diagnostic: &Diagnostic) -> String {
    let title = title(diagnostic).replacen("  ", " ", 1);
    match title.char_indices().nth(SUMMARY_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &title[..end]),
        None => title,
    }
}

/// `greet.rhai:3:1  unknown function`.
fn title(diagnostic: &Diagnostic) -> String {
    let file = printable(&diagnostic.file);
    let message = printable(&diagnostic.message);
    match &diagnostic.span {
        Some(span) => format!("{file}:{}:{}  {message}", span.line, span.column),
        None => format!("{file}  {message}"),
    }
}

fn label(severity: Severity) -> String {
    match severity {
        Severity::Error => red("error"),
        Severity::Warning => yellow("warning"),
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The source line as printed, and the highlighted byte range. Tabs become single spaces, so that the caret is below its
/// character at any tab width.
fn source_line(span: &Span) -> (String, std::ops::Range<usize>) {
    let first = span.column - 1 - span.source_offset.min(span.column - 1);
    let line = span.source.replace('\t', " ");
    let slice = |from: usize, to: usize| -> String {
        line.chars().skip(from).take(to.saturating_sub(from)).collect()
    };
    let before = printable(&slice(0, first));
    let highlighted = printable(&slice(first, first + span.width));
    let after = printable(&slice(first + span.width, usize::MAX));
    let range = before.len()..before.len() + highlighted.len();
    (format!("{before}{highlighted}{after}"), range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(source: &str, start: usize, end: usize) -> Option<Span> {
        Some(Span::from_range(source, start..end))
    }

    fn plain(diagnostic: &Diagnostic) -> String {
        render(&diagnostic.clone().into(), 1).trim_end().to_owned()
    }

    #[test]
    fn diagnostic_has_source_line_and_help() {
        let source = "let x = 1;\n\nlgo::info(\"hi\");\n";
        let diagnostic = Diagnostic::error("greet.rhai", at(source, 12, 21), "unknown function `lgo::info`")
            .with_help("did you mean `log::info`?");
        assert_eq!(
            plain(&diagnostic),
            "error: greet.rhai:3:1  unknown function `lgo::info`\n  \
               |\n\
             3 | lgo::info(\"hi\");\n  \
               | ^^^^^^^^^ did you mean `log::info`?"
        );
    }

    #[test]
    fn list_is_bounded_and_counts_the_rest() {
        let mut diagnostics = Diagnostics::from(Diagnostic::warning("w.rhai", None, "w"));
        for file in ["a.rhai", "b.rhai", "b.rhai", "c.rhai"] {
            diagnostics.add(Diagnostic::error(file, None, "e"));
        }
        diagnostics.add_omitted_errors("c.rhai", 9);
        assert_eq!(
            render(&diagnostics, 2),
            "error: a.rhai  e\nerror: b.rhai  e\n\
             error: 11 problems more not shown: 10 in c.rhai, 1 in b.rhai\n\
             warning: 1 warning more not shown\n"
        );
        let many: Vec<_> = (0..9).map(|number| format!("{number}.rhai")).collect();
        let mut diagnostics = Diagnostics::default();
        many.iter().for_each(|file| diagnostics.add_omitted_errors(file, 1));
        assert!(
            render(&diagnostics, 50).ends_with(", 1 in 4.rhai, others in 4 files\n"),
            "{}",
            render(&diagnostics, 50)
        );
    }

    #[test]
    fn diagnostics_are_serialized_as_json() {
        let source = "let x = 1;\n\nlgo::info(\"hi\");\n";
        let diagnostic = Diagnostic::error("greet.rhai", at(source, 12, 21), "unknown function `lgo::info`");
        let mut diagnostics = Diagnostics::from(diagnostic.with_help("did you mean `log::info`?"));
        diagnostics.add(Diagnostic::warning("a.rhai", None, "w"));
        let expected = json!({
            "ok": false, "errors": 1, "warnings": 1, "files": 7, "files_with_errors": 1, "omitted": 0,
            "diagnostics": [
                {
                    "severity": "error", "file": "greet.rhai", "line": 3, "column": 1, "end_column": 10,
                    "message": "unknown function `lgo::info`", "help": "did you mean `log::info`?",
                    "source": "lgo::info(\"hi\");", "source_column": 1,
                },
                {
                    "severity": "warning", "file": "a.rhai", "line": null, "column": null, "end_column": null,
                    "message": "w", "help": null, "source": null, "source_column": null,
                },
            ],
        });
        assert_eq!(to_json(&diagnostics, 7), expected);
    }

    #[test]
    fn diagnostic_of_a_whole_file_has_a_hint() {
        let diagnostic =
            Diagnostic::error("picloud.toml", None, "is missing").with_help("run `picloud init`");
        assert_eq!(plain(&diagnostic), "error: picloud.toml  is missing\nhint: run `picloud init`");
    }

    #[test]
    fn caret_is_below_wide_and_escaped_characters() {
        let source = "\t世\u{1b}x = oops";
        let start = source.find("oops").unwrap();
        let text = plain(&Diagnostic::warning("a.rhai", at(source, start, start + 4), "m"));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[2], "1 |  世\\u{1b}x = oops");
        assert!(lines[3].ends_with("             ^^^^"), "{text}");
    }

    #[test]
    fn diagnostic_at_the_end_of_a_line_is_shown() {
        let text = plain(&Diagnostic::error("a.rhai", at("let x =", 7, 7), "script ends early"));
        assert!(text.contains("1 | let x ="), "{text}");
        assert!(text.contains('^'), "{text}");
    }
}
