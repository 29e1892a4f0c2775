//! Links a script with its libraries: one text, in which the names of each library are unique.
//!
//! The texts follow each other, the script last, so that a line number tells the file ([`FileMap`]). Where a name of a library is
//! defined or used, the parser gets a unique name instead ([`token_mapper::with_renames`]); `alias::` before it, import
//! statements and exported constants are replaced by spaces. So lines and columns stay those of the files.
//!
//! Unique names look like `lib_2_shorten`; the prefix is one that no text uses. Constants are no variables of the
//! linked script: their names begin with [`CONSTANT_PREFIX`], which no text can contain, and the engine resolves them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use manifest_schema::name::ScriptPath;
use rhai::{AST, ASTFlags, Dynamic, Identifier, ParseError, Position, Stmt, Token};

use super::imports::imported_file;
use crate::check::Declarations;
use crate::sandbox::Sandbox;
use crate::token_mapper;

/// The first character of the names of library constants.
pub(crate) const CONSTANT_PREFIX: char = ':';

/// The values of library constants by unique name.
pub(crate) type Constants = HashMap<String, Dynamic>;

/// A linked script.
pub(crate) struct Linked {
    pub(crate) text: String,
    /// The unique names by the position of the token that they replace.
    pub(crate) renames: HashMap<Position, Identifier>,
    pub(crate) constants: Constants,
    pub(crate) files: FileMap,
    /// Each file on its own, for checks that follow its scopes.
    pub(crate) asts: Vec<AST>,
}

/// The file of each line of a linked script.
#[derive(Clone, Debug)]
pub(crate) struct FileMap {
    /// The number of lines before each file, ascending; `None` is the script.
    starts: Arc<[(usize, Option<ScriptPath>)]>,
    /// What unique names begin with.
    prefix: Arc<str>,
}

/// Why files cannot be linked.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// A file does not parse.
    Parse {
        /// The library; `None` for the script.
        library: Option<ScriptPath>,
        error: ParseError,
    },
    /// Together they have too many lines, or one line is too long.
    TooLong,
}

/// The maximum number of lines, and of characters in a line, of a linked script: Rhai counts them in 16 bits.
const LINES_MAX: usize = u16::MAX as usize - 1;

/// The files have too many lines.
struct TooLong;

/// Links a script with all libraries that it reaches.
///
/// # Errors
/// One of the files does not parse, or the files are too long.
pub(crate) fn link(
    sandbox: &Sandbox,
    script: &str,
    libraries: &[(ScriptPath, &str)],
) -> Result<Linked, LinkError> {
    let parse = |library: Option<&ScriptPath>, text| {
        File::parse(sandbox, text).map_err(|error| LinkError::Parse { library: library.cloned(), error })
    };
    let mut files = Vec::with_capacity(libraries.len() + 1);
    for (path, text) in libraries {
        files.push((Some(path), parse(Some(path), text)?));
    }
    // The value of a program is that of its last statement.
    files.push((None, parse(None, script)?));
    let numbers: BTreeMap<&ScriptPath, usize> =
        libraries.iter().enumerate().map(|(number, (path, _))| (path, number)).collect();
    let names = Names { prefix: unused_prefix(&files), numbers: &numbers };
    let (mut text, mut lines, mut starts) = (String::new(), 0, Vec::new());
    let (mut renames, mut constants) = (HashMap::new(), Constants::new());
    for (path, file) in &files {
        starts.push((lines, path.cloned()));
        file.check_lengths(lines).map_err(|_| LinkError::TooLong)?;
        let patched = file.patch(path.and_then(|path| numbers.get(path).copied()), &names);
        renames.extend(patched.renames.into_iter().filter_map(|(position, name)| {
            // Lines and columns are 16 bits, as checked above.
            let (line, column) = (position.line()? + lines, position.position().unwrap_or(1));
            Some((Position::new(u16::try_from(line).ok()?, u16::try_from(column).ok()?), name))
        }));
        constants.extend(patched.constants);
        text.push_str(&patched.text);
        text.push('\n');
        lines += file.text.matches('\n').count() + 1;
    }
    let files_map = FileMap { starts: starts.into(), prefix: names.prefix.as_str().into() };
    let asts = files.into_iter().map(|(_, file)| file.ast).collect();
    Ok(Linked { text, renames, constants, files: files_map, asts })
}

/// A parsed file.
struct File<'t> {
    text: &'t str,
    ast: AST,
    tokens: Vec<(Token, Position)>,
    declarations: Declarations,
    /// The imported files by alias.
    imports: BTreeMap<String, ScriptPath>,
    constants: BTreeMap<String, Dynamic>,
}

/// A file with unique names.
struct Patched {
    text: String,
    /// By the position in the file.
    renames: Vec<(Position, Identifier)>,
    constants: Vec<(String, Dynamic)>,
}

/// Makes names unique.
struct Names<'n> {
    prefix: String,
    numbers: &'n BTreeMap<&'n ScriptPath, usize>,
}

impl Names<'_> {
    fn function(&self, file: usize, name: &str) -> Identifier {
        format!("{}{file}_{name}", self.prefix).into()
    }

    fn constant(&self, file: usize, name: &str) -> Identifier {
        format!("{CONSTANT_PREFIX}{file}_{name}").into()
    }
}

/// A prefix that no name in the files begins with: `lib_` after as few `x` as possible.
fn unused_prefix(files: &[(Option<&ScriptPath>, File<'_>)]) -> String {
    // Texts can use many prefixes, so each name is looked at once.
    let used: BTreeSet<usize> = files
        .iter()
        .flat_map(|(_, file)| &file.tokens)
        .filter_map(|(token, _)| {
            let (Token::Identifier(name) | Token::StringConstant(name)) = token else { return None };
            let rest = name.trim_start_matches('x');
            rest.starts_with("lib_").then_some(name.len() - rest.len())
        })
        .collect();
    let unused = (0..).find(|count| !used.contains(count)).unwrap_or(used.len());
    format!("{}lib_", "x".repeat(unused))
}

impl<'t> File<'t> {
    fn parse(sandbox: &Sandbox, text: &'t str) -> Result<Self, ParseError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (parsed, tokens) = token_mapper::collect_tokens(|| sandbox.compile(text));
        let ast = parsed?;
        let declarations = Declarations::of(&ast);
        let (mut imports, mut constants) = (BTreeMap::new(), BTreeMap::new());
        for statement in ast.statements() {
            match statement {
                Stmt::Import(import, _) => {
                    let path = import.0.get_literal_value(None).and_then(|path| path.into_string().ok());
                    if let Some(path) = path.and_then(|path| imported_file(&path)) {
                        imports.insert(import.1.name.to_string(), path);
                    }
                }
                Stmt::Var(variable, flags, _) if flags.contains(ASTFlags::EXPORTED | ASTFlags::CONSTANT) => {
                    if let Some(value) = variable.1.get_literal_value(None) {
                        constants.insert(variable.0.name.to_string(), value);
                    }
                }
                _ => {}
            }
        }
        Ok(Self { text, ast, tokens, declarations, imports, constants })
    }

    /// The token at an index, if there is one.
    fn token(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index).map(|(token, _)| token)
    }

    fn is_symbol(&self, index: usize, symbol: &Token) -> bool {
        self.token(index).is_some_and(|token| token == symbol)
    }

    fn check_lengths(&self, lines_before: usize) -> Result<(), TooLong> {
        let lines = self.text.matches('\n').count() + 1;
        let is_long = |line: &str| line.len() > LINES_MAX && line.chars().count() > LINES_MAX;
        if lines_before + lines > LINES_MAX || self.text.split('\n').any(is_long) {
            return Err(TooLong);
        }
        Ok(())
    }

    /// Replaces what only makes sense in a file of its own by spaces, and finds the unique names. `number` is that of
    /// a library.
    fn patch(&self, number: Option<usize>, names: &Names<'_>) -> Patched {
        let mut blanks = Blanks::new(self.text);
        let mut renames = Vec::new();
        let position = |index: usize| self.tokens.get(index).map(|(_, position)| *position);
        let mut index = 0;
        while let Some((token, at)) = self.tokens.get(index) {
            match (token, number) {
                (Token::Import, _) => {
                    // `import "path" as alias`
                    blanks.range(*at, position(index + 4));
                    index += 4;
                    continue;
                }
                (Token::Export, Some(_)) => {
                    let end = self.end_of_statement(index);
                    blanks.range(*at, position(end));
                    index = end;
                    continue;
                }
                (Token::Identifier(name), _) if self.is_qualifier(index) => {
                    if let Some((at_name, unique)) = self.qualified(number, index, name, names) {
                        blanks.range(*at, Some(at_name));
                        renames.push((at_name, unique));
                    }
                    index += 3;
                    continue;
                }
                (Token::Identifier(name), Some(number)) if self.is_own_function(index, name) => {
                    renames.push((*at, names.function(number, name)));
                }
                (Token::StringConstant(name), Some(number))
                    if self.names_function(index)
                        && self.declarations.functions.contains_key(name.as_str()) =>
                {
                    renames.push((*at, names.function(number, name)));
                }
                _ => {}
            }
            index += 1;
        }
        let constants = number.into_iter().flat_map(|number| {
            let constants = self.constants.iter();
            constants.map(move |(name, value)| (names.constant(number, name).to_string(), value.clone()))
        });
        Patched { renames, constants: constants.collect(), text: blanks.finish() }
    }

    /// Whether the name at `index` is the first part of `name::`.
    fn is_qualifier(&self, index: usize) -> bool {
        self.is_symbol(index + 1, &Token::DoubleColon) && !self.follows(index, &Token::DoubleColon)
    }

    /// The position and the unique name for `alias::name` or `global::NAME`.
    fn qualified(
        &self,
        number: Option<usize>,
        index: usize,
        qualifier: &str,
        names: &Names<'_>,
    ) -> Option<(Position, Identifier)> {
        let (Token::Identifier(name), position) = self.tokens.get(index + 2)? else { return None };
        if qualifier == "global" {
            let number = number.filter(|_| self.constants.contains_key(name.as_str()))?;
            return Some((*position, names.constant(number, name)));
        }
        let file = *names.numbers.get(self.imports.get(qualifier)?)?;
        let unique =
            if self.is_call(index + 2) { names.function(file, name) } else { names.constant(file, name) };
        Some((*position, unique))
    }

    /// Whether the name at `index` is called: `name(`, `name()` or `name!(`.
    fn is_call(&self, index: usize) -> bool {
        let bang = usize::from(self.is_symbol(index + 1, &Token::Bang));
        let next = index + 1 + bang;
        self.is_symbol(next, &Token::LeftParen) || self.is_symbol(next, &Token::Unit)
    }

    fn follows(&self, index: usize, symbol: &Token) -> bool {
        index.checked_sub(1).is_some_and(|before| self.is_symbol(before, symbol))
    }

    /// Whether the name at `index` means a function that the file defines.
    fn is_own_function(&self, index: usize, name: &str) -> bool {
        let Some(counts) = self.declarations.functions.get(name) else { return false };
        if self.follows(index, &Token::DoubleColon) {
            return false;
        }
        if self.follows(index, &Token::Period) || self.follows(index, &Token::Elvis) {
            // `fn type.name(`, or a method: a function with this argument count, unless a value holds it by this name.
            let defines = index.checked_sub(3).is_some_and(|before| self.is_symbol(before, &Token::Fn));
            let calls = self.is_call(index)
                && !self.declarations.members.contains(name)
                && counts.contains(&self.argument_count(index));
            return defines || calls;
        }
        if self.is_call(index) {
            return true;
        }
        // A function that is passed on by its name. A key of a map is no function.
        !self.is_symbol(index + 1, &Token::Colon) && !self.declarations.variables.contains(name)
    }

    /// Whether the string at `index` is the argument of `Fn` or `is_def_fn`.
    fn names_function(&self, index: usize) -> bool {
        let keyword = index.checked_sub(2).and_then(|before| self.token(before));
        let named = match keyword {
            Some(Token::Identifier(name)) => name.as_str(),
            Some(Token::Reserved(name)) => name.as_str(),
            _ => return false,
        };
        self.follows(index, &Token::LeftParen) && matches!(named, "Fn" | "is_def_fn")
    }

    /// The number of arguments of the call of the name at `index`.
    fn argument_count(&self, index: usize) -> usize {
        if self.is_symbol(index + 1, &Token::Unit) {
            return 0;
        }
        let (mut depth, mut commas, mut is_empty) = (0_usize, 0, true);
        for (token, _) in self.tokens.iter().skip(index + 1) {
            match token {
                Token::LeftParen
                | Token::LeftBracket
                | Token::LeftBrace
                | Token::MapStart
                | Token::QuestionBracket => {
                    is_empty &= depth == 0;
                    depth += 1;
                    continue;
                }
                Token::RightParen | Token::RightBracket | Token::RightBrace => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        break;
                    }
                }
                Token::Comma if depth == 1 => commas += 1,
                _ => {}
            }
            is_empty = false;
        }
        if is_empty { 0 } else { commas + 1 }
    }

    /// The index of the semicolon that ends the statement at `index`, or of the end of the text.
    fn end_of_statement(&self, index: usize) -> usize {
        let mut depth = 0_usize;
        for (end, (token, _)) in self.tokens.iter().enumerate().skip(index) {
            match token {
                Token::LeftParen | Token::LeftBracket | Token::LeftBrace | Token::MapStart => depth += 1,
                Token::RightParen | Token::RightBracket | Token::RightBrace => {
                    depth = depth.saturating_sub(1)
                }
                Token::SemiColon if depth == 0 => return end,
                _ => {}
            }
        }
        self.tokens.len()
    }
}

/// Replaces parts of a text by spaces, in ascending order. Line breaks stay, and so do columns.
struct Blanks<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    /// The line and the column of the next character.
    next: (usize, usize),
    text: String,
}

impl<'t> Blanks<'t> {
    fn new(text: &'t str) -> Self {
        Self { rest: text.chars().peekable(), next: (1, 1), text: String::with_capacity(text.len()) }
    }

    /// Replaces the text from one position to another, or to its end.
    fn range(&mut self, from: Position, to: Option<Position>) {
        self.copy_to(Some(from), |c| c);
        self.copy_to(to, |c| if matches!(c, '\n' | '\r') { c } else { ' ' });
    }

    fn copy_to(&mut self, position: Option<Position>, as_written: impl Fn(char) -> char) {
        let end = position.and_then(|position| Some((position.line()?, position.position().unwrap_or(1))));
        while end.is_none_or(|end| self.next < end)
            && let Some(c) = self.rest.next()
        {
            self.text.push(as_written(c));
            let (line, column) = self.next;
            self.next = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
    }

    fn finish(mut self) -> String {
        self.copy_to(None, |c| c);
        self.text
    }
}

impl FileMap {
    /// The library of a line (`None` for the script) and the line in that file.
    pub(crate) fn locate(&self, line: usize) -> (Option<&ScriptPath>, usize) {
        let behind = self.starts.partition_point(|(before, _)| *before < line);
        match behind.checked_sub(1).and_then(|index| self.starts.get(index)) {
            Some((before, path)) => (path.as_ref(), line - before),
            None => (None, line),
        }
    }

    /// Replaces unique names in a message by those of the files: `lib/text::shorten`.
    pub(crate) fn readable(&self, message: &str) -> String {
        let mut readable = String::with_capacity(message.len());
        let mut rest = message;
        while let Some((before, after)) = rest.split_once(&*self.prefix) {
            readable.push_str(before);
            let numbered = after.split_once('_').and_then(|(number, name)| {
                let (_, path) = self.starts.get(number.parse::<usize>().ok()?)?;
                Some((path.as_ref()?, name))
            });
            match numbered {
                Some((path, name)) => {
                    readable.push_str(path.stem());
                    readable.push_str("::");
                    rest = name;
                }
                None => {
                    readable.push_str(&self.prefix);
                    rest = after;
                }
            }
        }
        readable.push_str(rest);
        readable
    }
}

#[cfg(test)]
mod tests {
    use manifest_schema::sdk::SdkVersion;

    use super::*;

    fn path(name: &str) -> ScriptPath {
        ScriptPath::new(name).unwrap()
    }

    #[test]
    fn lines_and_columns_stay_those_of_the_files() {
        let library =
            "import \"lib/b\" as b;\nexport const U = [1.5e-3, \"é;\"];\nfn f(x) { /* Ü */ b::g(x) + f.h }\n";
        let script = "import \"lib/a\" as a;\nlet x = a::f(1) + a::U.len();\nx";
        let libraries = [(path("lib/a.rhai"), library), (path("lib/b.rhai"), "fn g(x) { x }")];
        let linked = link(Sandbox::of(SdkVersion::V1_3), script, &libraries).unwrap();
        let lines: Vec<&str> = linked.text.lines().collect();
        assert_eq!(lines[0], "                   ;");
        assert_eq!(lines[1], "                               ;");
        assert_eq!(lines[2], "fn f(x) { /* Ü */    g(x) + f.h }");
        assert_eq!(&lines[3..6], ["", "fn g(x) { x }", "                   ;"]);
        assert_eq!(&lines[6..], ["let x =    f(1) +    U.len();", "x"]);
        let name = |line, column| linked.renames[&Position::new(line, column)].as_str();
        assert_eq!((name(3, 4), name(3, 22), name(5, 4)), ("lib_0_f", "lib_1_g", "lib_1_g"));
        assert_eq!((name(7, 12), name(7, 22)), ("lib_0_f", ":0_U"));
        assert_eq!(linked.files.locate(3), (Some(&path("lib/a.rhai")), 3));
        assert_eq!(linked.files.locate(5), (Some(&path("lib/b.rhai")), 1));
        assert_eq!(linked.files.locate(7), (None, 2));
        assert_eq!(
            linked.files.readable("unknown function `lib_1_g`, lib_9_x"),
            "unknown function `lib/b::g`, lib_9_x"
        );
    }

    #[test]
    fn prefix_of_unique_names_is_unused() {
        let libraries = [(path("a.rhai"), "fn lib_0_f() { 1 } fn g() { \"xlib_\" }")];
        let linked = link(Sandbox::of(SdkVersion::V1_3), "1", &libraries).unwrap();
        assert!(linked.renames.values().all(|name| name.starts_with("xxlib_0_")), "{:?}", linked.renames);
    }
}
