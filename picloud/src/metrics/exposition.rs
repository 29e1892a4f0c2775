//! The Prometheus text format, version 0.0.4. Label values need no escaping: they are app names and constants.

use std::fmt::{Display, Write as _};

use platform::histogram::Buckets;

/// The content type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The type of a metric family.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// The text under construction.
#[derive(Default)]
pub(super) struct Exposition(String);

/// The current metric family.
pub(super) struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
}

impl Exposition {
    /// Starts a family. All its samples must follow immediately.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.begin(name, kind, help)
    }

    /// Starts a family of histograms of durations.
    pub(super) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.begin(name, "histogram", help)
    }

    /// Writes a family with a single sample.
    pub(super) fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let text = &mut self.0;
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { text, name }
    }
}

impl Family<'_> {
    /// Writes a sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// Writes a histogram, in seconds.
    pub(super) fn buckets(&mut self, labels: &[(&str, &str)], buckets: &Buckets) {
        let mut cumulative = 0;
        for (at, count) in buckets.counts.iter().enumerate() {
            cumulative += count;
            let end =
                buckets.bounds.get(at).map_or_else(|| "+Inf".to_owned(), |end| end.as_secs_f64().to_string());
            self.line("_bucket", labels, Some(&end), cumulative);
        }
        self.line("_sum", labels, None, buckets.sum.as_secs_f64());
        self.line("_count", labels, None, cumulative);
    }

    /// Writes a histogram of numbers. `counts` has one more than `bounds`, for those above all of them.
    pub(super) fn number_buckets(&mut self, bounds: &[u64], counts: &[u64], sum: u64) {
        let mut cumulative = 0;
        for (at, count) in counts.iter().enumerate() {
            cumulative += count;
            let end = bounds.get(at).map_or_else(|| "+Inf".to_owned(), u64::to_string);
            self.line("_bucket", &[], Some(&end), cumulative);
        }
        self.line("_sum", &[], None, sum);
        self.line("_count", &[], None, cumulative);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], end: Option<&str>, value: impl Display) {
        let (text, name) = (&mut *self.text, self.name);
        let _ = write!(text, "{name}{suffix}");
        let all = labels.iter().copied().chain(end.map(|end| ("le", end)));
        for (at, (label, value)) in all.enumerate() {
            let _ = write!(text, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(text, "{} {value}", if labels.is_empty() && end.is_none() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn families_are_written_in_the_text_format() {
        const BOUNDS: [Duration; 2] = [Duration::from_micros(100), Duration::from_secs(1)];
        let mut page = Exposition::default();
        page.single("up", Kind::Gauge, "Whether it is up.", 1);
        let buckets = Buckets { bounds: &BOUNDS, counts: vec![3, 2, 1], sum: Duration::from_millis(1500) };
        page.histogram("took_seconds", "How long it took.").buckets(&[("app", "a")], &buckets);
        assert_eq!(
            page.into_text(),
            "# HELP up Whether it is up.\n# TYPE up gauge\nup 1\n\
             # HELP took_seconds How long it took.\n# TYPE took_seconds histogram\n\
             took_seconds_bucket{app=\"a\",le=\"0.0001\"} 3\n\
             took_seconds_bucket{app=\"a\",le=\"1\"} 5\n\
             took_seconds_bucket{app=\"a\",le=\"+Inf\"} 6\n\
             took_seconds_sum{app=\"a\"} 1.5\n\
             took_seconds_count{app=\"a\"} 6\n"
        );
    }
}
