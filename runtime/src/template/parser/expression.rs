//! Parses expressions, from the loosest operator to the tightest.

use std::ops::Range;

use super::{Parser, RESERVED};
use crate::template::Fault;
use crate::template::ast::{Argument, Called, Expr, ExprKind, Operator};
use crate::template::filters;
use crate::template::lexer::Token;

/// The maximum nesting of an expression.
const DEPTH_MAX: usize = 24;

/// The maximum number of operators, attributes and filters in one expression, which nest too.
const OPERATORS_MAX: usize = 100;

/// The maximum number of calls in a template.
const CALLS_MAX: usize = 10_000;

/// The maximum number of items that a literal or a call holds.
const ITEMS_MAX: usize = 1000;

type Parsed<T> = Result<T, Fault>;

impl<'t> Parser<'t> {
    /// An expression that is not part of another one.
    pub(super) fn whole_expression(&mut self) -> Parsed<Expr<'t>> {
        self.operators = 0;
        self.expression()
    }

    /// The same without `if` and `else`.
    pub(super) fn whole_operand(&mut self) -> Parsed<Expr<'t>> {
        self.operators = 0;
        self.binary(0)
    }

    fn expression(&mut self) -> Parsed<Expr<'t>> {
        self.expression_depth += 1;
        if self.expression_depth > DEPTH_MAX {
            let message = format!("the expression is nested deeper than {DEPTH_MAX} levels");
            return Err(Fault::new(self.at..self.at, message));
        }
        let mut value = self.binary(0)?;
        if self.skip_name("if")? {
            self.operator()?;
            let condition = self.binary(0)?;
            let otherwise = if self.skip_name("else")? { Some(Box::new(self.expression()?)) } else { None };
            let at = value.at.start..self.at;
            let kind = ExprKind::Conditional { condition: condition.into(), value: value.into(), otherwise };
            value = Expr { at, kind };
        }
        self.expression_depth -= 1;
        Ok(value)
    }

    /// Counts an operator.
    fn operator(&mut self) -> Parsed<()> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            let message = format!("the expression has more than {OPERATORS_MAX} operators");
            return Err(Fault::new(self.at..self.at, message).with_help("compute it in the script"));
        }
        Ok(())
    }

    /// Binary operators of this level or a tighter one.
    fn binary(&mut self, level: usize) -> Parsed<Expr<'t>> {
        const TIGHTEST: usize = 6;
        if level == 2 && self.skip_name("not")? {
            self.operator()?;
            let start = self.at;
            let value = self.binary(2)?;
            return Ok(Expr { at: start..value.at.end, kind: ExprKind::Not(value.into()) });
        }
        if level == TIGHTEST {
            return self.unary();
        }
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = self.operator_of(level)? {
            self.operator()?;
            let right = self.binary(level + 1)?;
            let at = left.at.start..right.at.end;
            left = Expr { at, kind: ExprKind::Binary(operator, left.into(), right.into()) };
        }
        Ok(left)
    }

    /// Skips an operator of this level.
    fn operator_of(&mut self, level: usize) -> Parsed<Option<Operator>> {
        let token = self.peek()?.0.clone();
        let operator = match (level, token) {
            (0, Token::Name("or")) => Operator::Or,
            (1, Token::Name("and")) => Operator::And,
            (2, Token::Symbol("==")) => Operator::Equal,
            (2, Token::Symbol("!=")) => Operator::NotEqual,
            (2, Token::Symbol("<")) => Operator::Less,
            (2, Token::Symbol("<=")) => Operator::LessOrEqual,
            (2, Token::Symbol(">")) => Operator::Greater,
            (2, Token::Symbol(">=")) => Operator::GreaterOrEqual,
            (2, Token::Name("in")) => Operator::In,
            (2, Token::Name("not")) => {
                self.next()?;
                if !self.skip_name("in")? {
                    return self.unexpected("`in`");
                }
                return Ok(Some(Operator::NotIn));
            }
            (3, Token::Symbol("~")) => Operator::Concatenate,
            (4, Token::Symbol("+")) => Operator::Add,
            (4, Token::Symbol("-")) => Operator::Subtract,
            (5, Token::Symbol("*")) => Operator::Multiply,
            (5, Token::Symbol("/")) => Operator::Divide,
            (5, Token::Symbol("//")) => Operator::FloorDivide,
            (5, Token::Symbol("%")) => Operator::Remainder,
            _ => return Ok(None),
        };
        self.next()?;
        Ok(Some(operator))
    }

    /// A value with its properties, filters and tests. Filters and tests apply to a negated value.
    fn unary(&mut self) -> Parsed<Expr<'t>> {
        let start = self.peek()?.1.start;
        let value = self.negated()?;
        self.suffixes(start, value, true)
    }

    fn negated(&mut self) -> Parsed<Expr<'t>> {
        let start = self.peek()?.1.start;
        if self.skip("-")? {
            self.operator()?;
            let value = self.negated()?;
            return Ok(Expr { at: start..value.at.end, kind: ExprKind::Negate(value.into()) });
        }
        let value = self.primary()?;
        self.suffixes(start, value, false)
    }

    fn suffixes(&mut self, start: usize, mut value: Expr<'t>, filters: bool) -> Parsed<Expr<'t>> {
        loop {
            if self.skip(".")? {
                let (name, at) = match self.next()? {
                    (Token::Name(name), at) => (name, at),
                    (_, at) => return Err(Fault::new(at, "expected a name after `.`".to_owned())),
                };
                value = Expr { at: start..at.end, kind: ExprKind::Attribute(value.into(), name) };
            } else if self.skip("[")? {
                let index = self.expression()?;
                self.expect("]")?;
                value = Expr { at: start..self.at, kind: ExprKind::Index(value.into(), index.into()) };
            } else if self.skip("(")? {
                self.note_call(&value)?;
                let arguments = self.arguments()?;
                value = Expr { at: start..self.at, kind: ExprKind::Call(value.into(), arguments) };
            } else if filters && self.skip("|")? {
                value = self.filter(value)?;
            } else if filters && self.skip_name("is")? {
                value = self.test(value)?;
            } else {
                return Ok(value);
            }
            self.operator()?;
        }
    }

    /// Notes what is called, for the checks.
    fn note_call(&mut self, callee: &Expr<'t>) -> Parsed<()> {
        let at = callee.at.clone();
        let (module, name) = match &callee.kind {
            ExprKind::Variable(name) => (None, *name),
            ExprKind::Attribute(module, name) => match module.kind {
                ExprKind::Variable(module) => (Some(module), *name),
                _ => return Err(Fault::new(at, "only macros can be called".to_owned())),
            },
            _ => return Err(Fault::new(at, "only macros can be called".to_owned())),
        };
        if self.ast.calls.len() >= CALLS_MAX {
            return Err(Fault::new(at, format!("the template has more than {CALLS_MAX} calls")));
        }
        self.ast.calls.push(Called { module, name, at });
        Ok(())
    }

    /// The name and the arguments of a filter.
    fn filter(&mut self, value: Expr<'t>) -> Parsed<Expr<'t>> {
        let (token, at) = self.next()?;
        let Token::Name(name) = token else {
            return Err(Fault::new(at, "expected the name of a filter after `|`".to_owned()));
        };
        let arguments = if self.skip("(")? { self.arguments()? } else { Vec::new() };
        let whole = value.at.start..self.at.max(at.end);
        let Some(filter) = filters::filter(name) else {
            let fault = Fault::new(at, format!("unknown filter `{name}`"));
            self.faults.push(fault.with_known(name, filters::filter_names()));
            return Ok(Expr { at: whole, ..value });
        };
        if let Some(named) = arguments.iter().find(|argument| argument.name.is_some()) {
            let message = format!("filter `{name}` has no named arguments");
            self.faults.push(Fault::new(named.value.at.clone(), message));
        } else if !filter.arguments.contains(&arguments.len()) {
            let (least, most) = (filter.arguments.start(), filter.arguments.end());
            let takes = if least == most { least.to_string() } else { format!("{least} to {most}") };
            let message = format!("filter `{name}` takes {takes} arguments, not {}", arguments.len());
            self.faults.push(Fault::new(at, message));
        }
        let arguments = arguments.into_iter().map(|argument| argument.value).collect();
        Ok(Expr { at: whole, kind: ExprKind::Filter(value.into(), filter, arguments) })
    }

    /// `not`, the name and the argument of a test.
    fn test(&mut self, value: Expr<'t>) -> Parsed<Expr<'t>> {
        let negated = self.skip_name("not")?;
        let (token, at) = self.next()?;
        let Token::Name(name) = token else {
            return Err(Fault::new(at, "expected the name of a test after `is`".to_owned()));
        };
        let Some(test) = filters::test(name) else {
            let fault = Fault::new(at, format!("unknown test `{name}`"));
            self.faults.push(fault.with_known(name, filters::test_names()));
            return Ok(value);
        };
        let argument = if test.has_argument {
            self.expect("(")?;
            let argument = self.expression()?;
            self.expect(")")?;
            Some(Box::new(argument))
        } else {
            None
        };
        let at = value.at.start..self.at;
        Ok(Expr { at, kind: ExprKind::Test { value: value.into(), test, argument, negated } })
    }

    /// The arguments after `(`.
    fn arguments(&mut self) -> Parsed<Vec<Argument<'t>>> {
        let mut arguments = Vec::new();
        while !self.skip(")")? {
            let value = self.expression()?;
            let argument = match value.kind {
                ExprKind::Variable(name) if self.skip("=")? => {
                    Argument { name: Some(name), value: self.expression()? }
                }
                _ => Argument { name: None, value },
            };
            let is_after_named = arguments.last().is_some_and(|last: &Argument<'_>| last.name.is_some());
            if argument.name.is_none() && is_after_named {
                let message = "named arguments come last".to_owned();
                return Err(Fault::new(argument.value.at, message));
            }
            arguments.push(argument);
            self.limit_items(arguments.len())?;
            if !self.skip(",")? {
                self.expect(")")?;
                break;
            }
        }
        Ok(arguments)
    }

    fn limit_items(&mut self, items: usize) -> Parsed<()> {
        if items > ITEMS_MAX {
            let message = format!("more than {ITEMS_MAX} items");
            return Err(Fault::new(self.at..self.at, message).with_help("pass them from the script"));
        }
        Ok(())
    }

    fn primary(&mut self) -> Parsed<Expr<'t>> {
        let (token, at) = self.peek()?.clone();
        let kind = match token {
            Token::Text(text) => ExprKind::Text(text),
            Token::Integer(integer) => ExprKind::Integer(integer),
            Token::Float(float) => ExprKind::Float(float),
            Token::Name("true" | "True") => ExprKind::Bool(true),
            Token::Name("false" | "False") => ExprKind::Bool(false),
            Token::Name("none" | "None") => ExprKind::Nothing,
            Token::Name(name) if !RESERVED.contains(&name) || matches!(name, "loop" | "super") => {
                ExprKind::Variable(name)
            }
            Token::Symbol("(") => {
                self.next()?;
                let value = self.expression()?;
                self.expect(")")?;
                return Ok(Expr { at: at.start..self.at, ..value });
            }
            Token::Symbol("[") => return self.list(at),
            Token::Symbol("{") => return self.map(at),
            _ => return self.unexpected("a value"),
        };
        self.next()?;
        Ok(Expr { at, kind })
    }

    fn list(&mut self, at: Range<usize>) -> Parsed<Expr<'t>> {
        self.next()?;
        let mut items = Vec::new();
        while !self.skip("]")? {
            items.push(self.expression()?);
            self.limit_items(items.len())?;
            if !self.skip(",")? {
                self.expect("]")?;
                break;
            }
        }
        Ok(Expr { at: at.start..self.at, kind: ExprKind::List(items) })
    }

    fn map(&mut self, at: Range<usize>) -> Parsed<Expr<'t>> {
        self.next()?;
        let mut entries = Vec::new();
        while !self.skip("}")? {
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?));
            self.limit_items(entries.len())?;
            if !self.skip(",")? {
                self.expect("}")?;
                break;
            }
        }
        Ok(Expr { at: at.start..self.at, kind: ExprKind::Map(entries) })
    }
}
