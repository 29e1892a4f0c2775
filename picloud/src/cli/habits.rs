//! Help for commands of other platforms.

/// Commands of other platforms, and how to do the same here.
type Habit = (&'static [&'static str], &'static str);

const HABITS: &[Habit] = &[
    (
        &["deploy", "push", "publish", "ship", "release"],
        "deploy an app with  git push picloud main ;  picloud deploys  lists its deploys",
    ),
    (&["open", "url", "browse"], "picloud previews  lists the URL of each branch"),
    (&["destroy", "delete", "remove", "rm"], "delete an app with  picloud apps delete APP"),
    (
        &["create", "new"],
        "create a starter app with  picloud init NAME ; its first push creates it on the server",
    ),
    (
        &["env", "vars", "variables"],
        "set variables of an app in [env] of its picloud.toml, and secrets with  picloud secrets set NAME",
    ),
    (
        &["set", "unset"],
        "set secrets with  picloud secrets set NAME , and other variables in [env] of picloud.toml",
    ),
    (
        &["config", "settings"],
        "an app is configured by its picloud.toml, a node by the flags of  picloud serve",
    ),
    (&["ps", "top", "processes"], "picloud executions  lists executions, and  picloud nodes  lists nodes"),
    (&["list", "ls"], "list apps with  picloud apps list"),
    (
        &["start", "stop", "restart", "scale"],
        "stop an app with  picloud apps stop APP , and start it with  picloud apps start APP",
    ),
    (&["rename"], "rename an app with  picloud apps rename APP NAME"),
    (&["build", "compile", "validate", "lint"], "picloud check  validates an app as a push does"),
    (&["watch", "up", "local"], "picloud dev  serves a folder and reloads it when a file is saved"),
    (&["server", "daemon"], "run a node with  picloud serve"),
    (&["revert", "undo"], "picloud rollback  rolls back to an earlier deploy"),
    (&["promote"], "promote a branch to production with  git push picloud BRANCH:main"),
    (&["releases", "history", "versions"], "picloud deploys  lists the deploys of an app"),
    (&["tail", "log"], "picloud logs -f  follows the logs of an app"),
    (
        &["cron", "jobs", "schedule", "timers"],
        "picloud schedules  lists schedules; they are declared in picloud.toml",
    ),
    (&["call", "exec", "trigger"], "call a function with  picloud invoke FUNCTION"),
    (&["branches", "preview"], "picloud previews  lists the live deploy of each branch"),
    (
        &["users", "members", "teams"],
        "there are no user accounts; create a token for each person with  picloud tokens create",
    ),
    (&["auth", "signin"], "log in with  picloud login"),
    (&["whoami"], "picloud tokens list  lists tokens and their scopes"),
    (
        &["secret", "token", "app", "domain", "execution", "route", "node"],
        "use the plural, as in  picloud apps",
    ),
    (&["upgrade", "update"], "upgrade picloud the way it was installed: docs/install.md"),
    (&["version"], "print the version with  picloud --version"),
    (&["info", "health"], "picloud status  shows the status of a server"),
    (
        &["db", "database"],
        "the state of an app:  picloud kv list ; back up the database of a node with  picloud backup",
    ),
];

/// How to do here what the command does elsewhere.
pub(super) fn help(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    HABITS.iter().find(|(words, _)| words.contains(&word.as_str())).map(|(_, help)| *help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    #[test]
    fn habits_are_no_commands_and_help_names_existing_commands() {
        let command = command();
        for (words, help) in HABITS {
            for word in *words {
                assert!(command.find_subcommand(word).is_none(), "{word} is a command");
            }
            for (_, line) in
                help.match_indices("picloud ").map(|(at, _)| help.split_at(at + "picloud ".len()))
            {
                let mut found = &command;
                for word in line
                    .split_whitespace()
                    .take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
                {
                    match found.find_subcommand(word) {
                        Some(inner) => found = inner,
                        None if found.has_subcommands() && found.get_name() == "picloud" => {
                            assert!(["the", "main"].contains(&word), "{help}");
                            break;
                        }
                        None => break,
                    }
                }
            }
        }
    }
}
