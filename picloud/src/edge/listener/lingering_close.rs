//! A lingering close: closes a connection so that the client receives its last response.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// How long to read and discard after the last response. Closing at once would answer further data with a reset, on which the client can
/// lose the response (RFC 9112 section 9.6).
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// Shuts the connection down for writing, then discards what the client still sends.
pub(super) async fn lingering_close(mut stream: TcpStream) {
    let discard = async {
        stream.shutdown().await?;
        loop {
            stream.readable().await?;
            // A buffer on the stack, released while there is nothing to read: many connections can linger at once.
            match stream.try_read(&mut [0; 16 * 1024]) {
                Ok(0) => return Ok::<_, io::Error>(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    // Best effort: the connection ends in any case.
    let _ = tokio::time::timeout(LINGER_TIMEOUT, discard).await;
}
