//! The credentials file of `picloud login`, in the format of git's `credential-store`: one URL a line.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::percent_encoding::percent_encode;
use super::remote::Remote;

/// The user name of each line. git requires one; servers ignore it.
pub(crate) const USER: &str = "picloud";

/// The path of the file (XDG Base Directory Specification).
///
/// # Errors
/// Neither `XDG_CONFIG_HOME` nor `HOME` is set.
pub(crate) fn file() -> io::Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    let config = config
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "neither XDG_CONFIG_HOME nor HOME is set"))?;
    Ok(config.join("picloud").join("credentials"))
}

/// The token for an origin, `scheme://host:port`.
pub(crate) fn token(origin: &str) -> Option<String> {
    let text = fs::read_to_string(file().ok()?).ok()?;
    entries(&text).find(|entry| entry.base == origin)?.password
}

/// Stores the token for an origin and replaces an earlier one.
pub(crate) fn store(origin: &str, token: &str) -> io::Result<PathBuf> {
    let (scheme, host) = origin.split_once("://").unwrap_or(("https", origin));
    change(origin, Some(&format!("{scheme}://{USER}:{}@{host}\n", percent_encode(token))))
}

/// Erases the token for an origin.
pub(crate) fn erase(origin: &str) -> io::Result<PathBuf> {
    change(origin, None)
}

/// The origin of a URL. A token is valid for all paths of an origin.
pub(crate) fn origin(base: &str) -> &str {
    let after = base.find("://").map_or(0, |at| at + 3);
    base[after..].find('/').map_or(base, |end| &base[..after + end])
}

fn entries(text: &str) -> impl Iterator<Item = Remote> {
    text.lines().filter_map(|line| Remote::find(Some(line)).ok())
}

/// Rewrites the file atomically, readable only by its owner.
fn change(origin: &str, line: Option<&str>) -> io::Result<PathBuf> {
    let path = file()?;
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let is_other = |line: &&str| entries(line).next().is_none_or(|entry| entry.base != origin);
    let mut new: String = text.lines().filter(is_other).map(|line| format!("{line}\n")).collect();
    new += line.unwrap_or_default();
    write(&path, &new)?;
    Ok(path)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&partial, path)
        });
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_valid_for_all_paths_of_an_origin() {
        for (base, expected) in [
            ("https://pi.example.com", "https://pi.example.com"),
            ("https://example.com/cloud", "https://example.com"),
            ("http://[::1]:8080/a/b", "http://[::1]:8080"),
        ] {
            assert_eq!(origin(base), expected);
        }
    }

    #[test]
    fn written_line_is_parsed_back() {
        let token = "a:b@c/d%e?f#g";
        let line = format!("https://{USER}:{}@pi:8443\n", percent_encode(token));
        let entry = entries(&line).next().unwrap();
        assert_eq!((entry.base.as_str(), entry.password.as_deref()), ("https://pi:8443", Some(token)));
    }
}
