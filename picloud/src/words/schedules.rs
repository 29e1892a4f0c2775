//! What people read of schedules that are held.

use super::{printable, time};
use crate::rest::{Held, ResumedAll};

/// The verb that ends the hold.
pub(crate) const RESUME_ALL: &str = "picloud resume --all";

/// That the schedules of all apps are held, and the way out.
pub(crate) fn held(held: &Held) -> String {
    format!(
        "those of all apps are held since {} by {}; resume them with  {RESUME_ALL}",
        time(held.since),
        printable(&held.by)
    )
}

/// The schedules of all apps go on.
pub(crate) fn resumed_all(done: &ResumedAll) -> String {
    match &done.held {
        Some(held) => format!(
            "The schedules of all apps run again ({}); they were held since {} by {}. What was due meanwhile is recorded as skipped.\n",
            super::count(done.resumed, "schedule"),
            time(held.since),
            printable(&held.by)
        ),
        None => "The schedules of all apps are not held.\n".to_owned(),
    }
}
