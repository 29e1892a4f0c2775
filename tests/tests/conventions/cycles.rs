//! The modules of `picloud` do not import in cycles, and the HTTP edge does not import the store.
//!
//! In each folder, children are compared including their descendants, and `mod.rs` is compared with its children. So
//! every folder has a top-down order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{root, rust_files};

const CRATE: &str = "picloud/src";

/// Folders, and the crates that they must not import.
const FORBIDDEN_IMPORTS: [(&str, &str); 1] = [("picloud/src/edge", "store")];

/// A module path within the crate; empty for the crate root.
pub(super) type Module = Vec<String>;

/// The name of a folder's own module among its children.
const FOLDER_FILE: &str = "mod.rs";

/// The code without tests, comments and strings.
fn production_code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    strip_comments_and_strings(code.split("#[cfg(all(test").next().unwrap_or_default())
}

/// The code without comments and strings.
pub(super) fn strip_comments_and_strings(code: &str) -> String {
    let mut production_code = String::new();
    for line in code.lines() {
        let mut within = false;
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' if within => drop(characters.next()),
                '"' => within = !within,
                '/' if !within && characters.peek() == Some(&'/') => break,
                character if !within => production_code.push(character),
                _ => {}
            }
        }
        production_code.push(' ');
    }
    production_code
}

/// The paths of a use tree.
fn expand_use_tree(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap_or_default().replace(' ', "")];
    };
    let (mut depth, mut parts, mut part) = (0, Vec::new(), String::new());
    for character in rest.chars() {
        match character {
            '}' if depth == 0 => break,
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => {
                depth += i32::from(character == '{') - i32::from(character == '}');
                part.push(character);
            }
        }
    }
    parts.push(part);
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(|part| expand_use_tree(part))
        .map(|path| format!("{}{path}", prefix.replace(' ', "")))
        .collect()
}

/// All paths in the code: in imports and inline.
fn paths(code: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), String::new());
    let mut statements = code.split("use ");
    rest.push_str(statements.next().unwrap_or_default());
    for statement in statements {
        let (tree, after) = statement.split_once(';').unwrap_or((statement, ""));
        found.extend(expand_use_tree(tree));
        rest.push_str(after);
    }
    let is_path = |character: char| character.is_alphanumeric() || matches!(character, '_' | ':');
    let written = rest.split(|character| !is_path(character)).filter(|identifier| identifier.contains("::"));
    found.extend(written.map(str::to_owned));
    found
}

/// The module that a path in `from` refers to.
fn target(modules: &BTreeSet<Module>, from: &Module, path: &str) -> Option<Module> {
    let mut parts = path.split("::").peekable();
    let mut module = match parts.peek() {
        Some(&"crate") => Vec::new(),
        Some(&("self" | "super")) => from.clone(),
        Some(first) if modules.contains(&[from.as_slice(), &[(*first).to_owned()]].concat()) => from.clone(),
        _ => return None,
    };
    for part in parts {
        let below = [module.as_slice(), &[part.to_owned()]].concat();
        match part {
            "crate" | "self" => {}
            "super" => drop(module.pop()),
            _ if modules.contains(&below) => module = below,
            _ => break,
        }
    }
    Some(module)
}

/// The imports between modules, as pairs of importer and imported.
fn imports(files: &BTreeMap<Module, String>) -> BTreeSet<(Module, Module)> {
    let modules: BTreeSet<Module> = files.keys().cloned().collect();
    let mut imports = BTreeSet::new();
    for (from, text) in files {
        let targets = paths(&production_code(text));
        let targets = targets.iter().filter_map(|path| target(&modules, from, path));
        imports.extend(targets.filter(|to| to != from).map(|to| (from.clone(), to)));
    }
    imports
}

/// The cycles in each folder, with an import for each edge.
fn cycles(imports: &BTreeSet<(Module, Module)>) -> Vec<String> {
    let folders: BTreeSet<&[String]> = imports
        .iter()
        .flat_map(|(from, to)| [from, to])
        .flat_map(|module| (0..=module.len()).map(move |depth| &module[..depth]))
        .collect();
    let mut cycles = Vec::new();
    for folder in folders {
        let part = |module: &Module| -> Option<String> {
            let below = module.strip_prefix(folder)?;
            Some(below.first().map_or(FOLDER_FILE, String::as_str).to_owned())
        };
        let mut steps: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (from, to) in imports {
            if let (Some(a), Some(b)) = (part(from), part(to))
                && a != b
            {
                let step = format!("{} imports from {}", name(from), name(to));
                steps.entry(a).or_default().entry(b).or_insert(step);
            }
        }
        let found = steps.keys().find_map(|start| shortest_path(&steps, start, start));
        cycles.extend(found.map(|steps| format!("in {}: {}", name(folder), steps.join(", "))));
    }
    cycles
}

fn name(module: &[String]) -> String {
    if module.is_empty() { "the root".to_owned() } else { module.join("::") }
}

/// The shortest path between two modules, as a list of imports.
fn shortest_path(
    steps: &BTreeMap<String, BTreeMap<String, String>>,
    from: &str,
    to: &str,
) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut paths_so_far = vec![(from.to_owned(), Vec::new())];
    while !paths_so_far.is_empty() {
        let mut longer = Vec::new();
        for (at, shortest_path) in paths_so_far {
            for (next, step) in steps.get(&at).into_iter().flatten() {
                let shortest_path = [shortest_path.as_slice(), std::slice::from_ref(step)].concat();
                if next == to {
                    return Some(shortest_path);
                }
                if seen.insert(next.clone()) {
                    longer.push((next.clone(), shortest_path));
                }
            }
        }
        paths_so_far = longer;
    }
    None
}

pub(super) fn module(path: &Path) -> Module {
    let path = path.with_extension("");
    let mut module: Module = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    module.pop_if(|last| matches!(last.as_str(), "mod" | "main" | "lib"));
    module
}

#[test]
fn modules_do_not_import_in_cycles() {
    let folder = root().join(CRATE);
    let files = rust_files(&folder).into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("code");
        (module(path.strip_prefix(&folder).expect("a file of the folder")), text)
    });
    let found = cycles(&imports(&files.collect()));
    assert!(found.is_empty(), "{} circles\n{}", found.len(), found.join("\n"));
}

#[test]
fn forbidden_crates_are_not_imported() {
    for (folder, forbidden) in FORBIDDEN_IMPORTS {
        for path in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&path).expect("code");
            let named = paths(&production_code(&text))
                .into_iter()
                .find(|path| path.split("::").next() == Some(forbidden));
            assert_eq!(named, None, "{} imports {forbidden}", path.display());
        }
    }
}

#[test]
fn cycles_of_each_kind_are_found() {
    let files = |files: &[(&str, &str)]| -> BTreeMap<Module, String> {
        files.iter().map(|(path, text)| (module(Path::new(path)), (*text).to_owned())).collect()
    };
    let found = |list: &[(&str, &str)]| cycles(&imports(&files(list)));
    let main = ("main.rs", "mod a; mod b; use a::{A, x::{X as Y}}; // use crate::b");
    assert_eq!(found(&[main, ("a/mod.rs", "mod x;"), ("a/x.rs", ""), ("b.rs", "use crate::a::A;")]), [""; 0]);
    let cycle =
        found(&[main, ("a/mod.rs", "mod x;"), ("a/x.rs", "use crate::b::B;"), ("b.rs", "crate::a::f()")]);
    assert_eq!(cycle, ["in the root: a::x imports from b, b imports from a"]);
    let parent =
        found(&[main, ("a/mod.rs", "mod x; fn f() { x::f() }"), ("a/x.rs", "use super::A;"), ("b.rs", "")]);
    assert_eq!(parent, ["in a: a imports from a::x, a::x imports from a"]);
    let tests = [
        main,
        ("a/mod.rs", "mod x;"),
        ("a/x.rs", "#[cfg(test)] mod t { use crate::b; }"),
        ("b.rs", "\"crate::a\""),
    ];
    assert_eq!(found(&tests), [""; 0]);
}
