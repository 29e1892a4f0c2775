//! `[[schedules]]`: what runs by the clock.

use std::ops::Range;

use crate::cron::{Cron, EitherDay};
use crate::diagnostic::quoted;
use crate::limits::Ceiling;
use crate::manifest::{CatchUp, Overlap, Schedule};
use crate::name::JobName;
use crate::source::Source;
use crate::table::{Keys, Table, Value};
use crate::zone::{Meant, Zone, is_slip, meant, zone_data};

use super::scripts::Scripts;
use super::{Job, job_name};

pub(super) const KEYS: Keys =
    Keys { known: &["name", "cron", "timezone", "script", "overlap", "catch_up"], not_yet: &[] };

const OVERLAPS: [(&str, Overlap); 2] = [("skip", Overlap::Skip), ("allow", Overlap::Allow)];

const CATCH_UPS: [(&str, CatchUp); 2] = [("once", CatchUp::Once), ("none", CatchUp::None)];

/// One of `[[schedules]]` as far as it could be read.
pub(super) struct Draft {
    pub(super) job: Job<Schedule>,
    /// How often it runs within a minute, and where that is said.
    rate: Option<(u32, Range<usize>)>,
}

/// Reads one of `[[schedules]]`.
pub(super) fn read(value: Value<'_>, scripts: &mut Scripts<'_>, source: &mut Source<'_>) -> Draft {
    let Some(table) = value.table("[[schedules]]", &KEYS, source) else {
        return Draft { job: Job { name: None, job: None }, rate: None };
    };
    let name = job_name(&table, source);
    let who = match &name {
        Some((name, _)) => format!("schedule `{name}`: "),
        None => String::new(),
    };
    let zone = zone(&table, &who, source);
    let cron = cron(&table, zone.clone(), &who, source);
    let rate = cron.as_ref().map(Cron::runs_per_minute).zip(table.get("cron").map(|cron| cron.span()));
    let script = scripts.read(&table, source);
    let overlap = choice(&table, "overlap", &OVERLAPS, &who, source);
    let catch_up = choice(&table, "catch_up", &CATCH_UPS, &who, source);
    let whole = |name: JobName| {
        zone?;
        Some(Schedule { name, cron: cron?, script: script?, overlap: overlap?, catch_up: catch_up? })
    };
    let job = name.clone().and_then(|(name, _)| whole(name));
    Draft { job: Job { name, job }, rate }
}

/// Refuses schedules that run more often together than is granted, at the first one that is too much. Each counts with the runs of a
/// minute in which it is due, at whatever times of day.
pub(super) fn refuse_too_many_runs(drafts: &[Draft], ceiling: &Ceiling, source: &mut Source<'_>) {
    let (most, mut asked, mut first) = (u64::from(ceiling.schedule_runs), 0, None);
    for (runs, span) in drafts.iter().filter_map(|draft| draft.rate.as_ref()) {
        asked += u64::from(*runs);
        if asked > most {
            first.get_or_insert(span);
        }
    }
    if let Some(span) = first {
        let by = ceiling.granted_by();
        let message = format!(
            "the schedules run up to {asked} times a minute together, more than the {most} times a minute that {by}"
        );
        let raise = ceiling.help("schedule-runs", &asked.to_string());
        source.error_with(span.clone(), message, Some(format!("run some of them less often; {raise}")));
    }
}

fn zone(table: &Table<'_>, who: &str, source: &mut Source<'_>) -> Option<Zone> {
    let Some(value) = table.get("timezone") else { return Some(Zone::utc()) };
    let text = value.string(source)?;
    let (zone, damaged) = zone_data().find(text.value);
    match (&zone, damaged) {
        (Some(_), None) => {}
        (Some(_), Some(damaged)) => {
            let message = format!("{who}{damaged}; the zone data that comes with PiCloud takes its place");
            source.warning(text.span, message, REINSTALL.to_owned());
        }
        (None, Some(damaged)) => {
            let message = format!("{who}the data of {} cannot be read: {damaged}", quoted(text.value));
            source.error_with(text.span, message, Some(REINSTALL.to_owned()));
        }
        (None, None) => {
            let help = zone_meant(text.value, source);
            let message = format!("{who}{} is not an IANA time zone", quoted(text.value));
            source.error_with(text.span, message, Some(help));
        }
    }
    zone
}

/// What to write for a zone that is none.
fn zone_meant(text: &str, source: &mut Source<'_>) -> String {
    const A_PLACE: &str = "such as `Europe/Berlin`";
    match meant(text, zone_data()) {
        Some(Meant::Abbreviation(place)) => {
            format!("write a place, such as `{place}`: abbreviations are of several zones")
        }
        Some(Meant::Utc) => "write `UTC`".to_owned(),
        Some(Meant::Hours(hours, zone)) => {
            let side = if hours > 0 { "ahead of" } else { "behind" };
            let hours = match hours.abs() {
                1 => "an hour".to_owned(),
                hours => format!("{hours} hours"),
            };
            format!(
                "write `{zone}`, always {hours} {side} UTC in spite of its sign, or a place, which knows summer time"
            )
        }
        Some(Meant::Place(place)) => format!("write a place, such as `{place}`"),
        Some(Meant::Zone(zone)) => format!("did you mean `{zone}`?"),
        // Short names are all near to one another, and mean other places.
        None if !text.contains('/') && text.len() < 6 => A_PLACE.to_owned(),
        None => {
            let names = zone_data().names();
            let alike = names.iter().copied().filter(|name| name.contains('/') == text.contains('/'));
            let near = source.nearest(text, alike).filter(|near| is_slip(text, near));
            near.map_or_else(|| A_PLACE.to_owned(), |near| format!("did you mean `{near}`?"))
        }
    }
}

/// What helps where the system's data of a zone is damaged.
const REINSTALL: &str = "install the system's package tzdata again";

/// The expression is looked at where the zone is wrong too.
fn cron(table: &Table<'_>, zone: Option<Zone>, who: &str, source: &mut Source<'_>) -> Option<Cron> {
    let text = table.require_string("cron", source)?;
    match Cron::parse(text.value, zone.unwrap_or_else(Zone::utc)) {
        Ok(cron) => {
            if let Some((digits, named)) = cron.with_named_weekdays() {
                let message =
                    format!("{who}weekday {} in {} is written in digits", quoted(digits), quoted(text.value));
                source.warning(
                    text.span.clone(),
                    message,
                    format!("write `{named}`: elsewhere 0 can be another day than Sunday"),
                );
            }
            if let Some(EitherDay { day, weekday, nth }) = cron.either_day() {
                let message = format!(
                    "{who}{} is due on days {day} of the month, and on {weekday} in every week: as in a crontab, either is enough",
                    quoted(text.value)
                );
                let help = nth.map_or_else(
                    || "where this is meant, two schedules say so more plainly".to_owned(),
                    |nth| format!("write `{nth}` for that weekday in that week of the month"),
                );
                source.warning(text.span, message, help);
            }
            Some(cron)
        }
        Err(error) => {
            source.error_with(text.span, format!("{who}{error}"), error.help());
            None
        }
    }
}

/// What `key` chooses of `choices`; the first where it is not there.
fn choice<T: Copy>(
    table: &Table<'_>,
    key: &'static str,
    choices: &[(&'static str, T); 2],
    who: &str,
    source: &mut Source<'_>,
) -> Option<T> {
    let [(first, default), (second, _)] = choices;
    let Some(value) = table.get(key) else { return Some(*default) };
    let Some(text) = value.as_str() else {
        return value.refuse(&format!("`{first}` or `{second}`"), None, source);
    };
    let chosen = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
    if chosen.is_none() {
        let near = source.did_you_mean(text, choices.iter().map(|(name, _)| *name));
        let message = format!("{who}`{key}` must be `{first}` or `{second}`, not {}", quoted(text));
        source.error_with(value.span(), message, near);
    }
    chosen
}
