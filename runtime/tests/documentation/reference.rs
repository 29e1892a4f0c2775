//! `docs/sdk.md` and `docs/sdk/`: the tables are those of the signatures, and everything in them has an example.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use runtime::notation::Kind;
use runtime::{FunctionReference, ModuleReference, ctx_properties, sdk_reference};

use super::{Call, blocks, code, holds_in, read, root, script, statements};

/// Writes the tables instead of comparing them.
const WRITE: &str = "PICLOUD_WRITE_REFERENCE";

const CONTRACT: &str = "docs/sdk.md";

/// The pages of the reference.
pub(super) fn pages() -> Vec<String> {
    let mut pages = vec![CONTRACT.to_owned()];
    for file in std::fs::read_dir(root().join("docs/sdk")).unwrap() {
        pages.push(format!("docs/sdk/{}", file.unwrap().file_name().to_str().unwrap()));
    }
    pages.sort();
    pages
}

/// The page of a module.
fn page_of(module: &str) -> String {
    match module {
        "log" => CONTRACT.to_owned(),
        "" => "docs/sdk/values.md".to_owned(),
        name => format!("docs/sdk/{name}.md"),
    }
}

/// The files that a page shows: blocks below a line such as `` `templates/page.html`: ``.
pub(super) fn named_files(document: &str) -> BTreeMap<String, String> {
    let lines: Vec<&str> = document.lines().collect();
    let mut files = BTreeMap::new();
    for (index, line) in lines.iter().enumerate() {
        let name = line.strip_prefix('`').and_then(|rest| rest.strip_suffix("`:"));
        let (Some(name), true) = (name, lines.get(index + 2).is_some_and(|next| next.starts_with("```")))
        else {
            continue;
        };
        let text: String = lines[index + 3..]
            .iter()
            .take_while(|line| !line.starts_with("```"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(files.insert(name.to_owned(), text).is_none(), "{name} is there twice");
    }
    files
}

/// The templates among files, and the scripts among them as functions.
fn with_files(call: Call, files: &BTreeMap<String, String>) -> Call {
    let scripts = files.iter().filter_map(|(path, text)| Some((path.strip_suffix(".rhai")?, text)));
    let call = scripts.fold(call, |call, (name, text)| call.function_named(name, text.as_str()));
    with_templates(call, files)
}

/// The templates among files.
pub(super) fn with_templates(mut call: Call, files: &BTreeMap<String, String>) -> Call {
    for (path, text) in files {
        if let Some(name) = path.strip_prefix("templates/") {
            call = call.template(name, text.trim_end());
        }
    }
    call
}

#[test]
fn examples_of_modules_hold() {
    let (mut examples, mut stops, mut wrong) = (0, BTreeMap::<String, usize>::new(), Vec::new());
    for page in pages().into_iter().filter(|page| page != CONTRACT) {
        let document = read(&root().join(&page));
        let files = named_files(&document);
        for (line, example) in blocks(&document, "rhai") {
            // All pages of modules have this version. Behind the script it moves no line.
            let base = with_files(script(&format!("{example}// sdk 1.3\n")), &files);
            let place = format!("{page}:{line}");
            // The others are checked too, so that one run shows all that is wrong.
            match catch_unwind(AssertUnwindSafe(|| holds_in(&base, &place))) {
                Ok(checked) => {
                    assert!(checked.statements > 0, "{place}: no claims");
                    *stops.entry(page.clone()).or_default() += checked.stops;
                }
                Err(_) => wrong.push(place),
            }
            examples += 1;
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(examples > 80, "{examples}");
    for page in ["kv", "functions"] {
        let stops = stops[&format!("docs/sdk/{page}.md")];
        assert!(stops > 20, "{page}: {stops}");
    }
}

#[test]
fn every_function_option_and_error_has_an_example() {
    let mut missing = Vec::new();
    for module in sdk_reference() {
        let page = page_of(module.name);
        let examples = blocks(&read(&root().join(&page)), "rhai");
        let examples: Vec<String> = examples.into_iter().map(|(_, example)| example).collect();
        let messages: Vec<String> = examples.iter().flat_map(|example| messages(example)).collect();
        for function in &module.functions {
            let calling: Vec<_> = examples.iter().filter(|example| calls(example, &function.name)).collect();
            if calling.is_empty() {
                missing.push(format!("{page}: a call of `{}`", function.name));
            }
            // One example is enough for options and errors that several functions of a module have.
            let same = module.functions.iter().filter(|other| other.options == function.options);
            let with_options: Vec<_> = same
                .flat_map(|function| examples.iter().filter(|example| calls(example, &function.name)))
                .collect();
            for option in &function.options {
                let key = format!("{}: ", option.name);
                if !with_options.iter().any(|example| example.contains(&key)) {
                    missing.push(format!("{page}: option `{}` of `{}`", option.name, function.name));
                }
            }
            for error in function.errors {
                let declaring = module.functions.iter().filter(|function| function.errors.contains(error));
                let shown = |function: &FunctionReference| {
                    messages.iter().any(|message| function.shows_error(error, message))
                };
                if !declaring.into_iter().any(shown) {
                    missing.push(format!("{page}: error of `{}`: {error}", function.name));
                }
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new(), "without an example");
}

/// Whether an example calls a function, by a name with its module or as a method.
fn calls(example: &str, function: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let call = format!("{function}(");
    code(function, example)
        .iter()
        .any(|line| line.match_indices(&call).any(|(at, _)| !line[..at].ends_with(name)))
}

/// The messages of errors that an example shows.
fn messages(example: &str) -> Vec<String> {
    let shown = statements("an example", example).into_iter().filter_map(|statement| match statement.kind {
        Kind::Fails(message) => Some(message),
        // A caught one is answered as JSON.
        Kind::Claim { answer, .. } => serde_json::from_str(&answer.body?).ok(),
        _ => None,
    });
    shown.collect()
}

#[test]
fn every_property_of_ctx_has_an_example() {
    let examples = blocks(&read(&root().join(CONTRACT)), "rhai");
    let reads = |property: &str| {
        let name = |c: char| c.is_alphanumeric() || c == '_';
        let written = [property.to_owned(), property.replace("ctx.request.", "r.")];
        examples.iter().any(|(_, example)| {
            written.iter().any(|path| {
                code(CONTRACT, example).iter().any(|line| {
                    line.match_indices(path.as_str())
                        .any(|(at, _)| !line[at + path.len()..].starts_with(name))
                })
            })
        })
    };
    let missing: Vec<_> = ctx_properties().into_iter().filter(|property| !reads(property)).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn tables_are_those_of_the_signatures() {
    let modules = sdk_reference();
    for page in pages() {
        let path = root().join(&page);
        let document = read(&path);
        let written = with_tables(&page, &document, &modules);
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&path, written).unwrap();
        } else {
            assert!(document == written, "{page} differs from the signatures; `make reference` writes it");
        }
    }
    for module in modules {
        let document = read(&root().join(page_of(module.name)));
        assert!(document.contains(&marker(&module)), "{}: {}", page_of(module.name), marker(&module));
    }
}

const MODULES_MARKER: &str = "<!-- modules -->";
const END_MARKER: &str = "<!-- end -->";

fn marker(module: &ModuleReference) -> String {
    let name = if module.name.is_empty() { "values" } else { module.name };
    format!("<!-- functions of {name} -->")
}

/// A page with the current tables between its markers.
fn with_tables(page: &str, document: &str, modules: &[ModuleReference]) -> String {
    let mut written = String::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        written.push_str(line);
        written.push('\n');
        let table = if line == MODULES_MARKER {
            Some(module_table(modules))
        } else {
            modules.iter().find(|module| line == marker(module)).map(function_tables)
        };
        if let Some(table) = table {
            assert!(lines.any(|line| line == END_MARKER), "{page}: {line} has no end");
            let _ = writeln!(written, "\n{table}\n{END_MARKER}");
        }
    }
    written
}

fn module_table(modules: &[ModuleReference]) -> String {
    let mut table = "| module | for | functions |\n| --- | --- | --- |\n".to_owned();
    for module in modules {
        let name = if module.name.is_empty() { "no module" } else { module.name };
        let page = page_of(module.name);
        let link = if page == CONTRACT { format!("#{name}") } else { page.replace("docs/", "") };
        let functions: Vec<_> = module
            .functions
            .iter()
            .map(|function| format!("`{}`", function.name.rsplit("::").next().unwrap_or_default()))
            .collect();
        let _ = writeln!(table, "| [{name}]({link}) | {} | {} |", module.summary, functions.join(" "));
    }
    table
}

fn function_tables(module: &ModuleReference) -> String {
    let mut table = "| function | result | |\n| --- | --- | --- |\n".to_owned();
    for FunctionReference { call, returns, summary, .. } in &module.functions {
        let _ = writeln!(table, "| `{call}` | {returns} | {summary} |");
    }
    let mut done: Vec<&str> = Vec::new();
    for function in module.functions.iter().filter(|function| !function.options.is_empty()) {
        if done.contains(&function.name.as_str()) {
            continue;
        }
        let same = module.functions.iter().filter(|other| other.options == function.options);
        let names: Vec<&str> = same.map(|function| function.name.as_str()).collect();
        let of: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(table, "\n| option of {} | value | |\n| --- | --- | --- |", of.join(" and "));
        for option in &function.options {
            let _ = writeln!(table, "| `{}` | {} | {} |", option.name, option.accepts, option.summary);
        }
        done.extend(names);
    }
    table
}
