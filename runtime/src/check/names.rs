//! Calls to functions that exist nowhere, variables that were never declared, and what the sandbox refuses.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rhai::{AST, ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::declared::Declared;
use super::help::Help;
use super::syntax::Reference;
use super::{Body, Findings, foreign, walk};
use manifest_schema::execution::LogLevel;

use crate::sdk::CTX;

/// Functions that are part of the language, and how many arguments each takes when it is called as a function.
const KEYWORDS: [(&str, RangeInclusive<usize>); 7] = [
    ("Fn", 1..=1),
    ("call", 1..=usize::MAX),
    ("curry", 1..=usize::MAX),
    ("is_def_fn", 2..=3),
    ("is_def_var", 1..=1),
    ("is_shared", 1..=1),
    ("type_of", 1..=1),
];

/// What exists in Rhai and not here, and what to do instead.
const REFUSED: [(&str, &str); 5] = [
    ("eval", "write the code out, or choose a function by name with `Fn(\"name\")`"),
    ("print", "use `log::info`"),
    ("debug", "use `log::trace`"),
    ("sleep", "a script cannot wait; let a schedule do what comes later"),
    ("timestamp", "a script has no clock"),
];

/// What to do instead of calling `name`, if the sandbox refuses it.
pub(super) fn refused_help(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, help)| *help)
}

/// Whether `name` is a function that is part of the language.
pub(super) fn is_keyword(name: &str) -> bool {
    KEYWORDS.iter().any(|(keyword, _)| *keyword == name)
}

/// The functions that exist natively, and the argument counts each takes.
type Natives = BTreeMap<String, Vec<usize>>;

pub(super) fn check(ast: &AST, declared: &Declared, natives: &Natives, findings: &mut Findings<'_>) {
    let mut names = Names { declared, natives, findings };
    walk(ast, &mut |body, path| match path.last() {
        Some(ASTNode::Stmt(Stmt::Import(_, position))) => names.import(*position),
        Some(ASTNode::Stmt(Stmt::FnCall(call, position)))
        | Some(ASTNode::Expr(Expr::FnCall(call, position))) => names.call(call, *position),
        Some(ASTNode::Expr(Expr::MethodCall(call, position))) if !is_of_foreign_object(path, declared) => {
            names.method(call, *position);
        }
        Some(ASTNode::Expr(Expr::Variable(variable, ..))) if !variable.2.is_empty() => {
            let path: Vec<&str> = variable.2.path.iter().map(|part| part.as_str()).collect();
            names.qualified(&path.join("::"), &variable.1, variable.2.position());
        }
        // Without an index, the name was not found where it stands.
        Some(ASTNode::Expr(Expr::Variable(variable, None, position))) if variable.0.is_none() => {
            names.variable(body, &variable.1, *position);
        }
        _ => {}
    });
}

/// Whether a method is called on an object that other languages have: that is what is wrong, once.
fn is_of_foreign_object(path: &[ASTNode<'_>], declared: &Declared) -> bool {
    let [.., ASTNode::Expr(parent), _] = path else { return false };
    let Expr::Dot(chain, ..) = parent else { return false };
    // The first method of a longer chain begins the rest of it.
    let object = match path {
        [.., ASTNode::Expr(Expr::Dot(around, ..)), _, _] if std::ptr::eq(&around.rhs, *parent) => &around.lhs,
        _ => &chain.lhs,
    };
    matches!(object, Expr::Variable(variable, ..) if variable.0.is_none()
        && foreign::is_object(&variable.1)
        && !declared.variables.contains(variable.1.as_str()))
}

/// Only what the sandbox refuses, whatever else is wrong.
pub(super) fn wall(ast: &AST, declared: &Declared, findings: &mut Findings<'_>) {
    let natives = Natives::new();
    let mut names = Names { declared, natives: &natives, findings };
    walk(ast, &mut |_, path| match path.last() {
        Some(ASTNode::Stmt(Stmt::Import(_, position))) => names.import(*position),
        Some(ASTNode::Stmt(Stmt::FnCall(call, position)))
        | Some(ASTNode::Expr(Expr::FnCall(call, position))) => drop(names.refused(&call.name, *position)),
        _ => {}
    });
}

struct Names<'a, 'f, 's> {
    declared: &'a Declared,
    natives: &'a Natives,
    findings: &'f mut Findings<'s>,
}

impl Names<'_, '_, '_> {
    fn import(&mut self, position: Position) {
        let help = "a script is one file; define its functions there".to_owned();
        self.findings.add(position, "import".len(), "`import` is disabled".to_owned(), Some(help));
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
            (format!("{}::{}", path.join("::"), call.name), call.namespace.position())
        } else {
            (call.name.to_string(), position)
        };
        if let Some((_, counts)) = KEYWORDS.iter().find(|(keyword, _)| *keyword == name) {
            return self.keyword(call, counts, position);
        }
        let defined = self.declared.functions.get(&name);
        let native = self.natives.get(&name);
        let counts: Vec<usize> = defined.into_iter().chain(native).flatten().copied().collect();
        // `if is_def_fn("f", 1) { f(x) }` calls nothing that is not there.
        let guarded = counts.is_empty() && self.declared.asked_for.contains(&name);
        if self.refused(&name, position) || guarded || self.declared.left_out.contains(call.name.as_str()) {
            return;
        }
        if name == "log::debug" {
            let message = "`log::debug` does not exist, since `debug` is a word of Rhai".to_owned();
            let help = self.renamed(position, &name, "log::trace");
            self.findings.add_help(position, name.len(), message, Some(help));
        } else if counts.is_empty() {
            let help = self.instead_of_function(&name, Some(call.args.len()), position);
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

    /// A call that is part of the language. What `Fn` names must be there: nothing defines functions while a script runs.
    fn keyword(&mut self, call: &FnCallExpr, counts: &RangeInclusive<usize>, position: Position) {
        let given = call.args.len();
        if !counts.contains(&given) {
            let message = match *counts.end() {
                usize::MAX => format!("`{}` takes an argument at least", call.name),
                _ => wrong_count(&call.name, &counts.clone().collect::<Vec<_>>(), given),
            };
            return self.findings.add(position, call.name.chars().count(), message, None);
        }
        let ("Fn", [Expr::StringConstant(name, position)]) = (call.name.as_str(), call.args.as_ref()) else {
            return;
        };
        let there = self.declared.functions.contains_key(name.as_str())
            || self.declared.left_out.contains(name.as_str())
            || self.declared.asked_for.contains(name.as_str());
        // Operators are functions too.
        if there
            || !name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            || self.refused(name, *position)
        {
            return;
        }
        if !self.natives.contains_key(name.as_str()) {
            let help = self.instead_of_function(name, None, *position);
            let message = format!("unknown function `{name}`");
            self.findings.add_help(*position, name.chars().count() + 2, message, help);
        }
    }

    /// `module::NAME`. No module of the SDK holds variables; `global` holds the constants of the script.
    fn qualified(&mut self, module: &str, name: &str, position: Position) {
        let is_constant = self.declared.constants.contains(name) || self.declared.left_out.contains(name);
        if module == "global" && is_constant {
            return;
        }
        let written = format!("{module}::{name}");
        let help = if module == "global" && self.declared.variables.contains(name) {
            Some(Help::words(format!("only constants are reached like this: declare it as `const {name}`")))
        } else if self.natives.contains_key(&written) {
            Some(Help::words(format!("it is a function: call it as `{written}(...)`")))
        } else if module == "global" {
            let constants = self.declared.constants.iter().map(String::as_str);
            let meant = self.findings.suggestions.typo(name, constants);
            meant.map(|meant| self.meant(position, &written, &format!("global::{meant}")))
        } else {
            None
        };
        let message = format!("unknown name `{written}`");
        self.findings.add_help(position, written.chars().count(), message, help);
    }

    /// Whether the sandbox refuses the function `name`. One that the script defines under that name is its own.
    fn refused(&mut self, name: &str, position: Position) -> bool {
        let Some(help) = refused_help(name) else { return false };
        if self.declared.functions.contains_key(name) {
            return false;
        }
        let message = format!("`{name}` is disabled");
        let help = match (name, self.findings.range_of(position, name)) {
            ("print", Some(range)) => Help::described(help, "log::info", range),
            ("debug", Some(range)) => Help::described(help, "log::trace", range),
            _ => Help::words(help),
        };
        self.findings.add_help(position, name.chars().count(), message, Some(help));
        true
    }

    /// A method is a function whose first argument stands before the dot, or one of the script's that knows it as
    /// `this`. A map may hold a function under the name, too: then there is nothing to say.
    fn method(&mut self, call: &FnCallExpr, position: Position) {
        let name = call.name.as_str();
        let is_keyword = KEYWORDS.iter().any(|(keyword, _)| *keyword == name);
        let declared = self.declared;
        let may_be_there = declared.members.contains(name) || declared.asked_for.contains(name);
        if is_keyword || may_be_there || declared.left_out.contains(name) {
            return;
        }
        let given = call.args.len();
        let defined = self.declared.functions.get(name);
        let native = self.natives.get(name);
        let width = name.chars().count();
        if defined.is_none() && native.is_none() {
            let help = self.instead_of_method(name, given, position);
            self.findings.add_help(position, width, format!("unknown method `{name}`"), help);
            return;
        }
        // What stands before the dot is an argument of a native function, but `this` of one that the script defines.
        let natively = native.into_iter().flatten().filter_map(|count| count.checked_sub(1));
        let counts: Vec<usize> = natively.chain(defined.into_iter().flatten().copied()).collect();
        if !counts.contains(&given) {
            let help = defined
                .filter(|counts| counts.contains(&(given + 1)))
                .map(|_| format!("call it as `{name}(...)`: before the dot stands what it knows as `this`"));
            let message = wrong_count(name, &counts, given);
            self.findings.add(position, width, message, help);
        }
    }

    fn variable(&mut self, body: Body<'_>, name: &str, position: Position) {
        let known = name == CTX
            // A closure's parameters begin with what it captures; where that is made, it is looked at.
            || (body.is_closure() && body.has_parameter(name))
            || self.declared.functions.contains_key(name)
            || self.declared.asked_for.contains(name)
            || self.declared.left_out.contains(name)
            || (self.declared.variables.contains(name) && self.sees_caller(body));
        if known {
            return;
        }
        let help = self.instead_of_variable(body, name, position);
        self.findings.add_help(position, name.chars().count(), format!("unknown variable `{name}`"), help);
    }

    fn instead_of_variable(&mut self, body: Body<'_>, name: &str, position: Position) -> Option<Help> {
        if self.declared.variables.contains(name) && body.function.is_some() && !body.is_closure() {
            return Some(Help::words(
                "functions do not see the script's variables; hand it over as an argument",
            ));
        }
        let range = self.findings.range_of(position, name)?;
        let written =
            foreign::is_variable(name).then(|| Reference::at(self.findings.text(), range.start)).flatten();
        if let Some(help) = foreign::variable(name, self.natives, written.as_ref()) {
            return Some(help);
        }
        let others = self.declared.variables.iter().map(String::as_str).filter(|other| *other != name);
        let meant = self.findings.suggestions.typo(name, others.chain([CTX]))?;
        Some(Help::did_you_mean(meant, range))
    }

    /// The name of a method that was meant, or what does the same here.
    fn instead_of_method(&mut self, name: &str, given: usize, position: Position) -> Option<Help> {
        let range = self.findings.range_of(position, name)?;
        if let Some(help) = foreign::method(name, given, self.natives, range.clone()) {
            return Some(help);
        }
        let natives = self.natives.iter().filter(|(native, counts)| {
            !native.contains("::") && refused_help(native).is_none() && counts.contains(&(given + 1))
        });
        let own = self.declared.functions.iter().filter(|(_, counts)| counts.contains(&given));
        let known = natives.chain(own).map(|(known, _)| known.as_str());
        let meant = self.findings.suggestions.typo(name, known)?;
        Some(Help::did_you_mean(meant, range))
    }

    /// ``use `meant` ``, or the edit that does.
    fn renamed(&self, position: Position, written: &str, meant: &str) -> Help {
        let words = format!("use `{meant}`");
        match self.findings.range_of(position, written) {
            Some(range) => Help::described(words, meant, range),
            None => Help::words(words),
        }
    }

    fn meant(&self, position: Position, written: &str, meant: &str) -> Help {
        match self.findings.range_of(position, written) {
            Some(range) => Help::did_you_mean(meant, range),
            None => Help::words(format!("did you mean `{meant}`?")),
        }
    }

    fn sees_caller(&self, body: Body<'_>) -> bool {
        let seen = &self.declared.seeing_callers;
        // `call!(f)` may call any function that way.
        body.function.is_some_and(|function| seen.contains(function.name.as_str()) || seen.contains("call"))
    }

    /// The name of a function that was meant, or what does the same here. How many arguments it is called with is not known where
    /// it is named only.
    fn instead_of_function(&mut self, name: &str, given: Option<usize>, position: Position) -> Option<Help> {
        // `Fn("name")` names it in a string.
        let quoted = format!("\"{name}\"");
        let range = match given {
            Some(_) => self.findings.range_of(position, name)?,
            None => self.findings.range_of(position, &quoted).map(|range| range.start + 1..range.end - 1)?,
        };
        if self.declared.variables.contains(name) {
            let words = format!("`{name}` is a variable; call the function it holds with `{name}.call(...)`");
            return Some(Help::described(words, format!("{name}.call"), range));
        }
        if LogLevel::ALL.iter().any(|level| level.as_str() == name) {
            return Some(Help::did_you_mean(&format!("log::{name}"), range));
        }
        if let Some(help) =
            given.and_then(|given| foreign::function(name, given, self.natives, range.clone()))
        {
            return Some(help);
        }
        let fits = |counts: &Vec<usize>| given.is_none_or(|given| counts.contains(&given));
        let natives = self.natives.iter().filter(|(native, _)| refused_help(native).is_none());
        let known = self.declared.functions.iter().chain(natives).filter(|(_, counts)| fits(counts));
        let meant = self.findings.suggestions.typo(name, known.map(|(known, _)| known.as_str()))?;
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
