//! The commands of protocol 2 (gitprotocol-v2): `ls-refs` and `fetch`.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{LINE_BYTES, LINES_MAX, UploadError, Wishes, check_wants, common, pack, ready, walk};
use crate::Repository;
use crate::advertise::{head, peel, sorted_refs};
use crate::memory::Held;
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
    let mut held = Held::of(&repository.memory());
    let Some((command, arguments)) = read(input, &mut held).await? else { return Ok(false) };
    match command.as_str() {
        "ls-refs" => ls_refs(repository, &arguments, output).await?,
        "fetch" => fetch(repository, &arguments, output).await?,
        other => return Err(UploadError::Refused(format!("unknown command `{}`", other.escape_debug()))),
    }
    Ok(true)
}

/// The command and its arguments; the capabilities between them change nothing here. `None` where the input ends, or the
/// client ends it with an empty request.
async fn read(
    input: &mut (impl AsyncRead + Send + Unpin),
    held: &mut Held,
) -> Result<Option<(String, Vec<String>)>, UploadError> {
    let mut command = None;
    let mut arguments = Vec::new();
    let (mut in_arguments, mut begun) = (false, false);
    let mut bytes = 0;
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
                bytes += line.len();
                if bytes > REQUEST_MAX || arguments.len() > LINES_MAX {
                    return Err(UploadError::Refused("the request is too large".to_owned()));
                }
                held.grow(line.len() as u64 + LINE_BYTES)?;
                let line = String::from_utf8_lossy(pkt_line::text(&line)).into_owned();
                if in_arguments {
                    arguments.push(line);
                } else if let Some(name) = line.strip_prefix("command=") {
                    command = Some(name.to_owned());
                } else if line.strip_prefix("object-format=").is_some_and(|format| format != "sha1") {
                    return Err(UploadError::Refused("only object format sha1 is understood".to_owned()));
                }
            }
            Frame::Delimiter if in_arguments => {
                let command = command.unwrap_or_default().escape_debug().to_string();
                return Err(UploadError::Refused(format!("expected flush after {command} arguments")));
            }
            Frame::Delimiter => in_arguments = true,
            Frame::Flush | Frame::ResponseEnd => break,
        }
    }
    let command = command.ok_or_else(|| UploadError::Refused("no command".to_owned()))?;
    Ok(Some((command, arguments)))
}

async fn ls_refs<R: Repository>(
    repository: &R,
    arguments: &[String],
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let asked = |word: &str| arguments.iter().any(|argument| argument == word);
    let prefixes: Vec<&str> =
        arguments.iter().filter_map(|argument| argument.strip_prefix("ref-prefix ")).collect();
    let everything = prefixes.is_empty() || prefixes.len() > PREFIXES_MAX;
    let matches = |name: &str| everything || prefixes.iter().any(|prefix| name.starts_with(prefix));
    let refs = sorted_refs(repository).await?;
    let peeled = if asked("peel") { peel(repository, &refs).await? } else { Default::default() };
    let mut out = Vec::new();
    match (head(repository, &refs), repository.head()) {
        _ if !matches("HEAD") => {}
        (Some(head), _) => {
            let target =
                if asked("symrefs") { format!(" symref-target:{}", head.name) } else { String::new() };
            write(&mut out, format!("{} HEAD{target}\n", head.target).as_bytes());
        }
        // The clone of a repository whose first branch is yet to come is on that branch.
        (None, Some(name)) if asked("unborn") => {
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

async fn fetch<R: Repository>(
    repository: &R,
    arguments: &[String],
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let mut wishes = Wishes::default();
    let mut haves = Vec::new();
    let (mut done, mut wait_for_done) = (false, false);
    for argument in arguments {
        match argument.as_str() {
            "done" => done = true,
            "wait-for-done" => wait_for_done = true,
            "no-progress" => {}
            argument if wishes.format.take(argument) => {}
            argument => {
                if !wishes.take(argument, &mut haves)? {
                    return Err(UploadError::Refused(format!(
                        "unknown argument `{}`",
                        argument.escape_debug()
                    )));
                }
            }
        }
    }
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
    use super::*;
    use crate::Reference;
    use crate::memory::unbounded;
    use crate::sample::History;

    async fn listed(history: &History, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut out = Vec::new();
        ls_refs(history, &arguments, &mut out).await.unwrap();
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
            match (read(&mut request.as_bytes(), &mut Held::of(&unbounded())).await, expected) {
                (Ok(read), Ok(())) => assert_eq!(read, None, "{request:?}"),
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
                (read, _) => panic!("{request:?}: {read:?}"),
            }
        }
    }

    #[tokio::test]
    async fn what_is_in_common_can_be_asked_without_wanting_anything() {
        let (history, ids) = History::line(1);
        let have = format!("have {}", ids[0]);
        let ask = async |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let mut out = Vec::new();
            fetch(&history, &arguments, &mut out).await.map(|()| String::from_utf8(out).unwrap())
        };
        assert!(ask(&["wait-for-done", &have]).await.is_ok());
        assert!(ask(&[&have]).await.is_err());
        assert!(ask(&["wait-for-done", &have, "done"]).await.is_err());
    }
}
