//! The sources of settings, in order of precedence: flags, the environment, `picloud.conf`, defaults.
//!
//! A key of the file is the name of a flag with `_` for `-`. The value parser of the flag validates the value; its error is
//! reported with the location in the file.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches as _};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Span, Suggestions};
use manifest_schema::settings::{self, Setting};

use super::commands::{self, Cli};
use super::effective_setting::EffectiveSetting;
use super::habits;
use super::removed_flags;
use super::usage_error::UsageError;

/// The default config file.
const DEFAULT_FILE: &str = "/etc/picloud/picloud.conf";

/// The variable with the path of the config file.
const CONFIG_VARIABLE: &str = "PICLOUD_CONFIG";

/// The commands that read the config file.
const CONFIG_COMMANDS: [&str; 3] = ["serve", "backup", "restore"];

/// The command whose flags are the settings; the other commands have some of them.
const SERVE: &str = "serve";

/// Flags that cannot be set in the config file.
const FLAGS_ONLY: [&str; 5] = ["config", "check-config", "credentials-directory", "help", "version"];

/// Secrets, which the config file must not contain, and the setting for the file of each.
const SECRETS: [(&str, &str); 2] =
    [("admin_token", "admin_token_file"), ("database_url", "database_url_file")];

/// Variables with the prefix `PICLOUD_` that belong to no flag.
const OTHER_VARIABLES: [&str; 4] =
    ["PICLOUD_ADMIN_TOKEN", "PICLOUD_LOG", "PICLOUD_TOKEN", "PICLOUD_COMPLETE"];

/// The parsed command line, environment and config file.
pub(crate) struct Parsed {
    pub(crate) command: commands::Command,
    /// The settings that differ from the defaults, and their sources.
    pub(crate) settings: Vec<EffectiveSetting>,
}

/// Parses the command line, the environment and the config file.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Parsed, UsageError> {
    let mut command = without_empty_variables(commands::command());
    let first = arguments.get(1).and_then(|first| first.to_str()).map(str::to_owned);
    let mut file = None;
    if let Some(name) = first.as_deref().filter(|name| CONFIG_COMMANDS.contains(name)) {
        if name == SERVE {
            check_variables(&command)?;
        }
        if let Some((path, text)) = read_file(&arguments)? {
            let settings = validate(&command, &path, &text).map_err(UsageError::File)?;
            command = command.mut_subcommand(name, |serve| with_defaults(serve, &settings));
            file = Some((path, settings));
        }
    }
    let matches = command
        .clone()
        .try_get_matches_from(arguments)
        .map_err(|error| usage_error(error, first.as_deref()))?;
    let Cli { command: parsed } = Cli::from_arg_matches(&matches).map_err(UsageError::Flags)?;
    Ok(Parsed { settings: effective(&command, &matches, file.as_ref()), command: parsed })
}

/// Replaces clap's error for a removed flag and for a command of another platform.
fn usage_error(error: clap::Error, first: Option<&str>) -> UsageError {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => {
            Some(argument.split('=').next().unwrap_or_default().to_owned())
        }
        _ => None,
    };
    let replacement = argument.as_deref().and_then(removed_flags::flag);
    let help = first.and_then(habits::help);
    match (error.kind(), argument, replacement, first, help) {
        (ErrorKind::UnknownArgument, Some(name), Some(replacement), _, _) => {
            UsageError::Removed { name, replacement }
        }
        // clap would suggest a command that is spelled similarly.
        (ErrorKind::InvalidSubcommand, _, _, Some(word), Some(help)) => {
            UsageError::Habit { word: word.to_owned(), help }
        }
        _ => UsageError::Flags(error),
    }
}

/// Treats empty variables as unset, since systemd units and Compose files leave them empty.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// Reads the config file that is set, or the default one if it exists.
fn read_file(arguments: &[OsString]) -> Result<Option<(PathBuf, Vec<u8>)>, UsageError> {
    let flag = arguments.iter().enumerate().find_map(|(index, argument)| {
        let argument = argument.to_str()?;
        match argument.strip_prefix("--config")? {
            "" => arguments.get(index + 1).map(PathBuf::from),
            value => value.strip_prefix('=').map(PathBuf::from),
        }
    });
    let named =
        flag.or_else(|| std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    match fs::read(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(source) => Err(UsageError::Unreadable { path, source }),
    }
}

/// Parses the config file and validates each of its settings.
fn validate(command: &Command, path: &Path, text: &[u8]) -> Result<Vec<Setting>, Diagnostics> {
    let file = path.display().to_string();
    let settings = settings::read(&file, text)?;
    let known: Vec<String> = command
        .find_subcommand(SERVE)
        .into_iter()
        .flat_map(Command::get_arguments)
        .filter_map(Arg::get_long)
        .filter(|long| !FLAGS_ONLY.contains(long))
        .map(|long| long.replace('-', "_"))
        .collect();
    let mut diagnostics = Diagnostics::default();
    let mut suggestions = Suggestions::default();
    for setting in &settings {
        let key_span = Some(setting.key_span.clone());
        if let Some((name, file_setting)) = SECRETS.iter().find(|(name, _)| *name == setting.key) {
            let message = format!("`{name}` is a secret and must not be in this file");
            let help = format!("write it to a separate file and set `{file_setting}` to its path");
            // The diagnostic does not show the value.
            let place = key_span.map(|place| Span { source: (*name).to_owned(), ..place });
            diagnostics.add(Diagnostic::error(&file, place, message).with_help(help));
        } else if let Some(replacement) = removed_flags::key(&setting.key) {
            let message = format!("`{}` was removed", setting.key);
            let help = format!("replace it with `{replacement}`");
            diagnostics.add(Diagnostic::error(&file, key_span, message).with_help(help));
        } else if !known.contains(&setting.key) {
            let diagnostic = Diagnostic::error(&file, key_span, format!("unknown setting `{}`", setting.key));
            let near = suggestions.did_you_mean(&setting.key, known.iter().map(String::as_str));
            diagnostics.add(
                diagnostic.with_help(
                    near.unwrap_or_else(|| "run  picloud serve --help  for all settings".to_owned()),
                ),
            );
        } else if let Some(arg) = argument(command.find_subcommand(SERVE), &setting.key)
            && let Some(message) = value_error(arg, &setting.value)
        {
            let message = format!("`{}`: {message}", setting.key);
            diagnostics.add(Diagnostic::error(&file, Some(setting.value_span.clone()), message));
        }
    }
    if diagnostics.errors() > 0 { Err(diagnostics) } else { Ok(settings) }
}

fn argument<'c>(command: Option<&'c Command>, key: &str) -> Option<&'c Arg> {
    let long = key.replace('_', "-");
    command?.get_arguments().find(|arg| arg.get_long() == Some(&long))
}

/// Why a flag does not accept a value.
fn value_error(arg: &Arg, value: &str) -> Option<String> {
    let long = arg.get_long()?;
    let probe = Command::new("probe").no_binary_name(true).disable_help_flag(true).arg(arg.clone());
    let error = probe.try_get_matches_from([format!("--{long}={value}")]).err()?;
    // `error: invalid value 'x' for '--listen <LISTEN>': why`, followed by a line with the possible values.
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let why = first.split_once(">': ").map_or(first.trim_start_matches("error: "), |(_, why)| why);
    let possible = lines.find(|line| line.starts_with("[possible values"));
    Some(match possible {
        Some(possible) => {
            let values = possible.trim_start_matches("[possible values: ").trim_end_matches(']');
            format!("must be one of {values}")
        }
        None => why.to_owned(),
    })
}

fn with_defaults(serve: Command, settings: &[Setting]) -> Command {
    settings.iter().fold(serve, |serve, setting| {
        let Some(id) = argument(Some(&serve), &setting.key).map(|arg| arg.get_id().clone()) else {
            return serve;
        };
        let value = setting.value.clone();
        serve.mut_arg(id, |arg| arg.default_value(value))
    })
}

/// Rejects variables of removed flags, and variables that look like a typo. Other variables with the prefix belong to other
/// programs.
fn check_variables(command: &Command) -> Result<(), UsageError> {
    let args = command.get_subcommands().flat_map(Command::get_arguments);
    let mut known: Vec<String> =
        args.filter_map(Arg::get_env).filter_map(|name| name.to_str().map(str::to_owned)).collect();
    known.extend(OTHER_VARIABLES.map(str::to_owned));
    let beginning = "PICLOUD_";
    let ends = || known.iter().filter_map(|name| name.strip_prefix(beginning));
    let mut suggestions = Suggestions::default();
    for (name, _) in std::env::vars_os() {
        let Some(end) = name.to_str().and_then(|name| name.strip_prefix(beginning)) else { continue };
        if ends().any(|known| known == end) {
            continue;
        }
        if let Some(replacement) = removed_flags::variable(&format!("{beginning}{end}")) {
            return Err(UsageError::Removed { name: format!("{beginning}{end}"), replacement });
        }
        if let Some(near) = suggestions.nearest(end, ends()) {
            let near = format!("{beginning}{near}");
            return Err(UsageError::Variable { name: format!("{beginning}{end}"), near });
        }
    }
    Ok(())
}

/// The settings that differ from the defaults, and their sources.
fn effective(
    command: &Command,
    matches: &ArgMatches,
    file: Option<&(PathBuf, Vec<Setting>)>,
) -> Vec<EffectiveSetting> {
    let Some((name, matches)) = matches.subcommand() else { return Vec::new() };
    let mut settings = Vec::new();
    for arg in command.find_subcommand(name).into_iter().flat_map(Command::get_arguments) {
        let Some(long) = arg.get_long().filter(|long| !FLAGS_ONLY.contains(long)) else { continue };
        let value = |matches: &ArgMatches| {
            let raw = matches.get_raw(arg.get_id().as_str())?;
            Some(raw.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(","))
        };
        let source = match matches.value_source(arg.get_id().as_str()) {
            Some(ValueSource::CommandLine) => format!("--{long}"),
            Some(ValueSource::EnvVariable) => {
                arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            }
            Some(ValueSource::DefaultValue) => {
                let key = long.replace('-', "_");
                let Some((path, setting)) = file.and_then(|(path, settings)| {
                    Some((path, settings.iter().find(|setting| setting.key == key)?))
                }) else {
                    continue;
                };
                format!("{}:{}", path.display(), setting.key_span.line)
            }
            _ => continue,
        };
        settings.push(EffectiveSetting {
            name: long.replace('-', "_"),
            value: value(matches).unwrap_or_default(),
            source,
        });
    }
    settings
}
