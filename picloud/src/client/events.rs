//! Server-sent events (<https://html.spec.whatwg.org/#server-sent-events>): a stream that reconnects after the last event.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::api::{ApiError, event_stream};
use super::error::ClientError;

/// The read timeout. A server sends an event or a keep-alive comment at least every 15 seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(45);

/// The initial and the maximum delay before a reconnect.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(500);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);

/// The maximum length of a line.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// The event type.
    pub(crate) name: String,
    /// The payload.
    pub(crate) data: String,
    /// The id to reconnect with.
    id: Option<String>,
}

/// A notification to the consumer of a stream.
pub(crate) enum StreamEvent<'a> {
    /// An event.
    Event(&'a Event),
    /// The connection was lost; the stream reconnects without losing events.
    Disconnected(&'a str),
    /// The connection was restored.
    Reconnected,
}

/// Consumes a stream until the server rejects it, the first connection fails, or `handle` returns an error.
pub(super) fn follow<E: From<ClientError>>(
    url: &str,
    token: &str,
    mut handle: impl FnMut(StreamEvent<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut last_id: Option<String> = None;
    let (mut connected_once, mut disconnected) = (false, false);
    let mut delay = RETRY_DELAY_MIN;
    loop {
        let reason = match event_stream(url, token, last_id.as_deref()) {
            Ok(reader) => {
                connected_once = true;
                if std::mem::take(&mut disconnected) {
                    handle(StreamEvent::Reconnected)?;
                }
                let (sender, events) = sync_channel(64);
                let reader_thread = thread::Builder::new().spawn(move || read(reader, &sender));
                loop {
                    if let Err(error) = &reader_thread {
                        break format!("cannot start a thread: {error}");
                    }
                    match events.recv_timeout(READ_TIMEOUT) {
                        // A keep-alive comment.
                        Ok(None) => {}
                        Ok(Some(event)) => {
                            delay = RETRY_DELAY_MIN;
                            handle(StreamEvent::Event(&event))?;
                            last_id = event.id.or(last_id);
                        }
                        Err(RecvTimeoutError::Disconnected) => {
                            break "the server ended the stream".to_owned();
                        }
                        Err(RecvTimeoutError::Timeout) => {
                            break "no data from the server".to_owned();
                        }
                    }
                }
            }
            Err(error @ (ApiError::Unauthorized | ApiError::Rejected { .. })) => {
                return Err(ClientError::from(error).into());
            }
            Err(error) if !connected_once => return Err(ClientError::from(error).into()),
            Err(error) => error.to_string(),
        };
        if !std::mem::replace(&mut disconnected, true) {
            handle(StreamEvent::Disconnected(&reason))?;
        }
        thread::sleep(delay);
        delay = (delay * 2).min(RETRY_DELAY_MAX);
    }
}

/// Reads events until the stream ends or the receiver is dropped; `None` is a keep-alive comment.
fn read(reader: impl Read, events: &SyncSender<Option<Event>>) {
    let mut reader = BufReader::new(reader);
    let mut event = Event::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line.last() != Some(&b'\n') => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let parsed = match text.trim_end_matches(['\n', '\r']) {
            "" if event.data.is_empty() => None,
            "" => Some(std::mem::take(&mut event)),
            text => {
                parse_field(&mut event, text);
                continue;
            }
        };
        if events.send(parsed).is_err() {
            return;
        }
    }
}

/// Parses one field of an event. Comments and unknown fields are ignored.
fn parse_field(event: &mut Event, line: &str) {
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
    fn events_are_parsed_as_in_the_standard() {
        let text = ": hello\n\nretry: 1000\n\nevent: line\nid: 7\ndata: {\"a\":\ndata: 1}\n\ndata:x\r\n\r\ndata: cut off";
        let (sender, events) = sync_channel(9);
        read(text.as_bytes(), &sender);
        drop(sender);
        let event = |name: &str, data: &str, id: Option<&str>| {
            Some(Event { name: name.to_owned(), data: data.to_owned(), id: id.map(str::to_owned) })
        };
        let received: Vec<_> = events.iter().collect();
        assert_eq!(received, [None, None, event("line", "{\"a\":\n1}", Some("7")), event("", "x", None)]);
    }
}
