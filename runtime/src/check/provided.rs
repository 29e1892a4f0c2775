//! What the manifest provides for one script by name.

use std::collections::BTreeSet;

use manifest_schema::manifest::Manifest;
use manifest_schema::name::ScriptPath;
use manifest_schema::path::Segment;

/// The names under which a script finds something in `ctx`: settings, secrets, and what its routes capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provided<'m> {
    env: BTreeSet<&'m str>,
    secrets: BTreeSet<&'m str>,
    params: BTreeSet<&'m str>,
    is_routed: bool,
}

/// A part of `ctx` whose names the manifest declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Env,
    Secrets,
    Params,
}

impl<'m> Provided<'m> {
    /// What `manifest` provides for `script`. Of several routes, the captures of all.
    pub fn of(manifest: &'m Manifest, script: &ScriptPath) -> Self {
        let mut provided = Self {
            env: manifest.env.keys().map(|name| name.as_str()).collect(),
            secrets: manifest.secrets.required.iter().map(|name| name.as_str()).collect(),
            ..Self::default()
        };
        for route in manifest.routes.iter().filter(|route| route.script == *script) {
            provided.is_routed = true;
            provided.params.extend(route.path.segments().iter().filter_map(|segment| match segment {
                Segment::Capture(name) | Segment::Rest(name) => Some(name.as_str()),
                Segment::Literal(_) => None,
            }));
        }
        provided
    }

    pub(super) fn names(&self, named: Named) -> &BTreeSet<&'m str> {
        match named {
            Named::Env => &self.env,
            Named::Secrets => &self.secrets,
            Named::Params => &self.params,
        }
    }

    /// Whether a route leads to the script.
    pub(super) fn is_routed(&self) -> bool {
        self.is_routed
    }
}
