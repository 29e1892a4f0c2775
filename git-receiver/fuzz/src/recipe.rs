//! A push written down as text: a mutated text is still a proper push, of mutated objects, and gets as deep as they do.
//!
//! Sections are parted by a line `%%`. The first line of each says what it is, the rest is its content:
//!
//! - `commit`, `tree`, `blob`, `tag`: an object as a whole
//! - `ofs 3`, `ref 3`: the content as a delta on the third object, named by its offset or its name; `ref r3` builds on the
//!   third object of the repository
//! - `ofs-raw 3`, `ref-raw 3`: the content is the delta itself
//! - `at 40`: the content is a delta on whatever begins 40 bytes before
//! - `type 5`: an entry of that type
//! - `command refs/heads/a {3} {r7}`: a ref to be moved to the third object, from the seventh of the repository; `-` is
//!   nowhere
//! - `shallow {3}`, `capabilities`, `option`, `reverse`, `count 1`, `tail`: as [`Recipe`]'s fields have it
//!
//! Counting begins at 0. In trees, commits, tags and deltas that become such, `{3}` is the name of the third object and
//! `{r3}` that of the repository's, in bytes or digits as the place wants. Behind an entry's head may stand `deflated` (else
//! nothing is compressed), and what makes it a lie: `size+1`, `size-1`, `huge`, `cut`.

use git_receiver::{Kind, Object, ObjectId};

use super::repository::Memory;
use super::wire;

/// The most sections of a recipe that are read.
const SECTIONS_MAX: usize = 200;

/// A push.
#[derive(Default)]
pub struct Recipe {
    entries: Vec<Entry>,
    /// The refs: name, to where, from where.
    commands: Vec<(Vec<u8>, ObjectId, ObjectId)>,
    shallow: Vec<ObjectId>,
    /// What the client says it can, instead of the usual.
    capabilities: Option<Vec<u8>>,
    /// Push options, sent where the capabilities speak of them.
    options: Vec<Vec<u8>>,
    /// The entries are sent last first, deltas before what they build on.
    reverse: bool,
    /// By how much the header counts wrong.
    count: u32,
    /// What stands behind the pack.
    tail: Vec<u8>,
    /// Why its pack must be refused, if that is known.
    lie: Option<String>,
}

struct Entry {
    number: u8,
    base: Base,
    /// What is compressed: a content or a delta.
    payload: Vec<u8>,
    /// The size that the head declares.
    declared: u64,
    deflated: bool,
    cut: usize,
    /// What it is, or becomes; `None`: that is not known.
    made: Option<Made>,
}

struct Made {
    kind: Kind,
    content: Vec<u8>,
    id: ObjectId,
}

#[derive(Clone, Copy)]
enum Base {
    None,
    Entry(usize),
    Named(ObjectId),
    Distance(u64),
}

impl Recipe {
    /// Reads a recipe. What makes no sense in it is passed over.
    pub fn read(text: &[u8], repository: &Memory) -> Self {
        let mut recipe = Self::default();
        let mut rest = Some(text);
        for _ in 0..SECTIONS_MAX {
            let Some(text) = rest else { break };
            let end = text.windows(4).position(|bytes| bytes == b"\n%%\n");
            recipe.section(&text[..end.unwrap_or(text.len())], repository);
            rest = end.map(|end| &text[end + 4..]);
        }
        recipe
    }

    /// Reads a recipe that is one section, whatever stands in it.
    pub fn of_one_section(text: &[u8], repository: &Memory) -> Self {
        let mut recipe = Self::default();
        recipe.section(text, repository);
        recipe
    }

    /// The objects, as far as they are known.
    pub fn objects(&self) -> impl Iterator<Item = (Kind, &[u8])> {
        self.entries
            .iter()
            .filter_map(|entry| entry.made.as_ref())
            .map(|made| (made.kind, made.content.as_slice()))
    }

    /// The names of the objects that are sent, in order, each once; `None`: they are not known, or no pack is sent.
    pub fn ids(&self) -> Option<Vec<ObjectId>> {
        if !self.sends_a_pack() {
            return None;
        }
        let ids: Option<Vec<ObjectId>> =
            self.entries.iter().map(|entry| entry.made.as_ref().map(|made| made.id)).collect();
        let mut ids = ids?;
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }

    /// Why it must be refused, if that is known.
    pub fn lie(&self) -> Option<&str> {
        self.lie.as_deref().filter(|_| self.sends_a_pack())
    }

    fn sends_a_pack(&self) -> bool {
        self.commands().iter().any(|(_, new, _)| !new.is_null())
    }

    fn section(&mut self, text: &[u8], repository: &Memory) {
        let end = text.iter().position(|byte| *byte == b'\n');
        let (head, body) = (&text[..end.unwrap_or(text.len())], end.map_or(&b""[..], |end| &text[end + 1..]));
        let words: Vec<&[u8]> = head.split(|byte| *byte == b' ').collect();
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let number = |at: usize| std::str::from_utf8(word(at)).ok().and_then(|word| word.parse::<u32>().ok());
        let named = |at: usize| self.filled(Kind::Commit, word(at), repository);
        let id = |at: usize| match ObjectId::from_hex(&named(at)) {
            Ok(id) if id.kind() == gix_hash::Kind::Sha1 => id,
            _ => ObjectId::null(gix_hash::Kind::Sha1),
        };
        match words[0] {
            b"command" => self.commands.push((word(1).to_vec(), id(2), id(3))),
            b"shallow" => self.shallow.push(id(1)),
            b"capabilities" => self.capabilities = Some(body.to_vec()),
            b"option" => self.options.push(body.to_vec()),
            b"reverse" => self.reverse = true,
            b"count" => {
                self.count = number(1).unwrap_or_default();
                self.lie = self.lie.take().or_else(|| (self.count != 0).then(|| "a wrong count".to_owned()));
            }
            b"tail" => {
                self.tail = body.to_vec();
                self.lie = self
                    .lie
                    .take()
                    .or_else(|| (!body.is_empty()).then(|| "bytes behind the pack".to_owned()));
            }
            head => {
                if let Some(entry) = self.entry(head, word(1), number(1), body, repository) {
                    let entry = self.with_faults(entry, &words);
                    self.entries.push(entry);
                }
            }
        }
    }

    fn entry(
        &mut self,
        head: &[u8],
        base: &[u8],
        number: Option<u32>,
        body: &[u8],
        repository: &Memory,
    ) -> Option<Entry> {
        let made = |kind: Kind, content: Vec<u8>| Made { kind, id: wire::name(kind, &content), content };
        if let Ok(kind) = Kind::from_bytes(head) {
            let content = self.filled(kind, body, repository);
            return Some(Entry::new(
                wire::type_number(kind),
                Base::None,
                content.clone(),
                Some(made(kind, content)),
            ));
        }
        if head == b"type" {
            let number = u8::try_from(number? & 7).ok()?;
            let known = matches!(number, 1..=4 | 6 | 7);
            self.lie = self.lie.take().or_else(|| (!known).then(|| format!("an entry of type {number}")));
            return Some(Entry::new(number, Base::None, body.to_vec(), None));
        }
        if head == b"at" {
            return Some(Entry::new(6, Base::Distance(number?.into()), body.to_vec(), None));
        }
        let (by_name, raw) = match head {
            b"ofs" => (false, false),
            b"ofs-raw" => (false, true),
            b"ref" => (true, false),
            b"ref-raw" => (true, true),
            _ => return None,
        };
        let outside =
            base.strip_prefix(b"r").and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let (base, kind, content) = if let Some(outside) = outside {
            let object: &Object = repository.get(repository.order.get::<usize>(outside)?)?;
            (Base::Named(object.id), object.kind, repository.content(&object.id)?.to_vec())
        } else {
            let at = usize::try_from(number?).ok()?;
            let made = self.entries.get(at)?.made.as_ref()?;
            let base = if by_name { Base::Named(made.id) } else { Base::Entry(at) };
            (base, made.kind, made.content.clone())
        };
        let (delta, target) = if raw {
            (body.to_vec(), wire::apply(&content, body))
        } else {
            let target = self.filled(kind, body, repository);
            (wire::delta(&content, &target), Some(target))
        };
        self.lie = self.lie.take().or_else(|| target.is_none().then(|| "a damaged delta".to_owned()));
        let number = if matches!(base, Base::Entry(_)) { 6 } else { 7 };
        Some(Entry::new(number, base, delta, target.map(|target| made(kind, target))))
    }

    fn with_faults(&mut self, mut entry: Entry, words: &[&[u8]]) -> Entry {
        let honest = entry.declared;
        for word in words {
            match *word {
                b"deflated" => entry.deflated = true,
                b"size+1" => entry.declared += 1,
                b"size-1" => entry.declared = entry.declared.wrapping_sub(1),
                b"huge" => entry.declared = 1 << 40,
                b"cut" => entry.cut = 5,
                _ => {}
            }
        }
        if entry.declared != honest || entry.cut > 0 {
            self.lie = self.lie.take().or_else(|| Some("an entry of another size".to_owned()));
        }
        entry
    }

    /// `text` with the names of objects where it speaks of them.
    fn filled(&self, kind: Kind, text: &[u8], repository: &Memory) -> Vec<u8> {
        if kind == Kind::Blob {
            return text.to_vec();
        }
        let mut filled = Vec::with_capacity(text.len() + 64);
        let mut rest = text;
        while let Some(start) = rest.iter().position(|byte| *byte == b'{') {
            let (before, from) = rest.split_at(start);
            filled.extend_from_slice(before);
            let end = from.iter().take(8).position(|byte| *byte == b'}');
            let id = end.and_then(|end| self.id_of(&from[1..end], repository));
            match (id, end) {
                (Some(id), Some(end)) if kind == Kind::Tree => {
                    filled.extend_from_slice(id.as_slice());
                    rest = &from[end + 1..];
                }
                (Some(id), Some(end)) => {
                    filled.extend_from_slice(id.to_string().as_bytes());
                    rest = &from[end + 1..];
                }
                _ => {
                    filled.push(b'{');
                    rest = &from[1..];
                }
            }
        }
        filled.extend_from_slice(rest);
        filled
    }

    fn id_of(&self, reference: &[u8], repository: &Memory) -> Option<ObjectId> {
        let reference = std::str::from_utf8(reference).ok()?;
        match reference.strip_prefix('r') {
            Some(outside) => repository.order.get(outside.parse::<usize>().ok()?).copied(),
            None => self.entries.get(reference.parse::<usize>().ok()?)?.made.as_ref().map(|made| made.id),
        }
    }

    /// The commands, or one that points to what was sent last.
    fn commands(&self) -> Vec<(Vec<u8>, ObjectId, ObjectId)> {
        if !self.commands.is_empty() {
            return self.commands.clone();
        }
        let null = ObjectId::null(gix_hash::Kind::Sha1);
        let last = self.entries.iter().filter_map(|entry| entry.made.as_ref()).next_back();
        let (name, id) = match last {
            Some(Made { kind: Kind::Commit, id, .. }) => (&b"refs/heads/fuzz"[..], *id),
            Some(made) => (&b"refs/tags/fuzz"[..], made.id),
            None => (&b"refs/heads/fuzz"[..], ObjectId::Sha1([6; 20])),
        };
        vec![(name.to_vec(), id, null)]
    }

    /// The body of the request to receive-pack.
    pub fn request(&self) -> Vec<u8> {
        let mut request = Vec::new();
        for id in &self.shallow {
            request.extend(wire::frame(format!("shallow {id}").as_bytes()));
        }
        let usual = b" report-status-v2 side-band-64k object-format=sha1 agent=git/2.47".as_slice();
        let capabilities = self.capabilities.as_deref().unwrap_or(usual);
        for (at, (name, new, old)) in self.commands().into_iter().enumerate() {
            let line = [format!("{old} {new} ").as_bytes(), &name].concat();
            let line = if at == 0 { [&line, &b"\0"[..], capabilities].concat() } else { line };
            request.extend(wire::frame(&line));
        }
        request.extend_from_slice(b"0000");
        if capabilities.windows(12).any(|word| word == b"push-options") {
            self.options.iter().for_each(|option| request.extend(wire::frame(option)));
            request.extend_from_slice(b"0000");
        }
        if self.sends_a_pack() {
            request.extend(self.pack());
            request.extend_from_slice(&self.tail);
        }
        request
    }

    fn pack(&self) -> Vec<u8> {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        if self.reverse {
            order.reverse();
        }
        let mut at = 12;
        let mut offsets = vec![None; self.entries.len()];
        let mut encoded = Vec::with_capacity(order.len());
        for index in order {
            let bytes = self.entries[index].encode(at, &offsets, &self.entries);
            offsets[index] = Some(at);
            at += bytes.len() as u64;
            encoded.push(bytes);
        }
        let honest = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
        wire::pack(&encoded, honest.wrapping_add(self.count))
    }
}

impl Entry {
    fn new(number: u8, base: Base, payload: Vec<u8>, made: Option<Made>) -> Self {
        Self { number, base, declared: payload.len() as u64, payload, deflated: false, cut: 0, made }
    }

    /// The entry as it stands at `at` in a pack, `offsets` being those of the entries before it.
    fn encode(&self, at: u64, offsets: &[Option<u64>], entries: &[Self]) -> Vec<u8> {
        let (number, base) = match self.base {
            Base::None => (self.number, Vec::new()),
            Base::Named(id) => (7, id.as_slice().to_vec()),
            Base::Distance(distance) => (6, wire::distance(distance)),
            Base::Entry(index) => match (offsets[index], &entries[index].made) {
                (Some(offset), _) => (6, wire::distance(at - offset)),
                (None, Some(made)) => (7, made.id.as_slice().to_vec()),
                (None, None) => (7, vec![0; 20]),
            },
        };
        let mut zlib = if self.deflated { wire::deflate(&self.payload) } else { wire::store(&self.payload) };
        zlib.truncate(zlib.len() - self.cut);
        [wire::entry_head(number, self.declared), base, zlib].concat()
    }
}
