//! `[[schedules]]`: scripts that run on a schedule.

use std::ops::Range;

use crate::cron::{Cron, EitherDay};
use crate::diagnostic::quoted;
use crate::limits::Ceiling;
use crate::manifest::{CatchUp, Overlap, Schedule};
use crate::name::JobName;
use crate::sdk::SdkVersion;
use crate::source::Source;
use crate::table::{Keys, Table, Value};
use crate::zone::{Zone, ZoneSuggestion, is_typo, suggest, zone_data};

use super::scripts::Scripts;
use super::{JobDraft, job_name, limits};

pub(super) const KEYS: Keys =
    Keys { known: &["name", "cron", "timezone", "script", "overlap", "catch_up", "timeout"], reserved: &[] };

const OVERLAPS: [(&str, Overlap); 2] = [("skip", Overlap::Skip), ("allow", Overlap::Allow)];

const CATCH_UPS: [(&str, CatchUp); 2] = [("once", CatchUp::Once), ("none", CatchUp::None)];

/// A partially parsed schedule.
pub(super) struct ScheduleDraft {
    pub(super) job: JobDraft<Schedule>,
    /// Its runs per minute, and the range of its `cron`.
    rate: Option<(u32, Range<usize>)>,
}

/// Reads one `[[schedules]]` table.
pub(super) fn read(
    value: Value<'_>,
    (sdk, ceiling): (Option<SdkVersion>, &Ceiling),
    scripts: &mut Scripts<'_>,
    source: &mut Source<'_>,
) -> ScheduleDraft {
    let Some(table) = value.table("[[schedules]]", &KEYS, source) else {
        return ScheduleDraft { job: JobDraft { name: None, job: None }, rate: None };
    };
    let name = job_name(&table, source);
    let subject = match &name {
        Some((name, _)) => format!("schedule `{name}`: "),
        None => String::new(),
    };
    let zone = zone(&table, &subject, source);
    let cron = cron(&table, zone.clone(), &subject, source);
    let rate = cron.as_ref().map(Cron::runs_per_minute).zip(table.get("cron").map(|cron| cron.span()));
    let script = scripts.read(&table, source);
    let overlap = choice(&table, "overlap", &OVERLAPS, &subject, source);
    let catch_up = choice(&table, "catch_up", &CATCH_UPS, &subject, source);
    let timeout = limits::timeout_of_schedule(&table, ceiling, sdk, source);
    let schedule = |name: JobName| {
        zone?;
        let (overlap, catch_up) = (overlap?, catch_up?);
        Some(Schedule { name, cron: cron?, script: script?, overlap, catch_up, timeout: timeout? })
    };
    let job = name.clone().and_then(|(name, _)| schedule(name));
    ScheduleDraft { job: JobDraft { name, job }, rate }
}

/// Checks the total runs per minute, and reports the first schedule that exceeds it. Each schedule counts with the
/// runs of a minute in which it is due, whatever its hours.
pub(super) fn check_run_rate(drafts: &[ScheduleDraft], ceiling: &Ceiling, source: &mut Source<'_>) {
    let (max, mut requested, mut first) = (u64::from(ceiling.schedule_runs), 0, None);
    for (runs, span) in drafts.iter().filter_map(|draft| draft.rate.as_ref()) {
        requested += u64::from(*runs);
        if requested > max {
            first.get_or_insert(span);
        }
    }
    if let Some(span) = first {
        let granted_by = ceiling.granted_by();
        let message = format!(
            "the schedules together run up to {requested} times a minute, more than the {max} that {granted_by}"
        );
        let raise = ceiling.help("schedule-runs-per-minute", &requested.to_string());
        source.error_with(span.clone(), message, Some(format!("run some of them less often; {raise}")));
    }
}

fn zone(table: &Table<'_>, subject: &str, source: &mut Source<'_>) -> Option<Zone> {
    let Some(value) = table.get("timezone") else { return Some(Zone::utc()) };
    let text = value.string(source)?;
    let (zone, damaged) = zone_data().find(text.value);
    match (&zone, damaged) {
        (Some(_), None) => {}
        (Some(_), Some(damaged)) => {
            let message = format!("{subject}{damaged}; using the zone data bundled with PiCloud");
            source.warning(text.span, message, REINSTALL.to_owned());
        }
        (None, Some(damaged)) => {
            let message = format!("{subject}cannot read the time zone {}: {damaged}", quoted(text.value));
            source.error_with(text.span, message, Some(REINSTALL.to_owned()));
        }
        (None, None) => {
            let help = zone_help(text.value, source);
            let message = format!("{subject}{} is not an IANA time zone", quoted(text.value));
            source.error_with(text.span, message, Some(help));
        }
    }
    zone
}

/// The help for an unknown zone.
fn zone_help(text: &str, source: &mut Source<'_>) -> String {
    const A_PLACE: &str = "such as `Europe/Berlin`";
    match suggest(text, zone_data()) {
        Some(ZoneSuggestion::Abbreviation(place)) => {
            format!("write a location, such as `{place}`: abbreviations are ambiguous")
        }
        Some(ZoneSuggestion::Utc) => "write `UTC`".to_owned(),
        Some(ZoneSuggestion::Hours(hours, zone)) => {
            let side = if hours > 0 { "ahead of" } else { "behind" };
            let hours = match hours.abs() {
                1 => "an hour".to_owned(),
                hours => format!("{hours} hours"),
            };
            format!(
                "write `{zone}`, always {hours} {side} UTC despite its sign, or a location, which observes daylight saving time"
            )
        }
        Some(ZoneSuggestion::Place(place)) => format!("write a location, such as `{place}`"),
        Some(ZoneSuggestion::Zone(zone)) => format!("did you mean `{zone}`?"),
        // Short names are all similar, but mean distant places.
        None if !text.contains('/') && text.len() < 6 => A_PLACE.to_owned(),
        None => {
            let names = zone_data().names();
            let alike = names.iter().copied().filter(|name| name.contains('/') == text.contains('/'));
            let near = source.nearest(text, alike).filter(|near| is_typo(text, near));
            near.map_or_else(|| A_PLACE.to_owned(), |near| format!("did you mean `{near}`?"))
        }
    }
}

/// The help for damaged time zone data of the system.
const REINSTALL: &str = "reinstall the system package tzdata";

/// Checks the expression even if the zone is invalid.
fn cron(table: &Table<'_>, zone: Option<Zone>, subject: &str, source: &mut Source<'_>) -> Option<Cron> {
    let text = table.require_string("cron", source)?;
    match Cron::parse(text.value, zone.unwrap_or_else(Zone::utc)) {
        Ok(cron) => {
            if let Some((digits, named)) = cron.with_named_weekdays() {
                let message =
                    format!("{subject}weekday {} in {} is a number", quoted(digits), quoted(text.value));
                source.warning(
                    text.span.clone(),
                    message,
                    format!("write `{named}`: other crons number weekdays differently"),
                );
            }
            if let Some(EitherDay { day, weekday, nth }) = cron.either_day() {
                let message = format!(
                    "{subject}{} is due on days {day} of the month and on every {weekday}: as in crontab(5), either field suffices",
                    quoted(text.value)
                );
                let help = nth.map_or_else(
                    || "if this is intended, two schedules are clearer".to_owned(),
                    |nth| format!("write `{nth}` for that weekday in that week of the month"),
                );
                source.warning(text.span, message, help);
            }
            Some(cron)
        }
        Err(error) => {
            source.error_with(text.span, format!("{subject}{error}"), error.help());
            None
        }
    }
}

/// The value of `key` among `choices`; the first by default.
fn choice<T: Copy>(
    table: &Table<'_>,
    key: &'static str,
    choices: &[(&'static str, T); 2],
    subject: &str,
    source: &mut Source<'_>,
) -> Option<T> {
    let [(first, default), (second, _)] = choices;
    let Some(value) = table.get(key) else { return Some(*default) };
    let Some(text) = value.as_str() else {
        return value.type_error(&format!("`{first}` or `{second}`"), None, source);
    };
    let chosen = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
    if chosen.is_none() {
        let near = source.did_you_mean(text, choices.iter().map(|(name, _)| *name));
        let message = format!("{subject}`{key}` must be `{first}` or `{second}`, not {}", quoted(text));
        source.error_with(value.span(), message, near);
    }
    chosen
}
