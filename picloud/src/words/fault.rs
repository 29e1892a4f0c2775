//! A fault as a compiler prints it: the place, the line, a caret and what to do.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use manifest_schema::fault::{Fault, Place, Severity};

use super::printable;

/// The lines of a fault, without colours: git adds its own, and pipes want none.
pub(crate) fn render(fault: &Fault) -> String {
    let title = title(fault);
    let level = match fault.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let Some(place) = &fault.place else {
        let advice = fault.advice.as_ref().map(|advice| format!("\nhint: {}", printable(advice)));
        return format!("{}: {title}{}", severity(fault.severity), advice.unwrap_or_default());
    };
    let (source, span) = shown(place);
    let advice = fault.advice.as_deref().map(printable).unwrap_or_default();
    let annotation = AnnotationKind::Primary.span(span).label(advice);
    let snippet = Snippet::source(source).line_start(place.line).annotation(annotation);
    Renderer::plain().decor_style(DecorStyle::Ascii).render(&[level.primary_title(title).element(snippet)])
}

/// `greet.rhai:3:1  unknown function`.
fn title(fault: &Fault) -> String {
    let file = printable(&fault.file);
    let message = printable(&fault.message);
    match &fault.place {
        Some(place) => format!("{file}:{}:{}  {message}", place.line, place.column),
        None => format!("{file}  {message}"),
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The source line as it is printed, and the bytes of it that are meant. Tabs become single blanks, so that a caret
/// stands under its character whatever a terminal makes of tabs.
fn shown(place: &Place) -> (String, std::ops::Range<usize>) {
    let first = place.column - 1 - place.source_offset.min(place.column - 1);
    let line = place.source.replace('\t', " ");
    let piece = |from: usize, to: usize| -> String {
        line.chars().skip(from).take(to.saturating_sub(from)).collect()
    };
    let before = printable(&piece(0, first));
    let meant = printable(&piece(first, first + place.width));
    let after = printable(&piece(first + place.width, usize::MAX));
    let span = before.len()..before.len() + meant.len();
    (format!("{before}{meant}{after}"), span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(source: &str, start: usize, end: usize) -> Option<Place> {
        Some(Place::of_span(source, start..end))
    }

    #[test]
    fn a_fault_reads_as_in_the_design() {
        let source = "let x = 1;\n\nlgo::info(\"hi\");\n";
        let fault = Fault::error("greet.rhai", at(source, 12, 21), "unknown function `lgo::info`")
            .advise("did you mean `log::info`?");
        assert_eq!(
            render(&fault),
            "error: greet.rhai:3:1  unknown function `lgo::info`\n  \
               |\n\
             3 | lgo::info(\"hi\");\n  \
               | ^^^^^^^^^ did you mean `log::info`?"
        );
    }

    #[test]
    fn a_fault_of_a_whole_file_is_one_line_and_a_hint() {
        let fault = Fault::error("picloud.toml", None, "is missing").advise("run `picloud init`");
        assert_eq!(render(&fault), "error: picloud.toml  is missing\nhint: run `picloud init`");
    }

    #[test]
    fn the_caret_stands_under_wide_and_hidden_characters() {
        let source = "\t世\u{1b}x = oops";
        let start = source.find("oops").unwrap();
        let text = render(&Fault::warning("a.rhai", at(source, start, start + 4), "m"));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[2], "1 |  世\\u{1b}x = oops");
        assert!(lines[3].ends_with("             ^^^^"), "{text}");
    }

    #[test]
    fn a_fault_behind_the_last_character_is_shown() {
        let text = render(&Fault::error("a.rhai", at("let x =", 7, 7), "script ends early"));
        assert!(text.contains("1 | let x ="), "{text}");
        assert!(text.contains('^'), "{text}");
    }
}
