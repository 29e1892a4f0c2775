//! What variables and expressions certainly hold, as far as the text shows it.
//!
//! A variable is known by its name alone: where the name is declared, assigned, or a parameter, all that it is given counts, in
//! whatever scope. So something is known of it only where nothing of that name can be anything else.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use rhai::{ASTFlags, ASTNode, Array, Expr, FnCallExpr, FnPtr, ImmutableString, Map, ScriptFuncDef, Stmt};

use super::tree::{Bodies, Link, chain, is_whole_chain};
use crate::check::declared::{Declared, captures};
use crate::kind::kind_of_type;
use crate::sdk::{CTX, Property, RequestProperty};

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Unknown,
    Of(Type),
    /// A header, a param or the like: a string where it is there.
    RequestText,
    /// A part of `ctx` that has properties, or a copy of it.
    Ctx(Part),
}

impl Value {
    /// The type of a value that is there.
    pub(super) fn of_type(self) -> Option<Type> {
        match self {
            Self::Of(of) => Some(of),
            Self::RequestText => Some(Type::Text),
            Self::Ctx(_) => Some(Type::Map),
            Self::Unknown => None,
        }
    }
}

/// The types that can be told from the text.
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

/// The parts of `ctx` that have properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Request,
    Headers,
    Params,
    Query,
    Env,
    Secrets,
}

/// Methods of maps that leave them as they are.
const READERS: [&str; 9] =
    ["len", "is_empty", "contains", "keys", "values", "get", "to_json", "filter", "to_string"];

/// What is known of a script.
pub(super) struct Flow<'a> {
    declared: &'a Declared,
    variables: BTreeMap<&'a str, Variable<'a>>,
    /// What was found out so far; `None` while it is looked for.
    known: RefCell<BTreeMap<&'a str, Option<Value>>>,
    /// A function is given another `this`, which can be any variable.
    changes_this: bool,
}

/// All variables of one name.
#[derive(Default)]
pub(super) struct Variable<'a> {
    /// What they are given.
    sources: Vec<&'a Expr>,
    /// They are given something that does not stand in the text: an element, an error, an argument from elsewhere.
    is_given_more: bool,
    /// Some are changed by `+=` and its like.
    is_accumulated: bool,
    constants: usize,
    others: usize,
    /// Keys that are set in them.
    keys_set: BTreeSet<&'a str>,
    /// They are changed in a way that does not say which key it is about.
    is_changed: bool,
}

impl Variable<'_> {
    /// Whether every variable of the name is a constant.
    pub(super) fn is_constant(&self) -> bool {
        self.constants > 0 && self.others == 0
    }
}

impl<'a> Flow<'a> {
    pub(super) fn of(bodies: &'a Bodies<'_>, declared: &'a Declared) -> Self {
        let mut flow =
            Self { declared, variables: BTreeMap::new(), known: RefCell::default(), changes_this: false };
        let parameters = Parameters::of(bodies, declared);
        parameters.each_unknown(bodies, declared, |name| flow.variable(name).note_given_more());
        // Whether the function is ever called or not.
        for function in bodies.iter().filter_map(|body| body.function) {
            own_parameters(function, declared).for_each(|name| flow.variable(name).others += 1);
        }
        bodies.walk(&mut |_, path| match path {
            [.., ASTNode::Stmt(statement)] => {
                flow.statement(statement);
                if let Stmt::FnCall(call, ..) = statement {
                    flow.call(call);
                    parameters.each_argument(call, call.args.len(), |name, given| {
                        flow.variable(name).note_given(given)
                    });
                }
            }
            [around @ .., ASTNode::Expr(expression)] => match expression {
                Expr::FnCall(call, ..) => {
                    flow.call(call);
                    parameters.each_argument(call, call.args.len(), |name, given| {
                        flow.variable(name).note_given(given)
                    });
                }
                Expr::MethodCall(call, ..) => {
                    parameters.each_argument(call, call.args.len(), |name, given| {
                        flow.variable(name).note_given(given)
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
        self.variables.get(name).filter(|variable| variable.is_given_more || !variable.sources.is_empty())
    }

    /// What `expression` certainly is.
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
                // What is there instead of a header and the like.
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

    /// What a chain is at its beginning and after each of its steps.
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

    /// Whether a method of that name can be one of the script's own.
    pub(super) fn is_own_method(&self, name: &str) -> bool {
        self.declared.functions.contains_key(name) || self.declared.members.contains(name)
    }

    fn returned(&self, call: &'a FnCallExpr) -> Value {
        let own = self.declared.functions.contains_key(call.name.as_str());
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
        if name == CTX && !self.declared.variables.contains(CTX) {
            return Value::Ctx(Part::Whole);
        }
        let Some(variable) = self.variables(name) else {
            let is_function = self.declared.functions.contains_key(name);
            return if is_function { Value::Of(Type::Function) } else { Value::Unknown };
        };
        if variable.is_given_more || self.changes_this {
            return Value::Unknown;
        }
        if let Some(known) = self.known.borrow().get(name) {
            // What is given itself is not known while it is looked for.
            return known.unwrap_or(Value::Unknown);
        }
        self.known.borrow_mut().insert(name, None);
        let value = match self.common(variable.sources.iter().copied()) {
            Value::Ctx(_) if variable.is_accumulated || variable.is_changed => Value::Of(Type::Map),
            // To these can be added what there is, and they stay what they are.
            value @ Value::Of(Type::Text | Type::Array | Type::Map) => value,
            _ if variable.is_accumulated => Value::Unknown,
            value => value,
        };
        self.known.borrow_mut().insert(name, Some(value));
        value
    }

    /// What all of them are.
    fn common(&self, mut expressions: impl Iterator<Item = &'a Expr>) -> Value {
        let Some(first) = expressions.next() else { return Value::Unknown };
        let first = self.value(first);
        if first != Value::Unknown && expressions.all(|other| self.value(other) == first) {
            first
        } else {
            Value::Unknown
        }
    }

    /// The expression that a variable is given, if it is one only and nothing changes it.
    pub(super) fn only_source(&self, expression: &'a Expr) -> Option<&'a Expr> {
        let variable = self.variables(variable_name(expression)?)?;
        let is_fixed = !(variable.is_given_more || variable.is_accumulated || variable.is_changed)
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
            Stmt::Var(declared, flags, _) => {
                let variable = self.variable(&declared.0.name);
                variable.sources.push(&declared.1);
                let count = if flags.contains(ASTFlags::CONSTANT) {
                    &mut variable.constants
                } else {
                    &mut variable.others
                };
                *count += 1;
            }
            Stmt::For(each, ..) => {
                self.variable(&each.0.name).note_given_more();
                if let Some(counter) = &each.1 {
                    self.variable(&counter.name).note_given_more();
                }
            }
            Stmt::TryCatch(flow, ..) => {
                if let Expr::Variable(error, ..) = &flow.expr {
                    self.variable(&error.1).note_given_more();
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

    /// What is called with a variable first can change it, if it is native.
    fn call(&mut self, call: &'a FnCallExpr) {
        let own = self.declared.functions.get(call.name.as_str());
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

    /// A method can change what it is called on.
    fn chain(&mut self, expression: &'a Expr) {
        let Some((root, links)) = chain(expression) else { return };
        let Some(name) = variable_name(root) else { return };
        for (index, link) in links.iter().enumerate() {
            let Link::Method(call, _) = link else { continue };
            if READERS.contains(&call.name.as_str())
                && !self.declared.functions.contains_key(call.name.as_str())
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
    fn note_given_more(&mut self) {
        self.is_given_more = true;
        self.others += 1;
    }

    fn note_given(&mut self, source: &'a Expr) {
        self.sources.push(source);
        self.others += 1;
    }

    /// Something within it is changed, which is reached by `link`; `None`: it is changed itself.
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

/// The parameters of functions, and which of them are given only what stands in calls by name.
struct Parameters<'a> {
    by_name: BTreeMap<(&'a str, usize), Vec<&'a str>>,
}

impl<'a> Parameters<'a> {
    fn of(bodies: &'a Bodies<'_>, declared: &Declared) -> Self {
        let functions = bodies.iter().filter(|body| !body.is_closure()).filter_map(|body| body.function);
        let by_name = functions
            // One that is reached as a value, or by its name as text, can be called with anything.
            .filter(|function| {
                !declared.members.contains(function.name.as_str())
                    && !declared.read_as_values.contains(function.name.as_str())
            })
            .map(|function| {
                let names = function.params.iter().map(|name| name.as_str()).collect();
                ((function.name.as_str(), function.params.len()), names)
            });
        Self { by_name: by_name.collect() }
    }

    /// The parameters that can be given anything.
    fn each_unknown(&self, bodies: &'a Bodies<'_>, declared: &Declared, mut note: impl FnMut(&'a str)) {
        for function in bodies.iter().filter_map(|body| body.function) {
            let key = (function.name.as_str(), function.params.len());
            if !self.by_name.contains_key(&key) {
                own_parameters(function, declared).for_each(&mut note);
            }
        }
    }

    /// The parameters that a call gives something to.
    fn each_argument(&self, call: &'a FnCallExpr, count: usize, mut note: impl FnMut(&'a str, &'a Expr)) {
        if call.is_qualified() {
            return;
        }
        if let Some(names) = self.by_name.get(&(call.name.as_str(), count)) {
            names.iter().zip(call.args.iter()).for_each(|(name, given)| note(name, given));
        }
    }
}

/// The parameters of a function. The names of what a closure captures come first; those are the captured variables.
fn own_parameters<'a>(function: &'a ScriptFuncDef, declared: &Declared) -> impl Iterator<Item = &'a str> {
    let captured = declared.captured.get(function.name.as_str()).copied().unwrap_or(0);
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
    pub(super) fn words(self) -> &'static str {
        kind_of_type(self.id())
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
                Some(_) => text,
                None => Value::Unknown,
            },
            Self::Request => {
                match RequestProperty::ALL.into_iter().find(|property| property.name() == name) {
                    Some(RequestProperty::Headers) => Value::Ctx(Self::Headers),
                    Some(RequestProperty::Params) => Value::Ctx(Self::Params),
                    Some(RequestProperty::Query) => Value::Ctx(Self::Query),
                    Some(RequestProperty::Path) => text,
                    Some(RequestProperty::Body | RequestProperty::Rest) | None => Value::Unknown,
                }
            }
            Self::Headers | Self::Params | Self::Query | Self::Env | Self::Secrets => Value::RequestText,
        }
    }
}

/// What a native method gives, where that is known whatever it is called with.
fn result_of_method(receiver: Value, name: &str, arguments: &[Expr]) -> Value {
    let receiver = receiver.of_type();
    let of = match (receiver, name) {
        (_, "to_string" | "to_json" | "to_hex" | "to_octal" | "to_binary" | "sub_string") => Type::Text,
        (Some(Type::Text), "to_upper" | "to_lower") => Type::Text,
        (_, "contains" | "starts_with" | "ends_with" | "is_empty" | "some" | "all") => Type::Bool,
        (_, "len" | "index_of" | "to_int") => Type::Int,
        (_, "to_float") => Type::Float,
        (_, "keys" | "values" | "to_chars" | "split_rev") => Type::Array,
        (Some(Type::Text | Type::Array), "split") => Type::Array,
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
