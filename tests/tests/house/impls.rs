//! A type stands in one place: whoever reads its definition finds all of its methods in that file, or in the files of the folder
//! that the definition opens.
//!
//! `impl Scheduler` can stand in the files of `schedules/`, because `schedules/mod.rs` defines it; `impl Store` in those of
//! `store/src/`, because `lib.rs` does. No deeper, and nowhere else: what another module wants of a type is a function there.
//! Traits can be implemented anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::circles::{Module, module, stripped};
use super::{MAY_USE, root, rust_files};

fn is_of_a_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The word at the beginning of a text.
fn word(text: &str) -> &str {
    &text[..text.find(|character| !is_of_a_word(character)).unwrap_or(text.len())]
}

/// What follows each `keyword` of a code.
fn behind<'c>(code: &'c str, keyword: &str) -> Vec<(&'c str, &'c str)> {
    let whole = |at: &usize| {
        let ends = |character: char| !is_of_a_word(character);
        code[..*at].chars().next_back().is_none_or(ends)
            && code[at + keyword.len()..].chars().next().is_none_or(ends)
    };
    let found = code.match_indices(keyword).map(|(at, _)| at).filter(whole);
    found.map(|at| (code[..at].trim_end(), code[at + keyword.len()..].trim_start())).collect()
}

/// The types that a code defines.
fn defined(code: &str) -> BTreeSet<String> {
    let kinds = ["struct", "enum", "union"].into_iter();
    kinds.flat_map(|kind| behind(code, kind)).map(|(_, rest)| word(rest).to_owned()).collect()
}

/// What stands behind the generic parameters at the beginning of a text, if there are any.
fn without_generics(text: &str) -> &str {
    if !text.starts_with('<') {
        return text;
    }
    let mut depth = 0;
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        match character {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text[at + 1..].trim_start();
        }
        before = character;
    }
    ""
}

/// The types whose own methods a code has.
fn implemented(code: &str) -> BTreeSet<String> {
    let items = behind(code, "impl").into_iter().filter(|(before, _)| {
        before.chars().next_back().is_none_or(|character| matches!(character, '{' | '}' | ';' | ']'))
    });
    let heads = items.filter_map(|(_, rest)| rest.split_once('{')).map(|(head, _)| without_generics(head));
    let own = heads.filter(|head| behind(head, "for").iter().all(|(_, rest)| rest.starts_with('<')));
    let paths = own.map(|head| {
        let end = head.find(|character| !is_of_a_word(character) && character != ':');
        &head[..end.unwrap_or(head.len())]
    });
    paths
        .filter_map(|path| path.rsplit("::").next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The methods that stand elsewhere than their type: which, and where. A type that a macro defines is not looked for.
fn astray(files: &BTreeMap<Module, String>) -> Vec<String> {
    let codes: BTreeMap<&Module, String> =
        files.iter().map(|(module, text)| (module, stripped(text))).collect();
    let mut homes: BTreeMap<String, Vec<&Module>> = BTreeMap::new();
    for (module, code) in &codes {
        for name in defined(code) {
            homes.entry(name).or_default().push(module);
        }
    }
    let mut astray = Vec::new();
    for (module, code) in &codes {
        for name in implemented(code) {
            let Some(homes) = homes.get(&name) else { continue };
            let at_home = |home: &&Module| {
                home == module || module.split_last().is_some_and(|(_, folder)| **home == folder)
            };
            if !homes.iter().any(at_home) {
                astray.push(format!("{name} of {} in {}", homes[0].join("::"), module.join("::")));
            }
        }
    }
    astray
}

#[test]
fn methods_stand_with_their_type() {
    for (name, _) in MAY_USE {
        let folder = root().join(name).join("src");
        let files = rust_files(&folder).into_iter().map(|path| {
            let text = fs::read_to_string(&path).expect("code");
            (module(path.strip_prefix(&folder).expect("a file of the folder")), text)
        });
        let found = astray(&files.collect());
        assert!(found.is_empty(), "{name}: {}", found.join(", "));
    }
}

#[test]
fn methods_that_stand_astray_are_found() {
    let found = |list: &[(&str, &str)]| {
        let files = list.iter().map(|(path, text)| (module(Path::new(path)), (*text).to_owned()));
        astray(&files.collect())
    };
    let store = ("lib.rs", "pub struct Store(u8);\nimpl Store {}");
    let schedules = ("schedules/mod.rs", "pub struct Scheduler<F> where F: Fn() -> u8 { f: F }");
    let held = "impl<F: Fn() -> u8> super::Scheduler<F> { fn hold(&self) -> impl Iterator<Item = u8> {} }";
    assert_eq!(found(&[store, ("audit.rs", "use crate::Store; impl Store {}")]), [""; 0]);
    assert_eq!(found(&[store, schedules, ("schedules/hold.rs", held)]), [""; 0]);
    assert_eq!(found(&[schedules, ("hold.rs", held)]), ["Scheduler of schedules in hold"]);
    assert_eq!(
        found(&[schedules, ("schedules/a/b.rs", held)]),
        ["Scheduler of schedules in schedules::a::b"]
    );
    let brother = [("a.rs", "enum A {}"), ("b.rs", "// impl B {}\n#[rustfmt::skip]\nimpl A { }")];
    assert_eq!(found(&brother), ["A of a in b"]);
    let own = [
        ("a.rs", "struct A;"),
        ("b.rs", "struct A; impl A {} fn f(x: impl Fn(A)) {} impl From<A> for u8 {}"),
    ];
    assert_eq!(found(&own), [""; 0]);
    let by_macro = [
        ("a.rs", "struct A;"),
        ("b.rs", "impl $type {} impl Unknown {} impl<T> Show for A where T: for<'a> F {}"),
    ];
    assert_eq!(found(&by_macro), [""; 0]);
}
