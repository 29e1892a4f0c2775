//! The checks of a push: every template parses, and names only templates and macros that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Span, Suggestions};

use super::ast::{Ast, Node, TemplateName};
use super::parser::parse;
use super::{Fault, TEMPLATE_FOLDER};

/// The maximum size of a template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 256 * 1024;

/// The maximum number of templates.
pub const TEMPLATES_MAX: usize = 100;

/// The functions that are not macros.
const FUNCTIONS: [&str; 2] = ["range", "super"];

/// The maximum number of faults that are reported per template.
const FAULTS_MAX: usize = 20;

/// The error for a template larger than [`TEMPLATE_BYTES_MAX`].
pub fn template_too_large(path: &str) -> Diagnostic {
    let message = format!("the template is larger than {} KiB", TEMPLATE_BYTES_MAX / 1024);
    Diagnostic::error(path, None, message).with_help("split it with `include`, or pass texts from the script")
}

/// Checks templates: their texts by name. All names are known, also of templates that could not be read. Returns those
/// that other templates name.
pub fn check_templates<'n>(
    texts: &BTreeMap<&str, &str>,
    names: &[&'n str],
    diagnostics: &mut Diagnostics,
) -> BTreeSet<&'n str> {
    let mut asts = BTreeMap::new();
    let mut reports = Reports { texts, diagnostics };
    for (name, text) in texts {
        match parse(text) {
            Ok(ast) => {
                asts.insert(*name, ast);
            }
            Err(faults) => faults.into_iter().take(FAULTS_MAX).for_each(|fault| reports.error(name, fault)),
        }
    }
    let mut suggestions = Suggestions::default();
    for (name, ast) in &asts {
        let mut missing = Vec::new();
        for named in ast.names().into_iter().filter(|named| !names.contains(&named.name)) {
            if missing.len() >= FAULTS_MAX || missing.contains(&named.name) {
                continue;
            }
            missing.push(named.name);
            let message = format!("there is no template `{}`", named.name.escape_debug());
            let near = suggestions.did_you_mean(named.name, names.iter().copied());
            let help = near.unwrap_or_else(|| format!("create {TEMPLATE_FOLDER}{}", named.name));
            reports.error(name, Fault::new(named.at, message).with_help(help));
        }
        check_imports(name, ast, &asts, &mut suggestions, &mut reports);
        check_calls(name, ast, &asts, &mut suggestions, &mut reports);
        check_inheritance(name, ast, &asts, &mut reports);
    }
    for cycle in cycles(&asts) {
        let [(first, at), ..] = cycle.as_slice() else { continue };
        let chain: Vec<&str> = cycle.iter().map(|(name, _)| *name).chain([*first]).collect();
        let message = match chain.as_slice() {
            [_, _] => "the template includes or extends itself".to_owned(),
            _ => format!("the templates name each other in a cycle: {}", chain.join(" -> ")),
        };
        reports.error(first, Fault::new(at.clone(), message));
    }
    let named: BTreeSet<&str> = asts.values().flat_map(Ast::names).map(|named| named.name).collect();
    names.iter().copied().filter(|name| named.contains(name)).collect()
}

struct Reports<'r> {
    texts: &'r BTreeMap<&'r str, &'r str>,
    diagnostics: &'r mut Diagnostics,
}

impl Reports<'_> {
    fn error(&mut self, name: &str, fault: Fault) {
        self.add(name, fault, Diagnostic::error);
    }

    fn warning(&mut self, name: &str, fault: Fault) {
        self.add(name, fault, Diagnostic::warning);
    }

    fn add(&mut self, name: &str, fault: Fault, make: fn(String, Option<Span>, String) -> Diagnostic) {
        let span = self.texts.get(name).map(|text| Span::from_range(text, fault.at));
        let diagnostic = make(format!("{TEMPLATE_FOLDER}{name}"), span, fault.message);
        self.diagnostics.add(match fault.help {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        });
    }
}

/// Reports imported macros that do not exist.
fn check_imports(
    name: &str,
    ast: &Ast<'_>,
    asts: &BTreeMap<&str, Ast<'_>>,
    suggestions: &mut Suggestions,
    reports: &mut Reports<'_>,
) {
    for import in &ast.imports {
        let (Some(from), Some((wanted, at))) = (asts.get(import.from.name), &import.name) else { continue };
        let known = from.macros.iter().map(|made| made.name);
        if !known.clone().any(|known| known == *wanted) {
            let message = format!("{TEMPLATE_FOLDER}{} has no macro `{wanted}`", import.from.name);
            let mut fault = Fault::new(at.clone(), message);
            fault.help = suggestions.did_you_mean(wanted, known);
            reports.error(name, fault);
        }
    }
}

/// Reports calls of functions and macros that do not exist.
fn check_calls(
    name: &str,
    ast: &Ast<'_>,
    asts: &BTreeMap<&str, Ast<'_>>,
    suggestions: &mut Suggestions,
    reports: &mut Reports<'_>,
) {
    let own = ast.macros.iter().map(|made| made.name);
    let imported = ast.imports.iter().filter(|import| import.name.is_some()).map(|import| import.alias);
    let known: Vec<&str> = own.chain(imported).chain(FUNCTIONS).collect();
    let mut reported = 0;
    for call in &ast.calls {
        let help = match call.module {
            None if known.contains(&call.name) => continue,
            None => suggestions.did_you_mean(call.name, known.iter().copied()),
            Some("loop") if call.name == "cycle" => continue,
            Some(module) => {
                let of = ast.imports.iter().find(|import| import.alias == module && import.name.is_none());
                match of.map(|import| asts.get(import.from.name)) {
                    // A missing or invalid template is reported.
                    Some(None) => continue,
                    Some(Some(from)) if from.macros.iter().any(|made| made.name == call.name) => continue,
                    Some(Some(from)) => {
                        suggestions.did_you_mean(call.name, from.macros.iter().map(|made| made.name))
                    }
                    None => None,
                }
            }
        };
        reported += 1;
        if reported > FAULTS_MAX {
            return;
        }
        let module = call.module.map(|module| format!("{module}.")).unwrap_or_default();
        let message = format!("unknown function `{module}{}`", call.name);
        let help = help.unwrap_or_else(|| {
            "only macros, `range` and `super` can be called; call others in the script".to_owned()
        });
        reports.error(name, Fault::new(call.at.clone(), message).with_help(help));
    }
}

/// Warns about parts of a template that are never written, because it extends another one.
fn check_inheritance(name: &str, ast: &Ast<'_>, asts: &BTreeMap<&str, Ast<'_>>, reports: &mut Reports<'_>) {
    let Some(parent) = &ast.extends else { return };
    let is_lost = |node: &&Node<'_>| match node {
        Node::Text(text) => !text.trim().is_empty(),
        Node::Block { .. } | Node::Set { .. } | Node::SetBlock { .. } => false,
        _ => true,
    };
    if ast.body.iter().any(|node| is_lost(&node)) {
        let message = "what is outside of blocks is not written, since the template extends another one";
        reports.warning(name, Fault::new(parent.at.clone(), message.to_owned()));
    }
    // Blocks of all templates that it extends.
    let (mut inherited, mut parent) = (Vec::new(), parent);
    for _ in 0..TEMPLATES_MAX {
        let Some(ast) = asts.get(parent.name) else { return };
        inherited.extend(blocks(ast).into_iter().map(|(name, _)| name));
        match &ast.extends {
            Some(next) => parent = next,
            None => break,
        }
    }
    for node in &ast.body {
        if let Node::Block { name: block, at, .. } = node
            && !inherited.contains(block)
        {
            let message = format!("no template that this one extends has a block `{block}`");
            let mut fault = Fault::new(at.clone(), message);
            fault.help = Suggestions::default().did_you_mean(block, inherited.iter().copied());
            reports.warning(name, fault);
        }
    }
}

fn blocks<'a>(ast: &'a Ast<'_>) -> Vec<(&'a str, Range<usize>)> {
    let mut blocks = Vec::new();
    ast.walk(&mut |node| {
        if let Node::Block { name, at, .. } = node {
            blocks.push((*name, at.clone()));
        }
    });
    blocks
}

/// A cycle: each template with the place where it names the next one.
type Cycle<'a> = Vec<(&'a str, Range<usize>)>;

/// The cycles, each once, beginning with its first template by name.
fn cycles<'a>(asts: &'a BTreeMap<&'a str, Ast<'a>>) -> Vec<Cycle<'a>> {
    let edges: BTreeMap<&str, Vec<TemplateName<'a>>> = asts
        .iter()
        .map(|(name, ast)| {
            let mut seen = BTreeSet::new();
            let mut names = ast.names();
            names.retain(|to| asts.contains_key(to.name) && seen.insert(to.name));
            (*name, names)
        })
        .collect();
    let mut found = Vec::new();
    let mut done = BTreeSet::new();
    for start in edges.keys() {
        if done.contains(start) {
            continue;
        }
        // A depth-first search without recursion: the path, and the next edge of each of its templates.
        let mut path: Vec<(&str, usize)> = vec![(*start, 0)];
        while let Some((name, next)) = path.last_mut() {
            let name = *name;
            let Some(to) = edges.get(name).and_then(|edges| edges.get(*next)) else {
                done.insert(name);
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(begin) = path.iter().position(|(earlier, _)| *earlier == to.name) {
                let place = |(name, next): &(&'a str, usize)| {
                    let at =
                        edges.get(name).and_then(|edges| edges.get(next - 1)).map(|edge| edge.at.clone());
                    (*name, at.unwrap_or_default())
                };
                found.push(path.get(begin..).unwrap_or_default().iter().map(place).collect());
            } else if !done.contains(to.name) {
                path.push((to.name, 0));
            }
        }
    }
    found
}
