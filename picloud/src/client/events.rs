//! Server-sent events (<https://html.spec.whatwg.org/#server-sent-events>): a stream that is taken up again where it broke off.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::api::{ApiError, stream};
use super::error::ClientError;

/// A server says something at least every 15 seconds. One that says nothing for so long is not there any more.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// How long is waited before a stream is taken up again: at first, and at most.
const AGAIN_MIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// The longest line that is read.
const LINE_MAX: u64 = 4 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its kind.
    pub(crate) name: String,
    /// What it says.
    pub(crate) data: String,
    /// The place to go on from.
    id: Option<String>,
}

/// What a follower hears.
pub(crate) enum Heard<'a> {
    /// An event.
    Event(&'a Event),
    /// The stream broke off; it is taken up again, and nothing will be missing.
    BrokenOff(&'a str),
    /// It goes on.
    GoesOn,
}

/// Follows a stream until the server refuses it at the first time, or `hear` fails.
pub(super) fn follow<E: From<ClientError>>(
    url: &str,
    token: &str,
    mut hear: impl FnMut(Heard<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut last_id: Option<String> = None;
    let (mut begun, mut broken) = (false, false);
    let mut pause = AGAIN_MIN;
    loop {
        let why = match stream(url, token, last_id.as_deref()) {
            Ok(reader) => {
                begun = true;
                if std::mem::take(&mut broken) {
                    hear(Heard::GoesOn)?;
                }
                let (sender, events) = sync_channel(64);
                let reading = thread::Builder::new().spawn(move || read(reader, &sender));
                loop {
                    if let Err(error) = &reading {
                        break format!("this machine starts no thread to read it: {error}");
                    }
                    match events.recv_timeout(SILENCE_MAX) {
                        // A sign of life, and no event.
                        Ok(None) => {}
                        Ok(Some(event)) => {
                            pause = AGAIN_MIN;
                            hear(Heard::Event(&event))?;
                            last_id = event.id.or(last_id);
                        }
                        Err(RecvTimeoutError::Disconnected) => {
                            break "the server ended the stream".to_owned();
                        }
                        Err(RecvTimeoutError::Timeout) => {
                            break "the server says nothing any more".to_owned();
                        }
                    }
                }
            }
            Err(error @ (ApiError::Unauthorized | ApiError::Refused { .. })) => {
                return Err(ClientError::from(error).into());
            }
            Err(error) if !begun => return Err(ClientError::from(error).into()),
            Err(error) => error.to_string(),
        };
        if !std::mem::replace(&mut broken, true) {
            hear(Heard::BrokenOff(&why))?;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(AGAIN_MAX);
    }
}

/// Reads events until the stream ends or nobody wants them; `None` is a sign of life.
fn read(reader: impl Read, events: &SyncSender<Option<Event>>) {
    let mut reader = BufReader::new(reader);
    let mut event = Event::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line.last() != Some(&b'\n') => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let said = match text.trim_end_matches(['\n', '\r']) {
            "" if event.data.is_empty() => None,
            "" => Some(std::mem::take(&mut event)),
            text => {
                field(&mut event, text);
                continue;
            }
        };
        if events.send(said).is_err() {
            return;
        }
    }
}

/// Takes one line of an event. Comments and what is not known are passed over.
fn field(event: &mut Event, line: &str) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    match name {
        "event" => value.clone_into(&mut event.name),
        "id" => event.id = Some(value.to_owned()),
        "data" => {
            if !event.data.is_empty() {
                event.data.push('\n');
            }
            event.data.push_str(value);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_the_standard_has_them() {
        let text = ": hello\n\nretry: 1000\n\nevent: line\nid: 7\ndata: {\"a\":\ndata: 1}\n\ndata:x\r\n\r\ndata: cut off";
        let (sender, events) = sync_channel(9);
        read(text.as_bytes(), &sender);
        drop(sender);
        let event = |name: &str, data: &str, id: Option<&str>| {
            Some(Event { name: name.to_owned(), data: data.to_owned(), id: id.map(str::to_owned) })
        };
        let heard: Vec<_> = events.iter().collect();
        assert_eq!(heard, [None, None, event("line", "{\"a\":\n1}", Some("7")), event("", "x", None)]);
    }
}
