//! A text format for pushes: a mutated text is still a well-formed push of mutated objects, so that it reaches deep code.
//!
//! Sections are separated by a line `%%`. The first line of a section is its head, the rest its content:
//!
//! - `commit`, `tree`, `blob`, `tag`: an undeltified object
//! - `ofs 3`, `ref 3`: the content as a delta against object 3, by offset or by id; `ref r3` refers to object 3 of the
//!   repository
//! - `ofs-raw 3`, `ref-raw 3`: the content is the delta itself
//! - `at 40`: the content is a delta against the entry that starts 40 bytes before
//! - `type 5`: an entry of that type
//! - `command refs/heads/a {3} {r7}`: an update of a ref to object 3, from object 7 of the repository; `-` is the null id
//! - `shallow {3}`, `capabilities`, `option`, `reverse`, `count 1`, `tail`: see the fields of [`Recipe`]
//!
//! Objects are counted from 0. In trees, commits, tags and deltas, `{3}` is replaced with the id of object 3 and `{r3}` with
//! that of the repository's, in binary or hexadecimal as the position requires. After an entry's head, `deflated` compresses
//! its stream (by default it is stored), and these words make it invalid: `size+1`, `size-1`, `huge`, `cut`.

use git_receiver::{Kind, Object, ObjectId};

use super::repository::MemoryRepository;
use super::wire;

/// The most sections of a recipe.
const SECTIONS_MAX: usize = 200;

/// A push.
#[derive(Default)]
pub struct Recipe {
    entries: Vec<Entry>,
    /// The ref updates: name, new value, old value.
    commands: Vec<(Vec<u8>, ObjectId, ObjectId)>,
    shallow: Vec<ObjectId>,
    /// The client's capabilities, if not the default.
    capabilities: Option<Vec<u8>>,
    /// Push options, sent if the capabilities include them.
    options: Vec<Vec<u8>>,
    /// Send the entries in reverse order, deltas before their bases.
    reverse: bool,
    /// The error of the object count in the header.
    count: u32,
    /// Bytes after the pack.
    tail: Vec<u8>,
    /// Why the pack must be rejected, if that is known.
    defect: Option<String>,
}

struct Entry {
    number: u8,
    base: Base,
    /// The inflated stream: a content or a delta.
    payload: Vec<u8>,
    /// The size in the entry header.
    declared: u64,
    deflated: bool,
    cut: usize,
    /// The resulting object, if it is known.
    resolved: Option<Resolved>,
}

struct Resolved {
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
    /// Parses a recipe; invalid parts are ignored.
    pub fn read(text: &[u8], repository: &MemoryRepository) -> Self {
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

    /// Parses a recipe that is a single section.
    pub fn of_one_section(text: &[u8], repository: &MemoryRepository) -> Self {
        let mut recipe = Self::default();
        recipe.section(text, repository);
        recipe
    }

    /// The known resulting objects.
    pub fn objects(&self) -> impl Iterator<Item = (Kind, &[u8])> {
        self.entries
            .iter()
            .filter_map(|entry| entry.resolved.as_ref())
            .map(|resolved| (resolved.kind, resolved.content.as_slice()))
    }

    /// The ids of the sent objects, sorted and distinct; `None` if one is unknown or no pack is sent.
    pub fn ids(&self) -> Option<Vec<ObjectId>> {
        if !self.has_pack() {
            return None;
        }
        let ids: Option<Vec<ObjectId>> =
            self.entries.iter().map(|entry| entry.resolved.as_ref().map(|resolved| resolved.id)).collect();
        let mut ids = ids?;
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }

    /// Why the push must be rejected, if that is known.
    pub fn defect(&self) -> Option<&str> {
        self.defect.as_deref().filter(|_| self.has_pack())
    }

    fn has_pack(&self) -> bool {
        self.commands().iter().any(|(_, new, _)| !new.is_null())
    }

    fn section(&mut self, text: &[u8], repository: &MemoryRepository) {
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
                self.defect =
                    self.defect.take().or_else(|| (self.count != 0).then(|| "a wrong count".to_owned()));
            }
            b"tail" => {
                self.tail = body.to_vec();
                self.defect = self
                    .defect
                    .take()
                    .or_else(|| (!body.is_empty()).then(|| "bytes after the pack".to_owned()));
            }
            head => {
                if let Some(entry) = self.entry(head, word(1), number(1), body, repository) {
                    let entry = self.with_defects(entry, &words);
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
        repository: &MemoryRepository,
    ) -> Option<Entry> {
        let resolved =
            |kind: Kind, content: Vec<u8>| Resolved { kind, id: wire::name(kind, &content), content };
        if let Ok(kind) = Kind::from_bytes(head) {
            let content = self.filled(kind, body, repository);
            return Some(Entry::new(
                wire::type_number(kind),
                Base::None,
                content.clone(),
                Some(resolved(kind, content)),
            ));
        }
        if head == b"type" {
            let number = u8::try_from(number? & 7).ok()?;
            let known = matches!(number, 1..=4 | 6 | 7);
            self.defect =
                self.defect.take().or_else(|| (!known).then(|| format!("an entry of type {number}")));
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
            let resolved = self.entries.get(at)?.resolved.as_ref()?;
            let base = if by_name { Base::Named(resolved.id) } else { Base::Entry(at) };
            (base, resolved.kind, resolved.content.clone())
        };
        let (delta, target) = if raw {
            (body.to_vec(), wire::apply(&content, body))
        } else {
            let target = self.filled(kind, body, repository);
            (wire::delta(&content, &target), Some(target))
        };
        self.defect = self.defect.take().or_else(|| target.is_none().then(|| "a corrupt delta".to_owned()));
        let number = if matches!(base, Base::Entry(_)) { 6 } else { 7 };
        Some(Entry::new(number, base, delta, target.map(|target| resolved(kind, target))))
    }

    fn with_defects(&mut self, mut entry: Entry, words: &[&[u8]]) -> Entry {
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
            self.defect = self.defect.take().or_else(|| Some("an entry of another size".to_owned()));
        }
        entry
    }

    /// Replaces the placeholders for object ids in `text`.
    fn filled(&self, kind: Kind, text: &[u8], repository: &MemoryRepository) -> Vec<u8> {
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

    fn id_of(&self, reference: &[u8], repository: &MemoryRepository) -> Option<ObjectId> {
        let reference = std::str::from_utf8(reference).ok()?;
        match reference.strip_prefix('r') {
            Some(outside) => repository.order.get(outside.parse::<usize>().ok()?).copied(),
            None => self
                .entries
                .get(reference.parse::<usize>().ok()?)?
                .resolved
                .as_ref()
                .map(|resolved| resolved.id),
        }
    }

    /// The commands; by default, a ref to the last object.
    fn commands(&self) -> Vec<(Vec<u8>, ObjectId, ObjectId)> {
        if !self.commands.is_empty() {
            return self.commands.clone();
        }
        let null = ObjectId::null(gix_hash::Kind::Sha1);
        let last = self.entries.iter().filter_map(|entry| entry.resolved.as_ref()).next_back();
        let (name, id) = match last {
            Some(Resolved { kind: Kind::Commit, id, .. }) => (&b"refs/heads/fuzz"[..], *id),
            Some(resolved) => (&b"refs/tags/fuzz"[..], resolved.id),
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
        if self.has_pack() {
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
    fn new(number: u8, base: Base, payload: Vec<u8>, resolved: Option<Resolved>) -> Self {
        Self { number, base, declared: payload.len() as u64, payload, deflated: false, cut: 0, resolved }
    }

    /// Encodes the entry for position `at` in a pack; `offsets` has the positions of the previous entries.
    fn encode(&self, at: u64, offsets: &[Option<u64>], entries: &[Self]) -> Vec<u8> {
        let (number, base) = match self.base {
            Base::None => (self.number, Vec::new()),
            Base::Named(id) => (7, id.as_slice().to_vec()),
            Base::Distance(distance) => (6, wire::distance(distance)),
            Base::Entry(index) => match (offsets[index], &entries[index].resolved) {
                (Some(offset), _) => (6, wire::distance(at - offset)),
                (None, Some(resolved)) => (7, resolved.id.as_slice().to_vec()),
                (None, None) => (7, vec![0; 20]),
            },
        };
        let mut zlib = if self.deflated { wire::deflate(&self.payload) } else { wire::store(&self.payload) };
        zlib.truncate(zlib.len() - self.cut);
        [wire::entry_head(number, self.declared), base, zlib].concat()
    }
}
