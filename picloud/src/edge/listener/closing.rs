//! Closing a connection so that its last answer arrives.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// How long a client may go on sending after its last answer. Were the connection closed at once, what still comes would
/// be answered by a reset, on which the client may lose the answer (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(1);

/// Ends a connection on which everything was said, and reads what still comes.
pub(super) async fn close(mut stream: TcpStream) {
    let reading = async {
        stream.shutdown().await?;
        loop {
            stream.readable().await?;
            // On the stack, and gone while there is nothing to read: many may be closing at once.
            match stream.try_read(&mut [0; 16 * 1024]) {
                Ok(0) => return Ok::<_, io::Error>(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    // However it ends, there is nobody to tell.
    let _ = tokio::time::timeout(LINGER, reading).await;
}
