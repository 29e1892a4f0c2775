//! Calls to functions that exist nowhere, variables that were never declared, and what the sandbox refuses.

use std::collections::BTreeMap;

use manifest_schema::fault::nearest;
use rhai::{AST, ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::declared::Declared;
use super::{Body, Faults, walk};
use crate::log::Level;
use crate::sandbox::sandbox;
use crate::sdk::CTX;

/// Functions that are part of the language. Rhai itself says what is wrong with their arguments.
const KEYWORDS: [&str; 7] = ["Fn", "call", "curry", "is_def_fn", "is_def_var", "is_shared", "type_of"];

/// What exists in Rhai and not here, and what to do instead.
const REFUSED: [(&str, &str); 4] = [
    ("eval", "write the code out, or choose a function by name with `Fn(\"name\")`"),
    ("print", "use `log::info`"),
    ("debug", "use `log::trace`"),
    ("sleep", "a script cannot wait; let a schedule do what comes later"),
];

pub(super) fn check(ast: &AST, declared: &Declared, faults: &mut Faults<'_>) {
    let natives = &sandbox().natives;
    let mut names = Names { declared, natives, faults };
    walk(ast, &mut |body, path| match path.last() {
        _ if names.faults.is_full() => {}
        Some(ASTNode::Stmt(Stmt::Import(_, position))) => names.import(*position),
        Some(ASTNode::Stmt(Stmt::FnCall(call, position)))
        | Some(ASTNode::Expr(Expr::FnCall(call, position))) => names.call(call, *position),
        Some(ASTNode::Expr(Expr::MethodCall(call, position))) => names.method(call, *position),
        // Without an index, the name was not found where it stands.
        Some(ASTNode::Expr(Expr::Variable(variable, None, position)))
            if variable.0.is_none() && variable.2.is_empty() =>
        {
            names.variable(body, &variable.1, *position);
        }
        _ => {}
    });
}

struct Names<'a, 'f, 's> {
    declared: &'a Declared,
    natives: &'a BTreeMap<String, Vec<usize>>,
    faults: &'f mut Faults<'s>,
}

impl Names<'_, '_, '_> {
    fn import(&mut self, position: Position) {
        let advice = "a script is one file; define its functions there".to_owned();
        self.faults.add(position, "import".len(), "`import` is disabled".to_owned(), Some(advice));
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
        if KEYWORDS.contains(&name.as_str()) {
            return;
        }
        let defined = self.declared.functions.get(&name);
        let native = self.natives.get(&name);
        let counts: Vec<usize> = defined.into_iter().chain(native).flatten().copied().collect();
        if let (None, Some((_, advice))) = (defined, REFUSED.iter().find(|(refused, _)| *refused == name)) {
            let message = format!("`{name}` is disabled");
            self.faults.add(position, name.chars().count(), message, Some((*advice).to_owned()));
        } else if counts.is_empty() {
            let advice = self.instead_of_function(&name);
            self.faults.add(position, name.chars().count(), format!("unknown function `{name}`"), advice);
        } else if !counts.contains(&call.args.len()) {
            let message = wrong_count(&name, &counts, call.args.len());
            self.faults.add(position, name.chars().count(), message, None);
        }
    }

    /// A method is a function whose first argument stands before the dot, or one of the script's that knows it as
    /// `this`. A map may hold a function under the name, too: then there is nothing to say.
    fn method(&mut self, call: &FnCallExpr, position: Position) {
        let name = call.name.as_str();
        if KEYWORDS.contains(&name) || self.declared.members.contains(name) {
            return;
        }
        let given = call.args.len();
        let defined = self.declared.functions.get(name);
        let native = self.natives.get(name);
        let width = name.chars().count();
        if defined.is_none() && native.is_none() {
            let methods = self.natives.keys().filter(|native| !native.contains("::"));
            let known = methods.chain(self.declared.functions.keys()).map(String::as_str);
            let advice = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
            self.faults.add(position, width, format!("unknown method `{name}`"), advice);
            return;
        }
        let fits = |counts: &Vec<usize>| counts.contains(&given) || counts.contains(&(given + 1));
        let native_fits = native.is_some_and(|counts| counts.contains(&(given + 1)));
        if !native_fits && !defined.is_some_and(fits) {
            let mut counts: Vec<usize> =
                native.into_iter().flatten().map(|count| count.saturating_sub(1)).collect();
            counts.extend(defined.into_iter().flatten());
            let message = wrong_count(name, &counts, given);
            self.faults.add(position, width, message, None);
        }
    }

    fn variable(&mut self, body: Body<'_>, name: &str, position: Position) {
        let known = name == CTX
            // A closure's parameters begin with what it captures; where that is made, it is looked at.
            || (body.is_closure() && body.has_parameter(name))
            || self.declared.functions.contains_key(name)
            || self.declared.asked_for.contains(name)
            || (self.declared.variables.contains(name) && self.sees_caller(body));
        if known {
            return;
        }
        let others = self.declared.variables.iter().map(String::as_str).filter(|other| *other != name);
        let advice = match nearest(name, others.chain([CTX])) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None if self.declared.variables.contains(name)
                && body.function.is_some()
                && !body.is_closure() =>
            {
                Some("functions do not see the script's variables; hand it over as an argument".to_owned())
            }
            None => None,
        };
        self.faults.add(position, name.chars().count(), format!("unknown variable `{name}`"), advice);
    }

    fn sees_caller(&self, body: Body<'_>) -> bool {
        body.function.is_some_and(|function| self.declared.seeing_callers.contains(function.name.as_str()))
    }

    fn instead_of_function(&self, name: &str) -> Option<String> {
        if self.declared.variables.contains(name) {
            return Some(format!(
                "`{name}` is a variable; call the function it holds with `{name}.call(...)`"
            ));
        }
        if Level::ALL.iter().any(|level| level.as_str() == name) {
            return Some(format!("did you mean `log::{name}`?"));
        }
        let known = self.declared.functions.keys().chain(self.natives.keys()).map(String::as_str);
        let refused = |known: &&str| !REFUSED.iter().any(|(refused, _)| refused == known);
        nearest(name, known.filter(refused)).map(|near| format!("did you mean `{near}`?"))
    }
}

/// ``` `greet` takes 1 or 2 arguments, not 3 ```
fn wrong_count(name: &str, counts: &[usize], given: usize) -> String {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    counts.dedup();
    let takes = counts.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ");
    let arguments = if takes == "1" { "argument" } else { "arguments" };
    format!("`{name}` takes {takes} {arguments}, not {given}")
}
