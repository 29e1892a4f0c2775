//! Statements of other languages.

use super::brackets::{is_opening, is_sign};
use super::error_site::{ErrorSite, SyntaxError};
use crate::check::help::Help;

/// Keywords for functions.
const FUNCTIONS: [&str; 7] = ["function", "func", "fun", "def", "sub", "proc", "procedure"];

/// Modifiers of declarations.
const MODIFIERS: [&str; 14] = [
    "async",
    "public",
    "static",
    "pub",
    "export",
    "default",
    "local",
    "protected",
    "inline",
    "final",
    "extern",
    "override",
    "virtual",
    "abstract",
];

/// Keywords for type declarations.
const TYPES: [&str; 9] =
    ["class", "struct", "enum", "interface", "trait", "impl", "namespace", "record", "type"];

/// Keywords for variables, in place of `let`.
const DECLARATIONS: [&str; 22] = [
    "int", "float", "double", "string", "String", "str", "bool", "boolean", "char", "auto", "val", "local",
    "my", "our", "dim", "Dim", "object", "Integer", "number", "long", "list", "dict",
];

/// Statements that print.
const PRINTERS: [&str; 5] = ["print", "puts", "echo", "println", "printf"];

pub(super) fn recognize(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    modifier(site)
        .or_else(|| function(site))
        .or_else(|| else_if(site))
        .or_else(|| loops(site))
        .or_else(|| negated(site))
        .or_else(|| destructured(site))
        .or_else(|| declarations(site))
        .or_else(|| typed(site))
        .or_else(|| types_of_its_own(site))
        .or_else(|| modules(site))
        .or_else(|| printed(site))
        .or_else(|| raised(site))
        .or_else(|| caught(site))
        .or_else(|| cases(site))
        .or_else(|| block_without_braces(site))
}

/// `public fn f()`, `async function f()`.
fn modifier(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let declares = |index| {
        FUNCTIONS.contains(&site.word(index)) || matches!(site.word(index), "fn" | "let" | "const" | "class")
    };
    let is_modifier = |index: usize| MODIFIERS.contains(&site.word(index)) && site.is_name(index);
    let at = [Some(site.at), site.at.checked_sub(1), Some(site.statement.start)]
        .into_iter()
        .flatten()
        .find(|at| is_modifier(*at) && (declares(at + 1) || is_modifier(at + 1) && declares(at + 2)))?;
    // `local function` and `local x` declare different things.
    site.not_rhai(at, Help::remove("remove it", site.with_space(at)))
}

/// `function f(x) { ... }`, and what is wrong between the name of a function and its body.
fn function(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    // Rhai parses a function expression as a call, and rejects the block after it.
    let called = site
        .at
        .checked_sub(1)
        .filter(|close| site.is_sign(*close, ")"))
        .and_then(|close| site.brackets.partner(close));
    if let Some(open) = called
        && let Some(word) = open.checked_sub(1).filter(|word| FUNCTIONS.contains(&site.word(*word)))
    {
        return closure(site, word, open, site.at - 1);
    }
    if site.word(site.at) == "fn" && site.is_sign(site.at + 1, "(") {
        return closure(site, site.at, site.at + 1, site.brackets.partner(site.at + 1)?);
    }
    let near = site.at.saturating_sub(2).max(site.statement.start);
    let word = (near..=site.at).find(|at| FUNCTIONS.contains(&site.word(*at)) && site.is_name(*at));
    if let Some(word) = word {
        let is_named = site.is_name(word + 1);
        let parameters = if is_named { word + 2 } else { word + 1 };
        if !site.is_sign(parameters, "(") {
            return None;
        }
        let close = site.brackets.partner(parameters)?;
        let body = site.expression_end(close + 1, |at| site.is_sign(at, "{"));
        if !site.is_sign(body, "{") && is_named {
            // A body by indentation.
            let code = site.text(word + 1..close + 1);
            return Some(
                site.not_rhai(word, Help::text(format!("declare functions as `fn {code} {{ ... }}`")))?
                    .skipping(site.indented_block(word), ";"),
            );
        }
        if !is_named {
            return closure(site, word, parameters, close);
        }
        return site.not_rhai_replace(word, "fn");
    }
    if site.word(site.statement.start) != "fn"
        && site.word(site.statement.start) != "private"
        && site.before() != "fn"
    {
        return None;
    }
    if site.before() == "fn" && site.is_sign(site.at, "(") {
        return closure(site, site.at - 1, site.at, site.brackets.partner(site.at)?);
    }
    let name = site.statement.clone().find(|at| site.word(*at) == "fn")? + 1;
    if let rhai::ParseErrorType::FnMissingBody(function) = site.kind {
        let is_sign = matches!(site.word(site.at), "=>" | "=");
        let first = if is_sign { site.at + 1 } else { site.at };
        if is_sign && site.is_sign(first, "{") {
            return site.not_rhai(site.at, Help::remove("remove it", site.with_space(site.at)));
        }
        // The tokens between are the return type.
        let block = (site.at..site.statement.end).find(|at| site.is_sign(*at, "{"));
        if let Some(block) = block
            .filter(|block| site.on_one_line(site.at, *block) && !is_sign && site.word(site.at) != "return")
        {
            let range = site.bytes(site.at..block);
            let help = Help::remove(
                "Rhai has no type annotations; remove it",
                range.start..site.token(block).start(),
            );
            return Some(SyntaxError::known(
                range,
                format!("`{}` is not valid Rhai", site.text(site.at..block)),
                help,
            ));
        }
        let end = site.expression_end(first, |_| false);
        let replace = site.bytes(site.at..if site.is_sign(end, ";") { end + 1 } else { end });
        let code = format!("{{ {} }}", site.text(first..end));
        let message = format!("the body of `{function}` needs braces");
        return (end > first)
            .then(|| SyntaxError::known(site.range(site.at), message, Help::write(code, replace)));
    }
    if site.at == name + 1 && site.is_sign(site.at, "{") {
        let end = site.range(name).end;
        let message = format!("missing parameters of `{}`", site.word(name));
        let help = Help::code("write ", "()", end..end, "");
        return Some(SyntaxError::known(site.range(name), message, help));
    }
    if site.at == name + 1 && site.is_sign(site.at, "<") {
        let close = (site.at..site.statement.end).find(|at| site.is_sign(*at, ">"))?;
        let message = format!("`{}` is not valid Rhai", site.text(site.at..close + 1));
        let help = Help::remove("Rhai has no type annotations; remove it", site.bytes(site.at..close + 1));
        return Some(SyntaxError::known(site.bytes(site.at..close + 1), message, help));
    }
    let body = (site.at..site.statement.end).find(|at| site.is_sign(*at, "{"))?;
    let is_result = matches!(site.word(site.at), "->" | ":") && site.before() == ")"
        || site.word(site.at) == ":" && site.before() == ")";
    if is_result && body > site.at {
        let range = site.bytes(site.at..body);
        let message = format!("`{}` is not valid Rhai", site.text(site.at..body));
        let end = site.token(body).start();
        let help = Help::remove("Rhai has no type annotations; remove it", range.start..end);
        return Some(SyntaxError::known(range, message, help));
    }
    None
}

/// A function expression: `function(x) { ... }`.
fn closure(site: &ErrorSite<'_>, word: usize, open: usize, close: usize) -> Option<SyntaxError> {
    let parameters = site.text(open + 1..close);
    let code = if close == open + 1 { "||".to_owned() } else { format!("|{parameters}|") };
    site.not_rhai(word, Help::write(code, site.bytes(word..close + 1)))
}

/// `elif`.
fn else_if(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let near = site.at.saturating_sub(8).max(site.statement.start);
    let word = (near..=site.at).rev().find(|at| matches!(site.word(*at), "elif" | "elsif" | "elseif"))?;
    if !site.is_name(word) || !(word == 0 || site.is_sign(word - 1, "}") || site.tokens.begins_line(word)) {
        return None;
    }
    if site.is_sign(word.checked_sub(1)?, "}") {
        return site.not_rhai_replace(word, "else if");
    }
    Some(
        site.not_rhai(word, Help::text("write `} else if x { ... }`"))?
            .skipping(site.indented_block(word), ";"),
    )
}

/// `for (let i = 0; i < 3; i++)`, `for (x of xs)`, `foreach`.
fn loops(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let start = site.statement.start;
    let word = site.word(start);
    if !matches!(word, "for" | "foreach" | "forEach") || !site.is_name(start) || site.at <= start {
        return None;
    }
    let around = site.bracket_around(start);
    let is_block = |at: &usize| site.is_sign(*at, "{") && site.bracket_around(*at) == around;
    let header = (start + 1..site.statement.end)
        .find(is_block)
        .unwrap_or_else(|| site.expression_end(start + 1, |_| false));
    let open = start + 1;
    let close = site.brackets.partner(open).filter(|_| site.is_sign(open, "("));
    // The loop header, and its equivalent in Rhai.
    let (tokens, code) = match close {
        Some(close) if site.at <= close + 1 => (open..close + 1, loop_header_in_rhai(site, open + 1, close)),
        None if site.at <= header => (start + 1..header, loop_header_in_rhai(site, start + 1, header)),
        _ => return None,
    };
    let known = matches!(word, "foreach" | "forEach");
    let written = site.text(tokens.clone());
    let is_same = code.as_deref() == Some(written);
    let example = || match site.is_sign(site.at, ",") {
        true => Help::text("to count items, write `for (item, index) in list { ... }`"),
        false => Help::text("write loops as `for i in 0..3 { ... }`"),
    };
    let replace = site.bytes(start..tokens.end);
    let end = replace.end;
    let help = match code {
        Some(code) if known || !is_same => Help::code("write ", format!("for {code}"), replace, ""),
        Some(_) => return None,
        None => example(),
    };
    let (at, message) = match known {
        true => (site.range(start), format!("`{word}` is not valid Rhai")),
        false => (site.bytes(tokens), "invalid loop syntax".to_owned()),
    };
    let found = SyntaxError::known(at, message, help);
    // The block is parsed in any case.
    let has_block = site.is_sign(header, "{") || close.is_some_and(|close| site.is_sign(close + 1, "{"));
    Some(match has_block {
        true => found.skipping(site.token(start).start()..end, "loop"),
        false => found.skipping(site.indented_block(start), ";"),
    })
}

/// The loop header in Rhai: `i in 0..3`.
fn loop_header_in_rhai(site: &ErrorSite<'_>, first: usize, end: usize) -> Option<String> {
    let is_declaring = |index: usize| {
        matches!(
            site.word(index),
            "let" | "const" | "var" | "mut" | "int" | "auto" | "final" | "local" | "my"
        )
    };
    let mut name = first;
    while is_declaring(name) || site.is_sign(name, "$") {
        name += 1;
    }
    let variable = site.is_name(name).then(|| site.word(name))?;
    match site.word(name + 1) {
        "of" | "in" => Some(format!("{variable} in {}", site.text(name + 2..end))),
        "=" => {
            let first_end = site.expression_end(name + 2, |_| false);
            let from = site.text(name + 2..first_end);
            let condition = first_end + 1;
            let range = match site.word(condition + 1) {
                "<" | "!=" => "..",
                "<=" => "..=",
                _ => return None,
            };
            let condition_end = site.expression_end(condition + 2, |_| false);
            let counts = site.is_sign(first_end, ";")
                && site.word(condition) == variable
                && site.is_sign(condition_end, ";");
            let step = site.text(condition_end + 1..end).replace(' ', "");
            let by_one =
                [format!("{variable}++"), format!("++{variable}"), format!("{variable}+=1")].contains(&step);
            (counts && by_one)
                .then(|| format!("{variable} in {from}{range}{}", site.text(condition + 2..condition_end)))
        }
        _ => {
            // `foreach (xs as x)`
            let word = (first..end).find(|at| site.word(*at) == "as")?;
            let last = site.word(end - 1);
            (end == word + 2 || end == word + 3)
                .then(|| format!("{last} in {}", site.text(first..word).trim_start_matches('$')))
        }
    }
}

/// `unless x {`, `until x {`.
fn negated(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let start = site.statement.start;
    let meant = match site.word(start) {
        "unless" => "if",
        "until" => "while",
        _ => return None,
    };
    let block = site.expression_end(start + 1, |at| site.is_sign(at, "{"));
    if !site.is_sign(block, "{") {
        return None;
    }
    let code = format!("{meant} !({})", site.text(start + 1..block));
    site.not_rhai(start, Help::write(code, site.bytes(start..block)))
}

/// `const { a, b } = value`, `let [a, b] = value`.
fn destructured(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let start = site.statement.start;
    if !matches!(site.word(start), "let" | "const" | "var") || site.at != start + 1 {
        return None;
    }
    let close = site.brackets.partner(site.at)?;
    if !is_opening(site.word(site.at)) || !site.is_sign(close + 1, "=") {
        return None;
    }
    let end = site.expression_end(close + 2, |_| false);
    let value = site.text(close + 2..end);
    let by_name = site.is_sign(site.at, "{") || site.is_sign(site.at, "#{");
    let (mut code, mut from) = (String::new(), value.to_owned());
    // An expression is only evaluated once.
    if value.contains(['(', '+', '[', ' ', '\n']) {
        code = format!("let value = {value}; ");
        from = "value".to_owned();
    }
    let names: Vec<&str> =
        site.text(site.at + 1..close).split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    for (index, name) in names.iter().enumerate() {
        let (key, default) =
            name.split_once('=').map_or((*name, None), |(key, default)| (key.trim(), Some(default.trim())));
        let (key, variable) =
            key.split_once(':').map_or((key, key), |(key, variable)| (key.trim(), variable.trim()));
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if !is_name(variable) || !is_name(key) {
            code.clear();
            break;
        }
        let part = if by_name { format!("{from}.{key}") } else { format!("{from}[{index}]") };
        let default = default.map_or(String::new(), |default| format!(" ?? {default}"));
        let separator = if index == 0 { "" } else { " " };
        code.push_str(&format!("{separator}let {variable} = {part}{default};"));
    }
    let has_semicolon = site.is_sign(end, ";");
    let replace = site.bytes(start..if has_semicolon { end + 1 } else { end });
    let help = match code.is_empty() {
        true => Help::text("declare each with its own `let`"),
        false => {
            Help::code("declare each with its own `let`: ", code, replace, "declare each with its own `let`")
        }
    };
    let message = "`let` declares one variable";
    Some(SyntaxError::known(site.bytes(site.at..close + 1), message, help))
}

/// `int x = 1`, `let mut x`, `let a = 1, b = 2`.
fn declarations(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let start = site.statement.start;
    let word = site.word(start);
    if matches!(word, "let" | "const") {
        if site.at == start + 2 && matches!(site.word(start + 1), "mut" | "ref") {
            return site.not_rhai(start + 1, Help::remove("remove it", site.with_space(start + 1)));
        }
        if site.is_sign(site.at, "-")
            && site.at == start + 2
            && site.is_name(start + 3)
            && site.touches_next(site.at)
        {
            let code = site.text(start + 1..start + 4).replace('-', "_");
            let message = format!("`-` is not allowed in the name `{}`", site.text(start + 1..start + 4));
            return Some(SyntaxError::known(
                site.range(site.at),
                message,
                Help::write(code, site.bytes(start + 1..start + 4)),
            ));
        }
        if site.is_sign(site.at, "==") && site.at == start + 2 {
            return Some(SyntaxError::known(
                site.range(site.at),
                "expected `=`, found `==`",
                Help::write("=", site.range(site.at)),
            ));
        }
        if site.is_sign(site.at, ",")
            && site.touches_next(site.at)
            && site.touches_next(site.at - 1)
            && is_number(site, site.at - 1)
            && is_number(site, site.at + 1)
        {
            return Some(SyntaxError::known(
                site.range(site.at),
                "expected a decimal point",
                Help::write(".", site.range(site.at)),
            ));
        }
        if site.at == start + 1
            && matches!(site.kind, rhai::ParseErrorType::VariableExpected)
            && super::brackets::is_keyword(site.word(site.at))
        {
            let message = format!("`{}` is a reserved word", site.word(site.at));
            return Some(SyntaxError::known(site.range(site.at), message, Help::text("choose another name")));
        }
        if site.is_sign(site.at, ",")
            && site.bracket_around(site.at).is_none_or(|open| open < start)
            && site.is_name(site.at + 1)
        {
            let message = "`let` declares one variable";
            return Some(SyntaxError::known(
                site.range(site.at),
                message,
                Help::write(format!("; {word}"), site.range(site.at)),
            ));
        }
        return None;
    }
    let names = site.is_name(start)
        && site.is_name(start + 1)
        && site.at == start + 1
        && site.on_one_line(start, site.at);
    let is_known = DECLARATIONS.contains(&word) || word.starts_with(|c: char| c.is_ascii_uppercase());
    if names && is_known && (site.is_sign(start + 2, "=") || site.is_sign(start + 2, ";")) {
        return site.not_rhai_replace(start, "let");
    }
    // `x := 1`
    if site.word(site.at) == ":=" && site.at == start + 1 {
        let code = format!("let {word} =");
        return site.not_rhai(site.at, Help::write(code, site.bytes(start..site.at + 1)));
    }
    None
}

/// `let x: int = 1`, `fn f(a: int)`, `fn f(a = 1)`.
fn typed(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let start = site.statement.start;
    let in_let = matches!(site.word(start), "let" | "const") && site.at == start + 2;
    let around = site.bracket_around(site.at);
    let in_parameters = around
        .is_some_and(|open| open >= 2 && site.is_sign(open, "(") && site.word(open - 2) == "fn")
        || is_sign(site.tokens, site.at) && in_pipes(site);
    if !in_let && !in_parameters {
        return None;
    }
    let end = (site.at..site.tokens.len()).find(|at| {
        let is_end = match in_let {
            true => matches!(site.word(*at), "=" | ";") || *at > site.at && site.tokens.begins_line(*at),
            false => matches!(site.word(*at), "," | ")" | "|" | "="),
        };
        is_end && *at > site.at
    })?;
    match site.word(site.at) {
        ":" => {
            let range = site.range(site.at - 1).end..site.token(end - 1).end();
            let message = format!("`{}` is not valid Rhai", site.text(site.at..end));
            let help = Help::remove("Rhai has no type annotations; remove it", range);
            Some(SyntaxError::known(site.bytes(site.at..end), message, help))
        }
        "=" if in_parameters => {
            let range = site.range(site.at - 1).end..site.token(end - 1).end();
            let help = Help::text("define an overload with fewer parameters");
            Some(
                SyntaxError::known(site.range(site.at), "parameters cannot have default values", help)
                    .skipping(range, ""),
            )
        }
        "..." | "*" | "&" | "**" if in_parameters => {
            let help = Help::remove("pass an array; remove it", site.with_space(site.at));
            site.not_rhai(site.at, help)
        }
        // `fn f(a int)`, `fn f(int a)`, `fn f(a b)`
        word if in_parameters && site.is_name(site.at) && site.is_name(site.at - 1) => {
            let leave_out = |range| Help::remove("Rhai has no type annotations; remove it", range);
            if is_type(word) {
                let range = site.range(site.at - 1).end..site.range(site.at).end;
                return site.not_rhai(site.at, leave_out(range));
            }
            if is_type(site.word(site.at - 1)) {
                return site.not_rhai(site.at - 1, leave_out(site.with_space(site.at - 1)));
            }
            let end = site.range(site.at - 1).end;
            Some(SyntaxError::known(end..end, "missing `,`", Help::write(",", end..end)))
        }
        _ => None,
    }
}

fn is_number(site: &ErrorSite<'_>, index: usize) -> bool {
    site.tokens.get(index).is_some_and(|token| token.kind == super::tokens::Kind::Number)
}

fn is_type(word: &str) -> bool {
    DECLARATIONS.contains(&word)
        || word.starts_with(|c: char| c.is_ascii_uppercase())
        || matches!(word, "float64" | "int64" | "any")
}

/// Whether the error is in the parameters of a closure.
fn in_pipes(site: &ErrorSite<'_>) -> bool {
    let before = site.statement.start..site.at;
    let pipes = before
        .rev()
        .take_while(|at| !matches!(site.word(*at), ";" | "{" | "=" | "("))
        .filter(|at| site.is_sign(*at, "|"));
    pipes.count() == 1
}

/// `class A { ... }`.
fn types_of_its_own(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let start = site.statement.start;
    if !TYPES.contains(&site.word(start)) || !site.is_name(start + 1) || site.at != start + 1 {
        return None;
    }
    let help = Help::text("use a map of closures: `#{ act: || this.value }`");
    let has_braces = site.text(site.statement.clone()).contains('{');
    let block = if has_braces { site.bytes(site.statement.clone()) } else { site.indented_block(start) };
    Some(site.not_rhai(start, help)?.skipping(block, ";"))
}

/// `import x from "y"`, `use a::b;`, `from a import b`.
fn modules(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let start = site.statement.start;
    let word = site.word(start);
    let is_known =
        matches!(word, "import" | "use" | "using" | "from" | "include" | "package" | "require" | "module");
    let is_reserved = site.at == start && (site.is_name(start + 1) || site.word(start + 1) == ".");
    let is_near = site.at == start + 1 || is_reserved || word == "import" && site.on_one_line(start, site.at);
    if !is_known || !is_near || word == "import" && site.at == start {
        return None;
    }
    let help = Help::text("import a file of the repository by its path and a name (sdk 1.3)");
    let start = site.token(start).start();
    let bytes = start..site.tokens.line_end(start).max(site.token(site.at).start());
    let message = if word == "import" {
        "`import` is disabled".to_owned()
    } else {
        format!("`{word}` is not valid Rhai")
    };
    Some(SyntaxError::known(start..start + word.len(), message, help).skipping(bytes, ";"))
}

/// `puts "x"`.
fn printed(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let start = site.statement.start;
    let word = site.word(start);
    // Rhai rejects `print` itself, which is reserved.
    if !PRINTERS.contains(&word)
        || site.at > start + 1
        || site.is_sign(start + 1, "(")
        || !site.on_one_line(start, start + 1)
    {
        return None;
    }
    let end = site.expression_end(start + 1, |_| false);
    let code = format!("log::info({})", site.text(start + 1..end));
    site.not_rhai(start, Help::write(code, site.bytes(start..end)))
}

/// `raise "no"`.
fn raised(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let start = site.statement.start;
    let is_raised = site.word(start) == "raise" && site.at == start + 1;
    if is_raised { site.not_rhai_replace(start, "throw") } else { None }
}

/// `catch e {`, `except`.
fn caught(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let near = site.at.saturating_sub(4).max(site.statement.start);
    let word = (near..=site.at)
        .rev()
        .find(|at| matches!(site.word(*at), "catch" | "finally" | "except" | "rescue"))?;
    match site.word(word) {
        "catch" if site.at == word + 1 && site.is_name(site.at) && site.is_sign(site.at + 1, "{") => {
            let code = format!("({})", site.word(site.at));
            Some(SyntaxError::known(
                site.range(site.at),
                "the error variable needs parentheses",
                Help::write(code, site.range(site.at)),
            ))
        }
        "catch" if site.is_sign(word + 1, "(") && site.at > word + 2 => {
            let close = site.brackets.partner(word + 1)?;
            let name = (word + 2..close).rev().find(|at| site.is_name(*at))?;
            let code = format!("({})", site.word(name));
            Some(SyntaxError::known(
                site.bytes(word + 2..close),
                "`catch` takes one variable for every error",
                Help::write(code, site.bytes(word + 1..close + 1)),
            ))
        }
        "finally" if word == site.at || word + 1 == site.at => {
            let help = Help::text("move the code after the `try`, and give the `try` a `catch`");
            Some(site.not_rhai(word, help)?.skipping(
                site.bytes(word..word + 1),
                if site.before() == "}" && word == site.at { "catch" } else { "" },
            ))
        }
        _ => None,
    }
}

/// `case 1:` in a `switch`.
fn cases(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let word = site.word(site.at);
    if !matches!(word, "case" | "default" | "when") || !site.is_name(site.at) {
        return None;
    }
    let open = site.bracket_around(site.at).filter(|open| site.is_sign(*open, "{"))?;
    let close = site.brackets.partner(open)?;
    let switch = super::statements::around(site.tokens, site.brackets, open);
    if !matches!(site.word(switch.start), "switch" | "match")
        && !switch.clone().take(6).any(|at| site.word(at) == "switch")
    {
        return None;
    }
    if word != "case" && site.word(site.at + 1) == "=>" {
        return site.not_rhai_replace(site.at, "_");
    }
    let help = Help::text("write `switch value { 1 => ..., _ => ... }`");
    // Keeps the switch without its cases.
    let inside = site.range(open).end..site.token(close).start();
    Some(site.not_rhai(site.at, help)?.skipping(inside, " _ => () "))
}

/// `if x: ...`, `if x then ... end`, `if x return 1;`.
fn block_without_braces(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let start = site.statement.start;
    let ends_line = !site.on_one_line(site.at, site.at + 1) || site.at + 1 >= site.tokens.len();
    if site.is_sign(site.at, ":") && ends_line {
        let first = (start..=site.at).rev().find(|at| site.tokens.begins_line(*at))?;
        let is_head = matches!(
            site.word(first),
            "if" | "else"
                | "for"
                | "while"
                | "def"
                | "try"
                | "except"
                | "with"
                | "elif"
                | "switch"
                | "match"
                | "loop"
        );
        if is_head {
            let help = Help::text("blocks need braces: `{ ... }`");
            return Some(
                SyntaxError::known(site.range(site.at), "`:` does not start a block", help)
                    .skipping(site.indented_block(first), ";"),
            );
        }
    }
    let opens = matches!(site.word(site.at), "then" | "do" | "begin")
        && site.is_name(site.at)
        && !site.tokens.begins_line(site.at);
    if opens || site.before() == "then" {
        let word = if site.before() == "then" { site.at - 1 } else { site.at };
        let first = (start..=word).rev().find(|at| site.tokens.begins_line(*at)).unwrap_or(start);
        let help = Help::text("blocks need braces: `{ ... }`");
        return Some(site.not_rhai(word, help)?.skipping(site.indented_block(first), ";"));
    }
    let is_bare = matches!(site.kind, rhai::ParseErrorType::MissingToken(token, why) if token == "{" && why.contains("start a statement block"));
    let begins = matches!(site.word(start), "if" | "else" | "while" | "for") || site.before() == "else";
    let has_head = site.at > start + 1
        && (super::brackets::ends_operand(site.tokens, site.at - 1) || site.before() == "else");
    let begins_operand = site.is_name(site.at)
        || site.is_text(site.at)
        || site.tokens.get(site.at).is_some_and(|token| token.kind == super::tokens::Kind::Number);
    if is_bare && begins && has_head && begins_operand {
        let end = site.expression_end(site.at, |_| false);
        let end = if site.is_sign(end, ";") { end + 1 } else { end };
        let written = site.text(site.at..end);
        let help = Help::code("write ", format!("{{ {written} }}"), site.bytes(site.at..end), "");
        return Some(SyntaxError::known(site.range(site.at), "expected a block in braces", help));
    }
    if matches!(site.word(site.at), "end" | "endif" | "fi" | "done" | "endfor" | "endwhile")
        && site.tokens.begins_line(site.at)
    {
        return site.not_rhai(site.at, Help::remove("blocks end with `}`; remove it", site.range(site.at)));
    }
    None
}
