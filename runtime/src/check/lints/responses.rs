//! Maps that the response convention rejects or does not recognize.

use std::collections::BTreeSet;

use rhai::{ASTFlags, ASTNode, Dynamic, Expr, FnCallExpr, Ident, Position, Stmt};

use super::ast::Bodies;
use super::flow::{Type, Value};
use super::{Context, Findings};
use crate::response;

/// The fields of a response.
const PARTS: [&str; 3] = ["statusCode", "headers", "body"];

/// Names of the status in other frameworks.
const STATUS_NAMES: [&str; 7] =
    ["status", "status_code", "statuscode", "StatusCode", "Status", "code", "http_status"];

pub(super) fn check<'a>(bodies: &'a Bodies<'_>, context: &Context<'a>, findings: &mut Findings<'_>) {
    let mut responses = Responses { bodies, context, findings, functions: BTreeSet::new() };
    for body in bodies.iter() {
        if body.function.is_none() {
            responses.body(body.statements);
        }
    }
    // `exit` stops the script at any position.
    let mut ends = Vec::new();
    bodies.walk(&mut |_, path| {
        if let Some(ASTNode::Stmt(Stmt::FnCall(call, _)) | ASTNode::Expr(Expr::FnCall(call, _))) = path.last()
            && let ("exit", [value]) = (call.name.as_str(), call.args.as_slice())
            && !call.is_qualified()
            && !context.declarations.functions.contains_key("exit")
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
    /// Functions whose results were checked as responses.
    functions: BTreeSet<(&'a str, usize)>,
}

impl<'a> Responses<'a, '_, '_, '_> {
    /// Checks the last value of a body and its returned values.
    fn body(&mut self, statements: &'a [Stmt]) {
        self.tail(statements);
        let mut returned = Vec::new();
        super::ast::each(statements, &mut |path| {
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

    /// Checks the result of a function of the script.
    fn call(&mut self, call: &'a FnCallExpr) {
        let (name, count) = (call.name.as_str(), call.args.len());
        if call.is_qualified() || !self.functions.insert((name, count)) {
            return;
        }
        let called = |body: &super::ast::Body<'a>| {
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
                    self.body_literal(body);
                }
                self.other_parts(entries);
            }
            None => self.check_plain_map(entries, position),
        }
        // A complete literal is checked in the same way as at run time.
        if self.findings.count() == before
            && let Some(value) = map.get_literal_value(None)
            && let Err(rejected) = response::from_value(value)
        {
            self.findings.add_since_1_3(position, 2, rejected.message, None);
        }
    }

    fn status(&mut self, status: &'a Expr) {
        let position = status.start_position();
        match status.get_literal_value(None) {
            Some(value) => match response::status(&value) {
                Ok(interim @ 100..200) => {
                    let message = format!("status {interim} is not a final response: the client gets 500");
                    self.findings.warn(position, 3, message, None);
                }
                Ok(_) => {}
                Err(rejected) => {
                    let text = value.into_immutable_string().ok();
                    let number = text.and_then(|text| text.trim().parse::<i64>().ok());
                    let help = number.filter(|number| response::status(&(*number).into()).is_ok());
                    let width = written_width(status);
                    self.findings.add_since_1_3(
                        position,
                        width,
                        rejected.message,
                        help.map(|number| format!("write `{number}`")),
                    );
                }
            },
            None => match self.context.flow.value(status).of_type() {
                None | Some(Type::Int) => {}
                Some(of) => {
                    let message = format!("statusCode must be an integer, not {}", of.name());
                    let help = (of == Type::Text).then(|| "convert it with `parse_int`".to_owned());
                    self.findings.add_since_1_3(position, 1, message, help);
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
                    let message = format!("headers must be a map, not {}", of.name());
                    let help = "write `#{ \"content-type\": \"text/html\" }`".to_owned();
                    self.findings.add_since_1_3(position, written_width(headers), message, Some(help));
                }
            }
        }
    }

    fn header(&mut self, name: &'a Ident, value: &'a Expr) {
        let width = name.name.chars().count();
        let name = match response::header_name(&name.name) {
            Ok(lower) => lower,
            Err(rejected) => return self.findings.add_since_1_3(name.pos, width, rejected.message, None),
        };
        match value {
            Expr::Array(values, _) => values.iter().for_each(|value| self.header_value(&name, value)),
            value => self.header_value(&name, value),
        }
    }

    fn header_value(&mut self, name: &str, value: &'a Expr) {
        let rejected = |value: &Dynamic| response::header_value(name, value).err();
        let rejected = match value {
            // The unknown parts cannot make it valid.
            Expr::InterpolatedString(parts, _) => {
                parts.iter().filter_map(|part| part.get_literal_value(None)).find_map(|part| rejected(&part))
            }
            value => value.get_literal_value(None).and_then(|value| rejected(&value)),
        };
        if let Some(rejected) = rejected {
            self.findings.add_since_1_3(value.start_position(), written_width(value), rejected.message, None);
        } else if let Value::Of(of @ (Type::Map | Type::Function | Type::Char)) =
            self.context.flow.value(value)
        {
            let message = format!("header `{name}` must be a string, not {}", of.name());
            self.findings.add_since_1_3(value.start_position(), 1, message, None);
        }
    }

    /// Checks a literal body.
    fn body_literal(&mut self, body: &'a Expr) {
        if let Some(value) = body.get_literal_value(None)
            && !value.is_unit()
            && let Err(rejected) = response::body(&value)
        {
            self.findings.add_since_1_3(body.start_position(), written_width(body), rejected.message, None);
        }
    }

    fn other_parts(&mut self, entries: &[(Ident, Expr)]) {
        for (key, _) in entries.iter().filter(|(key, _)| !PARTS.contains(&key.name.as_str())) {
            let name = key.name.as_str();
            let help = match name.to_ascii_lowercase().replace(['_', '-'], "").as_str() {
                "contenttype" => Some("write `headers: #{ \"content-type\": ... }`".to_owned()),
                "data" | "json" | "content" | "text" | "message" => {
                    Some("the response body is `body`".to_owned())
                }
                _ => self.findings.suggestions.did_you_mean(name, PARTS.into_iter()),
            };
            // Other fields can be for the script's own use.
            if help.is_none() {
                continue;
            }
            let message = format!("unknown response field `{}` is ignored", name.escape_debug());
            self.findings.warn(key.pos, name.chars().count(), message, help);
        }
    }

    /// A map without `statusCode` is sent as JSON. Warns if a response was probably intended.
    fn check_plain_map(&mut self, entries: &'a [(Ident, Expr)], position: Position) {
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
                "a map without `statusCode` is not a response: it is sent as JSON with status 200".to_owned();
            let width = key.name.chars().count();
            self.findings.warn(key.pos, width, message, Some("write `statusCode`".to_owned()));
        } else if entries.len() == 2 && has("body") && has("headers") {
            let message =
                "a map without `statusCode` is not a response: it is sent as JSON with status 200".to_owned();
            self.findings.warn(position, 2, message, Some("add `statusCode: 200`".to_owned()));
        }
    }
}

/// The width of a literal in characters, as far as it is known.
fn written_width(literal: &Expr) -> usize {
    match literal {
        Expr::StringConstant(text, _) => text.chars().count() + 2,
        Expr::IntegerConstant(number, _) => number.to_string().len(),
        _ => 1,
    }
}
