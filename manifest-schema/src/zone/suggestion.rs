//! Suggestions for unknown time zones: abbreviations, offsets, cities.

use super::ZoneData;

/// Ambiguous or seasonal abbreviations, and a location in the zone that they usually mean.
const ABBREVIATIONS: [(&str, &str); 44] = [
    ("ACDT", "Australia/Adelaide"),
    ("ACST", "Australia/Adelaide"),
    ("ADT", "America/Halifax"),
    ("AEDT", "Australia/Sydney"),
    ("AEST", "Australia/Sydney"),
    ("AKDT", "America/Anchorage"),
    ("AKST", "America/Anchorage"),
    ("ART", "America/Argentina/Buenos_Aires"),
    ("AST", "America/Halifax"),
    ("AWST", "Australia/Perth"),
    ("BRT", "America/Sao_Paulo"),
    ("BST", "Europe/London"),
    ("CAT", "Africa/Maputo"),
    ("CDT", "America/Chicago"),
    ("CEST", "Europe/Berlin"),
    ("CST", "America/Chicago"),
    ("EAT", "Africa/Nairobi"),
    ("EDT", "America/New_York"),
    ("EEST", "Europe/Athens"),
    ("GST", "Asia/Dubai"),
    ("HKT", "Asia/Hong_Kong"),
    ("ICT", "Asia/Bangkok"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("KST", "Asia/Seoul"),
    ("MDT", "America/Denver"),
    ("MESZ", "Europe/Berlin"),
    ("MEZ", "Europe/Berlin"),
    ("MSK", "Europe/Moscow"),
    ("NDT", "America/St_Johns"),
    ("NST", "America/St_Johns"),
    ("NZDT", "Pacific/Auckland"),
    ("NZST", "Pacific/Auckland"),
    ("PDT", "America/Los_Angeles"),
    ("PHT", "Asia/Manila"),
    ("PKT", "Asia/Karachi"),
    ("PST", "America/Los_Angeles"),
    ("SAST", "Africa/Johannesburg"),
    ("SGT", "Asia/Singapore"),
    ("TRT", "Europe/Istanbul"),
    ("WAT", "Africa/Lagos"),
    ("WEST", "Europe/Lisbon"),
    ("WIB", "Asia/Jakarta"),
    ("WIT", "Asia/Jayapura"),
];

/// Offsets with fractional hours, in minutes ahead of UTC, and a location with that offset.
const FRACTIONAL_OFFSETS: [(i32, &str); 9] = [
    (-210, "America/St_Johns"),
    (210, "Asia/Tehran"),
    (270, "Asia/Kabul"),
    (330, "Asia/Kolkata"),
    (345, "Asia/Kathmandu"),
    (390, "Asia/Yangon"),
    (570, "Australia/Darwin"),
    (630, "Australia/Lord_Howe"),
    (765, "Pacific/Chatham"),
];

/// Cities without a zone of their own, and their zones.
const CITIES: [(&str, &str); 44] = [
    ("atlanta", "America/New_York"),
    ("austin", "America/Chicago"),
    ("bangalore", "Asia/Kolkata"),
    ("barcelona", "Europe/Madrid"),
    ("basel", "Europe/Zurich"),
    ("beijing", "Asia/Shanghai"),
    ("bern", "Europe/Zurich"),
    ("boston", "America/New_York"),
    ("brasilia", "America/Sao_Paulo"),
    ("cape_town", "Africa/Johannesburg"),
    ("capetown", "Africa/Johannesburg"),
    ("cologne", "Europe/Berlin"),
    ("dallas", "America/Chicago"),
    ("delhi", "Asia/Kolkata"),
    ("edinburgh", "Europe/London"),
    ("frankfurt", "Europe/Berlin"),
    ("geneva", "Europe/Zurich"),
    ("hamburg", "Europe/Berlin"),
    ("hannover", "Europe/Berlin"),
    ("hanoi", "Asia/Bangkok"),
    ("houston", "America/Chicago"),
    ("kyoto", "Asia/Tokyo"),
    ("las_vegas", "America/Los_Angeles"),
    ("lyon", "Europe/Paris"),
    ("manchester", "Europe/London"),
    ("miami", "America/New_York"),
    ("milan", "Europe/Rome"),
    ("montreal", "America/Toronto"),
    ("mumbai", "Asia/Kolkata"),
    ("munich", "Europe/Berlin"),
    ("new_delhi", "Asia/Kolkata"),
    ("osaka", "Asia/Tokyo"),
    ("ottawa", "America/Toronto"),
    ("philadelphia", "America/New_York"),
    ("rio_de_janeiro", "America/Sao_Paulo"),
    ("san_francisco", "America/Los_Angeles"),
    ("seattle", "America/Los_Angeles"),
    ("shenzhen", "Asia/Shanghai"),
    ("st_petersburg", "Europe/Moscow"),
    ("stuttgart", "Europe/Berlin"),
    ("venice", "Europe/Rome"),
    ("washington", "America/New_York"),
    ("wellington", "Pacific/Auckland"),
    ("winterthur", "Europe/Zurich"),
];

/// The likely meaning of an unknown zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ZoneSuggestion {
    /// An abbreviation, and a location that uses it.
    Abbreviation(&'static str),
    /// UTC by another name.
    Utc,
    /// Whole hours ahead of UTC, and the zone with that fixed offset.
    Hours(i32, String),
    /// A fractional offset, and a location with it.
    Place(&'static str),
    /// A zone, from a part of its name.
    Zone(String),
}

/// The likely meaning of `text`, if `data` has the zone.
pub(crate) fn suggest(text: &str, data: &ZoneData) -> Option<ZoneSuggestion> {
    if let Some((_, place)) = ABBREVIATIONS.iter().find(|(short, _)| short.eq_ignore_ascii_case(text)) {
        return exists(place, data).then_some(ZoneSuggestion::Abbreviation(place));
    }
    offset(text, data).or_else(|| city(text, data))
}

fn exists(name: &str, data: &ZoneData) -> bool {
    data.names().contains(&name)
}

/// `UTC+2`, `GMT-08:00`, `+05:30`, `Z`.
fn offset(text: &str, data: &ZoneData) -> Option<ZoneSuggestion> {
    let upper = text.trim().to_ascii_uppercase();
    let rest = upper.strip_prefix("UTC").or_else(|| upper.strip_prefix("GMT")).unwrap_or(&upper).trim();
    if matches!(rest, "Z" | "ZULU") {
        return Some(ZoneSuggestion::Utc);
    }
    let (sign, digits) = match rest.strip_prefix('+') {
        Some(digits) => (1, digits),
        None => (-1, rest.strip_prefix(['-', '−'])?),
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok()?),
        None if digits.len() == 4 => (digits.get(..2)?.parse().ok()?, digits.get(2..)?.parse().ok()?),
        None => (digits.parse().ok()?, 0),
    };
    if !(0..=14).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    let ahead = sign * (hours * 60 + minutes);
    if ahead == 0 {
        return Some(ZoneSuggestion::Utc);
    }
    if minutes == 0 {
        // POSIX sign convention: positive is west of Greenwich.
        let name = format!("Etc/GMT{}{hours}", if sign > 0 { '-' } else { '+' });
        return exists(&name, data).then_some(ZoneSuggestion::Hours(sign * hours, name));
    }
    let (_, place) = FRACTIONAL_OFFSETS.iter().find(|(minutes, _)| *minutes == ahead)?;
    exists(place, data).then_some(ZoneSuggestion::Place(place))
}

/// `Berlin`, `new york`, `America/New York`.
fn city(text: &str, data: &ZoneData) -> Option<ZoneSuggestion> {
    let wanted = text.trim().replace(' ', "_");
    let is_it = |name: &&&str| {
        name.eq_ignore_ascii_case(&wanted)
            || name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&wanted))
    };
    if let Some(name) = data.names().iter().find(is_it) {
        return Some(ZoneSuggestion::Zone((*name).to_owned()));
    }
    let city = wanted.rsplit('/').next()?.to_ascii_lowercase();
    let (_, zone) = CITIES.iter().find(|(known, _)| *known == city)?;
    exists(zone, data).then(|| ZoneSuggestion::Zone((*zone).to_owned()))
}

/// Whether the city in `near` is a typo away from that in `text`: distant cities can have similar names.
pub(crate) fn is_typo(text: &str, near: &str) -> bool {
    let city = |name: &str| name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let (text, near) = (city(text), city(near));
    strsim::damerau_levenshtein(&text, &near) <= if text.len() < 8 { 1 } else { 2 }
}
