//! `picloud kv`.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use manifest_schema::name::AppName;
use serde_json::value::{RawValue, to_raw_value};

use super::error::CommandError;
use super::output::{next_page_hint_with, print, print_styled, show};
use crate::api_types::{KvChanged, KvEntries, KvEntry, KvImported, KvPage, KvUsage, NewKvValue};
use crate::cli::{KvArgs, KvCommand};
use crate::client::{ApiError, Client, ClientError, percent_encode};
use crate::hint::Hint;
use crate::render::{count, kv};

/// The number of entries that an export reads at once. The server ends a page before if its values are large.
const EXPORT_PAGE: u32 = 1000;

/// An import sends this many entries at once, or fewer of these many bytes.
const IMPORT_ENTRIES: usize = 1000;
const IMPORT_BYTES: usize = 512 * 1024;

/// What standard input is called in messages.
const STANDARD_INPUT: &str = "standard input";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KvCommandError {
    #[error("the value is no JSON: {0}")]
    NoJson(serde_json::Error),
    #[error("the value is no text in UTF-8")]
    NoText(#[source] FromUtf8Error),
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}:{line}:{}: no entry of an export: {}", path.display(), error.column(), without_place(error))]
    Entry { path: PathBuf, line: usize, imported: usize, error: serde_json::Error },
    #[error("{}:{lines}: {source}", path.display())]
    Import { path: PathBuf, lines: Lines, imported: usize, source: ClientError },
    #[error("cannot delete `{key}`: {source}")]
    Delete { key: String, deleted: usize, source: ClientError },
    #[error("the value is no Base64")]
    Blob(#[source] base64::DecodeError),
}

/// The first and the last line of a part of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines(usize, usize);

impl std::fmt::Display for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(first, last) = self;
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

impl Hint for KvCommandError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::NoJson(_) => Some("write a text in double quotes, or add --text".into()),
            Self::NoText(_) => Some("store any bytes with --blob".into()),
            Self::Entry { imported, .. } | Self::Import { imported, .. } => Some(match imported {
                0 => "nothing is imported; correct this and import again".into(),
                _ => format!(
                    "{} before this {} imported; correct this and import again, which changes them no more",
                    entries_text(*imported),
                    if *imported == 1 { "is" } else { "are" }
                )
                .into(),
            }),
            Self::Delete { deleted, source, .. } => match deleted {
                0 => source.hint(),
                _ => Some(format!("{} before it deleted", count(*deleted, "key")).into()),
            },
            _ => None,
        }
    }
}

/// The state that a command is about.
struct Target<'a> {
    client: Client,
    app: AppName,
    branch: Option<&'a str>,
}

/// What a command lists.
struct Listed<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    before: Option<&'a str>,
    reverse: bool,
    keys: bool,
}

impl<'a> Target<'a> {
    fn find(of: &'a KvArgs) -> Result<Self, ClientError> {
        let client = Client::find(&of.client)?;
        let app = client.app(&of.app)?;
        Ok(Self { client, app, branch: of.branch.as_deref() })
    }

    /// A path below the state of the app, with these query parameters.
    fn path(&self, below: &str, parameters: &[(&str, &str)]) -> String {
        let branch = self.branch.map(|branch| ("branch", branch));
        let query = branch.iter().chain(parameters);
        let query: Vec<String> =
            query.map(|(name, value)| format!("{name}={}", percent_encode(value))).collect();
        let separator = if query.is_empty() { "" } else { "?" };
        format!("apps/{}/kv{below}{separator}{}", self.app.as_str(), query.join("&"))
    }

    fn entry_path(&self, key: &str) -> String {
        self.path("/entry", &[("key", key)])
    }

    fn page(&self, listed: &Listed<'_>, limit: u32, cursor: Option<&str>) -> Result<KvPage, ClientError> {
        let limit = limit.to_string();
        let mut parameters = vec![("prefix", listed.prefix), ("limit", limit.as_str())];
        let flag = |is_set: bool| is_set.then_some("true");
        let optional = [
            ("after", listed.after),
            ("before", listed.before),
            ("reverse", flag(listed.reverse)),
            ("keys", flag(listed.keys)),
            ("cursor", cursor),
        ];
        parameters.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        self.client.get(&self.path("", &parameters))
    }

    fn import(&self, entries: Vec<KvEntry>) -> Result<KvImported, ClientError> {
        self.client.send("POST", &self.path("/import", &[]), Some(&KvEntries { entries }))
    }
}

pub(crate) fn kv(command: &KvCommand) -> Result<(), CommandError> {
    match command {
        KvCommand::Get { key, raw, of } => get(key, *raw, of),
        KvCommand::Set { key, value, file, text, blob, ttl, of } => {
            let value = read_value(value.as_deref(), file.as_deref())?;
            let new = NewKvValue { ttl: ttl.clone(), ..new_value(value, *text, *blob)? };
            set(key, &new, of)
        }
        KvCommand::List { prefix, limit, after, before, reverse, keys, of } => {
            let (after, before) = (after.as_deref(), before.as_deref());
            list(&Listed { prefix, after, before, reverse: *reverse, keys: *keys }, *limit, of)
        }
        KvCommand::Delete { keys, of } => delete(keys, of),
        KvCommand::Export { prefix, output, of } => export(prefix, output.as_deref(), of),
        KvCommand::Import { file, of } => import(file, of),
        KvCommand::Usage { app, client } => {
            let server = Client::find(client)?;
            let usage: KvUsage = server.get(&format!("apps/{}/kv/usage", server.app(app)?.as_str()))?;
            show(&usage, client.json, |usage| kv::usage(&usage.namespaces))
        }
    }
}

fn get(key: &str, raw: bool, of: &KvArgs) -> Result<(), CommandError> {
    let target = Target::find(of)?;
    let entry: KvEntry = target.client.get(&target.entry_path(key))?;
    if !raw {
        return show(&entry, of.client.json, kv::value);
    }
    match (&entry.blob, &entry.value) {
        (Some(blob), _) => print(STANDARD.decode(blob).map_err(KvCommandError::Blob)?),
        (_, Some(value)) => match serde_json::from_str::<String>(value.get()) {
            Ok(text) => print(text),
            Err(_) => print(kv::value(&entry)),
        },
        _ => Ok(()),
    }
}

/// The value of an argument, of a file, or of standard input.
fn read_value(value: Option<&str>, file: Option<&Path>) -> Result<Vec<u8>, KvCommandError> {
    let input = Path::new("-");
    match (value, file) {
        (Some(value), None) if value != "-" => Ok(value.as_bytes().to_vec()),
        (None, Some(path)) if path != input => {
            fs::read(path).map_err(|source| KvCommandError::Read { path: path.to_owned(), source })
        }
        _ => {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|source| KvCommandError::Read { path: STANDARD_INPUT.into(), source })?;
            Ok(bytes)
        }
    }
}

fn new_value(bytes: Vec<u8>, is_text: bool, is_blob: bool) -> Result<NewKvValue, KvCommandError> {
    if is_blob {
        return Ok(NewKvValue { value: None, blob: Some(STANDARD.encode(bytes)), ttl: None });
    }
    let value = match is_text {
        true => to_raw_value(&String::from_utf8(bytes).map_err(KvCommandError::NoText)?),
        false => serde_json::from_slice::<Box<RawValue>>(&bytes),
    };
    Ok(NewKvValue { value: Some(value.map_err(KvCommandError::NoJson)?), blob: None, ttl: None })
}

fn set(key: &str, new: &NewKvValue, of: &KvArgs) -> Result<(), CommandError> {
    let target = Target::find(of)?;
    let changed: KvChanged = target.client.send("PUT", &target.entry_path(key), Some(new))?;
    show(&changed, of.client.json, |_| kv::set(key))
}

fn list(listed: &Listed<'_>, limit: u32, of: &KvArgs) -> Result<(), CommandError> {
    let target = Target::find(of)?;
    let mut found = target.page(listed, limit, None)?;
    // A page ends before the limit if its values are large.
    while let Some(cursor) = &found.next_cursor
        && let Some(missing @ 1..) = limit.checked_sub(u32::try_from(found.entries.len()).unwrap_or(limit))
    {
        let next = target.page(listed, missing, Some(cursor))?;
        found.entries.extend(next.entries);
        found.next_cursor = next.next_cursor;
    }
    let flag = if listed.reverse { "--before" } else { "--after" };
    let hint = next_page_hint_with(flag, found.next_cursor.as_deref());
    if listed.keys && !of.client.json {
        // Standard output has one key a line.
        anstream::eprint!("{hint}");
        return print(kv::keys(&found.entries));
    }
    show(&found, of.client.json, |found| kv::list(&found.entries) + hint.as_str())
}

fn delete(keys: &[String], of: &KvArgs) -> Result<(), CommandError> {
    let target = Target::find(of)?;
    let mut deleted = 0;
    for key in keys {
        let path = target.entry_path(key);
        deleted += match target.client.send::<KvChanged>("DELETE", &path, None::<&()>) {
            Ok(changed) => changed.keys,
            // The server cannot be reached, and nothing is known of the key.
            Err(source) if deleted == 0 && !source.is_rejection() => return Err(source.into()),
            Err(source) => return Err(KvCommandError::Delete { key: key.clone(), deleted, source }.into()),
        };
        if !of.client.json {
            print_styled(kv::deleted(key))?;
        }
    }
    if of.client.json {
        show(&KvChanged { keys: deleted }, true, |_| String::new())?;
    }
    Ok(())
}

fn export(prefix: &str, output: Option<&Path>, of: &KvArgs) -> Result<(), CommandError> {
    let failed = |source| KvCommandError::Write { path: output.unwrap_or(Path::new("-")).to_owned(), source };
    let target = Target::find(of)?;
    let listed = Listed { prefix, after: None, before: None, reverse: false, keys: false };
    let mut page = target.page(&listed, EXPORT_PAGE, None)?;
    // Not before the server has answered.
    let mut file = output.map(File::create).transpose().map_err(failed)?;
    let mut entries = 0;
    loop {
        entries += page.entries.len();
        let mut lines = Vec::new();
        for entry in &page.entries {
            // Entries always serialize.
            serde_json::to_writer(&mut lines, entry).map_err(KvCommandError::NoJson)?;
            lines.push(b'\n');
        }
        match &mut file {
            Some(file) => file.write_all(&lines).map_err(failed)?,
            None => print(lines)?,
        }
        let Some(cursor) = page.next_cursor else { break };
        page = target.page(&listed, EXPORT_PAGE, Some(&cursor))?;
    }
    if let Some(file) = file {
        file.sync_all().map_err(failed)?;
        print(format!("exported {}\n", entries_text(entries)))?;
    }
    Ok(())
}

/// Entries of a file that are imported at once, with their lines.
#[derive(Default)]
struct Batch {
    entries: Vec<KvEntry>,
    lines: Vec<usize>,
    bytes: usize,
}

impl Batch {
    fn has_room(&self, bytes: usize) -> bool {
        self.entries.is_empty() || (self.entries.len() < IMPORT_ENTRIES && self.bytes + bytes <= IMPORT_BYTES)
    }

    /// Imports the entries, and adds them to what is imported.
    fn send(self, target: &Target<'_>, path: &Path, so_far: &mut KvImported) -> Result<(), KvCommandError> {
        let Some((&first, &last)) = self.lines.first().zip(self.lines.last()) else { return Ok(()) };
        let imported = target.import(self.entries).map_err(|source| {
            let lines = match &source {
                ClientError::Api(ApiError::Rejected { entry: Some(entry), .. }) => {
                    self.lines.get(*entry).map(|line| Lines(*line, *line))
                }
                _ => None,
            };
            let lines = lines.unwrap_or(Lines(first, last));
            let imported = so_far.keys + so_far.expired;
            KvCommandError::Import { path: path.to_owned(), lines, imported, source }
        })?;
        so_far.keys += imported.keys;
        so_far.expired += imported.expired;
        Ok(())
    }
}

fn import(file: &Path, of: &KvArgs) -> Result<(), CommandError> {
    let target = Target::find(of)?;
    // An unknown app, an unknown branch or a missing scope is reported before a long file is read.
    target.import(Vec::new())?;
    let is_input = file == Path::new("-");
    let path = if is_input { Path::new(STANDARD_INPUT) } else { file };
    let failed = |source| KvCommandError::Read { path: path.to_owned(), source };
    let reader: Box<dyn BufRead> = match is_input {
        true => Box::new(BufReader::new(io::stdin())),
        false => Box::new(BufReader::new(File::open(file).map_err(failed)?)),
    };
    let (mut batch, mut imported) = (Batch::default(), KvImported::default());
    for (index, text) in reader.lines().enumerate() {
        let (line, text) = (index + 1, text.map_err(failed)?);
        if text.trim().is_empty() {
            continue;
        }
        let entry = serde_json::from_str(&text).map_err(|error| {
            let imported = imported.keys + imported.expired;
            KvCommandError::Entry { path: path.to_owned(), line, imported, error }
        })?;
        if !batch.has_room(text.len()) {
            std::mem::take(&mut batch).send(&target, path, &mut imported)?;
        }
        batch.bytes += text.len();
        batch.entries.push(entry);
        batch.lines.push(line);
    }
    batch.send(&target, path, &mut imported)?;
    show(&imported, of.client.json, kv::imported)
}

/// The message of an error in a line, which has the place in the line at its end.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// `1 entry`, `2 entries`
fn entries_text(number: usize) -> String {
    format!("{number} {}", if number == 1 { "entry" } else { "entries" })
}
