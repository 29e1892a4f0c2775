//! Snapshots of the `--help` of all commands. `make snapshots` accepts changes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::Command;

use super::command;

/// The folder of the snapshots, next to this file.
const FOLDER: &str = "snapshots";

/// Hides values of the environment of the test.
fn without_env_values(command: Command) -> Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(without_env_values)
}

/// The name and the help of a command and of all its subcommands.
fn collect(command: &mut Command, name: &str, helps: &mut Vec<(String, String)>) {
    helps.push((name.to_owned(), command.render_long_help().to_string()));
    for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
        let name = format!("{name}_{}", inner.get_name().replace('-', "_"));
        collect(inner, &name, helps);
    }
}

fn helps() -> Vec<(String, String)> {
    let mut command = without_env_values(command());
    command.build();
    let mut helps = Vec::new();
    collect(&mut command, "help", &mut helps);
    helps
}

#[test]
fn help_of_every_command_matches_its_snapshot() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(FOLDER);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (name, help) in helps() {
            // Trailing spaces of empty lines are not significant.
            let help: Vec<&str> = help.lines().map(str::trim_end).collect();
            insta::assert_snapshot!(name, help.join("\n"));
        }
    });
}

#[test]
fn every_help_snapshot_belongs_to_a_command() {
    let names: BTreeSet<String> = helps().into_iter().map(|(name, _)| format!("{name}.snap")).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli").join(FOLDER);
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&file) || file.ends_with(".new"), "{file} belongs to no command");
    }
}
