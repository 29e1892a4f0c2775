//! The examples in `--help`. Tests ensure that each command has examples and that each example is valid.

use std::fmt::Write as _;

use clap::Command;

/// The text after the list of commands.
const EVERYWHERE: &str = "\
Client commands find the server, the app and the token from the `picloud` git remote of the current folder, or from --url, --app and \
PICLOUD_TOKEN. They print tables, or JSON with --json.

Exit codes: 0 success, 1 failure, 2 usage error.";

/// A command line and its explanation.
type Example = (&'static str, &'static str);

/// The examples of each command. Subcommands are prefixed with the name of their group.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "serve",
        &[
            ("picloud serve", "listen on http://127.0.0.1:8080 and store all data in ./picloud-data"),
            ("picloud serve --listen 0.0.0.0:8080 --data-dir /var/lib/picloud", "serve a LAN"),
            (
                "picloud serve --domain apps.example.com",
                "serve apps at <app>.apps.example.com, behind a reverse proxy",
            ),
            ("picloud serve --log-format json --metrics open", "log JSON and allow scraping without a token"),
        ],
    ),
    (
        "demo",
        &[
            ("picloud demo", "run the tour and keep the node running"),
            ("picloud demo --exit", "run only the tour"),
        ],
    ),
    ("init", &[("picloud init hello", "create a starter app in ./hello; serve it with `picloud dev hello`")]),
    (
        "check",
        &[
            ("picloud check", "validate the current folder"),
            ("picloud check hello --json", "print diagnostics as JSON"),
        ],
    ),
    (
        "test",
        &[
            ("picloud test", "run the tests of the current folder"),
            ("picloud test hello greet", "run those in ./hello whose file or claim contains `greet`"),
            ("picloud test --time 2026-12-01T09:00:00Z --seed 7", "fix the time and random numbers"),
            (
                "picloud test --run double.rhai --data '{\"n\":2}'",
                "call a script once and show its answer and its log",
            ),
            ("picloud test --run greet.rhai --path /greet/Ann -H 'accept: text/html'", "send it a request"),
        ],
    ),
    (
        "dev",
        &[
            ("picloud dev", "serve the current folder at http://127.0.0.1:8080/"),
            ("picloud dev hello --schedules", "also run its schedules"),
            ("picloud dev --listen 0.0.0.0:3000", "serve other devices on the network"),
            ("picloud dev --listen 0.0.0.0:3000 --host pi.local", "also accept the host name pi.local"),
        ],
    ),
    (
        "login",
        &[
            ("picloud login", "log in to the server of the git remote; prompts for the token"),
            ("picloud login https://pi.example.com", "log in to another server"),
            ("picloud login https://pi.example.com --token-file token", "read the token from a file"),
        ],
    ),
    ("logout", &[("picloud logout", "remove the token from this machine; it remains valid")]),
    (
        "credential",
        &[("picloud credential get", "git runs this after the configuration that `picloud login` prints")],
    ),
    (
        "credential get",
        &[(
            "picloud credential get",
            "print the token for protocol=https and host=pi.example.com on standard input",
        )],
    ),
    ("credential store", &[("picloud credential store", "store the token on standard input")]),
    ("credential erase", &[("picloud credential erase", "remove the token on standard input")]),
    (
        "apps",
        &[
            ("picloud apps", "list the apps of the server of the git remote"),
            ("picloud apps --url https://pi.example.com --json", "list the apps of another server as JSON"),
        ],
    ),
    ("apps list", &[("picloud apps list", "list all apps: the same as `picloud apps`")]),
    (
        "apps create",
        &[("picloud apps create hello", "let tokens without the right `create` push to a new app")],
    ),
    (
        "apps limits",
        &[
            ("picloud apps limits hello", "show the limits of an app"),
            ("picloud apps limits hello --disk 2GiB --previews 50 --timeout 120s", "set some limits"),
            ("picloud apps limits hello --disk default", "reset a limit to the default of the server"),
        ],
    ),
    (
        "apps prune",
        &[
            ("picloud apps prune hello", "delete what the retention of the server would delete"),
            (
                "picloud apps prune hello --deploys 0",
                "delete all but the live deploy, for example after a secret was pushed by mistake",
            ),
            ("picloud apps prune hello --older-than 30d", "delete deploys that are older than 30 days"),
        ],
    ),
    ("apps stop", &[("picloud apps stop hello", "respond to requests with 503, and run no schedules")]),
    ("apps start", &[("picloud apps start hello", "serve the latest push again")]),
    (
        "apps rename",
        &[("picloud apps rename hello greeter", "keep deploys, secrets and tokens; change the URL")],
    ),
    (
        "apps delete",
        &[
            ("picloud apps delete hello", "delete after confirmation"),
            ("picloud apps delete hello --yes", "delete without confirmation, for scripts"),
        ],
    ),
    ("apps deleted", &[("picloud apps deleted", "list deleted apps and until when they can be restored")]),
    (
        "apps undelete",
        &[
            ("picloud apps undelete hello", "restore a deleted app"),
            ("picloud apps undelete hello --as old-hello", "restore it under another name"),
        ],
    ),
    ("apps protect", &[("picloud apps protect", "reject force-pushes to the production branch")]),
    ("apps unprotect", &[("picloud apps unprotect", "allow force-pushes to the production branch")]),
    (
        "tokens",
        &[
            ("picloud tokens list", "list tokens with their last use and expiry"),
            ("picloud tokens create ci --scope hello:deploy --expires 90d", "create a token for CI"),
        ],
    ),
    (
        "tokens create",
        &[
            (
                "picloud tokens create ci --scope hello:deploy --expires 90d",
                "create a token for a CI that deploys one app",
            ),
            (
                "picloud tokens create grafana --scope '*:read'",
                "create a token that reads logs and deploys of all apps",
            ),
        ],
    ),
    ("tokens list", &[("picloud tokens list", "list tokens with their last use and expiry")]),
    ("tokens revoke", &[("picloud tokens revoke ci", "revoke the token on all nodes")]),
    (
        "secrets",
        &[
            ("picloud secrets list", "list names, times and users"),
            ("picloud secrets set API_KEY", "set a secret; prompts for the value"),
        ],
    ),
    (
        "secrets set",
        &[
            ("picloud secrets set API_KEY", "prompt for the value"),
            (
                "picloud secrets set API_KEY --app hello",
                "read the value from standard input, if it is not a terminal",
            ),
        ],
    ),
    ("secrets list", &[("picloud secrets list", "list names, times and users")]),
    ("secrets unset", &[("picloud secrets unset API_KEY", "unset a secret that no live deploy requires")]),
    (
        "secrets new-key",
        &[(
            "picloud secrets new-key",
            "replace a lost key; then set the secrets again that `picloud secrets list` shows as lost",
        )],
    ),
    (
        "secrets rotate",
        &[("picloud secrets rotate", "re-encrypt all secrets after adding a new first key to the key file")],
    ),
    (
        "kv",
        &[
            ("picloud kv list user/", "list the keys that begin with user/"),
            ("picloud kv set flags '{\"beta\": true}'", "store a value"),
            ("picloud kv usage", "show sizes, quotas and conflicts"),
        ],
    ),
    ("kv get", &[("picloud kv get flags", "print a value of production")]),
    (
        "kv set",
        &[
            ("picloud kv set flags '{\"beta\": true}'", "store a JSON value"),
            ("picloud kv set notice closed --text --ttl 3h", "store a text for three hours"),
            ("picloud kv set logo --file logo.png --blob", "store a file as a blob"),
        ],
    ),
    ("kv list", &[("picloud kv list user/ --branch feature", "list keys of a preview")]),
    ("kv delete", &[("picloud kv delete flags notice", "delete two keys")]),
    ("kv export", &[("picloud kv export --output state.jsonl", "write all entries to a file")]),
    ("kv import", &[("picloud kv import state.jsonl --branch feature", "copy entries into a preview")]),
    ("kv usage", &[("picloud kv usage", "show sizes, quotas and conflicts")]),
    ("domains", &[("picloud domains list", "list domains and the DNS records of pending ones")]),
    ("domains list", &[("picloud domains list", "list domains and the DNS records of pending ones")]),
    (
        "domains verify",
        &[("picloud domains verify shop.example.com", "verify the domain after setting its DNS record")],
    ),
    (
        "domains approve",
        &[("picloud domains approve shop.example.com", "skip the DNS verification, as an admin")],
    ),
    ("domains release", &[("picloud domains release shop.example.com", "let another app use the domain")]),
    ("audit", &[("picloud audit", "list the latest events; filter by app with --app")]),
    (
        "invoke",
        &[
            ("picloud invoke resize --data '{\"width\": 200}'", "call a function and print its response"),
            ("picloud invoke resize --data - --app photos", "read the argument from standard input"),
        ],
    ),
    (
        "deploys",
        &[
            ("picloud deploys", "list the latest deploys"),
            ("picloud deploys --branch main -n 5", "list the last five deploys of a branch"),
        ],
    ),
    (
        "deploys list",
        &[("picloud deploys list --branch main -n 5", "list the last five deploys of a branch")],
    ),
    (
        "deploys rollback",
        &[
            ("picloud deploys rollback", "roll back to the previous deploy"),
            ("picloud deploys rollback 7 -m 'orders fail'", "roll back to deploy 7 and record the reason"),
        ],
    ),
    (
        "rollback",
        &[
            ("picloud rollback", "roll back to the previous deploy"),
            ("picloud rollback 7", "roll back to deploy 7"),
            ("picloud rollback -m 'orders fail'", "record the reason"),
        ],
    ),
    ("previews", &[("picloud previews", "list branches with their URLs and expiry")]),
    (
        "previews list",
        &[(
            "picloud previews list",
            "list branches with their URLs and expiry: the same as `picloud previews`",
        )],
    ),
    ("previews schedule", &[("picloud previews schedule feature", "run the schedules of the preview, too")]),
    ("previews unschedule", &[("picloud previews unschedule feature", "stop the schedules of the preview")]),
    (
        "routes",
        &[
            ("picloud routes", "list the routes of production"),
            ("picloud routes --branch feature", "list the routes of a preview"),
        ],
    ),
    (
        "logs",
        &[
            ("picloud logs -f", "follow the logs of all nodes"),
            ("picloud logs --level warn --since 2h", "print warnings and errors of the last two hours"),
            (
                "picloud logs --execution 019f2c1e-7b1a-7c3e-9d7e-0a1b2c3d4e5f",
                "print the logs of one request, by its `picloud-execution` response header",
            ),
        ],
    ),
    (
        "executions",
        &[
            ("picloud executions --failed", "list failed executions"),
            ("picloud executions 019f2c1e-7b1a", "show an execution by a prefix of its id"),
        ],
    ),
    ("executions list", &[("picloud executions list --failed", "list failed executions")]),
    (
        "executions show",
        &[(
            "picloud executions show 019f2c1e-7b1a-7c3e-9d7e-0a1b2c3d4e5f",
            "show an execution with its log and the failed source line",
        )],
    ),
    ("status", &[("picloud status", "show problems; exits with 1 if there are any")]),
    ("nodes", &[("picloud nodes", "list nodes and their state")]),
    (
        "schedules",
        &[
            ("picloud schedules", "list schedules with their next due times and last runs"),
            ("picloud schedules runs tick -n 5", "list the last five runs of a schedule"),
        ],
    ),
    (
        "schedules list",
        &[("picloud schedules list", "list schedules with their next due times and last runs")],
    ),
    ("schedules runs", &[("picloud schedules runs tick -n 5", "list the last five runs")]),
    ("schedules run", &[("picloud schedules run tick", "run a schedule now; exits with 1 if it fails")]),
    (
        "schedules pause",
        &[("picloud schedules pause tick", "pause a schedule until `picloud schedules resume tick`")],
    ),
    (
        "schedules resume",
        &[("picloud schedules resume tick", "resume a schedule; runs that were due meanwhile are skipped")],
    ),
    ("run", &[("picloud run tick", "run a schedule now; exits with 1 if it fails")]),
    ("pause", &[("picloud pause tick", "pause a schedule until `picloud resume tick`")]),
    (
        "resume",
        &[
            ("picloud resume tick", "resume a schedule; runs that were due meanwhile are skipped"),
            ("picloud resume --all", "resume the schedules of all apps after a restore"),
        ],
    ),
    (
        "definitions",
        &[
            ("picloud definitions", "write definitions/time.d.rhai and others for the newest SDK"),
            ("picloud definitions --sdk 1.2 types", "write those of SDK 1.2 to another folder"),
        ],
    ),
    ("schema", &[("picloud schema", "print the schema; configure your editor to use it for picloud.toml")]),
    (
        "backup",
        &[
            (
                "picloud backup picloud.backup",
                "back up the node with the same --data-dir or DATABASE_URL to a file",
            ),
            ("picloud backup -", "back up to standard output"),
        ],
    ),
    ("restore", &[("picloud restore picloud.backup", "restore into an empty SQLite or PostgreSQL database")]),
    (
        "completions",
        &[
            ("picloud completions bash", "write to ~/.local/share/bash-completion/completions/picloud"),
            ("picloud completions zsh", "write to a file _picloud in a folder of $fpath"),
            ("picloud completions fish", "write to ~/.config/fish/completions/picloud.fish"),
        ],
    ),
    ("man", &[("picloud man share/man/man1", "write a page for each command; read one with `man -l`")]),
];

/// Adds the examples to the help of each command.
pub(super) fn with_examples(command: Command) -> Command {
    let command = command.after_help(EVERYWHERE);
    EXAMPLES.iter().fold(command, |command, (name, examples)| {
        let path: Vec<&str> = name.split(' ').collect();
        add_examples(command, &path, &text(examples))
    })
}

fn add_examples(command: Command, path: &[&str], text: &str) -> Command {
    let Some((first, rest)) = path.split_first() else {
        let before = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
        return command.after_help(format!("{before}{text}"));
    };
    if command.find_subcommand(first).is_none() {
        return command;
    }
    command.mut_subcommand(first, |inner| add_examples(inner, rest, text))
}

fn text(examples: &[Example]) -> String {
    examples.iter().fold("Examples:".to_owned(), |mut text, (line, explanation)| {
        let _ = write!(text, "\n  {line}\n      {explanation}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    /// The names of all commands, subcommands prefixed with their groups.
    fn names(command: &Command, prefix: &str, found: &mut Vec<String>) {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            let name = format!("{prefix}{}", inner.get_name());
            if inner.has_subcommands() {
                names(inner, &format!("{name} "), found);
            }
            found.push(name);
        }
    }

    /// Splits a line into words as a shell does.
    fn words(line: &str) -> Vec<String> {
        let pieces = line.split('\'').enumerate();
        pieces
            .flat_map(|(at, piece)| {
                if at % 2 == 1 {
                    vec![piece.to_owned()]
                } else {
                    piece.split_whitespace().map(str::to_owned).collect()
                }
            })
            .collect()
    }

    #[test]
    fn every_command_has_examples() {
        let mut all = Vec::new();
        names(&command(), "", &mut all);
        for command in &all {
            let has_example = EXAMPLES.iter().any(|(name, examples)| name == command && !examples.is_empty());
            assert!(has_example, "cli/examples.rs has no example of `picloud {command}`");
        }
        let stray: Vec<_> =
            EXAMPLES.iter().filter(|(name, _)| !all.iter().any(|command| command == name)).collect();
        assert!(stray.is_empty(), "no such commands: {stray:?}");
    }

    #[test]
    fn every_example_is_valid_and_runs_its_command() {
        for (name, examples) in EXAMPLES {
            for (line, _) in *examples {
                assert!(line.starts_with(&format!("picloud {name}")), "{line}");
                let parsed = command().try_get_matches_from(words(line));
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn command_line_is_consistent() {
        command().debug_assert();
    }
}
