//! The syntax tree of a template. It borrows from the text.

use std::borrow::Cow;
use std::ops::Range;

use super::filters::{Filter, Test};

/// A template that parses.
#[derive(Debug, Default)]
pub(super) struct Ast<'t> {
    /// The template that it extends.
    pub(super) extends: Option<TemplateName<'t>>,
    pub(super) body: Vec<Node<'t>>,
    pub(super) macros: Vec<Macro<'t>>,
    pub(super) imports: Vec<Import<'t>>,
    /// What is called anywhere in the template, for the checks.
    pub(super) calls: Vec<Called<'t>>,
}

/// `name(...)` or `module.name(...)`
#[derive(Debug)]
pub(super) struct Called<'t> {
    pub(super) module: Option<&'t str>,
    pub(super) name: &'t str,
    pub(super) at: Range<usize>,
}

/// The name of a template, always written as a literal.
#[derive(Clone, Debug)]
pub(super) struct TemplateName<'t> {
    pub(super) name: &'t str,
    /// The literal with its quotes.
    pub(super) at: Range<usize>,
}

/// A macro: a part of a template with parameters.
#[derive(Debug)]
pub(super) struct Macro<'t> {
    pub(super) name: &'t str,
    pub(super) parameters: Vec<(&'t str, Option<Expr<'t>>)>,
    pub(super) body: Vec<Node<'t>>,
}

/// `{% import "a.html" as alias %}`, or one name of `{% from "a.html" import name as alias %}`.
#[derive(Debug)]
pub(super) struct Import<'t> {
    pub(super) from: TemplateName<'t>,
    /// The macro with its place; `None` for all macros.
    pub(super) name: Option<(&'t str, Range<usize>)>,
    pub(super) alias: &'t str,
}

#[derive(Debug)]
pub(super) enum Node<'t> {
    Text(&'t str),
    Write(Expr<'t>),
    If { branches: Vec<(Expr<'t>, Vec<Node<'t>>)>, otherwise: Vec<Node<'t>> },
    For(Box<For<'t>>),
    Set { name: &'t str, value: Expr<'t> },
    SetBlock { name: &'t str, body: Vec<Node<'t>> },
    Block { name: &'t str, at: Range<usize>, body: Vec<Node<'t>> },
    Include(TemplateName<'t>),
}

/// `{% for item in list if condition %}`, or `{% for key, value in map %}`.
#[derive(Debug)]
pub(super) struct For<'t> {
    pub(super) targets: Vec<&'t str>,
    pub(super) items: Expr<'t>,
    pub(super) condition: Option<Expr<'t>>,
    pub(super) body: Vec<Node<'t>>,
    pub(super) otherwise: Vec<Node<'t>>,
}

#[derive(Debug)]
pub(super) struct Expr<'t> {
    pub(super) at: Range<usize>,
    pub(super) kind: ExprKind<'t>,
}

#[derive(Debug)]
pub(super) enum ExprKind<'t> {
    Nothing,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Cow<'t, str>),
    Variable(&'t str),
    List(Vec<Expr<'t>>),
    Map(Vec<(Expr<'t>, Expr<'t>)>),
    Attribute(Box<Expr<'t>>, &'t str),
    Index(Box<Expr<'t>>, Box<Expr<'t>>),
    Call(Box<Expr<'t>>, Vec<Argument<'t>>),
    Filter(Box<Expr<'t>>, &'static Filter, Vec<Expr<'t>>),
    Test {
        value: Box<Expr<'t>>,
        test: &'static Test,
        argument: Option<Box<Expr<'t>>>,
        negated: bool,
    },
    Not(Box<Expr<'t>>),
    Negate(Box<Expr<'t>>),
    Binary(Operator, Box<Expr<'t>>, Box<Expr<'t>>),
    /// `value if condition else otherwise`
    Conditional {
        condition: Box<Expr<'t>>,
        value: Box<Expr<'t>>,
        otherwise: Option<Box<Expr<'t>>>,
    },
}

/// An argument of a macro, possibly named.
#[derive(Debug)]
pub(super) struct Argument<'t> {
    pub(super) name: Option<&'t str>,
    pub(super) value: Expr<'t>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Concatenate,
}

impl Operator {
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::NotIn => "not in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::FloorDivide => "//",
            Self::Remainder => "%",
            Self::Concatenate => "~",
        }
    }
}

impl<'t> Ast<'t> {
    /// Passes every node to `visit`, those in bodies too.
    pub(super) fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Node<'t>)) {
        walk_nodes(&self.body, visit);
        for made in &self.macros {
            walk_nodes(&made.body, visit);
        }
    }
}

/// Passes nodes and those in their bodies to `visit`. Nesting is limited by the parser.
pub(super) fn walk_nodes<'a, 't>(nodes: &'a [Node<'t>], visit: &mut dyn FnMut(&'a Node<'t>)) {
    for node in nodes {
        visit(node);
        match node {
            Node::If { branches, otherwise } => {
                for (_, body) in branches {
                    walk_nodes(body, visit);
                }
                walk_nodes(otherwise, visit);
            }
            Node::For(repeated) => {
                walk_nodes(&repeated.body, visit);
                walk_nodes(&repeated.otherwise, visit);
            }
            Node::SetBlock { body, .. } | Node::Block { body, .. } => walk_nodes(body, visit),
            Node::Text(_) | Node::Write(_) | Node::Set { .. } | Node::Include(_) => {}
        }
    }
}

impl<'t> Ast<'t> {
    /// The templates that this one names: the one that it extends, imports, and included ones.
    pub(super) fn names(&self) -> Vec<TemplateName<'t>> {
        let mut names: Vec<_> = self.extends.iter().cloned().collect();
        names.extend(self.imports.iter().map(|import| import.from.clone()));
        self.walk(&mut |node| {
            if let Node::Include(of) = node {
                names.push(of.clone());
            }
        });
        names
    }
}
