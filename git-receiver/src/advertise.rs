//! The ref advertisement, the first message of both services (gitprotocol-pack, "Reference Discovery"; gitprotocol-http,
//! "Smart Clients").

use std::collections::HashMap;

use bytes::Bytes;
use gix_hash::ObjectId;
use gix_object::Kind;

use crate::pkt_line::{FLUSH, write};
use crate::{Reference, Repository, RepositoryError, content, parse};

/// The protocol version that a client requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The original protocol, which every client supports.
    V0,
    /// The original protocol after a version line.
    V1,
    /// Commands instead of one fixed exchange (gitprotocol-v2). Only for fetches.
    V2,
}

impl Protocol {
    /// Parses the `Git-Protocol` header or the `GIT_PROTOCOL` environment variable, such as `version=2`.
    pub fn from_header(value: Option<&str>) -> Self {
        let versions = value.unwrap_or_default().split(':').filter_map(|part| part.strip_prefix("version="));
        match versions.filter_map(|version| version.parse::<u8>().ok()).max() {
            Some(2) => Self::V2,
            Some(1) => Self::V1,
            _ => Self::V0,
        }
    }
}

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Smart HTTP: requests are stateless, and the advertisement starts with the service name.
    Http,
    /// One connection for the whole exchange, such as the pipes of a process started by ssh.
    Connection,
}

/// The capabilities of receive-pack. No push-cert: signed pushes are not verified.
const RECEIVE: &str = "report-status report-status-v2 side-band-64k atomic delete-refs ofs-delta push-options quiet object-format=sha1";

/// The capabilities of upload-pack in protocol v0. No no-done: a pack is sent only after `done`. Reachable commits can be
/// wanted by id, as in protocol v2.
const UPLOAD: &str = "multi_ack_detailed multi_ack side-band-64k side-band thin-pack ofs-delta shallow deepen-since deepen-not deepen-relative no-progress include-tag allow-tip-sha1-in-want allow-reachable-sha1-in-want object-format=sha1";

/// The longest chain of nested tags that is peeled.
pub(crate) const PEEL_MAX: usize = 16;

/// The ref advertisement of receive-pack: over HTTP the response to `GET info/refs?service=git-receive-pack`. Protocol v2
/// has no push; a client that requests it gets v0.
///
/// # Errors
/// The repository cannot be read.
pub async fn advertise_receive<R: Repository>(
    repository: &R,
    transport: Transport,
    protocol: Protocol,
    agent: &str,
) -> Result<Bytes, RepositoryError> {
    let refs = sorted_refs(repository).await?;
    let mut out = opening("git-receive-pack", transport, protocol);
    let lines = refs.into_iter().map(|found| (found.target, found.name)).collect();
    // Without shallow lines: git ignores them when it pushes, and dulwich takes them for refs.
    list(&mut out, lines, &format!("{RECEIVE} agent={agent}"), &[]);
    Ok(out.into())
}

/// The ref advertisement of upload-pack, or its capability advertisement in protocol v2: over HTTP the response to `GET
/// info/refs?service=git-upload-pack`.
///
/// # Errors
/// The repository cannot be read.
pub async fn advertise_upload<R: Repository>(
    repository: &R,
    transport: Transport,
    protocol: Protocol,
    agent: &str,
) -> Result<Bytes, RepositoryError> {
    if protocol == Protocol::V2 {
        let mut out = Vec::new();
        for line in [
            "version 2",
            &format!("agent={agent}"),
            "ls-refs=unborn",
            "fetch=shallow wait-for-done",
            // Accepted and ignored; without it, clients with server options refuse to fetch.
            "server-option",
            "object-format=sha1",
        ] {
            write(&mut out, format!("{line}\n").as_bytes());
        }
        out.extend_from_slice(FLUSH);
        return Ok(out.into());
    }
    let refs = sorted_refs(repository).await?;
    let peeled = peel(repository, &refs).await?;
    let head = head(repository, &refs);
    let mut capabilities = format!("{UPLOAD} agent={agent}");
    if let Some(head) = head {
        capabilities += &format!(" symref=HEAD:{}", head.name);
    }
    let mut lines: Vec<(ObjectId, String)> =
        head.map(|head| (head.target, "HEAD".to_owned())).into_iter().collect();
    for found in &refs {
        lines.push((found.target, found.name.clone()));
        lines.extend(peeled.get(&found.target).map(|target| (*target, format!("{}^{{}}", found.name))));
    }
    let mut out = opening("git-upload-pack", transport, protocol);
    list(&mut out, lines, &capabilities, &repository.shallow().await?);
    Ok(out.into())
}

/// The lines before the refs in protocols v0 and v1.
fn opening(service: &str, transport: Transport, protocol: Protocol) -> Vec<u8> {
    let mut out = Vec::new();
    if transport == Transport::Http {
        write(&mut out, format!("# service={service}\n").as_bytes());
        out.extend_from_slice(FLUSH);
    }
    if protocol == Protocol::V1 {
        write(&mut out, b"version 1\n");
    }
    out
}

fn list(out: &mut Vec<u8>, lines: Vec<(ObjectId, String)>, capabilities: &str, shallow: &[ObjectId]) {
    if lines.is_empty() {
        let none = ObjectId::null(gix_hash::Kind::Sha1);
        write(out, format!("{none} capabilities^{{}}\0{capabilities}\n").as_bytes());
    }
    for (index, (id, name)) in lines.into_iter().enumerate() {
        let tail = if index == 0 { format!("\0{capabilities}") } else { String::new() };
        write(out, format!("{id} {name}{tail}\n").as_bytes());
    }
    for id in shallow {
        // No line feed: libgit2 reads the name up to the end of the packet.
        write(out, format!("shallow {id}").as_bytes());
    }
    out.extend_from_slice(FLUSH);
}

/// All refs, sorted by name.
pub(crate) async fn sorted_refs<R: Repository>(repository: &R) -> Result<Vec<Reference>, RepositoryError> {
    let mut refs = repository.refs().await?;
    refs.sort_unstable();
    Ok(refs)
}

/// The ref that HEAD points to, if it exists.
pub(crate) fn head<'r, R: Repository>(repository: &R, refs: &'r [Reference]) -> Option<&'r Reference> {
    let name = repository.head()?;
    refs.iter().find(|found| found.name == name)
}

/// Maps each annotated tag among the targets of `refs` to the object it peels to.
pub(crate) async fn peel<R: Repository>(
    repository: &R,
    refs: &[Reference],
) -> Result<HashMap<ObjectId, ObjectId>, RepositoryError> {
    let targets: Vec<ObjectId> = refs
        .iter()
        .filter(|found| !found.name.starts_with("refs/heads/"))
        .map(|found| found.target)
        .collect();
    let known = repository.object_info(&targets).await?;
    let tags = known.into_iter().filter(|(_, known)| known.kind == Kind::Tag).map(|(id, _)| id);
    let mut peeled: HashMap<ObjectId, ObjectId> = tags.map(|tag| (tag, tag)).collect();
    for _ in 0..PEEL_MAX {
        let mut reached: Vec<ObjectId> = peeled.values().copied().collect();
        reached.sort_unstable();
        reached.dedup();
        let mut next = HashMap::new();
        content::for_each(repository, &reached, |id, kind, content| {
            if kind == Kind::Tag {
                next.insert(id, parse::tag(id, content)?);
            }
            Ok::<_, RepositoryError>(())
        })
        .await?;
        if next.is_empty() {
            break;
        }
        peeled.values_mut().for_each(|target| *target = next.get(target).copied().unwrap_or(*target));
    }
    Ok(peeled)
}
