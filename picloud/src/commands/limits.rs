//! `picloud apps limits`: shows or changes the limits of an app.

use super::error::CommandError;
use super::output::show;
use crate::api_types::{AppLimits, LimitChanges};
use crate::cli::{AppLimitsArgs, OrDefault};
use crate::client::{AppArg, Client};
use crate::render;

pub(crate) fn limits(option: &AppLimitsArgs) -> Result<(), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&AppArg { app: option.app.clone() })?;
    let path = format!("apps/{}/limits", app.as_str());
    let changes = changes(option);
    let limits: AppLimits = match changes == LimitChanges::default() {
        true => client.get(&path)?,
        false => client.send("PATCH", &path, Some(&changes))?,
    };
    show(&limits, option.client.json, render::limits::list)
}

fn changes(option: &AppLimitsArgs) -> LimitChanges {
    LimitChanges {
        memory_share_bytes: value(option.memory_share, |size| size.0),
        disk_bytes: value(option.disk, |size| size.0),
        state_bytes: value(option.state, |size| size.0),
        previews: value(option.previews, |number| number.0),
        schedule_runs_per_minute: value(option.schedule_runs_per_minute, |number| number.0),
        timeout_ms: value(option.timeout, |time| u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX)),
        operations: value(option.operations, |number| number.0),
        script_memory_bytes: value(option.script_memory, |size| size.0),
        body_bytes: value(option.body, |size| size.0),
        concurrency: value(option.concurrency, |number| number.0),
        schedules: value(option.schedules, |number| number.0),
    }
}

/// A change of a limit in the API: `None` leaves it, `Some(None)` resets it to the default.
fn value<T>(change: Option<OrDefault<T>>, number: impl Fn(T) -> u64) -> Option<Option<u64>> {
    change.map(|OrDefault(value)| value.map(number))
}
