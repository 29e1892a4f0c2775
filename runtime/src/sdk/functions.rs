//! `functions`: calls of the functions of the same app, inside of the current execution.

use manifest_schema::sdk::SdkVersion;
use rhai::{Array, Blob, Dynamic, FnPtr, Map};

use super::call::{Call, Outcome, quoted};
use super::signature::{Function, Kinds, Parameter, SdkModule};
use crate::evaluation::evaluate;
use crate::failure::{Failure, FailureKind};
use crate::function::{Callee, CalleeError};
use crate::invocation::Trigger;
use crate::json::{self, JsonError};
use crate::memory::OfHost;
use crate::run_context;
use crate::type_name::type_name;

/// How many functions can be called by one another at a time.
const CALLS_MAX: usize = 8;

/// The maximum length of a payload, in bytes of JSON.
const PAYLOAD_MAX: usize = 4 * 1024 * 1024;

/// The module `functions`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "functions",
    since: SdkVersion::V1_3,
    summary: "Calls of the app's own functions.",
    functions: &[Function {
        name: "invoke",
        parameters: &[Parameter::new("name", Kinds::TEXT), Parameter::new("payload", Kinds::ANY)],
        required: 2,
        returns: "value",
        summary: "Runs the script of a function as a part of this execution, and gives the value that it ends with.",
        errors: &[
            "there is no function `…`",
            "there is no function `…`; …",
            "`…` failed: …",
            "`…` failed at …: …",
        ],
        run: invoke,
    }],
};

fn invoke(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    call.charge(0)?;
    let name = call.text(0);
    if run_context::function_depth() >= CALLS_MAX {
        // Only seen within the errors of the functions above.
        return call
            .fail_shared(format!("functions can call each other {CALLS_MAX} levels deep, not deeper"));
    }
    let payload = match json::write(call.value(1), PAYLOAD_MAX) {
        Ok(payload) => payload.into(),
        Err(JsonError::LimitReached) => return call.terminated(),
        Err(error) => return call.fail_shared(format!("`payload`: {error}")),
    };
    let callee = callee(call, &name)?;
    let Callee { revision, name: function, script: path, program } = &*callee;
    let failed = |failure: &Failure| {
        let at = failure.location.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
        call.fail(format!("`{name}` failed{at}: {}", failure.message))
    };
    let (entry, script) = match (revision.entry(path), program.script()) {
        (Ok(entry), Ok(script)) => (entry, script),
        (Err(failure), _) => return failed(&failure),
        (_, Err(failure)) => return failed(failure),
    };
    program.note_used();
    let trigger = Trigger::Function { name: function.clone(), payload };
    let Some(invocation) = run_context::invocation_of(path, trigger) else { return call.terminated() };
    let mark = run_context::with_host(|host| host.mark_changes());
    let called = run_context::CalledFunction::enter(path, script);
    let outcome = evaluate(revision, entry, script, &invocation, |value| {
        copy(&value, 0).map_err(|error| Failure::new(FailureKind::Script, error))
    });
    drop(called);
    // A reached limit ends the caller too.
    call.charge(0)?;
    outcome.or_else(|failure| {
        if let Some(mark) = mark {
            run_context::with_host(|host| host.undo_changes(mark));
        }
        failed(&failure)
    })
}

/// The function of this name, with its compiled script.
fn callee(call: &Call<'_, '_>, name: &str) -> Outcome<OfHost<Callee>> {
    let may_compile = !run_context::is_inline();
    match run_context::with_host(|host| host.function(name, may_compile)) {
        Some(Ok(callee)) => Ok(OfHost::from_host(callee)),
        Some(Err(CalleeError::Unknown(near))) => {
            let near = near.map(|near| format!("; {near}")).unwrap_or_default();
            call.fail(format!("there is no function `{}`{near}", quoted(name)))
        }
        Some(Err(CalleeError::NotCompiled)) => {
            // Compiling takes long.
            call.require_own_thread()?;
            call.terminated()
        }
        Some(Err(CalleeError::Failed(failure))) => call.fail(format!("`{name}` failed: {}", failure.message)),
        None => call.terminated(),
    }
}

/// A copy of the value of a function that shares nothing with its script.
fn copy(value: &Dynamic, depth: usize) -> Result<Dynamic, String> {
    let limit = |_| "a limit was reached".to_owned();
    let charge = |steps: usize| run_context::charge(steps).map_or(Ok(()), |stop| Err(limit(stop)));
    charge(1)?;
    if depth > json::DEPTH_MAX {
        return Err(format!("its value is nested deeper than {} levels", json::DEPTH_MAX));
    }
    if let Some(items) = value.read_lock::<Array>() {
        if let Some(stop) = run_context::reserve(std::mem::size_of_val(items.as_slice())) {
            return Err(limit(stop));
        }
        let mut copies = Array::with_capacity(items.len());
        for item in items.iter() {
            copies.push(copy(item, depth + 1)?);
        }
        return Ok(copies.into());
    }
    if let Some(entries) = value.read_lock::<Map>() {
        let mut copies = Map::new();
        for (key, item) in entries.iter() {
            copies.insert(key.clone(), copy(item, depth + 1)?);
        }
        return Ok(copies.into());
    }
    if let Some(blob) = value.read_lock::<Blob>() {
        charge(blob.len() / json::BYTES_PER_STEP)?;
        if let Some(stop) = run_context::reserve(blob.len()) {
            return Err(limit(stop));
        }
        return Ok(Dynamic::from_blob(blob.clone()));
    }
    if value.is::<FnPtr>() || value.read_lock::<FnPtr>().is_some() {
        return Err(format!("its value contains {}, which cannot leave its script", type_name(value)));
    }
    Ok(value.flatten_clone())
}
