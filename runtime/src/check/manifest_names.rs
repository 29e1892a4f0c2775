//! The names that the manifest declares for one script.

use std::collections::BTreeSet;

use manifest_schema::manifest::Manifest;
use manifest_schema::name::ScriptPath;
use manifest_schema::path::Segment;

/// The names that a script can read in `ctx`: environment, secrets, and captures of its routes; and what it can call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestNames<'m> {
    env: BTreeSet<&'m str>,
    secrets: BTreeSet<&'m str>,
    params: BTreeSet<&'m str>,
    functions: BTreeSet<&'m str>,
    is_routed: bool,
    /// Whether the script is a library: the routes of its users are not known.
    is_library: bool,
    /// The templates of the commit, if they are known.
    templates: Option<BTreeSet<&'m str>>,
}

/// A part of `ctx` with names from the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    Env,
    Secrets,
    Params,
}

impl<'m> ManifestNames<'m> {
    /// The names that `manifest` declares for `script`, with the captures of all its routes.
    pub fn of(manifest: &'m Manifest, script: &ScriptPath) -> Self {
        let mut names = Self {
            env: manifest.env.keys().map(|name| name.as_str()).collect(),
            secrets: manifest.secrets.required.iter().map(|name| name.as_str()).collect(),
            functions: manifest.functions.iter().map(|function| function.name.as_str()).collect(),
            ..Self::default()
        };
        for route in manifest.routes.iter().filter(|route| route.script == *script) {
            names.is_routed = true;
            names.params.extend(route.path.segments().iter().filter_map(|segment| match segment {
                Segment::Capture(name) | Segment::Rest(name) => Some(name.as_str()),
                Segment::Literal(_) => None,
            }));
        }
        names
    }

    /// The names that `manifest` declares for every library.
    pub fn of_library(manifest: &'m Manifest) -> Self {
        Self {
            env: manifest.env.keys().map(|name| name.as_str()).collect(),
            secrets: manifest.secrets.required.iter().map(|name| name.as_str()).collect(),
            functions: manifest.functions.iter().map(|function| function.name.as_str()).collect(),
            is_library: true,
            ..Self::default()
        }
    }

    pub(super) fn is_library(&self) -> bool {
        self.is_library
    }

    /// The same with the names of the templates of the commit.
    pub fn with_templates(self, templates: impl Iterator<Item = &'m str>) -> Self {
        Self { templates: Some(templates.collect()), ..self }
    }

    /// The functions of the app.
    pub(super) fn functions(&self) -> &BTreeSet<&'m str> {
        &self.functions
    }

    pub(super) fn templates(&self) -> Option<&BTreeSet<&'m str>> {
        self.templates.as_ref()
    }

    pub(super) fn names(&self, named: NameKind) -> &BTreeSet<&'m str> {
        match named {
            NameKind::Env => &self.env,
            NameKind::Secrets => &self.secrets,
            NameKind::Params => &self.params,
        }
    }

    /// Whether a route uses the script.
    pub(super) fn is_routed(&self) -> bool {
        self.is_routed
    }
}
