//! What a client can and wants, from the first line of its request.

/// How a client wants to be told what became of its push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportStatus {
    /// `report-status`.
    V1,
    /// `report-status-v2`.
    V2,
}

/// The capabilities that a client asked for.
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
    /// Reads the list behind the NUL of the first command. Unknown ones are passed over, as git does.
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

    /// How the client wants to be told; `None`: it does not listen.
    pub fn report_status(&self) -> Option<ReportStatus> {
        self.report
    }

    /// Whether the answer is split into bands.
    pub fn sideband(&self) -> bool {
        self.sideband
    }

    /// Whether the client wants no progress: `git push -q`. Git sets it too where its standard error is no terminal, as in CI, unless it is
    /// called with `--progress`: what came of the push is printed all the same.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// Whether all refs are to be moved or none.
    pub fn atomic(&self) -> bool {
        self.atomic
    }

    /// Whether a list of options follows the commands.
    pub(crate) fn push_options(&self) -> bool {
        self.push_options
    }

    /// The object format of the push; SHA-1 where none is named.
    pub(crate) fn object_format(&self) -> &str {
        self.object_format.as_deref().unwrap_or("sha1")
    }

    /// The program at the other end.
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_and_unknown_ones_passed_over() {
        let read =
            Capabilities::parse(b" report-status-v2 report-status side-band-64k new-thing=1 agent=git/2.47");
        assert_eq!(read.report_status(), Some(ReportStatus::V2));
        assert!(read.sideband() && !read.quiet() && !read.atomic());
        assert_eq!((read.agent(), read.object_format()), (Some("git/2.47"), "sha1"));
    }
}
