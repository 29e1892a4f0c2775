//! The names that scripts see, by SDK version: the tables that `ctx` and the checks use.
//!
//! - `log`: the functions of the module `log`
//! - `settings`: `ctx.env` and `ctx.secrets`

mod log;
mod settings;

use manifest_schema::sdk::SdkVersion;
use rhai::{Engine, Module};

pub(crate) use settings::{AllSecretsError, Settings};

/// A module of functions that scripts call as `name::function`.
pub(crate) struct SdkModule {
    pub(crate) name: &'static str,
    /// The version that introduced the module. Scripts of older versions do not see it.
    pub(crate) since: SdkVersion,
    pub(crate) functions: fn() -> Module,
}

/// The modules of all versions.
pub(crate) const MODULES: [SdkModule; 1] =
    [SdkModule { name: "log", since: SdkVersion::V1_0, functions: log::module }];

/// Registers the types of a version in its engine.
pub(crate) fn register_types(engine: &mut Engine, sdk: SdkVersion) {
    if sdk >= Settings::SINCE {
        settings::register(engine);
    }
}

/// The variable with the context of the execution.
pub(crate) const CTX: &str = "ctx";

/// A property of `ctx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Property {
    SdkVersion,
    ExecutionId,
    RequestId,
    ScriptId,
    ScriptName,
    InvocationType,
    Request,
    Env,
    Secrets,
}

impl Property {
    pub(crate) const ALL: [Self; 9] = [
        Self::SdkVersion,
        Self::ExecutionId,
        Self::RequestId,
        Self::ScriptId,
        Self::ScriptName,
        Self::InvocationType,
        Self::Request,
        Self::Env,
        Self::Secrets,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SdkVersion => "sdk_version",
            Self::ExecutionId => "execution_id",
            Self::RequestId => "request_id",
            Self::ScriptId => "script_id",
            Self::ScriptName => "script_name",
            Self::InvocationType => "invocation_type",
            Self::Request => "request",
            Self::Env => "env",
            Self::Secrets => "secrets",
        }
    }

    /// The version that introduced the property.
    pub(crate) fn since(self) -> SdkVersion {
        match self {
            Self::Env | Self::Secrets => SdkVersion::V1_2,
            _ => SdkVersion::V1_0,
        }
    }
}

/// A property of `ctx.request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RequestProperty {
    Path,
    Headers,
    Body,
    Params,
    Query,
    Rest,
}

impl RequestProperty {
    pub(crate) const ALL: [Self; 6] =
        [Self::Path, Self::Headers, Self::Body, Self::Params, Self::Query, Self::Rest];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Headers => "headers",
            Self::Body => "body",
            Self::Params => "params",
            Self::Query => "query",
            Self::Rest => "rest",
        }
    }

    /// The version that introduced the property.
    pub(crate) fn since(self) -> SdkVersion {
        match self {
            Self::Rest => SdkVersion::V1_1,
            _ => SdkVersion::V1_0,
        }
    }
}

/// The parts of `ctx` that a script reads; the others are not built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    properties: u16,
    request: u8,
    /// Whether a named function reads `ctx`.
    pub(crate) in_functions: bool,
}

impl Uses {
    pub(crate) fn add(&mut self, property: Property) {
        self.properties |= 1 << property as u8;
    }

    pub(crate) fn add_request(&mut self, property: RequestProperty) {
        self.add(Property::Request);
        self.request |= 1 << property as u8;
    }

    pub(crate) fn add_whole_request(&mut self) {
        RequestProperty::ALL.into_iter().for_each(|property| self.add_request(property));
    }

    pub(crate) fn add_everything(&mut self) {
        Property::ALL.into_iter().for_each(|property| self.add(property));
        self.add_whole_request();
    }

    pub(crate) fn contains(self, property: Property) -> bool {
        self.properties & (1 << property as u8) != 0
    }

    pub(crate) fn contains_request(self, property: RequestProperty) -> bool {
        self.request & (1 << property as u8) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.properties == 0
    }
}
