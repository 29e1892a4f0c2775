//! Requests on one connection, one after the other.

use std::io;

use crate::{Response, Server, Wire};

/// A client that keeps its connection. After an error, the next request opens another one.
#[derive(Debug)]
pub struct Client {
    address: String,
    wire: Option<Wire>,
}

impl Client {
    /// A client of this node.
    pub fn of(server: &Server) -> Self {
        Self::at(&server.address)
    }

    /// A client of the node at an address.
    pub fn at(address: &str) -> Self {
        Self { address: address.to_owned(), wire: None }
    }

    /// The body of the response to GET.
    ///
    /// # Panics
    /// The status is not 200.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> String {
        let response = self.try_request(path, None).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        response.body
    }

    /// POST with JSON, or GET without a body.
    ///
    /// # Errors
    /// There is no complete response.
    pub fn try_request(&mut self, path: &str, body: Option<&str>) -> io::Result<Response> {
        let wire = self.send(path, body)?;
        self.receive(wire)
    }

    /// Receives the response to a request that was sent.
    ///
    /// # Errors
    /// There is no complete response.
    pub fn receive(&mut self, mut wire: Wire) -> io::Result<Response> {
        let response = wire.try_response()?;
        if response.header("connection") != Some("close") {
            self.wire = Some(wire);
        }
        Ok(response)
    }

    /// Sends a request. Its connection is closed unless the response is received.
    ///
    /// # Errors
    /// Nothing listens at the address, and nothing was sent.
    pub fn send(&mut self, path: &str, body: Option<&str>) -> io::Result<Wire> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::try_open(&self.address)?,
        };
        wire.send(request(path, body));
        Ok(wire)
    }

    /// Whether its next request goes to this address.
    pub fn is_at(&self, address: &str) -> bool {
        self.address == address
    }
}

fn request(path: &str, body: Option<&str>) -> String {
    match body {
        None => format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"),
        Some(body) => format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    }
}
