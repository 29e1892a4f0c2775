//! Where settings come from: flags, then the environment, then `picloud.conf`, then what they are by themselves.
//!
//! The file's keys are the flags' names with `_` for `-`, and its values go the flags' own way: what is no flag is no
//! setting, and what a flag refuses is refused here, with its span in the file.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches as _};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Span, Suggestions};
use manifest_schema::settings::{self, Setting};

use super::given::Given;
use super::habits;
use super::misuse::Misuse;
use super::verbs::{self, Cli, Verb};

/// The file that is read where no other one is named.
const DEFAULT_FILE: &str = "/etc/picloud/picloud.conf";

/// The variable that names another one.
const FILE_VARIABLE: &str = "PICLOUD_CONFIG";

/// The verbs that read the file.
const READERS: [&str; 3] = ["serve", "backup", "restore"];

/// The verb whose flags the settings are; the others have some of them.
const SERVE: &str = "serve";

/// Flags that are no settings.
const NOT_IN_THE_FILE: [&str; 5] = ["config", "check-config", "credentials-directory", "help", "version"];

/// What holds a secret, and what says where it is kept.
const SECRETS: [(&str, &str); 2] =
    [("admin_token", "admin_token_file"), ("database_url", "database_url_file")];

/// Variables that are read elsewhere, of those that begin alike.
const OTHER_VARIABLES: [&str; 4] =
    ["PICLOUD_ADMIN_TOKEN", "PICLOUD_LOG", "PICLOUD_TOKEN", "PICLOUD_COMPLETE"];

/// What the command line, the environment and the file say.
pub(crate) struct Parsed {
    pub(crate) verb: Verb,
    /// Which flags of the verb are set, and where.
    pub(crate) given: Vec<Given>,
}

/// Reads the command line, and all that settings come from.
pub(crate) fn read(arguments: Vec<OsString>) -> Result<Parsed, Misuse> {
    let mut command = without_empty_variables(verbs::command());
    let verb = arguments.get(1).and_then(|verb| verb.to_str()).map(str::to_owned);
    let mut file = None;
    if let Some(verb) = verb.filter(|verb| READERS.contains(&verb.as_str())) {
        if verb == SERVE {
            refuse_misspelt_variables(&command)?;
        }
        if let Some((path, text)) = text_of_file(&arguments)? {
            let settings = checked(&command, &path, &text).map_err(Misuse::File)?;
            command = command.mut_subcommand(&verb, |verb| with_defaults(verb, &settings));
            file = Some((path, settings));
        }
    }
    let first = arguments.get(1).and_then(|first| first.to_str()).map(str::to_owned);
    let matches = command.clone().try_get_matches_from(arguments).map_err(|error| {
        // clap would name a verb that is spelt much the same, and is another one.
        let here = first.as_deref().and_then(habits::said_here);
        match (error.kind(), first, here) {
            (ErrorKind::InvalidSubcommand, Some(word), Some(here)) => Misuse::Habit { word, here },
            _ => Misuse::Flags(error),
        }
    })?;
    let Cli { verb } = Cli::from_arg_matches(&matches).map_err(Misuse::Flags)?;
    Ok(Parsed { given: given(&command, &matches, file.as_ref()), verb })
}

/// A variable that is empty is not set, as systemd's units and Compose files leave them.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// The file that is named, or the default one if it is there.
fn text_of_file(arguments: &[OsString]) -> Result<Option<(PathBuf, Vec<u8>)>, Misuse> {
    let flag = arguments.iter().enumerate().find_map(|(index, argument)| {
        let argument = argument.to_str()?;
        match argument.strip_prefix("--config")? {
            "" => arguments.get(index + 1).map(PathBuf::from),
            value => value.strip_prefix('=').map(PathBuf::from),
        }
    });
    let named =
        flag.or_else(|| std::env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    match fs::read(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(source) => Err(Misuse::Unreadable { path, source }),
    }
}

/// The settings of the file, if each is one and its flag takes its value.
fn checked(command: &Command, path: &Path, text: &[u8]) -> Result<Vec<Setting>, Diagnostics> {
    let file = path.display().to_string();
    let settings = settings::read(&file, text)?;
    let known: Vec<String> = command
        .find_subcommand(SERVE)
        .into_iter()
        .flat_map(Command::get_arguments)
        .filter_map(Arg::get_long)
        .filter(|long| !NOT_IN_THE_FILE.contains(long))
        .map(|long| long.replace('-', "_"))
        .collect();
    let mut diagnostics = Diagnostics::default();
    let mut suggestions = Suggestions::default();
    for setting in &settings {
        let key_span = Some(setting.key_span.clone());
        if let Some((name, kept)) = SECRETS.iter().find(|(name, _)| *name == setting.key) {
            let words = format!("`{name}` is a secret, and does not stand here");
            let help = format!("put it into a file of its own, and name that with `{kept}`");
            // The line is shown without what it gives away.
            let span = key_span.map(|span| Span { source: (*name).to_owned(), ..span });
            diagnostics.add(Diagnostic::error(&file, span, words).with_help(help));
        } else if !known.contains(&setting.key) {
            let diagnostic = Diagnostic::error(&file, key_span, format!("unknown setting `{}`", setting.key));
            let near = suggestions.did_you_mean(&setting.key, known.iter().map(String::as_str));
            diagnostics
                .add(diagnostic.with_help(near.unwrap_or_else(|| "see  picloud serve --help".to_owned())));
        } else if let Some(arg) = argument(command.find_subcommand(SERVE), &setting.key)
            && let Some(words) = refusal(arg, &setting.value)
        {
            let words = format!("`{}`: {words}", setting.key);
            diagnostics.add(Diagnostic::error(&file, Some(setting.value_span.clone()), words));
        }
    }
    if diagnostics.errors() > 0 { Err(diagnostics) } else { Ok(settings) }
}

fn argument<'c>(command: Option<&'c Command>, key: &str) -> Option<&'c Arg> {
    let long = key.replace('_', "-");
    command?.get_arguments().find(|arg| arg.get_long() == Some(&long))
}

/// What the flag says to a value that it does not take.
fn refusal(arg: &Arg, value: &str) -> Option<String> {
    let long = arg.get_long()?;
    let probe = Command::new("probe").no_binary_name(true).disable_help_flag(true).arg(arg.clone());
    let error = probe.try_get_matches_from([format!("--{long}={value}")]).err()?;
    // `error: invalid value 'x' for '--listen <LISTEN>': why`, and more lines with what is possible.
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

fn with_defaults(verb: Command, settings: &[Setting]) -> Command {
    settings.iter().fold(verb, |verb, setting| {
        let Some(id) = argument(Some(&verb), &setting.key).map(|arg| arg.get_id().clone()) else {
            return verb;
        };
        let value = setting.value.clone();
        verb.mut_arg(id, |arg| arg.default_value(value))
    })
}

/// A variable that resembles one of ours was meant to be it. Others of that beginning are for other programs.
fn refuse_misspelt_variables(command: &Command) -> Result<(), Misuse> {
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
        if let Some(near) = suggestions.nearest(end, ends()) {
            let near = format!("{beginning}{near}");
            return Err(Misuse::Variable { name: format!("{beginning}{end}"), near });
        }
    }
    Ok(())
}

/// What was set, and where.
fn given(command: &Command, matches: &ArgMatches, file: Option<&(PathBuf, Vec<Setting>)>) -> Vec<Given> {
    let Some((verb, matches)) = matches.subcommand() else { return Vec::new() };
    let mut given = Vec::new();
    for arg in command.find_subcommand(verb).into_iter().flat_map(Command::get_arguments) {
        let Some(long) = arg.get_long().filter(|long| !NOT_IN_THE_FILE.contains(long)) else { continue };
        let value = |matches: &ArgMatches| {
            let raw = matches.get_raw(arg.get_id().as_str())?;
            Some(raw.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(","))
        };
        let from = match matches.value_source(arg.get_id().as_str()) {
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
        given.push(Given { name: long.replace('-', "_"), value: value(matches).unwrap_or_default(), from });
    }
    given
}
