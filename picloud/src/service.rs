//! Talks to the service manager: readiness, watchdog (sd_notify(3)) and socket activation (sd_listen_fds(3)). Without one it does nothing.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::task::JoinSet;

/// Why an activation socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketActivationError {
    #[error("the service manager passed {0} sockets; a node needs exactly one")]
    Several(usize),
    #[error("the socket from the service manager is not a listening TCP socket")]
    NotTcpListener(#[source] io::Error),
}

/// The activation socket, where the service manager passes one. It keeps accepting connections while the node restarts.
///
/// # Errors
/// There are several sockets, or it is not a listening TCP socket.
pub(crate) fn activation_socket() -> Result<Option<TcpListener>, SocketActivationError> {
    let mut passed = ListenFd::from_env();
    match passed.len() {
        0 => Ok(None),
        1 => {
            let listener = passed.take_tcp_listener(0).map_err(SocketActivationError::NotTcpListener)?;
            if let Some(listener) = &listener {
                listener.set_nonblocking(true).map_err(SocketActivationError::NotTcpListener)?;
            }
            Ok(listener)
        }
        several => Err(SocketActivationError::Several(several)),
    }
}

/// Notifies the service manager that the node is ready.
pub(crate) fn notify_ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Notifies the service manager that the node shuts down.
pub(crate) fn notify_stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("shutting down")]);
}

/// Sends watchdog keepalives, at half the interval that the service manager requires, while the runtime makes progress: before each one, as
/// many tasks as there are worker `threads` have to run.
pub(crate) async fn watchdog(threads: usize) {
    let Some(interval) = watchdog_enabled().map(|limit| limit / 2).filter(|interval| !interval.is_zero())
    else {
        return std::future::pending().await;
    };
    loop {
        let mut probes: JoinSet<()> = (0..threads).map(|_| tokio::task::yield_now()).collect();
        while probes.join_next().await.is_some() {}
        send(&[NotifyState::Watchdog]);
        tokio::time::sleep(interval.max(Duration::from_millis(10))).await;
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
