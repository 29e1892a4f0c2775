//! A raw HTTP/1.1 connection.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::time::Duration;

use crate::wait::WAIT_MAX;
use crate::{Response, Server};

/// An open connection.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    /// Connects.
    pub fn open(server: &Server) -> Self {
        Self::try_open(&server.address).expect("the server listens")
    }

    /// Connects to an address, where a node can be killed meanwhile.
    ///
    /// # Errors
    /// Nothing listens there.
    pub fn try_open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Connects from this local address, such as 127.0.0.2.
    pub fn open_from(server: &Server, address: Ipv4Addr) -> Self {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
        let to: SocketAddrV4 = server.address.parse().expect("an address of IPv4");
        // Otherwise nodes that tests start would inherit it.
        let flags = SocketFlags::CLOEXEC;
        let from = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
        bind(&from, &SocketAddrV4::new(address, 0)).expect("an address of this machine");
        connect(&from, &to).expect("the server listens");
        let stream = TcpStream::from(from);
        stream.set_read_timeout(Some(WAIT_MAX)).expect("a timeout");
        Self { stream: BufReader::new(stream) }
    }

    /// Connects with a small receive buffer.
    pub fn with_small_buffer(server: &Server) -> Self {
        let wire = Self::open(server);
        rustix::net::sockopt::set_socket_recv_buffer_size(wire.stream.get_ref(), 16 * 1024)
            .expect("a smaller buffer");
        wire
    }

    /// Connects and sends.
    pub fn sent(server: &Server, bytes: impl AsRef<[u8]>) -> Self {
        let mut wire = Self::open(server);
        wire.send(bytes);
        wire
    }

    /// Sends; errors are ignored, since the server may have closed the connection.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.get_ref().write_all(bytes.as_ref());
    }

    /// Shuts down the sending side.
    pub fn end(&mut self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// Reads one response to a request other than HEAD.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.try_response().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads one response to a request other than HEAD, of a node that can be killed meanwhile.
    ///
    /// # Errors
    /// There is none, or a part of one.
    pub fn try_response(&mut self) -> io::Result<Response> {
        let mut response = self.try_head()?;
        let mut body = Vec::new();
        if response.header("transfer-encoding").is_some() {
            loop {
                let line = self.line()?;
                let size =
                    usize::from_str_radix(&line, 16).map_err(|_| invalid("no size of a chunk", &line))?;
                let mut chunk = vec![0; size + 2];
                self.stream.read_exact(&mut chunk)?;
                if size == 0 {
                    break;
                }
                body.extend_from_slice(&chunk[..size]);
            }
        } else if let Some(length) = response.header("content-length") {
            body.resize(length.parse().map_err(|_| invalid("no length", length))?, 0);
            self.stream.read_exact(&mut body)?;
        } else if response.status >= 200 && response.status != 204 && response.status != 304 {
            body = self.try_rest()?;
        }
        response.body = String::from_utf8_lossy(&body).into_owned();
        Ok(response)
    }

    /// Reads the head of a response, up to the empty line.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn head(&mut self) -> Response {
        self.try_head().unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_head(&mut self) -> io::Result<Response> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| invalid("no status", &first))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response { status, headers, body: String::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("no header", &line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if let Err(error) = self.stream.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line);
            return Err(io::Error::new(error.kind(), format!("{error} after {text:?}")));
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Reads until the server closes the connection.
    ///
    /// # Panics
    /// It stays open.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        self.try_rest().unwrap_or_else(|error| panic!("the connection stays open: {error}"))
    }

    fn try_rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error),
            _ => Ok(rest),
        }
    }

    /// Reads so many bytes.
    ///
    /// # Panics
    /// They do not arrive.
    #[track_caller]
    pub fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.stream.read_exact(&mut read).expect("bytes");
        read
    }

    /// Reads so many bytes, or fewer if the server closes the connection, and returns their number.
    pub fn read_up_to(&mut self, bytes: usize) -> usize {
        let mut read = Vec::new();
        // If the connection is reset, earlier bytes count.
        let _ = (&mut self.stream).take(bytes as u64).read_to_end(&mut read);
        read.len()
    }

    /// Whether nothing arrives for a while, and the connection stays open.
    pub fn is_silent(&mut self) -> bool {
        self.stream.get_ref().set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let silent = self.stream.fill_buf().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.stream.get_ref().set_read_timeout(Some(WAIT_MAX)).expect("a timeout");
        silent
    }

    /// Whether the server has closed the connection without sending more.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

fn invalid(what: &str, found: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{what} in {found:?}"))
}
