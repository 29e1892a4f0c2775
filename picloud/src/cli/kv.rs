//! Arguments of `picloud kv`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::client::{AppArg, ClientArgs};

/// Reads and changes the state of an app.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KvCommand {
    /// Print the value of a key as JSON.
    Get {
        /// Key.
        key: String,

        /// Print a text or a blob as its bytes.
        #[arg(long)]
        raw: bool,

        #[command(flatten)]
        of: KvArgs,
    },
    /// Store a value.
    Set {
        /// Key.
        key: String,

        /// Value as JSON; `-` reads it from standard input.
        #[arg(allow_hyphen_values = true, required_unless_present = "file")]
        value: Option<String>,

        /// Read the value from a file.
        #[arg(long, value_name = "FILE", conflicts_with = "value")]
        file: Option<PathBuf>,

        /// The value is a plain text.
        #[arg(long)]
        text: bool,

        /// The value is a blob: any bytes.
        #[arg(long, conflicts_with = "text")]
        blob: bool,

        /// How long the key exists, such as `1h`.
        #[arg(long, value_name = "DURATION")]
        ttl: Option<String>,

        #[command(flatten)]
        of: KvArgs,
    },
    /// List keys with their values.
    List {
        /// What the keys begin with.
        #[arg(default_value = "")]
        prefix: String,

        /// Maximum number of keys.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,

        /// Only keys above this one.
        #[arg(long, value_name = "KEY")]
        after: Option<String>,

        /// Only keys below this one.
        #[arg(long, value_name = "KEY")]
        before: Option<String>,

        /// From the highest key down.
        #[arg(long)]
        reverse: bool,

        /// Only the keys.
        #[arg(long)]
        keys: bool,

        #[command(flatten)]
        of: KvArgs,
    },
    /// Delete keys.
    Delete {
        /// Keys.
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,

        #[command(flatten)]
        of: KvArgs,
    },
    /// Write all entries as JSON Lines.
    Export {
        /// What the keys begin with.
        #[arg(default_value = "")]
        prefix: String,

        /// File; standard output if omitted.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,

        #[command(flatten)]
        of: KvArgs,
    },
    /// Store the entries of an export, except those that have ended. Other keys stay.
    Import {
        /// File of `picloud kv export`; `-` is standard input.
        file: PathBuf,

        #[command(flatten)]
        of: KvArgs,
    },
    /// Show the size and the quota of production and of previews, and the keys with the most conflicts.
    Usage {
        #[command(flatten)]
        app: AppArg,

        #[command(flatten)]
        client: ClientArgs,
    },
}

/// A namespace of an app.
#[derive(Clone, Debug, Args)]
pub(crate) struct KvArgs {
    /// State of the preview of this branch, instead of production.
    #[arg(long)]
    pub(crate) branch: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
