//! `csv`: tables as text (RFC 4180).
//!
//! A parser of its own: that of the `csv` crate reads a record in one call, which cannot be interrupted, and accepts
//! quotes that are never closed.

use manifest_schema::sdk::SdkVersion;
use rhai::{Dynamic, ImmutableString, Map};

use super::call::{Call, Outcome, quoted};
use super::output::{Items, Text};
use super::signature::{Function, Kinds, OptionKey, Parameter, SdkModule};
use crate::type_name::type_name;

/// The module `csv`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "csv",
    since: SdkVersion::V1_3,
    summary: "Tables as text, with commas between the cells.",
    functions: &[
        Function {
            name: "parse",
            parameters: &[
                Parameter::new("text", Kinds::TEXT),
                Parameter::options(&[OptionKey::new(
                    "header",
                    Kinds::BOOL,
                    "Whether the first row has the names of the columns: rows are maps then.",
                )]),
            ],
            required: 1,
            returns: "array",
            summary: "The rows of a table: arrays of texts, or maps with `header: true`.",
            errors: &[
                "line …: a field begins with a quote that is not closed",
                "line …: a quoted field is followed by `…`; quotes within it are written twice",
                "the header has `…` twice",
                "line …: the number of cells is …, but the header has …",
            ],
            run: parse,
        },
        Function {
            name: "write",
            parameters: &[
                Parameter::new("rows", Kinds::ARRAY),
                Parameter::options(&[OptionKey::new(
                    "formulas",
                    Kinds::BOOL,
                    "Whether texts that spreadsheets evaluate stay as they are; by default they get a `'`.",
                )]),
            ],
            required: 1,
            returns: "text",
            summary: "A table of arrays, or of maps whose keys become the header.",
            errors: &[
                "row … is …, but the first row is a map",
                "row … has a key `…` that the first row does not have",
                "row … is …; rows are arrays, or all are maps",
                "row …, column … is …; cells are texts, numbers, booleans and ()",
            ],
            run: write,
        },
    ],
};

/// The rest of a table.
struct Reader<'t, 'c, 'a> {
    call: &'t Call<'c, 'a>,
    rest: &'t str,
    /// The line of `rest`.
    line: usize,
}

impl<'t> Reader<'t, '_, '_> {
    /// The next row, and the line where it begins. Empty lines are skipped.
    fn row(&mut self) -> Outcome<Option<(usize, Vec<ImmutableString>)>> {
        while self.end_of_line() {
            self.call.charge(1)?;
        }
        let (line, mut fields) = (self.line, Vec::new());
        if self.rest.is_empty() {
            return Ok(None);
        }
        loop {
            let field = self.field()?;
            if fields.len() == fields.capacity() {
                self.call.reserve((2 * fields.len() + 8) * size_of::<ImmutableString>())?;
            }
            fields.push(field);
            match self.rest.strip_prefix(',') {
                Some(rest) => self.rest = rest,
                None => break,
            }
        }
        self.end_of_line();
        Ok(Some((line, fields)))
    }

    /// Reads an end of a line, if there is one.
    fn end_of_line(&mut self) -> bool {
        let rest = self.rest.strip_prefix('\r').unwrap_or(self.rest);
        let rest = rest.strip_prefix('\n').unwrap_or(rest);
        let found = rest.len() < self.rest.len();
        self.rest = rest;
        self.line += usize::from(found);
        found
    }

    fn field(&mut self) -> Outcome<ImmutableString> {
        let Some(rest) = self.rest.strip_prefix('"') else {
            let length = self.rest.bytes().position(|byte| matches!(byte, b',' | b'\r' | b'\n'));
            let length = length.unwrap_or(self.rest.len());
            let (field, rest) = self.rest.split_at(length);
            self.rest = rest;
            return self.copied(field);
        };
        let begun = self.line;
        let (mut rest, mut field) = (rest, String::new());
        loop {
            let Some((part, after)) = rest.split_once('"') else {
                return self
                    .call
                    .fail(format!("line {begun}: a field begins with a quote that is not closed"));
            };
            self.call.charge(1)?;
            self.call.charge_bytes(part.len())?;
            self.line += part.bytes().filter(|byte| *byte == b'\n').count();
            if field.capacity() < field.len() + part.len() {
                self.call.reserve(2 * field.len() + part.len())?;
            }
            field.push_str(part);
            match after.strip_prefix('"') {
                Some(after) => {
                    field.push('"');
                    rest = after;
                }
                None => {
                    self.rest = after;
                    break;
                }
            }
        }
        match self.rest.chars().next() {
            None | Some(',' | '\r' | '\n') => Ok(field.into()),
            Some(other) => self.call.fail(format!(
                "line {}: a quoted field is followed by `{}`; quotes within it are written twice",
                self.line,
                other.escape_debug()
            )),
        }
    }

    fn copied(&self, field: &str) -> Outcome<ImmutableString> {
        self.call.charge(1)?;
        self.call.charge_bytes(field.len())?;
        self.call.reserve(field.len())?;
        Ok(field.into())
    }
}

fn parse(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let text = call.text(0);
    let rest = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut reader = Reader { call, rest, line: 1 };
    let mut rows = Items::new(call);
    if !call.options().flag("header").unwrap_or(false) {
        while let Some((_, row)) = reader.row()? {
            call.charge(row.len())?;
            call.reserve(row.len() * size_of::<Dynamic>())?;
            rows.push(row.into_iter().map(Dynamic::from).collect::<Vec<_>>().into())?;
        }
        return Ok(rows.finish());
    }
    let Some((_, header)) = reader.row()? else { return Ok(rows.finish()) };
    let mut names = Map::new();
    for name in &header {
        call.charge(1)?;
        if names.insert(name.as_str().into(), Dynamic::UNIT).is_some() {
            return call.fail(format!("the header has `{}` twice", quoted(name)));
        }
    }
    while let Some((line, row)) = reader.row()? {
        if row.len() != header.len() {
            let (held, expected) = (row.len(), header.len());
            return call
                .fail(format!("line {line}: the number of cells is {held}, but the header has {expected}"));
        }
        let mut map = Map::new();
        for (name, cell) in header.iter().zip(row) {
            call.charge(1)?;
            map.insert(name.as_str().into(), cell.into());
        }
        rows.push(map.into())?;
    }
    Ok(rows.finish())
}

fn write(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let formulas = call.options().flag("formulas").unwrap_or(false);
    call.with_array(0, |rows| {
        let mut table = Table { call, text: Text::new(call), formulas, row_start: 0 };
        let header: Option<Vec<_>> =
            rows.first().and_then(|row| row.read_lock::<Map>().map(|map| map.keys().cloned().collect()));
        if let Some(names) = &header {
            names.iter().enumerate().try_for_each(|(index, name)| table.text(index, name))?;
            table.end(names.len())?;
        }
        for (index, row) in rows.iter().enumerate() {
            let number = index + 1;
            match &header {
                Some(names) => {
                    let Some(map) = row.read_lock::<Map>() else {
                        let what = type_name(row);
                        return call.fail(format!("row {number} is {what}, but the first row is a map"));
                    };
                    if let Some(other) = map.keys().find(|key| names.binary_search(key).is_err()) {
                        let key = quoted(other);
                        return call.fail(format!(
                            "row {number} has a key `{key}` that the first row does not have"
                        ));
                    }
                    for (column, name) in names.iter().enumerate() {
                        table.cell(number, column, map.get(name).unwrap_or(&Dynamic::UNIT))?;
                    }
                    table.end(names.len())?;
                }
                None => {
                    let Some(cells) = row.read_lock::<rhai::Array>() else {
                        let what = type_name(row);
                        return call
                            .fail(format!("row {number} is {what}; rows are arrays, or all are maps"));
                    };
                    for (column, cell) in cells.iter().enumerate() {
                        table.cell(number, column, cell)?;
                    }
                    table.end(cells.len())?;
                }
            }
        }
        Ok(table.text.finish())
    })
}

/// A table that is written.
struct Table<'t, 'c, 'a> {
    call: &'t Call<'c, 'a>,
    text: Text<'t, 'c, 'a>,
    formulas: bool,
    /// Where the row begins.
    row_start: usize,
}

impl Table<'_, '_, '_> {
    fn cell(&mut self, row: usize, column: usize, cell: &Dynamic) -> Outcome<()> {
        self.call.charge(1)?;
        if let Some(text) = cell.read_lock::<ImmutableString>() {
            return self.text(column, &text);
        }
        if let Ok(character) = cell.as_char() {
            return self.text(column, character.encode_utf8(&mut [0; 4]));
        }
        if !Kinds::UNIT.or(Kinds::BOOL).or(Kinds::NUMBER).contains(Kinds::of(cell)) {
            let (column, what) = (column + 1, type_name(cell));
            return self.call.fail(format!(
                "row {row}, column {column} is {what}; cells are texts, numbers, booleans and ()"
            ));
        }
        self.separate(column)?;
        self.text.push_str(&cell.flatten_clone().to_string())
    }

    fn text(&mut self, column: usize, text: &str) -> Outcome<()> {
        self.separate(column)?;
        let escape = if !self.formulas && is_formula(text) { "'" } else { "" };
        if !text.contains([',', '"', '\r', '\n']) {
            self.text.push_str(escape)?;
            return self.text.push_str(text);
        }
        self.text.push('"')?;
        self.text.push_str(escape)?;
        for (index, part) in text.split('"').enumerate() {
            if index > 0 {
                self.text.push_str("\"\"")?;
            }
            self.text.push_str(part)?;
        }
        self.text.push('"')
    }

    fn separate(&mut self, column: usize) -> Outcome<()> {
        if column > 0 { self.text.push(',') } else { Ok(()) }
    }

    fn end(&mut self, columns: usize) -> Outcome<()> {
        // An empty line would be no row.
        if columns <= 1 && self.text.len() == self.row_start {
            self.text.push_str("\"\"")?;
        }
        self.text.push_str("\r\n")?;
        self.row_start = self.text.len();
        Ok(())
    }
}

/// Whether a spreadsheet program evaluates a text.
fn is_formula(text: &str) -> bool {
    let is_number = || {
        text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
            && text.parse::<f64>().is_ok()
    };
    text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number()
}
