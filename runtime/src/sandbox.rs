//! The engine that executes all scripts: Rhai's language and standard package, the SDK, and every limit.
//!
//! There is one engine per SDK version in the process. It is immutable, has no locks and holds no state of an
//! execution (`Engine::new_raw` has no string interner, which threads would contend for). Two executions only differ
//! in their scopes and in the context on their thread. Creating an engine takes about a millisecond, the rest of an
//! execution about a microsecond, so engines are shared.
//!
//! `ctx` is a constant of the scope. Rhai's functions see no outer variables, but authors expect `ctx` in them. A
//! resolver therefore passes a copy to functions that name `ctx` and have no such variable. A closure captures it
//! like any variable.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use manifest_schema::sdk::SdkVersion;
use rhai::packages::{Package, StandardPackage};
use rhai::{
    AST, Dynamic, Engine, Module, OptimizationLevel, ParseError, Shared, TokenIterator, TokenizerControl,
};

use crate::captures::VariableUse;
use crate::library::CONSTANT_PREFIX;
use crate::sdk::CTX;
use crate::type_name::type_name_of_id;
use crate::{bounded, captures, caught_error, run_context, sdk, token_mapper};

/// The maximum call depth. Each level needs a few KiB of stack.
const CALL_DEPTH_MAX: usize = 64;

/// The maximum nesting of expressions and statements, in functions too. Rhai walks them recursively: at this depth
/// and at the maximum call depth, the worst of them needs 18 MiB of stack.
pub(crate) const EXPRESSION_DEPTH_MAX: usize = 128;

/// The maximum number of variables in scope.
const VARIABLES_MAX: usize = 500;

/// The maximum number of functions of a script, including closures.
pub(crate) const FUNCTIONS_MAX: usize = 1000;

/// The engine of one SDK version, and the function tables that the checks need.
pub(crate) struct Sandbox {
    pub(crate) sdk: SdkVersion,
    pub(crate) engine: Engine,
    /// The names of native functions, with their module if any (`log::info`), and their argument counts.
    pub(crate) natives: BTreeMap<String, Vec<usize>>,
    /// The parameter types of native functions by name, including property getters (`get$len`).
    signatures: BTreeMap<String, Vec<Vec<TypeId>>>,
}

// Cannot be computed at compile time. The standard package is shared; an engine on top of it is small.
static STANDARD: LazyLock<Shared<Module>> = LazyLock::new(|| StandardPackage::new().as_shared_module());
static V1_0: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(SdkVersion::V1_0));
static V1_1: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(SdkVersion::V1_1));
static V1_2: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(SdkVersion::V1_2));
static V1_3: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(SdkVersion::V1_3));

impl Sandbox {
    /// The sandbox for scripts of this SDK version, which see exactly that version.
    pub(crate) fn of(sdk: SdkVersion) -> &'static Self {
        match sdk {
            SdkVersion::V1_0 => &V1_0,
            SdkVersion::V1_1 => &V1_1,
            SdkVersion::V1_2 => &V1_2,
            SdkVersion::V1_3 => &V1_3,
        }
    }

    fn new(version: SdkVersion) -> Self {
        let mut engine = Engine::new_raw();
        engine.register_global_module(Shared::clone(&STANDARD));
        bounded::register(&mut engine, version);
        sdk::register(&mut engine, version);
        engine
            // Scripts are checked as written; the executed program is optimized later.
            .set_optimization_level(OptimizationLevel::None)
            .set_max_call_levels(CALL_DEPTH_MAX)
            .set_max_expr_depths(EXPRESSION_DEPTH_MAX, EXPRESSION_DEPTH_MAX)
            .set_max_variables(VARIABLES_MAX)
            .set_max_functions(FUNCTIONS_MAX)
            .set_max_modules(0)
            // The meter counts operations and memory: Rhai would measure a whole array or map, with its contents, at
            // every call that takes or returns one.
            .set_max_operations(0)
            .set_max_string_size(0)
            .set_max_array_size(0)
            .set_max_map_size(0)
            .on_progress(|_| run_context::tick().map(|_| Dynamic::UNIT));
        register_hooks(&mut engine, version);
        let (natives, signatures) = (natives(&engine), signatures(&engine));
        Self { sdk: version, engine, natives, signatures }
    }

    /// Parses a script.
    ///
    /// # Errors
    /// It is not valid Rhai.
    pub(crate) fn compile(&self, text: &str) -> Result<AST, ParseError> {
        token_mapper::begin(self.sdk >= SdkVersion::V1_3);
        self.engine.compile(text)
    }

    /// Splits a script into tokens, without parsing it.
    pub(crate) fn lex<'t>(&'t self, text: &'t &str) -> (TokenIterator<'t>, TokenizerControl) {
        token_mapper::begin(self.sdk >= SdkVersion::V1_3);
        self.engine.lex([text])
    }

    /// The parameter types of the native functions with this name; the receiver of a method comes first.
    pub(crate) fn signatures(&self, name: &str) -> &[Vec<TypeId>] {
        self.signatures.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether values of this type have the property.
    pub(crate) fn has_property(&self, of: TypeId, name: &str) -> bool {
        self.signatures(&format!("{GETTER_PREFIX}{name}")).iter().any(|takes| takes_first(takes, of))
    }

    /// Every native function by name, without modules and operators, with its parameter types.
    pub(crate) fn methods(&self) -> impl Iterator<Item = (&str, &[Vec<TypeId>])> {
        let named = |name: &str| !name.contains('$') && name.starts_with(|c: char| c.is_alphabetic());
        let all = self.signatures.iter().map(|(name, takes)| (name.as_str(), takes.as_slice()));
        all.filter(move |(name, _)| named(name))
    }

    /// The properties of values of this type.
    pub(crate) fn properties(&self, of: TypeId) -> impl Iterator<Item = &str> {
        let all = self
            .signatures
            .iter()
            .filter_map(|(name, takes)| Some((name.strip_prefix(GETTER_PREFIX)?, takes)));
        all.filter(move |(_, takes)| takes.iter().any(|takes| takes_first(takes, of))).map(|(name, _)| name)
    }

    /// Every property of any type.
    #[cfg(test)]
    pub(crate) fn all_properties(&self) -> impl Iterator<Item = &str> {
        self.signatures.keys().filter_map(|name| name.strip_prefix(GETTER_PREFIX))
    }

    /// The argument counts of the native methods with this name on values of this type.
    pub(crate) fn method_counts(&self, of: TypeId, name: &str) -> Vec<usize> {
        let own = self.signatures(name).iter().filter(|takes| takes_first(takes, of));
        let mut counts: Vec<usize> = own.map(|takes| takes.len() - 1).collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }
}

/// Whether a function with these parameters can be called on a value of this type.
fn takes_first(takes: &[TypeId], of: TypeId) -> bool {
    takes.first().is_some_and(|first| *first == of || *first == TypeId::of::<Dynamic>())
}

/// The prefix of the names of property getters in Rhai.
const GETTER_PREFIX: &str = "get$";

fn signatures(engine: &Engine) -> BTreeMap<String, Vec<Vec<TypeId>>> {
    let plain = |info: rhai::FuncInfo<'_>| {
        info.namespace
            .is_empty()
            .then(|| (info.metadata.name.to_string(), info.metadata.param_types.to_vec()))
    };
    let mut signatures: BTreeMap<String, Vec<Vec<TypeId>>> = BTreeMap::new();
    for (name, takes) in engine.collect_fn_metadata(None, plain, true) {
        signatures.entry(name).or_default().push(takes);
    }
    signatures
}

#[expect(deprecated, reason = "rhai marks both as unstable, not as obsolete; the version is pinned")]
fn register_hooks(engine: &mut Engine, sdk: SdkVersion) {
    engine.on_parse_token(|token, position, _| token_mapper::map(token, position));
    engine.on_var(move |name, _, mut context| {
        if name == CTX && !context.scope().contains(CTX) {
            return Ok(run_context::ctx());
        }
        if name.starts_with(CONSTANT_PREFIX) {
            return Ok(run_context::library_constant(name));
        }
        match run_context::variable_use(name) {
            None => {}
            Some(VariableUse::Captured) => captures::share(name, context.scope_mut()),
            Some(VariableUse::Caught) => {
                if let Some(caught) = context.scope_mut().get_mut(name) {
                    caught_error::translate(caught, &Sandbox::of(sdk).natives);
                }
            }
        }
        Ok(None)
    });
}

fn natives(engine: &Engine) -> BTreeMap<String, Vec<usize>> {
    let named = |info: rhai::FuncInfo<'_>| {
        let name = match info.namespace.as_str() {
            "" => info.metadata.name.to_string(),
            module => format!("{module}::{}", info.metadata.name),
        };
        Some((name, info.metadata.num_params))
    };
    let mut natives: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (name, parameters) in engine.collect_fn_metadata(None, named, true) {
        // Operators and property getters are not called by name.
        if name.starts_with(|c: char| c.is_alphabetic() || c == '_') && !name.contains('$') {
            let counts = natives.entry(name).or_default();
            counts.push(parameters);
        }
    }
    for counts in natives.values_mut() {
        counts.sort_unstable();
        counts.dedup();
    }
    natives
}

/// A native function that scripts can call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NativeFunction {
    /// The name, with its module if any (`log::info`). Operators and properties have the names of Rhai.
    pub name: String,
    /// The type names of its parameters, each with its article.
    pub parameters: Vec<&'static str>,
}

/// Every native function of an SDK version, one entry per parameter list, in order. A function of Rhai's package and
/// its replacement are one entry.
pub fn native_functions(sdk: SdkVersion) -> BTreeSet<NativeFunction> {
    let described = |info: rhai::FuncInfo<'_>| {
        let metadata = info.metadata;
        let name = match info.namespace.as_str() {
            "" => metadata.name.to_string(),
            module => format!("{module}::{}", metadata.name),
        };
        let parameters = metadata.param_types.iter().map(|id| type_name_of_id(*id)).collect();
        Some(NativeFunction { name, parameters })
    };
    Sandbox::of(sdk).engine.collect_fn_metadata(None, described, true).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natives_have_names_and_argument_counts() {
        let natives = &Sandbox::of(SdkVersion::V1_1).natives;
        assert_eq!(natives["log::info"], [1, 2]);
        assert_eq!(natives["push"], [2]);
        assert!(!natives.contains_key("+") && !natives.contains_key("log::debug"));
    }
}
