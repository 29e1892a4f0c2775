//! The declarations of a script: functions, variables, and member names of values.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rhai::{AST, ASTFlags, ASTNode, Dynamic, Expr, FnCallExpr, FnPtr, Stmt};

use super::{CLOSURE_PREFIX, walk};

/// The declarations of a script.
#[derive(Default)]
pub(crate) struct Declarations {
    /// The total number of statements.
    pub(crate) statements: usize,
    /// The named functions with their argument counts.
    pub(crate) functions: BTreeMap<String, Vec<usize>>,
    /// All variables, for suggestions, not for scopes.
    pub(crate) variables: BTreeSet<String>,
    /// Names under which a value can hold a function: keys, properties, strings.
    pub(crate) members: BTreeSet<String>,
    /// The constants, which functions reach as `global::NAME`.
    pub(crate) constants: BTreeSet<String>,
    /// Variables and functions that are tested with `is_def_var` and `is_def_fn`.
    pub(crate) tested_names: BTreeSet<String>,
    /// Functions called as `f!()`, which see the variables of their caller.
    pub(crate) caller_scope_functions: BTreeSet<String>,
    /// The words of removed code that does not parse; each of them can be a declaration.
    pub(crate) removed: HashSet<String>,
    /// The number of captured variables per closure. Their names come before its own parameters.
    pub(crate) captured: BTreeMap<String, usize>,
    /// The number of parameters per closure, including captured variables.
    pub(crate) closures: BTreeMap<String, usize>,
    /// Names that cannot be replaced by the value of a constant: variables of a loop or a `catch`, and assignment
    /// targets.
    pub(crate) assigned_names: BTreeSet<String>,
    /// Names that are read as values but are no variables, such as functions that are passed on.
    pub(crate) read_as_values: BTreeSet<String>,
}

impl Declarations {
    pub(crate) fn of(ast: &AST) -> Self {
        let mut declarations = Self::default();
        walk(ast, &mut |body, path| match path.last() {
            Some(ASTNode::Stmt(statement)) => {
                declarations.statements += 1;
                declarations.statement(statement);
                if let Stmt::Assignment(assignment) = statement
                    && let Some(name) = part_of(&assignment.1.lhs)
                    && !body.function.is_some_and(|function| function.params.iter().any(|own| own == name))
                {
                    declarations.assigned_names.insert(name.to_owned());
                }
            }
            Some(ASTNode::Expr(expression)) => {
                declarations.expression(expression);
                declarations.captured.extend(captures(expression));
            }
            _ => {}
        });
        for function in ast.iter_fn_def() {
            let name = function.name.as_str();
            if name.starts_with(CLOSURE_PREFIX) {
                declarations.closures.insert(name.to_owned(), function.params.len());
                // Captured variables come before the own parameters, and are declared elsewhere or nowhere.
                let own = function.params.iter().skip(declarations.captured.get(name).copied().unwrap_or(0));
                declarations.variables.extend(own.map(ToString::to_string));
            } else {
                declarations.variables.extend(function.params.iter().map(ToString::to_string));
                declarations.functions.entry(name.to_owned()).or_default().push(function.params.len());
            }
        }
        declarations
    }

    /// Whether Rhai's optimizer would replace the name of an assignment target by a constant value: it only knows
    /// scopes of `let`, and panics at such an assignment.
    pub(crate) fn misleads_optimizer(&self) -> bool {
        !self.constants.is_disjoint(&self.assigned_names)
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
                self.assigned_names.extend(names.clone());
                self.variables.extend(names);
            }
            Stmt::TryCatch(block, ..) => {
                if let Expr::Variable(error, ..) = &block.expr {
                    self.assigned_names.insert(error.1.to_string());
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
            self.caller_scope_functions.insert(call.name.to_string());
        }
        if matches!(call.name.as_str(), "is_def_var" | "is_def_fn")
            && let [Expr::StringConstant(name, ..), ..] = call.args.as_ref()
        {
            self.tested_names.insert(name.to_string());
        }
    }
}

/// The variable of which `target` is a direct part: `a.b`, `a[0]`.
fn part_of(target: &Expr) -> Option<&str> {
    let (pair, is_direct) = match target {
        Expr::Dot(pair, ..) => (pair, matches!(pair.rhs, Expr::Property(..))),
        // The index itself can be a chain.
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

/// The name of a closure and its number of captured variables. Rhai represents a capturing closure as a block that
/// first shares the variables and then curries them.
pub(crate) fn captures(expression: &Expr) -> Option<(String, usize)> {
    let Expr::Stmt(block) = expression else { return None };
    let [Stmt::Share(_), Stmt::Expr(curried)] = block.statements() else { return None };
    let Expr::FnCall(curry, ..) = curried.as_ref() else { return None };
    let [Expr::DynamicConstant(function, ..), captured @ ..] = curry.args.as_ref() else { return None };
    let function = Dynamic::read_lock::<FnPtr>(function)?;
    Some((function.fn_name().to_owned(), captured.len()))
}
