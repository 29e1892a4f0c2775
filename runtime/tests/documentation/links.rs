//! Links between the documents lead to files and headings that exist.

use std::path::{Path, PathBuf};

use super::{read, root};

fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(document: &str) -> Vec<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>()
        })
        .map(|heading| heading.replace(' ', "-"))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut found = vec![root().join("README.md")];
    documents(&root().join("docs"), &mut found);
    documents(&root().join("examples"), &mut found);
    let (mut links, mut broken) = (0, Vec::new());
    for document in found {
        let text = read(&document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (target, _) in targets.filter(|(target, _)| !target.contains(':')) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let leads =
                file.exists() && (anchor.is_empty() || anchors(&read(&file)).iter().any(|a| a == anchor));
            if !leads {
                broken.push(format!("{}: {target}", document.display()));
            }
            links += 1;
        }
    }
    assert_eq!(broken, Vec::<String>::new());
    assert!(links > 60, "{links}");
}

#[test]
fn readme_links_to_every_document() {
    let readme = read(&root().join("README.md"));
    let mut found = Vec::new();
    documents(&root().join("docs"), &mut found);
    let names = found.iter().map(|path| path.strip_prefix(root()).unwrap().display().to_string());
    // The pages of the standard library are listed in `docs/sdk.md`.
    let missing: Vec<_> = names
        .filter(|name| !name.starts_with("docs/sdk/") && !readme.contains(&format!("]({name})")))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}
