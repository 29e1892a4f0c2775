//! The capabilities of a client, from the first command of its push.

/// The report format that a client requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportStatus {
    /// `report-status`.
    V1,
    /// `report-status-v2`.
    V2,
}

/// The capabilities that a client requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    report: Option<ReportStatus>,
    sideband: bool,
    quiet: bool,
    atomic: bool,
    push_options: bool,
    object_format: Option<String>,
    agent: Option<String>,
}

impl Capabilities {
    /// Parses the list after the NUL of the first command. Unknown capabilities are ignored, as in git.
    pub(crate) fn parse(list: &[u8]) -> Self {
        let mut capabilities = Self::default();
        for word in String::from_utf8_lossy(list).split_ascii_whitespace() {
            match word.split_once('=') {
                Some(("agent", agent)) => capabilities.agent = Some(agent.chars().take(200).collect()),
                Some(("object-format", format)) => capabilities.object_format = Some(format.to_owned()),
                _ => capabilities.set(word),
            }
        }
        capabilities
    }

    fn set(&mut self, word: &str) {
        match word {
            "report-status" => self.report = self.report.or(Some(ReportStatus::V1)),
            "report-status-v2" => self.report = Some(ReportStatus::V2),
            "side-band-64k" => self.sideband = true,
            "quiet" => self.quiet = true,
            "atomic" => self.atomic = true,
            "push-options" => self.push_options = true,
            _ => {}
        }
    }

    /// The requested report format; `None` if the client reads no report.
    pub fn report_status(&self) -> Option<ReportStatus> {
        self.report
    }

    /// Whether the response is multiplexed over the sideband.
    pub fn sideband(&self) -> bool {
        self.sideband
    }

    /// Whether the client requests no progress (`git push -q`). git also sets it if its standard error is not a terminal, as
    /// in CI, unless `--progress` is given; the result of the push is printed anyway.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// Whether either all refs are updated or none.
    pub fn atomic(&self) -> bool {
        self.atomic
    }

    /// Whether push options follow the commands.
    pub(crate) fn push_options(&self) -> bool {
        self.push_options
    }

    /// The object format of the push; SHA-1 by default.
    pub(crate) fn object_format(&self) -> &str {
        self.object_format.as_deref().unwrap_or("sha1")
    }

    /// The client's agent string.
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_capabilities_are_ignored() {
        let read =
            Capabilities::parse(b" report-status-v2 report-status side-band-64k new-thing=1 agent=git/2.47");
        assert_eq!(read.report_status(), Some(ReportStatus::V2));
        assert!(read.sideband() && !read.quiet() && !read.atomic());
        assert_eq!((read.agent(), read.object_format()), (Some("git/2.47"), "sha1"));
    }
}
