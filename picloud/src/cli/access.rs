//! Arguments of the commands about apps, tokens, secrets and the audit log.

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use manifest_schema::name::{AppName, SettingName};
use platform::tokens::Scopes;

use super::app::AppArgs;
use super::app_limits::AppLimitsArgs;
use super::listing::PageArgs;
use super::units::DurationValue;
use crate::client::{AppArg, ClientArgs, completion};

/// Arguments of `picloud apps`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AppsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<AppsCommand>,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AppsCommand {
    /// List the apps of a server and their live deploys.
    List(ClientArgs),
    /// Create an app before its first push.
    Create {
        /// Name of the app.
        name: AppName,

        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show or change the limits of an app.
    Limits(AppLimitsArgs),
    /// Stop an app: requests get 503 and schedules do not run. Pushes are still accepted.
    Stop(AppArgument),
    /// Start a stopped app. Schedule runs that were due while it was stopped are skipped.
    Start(AppArgument),
    /// Rename an app. Its URL changes, and the scopes of tokens follow.
    Rename {
        /// App.
        #[arg(add = ArgValueCompleter::new(completion::apps))]
        app: AppName,

        /// New name.
        name: AppName,

        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete an app with its secrets, domains and schedules. It can be restored for 7 days.
    Delete {
        /// App.
        #[arg(add = ArgValueCompleter::new(completion::apps))]
        app: AppName,

        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,

        #[command(flatten)]
        client: ClientArgs,
    },
    /// List deleted apps that can be restored.
    Deleted(ClientArgs),
    /// Restore a deleted app.
    Undelete {
        /// Name or id of the deleted app, or a unique prefix of the id.
        #[arg(value_name = "NAME|ID")]
        app: String,

        /// New name. The default is the old name.
        #[arg(long = "as", value_name = "NAME")]
        name: Option<AppName>,

        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete old deploys and unreachable objects now. The live deploy is kept.
    Prune(PruneArgs),
    /// Protect the production branch: reject non-fast-forward pushes from tokens without the scope APP:force.
    Protect(AppArgs),
    /// Remove the protection of the production branch.
    Unprotect(AppArgs),
}

/// An app as a positional argument.
#[derive(Clone, Debug, Args)]
pub(crate) struct AppArgument {
    /// App. The default is the app of the `picloud` git remote.
    #[arg(value_name = "APP", env = "PICLOUD_APP", add = ArgValueCompleter::new(completion::apps))]
    pub(crate) app: Option<AppName>,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Arguments of `picloud apps prune`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PruneArgs {
    /// App. The default is the app of the `picloud` git remote.
    #[arg(value_name = "APP", env = "PICLOUD_APP", add = ArgValueCompleter::new(completion::apps))]
    pub(crate) app: Option<AppName>,

    /// Number of deploys to keep of each branch, in addition to the live one. The default is the setting of the server.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) deploys: Option<usize>,

    /// Delete deploys that are older than this, such as 30d. The default is the setting of the server.
    #[arg(long, value_name = "DURATION")]
    pub(crate) older_than: Option<DurationValue>,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// Create a token. The server stores only its hash, so it is printed only once.
    #[command(after_help = SCOPES)]
    Create(CreateTokenArgs),
    /// List tokens with their last use and expiry.
    List(ClientArgs),
    /// Revoke a token on all nodes.
    Revoke {
        /// Name or id of the token, or a unique prefix of the id.
        #[arg(value_name = "NAME|ID")]
        token_id: String,

        #[command(flatten)]
        client: ClientArgs,
    },
}

/// The scopes of tokens.
const SCOPES: &str = "\
Scopes: `admin` (everything), `metrics` (/-/metrics), `status` (`picloud status`), or APP:RIGHT[,RIGHT...], where APP can be * for all apps and RIGHT is one of:
  read     clone and fetch; read deploys, schedules and logs
  preview  push to branches other than production
  deploy   push to all branches and tags
  force    force-push to a protected production branch (requires deploy)
  invoke   call functions; run, pause and resume schedules
  secrets  list, set and unset secrets
  create   create the app, with its first push (requires deploy) or with `picloud apps create`";

/// Arguments of `picloud tokens create`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateTokenArgs {
    /// Name of the token in lists and audit events.
    pub(crate) name: String,

    /// Scope of the token; can be repeated.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    pub(crate) scopes: Vec<Scopes>,

    /// Lifetime of the token, such as 90d. By default, it does not expire.
    #[arg(long, value_name = "DURATION")]
    pub(crate) expires: Option<DurationValue>,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Set a secret from standard input or a hidden prompt, and redeploy the branches that use it.
    Set(SecretArgs),
    /// List the names of secrets, and when and by whom they were set. Values cannot be read.
    List {
        #[command(flatten)]
        app: AppArg,

        #[command(flatten)]
        client: ClientArgs,
    },
    /// Unset a secret. Fails if a live deploy requires it.
    Unset(SecretArgs),
    /// Re-encrypt the secrets of all apps with the first key of the server's key file.
    Rotate(ClientArgs),
    /// Create a new encryption key after the old one was lost. The server adds it to the top of the key file in its data folder.
    NewKey(ClientArgs),
}

/// A secret of an app.
#[derive(Clone, Debug, Args)]
pub(crate) struct SecretArgs {
    /// Name of the secret in `[secrets]` of the manifest.
    pub(crate) name: SettingName,

    /// The secret of previews instead of production.
    #[arg(long)]
    pub(crate) preview: bool,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Arguments of `picloud audit`.
#[derive(Clone, Debug, Args)]
pub(crate) struct AuditArgs {
    /// Only events of this app.
    #[arg(long, add = ArgValueCompleter::new(completion::apps))]
    pub(crate) app: Option<AppName>,

    #[command(flatten)]
    pub(crate) page: PageArgs,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
