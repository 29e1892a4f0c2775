//! What the process takes of its machine, as Linux tells it (proc(5)); nothing elsewhere.

use std::fs;
use std::time::SystemTime;

use super::exposition::{Exposition, Kind};

/// Writes what is known, under the names that every exporter uses.
pub(super) fn write(page: &mut Exposition, started: SystemTime) {
    if let Some(bytes) = resident() {
        let help = "Memory that the process occupies.";
        page.single("process_resident_memory_bytes", Kind::Gauge, help, bytes);
    }
    if let Some(seconds) = processor_time() {
        let help = "Time that processors have worked for the process.";
        page.single("process_cpu_seconds_total", Kind::Counter, help, seconds);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.single("process_open_fds", Kind::Gauge, "Open files, sockets among them.", open.count());
    }
    if let Ok(since) = started.duration_since(SystemTime::UNIX_EPOCH) {
        let help = "When the node started, in seconds since 1970.";
        page.single("process_start_time_seconds", Kind::Gauge, help, since.as_secs());
    }
}

fn resident() -> Option<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn processor_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in parentheses and may hold anything; the state is the first field behind it.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    let (user, system) = (ticks(11)?, ticks(12)?);
    Some((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}
