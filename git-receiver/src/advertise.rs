//! Which refs there are: the first message of both services (gitprotocol-pack, "Reference Discovery"; gitprotocol-http,
//! "Smart Clients").

use std::collections::HashMap;

use bytes::Bytes;
use gix_hash::ObjectId;
use gix_object::Kind;

use crate::pkt_line::{FLUSH, write};
use crate::{Reference, Repository, RepositoryError, content, links};

/// The version of the protocol that a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The original, which every client speaks.
    V0,
    /// The original behind a line that names it.
    V1,
    /// Commands instead of one fixed exchange (gitprotocol-v2). For fetching only.
    V2,
}

impl Protocol {
    /// Reads the header `Git-Protocol`, or the environment's `GIT_PROTOCOL`, such as `version=2`.
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
    /// Smart HTTP: every request stands alone, and the list of refs begins with the name of the service.
    Http,
    /// One connection for the whole exchange, such as the pipes of a process behind ssh.
    Connection,
}

/// The capabilities of receive-pack. No push-cert: signatures of pushes are not checked.
const RECEIVE: &str = "report-status report-status-v2 side-band-64k atomic delete-refs ofs-delta push-options quiet object-format=sha1";

/// The capabilities of upload-pack in the original protocol. No no-done: a pack follows `done` alone. Commits can be asked for by their
/// names, as in protocol 2, where a ref leads to them.
const UPLOAD: &str = "multi_ack_detailed multi_ack side-band-64k side-band thin-pack ofs-delta shallow deepen-since deepen-not deepen-relative no-progress include-tag allow-tip-sha1-in-want allow-reachable-sha1-in-want object-format=sha1";

/// The longest chain of tags of tags that is followed.
pub(crate) const PEEL_MAX: usize = 16;

/// The refs for a push, as receive-pack lists them: over HTTP the answer to `GET info/refs?service=git-receive-pack`.
/// There is no protocol 2 for pushes; who asks for it is spoken to in the original.
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
    // Where the history ends is left out: git passes it over when it pushes, and dulwich takes those lines for refs.
    list(&mut out, lines, &format!("{RECEIVE} agent={agent}"), &[]);
    Ok(out.into())
}

/// The refs for a fetch, as upload-pack lists them, or what it can do in protocol 2: over HTTP the answer to
/// `GET info/refs?service=git-upload-pack`.
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
            // They are taken and mean nothing here; who may not send them gets nothing at all.
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

/// What comes before the refs in the original protocol.
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
        // No line break: libgit2 reads the name up to the frame's end.
        write(out, format!("shallow {id}").as_bytes());
    }
    out.extend_from_slice(FLUSH);
}

/// All refs by name.
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

/// What the annotated tags among the refs' targets finally point to.
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
        content::each(repository, &reached, |id, kind, content| {
            if kind == Kind::Tag {
                next.insert(id, links::tag(id, content)?);
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
