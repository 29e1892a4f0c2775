//! fsck of `.gitmodules`: no value that a recursive clone would execute, or that redirects it.

use super::config::{Config, Item, Source, c_string};
use super::{FsckError, bad, shown, submodule_url};

/// The largest file that git reads into memory (`core.bigFileThreshold`).
const FILE_MAX: usize = 512 << 20;

pub(super) fn fsck_gitmodules(content: &[u8]) -> Result<(), FsckError> {
    if content.len() > FILE_MAX {
        return bad("gitmodulesLarge: a `.gitmodules` is larger than 512 MiB");
    }
    read(content, Source::File)?;
    // fsck and a clone see different items.
    if content.contains(&0xff) { read(content, Source::Blob) } else { Ok(()) }
}

/// Checks the variables up to the first syntax error, about which fsck only informs (`gitmodulesParse`).
fn read(content: &[u8], source: Source) -> Result<(), FsckError> {
    let mut config = Config::new(content, source);
    let mut submodule = None;
    while let Ok(Some(item)) = config.next() {
        match item {
            Item::Section(name) => submodule = Submodule::of(name),
            Item::Variable { key, value } => {
                if let Some(submodule) = &submodule {
                    submodule.variable(key, value)?;
                }
            }
        }
    }
    Ok(())
}

/// A submodule section.
struct Submodule {
    /// Why the name is not allowed.
    error: Option<FsckError>,
    /// If the section name contains a NUL, git takes the part before it as the whole variable name, whose last component is
    /// the key.
    key: Option<Vec<u8>>,
}

impl Submodule {
    /// Parses a section name; `None` if it is not a submodule section.
    fn of(section: &[u8]) -> Option<Self> {
        let until_nul = c_string(section);
        let rest = until_nul.strip_prefix(b"submodule.")?;
        let (name, key) = if until_nul.len() == section.len() {
            (rest, None)
        } else {
            let dot = rest.iter().rposition(|byte| *byte == b'.')?;
            (&rest[..dot], Some(rest[dot + 1..].to_vec()))
        };
        let error = (!is_name(name))
            .then(|| FsckError(format!("gitmodulesName: `{}` cannot be a submodule's name", shown(name))));
        Some(Self { error, key })
    }

    fn variable(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), FsckError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let Some(value) = value.map(c_string) else { return Ok(()) };
        match self.key.as_deref().unwrap_or(key) {
            b"url" if !submodule_url::is_safe(value) => {
                bad(format!("gitmodulesUrl: `{}` cannot be a submodule's URL", shown(value)))
            }
            b"path" if value.starts_with(b"-") => {
                bad(format!("gitmodulesPath: `{}` looks like an option", shown(value)))
            }
            b"update" if value.starts_with(b"!") => {
                bad(format!("gitmodulesUpdate: `{}` is a command to be run", shown(value)))
            }
            _ => Ok(()),
        }
    }
}

/// A submodule name is a path below `.git/modules`.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.split(|byte| matches!(byte, b'/' | b'\\')).all(|part| part != b"..")
}

#[cfg(test)]
mod tests {
    use super::super::tests::msg_id;
    use super::*;

    #[test]
    fn submodule_names_stay_below_modules_directory() {
        for name in [&b"a"[..], b"a/b", b"a..b", b"..a/b..", b"...", b"/"] {
            assert!(is_name(name), "{}", name.escape_ascii());
        }
        for name in [&b""[..], b"..", b"../a", b"a/..", b"a\\..\\b", b"/.."] {
            assert!(!is_name(name), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn variables_follow_fsck_rules() {
        for (content, expected) in [
            ("[submodule \"a\"]\npath = a\nurl = ../a\nupdate = merge\n", "fine"),
            ("[submodule \"a\"]\nURL = -a", "gitmodulesUrl"),
            ("[Submodule \"a\"]\nurl = \"\\\n-a\"", "gitmodulesUrl"),
            ("[submodule.a]\npath = -a", "gitmodulesPath"),
            ("[submodule \"a\"]\nupdate = !a", "gitmodulesUpdate"),
            ("[submodule \"a/..\"]\nx", "gitmodulesName"),
            ("[submodule \"\"]\nx = 1", "gitmodulesName"),
            ("[submodule \"..\"]\n", "fine"),
            ("[submodule]\nurl = -a\n[other \"a\"]\nurl = -a\n[submodules \"a\"]\nurl = -a", "fine"),
            ("[submodule \"a\"]\nurl\npath\nupdate\nuri = -a", "fine"),
            ("[submodule \"a\"]\nurl = -a\n[", "gitmodulesUrl"),
            ("[\n[submodule \"a\"]\nurl = -a\n", "fine"),
            ("[submodule \"...x\0\"]\nurl = -a\n", "gitmodulesName"),
            ("[submodule \"a.url\0\"]\nx = -a\n", "gitmodulesUrl"),
            ("[submodule \"a\0\"]\nurl = -a\n", "fine"),
            ("\u{feff}[submodule \"a\"]\nurl = -a\n", "gitmodulesUrl"),
        ] {
            assert_eq!(msg_id(fsck_gitmodules(content.as_bytes())), expected, "{content:?}");
        }
    }

    #[test]
    fn file_and_blob_parsers_are_both_checked() {
        for content in [&b"[submodule \"a\"]\npath=\xff\nurl=-a\n"[..], b"\r\xff[submodule \"a\"]\nurl=-a\n"]
        {
            assert_eq!(msg_id(fsck_gitmodules(content)), "gitmodulesUrl", "{}", content.escape_ascii());
        }
    }

    #[test]
    fn long_values_are_truncated_in_messages() {
        let Err(FsckError(why)) =
            fsck_gitmodules(format!("[submodule \"a\"]\npath = -{}", "a".repeat(5000)).as_bytes())
        else {
            panic!("is accepted")
        };
        assert!(why.len() < 300, "{why}");
    }
}
