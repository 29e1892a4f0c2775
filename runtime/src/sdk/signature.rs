//! The signatures of the SDK's functions.
//!
//! One table feeds everything that knows a function: the native that scripts call ([`register`]), the checks of a
//! push, the index of the reference, and the definitions for editors. A native takes any values and checks their kinds
//! itself, so that authors never see a message of Rhai about the types of a call.

use std::any::TypeId;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use manifest_schema::sdk::SdkVersion;
use rhai::{
    Array, Blob, Dynamic, FnNamespace, FnPtr, FuncRegistration, ImmutableString, Map, Module, RhaiFunc,
    Shared,
};

use super::call::{Call, Outcome};

/// A module of functions that scripts call as `name::function`, or functions without a module, which are called as
/// methods too.
pub(crate) struct SdkModule {
    /// The name; `""` for functions without a module.
    pub(crate) name: &'static str,
    /// The version that introduced the module. Scripts of older versions do not see it.
    pub(crate) since: SdkVersion,
    /// What the module is for, in one sentence.
    pub(crate) summary: &'static str,
    pub(crate) functions: &'static [Function],
}

/// A function of a module.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) parameters: &'static [Parameter],
    /// The number of parameters that every call has; the others are optional, from the last one on.
    pub(crate) required: usize,
    /// The result in the notation of the reference: `text`, `map or ()`.
    pub(crate) returns: &'static str,
    /// What it does, in one or two sentences.
    pub(crate) summary: &'static str,
    /// The errors of its own, without those that all functions share; `…` stands for any text.
    pub(crate) errors: &'static [&'static str],
    pub(crate) run: fn(&Call<'_, '_>) -> Outcome<Dynamic>,
}

/// A parameter of a function.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kinds: Kinds,
    pub(crate) accepts: Accepts,
}

/// The values of its kinds that a parameter or an option accepts.
pub(crate) enum Accepts {
    /// All.
    All,
    /// These texts.
    Texts(&'static [&'static str]),
    /// Texts such as `5m`, as in the manifest.
    Durations,
    /// Such texts of at least and at most these durations.
    DurationsWithin(RangeInclusive<Duration>),
    /// Integers within a range.
    Integers(RangeInclusive<i64>),
    /// Keys of the state.
    Keys,
    /// What keys of the state begin with; may be empty.
    Prefixes,
    /// Everything but `()`.
    Stored,
    /// Regular expressions.
    Patterns,
    /// A map with these keys only.
    Options(&'static [OptionKey]),
}

/// A key of an options map.
pub(crate) struct OptionKey {
    pub(crate) name: &'static str,
    pub(crate) kinds: Kinds,
    pub(crate) accepts: Accepts,
    /// What it does, in one sentence.
    pub(crate) summary: &'static str,
}

impl Parameter {
    /// A parameter that accepts all values of these kinds.
    pub(crate) const fn new(name: &'static str, kinds: Kinds) -> Self {
        Self { name, kinds, accepts: Accepts::All }
    }

    /// A parameter that accepts these texts.
    pub(crate) const fn one_of(name: &'static str, texts: &'static [&'static str]) -> Self {
        Self { name, kinds: Kinds::TEXT, accepts: Accepts::Texts(texts) }
    }

    /// The options map.
    pub(crate) const fn options(keys: &'static [OptionKey]) -> Self {
        Self { name: "options", kinds: Kinds::MAP, accepts: Accepts::Options(keys) }
    }
}

impl OptionKey {
    pub(crate) const fn new(name: &'static str, kinds: Kinds, summary: &'static str) -> Self {
        Self { name, kinds, accepts: Accepts::All, summary }
    }

    /// A duration such as `5m`.
    pub(crate) const fn duration(name: &'static str, summary: &'static str) -> Self {
        Self { name, kinds: Kinds::TEXT, accepts: Accepts::Durations, summary }
    }

    /// A duration such as `5m`, of at least and at most these.
    pub(crate) const fn duration_within(
        name: &'static str,
        within: RangeInclusive<Duration>,
        summary: &'static str,
    ) -> Self {
        Self { name, kinds: Kinds::TEXT, accepts: Accepts::DurationsWithin(within), summary }
    }

    /// An integer within a range.
    pub(crate) const fn integer(
        name: &'static str,
        within: RangeInclusive<i64>,
        summary: &'static str,
    ) -> Self {
        Self { name, kinds: Kinds::INTEGER, accepts: Accepts::Integers(within), summary }
    }

    pub(crate) const fn one_of(
        name: &'static str,
        texts: &'static [&'static str],
        summary: &'static str,
    ) -> Self {
        Self { name, kinds: Kinds::TEXT, accepts: Accepts::Texts(texts), summary }
    }
}

/// A set of the kinds of values in Rhai.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds(u16);

impl Kinds {
    pub(crate) const UNIT: Self = Self(1);
    pub(crate) const BOOL: Self = Self(1 << 1);
    pub(crate) const INTEGER: Self = Self(1 << 2);
    pub(crate) const FLOAT: Self = Self(1 << 3);
    pub(crate) const CHARACTER: Self = Self(1 << 4);
    pub(crate) const TEXT: Self = Self(1 << 5);
    pub(crate) const BLOB: Self = Self(1 << 6);
    pub(crate) const ARRAY: Self = Self(1 << 7);
    pub(crate) const MAP: Self = Self(1 << 8);
    pub(crate) const FUNCTION: Self = Self(1 << 9);
    /// Ranges, iterators and settings.
    const OTHER: Self = Self(1 << 10);
    pub(crate) const NUMBER: Self = Self::INTEGER.or(Self::FLOAT);
    /// Bytes: a string counts as its UTF-8.
    pub(crate) const DATA: Self = Self::TEXT.or(Self::BLOB);
    pub(crate) const ANY: Self = Self((1 << 11) - 1);

    /// The single kinds with their names in messages.
    const NAMED: [(Self, &'static str); 11] = [
        (Self::UNIT, "nothing"),
        (Self::BOOL, "true or false"),
        (Self::INTEGER, "an integer"),
        (Self::FLOAT, "a float"),
        (Self::CHARACTER, "a character"),
        (Self::TEXT, "a string"),
        (Self::BLOB, "a blob"),
        (Self::ARRAY, "an array"),
        (Self::MAP, "a map"),
        (Self::FUNCTION, "a function"),
        (Self::OTHER, "a value"),
    ];

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn contains(self, kind: Self) -> bool {
        self.0 & kind.0 == kind.0
    }

    /// The kind of a value.
    pub(crate) fn of(value: &Dynamic) -> Self {
        Self::of_type(value.type_id()).unwrap_or(Self::OTHER)
    }

    /// The kind of the values of a type in Rhai; `None` for types that are no kind of their own.
    pub(crate) fn of_type(id: TypeId) -> Option<Self> {
        Self::typed().into_iter().find(|(of, _)| *of == id).map(|(_, kind)| kind)
    }

    /// The types of the single kinds, frequent ones first.
    fn typed() -> [(TypeId, Self); 10] {
        [
            (TypeId::of::<ImmutableString>(), Self::TEXT),
            (TypeId::of::<i64>(), Self::INTEGER),
            (TypeId::of::<Map>(), Self::MAP),
            (TypeId::of::<Array>(), Self::ARRAY),
            (TypeId::of::<bool>(), Self::BOOL),
            (TypeId::of::<f64>(), Self::FLOAT),
            (TypeId::of::<()>(), Self::UNIT),
            (TypeId::of::<Blob>(), Self::BLOB),
            (TypeId::of::<char>(), Self::CHARACTER),
            (TypeId::of::<FnPtr>(), Self::FUNCTION),
        ]
    }
}

/// Formats as `a string or a blob`.
impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            return f.write_str("any value");
        }
        if *self == Self::NUMBER {
            return f.write_str("a number");
        }
        let mut names = Self::NAMED.iter().filter(|(kind, _)| self.contains(*kind)).map(|(_, name)| *name);
        f.write_str(names.next().unwrap_or("nothing"))?;
        names.try_for_each(|name| write!(f, " or {name}"))
    }
}

/// The Rhai module with the natives of an SDK module.
pub(crate) fn register(of: &'static SdkModule) -> Module {
    let mut module = Module::new();
    for function in of.functions {
        for count in function.required..=function.parameters.len() {
            register_arity(&mut module, of.name, function, count);
        }
    }
    module
}

fn register_arity(module: &mut Module, of: &'static str, function: &'static Function, count: usize) {
    if !of.is_empty() {
        register_types(module, of, function, vec![TypeId::of::<Dynamic>(); count]);
        return;
    }
    // A function without a module is a method of the types of its first parameter, and of no other.
    let kinds = function.parameters.first().map_or(Kinds::ANY, |first| first.kinds);
    for (receiver, kind) in Kinds::typed() {
        if kinds.contains(kind) {
            let mut types = vec![TypeId::of::<Dynamic>(); count];
            types.iter_mut().take(1).for_each(|first| *first = receiver);
            register_types(module, of, function, types);
        }
    }
}

fn register_types(module: &mut Module, of: &'static str, function: &'static Function, types: Vec<TypeId>) {
    let run =
        move |context: Option<rhai::NativeCallContext<'_>>, arguments: &mut [&mut Dynamic]| match context {
            Some(context) => Call::new(of, function, &context, arguments).run(),
            None => unreachable!("the function is registered with a context"),
        };
    let native = RhaiFunc::Method {
        func: Shared::new(run),
        has_context: true,
        // The first argument can be a constant, which is not copied.
        is_pure: true,
        is_volatile: true,
    };
    let namespace = if of.is_empty() { FnNamespace::Global } else { FnNamespace::Internal };
    FuncRegistration::new(function.name).with_namespace(namespace).set_into_module_raw(module, types, native);
}

#[cfg(test)]
mod tests {
    use super::super::MODULES;
    use super::*;

    #[test]
    fn kinds_are_named_in_messages() {
        assert_eq!(Kinds::DATA.to_string(), "a string or a blob");
        assert_eq!(Kinds::NUMBER.or(Kinds::UNIT).to_string(), "nothing or an integer or a float");
        assert_eq!(
            (Kinds::NUMBER.to_string(), Kinds::ANY.to_string()),
            ("a number".into(), "any value".into())
        );
        assert_eq!(Kinds::of(&"x".into()), Kinds::TEXT);
        assert!(Kinds::ANY.contains(Kinds::of(&Dynamic::from(0..1_i64))));
    }

    #[test]
    fn tables_are_complete() {
        for module in MODULES {
            for function in module.functions {
                let name = format!("{}::{}", module.name, function.name);
                assert!(function.required <= function.parameters.len(), "{name}");
                assert!(function.summary.ends_with('.') && !function.returns.is_empty(), "{name}");
                let options = |parameter: &Parameter| matches!(parameter.accepts, Accepts::Options(_));
                let others = function.parameters.split_last().map_or(&[][..], |(_, others)| others);
                assert!(!others.iter().any(options), "{name}: options come last");
                let same = module.functions.iter().filter(|other| other.name == function.name).count();
                assert_eq!(same, 1, "{name}");
            }
        }
    }
}
