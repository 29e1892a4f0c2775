//! Conventions of the repository: dependencies point downwards, each package is used by one crate, contract changes
//! have a version, and documents match the code.

mod contract;
mod cycles;
mod documents;
mod impls;
mod vocabulary;
mod workflows;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates from top to bottom, with the crates that each may depend on.
const CRATES: [(&str, &[&str]); 7] = [
    ("tests", &[]),
    ("picloud", &["platform", "git-receiver", "runtime", "store", "manifest-schema"]),
    ("platform", &["git-receiver", "runtime", "store", "manifest-schema"]),
    ("git-receiver", &[]),
    ("runtime", &["manifest-schema"]),
    ("store", &["manifest-schema"]),
    ("manifest-schema", &[]),
];

/// Maximum length of a source file without tests, in lines. A type is not split over several files to stay below it
/// ([`impls`]).
const LINES_MAX: usize = 1000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The dependencies of a crate, without those of its tests.
fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest: toml::Table = read(&format!("{name}/Cargo.toml")).parse().expect("TOML");
    manifest
        .get("dependencies")
        .and_then(|table| table.as_table())
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

/// The packages in the root manifest, by the crate in the comment above them.
fn packages_by_crate() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("dependencies");
    let mut packages_by_crate: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut owner = String::new();
    for line in section.lines().take_while(|line| !line.starts_with('[')) {
        if let Some(comment) = line.strip_prefix("# ") {
            owner = comment.to_owned();
        } else if let Some((package, _)) = line.split_once(" = ") {
            packages_by_crate.entry(owner.clone()).or_default().insert(package.to_owned());
        }
    }
    packages_by_crate
}

#[test]
fn workspace_members_are_in_the_table() {
    let root_manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let members = root_manifest["workspace"]["members"].as_array().expect("members");
    let members: BTreeSet<&str> = members.iter().filter_map(|member| member.as_str()).collect();
    assert_eq!(members, CRATES.iter().map(|(name, _)| *name).collect());
}

#[test]
fn dependencies_point_downwards() {
    let crates: BTreeSet<&str> = CRATES.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in CRATES {
        let used = dependencies(name);
        let inside = used.iter().map(String::as_str).filter(|used| crates.contains(used));
        for used in inside {
            assert!(allowed.contains(&used), "{name} must not depend on {used}");
        }
    }
}

#[test]
fn packages_are_used_by_one_crate() {
    let packages_by_crate = packages_by_crate();
    for (owner, packages) in &packages_by_crate {
        if !CRATES.iter().any(|(name, _)| name == owner) {
            continue;
        }
        for (name, _) in CRATES.iter().filter(|(name, _)| name != owner && *name != "tests") {
            let foreign: Vec<_> = dependencies(name).intersection(packages).cloned().collect();
            assert!(foreign.is_empty(), "{name} uses {foreign:?}, which belong to {owner}");
        }
        let used = dependencies(owner);
        let unused: Vec<_> = packages.difference(&used).collect();
        assert!(unused.is_empty(), "{owner} no longer uses {unused:?}");
    }
}

#[test]
fn source_files_are_shorter_than_the_limit() {
    for (name, _) in CRATES {
        for path in rust_files(&root().join(name).join("src")) {
            let text = fs::read_to_string(&path).expect("code");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
            assert!(code <= LINES_MAX, "{} has {code} lines", path.display());
        }
    }
}

#[test]
fn crates_have_documentation() {
    for (name, _) in CRATES {
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
