//! Protocols v0 and v1 (gitprotocol-pack, "Packfile Negotiation"): the wants, then rounds of haves, then the pack.

use gix_hash::ObjectId;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{
    FetchRequest, LINE_BYTES, LINES_MAX, RpcMode, UploadError, check_wants, common, negotiation, pack_writer,
    walk,
};
use crate::Repository;
use crate::memory::Reservation;
use crate::pkt_line::{self, FLUSH, Packet, write};

/// How the client wants common commits to be acknowledged.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum AckMode {
    /// Only the first one.
    #[default]
    First,
    /// `multi_ack`.
    Multi,
    /// `multi_ack_detailed`.
    MultiDetailed,
}

#[derive(Default)]
struct Negotiation {
    fetch: FetchRequest,
    haves: Vec<ObjectId>,
    ack_mode: AckMode,
    sideband: Option<pack_writer::Sideband>,
    /// The number of lines so far.
    lines: usize,
    reservation: Option<Reservation>,
}

/// The end of a round of haves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RoundEnd {
    /// A flush: the client waits for acknowledgments and can continue.
    Flush,
    /// The client requests the pack.
    Done,
    /// The client disconnected or wants nothing more: over HTTP, a shallow client first fetches only the shallow section.
    Closed,
}

pub(super) async fn serve<R: Repository>(
    repository: &R,
    input: &mut (impl AsyncRead + Send + Unpin),
    mode: RpcMode,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let mut negotiation =
        Negotiation { reservation: Some(Reservation::new(&repository.memory())), ..Negotiation::default() };
    negotiation.read_wants(input).await?;
    if negotiation.fetch.wants.is_empty() {
        // A flush without wants: the client only wanted the advertisement.
        return Ok(());
    }
    check_wants(repository, &negotiation.fetch.wants).await?;
    if negotiation.fetch.depth.is_some() {
        let mut out = Vec::new();
        walk::shallow_info(repository, &negotiation.fetch).await?.write_lines(&mut out);
        out.extend_from_slice(FLUSH);
        output.write_all(&out).await?;
        output.flush().await?;
    }
    loop {
        let before = negotiation.haves.len();
        let end = negotiation.read_haves(input, mode).await?;
        if end == RoundEnd::Closed {
            return Ok(());
        }
        let found = common(repository, &negotiation.haves[before..]).await?;
        let mut out = negotiation.acknowledge(found);
        let ready = end == RoundEnd::Flush
            && negotiation.ack_mode == AckMode::MultiDetailed
            && negotiation::ok_to_give_up(repository, &negotiation.fetch.wants, &negotiation.fetch.common)
                .await?;
        negotiation.end_round(end, ready, &mut out);
        output.write_all(&out).await?;
        match (end, mode) {
            (RoundEnd::Done, _) => break,
            (_, RpcMode::Stateless) => return Ok(()),
            (_, RpcMode::Stateful) => output.flush().await?,
        }
    }
    let selection = walk::select(repository, &negotiation.fetch).await?;
    let sideband = negotiation.sideband.unwrap_or(pack_writer::Sideband::None);
    pack_writer::send(repository, selection, negotiation.fetch.format, sideband, output).await?;
    if sideband != pack_writer::Sideband::None {
        output.write_all(FLUSH).await?;
    }
    Ok(())
}

impl Negotiation {
    /// Reads the section before the haves: wants with capabilities, shallow lines and deepen lines.
    async fn read_wants(&mut self, input: &mut (impl AsyncRead + Send + Unpin)) -> Result<(), UploadError> {
        while let Some(Packet::Data(line)) = pkt_line::next(input).await? {
            let line = text(&line);
            let first_want = self.fetch.wants.is_empty().then(|| line.strip_prefix("want ")).flatten();
            match first_want.and_then(|rest| rest.split_once(' ')) {
                Some((id, capabilities)) => {
                    self.capabilities(capabilities);
                    self.take(&format!("want {id}"))?;
                }
                None => self.take(&line)?,
            }
        }
        Ok(())
    }

    /// Reads a round of haves. A stateless request is one round, however its haves are grouped.
    async fn read_haves(
        &mut self,
        input: &mut (impl AsyncRead + Send + Unpin),
        mode: RpcMode,
    ) -> Result<RoundEnd, UploadError> {
        let mut end = RoundEnd::Closed;
        while let Some(packet) = pkt_line::next(input).await? {
            let Packet::Data(line) = packet else {
                if mode == RpcMode::Stateful {
                    return Ok(RoundEnd::Flush);
                }
                end = RoundEnd::Flush;
                continue;
            };
            let line = text(&line);
            if line == "done" {
                return Ok(RoundEnd::Done);
            }
            self.take(&line)?;
            if mode == RpcMode::Stateless {
                end = RoundEnd::Flush;
            }
        }
        Ok(end)
    }

    fn take(&mut self, line: &str) -> Result<(), UploadError> {
        self.lines += 1;
        if self.lines > LINES_MAX {
            return Err(UploadError::Rejected("the request is too large".to_owned()));
        }
        if let Some(reservation) = &mut self.reservation {
            reservation.try_grow(LINE_BYTES)?;
        }
        if self.fetch.take(line, &mut self.haves)? {
            return Ok(());
        }
        Err(UploadError::Rejected(format!("unknown line `{}`", line.escape_debug())))
    }

    fn capabilities(&mut self, list: &str) {
        for word in list.split_ascii_whitespace() {
            match word {
                "multi_ack" if self.ack_mode == AckMode::First => self.ack_mode = AckMode::Multi,
                "multi_ack_detailed" => self.ack_mode = AckMode::MultiDetailed,
                "side-band-64k" => self.sideband = Some(pack_writer::Sideband::Large),
                "side-band" if self.sideband.is_none() => self.sideband = Some(pack_writer::Sideband::Small),
                "include-tag" => self.fetch.include_tag = true,
                "deepen-relative" => self.fetch.depth.get_or_insert_default().relative = true,
                word => drop(self.fetch.format.take(word)),
            }
        }
    }

    /// Records the common commits of a round, and encodes the acknowledgments.
    fn acknowledge(&mut self, found: Vec<ObjectId>) -> Vec<u8> {
        let mut out = Vec::new();
        let word = match self.ack_mode {
            AckMode::MultiDetailed => " common",
            AckMode::Multi => " continue",
            AckMode::First => "",
        };
        // Without multi_ack, only the very first common commit is acknowledged.
        let acked = match self.ack_mode {
            AckMode::First => usize::from(self.fetch.common.is_empty()),
            AckMode::Multi | AckMode::MultiDetailed => found.len(),
        };
        for id in found.iter().take(acked) {
            write(&mut out, format!("ACK {id}{word}\n").as_bytes());
        }
        self.fetch.common.extend(found);
        out
    }

    /// Encodes the last lines of a round; `ready`: negotiation can stop.
    fn end_round(&self, end: RoundEnd, ready: bool, out: &mut Vec<u8>) {
        match (self.fetch.common.last(), end, self.ack_mode) {
            (Some(_), _, AckMode::First) => {}
            (Some(last), RoundEnd::Done, _) => write(out, format!("ACK {last}\n").as_bytes()),
            (last, ..) => {
                if let (Some(last), true) = (last, ready) {
                    write(out, format!("ACK {last} ready\n").as_bytes());
                }
                write(out, b"NAK\n");
            }
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(pkt_line::text(line)).into_owned()
}
