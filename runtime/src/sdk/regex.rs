//! `regex`: regular expressions, in the syntax of the `regex` crate. A search takes time linear in the text, whatever
//! the pattern is, and polls the limits as it progresses.

mod program;
mod search;

use manifest_schema::sdk::SdkVersion;
use rhai::{Dynamic, Map};

use self::program::Lease;
use self::search::Search;
use super::call::{Call, Outcome, quoted};
use super::output::{Items, Text};
use super::signature::{Accepts, Function, Kinds, Parameter, SdkModule};

pub(crate) use self::program::check_pattern;

const PATTERN: Parameter = Parameter { name: "pattern", kinds: Kinds::TEXT, accepts: Accepts::Patterns };
const TEXT: Parameter = Parameter::new("text", Kinds::TEXT);

/// The module `regex`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "regex",
    since: SdkVersion::V1_3,
    summary: "Regular expressions.",
    functions: &[
        Function {
            name: "find",
            parameters: &[PATTERN, TEXT],
            required: 2,
            returns: "text or ()",
            summary: "The first match in a text; `()` if there is none.",
            errors: &[],
            run: find,
        },
        Function {
            name: "find_all",
            parameters: &[PATTERN, TEXT],
            required: 2,
            returns: "array",
            summary: "All matches in a text that do not overlap.",
            errors: &[],
            run: find_all,
        },
        Function {
            name: "groups",
            parameters: &[PATTERN, TEXT],
            required: 2,
            returns: "map or ()",
            summary: "The groups of the first match, by number (`\"0\"` is the match) and by name; `()` if there is none.",
            errors: &[],
            run: groups,
        },
        Function {
            name: "replace",
            parameters: &[PATTERN, TEXT, Parameter::new("with_text", Kinds::TEXT)],
            required: 3,
            returns: "text",
            summary: "A text with all matches replaced; `$1` and `${name}` stand for groups, `$$` for `$`.",
            errors: &["the pattern has no group `…`; write `$$` for a `$`"],
            run: replace,
        },
        Function {
            name: "split",
            parameters: &[PATTERN, TEXT],
            required: 2,
            returns: "array",
            summary: "The parts of a text between the matches.",
            errors: &[],
            run: split,
        },
        Function {
            name: "test",
            parameters: &[PATTERN, TEXT],
            required: 2,
            returns: "bool",
            summary: "Whether a text has a match.",
            errors: &[],
            run: |call| with_search(call, |search, _| Ok(search.is_match()?.into())),
        },
    ],
};

fn with_search(
    call: &Call<'_, '_>,
    work: impl FnOnce(&mut Search<'_, '_, '_>, &str) -> Outcome<Dynamic>,
) -> Outcome<Dynamic> {
    let (pattern, text) = (call.text(0), call.text(1));
    let lease = Lease::of(call, &pattern)?;
    work(&mut Search::new(call, lease, &text), &text)
}

fn find(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    with_search(call, |search, text| match search.next()? {
        Some(found) => part(call, &text[found]),
        None => Ok(Dynamic::UNIT),
    })
}

fn part(call: &Call<'_, '_>, part: &str) -> Outcome<Dynamic> {
    call.charge_bytes(part.len())?;
    call.reserve(part.len())?;
    Ok(part.into())
}

fn find_all(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    with_search(call, |search, text| {
        let mut all = Items::new(call);
        while let Some(found) = search.next()? {
            all.push_text(&text[found])?;
        }
        Ok(all.finish())
    })
}

fn split(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    with_search(call, |search, text| {
        let (mut parts, mut done) = (Items::new(call), 0);
        while let Some(found) = search.next()? {
            parts.push_text(&text[done..found.start])?;
            done = found.end;
        }
        parts.push_text(&text[done..])?;
        Ok(parts.finish())
    })
}

fn groups(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    with_search(call, |search, text| {
        let Some(found) = search.next()? else { return Ok(Dynamic::UNIT) };
        let groups = search.groups(&found)?;
        let mut map = Map::new();
        let names = search.program().nfa.group_info().pattern_names(regex_automata::PatternID::ZERO);
        for (index, (group, name)) in groups.into_iter().zip(names).enumerate() {
            let value = group.map_or(Ok(Dynamic::UNIT), |group| part(call, &text[group]))?;
            if let Some(name) = name {
                map.insert(name.into(), value.clone());
            }
            map.insert(index.to_string().into(), value);
        }
        Ok(map.into())
    })
}

/// A part of the text that replaces a match.
enum Part<'p> {
    Text(&'p str),
    Group(usize),
}

fn replace(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let with = call.text(2);
    with_search(call, |search, text| {
        let parts = parts(call, &with, search)?;
        let has_groups = parts.iter().any(|part| matches!(part, Part::Group(1..)));
        let (mut out, mut done) = (Text::new(call), 0);
        while let Some(found) = search.next()? {
            out.push_str(&text[done..found.start])?;
            let groups = if has_groups { search.groups(&found)? } else { vec![Some(found.clone())] };
            for part in &parts {
                match part {
                    Part::Text(part) => out.push_str(part)?,
                    Part::Group(index) => {
                        if let Some(Some(group)) = groups.get(*index) {
                            out.push_str(&text[group.clone()])?;
                        }
                    }
                }
            }
            done = found.end;
        }
        out.push_str(&text[done..])?;
        Ok(out.finish())
    })
}

/// The parts of a replacement: `$1`, `${1}`, `${name}`, `$$`. Any other `$` is itself.
fn parts<'p>(call: &Call<'_, '_>, with: &'p str, search: &Search<'_, '_, '_>) -> Outcome<Vec<Part<'p>>> {
    let names = search.program().nfa.group_info();
    let mut parts = Vec::new();
    let mut rest = with;
    call.reserve(with.len().saturating_mul(size_of::<Part<'_>>()))?;
    while let Some(at) = rest.find('$') {
        call.charge(1)?;
        parts.push(Part::Text(&rest[..at]));
        let after = &rest[at + 1..];
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let name = match braced {
            Some((name, after)) => {
                rest = after;
                name
            }
            None if digits > 0 => {
                rest = &after[digits..];
                &after[..digits]
            }
            None => {
                parts.push(Part::Text("$"));
                rest = after.strip_prefix('$').unwrap_or(after);
                continue;
            }
        };
        let index = match name.parse::<usize>() {
            Ok(index) => (index < names.all_group_len()).then_some(index),
            Err(_) => names.to_index(regex_automata::PatternID::ZERO, name),
        };
        match index {
            Some(index) => parts.push(Part::Group(index)),
            None => {
                return call
                    .fail(format!("the pattern has no group `{}`; write `$$` for a `$`", quoted(name)));
            }
        }
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}
