//! Unknown functions, undeclared variables, and names that the sandbox rejects.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rhai::{AST, ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::declarations::Declarations;
use super::help::Help;
use super::imports::{Import, Imports};
use super::syntax::Reference;
use super::{Body, Findings, foreign_names, walk};
use manifest_schema::execution::LogLevel;

use crate::sdk::CTX;

/// Functions of the language, with their argument counts when called as a function.
const KEYWORDS: [(&str, RangeInclusive<usize>); 7] = [
    ("Fn", 1..=1),
    ("call", 1..=usize::MAX),
    ("curry", 1..=usize::MAX),
    ("is_def_fn", 2..=3),
    ("is_def_var", 1..=1),
    ("is_shared", 1..=1),
    ("type_of", 1..=1),
];

/// Functions of Rhai that the sandbox rejects, with the help.
const REJECTED: [(&str, &str); 5] = [
    ("eval", "write the code directly, or call a function by name with `Fn(\"name\")`"),
    ("print", "use `log::info`"),
    ("debug", "use `log::trace`"),
    ("sleep", "scripts cannot wait; use a schedule for later work"),
    ("timestamp", "the time needs sdk 1.3, which has the module time"),
];

/// The help for `name` if the sandbox rejects it.
pub(super) fn rejected_help(name: &str) -> Option<&'static str> {
    REJECTED.iter().find(|(rejected, _)| *rejected == name).map(|(_, help)| *help)
}

/// Whether `name` is a function of the language.
pub(super) fn is_keyword(name: &str) -> bool {
    KEYWORDS.iter().any(|(keyword, _)| *keyword == name)
}

/// The native functions with their argument counts.
type Natives = BTreeMap<String, Vec<usize>>;

pub(super) fn check(
    ast: &AST,
    declarations: &Declarations,
    imports: &Imports<'_>,
    natives: &Natives,
    findings: &mut Findings<'_>,
) {
    let mut names = NameChecker { declarations, imports, natives, findings };
    walk(ast, &mut |body, path| match path.last() {
        Some(ASTNode::Stmt(Stmt::FnCall(call, position)))
        | Some(ASTNode::Expr(Expr::FnCall(call, position))) => names.call(call, *position),
        Some(ASTNode::Expr(Expr::MethodCall(call, position)))
            if !is_of_foreign_object(path, declarations, natives) =>
        {
            names.method(call, *position);
        }
        Some(ASTNode::Expr(Expr::Variable(variable, ..))) if !variable.2.is_empty() => {
            let path: Vec<&str> = variable.2.path.iter().map(|part| part.as_str()).collect();
            names.qualified(&path.join("::"), &variable.1, variable.2.position());
        }
        // Without an index, the name is unknown in its scope.
        Some(ASTNode::Expr(Expr::Variable(variable, None, position))) if variable.0.is_none() => {
            names.variable(body, &variable.1, *position);
        }
        _ => {}
    });
}

/// Whether a method is called on an object of another language; only the object is reported.
fn is_of_foreign_object(path: &[ASTNode<'_>], declarations: &Declarations, natives: &Natives) -> bool {
    let [.., ASTNode::Expr(parent), _] = path else { return false };
    let Expr::Dot(chain, ..) = parent else { return false };
    // The first method of a longer chain starts the rest of it.
    let object = match path {
        [.., ASTNode::Expr(Expr::Dot(around, ..)), _, _] if std::ptr::eq(&around.rhs, *parent) => &around.lhs,
        _ => &chain.lhs,
    };
    matches!(object, Expr::Variable(variable, ..) if variable.0.is_none()
        && (foreign_names::is_object(&variable.1) || is_module(&variable.1, natives))
        && !declarations.variables.contains(variable.1.as_str()))
}

/// Whether `name` is a module of the SDK.
fn is_module(name: &str, natives: &Natives) -> bool {
    natives.keys().any(|native| native.strip_prefix(name).is_some_and(|rest| rest.starts_with("::")))
}

/// Reports only what the sandbox rejects.
pub(super) fn check_sandbox(ast: &AST, declarations: &Declarations, findings: &mut Findings<'_>) {
    let (natives, imports) = (Natives::new(), Imports::default());
    let mut names = NameChecker { declarations, imports: &imports, natives: &natives, findings };
    walk(ast, &mut |_, path| match path.last() {
        Some(ASTNode::Stmt(Stmt::Import(_, position))) => names.unlinked_import(*position),
        Some(ASTNode::Stmt(Stmt::FnCall(call, position)))
        | Some(ASTNode::Expr(Expr::FnCall(call, position))) => {
            names.report_rejected(&call.name, *position);
        }
        _ => {}
    });
}

struct NameChecker<'a, 'f, 's> {
    declarations: &'a Declarations,
    imports: &'a Imports<'a>,
    natives: &'a Natives,
    findings: &'f mut Findings<'s>,
}

impl NameChecker<'_, '_, '_> {
    /// A script that was linked has no import statements.
    fn unlinked_import(&mut self, position: Position) {
        self.findings.add(position, "import".len(), "`import` is disabled".to_owned(), None);
    }

    /// Checks `alias::function(...)` against the library.
    fn library_call(&mut self, import: &Import<'_>, alias: &str, call: &FnCallExpr, position: Position) {
        let Some(exports) = import.exports() else { return };
        let (name, given) = (call.name.as_str(), call.args.len());
        let written = format!("{alias}::{name}");
        let width = written.chars().count();
        match exports.functions.get(name) {
            Some(counts) if counts.contains(&given) => {}
            Some(counts) => self.findings.add(position, width, wrong_count(&written, counts, given), None),
            None if exports.private_functions.contains(name) => {
                let message = format!("`{name}` is private in {}", import.path);
                let help = format!("remove `private` before `fn {name}`");
                self.findings.add(position, width, message, Some(help));
            }
            None if exports.constants.contains_key(name) => {
                let message = format!("`{written}` is a constant, not a function");
                self.findings.add(position, width, message, Some(format!("write `{written}`")));
            }
            None => {
                let known = exports.functions.keys().map(String::as_str);
                let help = self.findings.suggestions.did_you_mean(name, known);
                let message = format!("{} has no function `{name}`", import.path);
                self.findings.add(position, width, message, help);
            }
        }
    }

    /// Checks the constant `alias::NAME` against the library.
    fn library_constant(&mut self, import: &Import<'_>, alias: &str, name: &str, position: Position) {
        let Some(exports) = import.exports() else { return };
        if exports.constants.contains_key(name) {
            return;
        }
        let written = format!("{alias}::{name}");
        let help = if exports.functions.contains_key(name) {
            Some(format!("it is a function; write `{written}(...)`, or a closure to pass it on"))
        } else {
            let known = exports.constants.keys().map(String::as_str);
            self.findings.suggestions.did_you_mean(name, known)
        };
        let message = format!("{} has no constant `{name}`", import.path);
        self.findings.add(position, written.chars().count(), message, help);
    }

    fn call(&mut self, call: &FnCallExpr, position: Position) {
        if call.is_operator_call() {
            return;
        }
        let (name, position) = if call.is_qualified() {
            let path: Vec<&str> = call.namespace.path.iter().map(|part| part.as_str()).collect();
            if path.first() == Some(&"global") {
                return;
            }
            if let [alias] = path[..]
                && let Some(import) = self.imports.get(alias)
            {
                return self.library_call(import, alias, call, call.namespace.position());
            }
            (format!("{}::{}", path.join("::"), call.name), call.namespace.position())
        } else {
            (call.name.to_string(), position)
        };
        if let Some((_, counts)) = KEYWORDS.iter().find(|(keyword, _)| *keyword == name) {
            return self.keyword(call, counts, position);
        }
        let defined = self.declarations.functions.get(&name);
        let native = self.natives.get(&name);
        let counts: Vec<usize> = defined.into_iter().chain(native).flatten().copied().collect();
        // `if is_def_fn("f", 1) { f(x) }` only calls `f` if it exists.
        let guarded = counts.is_empty() && self.declarations.tested_names.contains(&name);
        if self.report_rejected(&name, position)
            || guarded
            || self.declarations.removed.contains(call.name.as_str())
        {
            return;
        }
        if name == "log::debug" {
            let message = "`log::debug` does not exist: `debug` is reserved in Rhai".to_owned();
            let help = self.renamed(position, &name, "log::trace");
            self.findings.add_help(position, name.len(), message, Some(help));
        } else if counts.is_empty() {
            let help = self.function_help(&name, Some(call.args.len()), position);
            self.findings.add_help(
                position,
                name.chars().count(),
                format!("unknown function `{name}`"),
                help,
            );
        } else if !counts.contains(&call.args.len()) {
            let message = wrong_count(&name, &counts, call.args.len());
            self.findings.add(position, name.chars().count(), message, None);
        }
    }

    /// Checks a call of a language function. The argument of `Fn` must exist: functions cannot be defined at run
    /// time.
    fn keyword(&mut self, call: &FnCallExpr, counts: &RangeInclusive<usize>, position: Position) {
        let given = call.args.len();
        if !counts.contains(&given) {
            let message = match *counts.end() {
                usize::MAX => format!("`{}` takes at least 1 argument", call.name),
                _ => wrong_count(&call.name, &counts.clone().collect::<Vec<_>>(), given),
            };
            return self.findings.add(position, call.name.chars().count(), message, None);
        }
        let ("Fn", [Expr::StringConstant(name, position)]) = (call.name.as_str(), call.args.as_ref()) else {
            return;
        };
        let there = self.declarations.functions.contains_key(name.as_str())
            || self.declarations.removed.contains(name.as_str())
            || self.declarations.tested_names.contains(name.as_str());
        // Operators are functions too.
        if there
            || !name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            || self.report_rejected(name, *position)
        {
            return;
        }
        if !self.natives.contains_key(name.as_str()) {
            let help = self.function_help(name, None, *position);
            let message = format!("unknown function `{name}`");
            self.findings.add_help(*position, name.chars().count() + 2, message, help);
        }
    }

    /// Checks `module::NAME`. No module of the SDK has variables; `global` has the constants of the script.
    fn qualified(&mut self, module: &str, name: &str, position: Position) {
        let is_constant =
            self.declarations.constants.contains(name) || self.declarations.removed.contains(name);
        if module == "global" && is_constant {
            return;
        }
        if let Some(import) = self.imports.get(module) {
            return self.library_constant(import, module, name, position);
        }
        let written = format!("{module}::{name}");
        let help = if module == "global" && self.declarations.variables.contains(name) {
            Some(Help::text(format!("`global::` only reaches constants; declare it as `const {name}`")))
        } else if self.natives.contains_key(&written) {
            Some(Help::text(format!("it is a function; call it as `{written}(...)`")))
        } else if module == "global" {
            let constants = self.declarations.constants.iter().map(String::as_str);
            let meant = self.findings.suggestions.typo(name, constants);
            meant.map(|meant| self.meant(position, &written, &format!("global::{meant}")))
        } else {
            None
        };
        let message = format!("unknown name `{written}`");
        self.findings.add_help(position, written.chars().count(), message, help);
    }

    /// Reports `name` if the sandbox rejects it. A function of the script with that name is allowed.
    fn report_rejected(&mut self, name: &str, position: Position) -> bool {
        let Some(help) = rejected_help(name) else { return false };
        if self.declarations.functions.contains_key(name) {
            return false;
        }
        let message = format!("`{name}` is disabled");
        let help = match (name, self.findings.range_of(position, name)) {
            ("print", Some(range)) => Help::edit(help, "log::info", range),
            ("debug", Some(range)) => Help::edit(help, "log::trace", range),
            _ => Help::text(help),
        };
        self.findings.add_help(position, name.chars().count(), message, Some(help));
        true
    }

    /// Checks a method: a function whose first argument is the receiver, or a function of the script with the
    /// receiver as `this`. A map can also hold a function under that name; then nothing is reported.
    fn method(&mut self, call: &FnCallExpr, position: Position) {
        let name = call.name.as_str();
        let is_keyword = KEYWORDS.iter().any(|(keyword, _)| *keyword == name);
        let declarations = self.declarations;
        let may_be_there = declarations.members.contains(name) || declarations.tested_names.contains(name);
        if is_keyword || may_be_there || declarations.removed.contains(name) {
            return;
        }
        let given = call.args.len();
        let defined = self.declarations.functions.get(name);
        let native = self.natives.get(name);
        let width = name.chars().count();
        if defined.is_none() && native.is_none() {
            let help = self.method_help(name, given, position);
            self.findings.add_help(position, width, format!("unknown method `{name}`"), help);
            return;
        }
        // The receiver is an argument of a native function, but `this` of a function of the script.
        let natively = native.into_iter().flatten().filter_map(|count| count.checked_sub(1));
        let counts: Vec<usize> = natively.chain(defined.into_iter().flatten().copied()).collect();
        if !counts.contains(&given) {
            let help = defined
                .filter(|counts| counts.contains(&(given + 1)))
                .map(|_| format!("call it as `{name}(...)`: the value before the dot is `this`"));
            let message = wrong_count(name, &counts, given);
            self.findings.add(position, width, message, help);
        }
    }

    fn variable(&mut self, body: Body<'_>, name: &str, position: Position) {
        let known = name == CTX
            // The parameters of a closure start with its captures, which are checked where it is created.
            || (body.is_closure() && body.has_parameter(name))
            || self.declarations.functions.contains_key(name)
            || self.declarations.tested_names.contains(name)
            || self.declarations.removed.contains(name)
            || (self.declarations.variables.contains(name) && self.sees_caller(body));
        if known {
            return;
        }
        let help = self.variable_help(body, name, position);
        self.findings.add_help(position, name.chars().count(), format!("unknown variable `{name}`"), help);
    }

    fn variable_help(&mut self, body: Body<'_>, name: &str, position: Position) -> Option<Help> {
        if self.declarations.variables.contains(name) && body.function.is_some() && !body.is_closure() {
            return Some(Help::text(
                "functions cannot access the script's variables; pass it as an argument",
            ));
        }
        let range = self.findings.range_of(position, name)?;
        let written = foreign_names::is_variable(name)
            .then(|| Reference::at(self.findings.text(), range.start))
            .flatten();
        if let Some(help) = foreign_names::variable(name, self.natives, written.as_ref()) {
            return Some(help);
        }
        let module = format!("{name}::");
        if is_module(name, self.natives) && self.findings.text()[range.end..].starts_with('.') {
            let text = format!("functions of a module are called with `{module}`");
            return Some(Help::edit(text, module, range.start..range.end + 1));
        }
        let others = self.declarations.variables.iter().map(String::as_str).filter(|other| *other != name);
        let meant = self.findings.suggestions.typo(name, others.chain([CTX]))?;
        Some(Help::did_you_mean(meant, range))
    }

    /// The help for an unknown method.
    fn method_help(&mut self, name: &str, given: usize, position: Position) -> Option<Help> {
        let range = self.findings.range_of(position, name)?;
        if let Some(help) = foreign_names::method(name, given, self.natives, range.clone()) {
            return Some(help);
        }
        let natives = self.natives.iter().filter(|(native, counts)| {
            !native.contains("::") && rejected_help(native).is_none() && counts.contains(&(given + 1))
        });
        let own = self.declarations.functions.iter().filter(|(_, counts)| counts.contains(&given));
        let known = natives.chain(own).map(|(known, _)| known.as_str());
        let meant = self.findings.suggestions.typo(name, known)?;
        Some(Help::did_you_mean(meant, range))
    }

    /// ``use `meant` ``, with an edit if possible.
    fn renamed(&self, position: Position, written: &str, meant: &str) -> Help {
        let text = format!("use `{meant}`");
        match self.findings.range_of(position, written) {
            Some(range) => Help::edit(text, meant, range),
            None => Help::text(text),
        }
    }

    fn meant(&self, position: Position, written: &str, meant: &str) -> Help {
        match self.findings.range_of(position, written) {
            Some(range) => Help::did_you_mean(meant, range),
            None => Help::text(format!("did you mean `{meant}`?")),
        }
    }

    fn sees_caller(&self, body: Body<'_>) -> bool {
        let seen = &self.declarations.caller_scope_functions;
        // `call!(f)` can call any function in this way.
        body.function.is_some_and(|function| seen.contains(function.name.as_str()) || seen.contains("call"))
    }

    /// The help for an unknown function. The argument count is unknown if it is only named.
    fn function_help(&mut self, name: &str, given: Option<usize>, position: Position) -> Option<Help> {
        // `Fn("name")` has the name in a string.
        let quoted = format!("\"{name}\"");
        let range = match given {
            Some(_) => self.findings.range_of(position, name)?,
            None => self.findings.range_of(position, &quoted).map(|range| range.start + 1..range.end - 1)?,
        };
        if self.declarations.variables.contains(name) {
            let text = format!("`{name}` is a variable; call the function it holds with `{name}.call(...)`");
            return Some(Help::edit(text, format!("{name}.call"), range));
        }
        if LogLevel::ALL.iter().any(|level| level.as_str() == name) {
            return Some(Help::did_you_mean(&format!("log::{name}"), range));
        }
        if let Some(help) =
            given.and_then(|given| foreign_names::function(name, given, self.natives, range.clone()))
        {
            return Some(help);
        }
        let fits = |counts: &Vec<usize>| given.is_none_or(|given| counts.contains(&given));
        let natives = self.natives.iter().filter(|(native, _)| rejected_help(native).is_none());
        let known = self.declarations.functions.iter().chain(natives).filter(|(_, counts)| fits(counts));
        let imported = self.imports.functions();
        let imported = imported.iter().map(String::as_str);
        let known = known.map(|(known, _)| known.as_str()).chain(imported);
        let meant = self.findings.suggestions.typo(name, known)?;
        Some(Help::did_you_mean(meant, range))
    }
}

/// ``` `greet` takes 1 or 2 arguments, not 3 ```
pub(super) fn wrong_count(name: &str, counts: &[usize], given: usize) -> String {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    counts.dedup();
    let takes = counts.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ");
    let arguments = if takes == "1" { "argument" } else { "arguments" };
    format!("`{name}` takes {takes} {arguments}, not {given}")
}
