//! The properties of `ctx`, and which of them a script reads.

use manifest_schema::sdk::SdkVersion;

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
    App,
    Branch,
    Commit,
    Started,
    Schedule,
}

impl Property {
    pub(crate) const ALL: [Self; 14] = [
        Self::SdkVersion,
        Self::ExecutionId,
        Self::RequestId,
        Self::ScriptId,
        Self::ScriptName,
        Self::InvocationType,
        Self::Request,
        Self::Env,
        Self::Secrets,
        Self::App,
        Self::Branch,
        Self::Commit,
        Self::Started,
        Self::Schedule,
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
            Self::App => "app",
            Self::Branch => "branch",
            Self::Commit => "commit",
            Self::Started => "started",
            Self::Schedule => "schedule",
        }
    }

    /// The version that introduced the property.
    pub(crate) fn since(self) -> SdkVersion {
        match self {
            Self::App | Self::Branch | Self::Commit | Self::Started | Self::Schedule => SdkVersion::V1_3,
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
    Method,
    Scheme,
    Host,
    Base,
    Ip,
    Cookies,
    QueryAll,
    Form,
    FormAll,
    Files,
    Bytes,
}

impl RequestProperty {
    pub(crate) const ALL: [Self; 17] = [
        Self::Path,
        Self::Headers,
        Self::Body,
        Self::Params,
        Self::Query,
        Self::Rest,
        Self::Method,
        Self::Scheme,
        Self::Host,
        Self::Base,
        Self::Ip,
        Self::Cookies,
        Self::QueryAll,
        Self::Form,
        Self::FormAll,
        Self::Files,
        Self::Bytes,
    ];

    /// Properties that have no JSON form or are costly. A script that reads the request as a whole gets them only if
    /// their names occur in it, so that it can log or answer the request.
    pub(crate) const ON_DEMAND: [Self; 4] = [Self::Form, Self::FormAll, Self::Files, Self::Bytes];

    /// Properties that are read from the form in the body.
    pub(crate) const OF_FORM: [Self; 3] = [Self::Form, Self::FormAll, Self::Files];

    fn is_on_demand(self) -> bool {
        Self::ON_DEMAND.contains(&self)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Headers => "headers",
            Self::Body => "body",
            Self::Params => "params",
            Self::Query => "query",
            Self::Rest => "rest",
            Self::Method => "method",
            Self::Scheme => "scheme",
            Self::Host => "host",
            Self::Base => "base",
            Self::Ip => "ip",
            Self::Cookies => "cookies",
            Self::QueryAll => "query_all",
            Self::Form => "form",
            Self::FormAll => "form_all",
            Self::Files => "files",
            Self::Bytes => "bytes",
        }
    }

    /// The version that introduced the property.
    pub(crate) fn since(self) -> SdkVersion {
        match self {
            Self::Path | Self::Headers | Self::Body | Self::Params | Self::Query => SdkVersion::V1_0,
            Self::Rest => SdkVersion::V1_1,
            _ => SdkVersion::V1_3,
        }
    }
}

/// The parts of `ctx` that a script reads; the others are not built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    properties: u32,
    request: u32,
    /// Whether the request is read as a whole: copied, passed on, written.
    whole_request: bool,
    /// The properties of [`RequestProperty::ON_DEMAND`] whose names occur in the script.
    named: u32,
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
        self.add(Property::Request);
        self.whole_request = true;
    }

    pub(crate) fn add_everything(&mut self) {
        Property::ALL.into_iter().for_each(|property| self.add(property));
        self.add_whole_request();
    }

    /// Records which names occur anywhere in the script.
    pub(crate) fn add_named(&mut self, occurs: impl Fn(&str) -> bool) {
        for property in RequestProperty::ON_DEMAND {
            if occurs(property.name()) {
                self.named |= 1 << property as u8;
            }
        }
    }

    /// Adds what another part of the script reads.
    pub(crate) fn merge(&mut self, other: Self) {
        self.properties |= other.properties;
        self.request |= other.request;
        self.whole_request |= other.whole_request;
        self.named |= other.named;
        self.in_functions |= other.in_functions;
    }

    pub(crate) fn contains(self, property: Property) -> bool {
        self.properties & (1 << property as u8) != 0
    }

    pub(crate) fn contains_request(self, property: RequestProperty) -> bool {
        let bit = 1 << property as u8;
        let in_whole = self.whole_request && (self.named & bit != 0 || !property.is_on_demand());
        in_whole || self.request & bit != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.properties == 0
    }
}
