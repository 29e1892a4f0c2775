//! Calls of script functions by native functions, and the rules for their results.
//!
//! A reached limit within the call, at any depth, stops the execution: Rhai wraps every error of a callback into one
//! that `try` catches, so the stop reason is kept in the execution's context ([`run_context::stop_on_engine_limit`]).
//! The same holds for `exit`. Errors stay errors. The result must have a type that the native function can use, or it
//! is an error: Rhai treats a text as `false` and a float as no order, as scripts of SDK 1.0 to 1.2 still expect
//! ([`Rules`]).

use manifest_schema::sdk::SdkVersion;
use rhai::{Dynamic, EvalAltResult, FnPtr, NativeCallContext, Position};

use super::Outcome;
use crate::run_context;
use crate::type_name::type_name;

/// The rules by SDK version of the script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Results of callbacks must have the expected type, errors of comparers are errors, and bytes are integers.
    pub(super) strict: bool,
}

impl Rules {
    pub(super) fn of(sdk: SdkVersion) -> Self {
        Self { strict: sdk >= SdkVersion::V1_3 }
    }
}

/// A function of the script passed to a native function.
pub(super) struct Callback<'c> {
    context: &'c NativeCallContext<'c>,
    function: &'c FnPtr,
    /// The native function that calls it.
    caller: &'static str,
    rules: Rules,
    /// The number of parameters, if it is a closure.
    closure_arity: Option<usize>,
}

/// The maximum number of closure parameters that are counted.
const ARGUMENTS_MAX: usize = 16;

impl<'c> Callback<'c> {
    pub(super) fn new(
        context: &'c NativeCallContext<'c>,
        function: &'c FnPtr,
        caller: &'static str,
        rules: Rules,
    ) -> Self {
        let closure_arity = function.is_anonymous().then(|| arity(context, function)).flatten();
        Self { context, function, caller, rules, closure_arity }
    }

    /// Calls it with an item of a collection: as `this` if it takes no more than `args`, else as the argument at
    /// `place`; and with `extra` after them if it takes one more.
    pub(super) fn call_with_item<const N: usize, const E: usize>(
        &self,
        item: &mut Dynamic,
        args: [Dynamic; N],
        extra: [Dynamic; E],
        place: Option<usize>,
    ) -> Outcome<Dynamic> {
        let called = match (self.closure_arity, place) {
            (Some(takes), _) if takes == N => self.function.call_raw(self.context, Some(item), args),
            (Some(takes), Some(place)) if takes == N + 1 || takes == N + 1 + E => {
                let mut all: Vec<Dynamic> = args.into_iter().collect();
                all.extend(extra.into_iter().take(takes - N - 1));
                all.insert(place, item.clone());
                self.function.call_raw(self.context, None, all)
            }
            (Some(takes), None) if takes == N + E => {
                let all: Vec<Dynamic> = args.into_iter().chain(extra).collect();
                self.function.call_raw(self.context, Some(item), all)
            }
            (Some(takes), _) => Err(self.arity_error(takes, N, N + E + usize::from(place.is_some()))),
            // Rhai selects a matching function of the script or a native one.
            _ => {
                return self.check_result(self.function.call_raw_with_extra_args(
                    self.caller,
                    self.context,
                    Some(item),
                    args,
                    extra,
                    place,
                ));
            }
        };
        self.check_result(called.map_err(|error| self.wrap_error(error)))
    }

    /// Calls it with these arguments, and with `extra` after them if it takes one more.
    pub(super) fn call_with<const N: usize>(&self, args: [Dynamic; N], extra: Dynamic) -> Outcome<Dynamic> {
        let called = match self.closure_arity {
            Some(takes) if takes == N => self.function.call_raw(self.context, None, args),
            Some(takes) if takes == N + 1 => {
                let all: Vec<Dynamic> = args.into_iter().chain([extra]).collect();
                self.function.call_raw(self.context, None, all)
            }
            Some(takes) => Err(self.arity_error(takes, N, N + 1)),
            None => {
                return self.check_result(self.function.call_raw_with_extra_args(
                    self.caller,
                    self.context,
                    None,
                    args,
                    [extra],
                    None,
                ));
            }
        };
        self.check_result(called.map_err(|error| self.wrap_error(error)))
    }

    /// Calls it with two items to compare.
    ///
    /// # Errors
    /// It failed. If errors are not reported to the script, the result is `None` instead.
    pub(super) fn compare(&self, a: &Dynamic, b: &Dynamic) -> Outcome<Option<Dynamic>> {
        let given = self.function.call_raw(self.context, None, [a.clone(), b.clone()]);
        match self.check_result(given) {
            Ok(given) => Ok(Some(given)),
            Err(error) if self.rules.strict => Err(self.wrap_error(error)),
            Err(_) => Ok(None),
        }
    }

    /// The result as a condition.
    ///
    /// # Errors
    /// It is not a boolean, and that is not treated as `false`.
    pub(super) fn as_condition(&self, given: &Dynamic) -> Outcome<bool> {
        match given.as_bool() {
            Ok(holds) => Ok(holds),
            Err(_) if self.rules.strict => Err(self.wrong_type_error(given, "true or false")),
            Err(_) => Ok(false),
        }
    }

    /// Whether results of the wrong type are errors.
    pub(super) fn is_strict(&self) -> bool {
        self.rules.strict
    }

    /// The error for a result of the wrong type.
    pub(super) fn wrong_type_error(&self, given: &Dynamic, expected: &str) -> Box<EvalAltResult> {
        let message = format!(
            "the function passed to `{}` must return {expected}, not {}",
            self.caller,
            type_name(given)
        );
        self.wrap_error(EvalAltResult::ErrorRuntime(message.into(), self.context.call_position()).into())
    }

    /// The error for a closure with a parameter count that its caller does not support.
    fn arity_error(&self, takes: usize, least: usize, most: usize) -> Box<EvalAltResult> {
        let counts = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let message =
            format!("the function passed to `{}` must take {counts} parameters, not {takes}", self.caller);
        EvalAltResult::ErrorFunctionNotFound(message, self.context.call_position()).into()
    }

    fn check_result(&self, called: Outcome<Dynamic>) -> Outcome<Dynamic> {
        called
            .inspect_err(|error| run_context::stop_on_engine_limit(error))
            .and_then(super::insertion::unshared)
    }

    /// Wraps an error of a callback as Rhai does.
    fn wrap_error(&self, error: Box<EvalAltResult>) -> Box<EvalAltResult> {
        let source = self.context.call_source().unwrap_or_default().to_owned();
        EvalAltResult::ErrorInFunctionCall(self.caller.to_owned(), source, error, Position::NONE).into()
    }
}

/// The number of parameters of a closure, without the captured ones.
fn arity(context: &NativeCallContext<'_>, closure: &FnPtr) -> Option<usize> {
    let captured = closure.curry().len();
    let defined = |takes: &usize| {
        context
            .namespaces()
            .iter()
            .any(|library| library.get_script_fn(closure.fn_name(), captured + takes).is_some())
    };
    (0..=ARGUMENTS_MAX).find(defined)
}
