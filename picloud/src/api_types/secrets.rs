//! Types for secrets. The API never returns their values.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The secrets of an app, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Secrets {
    pub(crate) secrets: Vec<Secret>,
}

/// The environment of a secret: production or all previews.
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
    /// Id of the encryption key.
    pub(crate) key: String,
    /// Whether the responding node cannot decrypt the secret, because the key is lost or the stored value was changed. Restore the key
    /// or set the secret again.
    pub(crate) lost: bool,
}

/// The value of a secret.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSecret {
    pub(crate) value: String,
}

/// The result of setting or unsetting a secret.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ChangedSecret {
    pub(crate) name: String,
    pub(crate) environment: SecretEnvironment,
    /// Whether the secret changed.
    pub(crate) changed: bool,
    /// The new deploys of the branches that use the secret.
    pub(crate) deploys: Vec<SecretDeploy>,
    /// Warnings about the value.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// A deploy that the change of a secret created.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SecretDeploy {
    pub(crate) branch: String,
    pub(crate) deploy: u64,
}

/// A new encryption key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct NewKey {
    /// Id of the key.
    pub(crate) key: String,
    /// Name of the node.
    pub(crate) node: String,
    /// Key file on that node.
    pub(crate) file: String,
}

/// The result of a key rotation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Rotated {
    /// Number of re-encrypted secrets.
    pub(crate) rotated: usize,
}
