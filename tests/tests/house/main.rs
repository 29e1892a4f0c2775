//! The house keeps its own rules: imports run one way, every package has one home, contracts change with their version, and
//! documents say what is so.

mod circles;
mod contract;
mod document;
mod impls;
mod workflows;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates from the top of the house to its ground. Each may use those below it, as far as the table allows.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("tests", &[]),
    ("picloud", &["platform", "git-receiver", "runtime", "store", "manifest-schema"]),
    ("platform", &["git-receiver", "runtime", "store", "manifest-schema"]),
    ("git-receiver", &[]),
    ("runtime", &["manifest-schema"]),
    ("store", &["manifest-schema"]),
    ("manifest-schema", &[]),
];

/// The longest file of code. One type, one file: a type is not spread over several to stay below this ([`impls`]).
const LINES_MAX: usize = 1000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The packages that a crate's own code uses; tests may use more.
fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest: toml::Table = read(&format!("{name}/Cargo.toml")).parse().expect("TOML");
    manifest
        .get("dependencies")
        .and_then(|table| table.as_table())
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

/// The packages that the root manifest lists under the name of a crate, by crate.
fn homes() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("dependencies");
    let mut homes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut home = String::new();
    for line in section.lines().take_while(|line| !line.starts_with('[')) {
        if let Some(comment) = line.strip_prefix("# ") {
            home = comment.to_owned();
        } else if let Some((package, _)) = line.split_once(" = ") {
            homes.entry(home.clone()).or_default().insert(package.to_owned());
        }
    }
    homes
}

#[test]
fn every_folder_with_a_manifest_is_in_the_table() {
    let root_manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let members = root_manifest["workspace"]["members"].as_array().expect("members");
    let members: BTreeSet<&str> = members.iter().filter_map(|member| member.as_str()).collect();
    assert_eq!(members, MAY_USE.iter().map(|(name, _)| *name).collect());
}

#[test]
fn imports_run_one_way() {
    let crates: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in MAY_USE {
        let used = dependencies(name);
        let inside = used.iter().map(String::as_str).filter(|used| crates.contains(used));
        for used in inside {
            assert!(allowed.contains(&used), "{name} must not use {used}");
        }
    }
}

#[test]
fn every_package_has_one_home() {
    let homes = homes();
    for (home, packages) in &homes {
        if !MAY_USE.iter().any(|(name, _)| name == home) {
            continue;
        }
        for (name, _) in MAY_USE.iter().filter(|(name, _)| name != home && *name != "tests") {
            let strangers: Vec<_> = dependencies(name).intersection(packages).cloned().collect();
            assert!(strangers.is_empty(), "{name} uses {strangers:?}, whose home is {home}");
        }
        let used = dependencies(home);
        let unused: Vec<_> = packages.difference(&used).collect();
        assert!(unused.is_empty(), "{home} does not use {unused:?} any more");
    }
}

#[test]
fn rooms_are_small_enough_to_be_one_thing() {
    for (name, _) in MAY_USE {
        for path in rust_files(&root().join(name).join("src")) {
            let text = fs::read_to_string(&path).expect("code");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
            assert!(code <= LINES_MAX, "{} has {code} lines", path.display());
        }
    }
}

#[test]
fn every_crate_opens_with_what_it_is_for() {
    for (name, _) in MAY_USE {
        let file = if name == "picloud" { "src/main.rs" } else { "src/lib.rs" };
        assert!(read(&format!("{name}/{file}")).starts_with("//! "), "{name}/{file}");
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
