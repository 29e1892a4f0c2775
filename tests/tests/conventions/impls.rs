//! The methods of a type are in the file that defines it, or in the files of the folder that this file opens.
//!
//! `impl Scheduler` can be in the files of `schedules/`, because `schedules/mod.rs` defines it; `impl Store` in those
//! of `store/src/`, because `lib.rs` does. Not in deeper folders and not elsewhere; other modules use functions.
//! Trait impls can be anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::cycles::{Module, module, strip_comments_and_strings};
use super::{CRATES, root, rust_files};

fn is_identifier_char(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The identifier at the start of a text.
fn identifier(text: &str) -> &str {
    &text[..text.find(|character| !is_identifier_char(character)).unwrap_or(text.len())]
}

/// The text before and after each `keyword`.
fn after_keyword<'c>(code: &'c str, keyword: &str) -> Vec<(&'c str, &'c str)> {
    let whole = |at: &usize| {
        let ends = |character: char| !is_identifier_char(character);
        code[..*at].chars().next_back().is_none_or(ends)
            && code[at + keyword.len()..].chars().next().is_none_or(ends)
    };
    let found = code.match_indices(keyword).map(|(at, _)| at).filter(whole);
    found.map(|at| (code[..at].trim_end(), code[at + keyword.len()..].trim_start())).collect()
}

/// The types that the code defines.
fn defined_types(code: &str) -> BTreeSet<String> {
    let kinds = ["struct", "enum", "union"].into_iter();
    kinds.flat_map(|kind| after_keyword(code, kind)).map(|(_, rest)| identifier(rest).to_owned()).collect()
}

/// The text after leading generic parameters.
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

/// The types with inherent impls in the code.
fn inherent_impl_types(code: &str) -> BTreeSet<String> {
    let items = after_keyword(code, "impl").into_iter().filter(|(before, _)| {
        before.chars().next_back().is_none_or(|character| matches!(character, '{' | '}' | ';' | ']'))
    });
    let heads = items.filter_map(|(_, rest)| rest.split_once('{')).map(|(head, _)| without_generics(head));
    let own = heads.filter(|head| after_keyword(head, "for").iter().all(|(_, rest)| rest.starts_with('<')));
    let paths = own.map(|head| {
        let end = head.find(|character| !is_identifier_char(character) && character != ':');
        &head[..end.unwrap_or(head.len())]
    });
    paths
        .filter_map(|path| path.rsplit("::").next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Inherent impls outside of the folder of their type. Types that a macro defines are ignored.
fn misplaced_impls(files: &BTreeMap<Module, String>) -> Vec<String> {
    let codes: BTreeMap<&Module, String> =
        files.iter().map(|(module, text)| (module, strip_comments_and_strings(text))).collect();
    let mut definitions: BTreeMap<String, Vec<&Module>> = BTreeMap::new();
    for (module, code) in &codes {
        for name in defined_types(code) {
            definitions.entry(name).or_default().push(module);
        }
    }
    let mut misplaced_impls = Vec::new();
    for (module, code) in &codes {
        for name in inherent_impl_types(code) {
            let Some(definitions) = definitions.get(&name) else { continue };
            let at_home = |home: &&Module| {
                home == module || module.split_last().is_some_and(|(_, folder)| **home == folder)
            };
            if !definitions.iter().any(at_home) {
                misplaced_impls.push(format!(
                    "{name} of {} in {}",
                    definitions[0].join("::"),
                    module.join("::")
                ));
            }
        }
    }
    misplaced_impls
}

#[test]
fn methods_are_in_the_file_of_their_type() {
    for (name, _) in CRATES {
        let folder = root().join(name).join("src");
        let files = rust_files(&folder).into_iter().map(|path| {
            let text = fs::read_to_string(&path).expect("code");
            (module(path.strip_prefix(&folder).expect("a file of the folder")), text)
        });
        let found = misplaced_impls(&files.collect());
        assert!(found.is_empty(), "{name}: {}", found.join(", "));
    }
}

#[test]
fn misplaced_methods_are_found() {
    let found = |list: &[(&str, &str)]| {
        let files = list.iter().map(|(path, text)| (module(Path::new(path)), (*text).to_owned()));
        misplaced_impls(&files.collect())
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
