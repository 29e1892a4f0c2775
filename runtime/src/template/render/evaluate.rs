//! Evaluates expressions.
//!
//! A variable or a key that does not exist is an error, except for `is defined`, `is undefined` and the filter
//! `default`.

use std::ops::Range;

use manifest_schema::diagnostic::Suggestions;

use super::{Rendered, Renderer, limit_length};
use crate::template::ast::{Argument, Expr, ExprKind, Operator};
use crate::template::filters::{DEFINED, UNDEFINED};
use crate::template::value::{
    Loop, Text, Value, charge_new_bytes, charge_new_items, contains, equal, escape_into, escaped_length,
    order,
};

/// The maximum number of items of `range`.
const RANGE_MAX: i64 = 10_000;

/// The maximum length of code in a message, in characters.
const CODE_MAX: usize = 60;

impl<'t> Renderer<'t> {
    /// The value of an expression.
    pub(super) fn evaluate(&mut self, expression: &'t Expr<'t>) -> Rendered<Value<'t>> {
        self.charge(4)?;
        let at = &expression.at;
        Ok(match &expression.kind {
            ExprKind::Nothing => Value::Nothing,
            ExprKind::Bool(bool) => Value::Bool(*bool),
            ExprKind::Integer(integer) => Value::Integer(*integer),
            ExprKind::Float(float) => Value::Float(*float),
            ExprKind::Text(text) => Value::Text(Text::literal(text)),
            ExprKind::Variable(_) | ExprKind::Attribute(..) | ExprKind::Index(..) => {
                match self.find(expression, true)? {
                    Some(value) => value,
                    None => return self.undefined(expression),
                }
            }
            ExprKind::List(items) => {
                let items = items.iter().map(|item| self.evaluate(item)).collect::<Rendered<Vec<_>>>()?;
                self.place(at, Value::list(items))?
            }
            ExprKind::Map(entries) => self.map(entries, at)?,
            ExprKind::Call(callee, arguments) => self.call(callee, arguments, at)?,
            ExprKind::Filter(value, filter, arguments) => {
                let value = match filter.is_default() {
                    true => self.find(value, false)?.unwrap_or(Value::Nothing),
                    false => self.evaluate(value)?,
                };
                let arguments =
                    arguments.iter().map(|argument| self.evaluate(argument)).collect::<Rendered<Vec<_>>>()?;
                self.place(at, filter.apply(&value, &arguments))?
            }
            ExprKind::Test { value, test, argument, negated } => {
                let holds = match test.name {
                    DEFINED => self.find(value, false)?.is_some(),
                    UNDEFINED => self.find(value, false)?.is_none(),
                    _ => {
                        let value = self.evaluate(value)?;
                        let argument = match argument {
                            Some(argument) => self.evaluate(argument)?,
                            None => Value::Nothing,
                        };
                        self.place(at, test.apply(&value, &argument))?
                    }
                };
                Value::Bool(holds != *negated)
            }
            ExprKind::Not(value) => Value::Bool(!self.evaluate(value)?.is_true()),
            ExprKind::Negate(value) => match self.evaluate(value)? {
                Value::Integer(integer) => match integer.checked_neg() {
                    Some(integer) => Value::Integer(integer),
                    None => return self.fail(at, "the result does not fit into 64 bits"),
                },
                Value::Float(float) => Value::Float(-float),
                value => return self.fail(at, format!("`-` cannot be used with {}", value.kind())),
            },
            ExprKind::Binary(operator, left, right) => self.binary(*operator, left, right, at)?,
            ExprKind::Conditional { condition, value, otherwise } => {
                if self.evaluate(condition)?.is_true() {
                    self.evaluate(value)?
                } else {
                    match otherwise {
                        Some(otherwise) => self.evaluate(otherwise)?,
                        None => Value::Nothing,
                    }
                }
            }
        })
    }

    /// The value of a variable, a property or an item, if it exists; of any other expression its value. If it is
    /// `required`, what it is a part of must exist.
    fn find(&mut self, expression: &'t Expr<'t>, required: bool) -> Rendered<Option<Value<'t>>> {
        self.charge(4)?;
        let at = &expression.at;
        match &expression.kind {
            ExprKind::Variable(name) => self.variable(name),
            ExprKind::Attribute(of, name) => {
                let Some(of_value) = self.part_of(of, required)? else { return Ok(None) };
                match &of_value {
                    Value::Map(_) | Value::Loop(_) => Ok(of_value.get(name)),
                    _ if !required => Ok(None),
                    other => {
                        let message = format!(
                            "cannot read `{name}` of `{}`: it is {}",
                            self.code(&of.at),
                            other.kind()
                        );
                        self.fail(at, message)
                    }
                }
            }
            ExprKind::Index(of, index) => {
                let Some(of_value) = self.part_of(of, required)? else { return Ok(None) };
                let index = self.evaluate(index)?;
                match (&of_value, &index) {
                    (Value::Map(_), Value::Text(key)) => Ok(of_value.get(key.as_str())),
                    (Value::List(list), Value::Integer(index)) => {
                        let length = i64::try_from(list.items.len()).unwrap_or(i64::MAX);
                        let place = if *index < 0 { length.saturating_add(*index) } else { *index };
                        Ok(usize::try_from(place).ok().and_then(|place| list.items.get(place)).cloned())
                    }
                    _ if !required => Ok(None),
                    (of, index) => {
                        let message = format!("cannot read {} with {} as index", of.kind(), index.kind());
                        self.fail(at, message)
                    }
                }
            }
            _ => self.evaluate(expression).map(Some),
        }
    }

    fn part_of(&mut self, of: &'t Expr<'t>, required: bool) -> Rendered<Option<Value<'t>>> {
        if required { self.evaluate(of).map(Some) } else { self.find(of, false) }
    }

    /// Code for a message, on one line.
    fn code(&self, at: &Range<usize>) -> String {
        let code = self.source(at);
        let shown: String = code.chars().take(CODE_MAX).flat_map(char::escape_debug).collect();
        if code.chars().nth(CODE_MAX).is_some() { shown + "…" } else { shown }
    }

    /// The error of a variable, a property or an item that does not exist.
    fn undefined<T>(&mut self, expression: &'t Expr<'t>) -> Rendered<T> {
        let at = &expression.at;
        let code = self.code(at);
        let mut suggestions = Suggestions::default();
        let near = match &expression.kind {
            ExprKind::Variable(name) if self.find_macro(None, name).is_some() => {
                return self.fail(at, format!("`{name}` is a macro; call it as `{name}(...)`"));
            }
            ExprKind::Variable(name) => {
                suggestions.typo(name, self.variable_names().iter().copied()).map(str::to_owned)
            }
            ExprKind::Attribute(of, name) => match self.find(of, false)? {
                Some(Value::Map(map)) => {
                    let keys = map.entries.iter().take(1000).map(|(key, _)| key.as_str());
                    suggestions.typo(name, keys).map(str::to_owned)
                }
                Some(Value::Loop(_)) => suggestions.typo(name, Loop::NAMES.into_iter()).map(str::to_owned),
                _ => None,
            },
            _ => None,
        };
        let help = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        self.fail(at, format!("`{code}` is not defined{help}"))
    }

    fn map(&mut self, entries: &'t [(Expr<'t>, Expr<'t>)], at: &Range<usize>) -> Rendered<Value<'t>> {
        let mut made = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key_value = self.evaluate(key)?;
            let Value::Text(text) = &key_value else {
                return self.fail(&key.at, format!("a key must be a string, not {}", key_value.kind()));
            };
            self.place(&key.at, charge_new_bytes(text.as_str().len()))?;
            made.push((text.as_str().into(), self.evaluate(value)?));
        }
        self.place(at, Value::map(made))
    }

    fn call(
        &mut self,
        callee: &'t Expr<'t>,
        arguments: &'t [Argument<'t>],
        at: &Range<usize>,
    ) -> Rendered<Value<'t>> {
        let (module, name) = match &callee.kind {
            ExprKind::Variable("super") if arguments.is_empty() => return self.super_block(at),
            ExprKind::Variable("range") if self.find_macro(None, "range").is_none() => {
                return self.range(arguments, at);
            }
            ExprKind::Variable(name) => (None, *name),
            ExprKind::Attribute(module, name) => match &module.kind {
                ExprKind::Variable("loop") if *name == "cycle" => return self.cycle(module, arguments, at),
                ExprKind::Variable(module) => (Some(*module), *name),
                _ => return self.fail(at, "only macros can be called"),
            },
            _ => return self.fail(at, "only macros can be called"),
        };
        let Some((file, made)) = self.find_macro(module, name) else {
            let code = self.code(&callee.at);
            return self.fail(&callee.at, format!("unknown function `{code}`; only macros can be called"));
        };
        let mut values: Vec<Option<Value<'t>>> = made.parameters.iter().map(|_| None).collect();
        for (index, argument) in arguments.iter().enumerate() {
            let place = match argument.name {
                None => Some(index),
                Some(name) => made.parameters.iter().position(|(parameter, _)| *parameter == name),
            };
            let value = self.evaluate(&argument.value)?;
            match place.and_then(|place| values.get_mut(place)) {
                Some(free @ None) => *free = Some(value),
                Some(Some(_)) => return self.fail(&argument.value.at, "the argument is passed twice"),
                None => {
                    let message = match argument.name {
                        Some(argument) => format!("macro `{name}` has no parameter `{argument}`"),
                        None => format!("macro `{name}` takes {} arguments at most", made.parameters.len()),
                    };
                    return self.fail(&argument.value.at, message);
                }
            }
        }
        self.call_macro(file, made, values, at)
    }

    /// `range(end)` or `range(start, end)`, without the end.
    fn range(&mut self, arguments: &'t [Argument<'t>], at: &Range<usize>) -> Rendered<Value<'t>> {
        let mut bounds = Vec::new();
        for argument in arguments {
            match (argument.name, self.evaluate(&argument.value)?) {
                (None, Value::Integer(bound)) => bounds.push(bound),
                _ => return self.fail(&argument.value.at, "`range` takes integers"),
            }
        }
        let (start, end) = match bounds.as_slice() {
            [end] => (0, *end),
            [start, end] => (*start, *end),
            _ => return self.fail(at, "`range` takes 1 or 2 arguments"),
        };
        let length = end.saturating_sub(start).max(0);
        if length > RANGE_MAX {
            return self.fail(at, format!("`range` makes {RANGE_MAX} numbers at most"));
        }
        self.place(at, charge_new_items(usize::try_from(length).unwrap_or_default()))?;
        self.place(at, Value::list((start..start.saturating_add(length)).map(Value::Integer).collect()))
    }

    /// `loop.cycle("odd", "even")`
    fn cycle(
        &mut self,
        of: &'t Expr<'t>,
        arguments: &'t [Argument<'t>],
        at: &Range<usize>,
    ) -> Rendered<Value<'t>> {
        match self.find(of, true)? {
            Some(Value::Loop(repeated)) if !arguments.is_empty() => {
                self.evaluate(&arguments[repeated.index % arguments.len()].value)
            }
            Some(Value::Loop(_)) => self.fail(at, "`loop.cycle` takes at least 1 argument"),
            _ => self.undefined(of),
        }
    }

    fn binary(
        &mut self,
        operator: Operator,
        left: &'t Expr<'t>,
        right: &'t Expr<'t>,
        at: &Range<usize>,
    ) -> Rendered<Value<'t>> {
        let a = self.evaluate(left)?;
        match operator {
            Operator::And if !a.is_true() => return Ok(a),
            Operator::Or if a.is_true() => return Ok(a),
            _ => {}
        }
        let b = self.evaluate(right)?;
        let made = match operator {
            Operator::And | Operator::Or => return Ok(b),
            Operator::Equal => equal(&a, &b),
            Operator::NotEqual => equal(&a, &b).map(|equal| !equal),
            Operator::Less => order(&a, &b).map(|order| order.is_lt()),
            Operator::LessOrEqual => order(&a, &b).map(|order| order.is_le()),
            Operator::Greater => order(&a, &b).map(|order| order.is_gt()),
            Operator::GreaterOrEqual => order(&a, &b).map(|order| order.is_ge()),
            Operator::In => contains(&b, &a),
            Operator::NotIn => contains(&b, &a).map(|contained| !contained),
            Operator::Concatenate => return self.concatenate(&a, &b, at),
            Operator::Add if matches!((&a, &b), (Value::Text(_), Value::Text(_))) => {
                return self.concatenate(&a, &b, at);
            }
            _ => return self.arithmetic(operator, &a, &b, at),
        };
        self.place(at, made).map(Value::Bool)
    }

    /// Joins two texts. If one of them is safe HTML, the other one is escaped.
    fn concatenate(&mut self, a: &Value<'t>, b: &Value<'t>, at: &Range<usize>) -> Rendered<Value<'t>> {
        let (Some(first), Some(second)) = (a.scalar_text(), b.scalar_text()) else {
            let message = format!("`~` cannot be used with {} and {}", a.kind(), b.kind());
            return self.fail(at, message);
        };
        let is_safe = (first.is_safe || second.is_safe) && self.escapes();
        self.place(at, limit_length(first.as_str().len().max(second.as_str().len())))?;
        let length = |text: &Text<'_>| match is_safe && !text.is_safe {
            true => escaped_length(text.as_str()),
            false => text.as_str().len(),
        };
        let total = length(&first) + length(&second);
        self.place(at, limit_length(total))?;
        self.place(at, charge_new_bytes(total))?;
        let mut joined = String::with_capacity(total);
        for text in [&first, &second] {
            if is_safe && !text.is_safe {
                escape_into(text.as_str(), &mut joined);
            } else {
                joined.push_str(text.as_str());
            }
        }
        Ok(Value::Text(Text::shared(joined).safe(is_safe)))
    }

    fn arithmetic(
        &mut self,
        operator: Operator,
        a: &Value<'t>,
        b: &Value<'t>,
        at: &Range<usize>,
    ) -> Rendered<Value<'t>> {
        if let (Value::Integer(a), Value::Integer(b)) = (a, b) {
            let divides = matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Remainder);
            if divides && *b == 0 {
                return self.fail(at, "division by zero");
            }
            let whole = match operator {
                Operator::Add => a.checked_add(*b),
                Operator::Subtract => a.checked_sub(*b),
                Operator::Multiply => a.checked_mul(*b),
                Operator::FloorDivide => a.checked_div_euclid(*b),
                Operator::Remainder => a.checked_rem_euclid(*b),
                _ => return Ok(Value::Float(*a as f64 / *b as f64)),
            };
            return match whole {
                Some(integer) => Ok(Value::Integer(integer)),
                None => self.fail(at, "the result does not fit into 64 bits"),
            };
        }
        let float = |value: &Value<'_>| match value {
            Value::Integer(integer) => Some(*integer as f64),
            Value::Float(float) => Some(*float),
            _ => None,
        };
        let Some((x, y)) = float(a).zip(float(b)) else {
            let symbol = operator.symbol();
            return self.fail(at, format!("`{symbol}` cannot be used with {} and {}", a.kind(), b.kind()));
        };
        Ok(Value::Float(match operator {
            Operator::Add => x + y,
            Operator::Subtract => x - y,
            Operator::Multiply => x * y,
            Operator::FloorDivide => (x / y).floor(),
            Operator::Remainder => x.rem_euclid(y),
            _ => x / y,
        }))
    }
}
