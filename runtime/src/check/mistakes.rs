//! Mistakes of authors who know other languages, with the reported errors.

use manifest_schema::diagnostic::Severity;

use super::help::Edit;
use super::*;

/// Scripts with their diagnostics, each as `--- line:column message | help`.
const MISTAKES: &str = include_str!("mistakes.txt");

/// Help with code that is not an edit of the script.
const EXAMPLES: [&str; 33] = [
    "declare functions as `fn",
    "blocks need braces: `{ ... }`",
    "to count items, write `for (item, index) in list { ... }`",
    "write loops as `for i in 0..3 { ... }`",
    "slice arrays with `list.extract(0..2)`",
    "concatenate arrays with `+`: `[1] + rest`",
    "merge maps with `+`: `#{ a: 1 } + rest`",
    "declare it with `let` to change it",
    "define it at the top level, or use a closure: `let f = |x| x + 1;`",
    "use a map of closures: `#{ act: || this.value }`",
    "use a map: `#{ name: value }`",
    "names consist of `a` to `z`, `A` to `Z`, `0` to `9` and `_`",
    "Rhai has no regular expressions; use `contains`, `split` or `index_of`",
    "move the code after the `try`, and give the `try` a `catch`",
    "write `switch value { 1 => ..., _ => ... }`",
    "return a map: `#{ statusCode: 200, body: value }`",
    "numbers have methods: `x.floor()`, `x.abs()`",
    "`map` and `filter` return arrays directly",
    "use `log::trace`",
    "change a copy: `let body = ctx.request.body;`",
    "write ranges as `0..10` or `0..=9`",
    "interpolated strings need backquotes",
    "call a function by name with `Fn(\"name\")`",
    "`global::` only reaches constants; declare it as `const price`",
    "it is a function; call it as `log::info(...)`",
    "set `sdk = \"1.1\"` in the manifest",
    "call it as `add(...)`: the value before the dot is `this`",
    "comments nest: the inner `/*` of line 3 needs its own `*/`",
    "the rest of the script is a comment; add `*/` where it ends",
    "assign its parts to variables; replace a long `else if` chain by a `switch`",
    "use the expression `if a { b } else { c }`",
    // The intended end of a string is unknown.
    "add `",
    "write `",
];

struct Mistake {
    source: &'static str,
    diagnostics: Vec<&'static str>,
}

fn mistakes() -> impl Iterator<Item = Mistake> {
    MISTAKES.split("====\n").map(|mistake| {
        let end = mistake.find("--- ").expect("each mistake has a diagnostic");
        Mistake {
            source: &mistake[..end],
            diagnostics: mistake[end..].lines().map(|line| &line["--- ".len()..]).collect(),
        }
    })
}

/// The errors of a script, and the edits of their help.
fn checked(source: &str) -> (Vec<Diagnostic>, Vec<(Position, Edit)>) {
    checked_for(SdkVersion::V1_2, source)
}

/// The same, of a script written for `sdk`.
pub(super) fn checked_for(sdk: SdkVersion, source: &str) -> (Vec<Diagnostic>, Vec<(Position, Edit)>) {
    let path = ScriptPath::new("a.rhai").unwrap();
    let mut findings = Findings::new(sdk, &path, source);
    let mut memory = CompileMemory::new(Arc::new(UnlimitedMemory));
    drop(analyze(Sandbox::of(sdk), None, &Libraries::default(), &mut findings, &mut memory).unwrap());
    let edits = std::mem::take(&mut findings.edits);
    let diagnostics = findings
        .into_diagnostics()
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .cloned()
        .collect();
    (diagnostics, edits)
}

fn render(diagnostic: &Diagnostic) -> String {
    let (line, column) = diagnostic.span.as_ref().map_or((0, 0), |place| (place.line, place.column));
    let help = diagnostic.help.as_ref().map(|help| format!(" | {help}")).unwrap_or_default();
    format!("{line}:{column} {}{help}", diagnostic.message)
}

#[test]
fn mistake_is_reported_at_its_position_with_help() {
    let mut wrong = String::new();
    for Mistake { source, diagnostics } in mistakes() {
        let found: Vec<String> = checked(source).0.iter().map(render).collect();
        if found != diagnostics {
            wrong.push_str(&format!(
                "{source}{}====\n",
                found.iter().map(|diagnostic| format!("--- {diagnostic}\n")).collect::<String>()
            ));
        }
    }
    assert!(wrong.is_empty(), "reported otherwise:\n{wrong}");
}

/// The lines of a script that have a diagnostic.
fn lines(source: &str) -> Vec<usize> {
    checked(source).0.iter().map(|diagnostic| diagnostic.span.as_ref().unwrap().line).collect()
}

#[test]
fn two_mistakes_are_both_reported_without_others() {
    let mistakes: Vec<(&str, Vec<usize>)> =
        mistakes().map(|mistake| (mistake.source, lines(mistake.source))).collect();
    let (mut pairs, mut both, mut invented) = (0, 0, Vec::new());
    for (first, first_lines) in &mistakes {
        let above = first.matches('\n').count();
        for (second, second_lines) in mistakes.iter().filter(|(second, _)| second != first) {
            let source = format!("{first}{second}");
            let found = lines(&source);
            pairs += 1;
            both += usize::from(
                found.iter().any(|line| *line <= above) && found.iter().any(|line| *line > above),
            );
            let is_of_slip = |line: &usize| {
                first_lines.contains(line) || *line > above && second_lines.contains(&(line - above))
            };
            if !found.iter().all(is_of_slip) {
                invented.push(source);
            }
        }
    }
    assert!(both * 100 >= pairs * 98, "both are reported in {both} of {pairs} pairs");
    assert!(
        invented.is_empty(),
        "{} have diagnostics of their own, such as\n{}",
        invented.len(),
        invented[0]
    );
}

#[test]
fn help_with_code_is_an_edit_that_fixes_the_error() {
    let mut wrong = Vec::new();
    for Mistake { source, .. } in mistakes() {
        wrong.extend(wrong_help(SdkVersion::V1_2, source));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Errors in the help for a script: the edit of each diagnostic is applied separately.
pub(super) fn wrong_help(sdk: SdkVersion, source: &str) -> Vec<String> {
    let source = strip_bom(source);
    let mut wrong = Vec::new();
    let (diagnostics, edits) = checked_for(sdk, source);
    for diagnostic in &diagnostics {
        let Some(place) = diagnostic.span.as_ref() else { continue };
        let is_here = |position: &Position| {
            (position.line(), position.position()) == (Some(place.line), Some(place.column))
        };
        let help = diagnostic.help.as_deref().unwrap_or_default();
        let Some((_, Edit { replace, with })) = edits.iter().find(|(position, _)| is_here(position)) else {
            if help.contains('`') && !EXAMPLES.iter().any(|example| help.contains(example)) {
                wrong.push(format!("no edit: {}", render(diagnostic)));
            }
            continue;
        };
        let mut edited = source.to_owned();
        edited.replace_range(replace.clone(), with);
        let mut left: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
        left.remove(left.iter().position(|message| *message == diagnostic.message).unwrap());
        for after in &checked_for(sdk, &edited).0 {
            match left.iter().position(|message| *message == after.message) {
                Some(at) => drop(left.remove(at)),
                None => wrong.push(format!(
                    "{}\n{source}-- is, edited:\n{edited}-- {}",
                    render(diagnostic),
                    render(after)
                )),
            }
        }
    }
    wrong
}
