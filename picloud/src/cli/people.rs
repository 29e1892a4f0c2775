//! The verbs about who may what and who did what.

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use manifest_schema::name::{AppName, SettingName};
use platform::tokens::Scopes;

use super::app_limits::AppLimitsOption;
use super::listing::PageOptions;
use super::quantity::Age;
use crate::client::{AppOption, ClientOptions, completing};

/// What is done to apps; without any of it they are listed.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AppsOptions {
    #[command(subcommand)]
    pub(crate) verb: Option<AppsVerb>,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AppsVerb {
    /// List the apps of a server and what is live.
    List(ClientOptions),
    /// Create an app before its first push, on a server where pushes create none.
    Create {
        /// The name of the app.
        name: AppName,

        #[command(flatten)]
        client: ClientOptions,
    },
    /// Show what an app is granted, and grant it more or less than the server grants every app.
    Limits(AppLimitsOption),
    /// Stop an app: nothing of it answers or runs until it is started; pushes are taken.
    Stop(AppArgument),
    /// Start a stopped app; what its schedules would have run meanwhile is skipped.
    Start(AppArgument),
    /// Give an app another name, by which it answers from then on; scopes of tokens go along.
    Rename {
        /// The app.
        #[arg(add = ArgValueCompleter::new(completing::apps))]
        app: AppName,

        /// Its new name.
        name: AppName,

        #[command(flatten)]
        client: ClientOptions,
    },
    /// Delete an app with its secrets, domains and schedules; it can be brought back for 7 days.
    Delete {
        /// The app.
        #[arg(add = ArgValueCompleter::new(completing::apps))]
        app: AppName,

        /// Do not ask whether it is meant.
        #[arg(long)]
        yes: bool,

        #[command(flatten)]
        client: ClientOptions,
    },
    /// List the apps that are deleted and can be brought back.
    Deleted(ClientOptions),
    /// Bring a deleted app back.
    Undelete {
        /// What it was called, its id, or as much of the id's beginning as no other one has.
        #[arg(value_name = "NAME|ID")]
        app: String,

        /// Its name from then on; without it what it was called.
        #[arg(long = "as", value_name = "NAME")]
        name: Option<AppName>,

        #[command(flatten)]
        client: ClientOptions,
    },
    /// Delete old deploys at once, and all that nothing reaches then; what is live is kept.
    Prune(PruneOption),
    /// Let the production branch only go forward, but for tokens with the scope APP:force.
    Protect(AppsOption),
    /// Let the production branch go in any direction again.
    Unprotect(AppsOption),
}

/// One app, named or that of the folder.
#[derive(Clone, Debug, Args)]
pub(crate) struct AppArgument {
    /// The app; without it that of the `picloud` git remote.
    #[arg(value_name = "APP", env = "PICLOUD_APP", add = ArgValueCompleter::new(completing::apps))]
    pub(crate) app: Option<AppName>,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Which deploys are deleted.
#[derive(Clone, Debug, Args)]
pub(crate) struct PruneOption {
    /// The app; without it that of the `picloud` git remote.
    #[arg(value_name = "APP", env = "PICLOUD_APP", add = ArgValueCompleter::new(completing::apps))]
    pub(crate) app: Option<AppName>,

    /// How many deploys of each branch are kept, apart from what is live; without it as the server is set.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) deploys: Option<usize>,

    /// Those that are older are deleted, such as 30d; without it as the server is set.
    #[arg(long, value_name = "AGE")]
    pub(crate) older_than: Option<Age>,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// One app.
#[derive(Clone, Debug, Args)]
pub(crate) struct AppsOption {
    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TokensVerb {
    /// Create a token. It is printed once and kept nowhere.
    #[command(after_help = SCOPES)]
    Create(CreateToken),
    /// List the tokens, when they were last used and when they expire.
    List(ClientOptions),
    /// Revoke a token: it stops working at once, everywhere.
    Revoke {
        /// Its name, its id, or as much of the id's beginning as no other one has.
        #[arg(value_name = "NAME|ID")]
        which: String,

        #[command(flatten)]
        client: ClientOptions,
    },
}

/// What a token may.
const SCOPES: &str = "\
Scopes: `admin` for everything, `metrics` for what Prometheus reads, `status` for `picloud status`, or APP:WHAT with * for every app, and WHAT one or more of these with commas between them:
  read     clone, fetch, see what is live, schedules and logs
  preview  push to branches other than production
  deploy   push to production and previews, and tags
  force    set a protected production branch back (beside deploy)
  invoke   call functions; run, pause and resume schedules
  secrets  see which secrets are set, set and unset them
  create   create the app, by the first push (beside deploy) or by hand";

/// A token to be created.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateToken {
    /// What people call it: in lists, in the history, and to revoke it.
    pub(crate) name: String,

    /// What it may; may be given several times.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    pub(crate) scopes: Vec<Scopes>,

    /// For how long it works, such as 90d; without it until it is revoked.
    #[arg(long, value_name = "AGE")]
    pub(crate) expires: Option<Age>,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SecretsVerb {
    /// Set a secret to what standard input holds, or to what is typed unseen; what reads it is deployed anew.
    Set(SecretOption),
    /// List which secrets are set, when and by whom. Their values are shown by nothing.
    List {
        #[command(flatten)]
        app: AppOption,

        #[command(flatten)]
        client: ClientOptions,
    },
    /// Unset a secret that nothing live requires.
    Unset(SecretOption),
    /// Encrypt the secrets of all apps with the first key of the server's key file.
    Rotate(ClientOptions),
    /// Begin with a new key where the old one is lost: the server puts it on top of the key file in its data folder.
    NewKey(ClientOptions),
}

/// One secret of an app.
#[derive(Clone, Debug, Args)]
pub(crate) struct SecretOption {
    /// The secret, as `[secrets]` in the manifest names it.
    pub(crate) name: SettingName,

    /// For all previews, and not for production.
    #[arg(long)]
    pub(crate) preview: bool,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Which part of the audit list is shown.
#[derive(Clone, Debug, Args)]
pub(crate) struct AuditOptions {
    /// Only what was done to this app.
    #[arg(long, add = ArgValueCompleter::new(completing::apps))]
    pub(crate) app: Option<AppName>,

    #[command(flatten)]
    pub(crate) page: PageOptions,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}
