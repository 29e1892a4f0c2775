//! Maps that the response convention refuses, or does not take for a response.

use std::collections::BTreeSet;

use rhai::{ASTFlags, ASTNode, Dynamic, Expr, FnCallExpr, Ident, Position, Stmt};

use super::flow::{Type, Value};
use super::tree::Bodies;
use super::{Context, Findings};
use crate::answer;

/// The parts of a response.
const PARTS: [&str; 3] = ["statusCode", "headers", "body"];

/// What the status is called elsewhere.
const STATUS_NAMES: [&str; 7] =
    ["status", "status_code", "statuscode", "StatusCode", "Status", "code", "http_status"];

pub(super) fn check<'a>(bodies: &'a Bodies<'_>, context: &Context<'a>, findings: &mut Findings<'_>) {
    let mut responses = Responses { bodies, context, findings, functions: BTreeSet::new() };
    for body in bodies.iter() {
        if body.function.is_none() {
            responses.body(body.statements);
        }
    }
    // `exit` ends the script wherever it stands.
    let mut ends = Vec::new();
    bodies.walk(&mut |_, path| {
        if let Some(ASTNode::Stmt(Stmt::FnCall(call, _)) | ASTNode::Expr(Expr::FnCall(call, _))) = path.last()
            && let ("exit", [value]) = (call.name.as_str(), call.args.as_slice())
            && !call.is_qualified()
            && !context.declared.functions.contains_key("exit")
        {
            ends.push(value);
        }
    });
    ends.into_iter().for_each(|value| responses.value(value));
}

struct Responses<'a, 'c, 'f, 's> {
    bodies: &'a Bodies<'a>,
    context: &'c Context<'a>,
    findings: &'f mut Findings<'s>,
    /// Functions whose values were looked at as responses.
    functions: BTreeSet<(&'a str, usize)>,
}

impl<'a> Responses<'a, '_, '_, '_> {
    /// What a body ends with, and what it returns.
    fn body(&mut self, statements: &'a [Stmt]) {
        self.tail(statements);
        let mut returned = Vec::new();
        super::tree::each(statements, &mut |path| {
            if let Some(ASTNode::Stmt(Stmt::Return(Some(value), flags, _))) = path.last()
                && !flags.contains(ASTFlags::BREAK)
            {
                returned.push(&**value);
            }
        });
        returned.into_iter().for_each(|value| self.value(value));
    }

    fn tail(&mut self, statements: &'a [Stmt]) {
        match statements.last() {
            Some(Stmt::Expr(value)) => self.value(value),
            Some(Stmt::FnCall(call, _)) => self.call(call),
            Some(Stmt::Block(block)) => self.tail(block.statements()),
            Some(Stmt::If(flow, ..)) => {
                self.tail(flow.body.statements());
                self.tail(flow.branch.statements());
            }
            Some(Stmt::Switch(switch, ..)) => {
                switch.1.expressions.iter().for_each(|case| self.value(&case.rhs));
            }
            _ => {}
        }
    }

    fn value(&mut self, value: &'a Expr) {
        match value {
            Expr::Map(map, position) => self.map(&map.0, value, *position),
            Expr::Stmt(block) => self.tail(block.statements()),
            Expr::FnCall(call, _) => self.call(call),
            Expr::Variable(..) => {
                if let Some(map @ Expr::Map(..)) = self.context.flow.only_source(value) {
                    self.value(map);
                }
            }
            _ => {}
        }
    }

    /// What a function of the script gives.
    fn call(&mut self, call: &'a FnCallExpr) {
        let (name, count) = (call.name.as_str(), call.args.len());
        if call.is_qualified() || !self.functions.insert((name, count)) {
            return;
        }
        let called = |body: &super::tree::Body<'a>| {
            body.function.is_some_and(|function| function.name == name && function.params.len() == count)
        };
        if let Some(body) = self.bodies.iter().find(called) {
            self.body(body.statements);
        }
    }

    fn map(&mut self, entries: &'a [(Ident, Expr)], map: &'a Expr, position: Position) {
        let entry = |name: &str| entries.iter().find(|(key, _)| key.name == name);
        let before = self.findings.count();
        match entry("statusCode") {
            Some((_, status)) => {
                self.status(status);
                if let Some((_, headers)) = entry("headers") {
                    self.headers(headers);
                }
                if let Some((_, body)) = entry("body") {
                    self.part(body);
                }
                self.other_parts(entries);
            }
            None => self.no_response(entries, position),
        }
        // All that stands in the text is judged as it is when it runs.
        if self.findings.count() == before
            && let Some(value) = map.get_literal_value(None)
            && let Err(refused) = answer::answer(value)
        {
            self.findings.add_new(position, 2, refused.message, None);
        }
    }

    fn status(&mut self, status: &'a Expr) {
        let position = status.start_position();
        match status.get_literal_value(None) {
            Some(value) => match answer::status(&value) {
                Ok(interim @ 100..200) => {
                    let message = format!("status {interim} is no whole answer: the caller gets 500");
                    self.findings.warn(position, 3, message, None);
                }
                Ok(_) => {}
                Err(refused) => {
                    let text = value.into_immutable_string().ok();
                    let number = text.and_then(|text| text.trim().parse::<i64>().ok());
                    let help = number.filter(|number| answer::status(&(*number).into()).is_ok());
                    let width = written_width(status);
                    self.findings.add_new(
                        position,
                        width,
                        refused.message,
                        help.map(|number| format!("write `{number}`")),
                    );
                }
            },
            None => match self.context.flow.value(status).of_type() {
                None | Some(Type::Int) => {}
                Some(of) => {
                    let message = format!("statusCode must be an integer, not {}", of.words());
                    let help = (of == Type::Text).then(|| "make it one with `parse_int`".to_owned());
                    self.findings.add_new(position, 1, message, help);
                }
            },
        }
    }

    fn headers(&mut self, headers: &'a Expr) {
        let position = headers.start_position();
        match headers {
            Expr::Map(map, _) => map.0.iter().for_each(|(name, value)| self.header(name, value)),
            Expr::Variable(..) => {
                if let Some(map @ Expr::Map(..)) = self.context.flow.only_source(headers) {
                    self.headers(map);
                }
            }
            headers => {
                if let Value::Of(of) = self.context.flow.value(headers)
                    && !matches!(of, Type::Map | Type::Unit)
                {
                    let message = format!("headers must be a map, not {}", of.words());
                    let help = "write `#{ \"content-type\": \"text/html\" }`".to_owned();
                    self.findings.add_new(position, written_width(headers), message, Some(help));
                }
            }
        }
    }

    fn header(&mut self, name: &'a Ident, value: &'a Expr) {
        let width = name.name.chars().count();
        let name = match answer::header_name(&name.name) {
            Ok(lower) => lower,
            Err(refused) => return self.findings.add_new(name.pos, width, refused.message, None),
        };
        match value {
            Expr::Array(values, _) => values.iter().for_each(|value| self.header_value(&name, value)),
            value => self.header_value(&name, value),
        }
    }

    fn header_value(&mut self, name: &str, value: &'a Expr) {
        let refused = |value: &Dynamic| answer::header_value(name, value).err();
        let refused = match value {
            // The rest is not known, and cannot mend it.
            Expr::InterpolatedString(parts, _) => {
                parts.iter().filter_map(|part| part.get_literal_value(None)).find_map(|part| refused(&part))
            }
            value => value.get_literal_value(None).and_then(|value| refused(&value)),
        };
        if let Some(refused) = refused {
            self.findings.add_new(value.start_position(), written_width(value), refused.message, None);
        } else if let Value::Of(of @ (Type::Map | Type::Function | Type::Char)) =
            self.context.flow.value(value)
        {
            let message = format!("header `{name}` must be a string, not {}", of.words());
            self.findings.add_new(value.start_position(), 1, message, None);
        }
    }

    /// A body of which all stands in the text.
    fn part(&mut self, body: &'a Expr) {
        if let Some(value) = body.get_literal_value(None)
            && !value.is_unit()
            && let Err(refused) = answer::body(&value)
        {
            self.findings.add_new(body.start_position(), written_width(body), refused.message, None);
        }
    }

    fn other_parts(&mut self, entries: &[(Ident, Expr)]) {
        for (key, _) in entries.iter().filter(|(key, _)| !PARTS.contains(&key.name.as_str())) {
            let name = key.name.as_str();
            let help = match name.to_ascii_lowercase().replace(['_', '-'], "").as_str() {
                "contenttype" => Some("write `headers: #{ \"content-type\": ... }`".to_owned()),
                "data" | "json" | "content" | "text" | "message" => Some("what is sent is `body`".to_owned()),
                _ => self.findings.suggestions.did_you_mean(name, PARTS.into_iter()),
            };
            // Anything else can be there for the script's own use.
            if help.is_none() {
                continue;
            }
            let message = format!("`{}` is no part of a response, and is dropped", name.escape_debug());
            self.findings.warn(key.pos, name.chars().count(), message, help);
        }
    }

    /// A map without `statusCode` is answered as it is. It is looked at for whether that is meant.
    fn no_response(&mut self, entries: &'a [(Ident, Expr)], position: Position) {
        let has = |name: &str| entries.iter().any(|(key, _)| key.name == name);
        let has_part = has("body") || has("headers");
        let is_status = |value: &'a Expr| match value {
            Expr::IntegerConstant(100..600, _) => true,
            Expr::IntegerConstant(..) => false,
            value => has_part && self.context.flow.value(value).of_type() != Some(Type::Text),
        };
        let status = entries.iter().find(|(key, value)| {
            let name = key.name.as_str();
            STATUS_NAMES.contains(&name)
                && is_status(value)
                && (has_part || (entries.len() == 1 && name != "code"))
        });
        if let Some((key, _)) = status {
            let message =
                "a map without `statusCode` is no response: it is answered with 200, as JSON".to_owned();
            let width = key.name.chars().count();
            self.findings.warn(key.pos, width, message, Some("write `statusCode`".to_owned()));
        } else if entries.len() == 2 && has("body") && has("headers") {
            let message =
                "a map without `statusCode` is no response: it is answered with 200, as JSON".to_owned();
            self.findings.warn(position, 2, message, Some("add `statusCode: 200`".to_owned()));
        }
    }
}

/// How many characters a literal takes, as far as it is known.
fn written_width(literal: &Expr) -> usize {
    match literal {
        Expr::StringConstant(text, _) => text.chars().count() + 2,
        Expr::IntegerConstant(number, _) => number.to_string().len(),
        _ => 1,
    }
}
