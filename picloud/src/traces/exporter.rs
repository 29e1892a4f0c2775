//! Sends spans to the collector in batches.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use ureq::tls::{RootCerts, TlsConfig};

use super::document::export_request;
use super::span::Span;

/// The capacity of the queue; more spans are dropped.
const QUEUE_MAX: usize = 4096;

/// The maximum size of a batch.
const BATCH_MAX: usize = 512;

/// The maximum delay of a batch.
const BATCH_DELAY_MAX: Duration = Duration::from_secs(1);

/// The timeout of a request to the collector.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// The timeout for the last spans at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The minimum interval between warnings about the collector.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The queue of spans.
pub(super) struct Queue(SyncSender<Message>);

enum Message {
    Span(Box<Span>),
    /// Sends all earlier spans now, then notifies the sender.
    Flush(SyncSender<()>),
}

/// Sends the remaining spans when dropped.
pub(crate) struct FlushGuard(SyncSender<Message>);

impl Queue {
    /// Queues a span, or drops it if the queue is full.
    pub(super) fn push(&self, span: Span) {
        // The exporter thread runs until the process exits.
        let _ = self.0.try_send(Message::Span(Box::new(span)));
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        let (flushed, done) = sync_channel(1);
        if let Ok(()) | Err(TrySendError::Disconnected(_)) = self.0.try_send(Message::Flush(flushed)) {
            let _ = done.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Starts the exporter thread for the collector at `endpoint`.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn start(endpoint: &str, headers: Option<&str>, service: &str) -> io::Result<(Queue, FlushGuard)> {
    let (sender, messages) = sync_channel(QUEUE_MAX);
    let collector = Collector {
        agent: ureq::Agent::config_builder()
            .http_status_as_error(true)
            .timeout_global(Some(SEND_TIMEOUT))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .user_agent(concat!("picloud/", env!("CARGO_PKG_VERSION")))
            .build()
            .into(),
        url: format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        headers: parse_headers(headers.unwrap_or_default()),
        service: service.to_owned(),
        last_warning: None,
    };
    std::thread::Builder::new().name("traces".to_owned()).spawn(move || run(&messages, collector))?;
    Ok((Queue(sender.clone()), FlushGuard(sender)))
}

/// Parses `name=value,name=value`.
fn parse_headers(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

struct Collector {
    agent: ureq::Agent,
    url: String,
    headers: Vec<(String, String)>,
    service: String,
    /// The time of the last warning.
    last_warning: Option<Instant>,
}

fn run(messages: &Receiver<Message>, mut collector: Collector) {
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
                    send_at = Instant::now() + BATCH_DELAY_MAX;
                }
                batch.push(*span);
                if batch.len() < BATCH_MAX {
                    continue;
                }
            }
            Ok(Message::Flush(sender)) => flushed = Some(sender),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if !batch.is_empty() {
            collector.send(&batch);
            batch.clear();
        }
        if let Some(flushed) = flushed {
            let _ = flushed.send(());
        }
    }
}

impl Collector {
    fn send(&mut self, spans: &[Span]) {
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match request.send(export_request(&self.service, spans).to_string()) {
            Ok(_) => self.last_warning = None,
            Err(error) => {
                if self.last_warning.is_none_or(|last| last.elapsed() >= WARN_INTERVAL) {
                    self.last_warning = Some(Instant::now());
                    tracing::warn!(url = self.url, %error, "cannot export traces; spans are dropped");
                }
            }
        }
    }
}
