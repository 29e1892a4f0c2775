//! Sends spans to the collector, some at a time.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use ureq::tls::{RootCerts, TlsConfig};

use super::document::document;
use super::span::Span;

/// How many spans may wait to be sent; more are dropped.
const WAITING_MAX: usize = 4096;

/// How many are sent at once.
const BATCH_MAX: usize = 512;

/// How long a span waits for others to be sent with.
const BATCH_TIME: Duration = Duration::from_secs(1);

/// How long the collector may take.
const SEND_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a node that stops waits for its last spans to be sent.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

/// How often it is told that the collector does not take spans.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Where spans wait.
pub(super) struct Queue(SyncSender<Message>);

enum Message {
    Span(Box<Span>),
    /// Everything before this is to be sent now, and then it is to be said.
    Flush(SyncSender<()>),
}

/// Sends what is left when it is dropped.
pub(crate) struct Flush(SyncSender<Message>);

impl Queue {
    /// Hands a span on, or drops it where too many wait.
    pub(super) fn add(&self, span: Span) {
        // The exporter lives as long as the process.
        let _ = self.0.try_send(Message::Span(Box::new(span)));
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let (said, done) = sync_channel(1);
        if let Ok(()) | Err(TrySendError::Disconnected(_)) = self.0.try_send(Message::Flush(said)) {
            let _ = done.recv_timeout(FLUSH_TIME_MAX);
        }
    }
}

/// Starts a thread that sends to the collector at `endpoint`.
///
/// # Errors
/// The system gives no more threads.
pub(super) fn start(endpoint: &str, headers: Option<&str>, service: &str) -> io::Result<(Queue, Flush)> {
    let (sender, messages) = sync_channel(WAITING_MAX);
    let collector = Collector {
        agent: ureq::Agent::config_builder()
            .http_status_as_error(true)
            .timeout_global(Some(SEND_TIME_MAX))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .user_agent(concat!("picloud/", env!("CARGO_PKG_VERSION")))
            .build()
            .into(),
        url: format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        headers: read_headers(headers.unwrap_or_default()),
        service: service.to_owned(),
        told: None,
    };
    std::thread::Builder::new().name("traces".to_owned()).spawn(move || work(&messages, collector))?;
    Ok((Queue(sender.clone()), Flush(sender)))
}

/// `name=value,name=value`, as other programs read it from the same variable.
fn read_headers(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

struct Collector {
    agent: ureq::Agent,
    url: String,
    headers: Vec<(String, String)>,
    service: String,
    /// When it was last said that it does not take spans.
    told: Option<Instant>,
}

fn work(messages: &Receiver<Message>, mut collector: Collector) {
    let mut batch = Vec::new();
    let mut send_at = Instant::now();
    loop {
        let next = if batch.is_empty() {
            messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            messages.recv_timeout(send_at.saturating_duration_since(Instant::now()))
        };
        let mut flushed = None;
        match next {
            Ok(Message::Span(span)) => {
                if batch.is_empty() {
                    send_at = Instant::now() + BATCH_TIME;
                }
                batch.push(*span);
                if batch.len() < BATCH_MAX {
                    continue;
                }
            }
            Ok(Message::Flush(said)) => flushed = Some(said),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if !batch.is_empty() {
            collector.send(&batch);
            batch.clear();
        }
        if let Some(said) = flushed {
            let _ = said.send(());
        }
    }
}

impl Collector {
    fn send(&mut self, spans: &[Span]) {
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match request.send(document(&self.service, spans).to_string()) {
            Ok(_) => self.told = None,
            Err(error) => {
                if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                    self.told = Some(Instant::now());
                    tracing::warn!(url = self.url, %error, "the collector takes no traces; they are dropped");
                }
            }
        }
    }
}
