//! What people who come from other languages write, and what they read about it.

use manifest_schema::diagnostic::Severity;

use super::help::Edit;
use super::*;

/// Scripts with their diagnostics, each as `--- line:column message | help`.
const SLIPS: &str = include_str!("slips.txt");

/// Advice that shows code which is no edit of what was written.
const EXAMPLES: [&str; 31] = [
    "a function is written `fn",
    "a block stands in braces: `{ ... }`",
    "a loop that counts is written `for (item, index) in list { ... }`",
    "a loop is written `for i in 0..3 { ... }`",
    "a part of an array is `list.extract(0..2)`",
    "arrays are joined with `+`: `[1] + rest`",
    "maps are joined with `+`: `#{ a: 1 } + rest`",
    "declare it with `let` to change it",
    "define it at the top, or make it a closure: `let f = |x| x + 1;`",
    "make a map that holds closures: `#{ act: || this.value }`",
    "make a map: `#{ name: value }`",
    "names are made of `a` to `z`, `A` to `Z`, `0` to `9` and `_`",
    "there are no regular expressions; strings have `contains`, `split` and `index_of`",
    "what always happens stands after the `try`, with a `catch` of its own",
    "write `switch value { 1 => ..., _ => ... }`",
    "an answer is a map: `#{ statusCode: 200, body: value }`",
    "numbers have methods: `x.floor()`, `x.abs()`",
    "arrays have `map` and `filter` at once",
    "use `log::trace`",
    "copy what you change: `let body = ctx.request.body;`",
    "a range is written `0..10` or `0..=9`",
    "a string with values in it is written in backquotes",
    "choose a function by name with `Fn(\"name\")`",
    "only constants are reached like this: declare it as `const price`",
    "it is a function: call it as `log::info(...)`",
    "set `sdk = \"1.1\"` in the manifest",
    "call it as `add(...)`: before the dot stands what it knows as `this`",
    "comments nest: the `/*` of line 3 within it needs a `*/` of its own",
    "the rest of the script is a comment; write `*/` where it ends",
    "give its parts names with `let`; a long chain of `else if` can be a `switch`",
    // Nobody knows where a string was to end.
    "write `",
];

struct Slip {
    source: &'static str,
    diagnostics: Vec<&'static str>,
}

fn slips() -> impl Iterator<Item = Slip> {
    SLIPS.split("====\n").map(|slip| {
        let end = slip.find("--- ").expect("each slip has a fault");
        Slip {
            source: &slip[..end],
            diagnostics: slip[end..].lines().map(|line| &line["--- ".len()..]).collect(),
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
    let mut growth = Growth::new(Arc::new(Unbounded));
    drop(judge(Sandbox::of(sdk), None, &mut findings, &mut growth).unwrap());
    let edits = std::mem::take(&mut findings.edits);
    let diagnostics = findings
        .into_diagnostics()
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .cloned()
        .collect();
    (diagnostics, edits)
}

fn words(diagnostic: &Diagnostic) -> String {
    let (line, column) = diagnostic.span.as_ref().map_or((0, 0), |span| (span.line, span.column));
    let help = diagnostic.help.as_ref().map(|help| format!(" | {help}")).unwrap_or_default();
    format!("{line}:{column} {}{help}", diagnostic.message)
}

#[test]
fn slip_is_reported_at_its_place_with_what_to_write() {
    let mut wrong = String::new();
    for Slip { source, diagnostics } in slips() {
        let found: Vec<String> = checked(source).0.iter().map(words).collect();
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
fn of_two_slips_both_are_reported_and_no_other() {
    let slips: Vec<(&str, Vec<usize>)> = slips().map(|slip| (slip.source, lines(slip.source))).collect();
    let (mut pairs, mut both, mut invented) = (0, 0, Vec::new());
    for (first, first_lines) in &slips {
        let above = first.matches('\n').count();
        for (second, second_lines) in slips.iter().filter(|(second, _)| second != first) {
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
    assert!(invented.is_empty(), "{} have faults of their own, such as\n{}", invented.len(), invented[0]);
}

#[test]
fn advice_that_holds_code_is_an_edit_that_leaves_one_fault_less() {
    let mut wrong = Vec::new();
    for Slip { source, .. } in slips() {
        wrong.extend(wrong_advice(SdkVersion::V1_2, source));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the help on a script: the edit of each diagnostic is applied by itself.
pub(super) fn wrong_advice(sdk: SdkVersion, source: &str) -> Vec<String> {
    let source = without_mark(source);
    let mut wrong = Vec::new();
    let (diagnostics, edits) = checked_for(sdk, source);
    for diagnostic in &diagnostics {
        let Some(span) = diagnostic.span.as_ref() else { continue };
        let is_here = |position: &Position| {
            (position.line(), position.position()) == (Some(span.line), Some(span.column))
        };
        let help = diagnostic.help.as_deref().unwrap_or_default();
        let Some((_, Edit { replace, with })) = edits.iter().find(|(position, _)| is_here(position)) else {
            if help.contains('`') && !EXAMPLES.iter().any(|example| help.contains(example)) {
                wrong.push(format!("no edit: {}", words(diagnostic)));
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
                    words(diagnostic),
                    words(after)
                )),
            }
        }
    }
    wrong
}
