//! The zone that was probably meant by what is none: an abbreviation, an offset, a city.

use super::ZoneData;

/// Abbreviations, which several zones share and which change with the season, and a place of the zone that most mean by it.
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

/// Offsets that are no whole hours, in minutes ahead of UTC, and a place that has them.
const BROKEN_OFFSETS: [(i32, &str); 9] = [
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

/// What a text that is no zone is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// An abbreviation, and a place that it is used in.
    Abbreviation(&'static str),
    /// UTC by another name.
    Utc,
    /// So many hours ahead of UTC, by the zone that always is.
    Hours(i32, String),
    /// An offset that this place has.
    Place(&'static str),
    /// A zone by a part of its name.
    Zone(String),
}

/// What `text` was meant to be, as far as `data` has that.
pub(crate) fn meant(text: &str, data: &ZoneData) -> Option<Meant> {
    if let Some((_, place)) = ABBREVIATIONS.iter().find(|(short, _)| short.eq_ignore_ascii_case(text)) {
        return known(place, data).then_some(Meant::Abbreviation(place));
    }
    offset(text, data).or_else(|| city(text, data))
}

fn known(name: &str, data: &ZoneData) -> bool {
    data.names().contains(&name)
}

/// `UTC+2`, `GMT-08:00`, `+05:30`, `Z`.
fn offset(text: &str, data: &ZoneData) -> Option<Meant> {
    let upper = text.trim().to_ascii_uppercase();
    let rest = upper.strip_prefix("UTC").or_else(|| upper.strip_prefix("GMT")).unwrap_or(&upper).trim();
    if matches!(rest, "Z" | "ZULU") {
        return Some(Meant::Utc);
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
        return Some(Meant::Utc);
    }
    if minutes == 0 {
        // These names count from Greenwich to UTC: the sign is the other way round.
        let name = format!("Etc/GMT{}{hours}", if sign > 0 { '-' } else { '+' });
        return known(&name, data).then_some(Meant::Hours(sign * hours, name));
    }
    let (_, place) = BROKEN_OFFSETS.iter().find(|(minutes, _)| *minutes == ahead)?;
    known(place, data).then_some(Meant::Place(place))
}

/// `Berlin`, `new york`, `America/New York`.
fn city(text: &str, data: &ZoneData) -> Option<Meant> {
    let wanted = text.trim().replace(' ', "_");
    let is_it = |name: &&&str| {
        name.eq_ignore_ascii_case(&wanted)
            || name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&wanted))
    };
    data.names().iter().find(is_it).map(|name| Meant::Zone((*name).to_owned()))
}
