//! The import statements of a text.

use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use rhai::{Position, Token};

use super::LIBRARIES_MAX;
use crate::sandbox::Sandbox;

/// The version that introduced imports.
pub(crate) const SINCE: SdkVersion = SdkVersion::V1_3;

/// The number of imports of one text after which no more are searched: with one more than [`LIBRARIES_MAX`] the app is
/// rejected.
const IMPORTS_MAX: usize = LIBRARIES_MAX + 1;

/// A file that a text imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedFile {
    /// The file.
    pub path: ScriptPath,
    /// The position of the path.
    pub(crate) position: Position,
}

/// The files that a text imports, each once, in the order of the text. The text is split into tokens and not parsed,
/// so this takes no more memory than its longest token.
pub fn imported_files(sdk: SdkVersion, text: &str) -> Vec<ImportedFile> {
    // Most scripts have none.
    if sdk < SINCE || !text.contains("import") {
        return Vec::new();
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut imports: Vec<ImportedFile> = Vec::new();
    let mut follows_import = false;
    for (token, position) in Tokens::of(Sandbox::of(sdk), &text) {
        if follows_import
            && let Token::StringConstant(name) = &token
            && let Some(path) = imported_file(name)
            && !imports.iter().any(|import| import.path == path)
        {
            imports.push(ImportedFile { path, position });
            if imports.len() == IMPORTS_MAX {
                break;
            }
        }
        follows_import = token == Token::Import;
    }
    imports
}

/// The file of an import path: relative to the root of the commit, without extension.
pub(crate) fn imported_file(name: &str) -> Option<ScriptPath> {
    let is_plain = !name.ends_with(".rhai");
    is_plain.then(|| ScriptPath::new(&format!("{name}.rhai")).ok()).flatten()
}

/// The tokens of a text, as the parser gets them. They do not end at an error.
struct Tokens<'t> {
    lexer: rhai::TokenIterator<'t>,
    control: rhai::TokenizerControl,
    /// The number of open braces in each `${` that is open.
    open: Vec<u32>,
}

impl<'t> Tokens<'t> {
    fn of(sandbox: &'t Sandbox, text: &'t &str) -> Self {
        let (lexer, control) = sandbox.lex(text);
        Self { lexer, control, open: Vec::new() }
    }
}

impl Iterator for Tokens<'_> {
    type Item = (Token, Position);

    fn next(&mut self) -> Option<Self::Item> {
        let (token, position) = self.lexer.next().filter(|(token, _)| *token != Token::EOF)?;
        match (&token, self.open.last_mut()) {
            (Token::InterpolatedString(_), _) => self.open.push(0),
            (Token::LeftBrace | Token::MapStart, Some(braces)) => *braces += 1,
            (Token::RightBrace, Some(braces)) => {
                *braces = braces.saturating_sub(1);
                if *braces == 0 {
                    // The rest of the string follows, as the parser tells the lexer.
                    self.open.pop();
                    self.control.borrow_mut().is_within_text = true;
                }
            }
            _ => {}
        }
        Some((token, position))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::token_mapper;

    /// The tokens that the parser gets, if the text parses.
    fn parsed(text: &str) -> Option<Vec<(Token, Position)>> {
        let (parsed, mut tokens) = token_mapper::collect_tokens(|| Sandbox::of(SINCE).compile(text));
        tokens.retain(|(token, _)| *token != Token::EOF);
        parsed.ok().map(|_| tokens)
    }

    #[test]
    fn tokens_are_those_of_the_parser() {
        for text in [
            "import \"a\" as a; a::f(`x${#{ b: `${1}}` }}y${ { 2 } }`)",
            "`${1}${2}`; `a\n${\"}\"}` // `${\n; /* ` */ '`'",
            "#{ import: 1, default: #{ x: 2 } }.import",
        ] {
            let tokens: Vec<_> = Tokens::of(Sandbox::of(SINCE), &text).collect();
            assert_eq!(Some(tokens), parsed(text), "{text}");
        }
    }

    #[test]
    fn imports_are_found_once_in_a_text_with_errors_too() {
        let text = "\u{feff}import \"lib/a\" as a;\nlet x = === 1;\nimport \"b\" as b; `${import \"c\" as c}`\n\
                    import \"b\" as again; // import \"d\"\n\"import\"; x.import \"e\"; import \"../f\"; import \"g.rhai\"";
        let found: Vec<_> = imported_files(SINCE, text)
            .iter()
            .map(|import| (import.path.to_string(), import.position))
            .collect();
        let at = |path: &str, line, column| (path.to_owned(), Position::new(line, column));
        assert_eq!(found, [at("lib/a.rhai", 1, 8), at("b.rhai", 3, 8), at("c.rhai", 3, 28)]);
        assert!(imported_files(SdkVersion::V1_2, text).is_empty());
    }

    #[test]
    fn search_ends_after_too_many_imports() {
        let text: String = (0..20_000).map(|number| format!("import\"{number}\";")).collect();
        assert_eq!(imported_files(SINCE, &text).len(), IMPORTS_MAX);
    }

    proptest! {
        #[test]
        fn tokens_of_any_text_end(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "import", "\"a\"", "as", "x", ";", "{", "}", "#{", "${", "`", "\"", "'", "\\", "\n", "//", "/*",
                    "*/", "#\"", "\"#", ":", "1", "===", ".", " ",
                ]),
                0..40,
            )
        ) {
            let text = pieces.concat();
            let tokens: Vec<_> = Tokens::of(Sandbox::of(SINCE), &text.as_str()).take(2 * text.len() + 2).collect();
            prop_assert!(tokens.len() <= 2 * text.len() + 1, "{}", text);
            if let Some(parsed) = parsed(&text) {
                prop_assert_eq!(tokens, parsed, "{}", text);
            }
        }
    }
}
