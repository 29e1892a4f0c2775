//! The commands of protocol 2 (gitprotocol-v2): `ls-refs` and `fetch`.

use gix_hash::ObjectId;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{LINE_BYTES, LINES_MAX, UploadError, Wishes, check_wants, common, pack, ready, walk};
use crate::Repository;
use crate::advertise::{head, peel, sorted_refs};
use crate::memory::Reservation;
use crate::pkt_line::{self, DELIMITER, FLUSH, Frame, FrameError, write};

/// The most prefixes by which `ls-refs` narrows its answer; with more, everything is listed, as the protocol allows.
const PREFIXES_MAX: usize = 1000;

/// The most bytes of a request's lines.
const REQUEST_MAX: usize = 16 * 1024 * 1024;

/// Answers one command; `false`: there was none, the client has all it wanted.
pub(super) async fn answer<R: Repository>(
    repository: &R,
    input: &mut (impl AsyncRead + Send + Unpin),
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<bool, UploadError> {
    let mut held = Reservation::new(&repository.memory());
    match read(input, &mut held).await? {
        None => return Ok(false),
        Some(Asked::LsRefs(asked)) => ls_refs(repository, &asked, output).await?,
        Some(Asked::Fetch(asked)) => fetch(repository, *asked, output).await?,
    }
    Ok(true)
}

/// What a command asks. Each of its lines is understood as it comes, and kept only as far as it says something.
#[derive(Debug, PartialEq)]
enum Asked {
    LsRefs(LsRefs),
    Fetch(Box<Fetch>),
}

impl Asked {
    fn command(name: &str) -> Result<Self, UploadError> {
        match name {
            "ls-refs" => Ok(Self::LsRefs(LsRefs::default())),
            "fetch" => Ok(Self::Fetch(Box::default())),
            other => Err(UploadError::Refused(format!("unknown command `{}`", other.escape_debug()))),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::LsRefs(_) => "ls-refs",
            Self::Fetch(_) => "fetch",
        }
    }

    /// Takes an argument.
    fn take(&mut self, line: &str, held: &mut Reservation) -> Result<(), UploadError> {
        match self {
            Self::LsRefs(asked) => asked.take(line, held),
            Self::Fetch(asked) => asked.take(line, held),
        }
    }
}

/// The command with its arguments; the capabilities between them change nothing here. `None` where the input ends, or the
/// client ends it with an empty request.
async fn read(
    input: &mut (impl AsyncRead + Send + Unpin),
    held: &mut Reservation,
) -> Result<Option<Asked>, UploadError> {
    let no_command = || UploadError::Refused("no command".to_owned());
    let mut asked: Option<Asked> = None;
    let (mut in_arguments, mut begun) = (false, false);
    let (mut lines, mut bytes) = (0, 0);
    loop {
        let frame = match pkt_line::next(input).await {
            // Who goes away before a command is whole has asked nothing, as git sees it.
            Ok(None | Some(Frame::Flush | Frame::ResponseEnd)) | Err(FrameError::Truncated) if !begun => {
                return Ok(None);
            }
            frame => frame?.ok_or(FrameError::Truncated)?,
        };
        begun = true;
        match frame {
            Frame::Line(line) => {
                (lines, bytes) = (lines + 1, bytes + line.len());
                if bytes > REQUEST_MAX || lines > LINES_MAX {
                    return Err(UploadError::Refused("the request is too large".to_owned()));
                }
                let line = String::from_utf8_lossy(pkt_line::text(&line));
                if in_arguments {
                    asked.as_mut().ok_or_else(no_command)?.take(&line, held)?;
                } else if let Some(name) = line.strip_prefix("command=") {
                    asked = Some(Asked::command(name)?);
                } else if line.strip_prefix("object-format=").is_some_and(|format| format != "sha1") {
                    return Err(UploadError::Refused("only object format sha1 is understood".to_owned()));
                }
            }
            Frame::Delimiter if in_arguments => {
                let command = asked.as_ref().map_or("", Asked::name);
                return Err(UploadError::Refused(format!("expected flush after {command} arguments")));
            }
            Frame::Delimiter => in_arguments = true,
            Frame::Flush | Frame::ResponseEnd => return asked.ok_or_else(no_command).map(Some),
        }
    }
}

/// What `ls-refs` is to list.
#[derive(Debug, Default, PartialEq)]
struct LsRefs {
    peel: bool,
    symrefs: bool,
    unborn: bool,
    prefixes: Prefixes,
}

/// The refs that are listed.
#[derive(Debug, PartialEq)]
enum Prefixes {
    /// Those that begin with one of them; all, where there are none.
    Some(Vec<String>),
    TooMany,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

impl Prefixes {
    fn add(&mut self, prefix: &str, held: &mut Reservation) -> Result<(), UploadError> {
        match self {
            Self::Some(prefixes) if prefixes.len() < PREFIXES_MAX => {
                held.try_grow(prefix.len() as u64 + LINE_BYTES)?;
                prefixes.push(prefix.to_owned());
            }
            Self::Some(_) | Self::TooMany => *self = Self::TooMany,
        }
        Ok(())
    }

    fn match_name(&self, name: &str) -> bool {
        match self {
            Self::Some(prefixes) if !prefixes.is_empty() => {
                prefixes.iter().any(|prefix| name.starts_with(prefix))
            }
            Self::Some(_) | Self::TooMany => true,
        }
    }
}

impl LsRefs {
    /// Takes an argument; those that are not known change nothing.
    fn take(&mut self, line: &str, held: &mut Reservation) -> Result<(), UploadError> {
        match line {
            "peel" => self.peel = true,
            "symrefs" => self.symrefs = true,
            "unborn" => self.unborn = true,
            line => {
                if let Some(prefix) = line.strip_prefix("ref-prefix ") {
                    self.prefixes.add(prefix, held)?;
                }
            }
        }
        Ok(())
    }
}

async fn ls_refs<R: Repository>(
    repository: &R,
    asked: &LsRefs,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let matches = |name: &str| asked.prefixes.match_name(name);
    let refs = sorted_refs(repository).await?;
    let peeled = if asked.peel { peel(repository, &refs).await? } else { Default::default() };
    let mut out = Vec::new();
    match (head(repository, &refs), repository.head()) {
        _ if !matches("HEAD") => {}
        (Some(head), _) => {
            let target = if asked.symrefs { format!(" symref-target:{}", head.name) } else { String::new() };
            write(&mut out, format!("{} HEAD{target}\n", head.target).as_bytes());
        }
        // The clone of a repository whose first branch is yet to come is on that branch.
        (None, Some(name)) if asked.unborn => {
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

/// What `fetch` is to send.
#[derive(Debug, Default, PartialEq)]
struct Fetch {
    wishes: Wishes,
    haves: Vec<ObjectId>,
    done: bool,
    wait_for_done: bool,
}

impl Fetch {
    fn take(&mut self, line: &str, held: &mut Reservation) -> Result<(), UploadError> {
        match line {
            "done" => self.done = true,
            "wait-for-done" => self.wait_for_done = true,
            "no-progress" => {}
            line if self.wishes.format.take(line) => {}
            line => {
                held.try_grow(LINE_BYTES)?;
                if !self.wishes.take(line, &mut self.haves)? {
                    let line = line.escape_debug();
                    return Err(UploadError::Refused(format!("unknown argument `{line}`")));
                }
            }
        }
        Ok(())
    }
}

async fn fetch<R: Repository>(
    repository: &R,
    Fetch { mut wishes, haves, done, wait_for_done }: Fetch,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    // A push that negotiates first asks for what is in common and wants nothing.
    if wishes.wants.is_empty() && (done || !wait_for_done) {
        return Err(UploadError::Refused("nothing is wanted".to_owned()));
    }
    check_wants(repository, &wishes.wants).await?;
    wishes.common = common(repository, &haves).await?;
    let mut out = Vec::new();
    if !done {
        write(&mut out, b"acknowledgments\n");
        for id in &wishes.common {
            write(&mut out, format!("ACK {id}\n").as_bytes());
        }
        if wishes.common.is_empty() {
            write(&mut out, b"NAK\n");
        }
        if wait_for_done || !ready::enough_in_common(repository, &wishes.wants, &wishes.common).await? {
            out.extend_from_slice(FLUSH);
            return Ok(output.write_all(&out).await?);
        }
        write(&mut out, b"ready\n");
        out.extend_from_slice(DELIMITER);
    }
    let selection = walk::select(repository, &wishes).await?;
    if wishes.depth.is_some() || !selection.boundary.is_empty() {
        write(&mut out, b"shallow-info\n");
        selection.boundary.write_lines(&mut out);
        out.extend_from_slice(DELIMITER);
    }
    write(&mut out, b"packfile\n");
    output.write_all(&out).await?;
    pack::send(repository, selection, wishes.format, pack::Band::Large, output).await?;
    Ok(output.write_all(FLUSH).await?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::memory::tests::Bounded;
    use crate::memory::unbounded_memory;
    use crate::sample::History;
    use crate::{MemoryPool, Reference};

    /// What a command with these arguments asks.
    async fn asked(command: &str, arguments: &[&str]) -> Result<Asked, UploadError> {
        let mut request = Vec::new();
        write(&mut request, format!("command={command}\n").as_bytes());
        request.extend_from_slice(DELIMITER);
        arguments.iter().for_each(|argument| write(&mut request, argument.as_bytes()));
        request.extend_from_slice(FLUSH);
        read(&mut request.as_slice(), &mut Reservation::new(&unbounded_memory())).await.map(Option::unwrap)
    }

    async fn listed(history: &History, arguments: &[&str]) -> String {
        let Asked::LsRefs(asked) = asked("ls-refs", arguments).await.unwrap() else { unreachable!() };
        let mut out = Vec::new();
        ls_refs(history, &asked, &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn head_is_listed_with_what_it_points_to_even_before_that_exists() {
        let (mut history, ids) = History::line(1);
        history.head = Some("refs/heads/main");
        let unborn = "002eunborn HEAD symref-target:refs/heads/main\n0000";
        assert_eq!(listed(&history, &["symrefs", "unborn", "ref-prefix HEAD"]).await, unborn);
        assert_eq!(listed(&history, &["symrefs", "ref-prefix HEAD"]).await, "0000");
        assert_eq!(listed(&history, &["unborn", "ref-prefix refs/tags/"]).await, "0000");
        history.refs.push(Reference { name: "refs/heads/main".to_owned(), target: ids[0] });
        let born = format!("0050{} HEAD symref-target:refs/heads/main\n0000", ids[0]);
        assert_eq!(listed(&history, &["symrefs", "unborn", "ref-prefix HEAD"]).await, born);
    }

    #[tokio::test]
    async fn a_request_has_one_delimiter_and_is_whole_or_none() {
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
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
                (read, _) => panic!("{request:?}: {read:?}"),
            }
        }
    }

    #[tokio::test]
    async fn lines_that_say_nothing_are_bounded_in_number_and_none_is_kept() {
        let bounded = Arc::new(Bounded { most: 1024 * 1024, ..Bounded::default() });
        let memory: Arc<dyn MemoryPool> = Arc::clone(&bounded) as Arc<dyn MemoryPool>;
        for (command, line) in [("ls-refs", &b"0004"[..]), ("ls-refs", b"0008peel"), ("fetch", b"0008done")] {
            for (lines, expected) in [(LINES_MAX - 1, true), (LINES_MAX, false), (4 * LINES_MAX, false)] {
                let mut request = Vec::new();
                write(&mut request, format!("command={command}\n").as_bytes());
                request.extend_from_slice(DELIMITER);
                request.extend(line.repeat(lines));
                request.extend_from_slice(FLUSH);
                let read = read(&mut request.as_slice(), &mut Reservation::new(&memory)).await;
                assert_eq!(read.is_ok(), expected, "{command} {lines}: {read:?}");
            }
        }
        // Nor are those before the arguments free.
        let request = b"0004".repeat(LINES_MAX + 1);
        assert!(read(&mut request.as_slice(), &mut Reservation::new(&memory)).await.is_err());
        assert_eq!(bounded.peak.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn prefixes_that_are_too_many_list_everything() {
        let (mut history, ids) = History::line(1);
        history.refs.push(Reference { name: "refs/heads/main".to_owned(), target: ids[0] });
        let few = ["ref-prefix refs/tags/"; PREFIXES_MAX];
        assert_eq!(listed(&history, &few).await, "0000");
        let many = ["ref-prefix refs/tags/"; PREFIXES_MAX + 1];
        assert!(listed(&history, &many).await.contains("refs/heads/main"));
    }

    #[tokio::test]
    async fn what_is_in_common_can_be_asked_without_wanting_anything() {
        let (history, ids) = History::line(1);
        let have = format!("have {}", ids[0]);
        let ask = async |arguments: &[&str]| {
            let Asked::Fetch(asked) = asked("fetch", arguments).await? else { unreachable!() };
            let mut out = Vec::new();
            fetch(&history, *asked, &mut out).await.map(|()| String::from_utf8(out).unwrap())
        };
        assert!(ask(&["wait-for-done", &have]).await.is_ok());
        assert!(ask(&[&have]).await.is_err());
        assert!(ask(&["wait-for-done", &have, "done"]).await.is_err());
    }
}
