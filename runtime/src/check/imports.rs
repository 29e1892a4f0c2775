//! Import statements, and what a library can hold.

use std::collections::{BTreeMap, BTreeSet};

use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use rhai::{AST, ASTFlags, ASTNode, Expr, FnAccess, Position, Stmt, Token};

use super::{Findings, walk};
use crate::library::{Exports, Libraries, Library, imported_file};
use crate::sandbox::Sandbox;

/// The version that introduced imports.
pub(super) const SINCE: SdkVersion = SdkVersion::V1_3;

/// The imports of a script by alias.
#[derive(Default)]
pub(super) struct Imports<'l> {
    by_alias: BTreeMap<String, Import<'l>>,
}

/// An import statement.
pub(super) struct Import<'l> {
    pub(super) path: ScriptPath,
    position: Position,
    /// The library; `None` if it does not exist or was not checked.
    library: Option<&'l Library<'l>>,
}

impl<'l> Imports<'l> {
    /// Checks the import statements of a script.
    pub(super) fn of(ast: &AST, libraries: &'l Libraries<'l>, findings: &mut Findings<'_>) -> Self {
        let mut imports = Self::default();
        walk(ast, &mut |body, path| {
            let [around @ .., ASTNode::Stmt(Stmt::Import(import, position))] = path else { return };
            if findings.sdk < SINCE {
                let help = format!("imports require sdk {SINCE}; define the functions in the script");
                let message = "`import` is disabled".to_owned();
                return findings.add(*position, "import".len(), message, Some(help));
            }
            if body.function.is_some() || !around.is_empty() {
                let message = "`import` is only allowed at the top level of a file".to_owned();
                let help = "move it to the beginning of the file".to_owned();
                return findings.add(*position, "import".len(), message, Some(help));
            }
            let (name, alias) = (&import.0, &import.1);
            let Some((path, at_path)) = library_path(name, findings) else { return };
            if alias.name.is_empty() {
                let message = "the import has no name".to_owned();
                let last = path.stem().rsplit('/').next().unwrap_or_default();
                let help = format!("write `import \"{}\" as {last};`", path.stem());
                return findings.add(*position, "import".len(), message, Some(help));
            }
            let width = alias.name.chars().count();
            if is_module(&alias.name, findings.sdk) {
                let message = format!("`{}` is a module of the SDK", alias.name);
                return findings.add(
                    alias.pos,
                    width,
                    message,
                    Some("choose another name after `as`".to_owned()),
                );
            }
            if imports.by_alias.contains_key(alias.name.as_str()) {
                let message = format!("`{}` is imported twice", alias.name);
                return findings.add(
                    alias.pos,
                    width,
                    message,
                    Some("choose another name after `as`".to_owned()),
                );
            }
            let library = libraries.get(&path);
            if library.is_none() && !libraries.scripts().any(|script| *script == path) {
                missing(&path, at_path, libraries, findings);
            }
            imports.by_alias.insert(alias.name.to_string(), Import { path, position: alias.pos, library });
        });
        imports
    }

    /// The import with this alias.
    pub(super) fn get(&self, alias: &str) -> Option<&Import<'l>> {
        self.by_alias.get(alias)
    }

    /// The functions that can be called, as `alias::name`.
    pub(super) fn functions(&self) -> Vec<String> {
        let exported = self.by_alias.iter().filter_map(|(alias, import)| Some((alias, import.exports()?)));
        let names = exported.flat_map(|(alias, exports)| {
            exports.functions.keys().map(move |name| format!("{alias}::{name}"))
        });
        names.collect()
    }

    /// The imported files.
    pub(super) fn files(&self) -> Vec<ScriptPath> {
        let files: BTreeSet<&ScriptPath> = self.by_alias.values().map(|import| &import.path).collect();
        files.into_iter().cloned().collect()
    }

    /// Warns about imports whose alias is not used.
    pub(super) fn warn_about_unused(&self, tokens: &[(Token, Position)], findings: &mut Findings<'_>) {
        let used: BTreeSet<&str> = tokens
            .windows(2)
            .filter_map(|pair| match pair {
                [(Token::Identifier(alias), _), (Token::DoubleColon, _)] => Some(alias.as_str()),
                _ => None,
            })
            .collect();
        for (alias, import) in &self.by_alias {
            if !used.contains(alias.as_str()) {
                let message = format!("unused import `{alias}`");
                findings.warn(import.position, alias.chars().count(), message, None);
            }
        }
    }
}

impl<'l> Import<'l> {
    /// What the library exports; `None` if it has errors of its own.
    pub(super) fn exports(&self) -> Option<&'l Exports> {
        self.library.and_then(|library| library.exports.as_ref())
    }
}

/// The file of an import with the position of its name.
fn library_path(name: &Expr, findings: &mut Findings<'_>) -> Option<(ScriptPath, Position)> {
    let Expr::StringConstant(text, position) = name else {
        let message = "the path of an import must be written out".to_owned();
        let help = "write `import \"lib/text\" as text;`".to_owned();
        findings.add(name.position(), 1, message, Some(help));
        return None;
    };
    if let Some(path) = imported_file(text) {
        return Some((path, *position));
    }
    let bare = text.trim_start_matches("./").trim_start_matches('/').trim_end_matches(".rhai");
    let help = match imported_file(bare) {
        Some(path) => format!("write `\"{}\"`: paths start at the root of the repository", path.stem()),
        None => "paths start at the root of the repository and have no `..` and no extension".to_owned(),
    };
    let message = format!("`{}` is not the path of a library", text.escape_debug());
    findings.add(*position, text.chars().count() + 2, message, Some(help));
    None
}

fn missing(path: &ScriptPath, position: Position, libraries: &Libraries<'_>, findings: &mut Findings<'_>) {
    let known = libraries.scripts().map(ScriptPath::stem);
    let help = findings.suggestions.did_you_mean(path.stem(), known);
    let help = help.unwrap_or_else(|| "paths start at the root of the repository".to_owned());
    let message = format!("the repository has no `{path}`");
    findings.add(position, path.stem().chars().count() + 2, message, Some(help));
}

fn is_module(name: &str, sdk: SdkVersion) -> bool {
    let prefix = format!("{name}::");
    name == "global" || Sandbox::of(sdk).natives.keys().any(|native| native.starts_with(&prefix))
}

/// Checks that a file only holds what a library can hold, and returns what it exports.
pub(super) fn library(ast: &AST, findings: &mut Findings<'_>) -> Exports {
    let mut exports = Exports::default();
    for statement in ast.statements() {
        match statement {
            Stmt::Import(..) | Stmt::Noop(_) => {}
            Stmt::Var(variable, flags, position) if flags.contains(ASTFlags::CONSTANT) => {
                let name = &variable.0.name;
                match variable.1.get_literal_value(None) {
                    _ if !flags.contains(ASTFlags::EXPORTED) => {
                        let help = format!("write `export const {name}`");
                        let message = "a library only has exported constants".to_owned();
                        findings.add(*position, "const".len(), message, Some(help));
                    }
                    Some(value) => drop(exports.constants.insert(name.to_string(), value)),
                    None => {
                        let message = format!("the value of `{name}` is not a literal");
                        let help = "a library runs nothing when it is imported; write a function".to_owned();
                        findings.add(variable.1.position(), 1, message, Some(help));
                    }
                }
            }
            other => {
                let message = "statement at the top level of a library".to_owned();
                let help = "a library only has functions, `export const` and imports; move the statement into a function";
                findings.add(other.position(), 1, message, Some(help.to_owned()));
            }
        }
    }
    for function in ast.iter_fn_def() {
        let name = function.name.to_string();
        if name.starts_with(super::CLOSURE_PREFIX) {
            continue;
        }
        match function.access {
            FnAccess::Public => exports.functions.entry(name).or_default().push(function.params.len()),
            _ => drop(exports.private_functions.insert(name)),
        }
    }
    exports
}
