//! Secrets. Their values go in and never come out.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The secrets of an app, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Secrets {
    pub(crate) secrets: Vec<Secret>,
}

/// For whom a secret is: one set is for production, and one for all previews.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecretEnvironment {
    #[default]
    Production,
    Preview,
}

/// A secret, without its value.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Secret {
    pub(crate) name: String,
    pub(crate) environment: SecretEnvironment,
    pub(crate) set_at: DateTime<Utc>,
    pub(crate) set_by: String,
    /// What the key is known by that it is encrypted with.
    pub(crate) key: String,
    /// The node that answers cannot open it: the key is lost, or the secret was changed in the database. It has to be set
    /// again, unless the key is put back.
    pub(crate) lost: bool,
}

/// A value to be set.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSecret {
    pub(crate) value: String,
}

/// A secret that was set or unset.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ChangedSecret {
    pub(crate) name: String,
    pub(crate) environment: SecretEnvironment,
    /// Whether there was anything to be changed.
    pub(crate) changed: bool,
    /// What reads it was deployed anew.
    pub(crate) deploys: Vec<SecretDeploy>,
    /// Why the value makes a bad secret, if it does.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// A deploy that a secret has made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SecretDeploy {
    pub(crate) branch: String,
    pub(crate) deploy: u64,
}

/// That a node encrypts with a new key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct NewKey {
    /// What the key is known by.
    pub(crate) key: String,
    /// The name of the node.
    pub(crate) node: String,
    /// The file on that node that holds the key.
    pub(crate) file: String,
}

/// That secrets were encrypted with another key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Rotated {
    /// How many.
    pub(crate) rotated: usize,
}
