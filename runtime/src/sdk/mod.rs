//! The names that scripts see, by SDK version: the tables that `ctx` and the checks use.
//!
//! - `signature`: the signatures of functions, and their registration; `call` is a call of one
//! - `definitions`: the signatures as files for editors
//! - `reference`: the signatures for `docs/sdk.md`
//! - `properties`: the properties of `ctx`
//! - `settings`: `ctx.env` and `ctx.secrets`
//! - `output`: results that grow while they are built
//! - `values`: the functions without a module
//! - the other modules: the functions of the module of that name

mod base64;
mod call;
mod cookie;
mod crypto;
mod csv;
mod definitions;
mod feed;
mod functions;
mod hex;
mod html;
mod kv;
mod log;
mod markdown;
mod output;
mod properties;
mod random;
mod reference;
mod regex;
mod response;
mod settings;
mod signature;
mod time;
mod url;
mod values;
mod webhook;

use manifest_schema::sdk::SdkVersion;
use rhai::Engine;

pub(crate) use call::{NOTHING_STORED, check_integer, check_text, unknown_option, wrong_kind};
pub use definitions::{DefinitionFile, definitions};
pub(crate) use properties::{CTX, Property, RequestProperty, Uses};
pub use reference::{FunctionReference, ModuleReference, OptionReference, ctx_properties, sdk_reference};
pub(crate) use settings::{AllSecretsError, Settings};
pub(crate) use signature::{Accepts, Function, Kinds, OptionKey, Parameter, SdkModule};

/// The modules of all versions.
pub(crate) const MODULES: &[SdkModule] = &[
    base64::MODULE,
    cookie::MODULE,
    crypto::MODULE,
    csv::MODULE,
    feed::MODULE,
    functions::MODULE,
    hex::MODULE,
    html::MODULE,
    kv::MODULE,
    log::MODULE,
    markdown::MODULE,
    random::MODULE,
    regex::MODULE,
    response::MODULE,
    time::MODULE,
    url::MODULE,
    values::MODULE,
    webhook::MODULE,
];

/// Registers the functions and types of a version in its engine.
pub(crate) fn register(engine: &mut Engine, sdk: SdkVersion) {
    for module in MODULES.iter().filter(|module| module.since <= sdk) {
        let natives = signature::register(module).into();
        if module.name.is_empty() {
            engine.register_global_module(natives);
        } else {
            engine.register_static_module(module.name, natives);
        }
    }
    if sdk >= Settings::SINCE {
        settings::register(engine);
    }
}
