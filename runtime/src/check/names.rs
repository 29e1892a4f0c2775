//! Calls to functions that exist nowhere, variables that were never declared, and what the sandbox refuses.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rhai::{AST, ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::declared::Declared;
use super::{Body, Findings, walk};
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

/// Names that other languages have, and what to write instead.
const FOREIGN: [(&str, &str); 10] = [
    ("log", "it is called with two colons: `log::info(...)`"),
    ("undefined", "write `()`"),
    ("None", "write `()`"),
    ("True", "write `true`"),
    ("False", "write `false`"),
    ("self", "write `this`"),
    ("console", "use `log::info`"),
    ("JSON", "use `parse_json(text)` and `value.to_json()`"),
    ("Math", "numbers have methods: `x.floor()`, `x.abs()`"),
    ("request", "write `ctx.request`"),
];

/// What to do instead of calling `name`, if the sandbox refuses it.
pub(super) fn refused_advice(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, advice)| *advice)
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
        Some(ASTNode::Expr(Expr::MethodCall(call, position))) => names.method(call, *position),
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
        let advice = "a script is one file; define its functions there".to_owned();
        self.findings.add(position, "import".len(), "`import` is disabled".to_owned(), Some(advice));
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
            self.findings.add(position, name.len(), message, Some("use `log::trace`".to_owned()));
        } else if counts.is_empty() {
            let advice = self.instead_of_function(&name);
            self.findings.add(position, name.chars().count(), format!("unknown function `{name}`"), advice);
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
            let advice = self.instead_of_function(name);
            self.findings.add(
                *position,
                name.chars().count() + 2,
                format!("unknown function `{name}`"),
                advice,
            );
        }
    }

    /// `module::NAME`. No module of the SDK holds variables; `global` holds the constants of the script.
    fn qualified(&mut self, module: &str, name: &str, position: Position) {
        let is_constant = self.declared.constants.contains(name) || self.declared.left_out.contains(name);
        if module == "global" && is_constant {
            return;
        }
        let advice = if module == "global" && self.declared.variables.contains(name) {
            Some(format!("only constants are reached like this: declare it as `const {name}`"))
        } else if self.natives.contains_key(&format!("{module}::{name}")) {
            Some(format!("it is a function: call it as `{module}::{name}(...)`"))
        } else if module == "global" {
            self.findings.suggestions.did_you_mean(name, self.declared.constants.iter().map(String::as_str))
        } else {
            None
        };
        let written = format!("{module}::{name}");
        let message = format!("unknown name `{written}`");
        self.findings.add(position, written.chars().count(), message, advice);
    }

    /// Whether the sandbox refuses the function `name`. One that the script defines under that name is its own.
    fn refused(&mut self, name: &str, position: Position) -> bool {
        let Some(advice) = refused_advice(name) else { return false };
        if self.declared.functions.contains_key(name) {
            return false;
        }
        let message = format!("`{name}` is disabled");
        self.findings.add(position, name.chars().count(), message, Some(advice.to_owned()));
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
            let methods = self.natives.keys().filter(|native| !native.contains("::"));
            let known = methods.chain(self.declared.functions.keys()).map(String::as_str);
            let advice = self.findings.suggestions.did_you_mean(name, known);
            self.findings.add(position, width, format!("unknown method `{name}`"), advice);
            return;
        }
        // What stands before the dot is an argument of a native function, but `this` of one that the script defines.
        let natively = native.into_iter().flatten().filter_map(|count| count.checked_sub(1));
        let counts: Vec<usize> = natively.chain(defined.into_iter().flatten().copied()).collect();
        if !counts.contains(&given) {
            let advice = defined
                .filter(|counts| counts.contains(&(given + 1)))
                .map(|_| format!("call it as `{name}(...)`: before the dot stands what it knows as `this`"));
            let message = wrong_count(name, &counts, given);
            self.findings.add(position, width, message, advice);
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
        let advice = self.instead_of_variable(body, name);
        self.findings.add(position, name.chars().count(), format!("unknown variable `{name}`"), advice);
    }

    fn instead_of_variable(&mut self, body: Body<'_>, name: &str) -> Option<String> {
        if self.declared.variables.contains(name) && body.function.is_some() && !body.is_closure() {
            return Some(
                "functions do not see the script's variables; hand it over as an argument".to_owned(),
            );
        }
        if let Some((_, instead)) = FOREIGN.iter().find(|(foreign, _)| *foreign == name) {
            return Some((*instead).to_owned());
        }
        let others = self.declared.variables.iter().map(String::as_str).filter(|other| *other != name);
        self.findings.suggestions.did_you_mean(name, others.chain([CTX]))
    }

    fn sees_caller(&self, body: Body<'_>) -> bool {
        let seen = &self.declared.seeing_callers;
        // `call!(f)` may call any function that way.
        body.function.is_some_and(|function| seen.contains(function.name.as_str()) || seen.contains("call"))
    }

    fn instead_of_function(&mut self, name: &str) -> Option<String> {
        if self.declared.variables.contains(name) {
            return Some(format!(
                "`{name}` is a variable; call the function it holds with `{name}.call(...)`"
            ));
        }
        if LogLevel::ALL.iter().any(|level| level.as_str() == name) {
            return Some(format!("did you mean `log::{name}`?"));
        }
        let known = self.declared.functions.keys().chain(self.natives.keys()).map(String::as_str);
        let refused = |known: &&str| !REFUSED.iter().any(|(refused, _)| refused == known);
        self.findings.suggestions.did_you_mean(name, known.filter(refused))
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
