//! `picloud completions` and `picloud man`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_complete::env::Shells;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::error::{CommandError, IoError};
use super::output::print;
use crate::cli::command;

/// The variable that a shell sets to request completions.
pub(crate) const COMPLETE: &str = "PICLOUD_COMPLETE";

const NAME: &str = "picloud";

/// Prints the completion script of a shell, which runs this program for each completion.
pub(crate) fn completions(shell: Shell) -> Result<(), CommandError> {
    let mut script = Vec::new();
    if let Some(completer) = Shells::builtins().completer(&shell.to_string()) {
        completer.write_registration(COMPLETE, NAME, NAME, NAME, &mut script).map_err(IoError::Print)?;
    }
    print(script)
}

/// Prints the completions of the words after `--` in the arguments.
pub(crate) fn complete(shell: &OsStr) -> Result<(), CommandError> {
    let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let mut output = Vec::new();
    if let Some(completer) = Shells::builtins().completer(&shell.to_string_lossy()) {
        let mut command = command();
        command.build();
        let folder = std::env::current_dir().ok();
        // An invalid command line has no completions.
        let _ = completer.write_complete(&mut command, words, folder.as_deref(), &mut output);
    }
    print(output)
}

/// Writes a page for the program and one for each command.
pub(crate) fn man(folder: &Path) -> Result<(), CommandError> {
    let failed = |source| IoError::Write { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    // Without the time zone data of this machine.
    let mut command = command().long_version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    command.build();
    Ok(pages(&command, folder).map_err(failed)?)
}

fn pages(command: &Command, folder: &Path) -> io::Result<()> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        pages(inner, folder)?;
    }
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)?;
    let mut more = Roff::default();
    section(&mut more, "ENVIRONMENT", &variables(command));
    section(&mut more, "FILES", &files(command));
    more.to_writer(&mut page)?;
    fs::write(folder.join(man.get_filename()), page)
}

fn section(page: &mut Roff, title: &str, entries: &[(String, String)]) {
    if entries.is_empty() {
        return;
    }
    page.control("SH", [title]);
    for (name, text) in entries {
        page.control("TP", []);
        page.text([bold(name.as_str())]);
        page.text([roman(text.as_str())]);
    }
}

/// Whether this is a client command.
fn is_client(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some("url"))
}

/// Whether a command opens the database.
fn opens_database(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some("database-url-file"))
}

/// The environment variables of a command.
fn variables(command: &Command) -> Vec<(String, String)> {
    let of_flag = |arg: &Arg| {
        let name = arg.get_env()?.to_string_lossy().into_owned();
        let flag = arg.get_long().map_or_else(|| arg.get_id().to_string(), |long| format!("--{long}"));
        Some((name, format!("The same as {flag}.")))
    };
    let mut all: Vec<_> =
        command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(of_flag).collect();
    let mut add = |name: &str, text: &str| all.push((name.to_owned(), text.to_owned()));
    if is_client(command) {
        add("PICLOUD_TOKEN", "The token. Takes precedence over picloud login and git credentials.");
        add("SSL_CERT_FILE", "File with trusted CA certificates, instead of those of the system.");
    }
    if opens_database(command) {
        add(
            "DATABASE_URL",
            "URL of a PostgreSQL database. Without it, data is stored in an SQLite database in the data folder.",
        );
    }
    if command.get_name() == "serve" {
        add("PICLOUD_ADMIN_TOKEN", "The admin token.");
        add("PICLOUD_LOG", "Log filter, such as debug, or info,script=trace.");
    }
    if command.get_name() == NAME {
        add("NO_COLOR", "Disables colors.");
        add("PICLOUD_URL, PICLOUD_APP, PICLOUD_TOKEN", "Server, app and token of client commands.");
    }
    all
}

/// The files of a command.
fn files(command: &Command) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |name: &str, text: &str| all.push((name.to_owned(), text.to_owned()));
    let whole = command.get_name() == NAME;
    if opens_database(command) || whole {
        add("/etc/picloud/picloud.conf", "Config file of a node; see --config.");
        add("picloud-data", "Data folder with picloud.db, admin-token and secret-key; see --data-dir.");
    }
    if is_client(command) || ["login", "logout", "credential"].contains(&command.get_name()) || whole {
        add("~/.config/picloud/credentials", "Tokens of picloud login.");
    }
    if ["init", "check", "dev"].contains(&command.get_name()) || whole {
        add("picloud.toml", "Manifest of an app; picloud schema prints its JSON Schema.");
    }
    if command.get_name() == "dev" {
        add(".env", "Secrets for scripts, such as API_KEY=...");
    }
    all
}
