//! The commands of protocol v2 (gitprotocol-v2): `ls-refs` and `fetch`.

use gix_hash::ObjectId;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{
    FetchRequest, LINE_BYTES, LINES_MAX, UploadError, check_wants, common, negotiation, pack_writer, walk,
};
use crate::Repository;
use crate::advertise::{head, peel, sorted_refs};
use crate::memory::Reservation;
use crate::pkt_line::{self, DELIM, FLUSH, Packet, PacketError, write};

/// The most `ref-prefix` arguments. With more, all refs are listed, as the protocol allows.
const REF_PREFIXES_MAX: usize = 1000;

/// The most bytes of a request's lines.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Handles one command; `false` if the client sent none and is done.
pub(super) async fn serve<R: Repository>(
    repository: &R,
    input: &mut (impl AsyncRead + Send + Unpin),
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<bool, UploadError> {
    let mut reservation = Reservation::new(&repository.memory());
    match read(input, &mut reservation).await? {
        None => return Ok(false),
        Some(Command::LsRefs(args)) => ls_refs(repository, &args, output).await?,
        Some(Command::Fetch(args)) => fetch(repository, *args, output).await?,
    }
    Ok(true)
}

/// A parsed command. Each line is parsed on arrival, and only meaningful parts are kept.
#[derive(Debug, PartialEq)]
enum Command {
    LsRefs(LsRefsArgs),
    Fetch(Box<FetchArgs>),
}

impl Command {
    fn from_name(name: &str) -> Result<Self, UploadError> {
        match name {
            "ls-refs" => Ok(Self::LsRefs(LsRefsArgs::default())),
            "fetch" => Ok(Self::Fetch(Box::default())),
            other => Err(UploadError::Rejected(format!("unknown command `{}`", other.escape_debug()))),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::LsRefs(_) => "ls-refs",
            Self::Fetch(_) => "fetch",
        }
    }

    /// Parses an argument.
    fn take(&mut self, line: &str, reservation: &mut Reservation) -> Result<(), UploadError> {
        match self {
            Self::LsRefs(args) => args.take(line, reservation),
            Self::Fetch(args) => args.take(line, reservation),
        }
    }
}

/// Reads a command with its arguments; capability lines are ignored. `None` at the end of the input or for an empty request.
async fn read(
    input: &mut (impl AsyncRead + Send + Unpin),
    reservation: &mut Reservation,
) -> Result<Option<Command>, UploadError> {
    let no_command = || UploadError::Rejected("no command".to_owned());
    let mut command: Option<Command> = None;
    let (mut in_arguments, mut started) = (false, false);
    let (mut lines, mut bytes) = (0, 0);
    loop {
        let packet = match pkt_line::next(input).await {
            // As in git, a client that disconnects within its first packet has sent no command.
            Ok(None | Some(Packet::Flush | Packet::ResponseEnd)) | Err(PacketError::Truncated)
                if !started =>
            {
                return Ok(None);
            }
            packet => packet?.ok_or(PacketError::Truncated)?,
        };
        started = true;
        match packet {
            Packet::Data(line) => {
                (lines, bytes) = (lines + 1, bytes + line.len());
                if bytes > REQUEST_BYTES_MAX || lines > LINES_MAX {
                    return Err(UploadError::Rejected("the request is too large".to_owned()));
                }
                let line = String::from_utf8_lossy(pkt_line::text(&line));
                if in_arguments {
                    command.as_mut().ok_or_else(no_command)?.take(&line, reservation)?;
                } else if let Some(name) = line.strip_prefix("command=") {
                    command = Some(Command::from_name(name)?);
                } else if line.strip_prefix("object-format=").is_some_and(|format| format != "sha1") {
                    return Err(UploadError::Rejected("only object format sha1 is supported".to_owned()));
                }
            }
            Packet::Delim if in_arguments => {
                let command = command.as_ref().map_or("", Command::name);
                return Err(UploadError::Rejected(format!("expected flush after {command} arguments")));
            }
            Packet::Delim => in_arguments = true,
            Packet::Flush | Packet::ResponseEnd => return command.ok_or_else(no_command).map(Some),
        }
    }
}

/// The arguments of `ls-refs`.
#[derive(Debug, Default, PartialEq)]
struct LsRefsArgs {
    peel: bool,
    symrefs: bool,
    unborn: bool,
    ref_prefixes: RefPrefixes,
}

/// The `ref-prefix` filter.
#[derive(Debug, PartialEq)]
enum RefPrefixes {
    /// Refs that start with one of the prefixes; all refs if there are none.
    Some(Vec<String>),
    TooMany,
}

impl Default for RefPrefixes {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

impl RefPrefixes {
    fn add(&mut self, prefix: &str, reservation: &mut Reservation) -> Result<(), UploadError> {
        match self {
            Self::Some(ref_prefixes) if ref_prefixes.len() < REF_PREFIXES_MAX => {
                reservation.try_grow(prefix.len() as u64 + LINE_BYTES)?;
                ref_prefixes.push(prefix.to_owned());
            }
            Self::Some(_) | Self::TooMany => *self = Self::TooMany,
        }
        Ok(())
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Some(ref_prefixes) if !ref_prefixes.is_empty() => {
                ref_prefixes.iter().any(|prefix| name.starts_with(prefix))
            }
            Self::Some(_) | Self::TooMany => true,
        }
    }
}

impl LsRefsArgs {
    /// Parses an argument; unknown ones are ignored.
    fn take(&mut self, line: &str, reservation: &mut Reservation) -> Result<(), UploadError> {
        match line {
            "peel" => self.peel = true,
            "symrefs" => self.symrefs = true,
            "unborn" => self.unborn = true,
            line => {
                if let Some(prefix) = line.strip_prefix("ref-prefix ") {
                    self.ref_prefixes.add(prefix, reservation)?;
                }
            }
        }
        Ok(())
    }
}

async fn ls_refs<R: Repository>(
    repository: &R,
    args: &LsRefsArgs,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let matches = |name: &str| args.ref_prefixes.matches(name);
    let refs = sorted_refs(repository).await?;
    let peeled = if args.peel { peel(repository, &refs).await? } else { Default::default() };
    let mut out = Vec::new();
    match (head(repository, &refs), repository.head()) {
        _ if !matches("HEAD") => {}
        (Some(head), _) => {
            let target = if args.symrefs { format!(" symref-target:{}", head.name) } else { String::new() };
            write(&mut out, format!("{} HEAD{target}\n", head.target).as_bytes());
        }
        // A clone of an empty repository starts on the unborn branch.
        (None, Some(name)) if args.unborn => {
            write(&mut out, format!("unborn HEAD symref-target:{name}\n").as_bytes());
        }
        (None, _) => {}
    }
    for found in refs.iter().filter(|found| matches(&found.name)) {
        let target = peeled.get(&found.target).map(|id| format!(" peeled:{id}")).unwrap_or_default();
        write(&mut out, format!("{} {}{target}\n", found.target, found.name).as_bytes());
    }
    out.extend_from_slice(FLUSH);
    Ok(output.write_all(&out).await?)
}

/// The arguments of `fetch`.
#[derive(Debug, Default, PartialEq)]
struct FetchArgs {
    request: FetchRequest,
    haves: Vec<ObjectId>,
    done: bool,
    wait_for_done: bool,
}

impl FetchArgs {
    fn take(&mut self, line: &str, reservation: &mut Reservation) -> Result<(), UploadError> {
        match line {
            "done" => self.done = true,
            "wait-for-done" => self.wait_for_done = true,
            "no-progress" => {}
            line if self.request.format.take(line) => {}
            line => {
                reservation.try_grow(LINE_BYTES)?;
                if !self.request.take(line, &mut self.haves)? {
                    let line = line.escape_debug();
                    return Err(UploadError::Rejected(format!("unknown argument `{line}`")));
                }
            }
        }
        Ok(())
    }
}

async fn fetch<R: Repository>(
    repository: &R,
    FetchArgs { mut request, haves, done, wait_for_done }: FetchArgs,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    // Push negotiation (`push.negotiate`) sends haves without wants.
    if request.wants.is_empty() && (done || !wait_for_done) {
        return Err(UploadError::Rejected("no wants".to_owned()));
    }
    check_wants(repository, &request.wants).await?;
    request.common = common(repository, &haves).await?;
    let mut out = Vec::new();
    if !done {
        write(&mut out, b"acknowledgments\n");
        for id in &request.common {
            write(&mut out, format!("ACK {id}\n").as_bytes());
        }
        if request.common.is_empty() {
            write(&mut out, b"NAK\n");
        }
        if wait_for_done || !negotiation::ok_to_give_up(repository, &request.wants, &request.common).await? {
            out.extend_from_slice(FLUSH);
            return Ok(output.write_all(&out).await?);
        }
        write(&mut out, b"ready\n");
        out.extend_from_slice(DELIM);
    }
    let selection = walk::select(repository, &request).await?;
    if request.depth.is_some() || !selection.shallow_info.is_empty() {
        write(&mut out, b"shallow-info\n");
        selection.shallow_info.write_lines(&mut out);
        out.extend_from_slice(DELIM);
    }
    write(&mut out, b"packfile\n");
    output.write_all(&out).await?;
    pack_writer::send(repository, selection, request.format, pack_writer::Sideband::Large, output).await?;
    Ok(output.write_all(FLUSH).await?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::memory::tests::LimitedPool;
    use crate::memory::unbounded_memory;
    use crate::test_repo::TestRepo;
    use crate::{MemoryPool, Reference};

    /// Parses a command with these arguments.
    async fn command(command: &str, arguments: &[&str]) -> Result<Command, UploadError> {
        let mut request = Vec::new();
        write(&mut request, format!("command={command}\n").as_bytes());
        request.extend_from_slice(DELIM);
        arguments.iter().for_each(|argument| write(&mut request, argument.as_bytes()));
        request.extend_from_slice(FLUSH);
        read(&mut request.as_slice(), &mut Reservation::new(&unbounded_memory())).await.map(Option::unwrap)
    }

    async fn listed(repo: &TestRepo, arguments: &[&str]) -> String {
        let Command::LsRefs(command) = command("ls-refs", arguments).await.unwrap() else { unreachable!() };
        let mut out = Vec::new();
        ls_refs(repo, &command, &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn head_is_listed_with_its_target_even_if_unborn() {
        let (mut repo, ids) = TestRepo::linear(1);
        repo.head = Some("refs/heads/main");
        let unborn = "002eunborn HEAD symref-target:refs/heads/main\n0000";
        assert_eq!(listed(&repo, &["symrefs", "unborn", "ref-prefix HEAD"]).await, unborn);
        assert_eq!(listed(&repo, &["symrefs", "ref-prefix HEAD"]).await, "0000");
        assert_eq!(listed(&repo, &["unborn", "ref-prefix refs/tags/"]).await, "0000");
        repo.refs.push(Reference { name: "refs/heads/main".to_owned(), target: ids[0] });
        let born = format!("0050{} HEAD symref-target:refs/heads/main\n0000", ids[0]);
        assert_eq!(listed(&repo, &["symrefs", "unborn", "ref-prefix HEAD"]).await, born);
    }

    #[tokio::test]
    async fn request_has_one_delimiter_and_must_be_complete() {
        for (request, expected) in [
            ("0013command=ls-refs00010001", Err("expected flush after ls-refs arguments")),
            ("0013command=ls-refs0001", Err("ends in the middle")),
            ("", Ok(())),
            ("\n", Ok(())),
            ("0014comm", Ok(())),
        ] {
            match (read(&mut request.as_bytes(), &mut Reservation::new(&unbounded_memory())).await, expected)
            {
                (Ok(read), Ok(())) => assert_eq!(read, None, "{request:?}"),
                (Err(error), Err(expected_error)) => {
                    assert!(error.to_string().contains(expected_error), "{error}")
                }
                (read, _) => panic!("{request:?}: {read:?}"),
            }
        }
    }

    #[tokio::test]
    async fn empty_lines_are_limited_and_not_kept() {
        let pool = Arc::new(LimitedPool { limit: 1024 * 1024, ..LimitedPool::default() });
        let memory: Arc<dyn MemoryPool> = Arc::clone(&pool) as Arc<dyn MemoryPool>;
        for (command, line) in [("ls-refs", &b"0004"[..]), ("ls-refs", b"0008peel"), ("fetch", b"0008done")] {
            for (lines, expected) in [(LINES_MAX - 1, true), (LINES_MAX, false), (4 * LINES_MAX, false)] {
                let mut request = Vec::new();
                write(&mut request, format!("command={command}\n").as_bytes());
                request.extend_from_slice(DELIM);
                request.extend(line.repeat(lines));
                request.extend_from_slice(FLUSH);
                let read = read(&mut request.as_slice(), &mut Reservation::new(&memory)).await;
                assert_eq!(read.is_ok(), expected, "{command} {lines}: {read:?}");
            }
        }
        // Lines before the arguments count too.
        let request = b"0004".repeat(LINES_MAX + 1);
        assert!(read(&mut request.as_slice(), &mut Reservation::new(&memory)).await.is_err());
        assert_eq!(pool.peak.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn too_many_ref_prefixes_list_all_refs() {
        let (mut repo, ids) = TestRepo::linear(1);
        repo.refs.push(Reference { name: "refs/heads/main".to_owned(), target: ids[0] });
        let few = ["ref-prefix refs/tags/"; REF_PREFIXES_MAX];
        assert_eq!(listed(&repo, &few).await, "0000");
        let many = ["ref-prefix refs/tags/"; REF_PREFIXES_MAX + 1];
        assert!(listed(&repo, &many).await.contains("refs/heads/main"));
    }

    #[tokio::test]
    async fn wait_for_done_needs_no_wants() {
        let (repo, ids) = TestRepo::linear(1);
        let have = format!("have {}", ids[0]);
        let fetch_response = async |arguments: &[&str]| {
            let Command::Fetch(command) = command("fetch", arguments).await? else { unreachable!() };
            let mut out = Vec::new();
            fetch(&repo, *command, &mut out).await.map(|()| String::from_utf8(out).unwrap())
        };
        assert!(fetch_response(&["wait-for-done", &have]).await.is_ok());
        assert!(fetch_response(&[&have]).await.is_err());
        assert!(fetch_response(&["wait-for-done", &have, "done"]).await.is_err());
    }
}
