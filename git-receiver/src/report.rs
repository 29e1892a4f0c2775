//! The response to a push: progress and errors on sideband 2, the report on sideband 1 (gitprotocol-pack, "Report Status").
//! The functions only encode; the caller sends the result.

use bytes::Bytes;

use crate::Capabilities;
use crate::pkt_line::{self, FLUSH, PAYLOAD_MAX, write, write_sideband};

const REPORT_BAND: u8 = 1;
const PROGRESS_BAND: u8 = 2;

/// An empty packet on sideband 1, which clients ignore; it keeps the connection alive.
const KEEPALIVE: &[u8] = b"0005\x01";

/// Text for the user, shown with the prefix `remote: `. Empty without a sideband.
pub fn progress(capabilities: &Capabilities, text: &str) -> Bytes {
    let mut out = Vec::new();
    if capabilities.sideband() && !text.is_empty() {
        write_sideband(&mut out, PROGRESS_BAND, text.as_bytes());
    }
    out.into()
}

/// A keepalive packet. Empty without a sideband.
pub fn keepalive(capabilities: &Capabilities) -> Bytes {
    Bytes::from_static(if capabilities.sideband() { KEEPALIVE } else { b"" })
}

/// The final report: the unpack status, and `ok` or `ng` for each ref.
pub fn report(
    capabilities: &Capabilities,
    unpacked: Result<(), &str>,
    refs: &[(&str, Result<(), String>)],
) -> Bytes {
    let mut report = Vec::new();
    if capabilities.report_status().is_some() {
        let unpack = unpacked
            .map_or_else(|reason| format!("unpack {}\n", one_line(reason)), |()| "unpack ok\n".to_owned());
        write(&mut report, unpack.as_bytes());
        for (name, result) in refs {
            let line = match result {
                Ok(()) => format!("ok {name}\n"),
                Err(reason) => format!("ng {name} {}\n", one_line(reason)),
            };
            write(&mut report, line.as_bytes());
        }
        report.extend_from_slice(FLUSH);
    }
    if !capabilities.sideband() {
        return report.into();
    }
    let mut out = Vec::new();
    write_sideband(&mut out, REPORT_BAND, &report);
    out.extend_from_slice(FLUSH);
    out.into()
}

/// Reduces a reason to one line of printable text that fits into a packet.
fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = line.floor_char_boundary(line.len().min(PAYLOAD_MAX / 2));
    line[..end].to_owned()
}

/// A fatal error on sideband 3.
pub(crate) fn fatal(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_sideband(&mut out, 3, one_line(text).as_bytes());
    out
}

/// A fatal error outside the sideband (gitprotocol-pack, "ERR").
pub(crate) fn err_packet(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    pkt_line::write(&mut out, format!("ERR {}\n", one_line(text)).as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFS: [(&str, Result<(), String>); 1] = [("refs/heads/main", Ok(()))];

    #[test]
    fn report_has_the_result_of_each_ref() {
        let unframed = Capabilities::parse(b"report-status");
        let refs = [("refs/heads/a", Ok(())), ("refs/heads/b", Err("two\nlines".to_owned()))];
        let encoded = report(&unframed, Ok(()), &refs);
        assert_eq!(
            encoded.as_ref(),
            b"000eunpack ok\n0014ok refs/heads/a\n001eng refs/heads/b two lines\n0000"
        );
    }

    #[test]
    fn sideband_report_is_nested_in_packets() {
        let framed = Capabilities::parse(b"report-status side-band-64k");
        let encoded = report(&framed, Err("early end"), &REFS);
        assert!(
            encoded.starts_with(b"0035\x010015unpack early end\n") && encoded.ends_with(b"00000000"),
            "{encoded:?}"
        );
        assert_eq!(progress(&framed, "hi\n").as_ref(), b"0008\x02hi\n");
        assert_eq!(keepalive(&framed).as_ref(), b"0005\x01");
    }

    #[test]
    fn client_without_capabilities_gets_nothing() {
        let without_capabilities = Capabilities::default();
        assert!(
            progress(&without_capabilities, "hi").is_empty()
                && keepalive(&without_capabilities).is_empty()
                && report(&without_capabilities, Ok(()), &REFS).is_empty()
        );
    }
}
