//! Operators and expressions of other languages.

use super::brackets::{ends_operand, is_closing, is_opening};
use super::error_site::{ErrorSite, SyntaxError};
use super::statements::{expression_start, operand_end, operand_start};
use super::tokens::Kind;
use crate::check::help::Help;

/// Word operators, with their equivalents in Rhai.
const BETWEEN: [(&str, &str); 7] =
    [("and", "&&"), ("or", "||"), ("xor", "^"), ("mod", "%"), ("div", "/"), ("is", "=="), ("eq", "==")];

/// Types of `as` conversions, with the equivalent methods.
const CONVERSIONS: [(&str, &str); 14] = [
    ("int", "to_int"),
    ("i64", "to_int"),
    ("i32", "to_int"),
    ("u64", "to_int"),
    ("u32", "to_int"),
    ("usize", "to_int"),
    ("number", "to_float"),
    ("float", "to_float"),
    ("f64", "to_float"),
    ("f32", "to_float"),
    ("string", "to_string"),
    ("String", "to_string"),
    ("str", "to_string"),
    ("u8", "to_int"),
];

/// Word operators.
pub(super) fn recognize_words(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    words(site).or_else(|| negation(site)).or_else(|| type_tests(site))
}

pub(super) fn recognize(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    arrow(site)
        .or_else(|| lambda(site))
        .or_else(|| ternary(site))
        .or_else(|| counted(site))
        .or_else(|| unary_words(site))
        .or_else(|| created(site))
        .or_else(|| converted(site))
        .or_else(|| conditional(site))
        .or_else(|| comprehension(site))
        .or_else(|| named_argument(site))
        .or_else(|| signs(site))
}

/// `a and b`.
fn words(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    if site.at == 0 || !site.is_name(site.at) || !ends_operand(site.tokens, site.at - 1) {
        return None;
    }
    match (site.word(site.at), site.word(site.at + 1)) {
        ("not", "in") => {
            let help = Help::write("!in", site.bytes(site.at..site.at + 2));
            site.not_rhai(site.at, help)
        }
        ("is", "not") => site.not_rhai(site.at, Help::write("!=", site.bytes(site.at..site.at + 2))),
        ("instanceof", kind) => {
            let left = operand_start(site.tokens, site.brackets, site.at - 1);
            let name = match kind {
                "String" => "string",
                "Array" => "array",
                "Object" | "Map" => "map",
                "Function" => "Fn",
                _ => return site.not_rhai(site.at, Help::text("use `type_of(value)`")),
            };
            let code = format!("type_of({}) == \"{name}\"", site.text(left..site.at));
            site.not_rhai(site.at, Help::write(code, site.bytes(left..site.at + 2)))
        }
        ("of", _) if site.word(site.statement.start) == "for" => site.not_rhai_replace(site.at, "in"),
        (word, _) => {
            let (_, meant) = BETWEEN.iter().find(|(known, _)| *known == word)?;
            site.not_rhai_replace(site.at, meant)
        }
    }
}

/// `not a`.
fn negation(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let word = site.at.checked_sub(1).filter(|at| site.word(*at) == "not" && site.is_name(*at))?;
    let ends = |at: usize| {
        site.is_name(at) && matches!(site.word(at), "and" | "or")
            || matches!(site.word(at), "&&" | "||" | "?")
    };
    let end = site.expression_end(site.at, ends);
    let compares = |at: usize| matches!(site.word(at), "==" | "!=" | "<" | ">" | "<=" | ">=" | "in" | "is");
    let operand = operand_end(site.tokens, site.brackets, site.at);
    if (operand..end).any(compares) {
        let code = format!("!({})", site.text(site.at..end));
        return site.not_rhai(word, Help::write(code, site.bytes(word..end)));
    }
    let help = Help::write("!", site.range(word).start..site.token(site.at).start());
    site.not_rhai(word, help)
}

/// `typeof x` where a block is to begin, `void 0`.
fn type_tests(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let word = site.at.checked_sub(1).filter(|at| site.is_name(*at))?;
    let end = operand_end(site.tokens, site.brackets, site.at);
    let code = match (site.word(word), site.token(site.at).kind) {
        ("typeof", Kind::Word) => format!("type_of({})", site.text(site.at..end)),
        ("void", Kind::Number) => "()".to_owned(),
        _ => return None,
    };
    site.not_rhai(word, Help::write(code, site.bytes(word..end)))
}

/// `x => x + 1`, `(a, b) => a + b`.
fn arrow(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    // Rhai stops at the first comma of the parameters.
    let around = site.bracket_around(site.at).filter(|open| site.is_sign(*open, "("));
    let before_arrow =
        around.and_then(|open| site.brackets.partner(open)).filter(|close| site.word(close + 1) == "=>");
    let arrow = match site.word(site.at) {
        "=>" | "->" => site.at,
        _ => before_arrow? + 1,
    };
    let last = arrow.checked_sub(1)?;
    if site.word(arrow) == "->"
        && site.touches_next(last)
        && site.touches_next(arrow)
        && site.is_name(arrow + 1)
    {
        return site.not_rhai_replace(arrow, ".");
    }
    let open = site.bracket_around(arrow);
    let in_switch = open.is_some_and(|open| {
        let statement = super::statements::around(site.tokens, site.brackets, open);
        site.is_sign(open, "{")
            && statement.clone().any(|at| at < open && matches!(site.word(at), "switch" | "match"))
    });
    if in_switch && !site.is_sign(last, ")") {
        return if site.word(arrow) == "->" { site.not_rhai_replace(arrow, "=>") } else { None };
    }
    if site.is_text(last) && site.word(arrow) == "=>" {
        return written_map(site, open?);
    }
    let first = if site.is_sign(last, ")") { site.brackets.partner(last)? } else { last };
    if site.is_sign(last, "|") {
        return site.not_rhai(arrow, Help::remove("remove it", site.with_space(arrow)));
    }
    let parameters = match first == last {
        true if site.is_name(last) => site.word(last),
        true => return None,
        false => site.text(first + 1..last),
    };
    if !parameters.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ',' | ' ')) {
        return None;
    }
    let code = if parameters.is_empty() { "||".to_owned() } else { format!("|{parameters}|") };
    let is_async = first > 0 && site.word(first - 1) == "async";
    let first = if is_async { first - 1 } else { first };
    site.not_rhai(arrow, Help::code("write closures as ", code, site.bytes(first..arrow + 1), ""))
}

/// `["a" => 1]`
fn written_map(site: &ErrorSite<'_>, open: usize) -> Option<SyntaxError> {
    let close = site.brackets.partner(open)?;
    let inside = site.text(open + 1..close).replace("=>", ":");
    let help = Help::code(
        "write maps as ",
        format!("#{{ {inside} }}"),
        site.bytes(open..close + 1),
        "write maps as `#{ name: value }`",
    );
    site.not_rhai(site.at, help)
}

/// `lambda x: x + 1`.
fn lambda(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let word = [site.at, site.at.saturating_sub(1)].into_iter().find(|at| site.word(*at) == "lambda")?;
    let colon = (word..site.tokens.len()).take(12).find(|at| site.is_sign(*at, ":"))?;
    let parameters = site.text(word + 1..colon);
    let code = if colon == word + 1 { "||".to_owned() } else { format!("|{parameters}|") };
    site.not_rhai(word, Help::code("write closures as ", code, site.bytes(word..colon + 1), ""))
}

/// `a ? b : c`.
fn ternary(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    if !site.is_sign(site.at, "?") || site.at == 0 {
        return None;
    }
    if site.word(site.at + 1) == ":" && site.touches_next(site.at) {
        return site.not_rhai(site.at, Help::write("??", site.bytes(site.at..site.at + 2)));
    }
    let start = expression_start(site.tokens, site.brackets, site.at, site.statement.start);
    let colon = site.expression_end(site.at + 1, |at| site.is_sign(at, ":"));
    let general = || Help::text("use the expression `if a { b } else { c }`");
    if !site.is_sign(colon, ":") || start == site.at {
        return site.not_rhai(site.at, general());
    }
    let end = site.expression_end(colon + 1, |_| false);
    let (condition, yes, no) =
        (site.text(start..site.at), site.text(site.at + 1..colon), site.text(colon + 1..end));
    let code = format!("if {condition} {{ {yes} }} else {{ {no} }}");
    let help =
        Help::code("write ", code, site.bytes(start..end), "use the expression `if a { b } else { c }`");
    site.not_rhai(site.at, help)
}

/// `x++`, `--x`.
fn counted(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let sign = match site.word(site.at) {
        "++" => "+=",
        "--" => "-=",
        _ => return None,
    };
    let (operand, replace) = match site.at.checked_sub(1).filter(|before| ends_operand(site.tokens, *before))
    {
        Some(before) if !site.tokens.begins_line(site.at) => {
            let first = operand_start(site.tokens, site.brackets, before);
            (site.text(first..site.at), first..site.at + 1)
        }
        _ => {
            let end = operand_end(site.tokens, site.brackets, site.at + 1);
            (site.text(site.at + 1..end), site.at..end)
        }
    };
    let stands_alone = replace.start == site.statement.start
        && (site.is_sign(replace.end, ";") || replace.end >= site.statement.end);
    match stands_alone {
        true => site.not_rhai(site.at, Help::write(format!("{operand} {sign} 1"), site.bytes(replace))),
        // In an expression it needs two statements.
        false => site.not_rhai(site.at, Help::text(format!("write `x {sign} 1` as a statement of its own"))),
    }
}

/// `typeof x`, `delete m.x`, `await f()`, `yield x`.
fn unary_words(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let is_one = |at: usize| {
        matches!(site.word(at), "typeof" | "delete" | "await" | "async" | "yield" | "go" | "defer")
            && site.is_name(at)
    };
    let word = [Some(site.at), site.at.checked_sub(1)].into_iter().flatten().find(|at| is_one(*at))?;
    let end = operand_end(site.tokens, site.brackets, word + 1);
    match site.word(word) {
        "typeof" if site.is_name(word + 1) => {
            let code = format!("type_of({})", site.text(word + 1..end));
            site.not_rhai(word, Help::write(code, site.bytes(word..end)))
        }
        "delete" if site.is_name(word + 1) && end >= word + 4 && site.is_sign(end - 2, ".") => {
            let code = format!("{}.remove(\"{}\")", site.text(word + 1..end - 2), site.word(end - 1));
            site.not_rhai(word, Help::write(code, site.bytes(word..end)))
        }
        "delete" if site.is_name(word + 1) && site.is_sign(end - 1, "]") => {
            let open = site.brackets.partner(end - 1)?;
            let code = format!("{}.remove({})", site.text(word + 1..open), site.text(open + 1..end - 1));
            site.not_rhai(word, Help::write(code, site.bytes(word..end)))
        }
        "await" | "async" | "defer" | "go" => {
            let help = Help::remove("scripts run synchronously; remove it", site.with_space(word));
            site.not_rhai(word, help)
        }
        _ => None,
    }
}

/// `new Error("no")`, `new Map()`.
fn created(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    if site.word(site.at) != "new" || !site.is_name(site.at) {
        return None;
    }
    let class = site.at + 1;
    let close = site.brackets.partner(class + 1).filter(|_| site.is_sign(class + 1, "("));
    let name = site.word(class);
    let Some(close) = close else {
        return site.not_rhai(site.at, Help::text("use a map: `#{ name: value }`"));
    };
    let replace = site.bytes(site.at..close + 1);
    let arguments = site.text(class + 2..close);
    let code = match name {
        "Map" | "Object" | "HashMap" if arguments.is_empty() => "#{}".to_owned(),
        "Array" | "Set" | "List" | "ArrayList" if arguments.is_empty() => "[]".to_owned(),
        "Date" => {
            return site.not_rhai(site.at, Help::text("the time needs sdk 1.3, which has the module time"));
        }
        name if name.ends_with("Error") || name.ends_with("Exception") => match arguments.is_empty() {
            true => format!("\"{name}\""),
            false => {
                let first = site.expression_end(class + 2, |_| false);
                match first < close {
                    true => format!("#{{ kind: \"{name}\", details: [{arguments}] }}"),
                    false => site.text(class + 2..first).to_owned(),
                }
            }
        },
        _ => return site.not_rhai(site.at, Help::text("use a map: `#{ name: value }`")),
    };
    let long = "throw the string itself";
    site.not_rhai(site.at, Help::code("write ", code, replace, long))
}

/// `x as int`.
fn converted(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let before = site.at.checked_sub(1)?;
    if site.word(site.at) != "as" || !ends_operand(site.tokens, before) {
        return None;
    }
    let (_, method) = CONVERSIONS.iter().find(|(kind, _)| *kind == site.word(site.at + 1))?;
    let replace = site.range(before).end..site.range(site.at + 1).end;
    site.not_rhai(site.at, Help::write(format!(".{method}()"), replace))
}

/// `a if b else c`.
fn conditional(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let before = site.at.checked_sub(1)?;
    if site.word(site.at) != "if" || !ends_operand(site.tokens, before) || site.tokens.begins_line(site.at) {
        return None;
    }
    let start = expression_start(site.tokens, site.brackets, site.at, site.statement.start);
    let otherwise = site.expression_end(site.at + 1, |at| site.word(at) == "else");
    if site.word(otherwise) != "else" || site.is_sign(otherwise + 1, "{") {
        return None;
    }
    let end = site.expression_end(otherwise + 1, |_| false);
    let (value, condition, no) =
        (site.text(start..site.at), site.text(site.at + 1..otherwise), site.text(otherwise + 1..end));
    let code = format!("if {condition} {{ {value} }} else {{ {no} }}");
    let help =
        Help::code("write ", code, site.bytes(start..end), "use the expression `if a { b } else { c }`");
    Some(SyntaxError::known(site.range(site.at), "the condition comes before the values", help))
}

/// `[x for x in xs if y]`.
fn comprehension(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let open = site.bracket_around(site.at).filter(|open| site.is_sign(*open, "["))?;
    let close = site.brackets.partner(open)?;
    if site.word(site.at) != "for" || !site.is_name(site.at + 1) || site.word(site.at + 2) != "in" {
        return None;
    }
    let name = site.word(site.at + 1);
    let end = (site.at + 3..close).find(|at| site.word(*at) == "if").unwrap_or(close);
    let mut code = site.text(site.at + 3..end).to_owned();
    if end < close {
        code.push_str(&format!(".filter(|{name}| {})", site.text(end + 1..close)));
    }
    code.push_str(&format!(".map(|{name}| {})", site.text(open + 1..site.at)));
    let help =
        Help::code("write ", code, site.bytes(open..close + 1), "write `list.filter(|x| ...).map(|x| ...)`");
    Some(SyntaxError::known(site.range(site.at), "Rhai has no list comprehensions", help))
}

/// `f(a: 1)`, `f(a = 1)`.
fn named_argument(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let open = site.bracket_around(site.at).filter(|open| site.is_sign(*open, "("))?;
    let name = site.at.checked_sub(1)?;
    let is_call = open > 0 && site.is_name(open - 1) && ends_operand(site.tokens, open - 1);
    let is_argument = site.is_name(name) && (name == open + 1 || site.is_sign(name - 1, ","));
    if !is_call
        || !is_argument
        || !matches!(site.word(site.at), ":" | "=")
        || site.word(open.saturating_sub(2)) == "fn"
    {
        return None;
    }
    let replace = site.range(name).start..site.with_space(site.at).end;
    let help = Help::remove("Rhai has no named arguments; remove it", replace);
    Some(SyntaxError::known(
        site.bytes(name..site.at + 1),
        format!("`{}` is not valid Rhai", site.text(name..site.at + 1)),
        help,
    ))
}

/// Whether the name is declared by `let` before the error.
fn is_declared(site: &ErrorSite<'_>, name: &str) -> bool {
    (1..site.at).any(|at| site.word(at) == name && site.word(at - 1) == "let")
}

/// Operators of other languages, by the tokens around them.
fn signs(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let at = site.at;
    let follows_operand = at > 0 && ends_operand(site.tokens, at - 1);
    match site.word(at) {
        ">" if at > 0 && site.is_sign(at - 1, "<") && site.touches_next(at - 1) => {
            let both = site.bytes(at - 1..at + 1);
            Some(SyntaxError::known(both.clone(), "`<>` is not valid Rhai", Help::write("!=", both)))
        }
        ">" if at > 0 && site.is_sign(at - 1, ">>") && site.touches_next(at - 1) => {
            let both = site.bytes(at - 1..at + 1);
            Some(SyntaxError::known(both.clone(), "`>>>` is not valid Rhai", Help::write(">>", both)))
        }
        "!" if follows_operand && site.touches_next(at - 1) => {
            site.not_rhai(at, Help::remove("remove it", site.range(at)))
        }
        ":" if at > 0
            && site.bracket_around(at).is_some_and(|open| {
                site.is_sign(open, "[") && open > 0 && ends_operand(site.tokens, open - 1)
            }) =>
        {
            let open = site.bracket_around(at)?;
            let close = site.brackets.partner(open)?;
            let end = site.text(at + 1..close);
            let code = format!(".extract({}..{end})", site.text(open + 1..at));
            if end.is_empty() || end.starts_with('-') {
                return site.not_rhai(at, Help::text("slice arrays with `list.extract(0..2)`"));
            }
            site.not_rhai(at, Help::write(code, site.bytes(open..close + 1)))
        }
        "debug" if site.before() == "." && at >= 2 && matches!(site.word(at - 2), "log" | "console") => {
            let whole = site.bytes(at - 2..at + 1);
            let message = format!("`{}` is not valid Rhai", site.text(at - 2..at + 1));
            Some(SyntaxError::known(whole.clone(), message, Help::write("log::trace", whole)))
        }
        ":=" => site.not_rhai_replace(at, "="),
        "~" if site.is_sign(at + 1, "=") && site.touches_next(at) => {
            let both = site.bytes(at..at + 2);
            Some(SyntaxError::known(both.clone(), "`~=` is not valid Rhai", Help::write("!=", both)))
        }
        "~=" => site.not_rhai_replace(at, "!="),
        "::<" => {
            let close = (at..site.statement.end).find(|end| site.is_sign(*end, ">"))?;
            let help = Help::remove("Rhai has no type annotations; remove it", site.bytes(at..close + 1));
            site.not_rhai(at, help)
        }
        "!." => site.not_rhai_replace(at, "."),
        "->" if follows_operand => site.not_rhai_replace(at, "."),
        "<-" => site.not_rhai_replace(at, "="),
        "[" if at > 0 && site.is_sign(at - 1, "?.") => Some(SyntaxError::known(
            site.bytes(at - 1..at + 1),
            "`?.[` is not valid Rhai",
            Help::write("?[", site.bytes(at - 1..at + 1)),
        )),
        "=" if matches!(site.kind, rhai::ParseErrorType::BadInput(rhai::LexError::ImproperSymbol(..))) => {
            Some(SyntaxError::known(
                site.range(at),
                "assignment in a condition",
                Help::write("==", site.range(at)),
            ))
        }
        "&" | "*" | "&&" | "**"
            if !follows_operand && at + 1 < site.tokens.len() && !is_closing(site.word(at + 1)) =>
        {
            site.not_rhai(at, Help::remove("Rhai has no references; remove it", site.with_space(at)))
        }
        "$" if at == site.statement.start
            && site.is_sign(at + 2, "=")
            && !is_declared(site, site.word(at + 1)) =>
        {
            let code = format!("let {} =", site.word(at + 1));
            site.not_rhai(at, Help::write(code, site.bytes(at..at + 3)))
        }
        "$" if site.is_name(at + 1) && site.touches_next(at) => {
            site.not_rhai(at, Help::remove("names have no prefix; remove it", site.range(at)))
        }
        "@" if site.is_name(at + 1) && at == site.statement.start => {
            let end = operand_end(site.tokens, site.brackets, at + 1);
            let help = Help::remove("Rhai has no decorators; remove it", site.bytes(at..end));
            Some(SyntaxError::known(
                site.bytes(at..end),
                format!("`{}` is not valid Rhai", site.text(at..end)),
                help,
            ))
        }
        "..." => {
            let help = match site.at.checked_sub(1).map(|before| site.word(before)) {
                Some("[") => Help::text("concatenate arrays with `+`: `[1] + rest`"),
                Some("{" | "#{") => Help::text("merge maps with `+`: `#{ a: 1 } + rest`"),
                Some("(" | ",") => Help::text("pass the arguments one by one"),
                _ => return None,
            };
            site.not_rhai(at, help)
        }
        "/" if !follows_operand => {
            let start = site.range(at).start;
            let help = Help::text("Rhai has no regular expressions; use `contains`, `split` or `index_of`");
            Some(
                SyntaxError::known(site.range(at), "an expression cannot start with `/`", help)
                    .skipping(start..site.tokens.line_end(start), ";"),
            )
        }
        "<" if site.is_sign(at + 1, "?") && site.touches_next(at) => {
            let start = site.range(at).start;
            let help = Help::remove("remove it", start..site.tokens.line_end(start));
            Some(SyntaxError::known(site.bytes(at..at + 2), "`<?` is not valid Rhai", help))
        }
        word if is_opening(word) => None,
        _ => None,
    }
}
