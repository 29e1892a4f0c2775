//! A script that does not parse: Rhai's words as a fault.

use manifest_schema::fault::Fault;
use manifest_schema::name::ScriptPath;
use rhai::{ParseError, ParseErrorType};

use super::place;

pub(super) fn fault(error: &ParseError, path: &ScriptPath, source: &str) -> Fault {
    let position = error.position();
    let from = from_position(source, position.line(), position.position());
    let word = from.chars().take_while(|c| c.is_alphanumeric() || *c == '_').count();
    let place = place(source, position, word.max(1));
    let (message, advice) = words(error.err_type(), source, position.line(), position.position());
    Fault { advice, ..Fault::error(path.as_str(), place, message) }
}

fn words(
    error: &ParseErrorType,
    source: &str,
    line: Option<usize>,
    column: Option<usize>,
) -> (String, Option<String>) {
    let ParseErrorType::Reserved(word) = error else {
        let mut message = error.to_string();
        if let Some(first) = message.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        return (message, None);
    };
    let before = line.and_then(|line| source.lines().nth(line - 1)).unwrap_or_default();
    let before: String = before.chars().take(column.unwrap_or(1).saturating_sub(1)).collect();
    if word == "debug" && before.trim_end().ends_with("log::") {
        let message = "`log::debug` does not exist, since `debug` is a word of Rhai".to_owned();
        return (message, Some("use `log::trace`".to_owned()));
    }
    (format!("`{word}` is a reserved word"), Some("choose another name".to_owned()))
}

/// The source from a position on, both numbers counted from 1.
fn from_position(source: &str, line: Option<usize>, column: Option<usize>) -> &str {
    let Some(line) = line else { return "" };
    let text = source.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let skipped = column.unwrap_or(1).saturating_sub(1);
    text.char_indices().nth(skipped).map_or("", |(at, _)| &text[at..])
}
