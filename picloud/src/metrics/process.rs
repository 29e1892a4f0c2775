//! The resource usage of the process on Linux (proc(5)).

use std::fs;
use std::time::SystemTime;

use super::exposition::{Exposition, Kind};

/// Writes the standard process metrics.
pub(super) fn write(page: &mut Exposition, started: SystemTime) {
    if let Some(bytes) = resident_bytes() {
        let help = "Resident memory size in bytes.";
        page.single("process_resident_memory_bytes", Kind::Gauge, help, bytes);
    }
    if let Some(seconds) = cpu_seconds() {
        let help = "Total user and system CPU time in seconds.";
        page.single("process_cpu_seconds_total", Kind::Counter, help, seconds);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.single("process_open_fds", Kind::Gauge, "Number of open file descriptors.", open.count());
    }
    if let Ok(since) = started.duration_since(SystemTime::UNIX_EPOCH) {
        let help = "Start time of the process since the Unix epoch in seconds.";
        page.single("process_start_time_seconds", Kind::Gauge, help, since.as_secs());
    }
}

fn resident_bytes() -> Option<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program is in parentheses and can contain anything; the state is the first field after it.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    let (user, system) = (ticks(11)?, ticks(12)?);
    Some((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}
