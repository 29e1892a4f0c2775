//! The exchange of the original protocol (gitprotocol-pack, "Packfile Negotiation"), stateless.

use gix_hash::ObjectId;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{UploadError, Wishes, check_wants, common, pack, walk};
use crate::Repository;
use crate::pkt_line::{self, FLUSH, Frame, FrameError, write};

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
    /// Something follows the wants. A client that asks for a depth first fetches the shallow list alone.
    negotiates: bool,
    done: bool,
}

pub(super) async fn answer<R: Repository>(
    repository: &R,
    request: &[u8],
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let mut request = read(request).await?;
    if request.wishes.wants.is_empty() {
        // What a client sends that only wanted the list.
        return Ok(());
    }
    check_wants(repository, &request.wishes.wants).await?;
    request.wishes.common = common(repository, &request.haves).await?;
    let mut out = Vec::new();
    let selection = match (request.done, &request.wishes.depth) {
        (false, None) => None,
        _ => Some(walk::select(repository, &request.wishes).await?),
    };
    if let Some(selection) = selection.as_ref().filter(|_| request.wishes.depth.is_some()) {
        selection.boundary.write_lines(&mut out);
        out.extend_from_slice(FLUSH);
    }
    if request.negotiates {
        acknowledge(&request, &mut out);
    }
    output.write_all(&out).await?;
    if let Some(selection) = selection.filter(|_| request.done) {
        let band = request.band.unwrap_or(pack::Band::None);
        pack::send(repository, &selection.objects, band, output).await?;
        if band != pack::Band::None {
            output.write_all(FLUSH).await?;
        }
    }
    Ok(())
}

async fn read(mut bytes: &[u8]) -> Result<Request, UploadError> {
    let mut request = Request::default();
    while !bytes.is_empty() {
        let line = match pkt_line::read(&mut bytes).await {
            Ok(Frame::Line(line)) => line,
            Ok(_) => {
                request.negotiates |= !bytes.is_empty();
                continue;
            }
            Err(FrameError::Truncated) => break,
            Err(error) => return Err(error.into()),
        };
        let line = String::from_utf8_lossy(pkt_line::text(&line)).into_owned();
        if line == "done" {
            request.done = true;
            break;
        }
        let first_want = request.wishes.wants.is_empty().then(|| line.strip_prefix("want ")).flatten();
        let taken = match first_want.and_then(|rest| rest.split_once(' ')) {
            Some((id, capabilities)) => {
                request.capabilities(capabilities);
                request.wishes.take(&format!("want {id}"), &mut request.haves)?
            }
            None => request.wishes.take(&line, &mut request.haves)?,
        };
        if !taken {
            return Err(UploadError::Refused(format!("unknown line `{}`", line.escape_debug())));
        }
    }
    Ok(request)
}

impl Request {
    fn capabilities(&mut self, list: &str) {
        for word in list.split_ascii_whitespace() {
            match word {
                "multi_ack" if self.acknowledge == Acknowledge::First => self.acknowledge = Acknowledge::Each,
                "multi_ack_detailed" => self.acknowledge = Acknowledge::Detailed,
                "side-band-64k" => self.band = Some(pack::Band::Large),
                "side-band" if self.band.is_none() => self.band = Some(pack::Band::Small),
                "include-tag" => self.wishes.include_tag = true,
                "deepen-relative" => self.wishes.depth.get_or_insert_default().relative = true,
                _ => {}
            }
        }
    }
}

fn acknowledge(request: &Request, out: &mut Vec<u8>) {
    let common = &request.wishes.common;
    match request.acknowledge {
        Acknowledge::Detailed => {
            for id in common {
                write(out, format!("ACK {id} common\n").as_bytes());
            }
            if let Some(last) = common.last().filter(|_| !request.done) {
                write(out, format!("ACK {last} ready\n").as_bytes());
            }
        }
        Acknowledge::Each => {
            for id in common {
                write(out, format!("ACK {id} continue\n").as_bytes());
            }
        }
        Acknowledge::First => {}
    }
    match (common.last(), request.done, request.acknowledge) {
        (Some(last), true, Acknowledge::Detailed | Acknowledge::Each) => {
            write(out, format!("ACK {last}\n").as_bytes())
        }
        (Some(_), _, Acknowledge::First) => write(out, format!("ACK {}\n", common[0]).as_bytes()),
        _ => write(out, b"NAK\n"),
    }
}
