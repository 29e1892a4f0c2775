//! The exchange of the original protocol (gitprotocol-pack, "Packfile Negotiation"): the wants, then rounds of haves, then
//! the pack.

use gix_hash::ObjectId;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{LINE_BYTES, LINES_MAX, Rounds, UploadError, Wishes, check_wants, common, pack, ready, walk};
use crate::Repository;
use crate::memory::Reservation;
use crate::pkt_line::{self, FLUSH, Frame, write};

/// How the client wants to hear of commits in common.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Acknowledge {
    /// The first one only.
    #[default]
    First,
    /// `multi_ack`.
    Each,
    /// `multi_ack_detailed`.
    Detailed,
}

#[derive(Default)]
struct Request {
    wishes: Wishes,
    haves: Vec<ObjectId>,
    acknowledge: Acknowledge,
    band: Option<pack::Band>,
    /// How many lines it has so far, and what is held for them.
    lines: usize,
    held: Option<Reservation>,
}

/// How a round of haves ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RoundEnd {
    /// The client waits for an answer and may go on.
    Flush,
    /// It wants the pack.
    Done,
    /// It is gone, or asked for nothing more: over HTTP, a client that wants a depth first fetches the shallow list alone.
    Closed,
}

pub(super) async fn answer<R: Repository>(
    repository: &R,
    input: &mut (impl AsyncRead + Send + Unpin),
    rounds: Rounds,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let mut request = Request { held: Some(Reservation::new(&repository.memory())), ..Request::default() };
    request.read_wants(input).await?;
    if request.wishes.wants.is_empty() {
        // What a client sends that only wanted the list.
        return Ok(());
    }
    check_wants(repository, &request.wishes.wants).await?;
    if request.wishes.depth.is_some() {
        let mut out = Vec::new();
        walk::boundary(repository, &request.wishes).await?.write_lines(&mut out);
        out.extend_from_slice(FLUSH);
        output.write_all(&out).await?;
        output.flush().await?;
    }
    loop {
        let before = request.haves.len();
        let end = request.read_haves(input, rounds).await?;
        if end == RoundEnd::Closed {
            return Ok(());
        }
        let found = common(repository, &request.haves[before..]).await?;
        let mut out = request.acknowledge(found);
        let ready = end == RoundEnd::Flush
            && request.acknowledge == Acknowledge::Detailed
            && ready::enough_in_common(repository, &request.wishes.wants, &request.wishes.common).await?;
        request.end_round(end, ready, &mut out);
        output.write_all(&out).await?;
        match (end, rounds) {
            (RoundEnd::Done, _) => break,
            (_, Rounds::One) => return Ok(()),
            (_, Rounds::Many) => output.flush().await?,
        }
    }
    let selection = walk::select(repository, &request.wishes).await?;
    let band = request.band.unwrap_or(pack::Band::None);
    pack::send(repository, selection, request.wishes.format, band, output).await?;
    if band != pack::Band::None {
        output.write_all(FLUSH).await?;
    }
    Ok(())
}

impl Request {
    /// Reads what comes before the haves: wants with the client's capabilities, its shallow commits, a depth.
    async fn read_wants(&mut self, input: &mut (impl AsyncRead + Send + Unpin)) -> Result<(), UploadError> {
        while let Some(Frame::Line(line)) = pkt_line::next(input).await? {
            let line = text(&line);
            let first_want = self.wishes.wants.is_empty().then(|| line.strip_prefix("want ")).flatten();
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

    /// Reads a round of haves. A request that stands alone is one round, however its haves are grouped.
    async fn read_haves(
        &mut self,
        input: &mut (impl AsyncRead + Send + Unpin),
        rounds: Rounds,
    ) -> Result<RoundEnd, UploadError> {
        let mut end = RoundEnd::Closed;
        while let Some(frame) = pkt_line::next(input).await? {
            let Frame::Line(line) = frame else {
                if rounds == Rounds::Many {
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
            if rounds == Rounds::One {
                end = RoundEnd::Flush;
            }
        }
        Ok(end)
    }

    fn take(&mut self, line: &str) -> Result<(), UploadError> {
        self.lines += 1;
        if self.lines > LINES_MAX {
            return Err(UploadError::Refused("the request is too large".to_owned()));
        }
        if let Some(held) = &mut self.held {
            held.try_grow(LINE_BYTES)?;
        }
        if self.wishes.take(line, &mut self.haves)? {
            return Ok(());
        }
        Err(UploadError::Refused(format!("unknown line `{}`", line.escape_debug())))
    }

    fn capabilities(&mut self, list: &str) {
        for word in list.split_ascii_whitespace() {
            match word {
                "multi_ack" if self.acknowledge == Acknowledge::First => self.acknowledge = Acknowledge::Each,
                "multi_ack_detailed" => self.acknowledge = Acknowledge::Detailed,
                "side-band-64k" => self.band = Some(pack::Band::Large),
                "side-band" if self.band.is_none() => self.band = Some(pack::Band::Small),
                "include-tag" => self.wishes.include_tag = true,
                "deepen-relative" => self.wishes.depth.get_or_insert_default().relative = true,
                word => drop(self.wishes.format.take(word)),
            }
        }
    }

    /// Takes what a round found in common, and says so.
    fn acknowledge(&mut self, found: Vec<ObjectId>) -> Vec<u8> {
        let mut out = Vec::new();
        let word = match self.acknowledge {
            Acknowledge::Detailed => " common",
            Acknowledge::Each => " continue",
            Acknowledge::First => "",
        };
        // Who knows no multi_ack is told of the very first alone.
        let told = match self.acknowledge {
            Acknowledge::First => usize::from(self.wishes.common.is_empty()),
            Acknowledge::Each | Acknowledge::Detailed => found.len(),
        };
        for id in found.iter().take(told) {
            write(&mut out, format!("ACK {id}{word}\n").as_bytes());
        }
        self.wishes.common.extend(found);
        out
    }

    /// The last words of a round; `ready`: the client need tell no more.
    fn end_round(&self, end: RoundEnd, ready: bool, out: &mut Vec<u8>) {
        match (self.wishes.common.last(), end, self.acknowledge) {
            (Some(_), _, Acknowledge::First) => {}
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
