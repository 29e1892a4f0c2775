//! A DNS server on loopback that serves TXT records only (RFC 1035).

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

/// The records by name.
type Records = Arc<Mutex<BTreeMap<String, String>>>;

/// A DNS server.
#[derive(Debug)]
pub struct Dns {
    /// Its address.
    pub address: SocketAddr,
    records: Records,
}

impl Dns {
    /// A server without records.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("an address");
        let records = Records::default();
        let known = Arc::clone(&records);
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                if let Some(response) = respond(&query[..length], &known) {
                    let _ = socket.send_to(&response, from);
                }
            }
        });
        Self { address, records }
    }

    /// Sets the TXT record of a name.
    pub fn set(&self, name: &str, text: &str) {
        self.records.lock().expect("the records").insert(name.to_owned(), text.to_owned());
    }
}

/// The response to a query: the record, or NXDOMAIN.
fn respond(query: &[u8], records: &Records) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let mut labels = Vec::new();
    let mut at = HEADER;
    while let Some(length) = query.get(at).filter(|length| **length > 0) {
        let label = query.get(at + 1..at + 1 + usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += 1 + label.len();
    }
    let question = query.get(HEADER..at + 5)?;
    let text = records.lock().expect("the records").get(&labels.join(".")).cloned();
    let (code, answers) = if text.is_some() { (0x80, 1) } else { (0x83, 0) };
    let mut response = [&query[..2], &[0x81, code, 0, 1, 0, answers, 0, 0, 0, 0], question].concat();
    if let Some(text) = text {
        let length = u8::try_from(text.len()).expect("a short text");
        // The name of the query, TXT, IN, TTL 0.
        response.extend([0xc0, 0x0c, 0, 16, 0, 1, 0, 0, 0, 0, 0, length + 1, length]);
        response.extend(text.as_bytes());
    }
    Some(response)
}
