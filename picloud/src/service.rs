//! What a node and its service manager say to each other (sd_notify(3), sd_listen_fds(3)). Without one, nothing is said.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::task::JoinSet;

/// Why a socket that was handed over cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandedError {
    #[error("the service manager handed over {0} sockets, and a node has one")]
    Several(usize),
    #[error("the socket that the service manager handed over is none that listens for TCP")]
    Other(#[source] io::Error),
}

/// The socket that the service manager holds for the node, if it does: it goes on listening while the node is started anew.
///
/// # Errors
/// It is another kind of socket, or there are several.
pub(crate) fn handed_over() -> Result<Option<TcpListener>, HandedError> {
    let mut handed = ListenFd::from_env();
    match handed.len() {
        0 => Ok(None),
        1 => {
            let listener = handed.take_tcp_listener(0).map_err(HandedError::Other)?;
            if let Some(listener) = &listener {
                listener.set_nonblocking(true).map_err(HandedError::Other)?;
            }
            Ok(listener)
        }
        several => Err(HandedError::Several(several)),
    }
}

/// The node answers.
pub(crate) fn ready(status: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The node is stopping.
pub(crate) fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Says that the node is alive, twice as often as the service manager wants to hear it, for as long as its threads take up
/// work: once for each of `threads`, all at the same time, something is to be done, and all of it is waited for.
pub(crate) async fn watchdog(threads: usize) {
    let Some(every) = watchdog_enabled().map(|limit| limit / 2).filter(|every| !every.is_zero()) else {
        return std::future::pending().await;
    };
    loop {
        let mut done: JoinSet<()> = (0..threads).map(|_| tokio::task::yield_now()).collect();
        while done.join_next().await.is_some() {}
        say(&[NotifyState::Watchdog]);
        tokio::time::sleep(every.max(Duration::from_millis(10))).await;
    }
}

fn say(what: &[NotifyState<'_>]) {
    if let Err(error) = notify(what) {
        tracing::warn!(%error, "cannot speak to the service manager");
    }
}
