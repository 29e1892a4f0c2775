//! Queries a DNS server for the TXT records of a name (RFC 1035): over UDP, and over TCP after a truncated
//! response.
//!
//! The servers are those of the system, or the configured one. Nothing is cached: the record was often
//! changed just before.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// The DNS servers of the system, see resolv.conf(5).
const RESOLV_CONF: &str = "/etc/resolv.conf";

const DNS_PORT: u16 = 53;

/// How many servers are tried, one after the other.
const SERVERS_MAX: usize = 3;

/// The timeout of one attempt, and the attempts per server: datagrams can be lost.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1500);
const ATTEMPTS_MAX: u32 = 2;

/// The maximum size of a response over UDP. Without EDNS, servers send at most 512 bytes.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// Why a lookup failed.
#[derive(Debug, thiserror::Error)]
pub enum TxtLookupError {
    /// The system has no DNS server.
    #[error("no DNS server in {RESOLV_CONF}")]
    NoServer,
    /// The name is not valid in a query.
    #[error("the name is too long")]
    Name,
    /// The server did not respond in time.
    #[error("DNS server {0} did not respond in time")]
    Timeout(SocketAddr),
    /// The server cannot be reached.
    #[error("cannot reach DNS server {server}")]
    Unreachable {
        /// The server.
        server: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The server responded with an error.
    #[error("DNS server {server} responded with {code}")]
    Failed {
        /// The server.
        server: SocketAddr,
        /// The response code.
        code: ResponseCode,
    },
    /// The response is malformed.
    #[error("DNS server {0} sent a malformed response")]
    Malformed(SocketAddr),
}

/// Looks up TXT records.
#[derive(Clone, Debug, Default)]
pub struct TxtLookup {
    server: Option<SocketAddr>,
}

impl TxtLookup {
    /// Creates a lookup that queries `server`, or the system's servers.
    pub fn new(server: Option<SocketAddr>) -> Self {
        Self { server }
    }

    /// The TXT records of a name; empty if the name does not exist.
    ///
    /// # Errors
    /// No server responded with them.
    pub(super) async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, TxtLookupError> {
        // Fully qualified, so that no search domain is appended.
        let name = Name::from_ascii(format!("{name}.")).map_err(|_| TxtLookupError::Name)?;
        let servers = match self.server {
            Some(server) => vec![server],
            None => system_servers(Path::new(RESOLV_CONF)).await,
        };
        let mut failed = TxtLookupError::NoServer;
        for server in servers {
            match query(server, &name).await {
                Ok(response) => return Ok(texts_of(&response)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// The servers of the system. The file is read each time, since it changes with the network.
async fn system_servers(path: &Path) -> Vec<SocketAddr> {
    let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    });
    addresses.take(SERVERS_MAX).map(|address| SocketAddr::new(address, DNS_PORT)).collect()
}

async fn query(server: SocketAddr, name: &Name) -> Result<Message, TxtLookupError> {
    let mut request = Message::query();
    request.metadata.recursion_desired = true;
    request.add_query(Query::query(name.clone(), RecordType::TXT));
    let bytes = request.to_vec().map_err(|_| TxtLookupError::Name)?;
    let unreachable = |source| TxtLookupError::Unreachable { server, source };
    let mut response = query_udp(server, &request, &bytes).await?;
    if response.metadata.truncation {
        let receiving = timeout(RESPONSE_TIMEOUT, query_tcp(server, &bytes)).await;
        let whole = receiving.map_err(|_| TxtLookupError::Timeout(server))?.map_err(unreachable)?;
        let read = Message::from_vec(&whole).ok().filter(|response| is_response_to(response, &request));
        response = read.ok_or(TxtLookupError::Malformed(server))?;
    }
    match response.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(response),
        code => Err(TxtLookupError::Failed { server, code }),
    }
}

async fn query_udp(server: SocketAddr, request: &Message, bytes: &[u8]) -> Result<Message, TxtLookupError> {
    let unreachable = |source| TxtLookupError::Unreachable { server, source };
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A separate connected socket only receives datagrams of this server.
    let socket = UdpSocket::bind((any, 0)).await.map_err(unreachable)?;
    socket.connect(server).await.map_err(unreachable)?;
    for _ in 0..ATTEMPTS_MAX {
        socket.send(bytes).await.map_err(unreachable)?;
        let receiving = timeout(RESPONSE_TIMEOUT, async {
            let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
            loop {
                let length = socket.recv(&mut datagram).await?;
                // Datagrams that do not match the query can be spoofed.
                match Message::from_vec(&datagram[..length]) {
                    Ok(response) if is_response_to(&response, request) => return Ok(response),
                    _ => {}
                }
            }
        });
        if let Ok(response) = receiving.await {
            return response.map_err(unreachable);
        }
    }
    Err(TxtLookupError::Timeout(server))
}

/// Queries over TCP, where each message is prefixed with its length (RFC 1035 section 4.2.2).
async fn query_tcp(server: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(request.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), request].concat()).await?;
    let mut response = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut response).await?;
    Ok(response)
}

fn is_response_to(response: &Message, request: &Message) -> bool {
    response.metadata.message_type == MessageType::Response
        && response.metadata.id == request.metadata.id
        && response.queries == request.queries
}

/// The values of the TXT records. With a CNAME they have another name than the query.
fn texts_of(response: &Message) -> Vec<Vec<u8>> {
    let texts = response.answers.iter().filter_map(|record| match &record.data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::TXT;
    use tokio::net::TcpListener;

    use super::*;

    /// Builds a server's response to a request.
    fn response(request: &[u8], code: ResponseCode, text: Option<&str>) -> Message {
        let request = Message::from_vec(request).unwrap();
        let mut response = Message::response(request.metadata.id, OpCode::Query);
        response.metadata.response_code = code;
        let name = request.queries[0].name().clone();
        response.add_queries(request.queries);
        response.add_answers(text.map(|text| {
            // A long record consists of several strings.
            let (first, second) = text.split_at(text.len() / 2);
            Record::from_rdata(name, 60, RData::TXT(TXT::new(vec![first.to_owned(), second.to_owned()])))
        }));
        response
    }

    /// A server that responds to each datagram with the messages of `responses`.
    async fn server(responses: impl Fn(&[u8]) -> Vec<Message> + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut datagram = [0; 1024];
            loop {
                let (length, from) = socket.recv_from(&mut datagram).await.unwrap();
                for response in responses(&datagram[..length]) {
                    socket.send_to(&response.to_vec().unwrap(), from).await.unwrap();
                }
            }
        });
        address
    }

    async fn query(server: SocketAddr) -> Result<Vec<Vec<u8>>, TxtLookupError> {
        TxtLookup::new(Some(server)).texts("_picloud-challenge.shop.example").await
    }

    #[tokio::test]
    async fn lookup_joins_strings_and_returns_nothing_for_missing_names() {
        let there = server(|request| vec![response(request, ResponseCode::NoError, Some("proof"))]).await;
        assert_eq!(query(there).await.unwrap(), [b"proof".to_vec()]);
        let none = server(|request| vec![response(request, ResponseCode::NXDomain, None)]).await;
        assert_eq!(query(none).await.unwrap(), Vec::<Vec<u8>>::new());
        let failed = server(|request| vec![response(request, ResponseCode::ServFail, None)]).await;
        assert!(matches!(query(failed).await, Err(TxtLookupError::Failed { .. })));
    }

    #[tokio::test]
    async fn responses_to_other_queries_are_ignored() {
        let forger = server(|request| {
            let right = response(request, ResponseCode::NoError, Some("right"));
            let mut forged = response(request, ResponseCode::NoError, Some("forged"));
            forged.metadata.id ^= 1;
            let mut elsewhere = response(request, ResponseCode::NoError, Some("elsewhere"));
            elsewhere.queries[0].set_query_type(RecordType::A);
            vec![forged, elsewhere, right]
        });
        assert_eq!(query(forger.await).await.unwrap(), [b"right".to_vec()]);
    }

    #[tokio::test]
    async fn truncated_response_is_repeated_over_tcp() {
        let udp = server(|request| {
            let mut cut = response(request, ResponseCode::NoError, None);
            cut.metadata.truncation = true;
            vec![cut]
        });
        let address = udp.await;
        let listener = TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut request).await.unwrap();
            let text = "long".repeat(100);
            let bytes = response(&request, ResponseCode::NoError, Some(&text)).to_vec().unwrap();
            stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        });
        assert_eq!(query(address).await.unwrap(), [b"long".repeat(100)]);
    }

    #[tokio::test]
    async fn servers_are_read_from_resolv_conf() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        std::fs::write(&path, "# a\nsearch lan\nnameserver 192.0.2.1\nnameserver ::1 \nnameserver x\n")
            .unwrap();
        let servers = system_servers(&path).await;
        assert_eq!(servers, ["192.0.2.1:53".parse().unwrap(), "[::1]:53".parse::<SocketAddr>().unwrap()]);
        assert!(system_servers(&folder.path().join("none")).await.is_empty());
    }
}
