//! What people type who come from other platforms: each word is told how it is done here.

/// A word, and what does here what it does elsewhere.
type Habit = (&'static [&'static str], &'static str);

const HABITS: &[Habit] = &[
    (
        &["deploy", "push", "publish", "ship", "release"],
        "an app is deployed with  git push picloud main ;  picloud deploys  lists what was",
    ),
    (&["open", "url", "browse"], "picloud previews  lists the address of each branch, production first"),
    (&["destroy", "delete", "remove", "rm"], "an app is deleted with  picloud apps delete APP"),
    (
        &["create", "new"],
        "a starter app is written with  picloud init NAME ; its first push creates it on the server",
    ),
    (
        &["env", "vars", "variables"],
        "settings of an app stand in [env] of its picloud.toml; secrets are set with  picloud secrets set NAME",
    ),
    (
        &["set", "unset"],
        "secrets are set with  picloud secrets set NAME ; other settings stand in [env] of picloud.toml",
    ),
    (
        &["config", "settings"],
        "an app is configured by its picloud.toml; a node by the flags of  picloud serve , which --check-config lists",
    ),
    (&["ps", "top", "processes"], "picloud executions  lists what ran, and  picloud nodes  who is there"),
    (&["list", "ls"], "apps are listed with  picloud apps list"),
    (
        &["start", "stop", "restart", "scale"],
        "apps are stopped with  picloud apps stop APP , and started with  picloud apps start APP",
    ),
    (&["rename"], "an app is renamed with  picloud apps rename APP NAME"),
    (&["build", "compile", "validate", "lint", "test"], "picloud check  says what a push would say"),
    (&["watch", "up", "local"], "picloud dev  serves the folder, and again whenever a file is saved"),
    (&["server", "daemon"], "a node is run with  picloud serve"),
    (&["revert", "undo"], "picloud rollback  makes an earlier deploy live again"),
    (&["promote"], "a branch becomes production by a push:  git push picloud BRANCH:main"),
    (&["releases", "history", "versions"], "picloud deploys  lists what was live when, and by whom"),
    (&["tail", "log"], "picloud logs -f  prints lines as they come in"),
    (&["cron", "jobs", "schedule", "timers"], "picloud schedules  lists them; they stand in picloud.toml"),
    (&["call", "exec", "trigger"], "a function is called with  picloud invoke FUNCTION"),
    (&["branches", "preview"], "picloud previews  lists what is live on each branch"),
    (
        &["users", "members", "teams"],
        "there are no users;  picloud tokens create  makes a token for each of them",
    ),
    (&["auth", "signin"], "a token is kept with  picloud login"),
    (&["whoami"], "picloud tokens list  has the tokens and what each can do"),
    (
        &["secret", "token", "app", "domain", "execution", "route", "node"],
        "its name is in the plural here, as in  picloud apps",
    ),
    (&["upgrade", "update"], "picloud is upgraded as it was installed: docs/install.md"),
    (&["version"], "the version is printed by  picloud --version"),
    (&["info", "health"], "picloud status  says whether all is well"),
    (&["db", "database", "kv"], "scripts have no database yet; the node's own is saved with  picloud backup"),
];

/// How a word is said here.
pub(super) fn said_here(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    HABITS.iter().find(|(words, _)| words.contains(&word.as_str())).map(|(_, here)| *here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    #[test]
    fn habits_are_no_verbs_and_name_verbs_that_there_are() {
        let command = command();
        for (words, here) in HABITS {
            for word in *words {
                assert!(command.find_subcommand(word).is_none(), "{word} is a verb");
            }
            for (_, line) in
                here.match_indices("picloud ").map(|(at, _)| here.split_at(at + "picloud ".len()))
            {
                let mut found = &command;
                for word in line
                    .split_whitespace()
                    .take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
                {
                    match found.find_subcommand(word) {
                        Some(inner) => found = inner,
                        None if found.has_subcommands() && found.get_name() == "picloud" => {
                            assert!(["is", "main"].contains(&word), "{here}");
                            break;
                        }
                        None => break,
                    }
                }
            }
        }
    }
}
