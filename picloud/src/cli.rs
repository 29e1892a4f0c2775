//! What may be said on the command line. Exit codes: 0 done, 1 refused or failed, 2 misuse.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A self-hosted serverless platform that you deploy to with git push.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a node: receive pushes, answer requests, run schedules.
    Serve(Settings),
    /// See it all at once: serve, push an example, call it, roll back, and keep serving.
    Demo(DemoOptions),
    /// Write a starter app.
    Init {
        /// The folder to write it to; made where it does not exist.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Validate an app as a push would, without a server.
    Check {
        /// The folder with picloud.toml.
        #[arg(default_value = ".")]
        folder: PathBuf,

        /// Print one JSON object for editors and CI instead of words for people.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of picloud.toml, by which editors complete and check it.
    Schema,
}

/// How a node runs. Each is also read from the environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct Settings {
    /// The address to listen on; port 0 takes a free one and prints it.
    #[arg(long, env = "PICLOUD_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// The folder for what this node keeps: the admin token, and the database where no DATABASE_URL is set.
    #[arg(long, env = "PICLOUD_DATA_DIR", default_value = "picloud-data")]
    pub(crate) data_dir: PathBuf,

    /// The domain whose subdomains are apps: <app>.DOMAIN. The control plane then answers on DOMAIN alone.
    #[arg(long, env = "PICLOUD_DOMAIN")]
    pub(crate) domain: Option<String>,

    /// The URL that people use, such as https://pi.example.com, where it is not the listening address.
    #[arg(long, env = "PICLOUD_PUBLIC_URL")]
    pub(crate) public_url: Option<String>,

    /// A PostgreSQL to keep everything in; without it an SQLite database in the data folder.
    #[arg(env = "DATABASE_URL", hide_env_values = true, hide = true, long = "database-url")]
    pub(crate) database_url: Option<String>,

    /// The admin token, 32 characters or more; without it one is made, printed once, and kept in the data folder.
    #[arg(env = "PICLOUD_ADMIN_TOKEN", hide_env_values = true, hide = true, long = "admin-token")]
    pub(crate) admin_token: Option<String>,
}

/// How the demo runs.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoOptions {
    /// The folder to keep its database and repositories in; a temporary one where none is given.
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,

    /// The address to listen on; a free port is taken where this one is in use.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Stop after the tour instead of going on to serve.
    #[arg(long)]
    pub(crate) exit: bool,
}
