//! `markdown`: CommonMark with tables, strikethrough and task lists as HTML.
//!
//! HTML in the text is shown, not passed through, and links have harmless schemes only, so that the text can come from
//! anybody. The parser finds all blocks of a text in one call, which takes time proportional to the lines and to
//! their nesting: both are bounded before.

use std::cell::RefCell;

use manifest_schema::sdk::SdkVersion;
use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd, html};
use rhai::{Dynamic, EvalAltResult};

use super::call::{Call, Outcome};
use super::signature::{Function, Kinds, Parameter, SdkModule};

/// The maximum length of a text, in bytes.
const TEXT_MAX: usize = 128 * 1024;

/// Longer texts take more than a millisecond, in bytes.
const INLINE_TEXT_MAX: usize = 8 * 1024;

/// The maximum nesting of quotes and lists.
const NESTING_MAX: usize = 50;

/// The maximum of lines times their nesting.
const NESTED_LINES_MAX: usize = 100_000;

/// The memory of the parser, in bytes for each byte of text.
const MEMORY_PER_BYTE: usize = 64;

/// The schemes that links and images can have; without one they are relative.
const SCHEMES: [&str; 4] = ["http", "https", "mailto", "tel"];

/// The module `markdown`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "markdown",
    since: SdkVersion::V1_3,
    summary: "Markdown as HTML.",
    functions: &[Function {
        name: "html",
        parameters: &[Parameter::new("text", Kinds::TEXT)],
        required: 1,
        returns: "text",
        summary: "A text in Markdown as HTML, which is safe for texts of any author.",
        errors: &["the text is longer than 128 KiB", "quotes and lists are nested too deep"],
        run: to_html,
    }],
};

fn to_html(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let text = call.text(0);
    if text.len() > TEXT_MAX {
        return call.fail(format!("the text is longer than {} KiB", TEXT_MAX / 1024));
    }
    if text.len() > INLINE_TEXT_MAX {
        call.require_own_thread()?;
    }
    call.charge_bytes(text.len())?;
    let (deepest, lines) = text
        .split(['\n', '\r'])
        .fold((0, 0), |(deepest, lines), line| (nesting(line).max(deepest), lines + 1));
    if deepest > NESTING_MAX || deepest.saturating_mul(lines) > NESTED_LINES_MAX {
        return call.fail("quotes and lists are nested too deep");
    }
    call.reserve(text.len().saturating_mul(MEMORY_PER_BYTE))?;
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let stopped = RefCell::new(None);
    let events =
        Events { call, events: Parser::new_ext(&text, options), kept: Vec::new(), stopped: &stopped };
    let mut out = String::new();
    html::push_html(&mut out, events);
    if let Some(error) = stopped.into_inner() {
        return Err(error);
    }
    call.charge_bytes(out.len())?;
    Ok(out.into())
}

/// The nesting of quotes and lists at the start of a line, at most. A list within a list is indented by two columns.
fn nesting(line: &str) -> usize {
    let (mut markers, mut columns, mut rest) = (0, 0, line);
    let ends = |rest: &str| rest.is_empty() || rest.starts_with([' ', '\t']);
    loop {
        let after = match rest.chars().next() {
            Some(' ') => {
                columns += 1;
                &rest[1..]
            }
            Some('\t') => {
                columns += 4;
                &rest[1..]
            }
            Some('>') => {
                markers += 1;
                &rest[1..]
            }
            Some('-' | '*' | '+') if ends(&rest[1..]) => {
                markers += 1;
                &rest[1..]
            }
            Some('0'..='9') => {
                let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                match after.strip_prefix(['.', ')']) {
                    Some(after) if ends(after) => {
                        markers += 1;
                        after
                    }
                    _ => break,
                }
            }
            _ => break,
        };
        rest = after;
    }
    if markers > 0 { markers + columns / 2 } else { 0 }
}

/// The events of a text without HTML and without links that could execute something.
struct Events<'t, 'c, 'a, 's> {
    call: &'t Call<'c, 'a>,
    events: Parser<'s>,
    /// For each open link and image, whether it is kept.
    kept: Vec<bool>,
    stopped: &'t RefCell<Option<Box<EvalAltResult>>>,
}

impl<'s> Iterator for Events<'_, '_, '_, 's> {
    type Item = Event<'s>;

    fn next(&mut self) -> Option<Event<'s>> {
        loop {
            if let Err(error) = self.call.charge(16) {
                *self.stopped.borrow_mut() = Some(error);
                return None;
            }
            let event = self.events.next()?;
            return Some(match event {
                Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
                Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
                Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
                Event::Start(Tag::Link { link_type, ref dest_url, .. }) => {
                    let keep = link_type == LinkType::Email || is_harmless(dest_url);
                    self.kept.push(keep);
                    if !keep {
                        continue;
                    }
                    event
                }
                Event::Start(Tag::Image { ref dest_url, .. }) => {
                    let keep = is_harmless(dest_url);
                    self.kept.push(keep);
                    if !keep {
                        continue;
                    }
                    event
                }
                Event::End(TagEnd::Link | TagEnd::Image) => {
                    if !self.kept.pop().unwrap_or(true) {
                        continue;
                    }
                    event
                }
                event => event,
            });
        }
    }
}

/// Whether a URL is relative or has one of [`SCHEMES`]. Browsers ignore control characters and spaces in it.
fn is_harmless(url: &str) -> bool {
    let visible = || url.chars().filter(|c| !c.is_control() && !c.is_whitespace());
    let scheme: String = visible().take_while(|c| !matches!(c, ':' | '/' | '?' | '#')).collect();
    let has_scheme = visible().find(|c| matches!(c, ':' | '/' | '?' | '#')) == Some(':');
    !has_scheme || SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
}
