//! How native functions call a script's functions: the one place where what comes of such a call is judged.
//!
//! A limit that is reached within the call, however deep, ends the run: Rhai wraps every error of a callback into one that
//! `try` catches, so the end is kept in the run's context ([`run_context::end_by`]). `exit` is kept there from the beginning.
//! An error is an error. What the callback gives is of a kind that the native function can use, or an error: Rhai takes a
//! text for `false` and a float for no order, which scripts of SDK 1.0 to 1.2 go on getting ([`Rules`]).

use manifest_schema::sdk::SdkVersion;
use rhai::{Dynamic, EvalAltResult, FnPtr, NativeCallContext, Position};

use super::Outcome;
use crate::kind::kind_of;
use crate::run_context;

/// What is right, by the SDK version of the script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// What a callback gives must be of the kind that is asked for, what a comparer throws is thrown, and bytes are integers.
    pub(super) strict: bool,
}

impl Rules {
    pub(super) fn of(sdk: SdkVersion) -> Self {
        Self { strict: sdk >= SdkVersion::V1_3 }
    }
}

/// A function of the script that a native function was given.
pub(super) struct Callback<'c> {
    context: &'c NativeCallContext<'c>,
    function: &'c FnPtr,
    /// The native function that calls it, as authors write it.
    caller: &'static str,
    rules: Rules,
    /// How many arguments the function takes, where it is a closure.
    closure_takes: Option<usize>,
}

/// The most arguments of a closure that are counted.
const ARGUMENTS_MAX: usize = 16;

impl<'c> Callback<'c> {
    pub(super) fn new(
        context: &'c NativeCallContext<'c>,
        function: &'c FnPtr,
        caller: &'static str,
        rules: Rules,
    ) -> Self {
        let closure_takes = function.is_anonymous().then(|| takes(context, function)).flatten();
        Self { context, function, caller, rules, closure_takes }
    }

    /// Calls it with an item of a collection: as `this` where it takes no more than `args`, else as an argument, at `place`
    /// among them; and with `extra` behind that where it takes one more.
    pub(super) fn with_item<const N: usize, const E: usize>(
        &self,
        item: &mut Dynamic,
        args: [Dynamic; N],
        extra: [Dynamic; E],
        place: Option<usize>,
    ) -> Outcome<Dynamic> {
        let called = match (self.closure_takes, place) {
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
            (Some(takes), _) => Err(self.does_not_fit(takes, N, N + E + usize::from(place.is_some()))),
            // Rhai looks for a function of the script or of its own that fits.
            _ => {
                return self.judged(self.function.call_raw_with_extra_args(
                    self.caller,
                    self.context,
                    Some(item),
                    args,
                    extra,
                    place,
                ));
            }
        };
        self.judged(called.map_err(|error| self.within(error)))
    }

    /// Calls it with these arguments, and with `extra` behind them where it takes one more.
    pub(super) fn with<const N: usize>(&self, args: [Dynamic; N], extra: Dynamic) -> Outcome<Dynamic> {
        let called = match self.closure_takes {
            Some(takes) if takes == N => self.function.call_raw(self.context, None, args),
            Some(takes) if takes == N + 1 => {
                let all: Vec<Dynamic> = args.into_iter().chain([extra]).collect();
                self.function.call_raw(self.context, None, all)
            }
            Some(takes) => Err(self.does_not_fit(takes, N, N + 1)),
            None => {
                return self.judged(self.function.call_raw_with_extra_args(
                    self.caller,
                    self.context,
                    None,
                    args,
                    [extra],
                    None,
                ));
            }
        };
        self.judged(called.map_err(|error| self.within(error)))
    }

    /// Asks it about two items, whose order or likeness it says.
    ///
    /// # Errors
    /// It has failed. Where scripts are not to know of that, the answer is `None` instead.
    pub(super) fn about(&self, a: &Dynamic, b: &Dynamic) -> Outcome<Option<Dynamic>> {
        let given = self.function.call_raw(self.context, None, [a.clone(), b.clone()]);
        match self.judged(given) {
            Ok(given) => Ok(Some(given)),
            Err(error) if self.rules.strict => Err(self.within(error)),
            Err(_) => Ok(None),
        }
    }

    /// What it gave, as a condition.
    ///
    /// # Errors
    /// It is none, and that is not to be taken for `false`.
    pub(super) fn condition(&self, given: &Dynamic) -> Outcome<bool> {
        match given.as_bool() {
            Ok(holds) => Ok(holds),
            Err(_) if self.rules.strict => Err(self.wrong(given, "true or false")),
            Err(_) => Ok(false),
        }
    }

    /// Whether the error that [`Self::wrong`] makes is wanted.
    pub(super) fn is_strict(&self) -> bool {
        self.rules.strict
    }

    /// The error that what it gave is not what is asked for.
    pub(super) fn wrong(&self, given: &Dynamic, wanted: &str) -> Box<EvalAltResult> {
        let message =
            format!("the function that `{}` calls must give {wanted}, not {}", self.caller, kind_of(given));
        self.within(EvalAltResult::ErrorRuntime(message.into(), self.context.call_position()).into())
    }

    /// The error that a closure takes so many arguments, and none of the counts that it is called with.
    fn does_not_fit(&self, takes: usize, least: usize, most: usize) -> Box<EvalAltResult> {
        let counts = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let message =
            format!("`{}` calls its function with {counts} arguments, and it takes {takes}", self.caller);
        EvalAltResult::ErrorFunctionNotFound(message, self.context.call_position()).into()
    }

    fn judged(&self, called: Outcome<Dynamic>) -> Outcome<Dynamic> {
        called.inspect_err(|error| run_context::end_by(error)).and_then(super::kept::alone)
    }

    /// An error in a function that is called, as Rhai hands it on.
    fn within(&self, error: Box<EvalAltResult>) -> Box<EvalAltResult> {
        let source = self.context.call_source().unwrap_or_default().to_owned();
        EvalAltResult::ErrorInFunctionCall(self.caller.to_owned(), source, error, Position::NONE).into()
    }
}

/// How many arguments a closure takes behind those that it has captured.
fn takes(context: &NativeCallContext<'_>, closure: &FnPtr) -> Option<usize> {
    let captured = closure.curry().len();
    let defined = |takes: &usize| {
        context
            .namespaces()
            .iter()
            .any(|library| library.get_script_fn(closure.fn_name(), captured + takes).is_some())
    };
    (0..=ARGUMENTS_MAX).find(defined)
}
