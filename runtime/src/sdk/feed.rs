//! `feed`: RSS 2.0, RSS 1.0 and Atom.

use jiff::tz::TimeZone;
use manifest_schema::sdk::SdkVersion;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use rhai::{Dynamic, Map};

use super::call::{Call, Outcome, quoted};
use super::output::{Items, Text};
use super::signature::{Function, Kinds, Parameter, SdkModule};
use super::time::standard_form;

/// The maximum nesting of elements.
const DEPTH_MAX: usize = 64;

/// The maximum length of a date, in bytes.
const DATE_MAX: usize = 64;

/// The module `feed`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "feed",
    since: SdkVersion::V1_3,
    summary: "Feeds of news.",
    functions: &[Function {
        name: "parse",
        parameters: &[Parameter::new("text", Kinds::TEXT)],
        required: 1,
        returns: "map",
        summary: "The title and the items of a feed in RSS or Atom: `#{ title, items: [#{ id, title, link, published, text }] }`.",
        errors: &[
            "invalid XML in line …: …",
            "not a feed: expected <rss>, <feed> or <rdf:RDF>, found …",
            "the document defines entities, which are not accepted",
            "elements are nested deeper than …",
        ],
        run: parse,
    }],
};

/// A field of a feed or of an item.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Title,
    Link,
    Published,
    /// The last change, if nothing says when it was published.
    Updated,
    Text,
    /// What stands for the text if there is none.
    Summary,
}

/// The number of fields.
const FIELDS: usize = 7;

impl Field {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "guid" | "id" => Self::Id,
            "title" => Self::Title,
            "link" => Self::Link,
            "pubDate" | "published" | "dc:date" => Self::Published,
            "updated" => Self::Updated,
            "content:encoded" | "content" => Self::Text,
            "description" | "summary" => Self::Summary,
            _ => return None,
        })
    }
}

/// The fields of the feed, or of an item.
#[derive(Default)]
struct Fields([Option<Dynamic>; FIELDS]);

impl Fields {
    /// The first value counts.
    fn set(&mut self, field: Field, value: Dynamic) {
        self.0[field as usize].get_or_insert(value);
    }

    fn take(&mut self, field: Field) -> Option<Dynamic> {
        self.0[field as usize].take()
    }

    fn item(mut self) -> Dynamic {
        let time = |text: Dynamic| {
            let text = text.into_immutable_string().ok().filter(|text| text.len() <= DATE_MAX)?;
            standard_form(text.trim(), TimeZone::UTC).map(|time| time.as_millisecond().into())
        };
        let published = self.take(Field::Published).and_then(time);
        let published = published.or_else(|| self.take(Field::Updated).and_then(time));
        let id = self.take(Field::Id);
        let is_address = |id: &Dynamic| {
            id.read_lock::<rhai::ImmutableString>()
                .is_some_and(|id| id.starts_with("http://") || id.starts_with("https://"))
        };
        let link = self.take(Field::Link).or_else(|| id.clone().filter(is_address));
        let text = self.take(Field::Text).or_else(|| self.take(Field::Summary));
        let fields = [
            ("id", id.or_else(|| link.clone())),
            ("title", self.take(Field::Title)),
            ("link", link),
            ("published", published),
            ("text", text),
        ];
        let entries = fields.into_iter().map(|(name, value)| (name.into(), value.unwrap_or_default()));
        entries.collect::<Map>().into()
    }
}

/// An element of a feed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    /// `rss`, `feed` or `rdf:RDF`.
    Root,
    /// `channel`, with the fields of the feed.
    Channel,
    Item,
    Field(Field),
    /// Markup within a field.
    Markup,
    Other,
}

/// The feed as far as it was read.
struct Feed<'t, 'c, 'a> {
    call: &'t Call<'c, 'a>,
    source: &'t str,
    /// The prefix of the elements of the feed, with its colon.
    prefix: String,
    open: Vec<Element>,
    feed: Fields,
    item: Fields,
    items: Items<'t, 'c, 'a>,
    /// The text of the open field.
    text: Option<Text<'t, 'c, 'a>>,
}

fn parse(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let source = call.text(0);
    let source = source.strip_prefix('\u{feff}').unwrap_or(&source);
    // The parser keeps the names of open elements.
    call.reserve(source.len())?;
    let mut reader = Reader::from_str(source);
    reader.config_mut().expand_empty_elements = true;
    reader.config_mut().allow_dangling_amp = true;
    let mut feed = Feed {
        call,
        source,
        prefix: String::new(),
        open: Vec::new(),
        feed: Fields::default(),
        item: Fields::default(),
        items: Items::new(call),
        text: None,
    };
    let mut before = 0;
    loop {
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(error) => return feed.invalid(reader.error_position(), &error.to_string()),
        };
        let position = reader.buffer_position();
        call.charge(4)?;
        call.charge_bytes(usize::try_from(position - before).unwrap_or(0))?;
        let raw = feed.slice(before, position);
        before = position;
        match event {
            Event::Start(start) => feed.start(&start, raw)?,
            Event::End(_) => feed.end(raw)?,
            Event::Text(text) => feed.push(&text.into_inner())?,
            Event::CData(text) => feed.push(&text.into_inner())?,
            Event::GeneralRef(name) => {
                let character = match &*name.into_inner() {
                    "amp" => Some('&'),
                    "lt" => Some('<'),
                    "gt" => Some('>'),
                    "quot" => Some('"'),
                    "apos" => Some('\''),
                    name => name.strip_prefix('#').and_then(numbered),
                };
                match character {
                    Some(character) => feed.push(character.encode_utf8(&mut [0; 4]))?,
                    // XML has no other names.
                    None => feed.push(raw)?,
                }
            }
            Event::DocType(declared) => {
                if declared.into_inner().contains(['[', '%']) {
                    return call.fail("the document defines entities, which are not accepted");
                }
            }
            // The reader expands empty elements.
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if !feed.open.is_empty() {
        return feed.invalid(before, "an element is not closed");
    }
    if feed.prefix.is_empty() {
        return call.fail("not a feed: expected <rss>, <feed> or <rdf:RDF>, found no element");
    }
    let title = feed.feed.take(Field::Title).unwrap_or_default();
    let entries = [("title".into(), title), ("items".into(), feed.items.finish())];
    Ok(Map::from_iter(entries).into())
}

/// The character of a reference such as `#228` or `#xe4`.
fn numbered(number: &str) -> Option<char> {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    code.ok().filter(|code| *code != 0).and_then(char::from_u32)
}

impl<'t> Feed<'t, '_, '_> {
    fn invalid<T>(&self, position: u64, what: &str) -> Outcome<T> {
        let line = self.slice(0, position).bytes().filter(|byte| *byte == b'\n').count() + 1;
        self.call.fail(format!("invalid XML in line {line}: {what}"))
    }

    fn slice(&self, from: u64, to: u64) -> &'t str {
        let range = usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
        self.source.get(range).unwrap_or_default()
    }

    fn push(&mut self, text: &str) -> Outcome<()> {
        self.text.as_mut().map_or(Ok(()), |field| field.push_str(text))
    }

    fn start(&mut self, start: &BytesStart<'_>, raw: &str) -> Outcome<()> {
        if self.open.len() == DEPTH_MAX {
            return self.call.fail(format!("elements are nested deeper than {DEPTH_MAX}"));
        }
        let name = start.name();
        let name: &str = name.as_ref();
        let element = match self.open.last() {
            None => {
                let (prefix, local) = name.split_once(':').unwrap_or(("", name));
                if !matches!(local, "rss" | "feed" | "RDF") || !self.prefix.is_empty() {
                    let name = quoted(name);
                    return self
                        .call
                        .fail(format!("not a feed: expected <rss>, <feed> or <rdf:RDF>, found <{name}>"));
                }
                // Elements of RSS 1.0 have no prefix; its root has one.
                let prefix = if local == "RDF" { "" } else { prefix };
                self.prefix = format!("{prefix}:");
                Element::Root
            }
            Some(parent) => {
                let own = name.strip_prefix(self.prefix.as_str()).filter(|own| !own.contains(':'));
                let name = own.unwrap_or(name);
                match (parent, name) {
                    (Element::Root, "channel") => Element::Channel,
                    (Element::Root | Element::Channel, "item" | "entry") => Element::Item,
                    (Element::Root | Element::Channel | Element::Item, name) => {
                        Field::of(name).map_or(Element::Other, Element::Field)
                    }
                    (Element::Field(_) | Element::Markup, _) => Element::Markup,
                    (Element::Other, _) => Element::Other,
                }
            }
        };
        self.open.push(element);
        match element {
            Element::Item => {
                self.item = Fields::default();
                if let Some(id) = self.attribute(start, "rdf:about")? {
                    self.item.set(Field::Id, id);
                }
                Ok(())
            }
            Element::Field(Field::Link) => {
                self.text = Some(Text::new(self.call));
                self.atom_link(start)
            }
            Element::Field(_) => {
                self.text = Some(Text::new(self.call));
                Ok(())
            }
            Element::Markup => self.push(raw),
            Element::Root | Element::Channel | Element::Other => Ok(()),
        }
    }

    /// Atom has the address of a link in an attribute.
    fn atom_link(&mut self, start: &BytesStart<'_>) -> Outcome<()> {
        let Some(address) = self.attribute(start, "href")? else { return Ok(()) };
        let relation = self.attribute(start, "rel")?.and_then(|rel| rel.into_immutable_string().ok());
        if relation.is_none_or(|relation| relation == "alternate") {
            self.fields().set(Field::Link, address);
        }
        Ok(())
    }

    fn attribute(&self, start: &BytesStart<'_>, name: &str) -> Outcome<Option<Dynamic>> {
        for attribute in start.attributes().with_checks(false) {
            self.call.charge(1)?;
            let Ok(attribute) = attribute else { return Ok(None) };
            let key: &str = attribute.key.as_ref();
            if key == name {
                self.call.reserve(attribute.value.len())?;
                return Ok(attribute
                    .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                    .ok()
                    .map(|value| value.trim().into()));
            }
        }
        Ok(None)
    }

    /// The fields that the open element belongs to.
    fn fields(&mut self) -> &mut Fields {
        if self.open.contains(&Element::Item) { &mut self.item } else { &mut self.feed }
    }

    fn end(&mut self, raw: &str) -> Outcome<()> {
        match self.open.pop() {
            Some(Element::Field(field)) => {
                let Some(text) = self.text.take() else { return Ok(()) };
                let text = text.finish().into_immutable_string().unwrap_or_default();
                let text =
                    if field == Field::Text || field == Field::Summary { text } else { text.trim().into() };
                if !text.is_empty() {
                    self.fields().set(field, text.into());
                }
                Ok(())
            }
            Some(Element::Markup) => self.push(raw),
            Some(Element::Item) => {
                let item = std::mem::take(&mut self.item).item();
                self.items.push(item)
            }
            _ => Ok(()),
        }
    }
}
