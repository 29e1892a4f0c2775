//! The engine that all scripts run in: Rhai's language and standard package, the SDK, and every bound.
//!
//! There is one engine for each SDK version in the process. It is never changed after it was made, holds no lock and no
//! state of a run (`Engine::new_raw` has no string interner, over which threads would contend), so what differs between
//! two runs is their scope and the context of the run on this thread. Engine and package take about a millisecond to make and the rest of a
//! run about a microsecond, hence one for all.
//!
//! `ctx` is a constant of the scope. Rhai's functions see no variables from outside, yet authors expect `ctx` in them;
//! a resolver therefore hands a copy of it to functions that name it and have no variable of that name. A closure sees
//! it like any variable that it captures.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use manifest_schema::sdk::SdkVersion;
use rhai::packages::{Package, StandardPackage};
use rhai::{Dynamic, Engine, Module, OptimizationLevel, Shared};

use crate::captures::Place;
use crate::kind::kind_of_type;
use crate::sdk::{CTX, MODULES, register_types};
use crate::{bounded, captures, caught, parsing, run_context};

/// How deep functions may call one another. Each level needs a few KiB of stack.
const CALL_DEPTH_MAX: usize = 64;

/// How deep expressions and statements may be nested, in a function too. Rhai walks them recursively: this deep and
/// called as deep as functions may call one another, the worst of them needs 18 MiB of stack.
pub(crate) const EXPRESSION_DEPTH_MAX: usize = 128;

/// The most variables that a script may have at once.
const VARIABLES_MAX: usize = 500;

/// The most functions that a script may define; closures count.
pub(crate) const FUNCTIONS_MAX: usize = 1000;

/// The engine of one SDK version with what the checks need to know of it.
pub(crate) struct Sandbox {
    pub(crate) engine: Engine,
    /// The names of native functions, with their module if any (`log::info`), and the argument counts each takes.
    pub(crate) natives: BTreeMap<String, Vec<usize>>,
    /// The types of what each of them takes, by name; of property getters too (`get$len`).
    signatures: BTreeMap<String, Vec<Vec<TypeId>>>,
}

// Constants that cannot be computed at compile time. The standard package is shared; an engine over it is small.
static STANDARD: LazyLock<Shared<Module>> = LazyLock::new(|| StandardPackage::new().as_shared_module());
static V1_0: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(SdkVersion::V1_0));
static V1_1: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(SdkVersion::V1_1));
static V1_2: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(SdkVersion::V1_2));
static V1_3: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(SdkVersion::V1_3));

impl Sandbox {
    /// The sandbox that scripts written for `sdk` are checked for and run in: they see exactly that version.
    pub(crate) fn of(sdk: SdkVersion) -> &'static Self {
        match sdk {
            SdkVersion::V1_0 => &V1_0,
            SdkVersion::V1_1 => &V1_1,
            SdkVersion::V1_2 => &V1_2,
            SdkVersion::V1_3 => &V1_3,
        }
    }

    fn new(sdk: SdkVersion) -> Self {
        let mut engine = Engine::new_raw();
        engine.register_global_module(Shared::clone(&STANDARD));
        for module in MODULES.iter().filter(|module| module.since <= sdk) {
            engine.register_static_module(module.name, (module.functions)().into());
        }
        bounded::register(&mut engine, sdk);
        register_types(&mut engine, sdk);
        engine
            // Scripts are checked as they are written; what runs is optimised afterwards.
            .set_optimization_level(OptimizationLevel::None)
            .set_max_call_levels(CALL_DEPTH_MAX)
            .set_max_expr_depths(EXPRESSION_DEPTH_MAX, EXPRESSION_DEPTH_MAX)
            .set_max_variables(VARIABLES_MAX)
            .set_max_functions(FUNCTIONS_MAX)
            .set_max_modules(0)
            // The meter counts operations, and what values take: Rhai would measure a whole array or map, with all that is in
            // it, at every call that is handed one or gives one back.
            .set_max_operations(0)
            .set_max_string_size(0)
            .set_max_array_size(0)
            .set_max_map_size(0)
            .on_progress(|_| run_context::tick().map(|_| Dynamic::UNIT));
        volatile(&mut engine, sdk);
        let (natives, signatures) = (natives(&engine), signatures(&engine));
        Self { engine, natives, signatures }
    }

    /// The types of what the native functions of that name take, with that of the method's receiver first.
    pub(crate) fn signatures(&self, name: &str) -> &[Vec<TypeId>] {
        self.signatures.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether values of that type have a property of that name.
    pub(crate) fn has_property(&self, of: TypeId, name: &str) -> bool {
        self.signatures(&format!("{GETTER_PREFIX}{name}")).iter().any(|takes| takes_first(takes, of))
    }

    /// Every native function by its name, module and operators left out, with the types of what it takes.
    pub(crate) fn methods(&self) -> impl Iterator<Item = (&str, &[Vec<TypeId>])> {
        let named = |name: &str| !name.contains('$') && name.starts_with(|c: char| c.is_alphabetic());
        let all = self.signatures.iter().map(|(name, takes)| (name.as_str(), takes.as_slice()));
        all.filter(move |(name, _)| named(name))
    }

    /// The properties that values of that type have.
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

    /// How many arguments the native methods of that name take on values of that type.
    pub(crate) fn method_counts(&self, of: TypeId, name: &str) -> Vec<usize> {
        let own = self.signatures(name).iter().filter(|takes| takes_first(takes, of));
        let mut counts: Vec<usize> = own.map(|takes| takes.len() - 1).collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }
}

/// Whether a function that takes these can be called on a value of that type.
fn takes_first(takes: &[TypeId], of: TypeId) -> bool {
    takes.first().is_some_and(|first| *first == of || *first == TypeId::of::<Dynamic>())
}

/// What the names of property getters begin with in Rhai.
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

#[expect(deprecated, reason = "rhai marks both as volatile, not as going away; the version is pinned")]
fn volatile(engine: &mut Engine, sdk: SdkVersion) {
    engine.on_parse_token(|token, position, _| parsing::map(token, position));
    engine.on_var(move |name, _, mut context| {
        if name == CTX && !context.scope().contains(CTX) {
            return Ok(run_context::ctx());
        }
        match run_context::place_of(name) {
            None => {}
            Some(Place::Captured) => captures::share(name, context.scope_mut()),
            Some(Place::Caught) => {
                if let Some(caught) = context.scope_mut().get_mut(name) {
                    caught::retell(caught, &Sandbox::of(sdk).natives);
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
pub struct Native {
    /// Its name, with its module if any (`log::info`). Operators and properties have names of Rhai's own.
    pub name: String,
    /// What it takes, as authors call it, each with its article.
    pub parameters: Vec<&'static str>,
}

/// Every native function of an SDK version, an entry for each list of parameters, in order. What Rhai's package has and is
/// replaced comes once.
pub fn natives_of(sdk: SdkVersion) -> BTreeSet<Native> {
    let described = |info: rhai::FuncInfo<'_>| {
        let metadata = info.metadata;
        let name = match info.namespace.as_str() {
            "" => metadata.name.to_string(),
            module => format!("{module}::{}", metadata.name),
        };
        let parameters = metadata.param_types.iter().map(|id| kind_of_type(*id)).collect();
        Some(Native { name, parameters })
    };
    Sandbox::of(sdk).engine.collect_fn_metadata(None, described, true).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_natives_are_known_by_name_and_argument_count() {
        let natives = &Sandbox::of(SdkVersion::V1_1).natives;
        assert_eq!(natives["log::info"], [1, 2]);
        assert_eq!(natives["push"], [2]);
        assert!(!natives.contains_key("+") && !natives.contains_key("log::debug"));
    }
}
