//! `picloud kv`.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::error::CommandError;
use super::output::{print, show};
use crate::api_types::{KvChanged, KvEntries, KvEntry, KvUsage, NewKvValue};
use crate::cli::{KvArgs, KvCommand};
use crate::client::{Client, percent_encode};
use crate::hint::Hint;
use crate::render::kv;

/// The number of entries that an export reads at once: they can have a megabyte each.
const EXPORT_PAGE: u32 = 10;

/// An import sends this many entries at once, or fewer of these many bytes.
const IMPORT_ENTRIES: usize = 1000;
const IMPORT_BYTES: usize = 512 * 1024;

/// Why a command failed before it reached the server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KvCommandError {
    #[error("the value is no JSON: {0}")]
    NoJson(serde_json::Error),
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}:{line}:{}: no entry of an export: {source}", path.display(), source.column())]
    Entry { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("the value is no Base64")]
    Blob(#[source] base64::DecodeError),
}

impl Hint for KvCommandError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::NoJson(_) => Some("write a text in double quotes, or add --text".into()),
            _ => None,
        }
    }
}

pub(crate) fn kv(command: &KvCommand) -> Result<(), CommandError> {
    match command {
        KvCommand::Get { key, raw, of } => get(key, *raw, of),
        KvCommand::Set { key, value, text, ttl, of } => set(key, (value, *text), ttl.as_deref(), of),
        KvCommand::List { prefix, limit, after, reverse, keys, of } => {
            let (client, mut path) = list_path(of, prefix, *limit, after.as_deref())?;
            if *reverse {
                path += "&reverse=true";
            }
            let entries: KvEntries = client.get(&path)?;
            show(&entries, of.client.json, |list| kv::list(&list.entries, *keys))
        }
        KvCommand::Delete { keys, of } => {
            for key in keys {
                let (client, path) = entry_path(of, key)?;
                let changed: KvChanged = client.send("DELETE", &path, None::<&()>)?;
                show(&changed, of.client.json, |_| kv::deleted(key))?;
            }
            Ok(())
        }
        KvCommand::Export { prefix, output, of } => export(prefix, output.as_deref(), of),
        KvCommand::Import { file, of } => import(file, of),
        KvCommand::Usage { app, client } => {
            let server = Client::find(client)?;
            let usage: KvUsage = server.get(&format!("apps/{}/kv/usage", server.app(app)?.as_str()))?;
            show(&usage, client.json, |usage| kv::usage(&usage.namespaces))
        }
    }
}

/// A path below the state of the app, with the branch as its first parameter if there is one.
fn path_of(of: &KvArgs, below: &str) -> Result<(Client, String), CommandError> {
    let client = Client::find(&of.client)?;
    let app = client.app(&of.app)?;
    let branch = of.branch.as_ref().map(|branch| format!("branch={}&", percent_encode(branch)));
    let path = format!("apps/{}/kv{below}?{}", app.as_str(), branch.unwrap_or_default());
    Ok((client, path))
}

fn entry_path(of: &KvArgs, key: &str) -> Result<(Client, String), CommandError> {
    let (client, path) = path_of(of, "/entry")?;
    Ok((client, format!("{path}key={}", percent_encode(key))))
}

fn list_path(
    of: &KvArgs,
    prefix: &str,
    limit: u32,
    after: Option<&str>,
) -> Result<(Client, String), CommandError> {
    let (client, path) = path_of(of, "")?;
    let after = after.map(|key| format!("&after={}", percent_encode(key))).unwrap_or_default();
    Ok((client, format!("{path}prefix={}&limit={limit}{after}", percent_encode(prefix))))
}

fn get(key: &str, raw: bool, of: &KvArgs) -> Result<(), CommandError> {
    let (client, path) = entry_path(of, key)?;
    let entry: KvEntry = client.get(&path)?;
    match (&entry.blob, &entry.value) {
        (Some(blob), _) if raw => print(STANDARD.decode(blob).map_err(KvCommandError::Blob)?),
        (_, Some(Value::String(text))) if raw => print(text),
        _ => show(&entry, of.client.json, kv::value),
    }
}

fn set(
    key: &str,
    (written, is_text): (&str, bool),
    ttl: Option<&str>,
    of: &KvArgs,
) -> Result<(), CommandError> {
    let (client, path) = entry_path(of, key)?;
    let mut text = written.to_owned();
    if written == "-" {
        text.clear();
        let read = io::stdin().lock().read_to_string(&mut text);
        read.map_err(|source| KvCommandError::Read { path: "standard input".into(), source })?;
    }
    let value = match is_text {
        true => Value::String(text),
        false => serde_json::from_str(&text).map_err(KvCommandError::NoJson)?,
    };
    let new = NewKvValue { value: Some(value), blob: None, ttl: ttl.map(str::to_owned) };
    let changed: KvChanged = client.send("PUT", &path, Some(&new))?;
    show(&changed, of.client.json, |_| kv::set(key))
}

fn export(prefix: &str, output: Option<&Path>, of: &KvArgs) -> Result<(), CommandError> {
    let failed = |source| KvCommandError::Write { path: output.unwrap_or(Path::new("-")).to_owned(), source };
    let read = |after: Option<&str>| -> Result<KvEntries, CommandError> {
        let (client, path) = list_path(of, prefix, EXPORT_PAGE, after)?;
        Ok(client.get(&path)?)
    };
    let mut page = read(None)?;
    // Not before the server has answered.
    let mut file = output.map(File::create).transpose().map_err(failed)?;
    let mut entries = 0;
    while let Some(last) = page.entries.last() {
        let after = last.key.clone();
        entries += page.entries.len();
        for entry in &page.entries {
            // Entries always serialize.
            let line = serde_json::to_string(entry).map_err(KvCommandError::NoJson)? + "\n";
            match &mut file {
                Some(file) => file.write_all(line.as_bytes()).map_err(failed)?,
                None => print(line)?,
            }
        }
        page = read(Some(&after))?;
    }
    if let Some(file) = file {
        file.sync_all().map_err(failed)?;
        print(format!("exported {}\n", entries_text(entries)))?;
    }
    Ok(())
}

fn import(file: &Path, of: &KvArgs) -> Result<(), CommandError> {
    let (client, path) = path_of(of, "/import")?;
    let path = path.trim_end_matches(['?', '&']).to_owned();
    // An unknown app or a missing scope is reported before a long file is read.
    let _: KvUsage = client.get(&format!("apps/{}/kv/usage", client.app(&of.app)?.as_str()))?;
    let failed = |source| KvCommandError::Read { path: file.to_owned(), source };
    let reader: Box<dyn BufRead> = match file.to_str() {
        Some("-") => Box::new(BufReader::new(io::stdin())),
        _ => Box::new(BufReader::new(File::open(file).map_err(failed)?)),
    };
    let (mut entries, mut bytes, mut imported) = (Vec::new(), 0, 0);
    let send = |entries: &mut Vec<KvEntry>| -> Result<usize, CommandError> {
        let batch = KvEntries { entries: std::mem::take(entries) };
        let changed: KvChanged = client.send("POST", &path, Some(&batch))?;
        Ok(changed.keys)
    };
    for (at, line) in reader.lines().enumerate() {
        let line = line.map_err(failed)?;
        if line.trim().is_empty() {
            continue;
        }
        let entry: KvEntry = serde_json::from_str(&line).map_err(|source| KvCommandError::Entry {
            path: file.to_owned(),
            line: at + 1,
            source,
        })?;
        if entries.len() >= IMPORT_ENTRIES || (bytes + line.len() > IMPORT_BYTES && !entries.is_empty()) {
            imported += send(&mut entries)?;
            bytes = 0;
        }
        bytes += line.len();
        entries.push(entry);
    }
    if !entries.is_empty() {
        imported += send(&mut entries)?;
    }
    show(&KvChanged { keys: imported }, of.client.json, |changed| {
        format!("imported {}\n", entries_text(changed.keys))
    })
}

/// `1 entry`, `2 entries`
fn entries_text(number: usize) -> String {
    format!("{number} {}", if number == 1 { "entry" } else { "entries" })
}
