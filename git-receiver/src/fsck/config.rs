//! A parser of git config files that is compatible with git's.

/// Where git reads the bytes from; its parser treats 0xff differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// From a file, as `git clone --recurse-submodules` does.
    File,
    /// From memory, as fsck does; the byte 0xff is the end of file.
    Blob,
}

/// A section header or a variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// The header `[a "b"]` starts section `a.b`.
    Section(&'a [u8]),
    /// A variable of the section with its lower-case key, and the value after `=`, if any.
    Variable { key: &'a [u8], value: Option<&'a [u8]> },
}

/// A syntax error. The items before it are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ParseError;

/// A config parser.
pub(super) struct Config<'a> {
    content: &'a [u8],
    at: usize,
    source: Source,
    /// The end was reached. From memory, bytes can follow, and git reads on up to the end of the line.
    ended: bool,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl<'a> Config<'a> {
    pub(super) fn new(content: &'a [u8], source: Source) -> Self {
        // From memory, fsck does not skip the byte order mark and sees no items; a clone reads the file.
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        Self { content, at: 0, source, ended: false, name: Vec::new(), value: Vec::new() }
    }

    /// The next section header or variable.
    pub(super) fn next(&mut self) -> Result<Option<Item<'_>>, ParseError> {
        loop {
            match self.byte() {
                b'#' | b';' => while self.byte() != b'\n' {},
                b'[' => {
                    self.section()?;
                    return Ok(Some(Item::Section(&self.name)));
                }
                first if first.is_ascii_alphabetic() => {
                    let has_value = self.variable(first)?;
                    let value = has_value.then_some(self.value.as_slice());
                    return Ok(Some(Item::Variable { key: &self.name, value }));
                }
                byte if is_blank(byte) => {
                    if byte != b'\n' || !self.ended {
                        continue;
                    }
                }
                _ => return Err(ParseError),
            }
            if self.ended {
                return Ok(None);
            }
        }
    }

    /// The next byte; `\n` for a line ending and for the end of the input.
    fn byte(&mut self) -> u8 {
        let mut byte = self.raw_byte();
        if byte == Some(b'\r') {
            let before = self.at;
            match self.raw_byte() {
                Some(b'\n') => byte = Some(b'\n'),
                Some(_) => self.at = before,
                None => {}
            }
        }
        self.ended |= byte.is_none();
        byte.unwrap_or(b'\n')
    }

    fn raw_byte(&mut self) -> Option<u8> {
        let byte = self.content.get(self.at).copied()?;
        self.at += 1;
        (self.source == Source::File || byte != 0xff).then_some(byte)
    }

    /// Parses a section header after `[`.
    fn section(&mut self) -> Result<(), ParseError> {
        self.name.clear();
        loop {
            match self.byte() {
                _ if self.ended => return Err(ParseError),
                b']' if self.name.is_empty() => return Err(ParseError),
                b']' => return Ok(()),
                blank if is_blank(blank) => return self.subsection(blank),
                byte if is_key_byte(byte) || byte == b'.' => self.name.push(byte.to_ascii_lowercase()),
                _ => return Err(ParseError),
            }
        }
    }

    /// Parses a section header after the first blank: `"b"]`.
    fn subsection(&mut self, blank: u8) -> Result<(), ParseError> {
        let mut byte = blank;
        while is_blank(byte) {
            if byte == b'\n' {
                return Err(ParseError);
            }
            byte = self.byte();
        }
        if byte != b'"' {
            return Err(ParseError);
        }
        self.name.push(b'.');
        loop {
            let mut byte = self.byte();
            if byte == b'"' {
                break;
            }
            if byte == b'\\' {
                byte = self.byte();
            }
            if byte == b'\n' {
                return Err(ParseError);
            }
            self.name.push(byte);
        }
        if self.byte() == b']' { Ok(()) } else { Err(ParseError) }
    }

    /// Parses a variable that starts with `first`; returns whether it has a value.
    fn variable(&mut self, first: u8) -> Result<bool, ParseError> {
        self.name.clear();
        let mut byte = first;
        loop {
            self.name.push(byte.to_ascii_lowercase());
            byte = self.byte();
            if self.ended || !is_key_byte(byte) {
                break;
            }
        }
        while byte == b' ' || byte == b'\t' {
            byte = self.byte();
        }
        match byte {
            b'\n' => Ok(false),
            b'=' => self.value().map(|()| true),
            _ => Err(ParseError),
        }
    }

    /// Parses a value after `=`, with line continuations.
    fn value(&mut self) -> Result<(), ParseError> {
        self.value.clear();
        let mut quoted = false;
        // The start of the trailing blanks of the value; 0 if there are none.
        let mut blanks = 0;
        loop {
            match self.byte() {
                b'\n' if quoted => return Err(ParseError),
                b'\n' => break,
                blank if is_blank(blank) && !quoted => {
                    if blanks == 0 {
                        blanks = self.value.len();
                    }
                    if !self.value.is_empty() {
                        self.value.push(blank);
                    }
                    continue;
                }
                b';' | b'#' if !quoted => {
                    while self.byte() != b'\n' {}
                    break;
                }
                b'"' => quoted = !quoted,
                b'\\' => match self.byte() {
                    b'\n' => {}
                    b't' => self.value.push(b'\t'),
                    b'b' => self.value.push(8),
                    b'n' => self.value.push(b'\n'),
                    itself @ (b'\\' | b'"') => self.value.push(itself),
                    _ => return Err(ParseError),
                },
                byte => self.value.push(byte),
            }
            blanks = 0;
        }
        if blanks > 0 {
            self.value.truncate(blanks);
        }
        Ok(())
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// The part before the first NUL, as C code sees it.
pub(super) fn c_string(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::git;
    use super::*;

    const TABLE: &[&[u8]] = &[
        b"",
        b"\n\n",
        b"[a]\nb = c\n",
        b"[a]\nb = c",
        b"[a]\r\nb = c\r\n[d]\r\n",
        b"[a] b = c\n\td=e",
        b"\xef\xbb\xbf[a]\nb = c\n",
        b"\xef\xbb[a]\nb = c\n",
        b"\xef",
        b"b = c\n[d]\n",
        b"[A.b]\nC-1 = D\n",
        b"[a \"B\"]\nc = d\n",
        b"[a.b \"c.D\"]\nc = d\n",
        b"[ \"b\"]\nc = d\n",
        b"[a \t \"b\\\"\\\\\\t\"]\nc\n",
        b"[a \"\"]\nc\n",
        b"[a \"b\" ]\nc\n",
        b"[a \"b\nc\"]\nc\n",
        b"[a \"b\\\nc\"]\nc\n",
        b"[a\n\"b\"]\nc\n",
        b"[a \"b]\nc\n",
        b"[a \"b\0c\"]\nd = e\n",
        b"[a \"b",
        b"[a",
        b"[]\na",
        b"[a_b]\na",
        b"[a]\nb\n",
        b"[a]\nb \t\n",
        b"[a]\nb",
        b"[a]\nb c\n",
        b"[a]\nb # c\n",
        b"[a]\nb\r",
        b"[a]\nb = \n",
        b"[a]\nb =",
        b"[a]\nb = # c\n",
        b"[a]\nb = c # d\n",
        b"[a]\nb = c ; d",
        b"[a]\nb = c  d \t \n",
        b"[a]\nb = \" c \" \n",
        b"[a]\nb = \" # \";\n",
        b"[a]\nb = \"\" c\n",
        b"[a]\nb = c\" d \"e\n",
        b"[a]\nb = \"c\nd\"\n",
        b"[a]\nb = c \\\n d\n",
        b"[a]\nb = c \\\r\n d\n",
        b"[a]\nb = c\\",
        b"[a]\nb = \\n\\t\\b\\\\\\\"\n",
        b"[a]\nb = \\x\n",
        b"[a]\nb = c\0d\n",
        b"[a]\nb = c\rd\r\r\n",
        b"[a]\nb = \xff\xc3\xa4\x0c \x0b\n",
        b"[a]\n1b = c\n",
        b"[a]\nb_c = d\n",
        b"[a]\nb = c\n=\nd = e\n",
        b"# [a]\n; b\n\t# c\n[a] # b\nc # d",
        b"#",
    ];

    /// The output of `git config --list -z`, and whether parsing succeeded.
    fn listed(content: &[u8], source: Source) -> (Vec<u8>, bool) {
        let mut config = Config::new(content, source);
        let (mut section, mut list) = (Vec::new(), Vec::new());
        loop {
            match config.next() {
                Ok(Some(Item::Section(name))) => section = [name, b"."].concat(),
                Ok(Some(Item::Variable { key, value })) => {
                    list.extend_from_slice(c_string(&[&section, key].concat()));
                    if let Some(value) = value {
                        list.push(b'\n');
                        list.extend_from_slice(c_string(value));
                    }
                    list.push(0);
                }
                end => return (list, end.is_ok()),
            }
        }
    }

    fn listed_by_git(content: &[u8]) -> (Vec<u8>, bool) {
        let dir = tempfile::tempdir().unwrap();
        let output = git(dir.path(), &["config", "-f", "-", "--list", "-z"], content);
        (output.stdout, output.status.success())
    }

    #[test]
    fn files_parse_as_in_git() {
        for content in TABLE {
            let our_result = listed(content, Source::File);
            let git_result = listed_by_git(content);
            assert_eq!(our_result, git_result, "{}", content.escape_ascii());
        }
    }

    #[test]
    fn blobs_end_where_fsck_sees_an_end() {
        for (content, as_file) in [
            (&b"[a]\nb = c\xffdd\nef = f\n"[..], &b"[a]\nb = c"[..]),
            (b"[a]\nb = c\r\xff\ne = f\n", b"[a]\nb = c\r\r\ne = f\n"),
            (b"\r\xff[a]\nb = c\n", b"[a]\nb = c\n"),
            (b"[a]\n# \xff\nb = c\n", b"[a]\n"),
        ] {
            let (list, _) = listed(content, Source::Blob);
            let expected = listed(as_file, Source::File).0;
            let shown = content.escape_ascii();
            assert_eq!(list, [&b""[..], &expected].concat(), "{shown}");
        }
    }

    /// Concatenated fragments of config files.
    fn fragments_of_config() -> impl Strategy<Value = Vec<u8>> {
        let fragments = prop::sample::select(vec![
            &b"[a]"[..],
            b"[a \"B\"]",
            b"[",
            b"]",
            b"\"",
            b"\\",
            b"\n",
            b"\r",
            b"\r\n",
            b" ",
            b"\t",
            b"#",
            b";",
            b"=",
            b"b",
            b"C = ",
            b"-",
            b".",
            b"\0",
            b"\xff",
            b"\xef\xbb\xbf",
            b"n",
            b"\n[a]\nb=",
        ]);
        prop::collection::vec(fragments, 0..16).prop_map(|fragments| fragments.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn random_files_parse_as_in_git(content in fragments_of_config()) {
            prop_assert_eq!(listed(&content, Source::File), listed_by_git(&content));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(content in prop::collection::vec(any::<u8>(), 0..100), random in fragments_of_config()) {
            for content in [content, random] {
                listed(&content, Source::File);
                listed(&content, Source::Blob);
            }
        }
    }
}
