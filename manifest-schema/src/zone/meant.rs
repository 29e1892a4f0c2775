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

/// Cities that are no zone of their own, and the zone that they are in.
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
    if let Some(name) = data.names().iter().find(is_it) {
        return Some(Meant::Zone((*name).to_owned()));
    }
    let city = wanted.rsplit('/').next()?.to_ascii_lowercase();
    let (_, zone) = CITIES.iter().find(|(known, _)| *known == city)?;
    known(zone, data).then(|| Meant::Zone((*zone).to_owned()))
}

/// Whether `near` is `text` but for a slip or two: cities far from each other can have names that are alike.
pub(crate) fn is_slip(text: &str, near: &str) -> bool {
    let city = |name: &str| name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let (text, near) = (city(text), city(near));
    strsim::damerau_levenshtein(&text, &near) <= if text.len() < 8 { 1 } else { 2 }
}
