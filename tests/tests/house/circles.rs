//! The modules of `picloud` import one way: no module is part of a circle, and what answers requests does not name the store.
//!
//! Two modules of one folder are compared with all that is below them; a `mod.rs` is compared with its children. So a folder can
//! be read from its top to its ground, and none of its parts needs what needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{root, rust_files};

const CRATE: &str = "picloud/src";

/// Who must not name which crate.
const MUST_NOT_NAME: [(&str, &str); 1] = [("picloud/src/edge", "store")];

/// A module by its path within the crate; the root of the crate has none.
pub(super) type Module = Vec<String>;

/// What a folder's own file is called among its children.
const ITSELF: &str = "mod.rs";

/// The code of a file without its tests, comments and texts.
fn bare(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    stripped(code.split("#[cfg(all(test").next().unwrap_or_default())
}

/// A code without its comments and texts.
pub(super) fn stripped(code: &str) -> String {
    let mut bare = String::new();
    for line in code.lines() {
        let mut within = false;
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' if within => drop(characters.next()),
                '"' => within = !within,
                '/' if !within && characters.peek() == Some(&'/') => break,
                character if !within => bare.push(character),
                _ => {}
            }
        }
        bare.push(' ');
    }
    bare
}

/// The paths that a tree of imports stands for.
fn expanded(tree: &str) -> Vec<String> {
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
    parts.flat_map(|part| expanded(part)).map(|path| format!("{}{path}", prefix.replace(' ', ""))).collect()
}

/// All paths of a file's code: imported, or written where they are used.
fn paths(code: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), String::new());
    let mut statements = code.split("use ");
    rest.push_str(statements.next().unwrap_or_default());
    for statement in statements {
        let (tree, after) = statement.split_once(';').unwrap_or((statement, ""));
        found.extend(expanded(tree));
        rest.push_str(after);
    }
    let is_path = |character: char| character.is_alphanumeric() || matches!(character, '_' | ':');
    let written = rest.split(|character| !is_path(character)).filter(|word| word.contains("::"));
    found.extend(written.map(str::to_owned));
    found
}

/// The module that a path in the code of `from` leads to.
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

/// Which module imports from which.
fn imports(files: &BTreeMap<Module, String>) -> BTreeSet<(Module, Module)> {
    let modules: BTreeSet<Module> = files.keys().cloned().collect();
    let mut imports = BTreeSet::new();
    for (from, text) in files {
        let targets = paths(&bare(text));
        let targets = targets.iter().filter_map(|path| target(&modules, from, path));
        imports.extend(targets.filter(|to| to != from).map(|to| (from.clone(), to)));
    }
    imports
}

/// The circles, folder by folder, each with an import for every step.
fn circles(imports: &BTreeSet<(Module, Module)>) -> Vec<String> {
    let folders: BTreeSet<&[String]> = imports
        .iter()
        .flat_map(|(from, to)| [from, to])
        .flat_map(|module| (0..=module.len()).map(move |depth| &module[..depth]))
        .collect();
    let mut circles = Vec::new();
    for folder in folders {
        let part = |module: &Module| -> Option<String> {
            let below = module.strip_prefix(folder)?;
            Some(below.first().map_or(ITSELF, String::as_str).to_owned())
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
        let found = steps.keys().find_map(|start| way(&steps, start, start));
        circles.extend(found.map(|steps| format!("in {}: {}", name(folder), steps.join(", "))));
    }
    circles
}

fn name(module: &[String]) -> String {
    if module.is_empty() { "the root".to_owned() } else { module.join("::") }
}

/// The shortest way from one part to another one, by its steps.
fn way(steps: &BTreeMap<String, BTreeMap<String, String>>, from: &str, to: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![(from.to_owned(), Vec::new())];
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for (at, way) in ways {
            for (next, step) in steps.get(&at).into_iter().flatten() {
                let way = [way.as_slice(), std::slice::from_ref(step)].concat();
                if next == to {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push((next.clone(), way));
                }
            }
        }
        ways = longer;
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
fn no_modules_import_in_a_circle() {
    let folder = root().join(CRATE);
    let files = rust_files(&folder).into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("code");
        (module(path.strip_prefix(&folder).expect("a file of the folder")), text)
    });
    let found = circles(&imports(&files.collect()));
    assert!(found.is_empty(), "{} circles\n{}", found.len(), found.join("\n"));
}

#[test]
fn no_code_names_a_crate_that_it_must_not() {
    for (folder, stranger) in MUST_NOT_NAME {
        for path in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&path).expect("code");
            let named =
                paths(&bare(&text)).into_iter().find(|path| path.split("::").next() == Some(stranger));
            assert_eq!(named, None, "{} names {stranger}", path.display());
        }
    }
}

#[test]
fn circles_of_each_kind_are_found() {
    let files = |files: &[(&str, &str)]| -> BTreeMap<Module, String> {
        files.iter().map(|(path, text)| (module(Path::new(path)), (*text).to_owned())).collect()
    };
    let found = |list: &[(&str, &str)]| circles(&imports(&files(list)));
    let main = ("main.rs", "mod a; mod b; use a::{A, x::{X as Y}}; // use crate::b");
    assert_eq!(found(&[main, ("a/mod.rs", "mod x;"), ("a/x.rs", ""), ("b.rs", "use crate::a::A;")]), [""; 0]);
    let circle =
        found(&[main, ("a/mod.rs", "mod x;"), ("a/x.rs", "use crate::b::B;"), ("b.rs", "crate::a::f()")]);
    assert_eq!(circle, ["in the root: a::x imports from b, b imports from a"]);
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
