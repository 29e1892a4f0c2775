//! What `--help` teaches: each verb with lines that one can type. A test holds every verb to have some, and each line to be one
//! that the command line understands.

use std::fmt::Write as _;

use clap::Command;

/// What follows the list of verbs.
const EVERYWHERE: &str = "\
Verbs that ask a server find it, the app and the token through the `picloud` git remote of the folder, or through \
--url, --app and PICLOUD_TOKEN. They print tables for people, and JSON with --json.

Exit codes: 0 done, 1 refused or failed, 2 misuse.";

/// What to type, and what comes of it.
type Example = (&'static str, &'static str);

/// The verbs, those of a group with the group's name in front, and their examples.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "serve",
        &[
            ("picloud serve", "on http://127.0.0.1:8080, with everything kept in ./picloud-data"),
            ("picloud serve --listen 0.0.0.0:8080 --data-dir /var/lib/picloud", "for a LAN"),
            ("picloud serve --domain apps.example.com", "apps at <app>.apps.example.com, behind a proxy"),
            ("picloud serve --log-format json --metrics open", "for machines that watch it"),
        ],
    ),
    (
        "demo",
        &[("picloud demo", "the tour, and a node to play with"), ("picloud demo --exit", "the tour alone")],
    ),
    ("init", &[("picloud init hello", "a starter app in ./hello; serve it with `picloud dev hello`")]),
    (
        "check",
        &[
            ("picloud check", "the folder that you are in, as a push of it would be checked"),
            ("picloud check hello --json", "for an editor or CI"),
        ],
    ),
    (
        "dev",
        &[
            ("picloud dev", "the folder that you are in, at http://127.0.0.1:8080/"),
            ("picloud dev hello --schedules", "with its schedules running"),
            ("picloud dev --listen 0.0.0.0:3000", "for a phone on the same network"),
            ("picloud dev --listen 0.0.0.0:3000 --host pi.local", "and by the name of this machine"),
        ],
    ),
    (
        "login",
        &[
            ("picloud login", "to the server of this folder's remote; asks for the token, unseen"),
            ("picloud login https://pi.example.com", "to any server"),
            ("picloud login https://pi.example.com --token-file token", "with one from a file"),
        ],
    ),
    ("logout", &[("picloud logout", "the token is forgotten here, and still works")]),
    (
        "credential",
        &[("picloud credential get", "as git types it, once  picloud login  has shown how git is told to")],
    ),
    (
        "credential get",
        &[("picloud credential get", "asks with protocol=https and host=pi.example.com on standard input")],
    ),
    ("credential store", &[("picloud credential store", "after a server took a token that git asked for")]),
    ("credential erase", &[("picloud credential erase", "after a server did not take it")]),
    (
        "apps",
        &[
            ("picloud apps", "of the server of this folder's remote"),
            ("picloud apps --url https://pi.example.com --json", "of any server, for programs"),
        ],
    ),
    ("apps list", &[("picloud apps list", "the same as  picloud apps")]),
    ("apps create", &[("picloud apps create hello", "to be pushed to by tokens that may create none")]),
    (
        "apps limits",
        &[
            ("picloud apps limits hello", "what it is granted"),
            ("picloud apps limits hello --disk 2GiB --previews 50 --timeout 120s", "more than every app"),
            ("picloud apps limits hello --disk default", "what the server grants every app again"),
        ],
    ),
    (
        "apps prune",
        &[
            ("picloud apps prune hello", "as the server does it by itself, but at once"),
            (
                "picloud apps prune hello --deploys 0",
                "but what is live, so that a secret is gone that was pushed by mistake",
            ),
            ("picloud apps prune hello --older-than 30d", "of a month ago and before"),
        ],
    ),
    ("apps stop", &[("picloud apps stop hello", "requests are answered 503, and no schedule runs")]),
    ("apps start", &[("picloud apps start hello", "it answers again, as the latest push left it")]),
    (
        "apps rename",
        &[("picloud apps rename hello greeter", "at its new address, with its deploys, secrets and tokens")],
    ),
    (
        "apps delete",
        &[
            ("picloud apps delete hello --yes", "where nobody can be asked"),
            ("picloud apps delete hello", "asks whether it is meant"),
        ],
    ),
    ("apps deleted", &[("picloud apps deleted", "until when each can be brought back")]),
    (
        "apps undelete",
        &[
            ("picloud apps undelete hello", "as it was"),
            ("picloud apps undelete hello --as old-hello", "where another app has the name by now"),
        ],
    ),
    ("apps protect", &[("picloud apps protect", "pushes that set the production branch back are refused")]),
    ("apps unprotect", &[("picloud apps unprotect", "they are taken again")]),
    (
        "tokens",
        &[
            ("picloud tokens list", "with their last use and their end"),
            ("picloud tokens create ci --scope hello:deploy --expires 90d", "for a CI that deploys one app"),
        ],
    ),
    (
        "tokens create",
        &[
            ("picloud tokens create ci --scope hello:deploy --expires 90d", "for a CI that deploys one app"),
            ("picloud tokens create grafana --scope '*:read'", "for what reads logs and metrics"),
        ],
    ),
    ("tokens list", &[("picloud tokens list", "with their last use and their end")]),
    ("tokens revoke", &[("picloud tokens revoke ci", "it stops working at once, everywhere")]),
    (
        "secrets",
        &[
            ("picloud secrets list", "names, when and by whom"),
            ("picloud secrets set API_KEY", "asks for the value, unseen"),
        ],
    ),
    (
        "secrets set",
        &[
            ("picloud secrets set API_KEY", "asks for the value, unseen"),
            (
                "picloud secrets set API_KEY --app hello",
                "with the value on standard input, from another program",
            ),
        ],
    ),
    ("secrets list", &[("picloud secrets list", "names, when and by whom")]),
    ("secrets unset", &[("picloud secrets unset API_KEY", "once nothing live requires it")]),
    (
        "secrets new-key",
        &[(
            "picloud secrets new-key",
            "after the server's key was lost; set again what  picloud secrets list  calls lost",
        )],
    ),
    ("secrets rotate", &[("picloud secrets rotate", "after a new key was put first in the key file")]),
    ("domains", &[("picloud domains list", "which are live, and what proves the others")]),
    ("domains list", &[("picloud domains list", "which are live, and what proves the others")]),
    (
        "domains verify",
        &[(
            "picloud domains verify shop.example.com",
            "once its DNS has the record that a push and the list name",
        )],
    ),
    (
        "domains approve",
        &[("picloud domains approve shop.example.com", "as an admin, where nobody sets DNS records")],
    ),
    ("domains release", &[("picloud domains release shop.example.com", "before another app has it")]),
    ("audit", &[("picloud audit", "the latest acts; --app names one app")]),
    (
        "invoke",
        &[
            ("picloud invoke resize --data '{\"width\": 200}'", "prints what the function answers"),
            ("picloud invoke resize --data - --app photos", "with the JSON from standard input"),
        ],
    ),
    (
        "deploys",
        &[
            ("picloud deploys", "what was live when, and by whom"),
            ("picloud deploys --branch main -n 5", "the last five of one branch"),
        ],
    ),
    ("deploys list", &[("picloud deploys list --branch main -n 5", "the last five of one branch")]),
    (
        "deploys rollback",
        &[
            ("picloud deploys rollback", "to the deploy before what is live"),
            ("picloud deploys rollback 7 -m 'orders fail'", "to one that the list has, and why"),
        ],
    ),
    (
        "rollback",
        &[
            ("picloud rollback", "to the deploy before what is live"),
            ("picloud rollback 7", "to one that `picloud deploys` lists"),
            ("picloud rollback -m 'orders fail'", "and say why, for those who look later"),
        ],
    ),
    ("previews", &[("picloud previews", "what is live on each branch, and until when")]),
    ("previews list", &[("picloud previews list", "the same as  picloud previews")]),
    (
        "previews schedule",
        &[("picloud previews schedule feature", "its schedules run beside those of production")],
    ),
    ("previews unschedule", &[("picloud previews unschedule feature", "they do not run any more")]),
    (
        "routes",
        &[
            ("picloud routes", "what answers to which path"),
            ("picloud routes --branch feature", "and in a preview"),
        ],
    ),
    (
        "logs",
        &[
            ("picloud logs -f", "the latest lines, and those that come in, from all nodes"),
            ("picloud logs --level warn --since 2h", "what went wrong lately"),
            (
                "picloud logs --execution 019f2c1e-7b1a-7c3e-9d7e-0a1b2c3d4e5f",
                "what one answer logged, by its `picloud-execution`",
            ),
        ],
    ),
    (
        "executions",
        &[
            ("picloud executions --failed", "what failed, and why"),
            ("picloud executions 019f2c1e-7b1a", "one run whole, by the beginning of its id"),
        ],
    ),
    ("executions list", &[("picloud executions list --failed", "what failed, and why")]),
    (
        "executions show",
        &[(
            "picloud executions show 019f2c1e-7b1a-7c3e-9d7e-0a1b2c3d4e5f",
            "one run whole, with the line where it failed",
        )],
    ),
    ("status", &[("picloud status", "exits with 1 where something is not well")]),
    ("nodes", &[("picloud nodes", "who is there, and what each of them serves")]),
    (
        "schedules",
        &[
            ("picloud schedules", "when each is due next, and how its last run ended"),
            ("picloud schedules runs tick -n 5", "the last five runs of one"),
        ],
    ),
    ("schedules list", &[("picloud schedules list", "when each is due next, and how its last run ended")]),
    ("schedules runs", &[("picloud schedules runs tick -n 5", "the last five")]),
    ("schedules run", &[("picloud schedules run tick", "now; exits with 1 where it fails")]),
    ("schedules pause", &[("picloud schedules pause tick", "until `picloud schedules resume tick`")]),
    ("schedules resume", &[("picloud schedules resume tick", "what was due meanwhile is not run")]),
    ("run", &[("picloud run tick", "now; exits with 1 where it fails")]),
    ("pause", &[("picloud pause tick", "until `picloud resume tick`")]),
    ("resume", &[("picloud resume tick", "what was due meanwhile is not run")]),
    ("schema", &[("picloud schema", "name its output as the schema of picloud.toml in your editor")]),
    (
        "backup",
        &[
            ("picloud backup picloud.backup", "of the node whose --data-dir or DATABASE_URL this is"),
            ("picloud backup -", "to standard output, to be sent on"),
        ],
    ),
    ("restore", &[("picloud restore picloud.backup", "into an empty database, of either kind")]),
    (
        "completions",
        &[
            ("picloud completions bash", "into ~/.local/share/bash-completion/completions/picloud"),
            ("picloud completions zsh", "into a file _picloud in a folder of $fpath"),
            ("picloud completions fish", "into ~/.config/fish/completions/picloud.fish"),
        ],
    ),
    ("man", &[("picloud man share/man/man1", "a page for each verb; read one with `man -l`")]),
];

/// The command line with what its help teaches.
pub(super) fn taught(command: Command) -> Command {
    let command = command.after_help(EVERYWHERE);
    EXAMPLES.iter().fold(command, |command, (verb, examples)| {
        let path: Vec<&str> = verb.split(' ').collect();
        teach(command, &path, &text(examples))
    })
}

fn teach(command: Command, path: &[&str], text: &str) -> Command {
    let Some((first, rest)) = path.split_first() else {
        let before = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
        return command.after_help(format!("{before}{text}"));
    };
    if command.find_subcommand(first).is_none() {
        return command;
    }
    command.mut_subcommand(first, |inner| teach(inner, rest, text))
}

fn text(examples: &[Example]) -> String {
    examples.iter().fold("Examples:".to_owned(), |mut text, (line, comes)| {
        let _ = write!(text, "\n  {line}\n      {comes}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    /// The verbs that do something, with the names of the groups around them.
    fn verbs(command: &Command, around: &str, found: &mut Vec<String>) {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            let name = format!("{around}{}", inner.get_name());
            if inner.has_subcommands() {
                verbs(inner, &format!("{name} "), found);
            }
            found.push(name);
        }
    }

    /// A line as a shell would split it: at blanks, and not within quotation marks.
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
    fn every_verb_has_examples() {
        let mut all = Vec::new();
        verbs(&command(), "", &mut all);
        for verb in &all {
            let there = EXAMPLES.iter().any(|(name, examples)| name == verb && !examples.is_empty());
            assert!(there, "cli/examples.rs has no example of `picloud {verb}`");
        }
        let stray: Vec<_> =
            EXAMPLES.iter().filter(|(name, _)| !all.iter().any(|verb| verb == name)).collect();
        assert!(stray.is_empty(), "no such verbs: {stray:?}");
    }

    #[test]
    fn every_example_is_understood_and_is_of_its_verb() {
        for (verb, examples) in EXAMPLES {
            for (line, _) in *examples {
                assert!(line.starts_with(&format!("picloud {verb}")), "{line}");
                let read = command().try_get_matches_from(words(line));
                assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
            }
        }
    }

    #[test]
    fn the_command_line_holds_together() {
        command().debug_assert();
    }
}
