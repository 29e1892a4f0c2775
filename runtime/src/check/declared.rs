//! What a script declares: functions, variables, and names that values may carry.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rhai::{AST, ASTFlags, ASTNode, Dynamic, Expr, FnCallExpr, FnPtr, Stmt};

use super::{CLOSURE_PREFIX, walk};

/// What a script declares.
#[derive(Default)]
pub(super) struct Declared {
    /// How many statements it has in all.
    pub(super) statements: usize,
    /// Its functions that have names, and the argument counts of each.
    pub(super) functions: BTreeMap<String, Vec<usize>>,
    /// Its variables, wherever they are declared: for suggestions, not for scopes.
    pub(super) variables: BTreeSet<String>,
    /// Names that a value may hold a function under: keys, properties, strings.
    pub(super) members: BTreeSet<String>,
    /// Its constants, which functions reach as `global::NAME`.
    pub(super) constants: BTreeSet<String>,
    /// Variables and functions that it asks for with `is_def_var` and `is_def_fn`.
    pub(super) asked_for: BTreeSet<String>,
    /// Functions that it calls as `f!()`: they see the variables of their caller.
    pub(super) seeing_callers: BTreeSet<String>,
    /// The words of what does not parse and was left out: each of them can be declared there.
    pub(super) left_out: HashSet<String>,
    /// How many variables each closure captures. Their names come before those of its own parameters.
    pub(super) captured: BTreeMap<String, usize>,
    /// How many parameters each closure has, what it captures included.
    pub(super) closures: BTreeMap<String, usize>,
    /// Names that stand where the value of a constant cannot: what a loop or a handler of errors declares again, and what an
    /// assignment changes a part of.
    pub(super) kept_as_names: BTreeSet<String>,
    /// Names that are read and are no variables where they stand: functions that are handed on, among others.
    pub(super) read_as_values: BTreeSet<String>,
}

impl Declared {
    pub(super) fn of(ast: &AST) -> Self {
        let mut declared = Self::default();
        walk(ast, &mut |body, path| match path.last() {
            Some(ASTNode::Stmt(statement)) => {
                declared.statements += 1;
                declared.statement(statement);
                if let Stmt::Assignment(assignment) = statement
                    && let Some(name) = part_of(&assignment.1.lhs)
                    && !body.function.is_some_and(|function| function.params.iter().any(|own| own == name))
                {
                    declared.kept_as_names.insert(name.to_owned());
                }
            }
            Some(ASTNode::Expr(expression)) => {
                declared.expression(expression);
                declared.captured.extend(captures(expression));
            }
            _ => {}
        });
        for function in ast.iter_fn_def() {
            let name = function.name.as_str();
            if name.starts_with(CLOSURE_PREFIX) {
                declared.closures.insert(name.to_owned(), function.params.len());
                // What a closure captures comes before its own parameters and is declared elsewhere, or nowhere.
                let own = function.params.iter().skip(declared.captured.get(name).copied().unwrap_or(0));
                declared.variables.extend(own.map(ToString::to_string));
            } else {
                declared.variables.extend(function.params.iter().map(ToString::to_string));
                declared.functions.entry(name.to_owned()).or_default().push(function.params.len());
            }
        }
        declared
    }

    /// Whether Rhai's optimiser would put the value of a constant where its name must stay: it knows of no scopes but those of
    /// `let`, and panics when it runs what assigns to a value.
    pub(super) fn misleads_the_optimiser(&self) -> bool {
        !self.constants.is_disjoint(&self.kept_as_names)
    }

    fn statement(&mut self, statement: &Stmt) {
        match statement {
            Stmt::Var(variable, flags, _) => {
                if flags.contains(ASTFlags::CONSTANT) {
                    self.constants.insert(variable.0.name.to_string());
                }
                self.variables.insert(variable.0.name.to_string());
            }
            Stmt::For(each, ..) => {
                let names = std::iter::once(&each.0).chain(&each.1).map(|variable| variable.name.to_string());
                self.kept_as_names.extend(names.clone());
                self.variables.extend(names);
            }
            Stmt::TryCatch(block, ..) => {
                if let Expr::Variable(error, ..) = &block.expr {
                    self.kept_as_names.insert(error.1.to_string());
                    self.variables.insert(error.1.to_string());
                }
            }
            Stmt::FnCall(call, ..) => self.call(call),
            _ => {}
        }
    }

    fn expression(&mut self, expression: &Expr) {
        match expression {
            Expr::Map(map, ..) => self.members.extend(map.0.iter().map(|(key, _)| key.name.to_string())),
            Expr::Property(property, ..) => drop(self.members.insert(property.2.to_string())),
            Expr::StringConstant(text, ..) => drop(self.members.insert(text.to_string())),
            Expr::FnCall(call, ..) => self.call(call),
            Expr::Variable(variable, None, _) if variable.0.is_none() => {
                self.read_as_values.insert(variable.1.to_string());
            }
            _ => {}
        }
    }

    fn call(&mut self, call: &FnCallExpr) {
        if call.capture_parent_scope {
            self.seeing_callers.insert(call.name.to_string());
        }
        if matches!(call.name.as_str(), "is_def_var" | "is_def_fn")
            && let [Expr::StringConstant(name, ..), ..] = call.args.as_ref()
        {
            self.asked_for.insert(name.to_string());
        }
    }
}

/// The variable of which `target` is a part, if it is directly within it: `a.b`, `a[0]`.
fn part_of(target: &Expr) -> Option<&str> {
    let (pair, is_direct) = match target {
        Expr::Dot(pair, ..) => (pair, matches!(pair.rhs, Expr::Property(..))),
        // What stands in brackets can be a chain itself.
        Expr::Index(pair, flags, _) => {
            (pair, flags.contains(ASTFlags::BREAK) || !matches!(pair.rhs, Expr::Dot(..) | Expr::Index(..)))
        }
        _ => return None,
    };
    match &pair.lhs {
        Expr::Variable(variable, ..) if is_direct => Some(variable.1.as_str()),
        _ => None,
    }
}

/// The name of a closure and how many variables it captures. Rhai makes a block of a capturing closure: first the
/// variables become shared, then they are curried into it.
pub(super) fn captures(expression: &Expr) -> Option<(String, usize)> {
    let Expr::Stmt(block) = expression else { return None };
    let [Stmt::Share(_), Stmt::Expr(curried)] = block.statements() else { return None };
    let Expr::FnCall(curry, ..) = curried.as_ref() else { return None };
    let [Expr::DynamicConstant(function, ..), captured @ ..] = curry.args.as_ref() else { return None };
    let function = Dynamic::read_lock::<FnPtr>(function)?;
    Some((function.fn_name().to_owned(), captured.len()))
}
