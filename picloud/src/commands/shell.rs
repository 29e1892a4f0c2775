//! `picloud completions` and `picloud man`: what a shell and a manual know of the command line.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_complete::env::Shells;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::error::{CommandError, VerbError};
use super::output::print;
use crate::cli::command;

/// The variable with which a shell asks for what can follow.
pub(crate) const COMPLETE: &str = "PICLOUD_COMPLETE";

const NAME: &str = "picloud";

/// Prints what lets a shell complete verbs, flags and names: it asks this program each time.
pub(crate) fn completions(shell: Shell) -> Result<(), CommandError> {
    let mut script = Vec::new();
    if let Some(completer) = Shells::builtins().completer(&shell.to_string()) {
        completer.write_registration(COMPLETE, NAME, NAME, NAME, &mut script).map_err(VerbError::Print)?;
    }
    print(script)
}

/// Answers a shell: what can follow the words that come after `--` in the arguments.
pub(crate) fn complete(shell: &OsStr) -> Result<(), CommandError> {
    let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let mut answer = Vec::new();
    if let Some(completer) = Shells::builtins().completer(&shell.to_string_lossy()) {
        let mut command = command();
        command.build();
        let folder = std::env::current_dir().ok();
        // A line that cannot be read has nothing to follow.
        let _ = completer.write_complete(&mut command, words, folder.as_deref(), &mut answer);
    }
    print(answer)
}

/// Writes a page for the program and one for each verb.
pub(crate) fn man(folder: &Path) -> Result<(), CommandError> {
    let failed = |source| VerbError::Write { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    // A page says nothing of the machine that it was made on.
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

/// Whether a verb asks a server.
fn asks(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some("url"))
}

/// Whether a verb works with the data of a node.
fn works_with_data(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some("database-url-file"))
}

/// The variables that a verb reads, and what for.
fn variables(command: &Command) -> Vec<(String, String)> {
    let of_flag = |arg: &Arg| {
        let name = arg.get_env()?.to_string_lossy().into_owned();
        let flag = arg.get_long().map_or_else(|| arg.get_id().to_string(), |long| format!("--{long}"));
        Some((name, format!("The same as {flag}.")))
    };
    let mut all: Vec<_> =
        command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(of_flag).collect();
    let mut add = |name: &str, text: &str| all.push((name.to_owned(), text.to_owned()));
    if asks(command) {
        add("PICLOUD_TOKEN", "The token; it counts before what picloud login has kept and what git knows.");
        add(
            "SSL_CERT_FILE",
            "A file with the certificates of authorities that are trusted, instead of those of the system.",
        );
    }
    if works_with_data(command) {
        add(
            "DATABASE_URL",
            "The URL of the PostgreSQL; without it there is an SQLite database in the data folder.",
        );
    }
    if command.get_name() == "serve" {
        add("PICLOUD_ADMIN_TOKEN", "The admin token.");
        add("PICLOUD_LOG", "What is logged, such as debug, or info,script=trace.");
    }
    if command.get_name() == NAME {
        add("NO_COLOR", "Nothing is coloured where it is set.");
        add(
            "PICLOUD_URL, PICLOUD_APP, PICLOUD_TOKEN",
            "The server, the app and the token of verbs that ask a server.",
        );
    }
    all
}

/// The files that a verb reads or writes.
fn files(command: &Command) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |name: &str, text: &str| all.push((name.to_owned(), text.to_owned()));
    let whole = command.get_name() == NAME;
    if works_with_data(command) || whole {
        add("/etc/picloud/picloud.conf", "The settings of a node; --config names another file.");
        add(
            "picloud-data",
            "The data folder: picloud.db, admin-token and secret-key; --data-dir names another one.",
        );
    }
    if asks(command) || ["login", "logout", "credential"].contains(&command.get_name()) || whole {
        add("~/.config/picloud/credentials", "The tokens that picloud login has kept, for their owner only.");
    }
    if ["init", "check", "dev"].contains(&command.get_name()) || whole {
        add("picloud.toml", "What an app is; picloud schema prints its JSON Schema.");
    }
    if command.get_name() == "dev" {
        add(".env", "Secrets for scripts, in lines such as API_KEY=...");
    }
    all
}
