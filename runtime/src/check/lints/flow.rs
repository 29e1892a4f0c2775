//! The types of variables and expressions, as far as the text shows them.
//!
//! Variables are identified by name only: all assignments, declarations and arguments of a name count, in any scope.
//! A type is known only if nothing of that name can have another one.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use rhai::{ASTFlags, ASTNode, Array, Expr, FnCallExpr, FnPtr, ImmutableString, Map, ScriptFuncDef, Stmt};

use super::ast::{Bodies, Link, chain, is_whole_chain};
use crate::check::declarations::{Declarations, captures};
use crate::sdk::{CTX, Property, RequestProperty};
use crate::type_name::type_name_of_id;

/// The known facts about a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Unknown,
    Of(Type),
    /// A header, a param or similar: a string, or `()` if it is missing.
    RequestText,
    /// A part of `ctx` with properties, or a copy of it.
    Ctx(Part),
}

impl Value {
    /// The type of the value, unless it is missing.
    pub(super) fn of_type(self) -> Option<Type> {
        match self {
            Self::Of(of) => Some(of),
            Self::RequestText => Some(Type::Text),
            Self::Ctx(_) => Some(Type::Map),
            Self::Unknown => None,
        }
    }
}

/// The types that the text shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Unit,
    Bool,
    Int,
    Float,
    Char,
    Text,
    Array,
    Map,
    Function,
}

/// The parts of `ctx` with properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Request,
    Headers,
    Params,
    Query,
    Cookies,
    Form,
    Env,
    Secrets,
}

/// Methods that do not change a map.
const READERS: [&str; 9] =
    ["len", "is_empty", "contains", "keys", "values", "get", "to_json", "filter", "to_string"];

/// The types in a script.
pub(super) struct Flow<'a> {
    declarations: &'a Declarations,
    variables: BTreeMap<&'a str, Variable<'a>>,
    /// Types inferred so far; `None` during inference.
    known: RefCell<BTreeMap<&'a str, Option<Value>>>,
    /// Whether a function assigns to `this`, which can be any variable.
    changes_this: bool,
}

/// All variables of one name.
#[derive(Default)]
pub(super) struct Variable<'a> {
    /// The assigned expressions.
    sources: Vec<&'a Expr>,
    /// Whether a value comes from elsewhere: an element, an error, an argument.
    has_unknown_source: bool,
    /// Whether one is changed by `+=` or similar.
    is_accumulated: bool,
    constants: usize,
    others: usize,
    /// The keys that are set in them.
    keys_set: BTreeSet<&'a str>,
    /// Whether they are changed at an unknown key.
    is_changed: bool,
}

impl Variable<'_> {
    /// Whether every variable of this name is a constant.
    pub(super) fn is_constant(&self) -> bool {
        self.constants > 0 && self.others == 0
    }
}

impl<'a> Flow<'a> {
    pub(super) fn of(bodies: &'a Bodies<'_>, declarations: &'a Declarations) -> Self {
        let mut flow =
            Self { declarations, variables: BTreeMap::new(), known: RefCell::default(), changes_this: false };
        let parameters = Parameters::of(bodies, declarations);
        parameters.each_unknown(bodies, declarations, |name| flow.variable(name).note_unknown_source());
        // Whether or not the function is called.
        for function in bodies.iter().filter_map(|body| body.function) {
            own_parameters(function, declarations).for_each(|name| flow.variable(name).others += 1);
        }
        bodies.walk(&mut |_, path| match path {
            [.., ASTNode::Stmt(statement)] => {
                flow.statement(statement);
                if let Stmt::FnCall(call, ..) = statement {
                    flow.call(call);
                    parameters.each_argument(call, call.args.len(), |name, given| {
                        flow.variable(name).note_source(given)
                    });
                }
            }
            [around @ .., ASTNode::Expr(expression)] => match expression {
                Expr::FnCall(call, ..) => {
                    flow.call(call);
                    parameters.each_argument(call, call.args.len(), |name, given| {
                        flow.variable(name).note_source(given)
                    });
                }
                Expr::MethodCall(call, ..) => {
                    parameters.each_argument(call, call.args.len(), |name, given| {
                        flow.variable(name).note_source(given)
                    });
                }
                Expr::Dot(..) | Expr::Index(..) if is_whole_chain(expression, around) => {
                    flow.chain(expression);
                }
                _ => {}
            },
            _ => {}
        });
        flow
    }

    /// The variables of that name, if any is declared.
    pub(super) fn variables(&self, name: &str) -> Option<&Variable<'a>> {
        self.variables
            .get(name)
            .filter(|variable| variable.has_unknown_source || !variable.sources.is_empty())
    }

    /// The known facts about `expression`.
    pub(super) fn value(&self, expression: &'a Expr) -> Value {
        match expression {
            Expr::Unit(..) => Value::Of(Type::Unit),
            Expr::BoolConstant(..) | Expr::And(..) | Expr::Or(..) => Value::Of(Type::Bool),
            Expr::IntegerConstant(..) => Value::Of(Type::Int),
            Expr::FloatConstant(..) => Value::Of(Type::Float),
            Expr::CharConstant(..) => Value::Of(Type::Char),
            Expr::StringConstant(..) | Expr::InterpolatedString(..) => Value::Of(Type::Text),
            Expr::Array(..) => Value::Of(Type::Array),
            Expr::Map(..) => Value::Of(Type::Map),
            Expr::DynamicConstant(value, ..) if value.is::<FnPtr>() => Value::Of(Type::Function),
            Expr::Coalesce(operands, ..) => match operands.as_slice() {
                // The fallback of a header or similar.
                [first, instead] if self.value(first) == Value::RequestText => match self.value(instead) {
                    Value::Of(Type::Text) => Value::Of(Type::Text),
                    _ => Value::Unknown,
                },
                operands => self.common(operands.iter()),
            },
            Expr::Variable(variable, ..) if variable.2.is_empty() => self.held(&variable.1),
            Expr::FnCall(call, ..) => self.returned(call),
            Expr::Stmt(_) if captures(expression).is_some() => Value::Of(Type::Function),
            Expr::Dot(..) | Expr::Index(..) => {
                let Some((root, links)) = chain(expression) else { return Value::Unknown };
                self.steps(root, &links).last().copied().unwrap_or(Value::Unknown)
            }
            _ => Value::Unknown,
        }
    }

    /// The values of a chain at its root and after each step.
    pub(super) fn steps(&self, root: &'a Expr, links: &[Link<'a>]) -> Vec<Value> {
        let mut value = self.value(root);
        let mut values = vec![value];
        for (index, link) in links.iter().enumerate() {
            value = match link.key() {
                Some((key, _)) if index == 0 && self.sets_key(root, key) => Value::Unknown,
                _ => self.step(value, *link),
            };
            values.push(value);
        }
        values
    }

    /// Whether `key` is set in the variable `root`, if it is one.
    pub(super) fn sets_key(&self, root: &Expr, key: &str) -> bool {
        variable_name(root)
            .and_then(|name| self.variables.get(name))
            .is_some_and(|variable| variable.is_changed || variable.keys_set.contains(key))
    }

    fn step(&self, value: Value, link: Link<'a>) -> Value {
        if let (Value::Ctx(part), Some((key, _))) = (value, link.key()) {
            return part.property(key);
        }
        match link {
            Link::Property("len" | "bytes", _) if value.of_type() == Some(Type::Text) => Value::Of(Type::Int),
            Link::Property("len", _) if value == Value::Of(Type::Array) => Value::Of(Type::Int),
            Link::Method(call, _) if !self.is_own_method(&call.name) => {
                result_of_method(value, &call.name, &call.args)
            }
            _ => Value::Unknown,
        }
    }

    /// Whether a method of that name can be defined by the script.
    pub(super) fn is_own_method(&self, name: &str) -> bool {
        self.declarations.functions.contains_key(name) || self.declarations.members.contains(name)
    }

    fn returned(&self, call: &'a FnCallExpr) -> Value {
        let own = self.declarations.functions.contains_key(call.name.as_str());
        match (call.name.as_str(), call.args.as_slice()) {
            ("==" | "!=" | "<" | ">" | "<=" | ">=" | "!", _) if call.is_operator_call() => {
                Value::Of(Type::Bool)
            }
            ("+", [left, _]) if call.is_operator_call() && self.value(left) == Value::Of(Type::Text) => {
                Value::Of(Type::Text)
            }
            ("type_of", [_]) => Value::Of(Type::Text),
            ("Fn", [_]) => Value::Of(Type::Function),
            ("parse_int", _) if !own && !call.is_qualified() => Value::Of(Type::Int),
            ("parse_float", _) if !own && !call.is_qualified() => Value::Of(Type::Float),
            _ => Value::Unknown,
        }
    }

    fn held(&self, name: &'a str) -> Value {
        if name == CTX && !self.declarations.variables.contains(CTX) {
            return Value::Ctx(Part::Whole);
        }
        let Some(variable) = self.variables(name) else {
            let is_function = self.declarations.functions.contains_key(name);
            return if is_function { Value::Of(Type::Function) } else { Value::Unknown };
        };
        if variable.has_unknown_source || self.changes_this {
            return Value::Unknown;
        }
        if let Some(known) = self.known.borrow().get(name) {
            // A variable assigned to itself is unknown during inference.
            return known.unwrap_or(Value::Unknown);
        }
        self.known.borrow_mut().insert(name, None);
        let value = match self.common(variable.sources.iter().copied()) {
            Value::Ctx(_) if variable.is_accumulated || variable.is_changed => Value::Of(Type::Map),
            // These types keep their type when something is added.
            value @ Value::Of(Type::Text | Type::Array | Type::Map) => value,
            _ if variable.is_accumulated => Value::Unknown,
            value => value,
        };
        self.known.borrow_mut().insert(name, Some(value));
        value
    }

    /// The common value of all expressions.
    fn common(&self, mut expressions: impl Iterator<Item = &'a Expr>) -> Value {
        let Some(first) = expressions.next() else { return Value::Unknown };
        let first = self.value(first);
        if first != Value::Unknown && expressions.all(|other| self.value(other) == first) {
            first
        } else {
            Value::Unknown
        }
    }

    /// The expression of a variable that is assigned once and never changed.
    pub(super) fn only_source(&self, expression: &'a Expr) -> Option<&'a Expr> {
        let variable = self.variables(variable_name(expression)?)?;
        let is_fixed = !(variable.has_unknown_source || variable.is_accumulated || variable.is_changed)
            && variable.keys_set.is_empty()
            && !self.changes_this;
        match variable.sources.as_slice() {
            [source] if is_fixed => Some(source),
            _ => None,
        }
    }

    fn variable(&mut self, name: &'a str) -> &mut Variable<'a> {
        self.variables.entry(name).or_default()
    }

    fn statement(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Var(declarations, flags, _) => {
                let variable = self.variable(&declarations.0.name);
                variable.sources.push(&declarations.1);
                let count = if flags.contains(ASTFlags::CONSTANT) {
                    &mut variable.constants
                } else {
                    &mut variable.others
                };
                *count += 1;
            }
            Stmt::For(each, ..) => {
                self.variable(&each.0.name).note_unknown_source();
                if let Some(counter) = &each.1 {
                    self.variable(&counter.name).note_unknown_source();
                }
            }
            Stmt::TryCatch(flow, ..) => {
                if let Expr::Variable(error, ..) = &flow.expr {
                    self.variable(&error.1).note_unknown_source();
                }
            }
            Stmt::Import(..) => self.changes_this = true,
            Stmt::Assignment(assignment) => {
                let (operator, pair) = &**assignment;
                match &pair.lhs {
                    Expr::Variable(variable, ..) if operator.is_op_assignment() => {
                        self.variable(&variable.1).is_accumulated = true;
                    }
                    Expr::Variable(variable, ..) => self.variable(&variable.1).sources.push(&pair.rhs),
                    Expr::ThisPtr(..) => self.changes_this = true,
                    target => {
                        if let Some((root, links)) = chain(target)
                            && let Some(name) = variable_name(root)
                        {
                            self.variable(name).note_change(links.first().copied());
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// A native function can change its first argument.
    fn call(&mut self, call: &'a FnCallExpr) {
        let own = self.declarations.functions.get(call.name.as_str());
        if call.is_operator_call()
            || call.is_qualified()
            || READERS.contains(&call.name.as_str())
            || matches!(call.name.as_str(), "type_of" | "is_shared" | "call" | "curry" | "Fn" | "exit")
            || own.is_some_and(|counts| counts.contains(&call.args.len()))
        {
            return;
        }
        let Some(first) = call.args.first() else { return };
        match chain(first) {
            Some((root, links)) => {
                if let Some(name) = variable_name(root) {
                    self.variable(name).note_change(links.first().copied());
                }
            }
            None => {
                if let Some(name) = variable_name(first) {
                    self.variable(name).is_changed = true;
                }
            }
        }
    }

    /// A method can change its receiver.
    fn chain(&mut self, expression: &'a Expr) {
        let Some((root, links)) = chain(expression) else { return };
        let Some(name) = variable_name(root) else { return };
        for (index, link) in links.iter().enumerate() {
            let Link::Method(call, _) = link else { continue };
            if READERS.contains(&call.name.as_str())
                && !self.declarations.functions.contains_key(call.name.as_str())
            {
                continue;
            }
            let first = if index == 0 { None } else { links.first().copied() };
            self.variable(name).note_change(first);
            return;
        }
    }
}

impl<'a> Variable<'a> {
    fn note_unknown_source(&mut self) {
        self.has_unknown_source = true;
        self.others += 1;
    }

    fn note_source(&mut self, source: &'a Expr) {
        self.sources.push(source);
        self.others += 1;
    }

    /// Records a change of a part reached by `link`, or of the variable itself if `None`.
    fn note_change(&mut self, link: Option<Link<'a>>) {
        match link.and_then(Link::key) {
            Some((key, _)) => drop(self.keys_set.insert(key)),
            None => self.is_changed = true,
        }
    }
}

/// The name of a variable of the script.
pub(super) fn variable_name(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Variable(variable, ..) if variable.2.is_empty() => Some(&variable.1),
        _ => None,
    }
}

/// The parameters of functions that are only called by name, so that every argument is known.
struct Parameters<'a> {
    by_name: BTreeMap<(&'a str, usize), Vec<&'a str>>,
}

impl<'a> Parameters<'a> {
    fn of(bodies: &'a Bodies<'_>, declarations: &Declarations) -> Self {
        let functions = bodies.iter().filter(|body| !body.is_closure()).filter_map(|body| body.function);
        let by_name = functions
            // A function that is used as a value, or by its name as text, can be called with anything.
            .filter(|function| {
                !declarations.members.contains(function.name.as_str())
                    && !declarations.read_as_values.contains(function.name.as_str())
            })
            .map(|function| {
                let names = function.params.iter().map(|name| name.as_str()).collect();
                ((function.name.as_str(), function.params.len()), names)
            });
        Self { by_name: by_name.collect() }
    }

    /// The parameters with unknown arguments.
    fn each_unknown(
        &self,
        bodies: &'a Bodies<'_>,
        declarations: &Declarations,
        mut note: impl FnMut(&'a str),
    ) {
        for function in bodies.iter().filter_map(|body| body.function) {
            let key = (function.name.as_str(), function.params.len());
            if !self.by_name.contains_key(&key) {
                own_parameters(function, declarations).for_each(&mut note);
            }
        }
    }

    /// The parameters and arguments of a call.
    fn each_argument(&self, call: &'a FnCallExpr, count: usize, mut note: impl FnMut(&'a str, &'a Expr)) {
        if call.is_qualified() {
            return;
        }
        if let Some(names) = self.by_name.get(&(call.name.as_str(), count)) {
            names.iter().zip(call.args.iter()).for_each(|(name, given)| note(name, given));
        }
    }
}

/// The parameters of a function, without the captured variables of a closure, which come first.
fn own_parameters<'a>(
    function: &'a ScriptFuncDef,
    declarations: &Declarations,
) -> impl Iterator<Item = &'a str> {
    let captured = declarations.captured.get(function.name.as_str()).copied().unwrap_or(0);
    function.params.iter().skip(captured).map(|name| name.as_str())
}

impl Type {
    pub(super) fn id(self) -> TypeId {
        match self {
            Self::Unit => TypeId::of::<()>(),
            Self::Bool => TypeId::of::<bool>(),
            Self::Int => TypeId::of::<i64>(),
            Self::Float => TypeId::of::<f64>(),
            Self::Char => TypeId::of::<char>(),
            Self::Text => TypeId::of::<ImmutableString>(),
            Self::Array => TypeId::of::<Array>(),
            Self::Map => TypeId::of::<Map>(),
            Self::Function => TypeId::of::<FnPtr>(),
        }
    }

    /// ``a string``
    pub(super) fn name(self) -> &'static str {
        type_name_of_id(self.id())
    }
}

impl Part {
    fn property(self, name: &str) -> Value {
        let text = Value::Of(Type::Text);
        match self {
            Self::Whole => match Property::ALL.into_iter().find(|property| property.name() == name) {
                Some(Property::Request) => Value::Ctx(Self::Request),
                Some(Property::Env) => Value::Ctx(Self::Env),
                Some(Property::Secrets) => Value::Ctx(Self::Secrets),
                Some(Property::Started) => Value::Of(Type::Int),
                Some(Property::Schedule) | None => Value::Unknown,
                Some(_) => text,
            },
            Self::Request => {
                match RequestProperty::ALL.into_iter().find(|property| property.name() == name) {
                    Some(RequestProperty::Headers) => Value::Ctx(Self::Headers),
                    Some(RequestProperty::Params) => Value::Ctx(Self::Params),
                    Some(RequestProperty::Query) => Value::Ctx(Self::Query),
                    Some(RequestProperty::Cookies) => Value::Ctx(Self::Cookies),
                    Some(RequestProperty::Form) => Value::Ctx(Self::Form),
                    Some(
                        RequestProperty::Path
                        | RequestProperty::Method
                        | RequestProperty::Scheme
                        | RequestProperty::Host
                        | RequestProperty::Base
                        | RequestProperty::Ip,
                    ) => text,
                    Some(
                        RequestProperty::Body
                        | RequestProperty::Rest
                        | RequestProperty::QueryAll
                        | RequestProperty::FormAll
                        | RequestProperty::Files
                        | RequestProperty::Bytes,
                    )
                    | None => Value::Unknown,
                }
            }
            Self::Headers
            | Self::Params
            | Self::Query
            | Self::Cookies
            | Self::Form
            | Self::Env
            | Self::Secrets => Value::RequestText,
        }
    }
}

/// The result type of a native method, if it does not depend on the arguments.
fn result_of_method(receiver: Value, name: &str, arguments: &[Expr]) -> Value {
    let receiver = receiver.of_type();
    let of = match (receiver, name) {
        (_, "to_string" | "to_json" | "to_hex" | "to_octal" | "to_binary" | "sub_string") => Type::Text,
        (Some(Type::Text), "to_upper" | "to_lower" | "trimmed" | "replaced" | "repeat") => Type::Text,
        (Some(Type::Array), "join") | (Some(Type::Int | Type::Float), "format_number") => Type::Text,
        (_, "contains" | "starts_with" | "ends_with" | "is_empty" | "some" | "all") => Type::Bool,
        (_, "len" | "index_of" | "to_int") => Type::Int,
        (_, "to_float") => Type::Float,
        (_, "keys" | "values" | "to_chars" | "split_rev") => Type::Array,
        (Some(Type::Text | Type::Array), "split") | (Some(Type::Text), "lines") => Type::Array,
        (_, "split") if matches!(arguments, [Expr::StringConstant(..) | Expr::CharConstant(..), ..]) => {
            Type::Array
        }
        (Some(Type::Array), "map" | "filter" | "order" | "order_by" | "order_desc" | "extract" | "zip") => {
            Type::Array
        }
        _ => return Value::Unknown,
    };
    Value::Of(of)
}
