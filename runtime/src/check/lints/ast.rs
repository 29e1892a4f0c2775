//! The syntax tree of a script, body by body.
//!
//! Rhai's own walk only lends its nodes for each call; these live as long as [`Bodies`], so that findings can
//! reference them.

use rhai::{AST, ASTFlags, ASTNode, Expr, FnCallExpr, Position, ScriptFuncDef, Shared, Stmt};

use crate::check::{CLOSURE_PREFIX, separate_functions};

/// The bodies of a script and of its functions.
pub(super) struct Bodies<'s> {
    script: &'s [Stmt],
    functions: Vec<Function>,
}

struct Function {
    definition: Shared<ScriptFuncDef>,
    statements: Vec<Stmt>,
}

/// A body of statements.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    /// The function; `None` for the script itself.
    pub(super) function: Option<&'a ScriptFuncDef>,
    pub(super) statements: &'a [Stmt],
}

impl<'s> Bodies<'s> {
    /// Copies the bodies of functions, which only Rhai's own walk can access.
    pub(super) fn of(ast: &'s AST) -> Self {
        let functions = separate_functions(ast).map(|(definition, alone)| {
            let mut statements = Vec::new();
            alone.walk(&mut |path: &[ASTNode<'_>]| {
                if let [ASTNode::Stmt(statement)] = path {
                    statements.push((*statement).clone());
                }
                true
            });
            Function { definition: Shared::clone(definition), statements }
        });
        Self { script: ast.statements(), functions: functions.collect() }
    }

    /// The script itself, then each function.
    pub(super) fn iter(&self) -> impl Iterator<Item = Body<'_>> {
        let script = Body { function: None, statements: self.script };
        let functions = self.functions.iter();
        let functions =
            functions.map(|of| Body { function: Some(&*of.definition), statements: &of.statements });
        std::iter::once(script).chain(functions)
    }

    /// Passes every node to `visit`, with its ancestors, outermost first.
    pub(super) fn walk<'a>(&'a self, visit: &mut dyn FnMut(Body<'a>, &[ASTNode<'a>])) {
        for body in self.iter() {
            each(body.statements, &mut |path| visit(body, path));
        }
    }
}

impl Body<'_> {
    pub(super) fn is_closure(self) -> bool {
        self.function.is_some_and(|function| function.name.starts_with(CLOSURE_PREFIX))
    }
}

/// Passes every node of these statements to `visit`, with its ancestors, outermost first.
pub(super) fn each<'a>(statements: &'a [Stmt], visit: &mut dyn FnMut(&[ASTNode<'a>])) {
    let mut path = Vec::new();
    statements.iter().for_each(|statement| descend(statement.into(), &mut path, visit));
}

fn descend<'a>(node: ASTNode<'a>, path: &mut Vec<ASTNode<'a>>, visit: &mut dyn FnMut(&[ASTNode<'a>])) {
    path.push(node);
    visit(path);
    each_child(node, &mut |child| descend(child, path, visit));
    path.pop();
}

/// Passes the children of `node` to `visit`, in source order where Rhai keeps it.
fn each_child<'a>(node: ASTNode<'a>, visit: &mut dyn FnMut(ASTNode<'a>)) {
    match node {
        ASTNode::Stmt(statement) => match statement {
            Stmt::Var(variable, ..) => visit((&variable.1).into()),
            Stmt::If(flow, ..) => {
                visit((&flow.expr).into());
                flow.body.iter().chain(flow.branch.iter()).for_each(|statement| visit(statement.into()));
            }
            Stmt::TryCatch(flow, ..) => {
                flow.body.iter().chain(flow.branch.iter()).for_each(|statement| visit(statement.into()));
            }
            Stmt::Switch(switch, ..) => {
                visit((&switch.0).into());
                for case in &switch.1.expressions {
                    visit((&case.lhs).into());
                    visit((&case.rhs).into());
                }
            }
            Stmt::While(flow, ..) | Stmt::Do(flow, ..) => {
                visit((&flow.expr).into());
                flow.body.iter().for_each(|statement| visit(statement.into()));
            }
            Stmt::For(each, ..) => {
                visit((&each.2.expr).into());
                each.2.body.iter().for_each(|statement| visit(statement.into()));
            }
            Stmt::Assignment(assignment) => {
                visit((&assignment.1.lhs).into());
                visit((&assignment.1.rhs).into());
            }
            Stmt::FnCall(call, ..) => call.args.iter().for_each(|argument| visit(argument.into())),
            Stmt::Block(block) => block.iter().for_each(|statement| visit(statement.into())),
            Stmt::Expr(expression) => visit((&**expression).into()),
            Stmt::Return(Some(value), ..) | Stmt::BreakLoop(Some(value), ..) => visit((&**value).into()),
            Stmt::Import(import, ..) => visit((&import.0).into()),
            _ => {}
        },
        ASTNode::Expr(expression) => match expression {
            Expr::Stmt(block) => block.iter().for_each(|statement| visit(statement.into())),
            Expr::InterpolatedString(parts, ..) | Expr::Array(parts, ..) => {
                parts.iter().for_each(|part| visit(part.into()));
            }
            Expr::Map(map, ..) => map.0.iter().for_each(|(_, value)| visit(value.into())),
            Expr::Dot(chain, ..) | Expr::Index(chain, ..) => {
                visit((&chain.lhs).into());
                visit((&chain.rhs).into());
            }
            Expr::And(operands, ..) | Expr::Or(operands, ..) | Expr::Coalesce(operands, ..) => {
                operands.iter().for_each(|operand| visit(operand.into()));
            }
            Expr::FnCall(call, ..) | Expr::MethodCall(call, ..) => {
                call.args.iter().for_each(|argument| visit(argument.into()));
            }
            _ => {}
        },
        _ => {}
    }
}

/// One step of a chain such as `a.b[c].d()`.
#[derive(Clone, Copy)]
pub(super) enum Link<'a> {
    Property(&'a str, Position),
    Method(&'a FnCallExpr, Position),
    Index(&'a Expr),
}

impl<'a> Link<'a> {
    /// The key of a property or of a constant index, with its position.
    pub(super) fn key(self) -> Option<(&'a str, Position)> {
        match self {
            Self::Property(name, position) => Some((name, position)),
            Self::Index(Expr::StringConstant(name, position)) => Some((name, *position)),
            Self::Method(..) | Self::Index(_) => None,
        }
    }
}

/// The root of a chain and its steps. `None` if the expression is not a chain.
pub(super) fn chain(expression: &Expr) -> Option<(&Expr, Vec<Link<'_>>)> {
    let (Expr::Dot(pair, ..) | Expr::Index(pair, ..)) = expression else { return None };
    let (root, mut links) = chain(&pair.lhs).unwrap_or((&pair.lhs, Vec::new()));
    let mut current = expression;
    loop {
        let (pair, flags, is_index) = match current {
            Expr::Dot(pair, flags, _) => (pair, flags, false),
            Expr::Index(pair, flags, _) => (pair, flags, true),
            _ => return Some((root, links)),
        };
        // Rhai nests a chain to the right and marks its end, because an index can be a chain itself.
        let (step, rest) = match &pair.rhs {
            rest @ (Expr::Dot(next, ..) | Expr::Index(next, ..)) if !flags.contains(ASTFlags::BREAK) => {
                (&next.lhs, Some(rest))
            }
            last => (last, None),
        };
        links.push(match step {
            Expr::Property(property, position) if !is_index => Link::Property(&property.2, *position),
            Expr::MethodCall(call, position) if !is_index => Link::Method(call, *position),
            index => Link::Index(index),
        });
        match rest {
            Some(rest) => current = rest,
            None => return Some((root, links)),
        }
    }
}

/// Whether `expression` is not a part of a longer chain, by its ancestors.
pub(super) fn is_whole_chain(expression: &Expr, around: &[ASTNode<'_>]) -> bool {
    match around.last() {
        Some(ASTNode::Expr(Expr::Index(pair, flags, _))) => {
            flags.contains(ASTFlags::BREAK) && std::ptr::eq(&pair.rhs, expression)
        }
        Some(ASTNode::Expr(Expr::Dot(..))) => false,
        _ => true,
    }
}
