//! Asks a DNS server for the TXT records of a name (RFC 1035): over UDP, and over TCP where the answer does not fit.
//!
//! The servers are those of the system, or the one that the operator names. Nothing is remembered: who asks has just changed a record.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Where the system says which servers it asks (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";

const DNS_PORT: u16 = 53;

/// How many servers are asked, one after the other.
const SERVERS_MAX: usize = 3;

/// How long a server can take to answer, and how often it is asked: a datagram can be lost.
const ANSWER_WAIT: Duration = Duration::from_millis(1500);
const TRIES: u32 = 2;

/// The longest answer over UDP. None was offered more than 512 bytes.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// Why the TXT records of a name are not known.
#[derive(Debug, thiserror::Error)]
pub enum TxtLookupError {
    /// The system names no server.
    #[error("{RESOLV_CONF} names no DNS server")]
    NoServer,
    /// The name cannot stand in a question.
    #[error("the name is too long")]
    Name,
    /// The server does not answer.
    #[error("DNS server {0} does not answer")]
    Timeout(SocketAddr),
    /// The server cannot be reached.
    #[error("cannot reach DNS server {server}")]
    Unreachable {
        /// The server.
        server: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The server answers that it failed.
    #[error("DNS server {server} answers: {code}")]
    Failed {
        /// The server.
        server: SocketAddr,
        /// What it answers.
        code: ResponseCode,
    },
    /// The answer is none.
    #[error("DNS server {0} answers what cannot be read")]
    Malformed(SocketAddr),
}

/// Asks for TXT records.
#[derive(Clone, Debug, Default)]
pub struct TxtLookup {
    server: Option<SocketAddr>,
}

impl TxtLookup {
    /// One that asks `server`, or those of the system.
    pub fn new(server: Option<SocketAddr>) -> Self {
        Self { server }
    }

    /// The TXT records of a name; none where there is no such name.
    ///
    /// # Errors
    /// No server says which they are.
    pub(super) async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, TxtLookupError> {
        // With the dot of the root, so that nothing is added to it.
        let name = Name::from_ascii(format!("{name}.")).map_err(|_| TxtLookupError::Name)?;
        let servers = match self.server {
            Some(server) => vec![server],
            None => system_servers(Path::new(RESOLV_CONF)).await,
        };
        let mut failed = TxtLookupError::NoServer;
        for server in servers {
            match ask(server, &name).await {
                Ok(answer) => return Ok(texts_of(&answer)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// The servers that the system asks. The file is read each time: it changes with the network.
async fn system_servers(path: &Path) -> Vec<SocketAddr> {
    let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    });
    addresses.take(SERVERS_MAX).map(|address| SocketAddr::new(address, DNS_PORT)).collect()
}

async fn ask(server: SocketAddr, name: &Name) -> Result<Message, TxtLookupError> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), RecordType::TXT));
    let bytes = question.to_vec().map_err(|_| TxtLookupError::Name)?;
    let unreachable = |source| TxtLookupError::Unreachable { server, source };
    let mut answer = over_udp(server, &question, &bytes).await?;
    if answer.metadata.truncation {
        let asking = timeout(ANSWER_WAIT, over_tcp(server, &bytes)).await;
        let whole = asking.map_err(|_| TxtLookupError::Timeout(server))?.map_err(unreachable)?;
        let read = Message::from_vec(&whole).ok().filter(|answer| is_answer(answer, &question));
        answer = read.ok_or(TxtLookupError::Malformed(server))?;
    }
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer),
        code => Err(TxtLookupError::Failed { server, code }),
    }
}

async fn over_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, TxtLookupError> {
    let unreachable = |source| TxtLookupError::Unreachable { server, source };
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port of its own, and connected: nobody else's datagrams are read.
    let socket = UdpSocket::bind((any, 0)).await.map_err(unreachable)?;
    socket.connect(server).await.map_err(unreachable)?;
    for _ in 0..TRIES {
        socket.send(bytes).await.map_err(unreachable)?;
        let answered = timeout(ANSWER_WAIT, async {
            let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
            loop {
                let length = socket.recv(&mut datagram).await?;
                // What is no answer to the question may come from somebody who guesses.
                match Message::from_vec(&datagram[..length]) {
                    Ok(answer) if is_answer(&answer, question) => return Ok(answer),
                    _ => {}
                }
            }
        });
        if let Ok(answer) = answered.await {
            return answer.map_err(unreachable);
        }
    }
    Err(TxtLookupError::Timeout(server))
}

/// The answer over TCP, where each message has its length before it (RFC 1035 section 4.2.2).
async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn is_answer(answer: &Message, question: &Message) -> bool {
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        && answer.queries == question.queries
}

/// What the TXT records of an answer say. They can stand under another name, to which that of the question leads.
fn texts_of(answer: &Message) -> Vec<Vec<u8>> {
    let texts = answer.answers.iter().filter_map(|record| match &record.data {
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

    /// What a server answers to a question.
    fn answer(question: &[u8], code: ResponseCode, text: Option<&str>) -> Message {
        let question = Message::from_vec(question).unwrap();
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.response_code = code;
        let name = question.queries[0].name().clone();
        answer.add_queries(question.queries);
        answer.add_answers(text.map(|text| {
            // A long record comes in pieces.
            let (first, second) = text.split_at(text.len() / 2);
            Record::from_rdata(name, 60, RData::TXT(TXT::new(vec![first.to_owned(), second.to_owned()])))
        }));
        answer
    }

    /// A server that answers each datagram with those that `answers` makes of it.
    async fn server(answers: impl Fn(&[u8]) -> Vec<Message> + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut datagram = [0; 1024];
            loop {
                let (length, from) = socket.recv_from(&mut datagram).await.unwrap();
                for answer in answers(&datagram[..length]) {
                    socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
                }
            }
        });
        address
    }

    async fn ask(server: SocketAddr) -> Result<Vec<Vec<u8>>, TxtLookupError> {
        TxtLookup::new(Some(server)).texts("_picloud-challenge.shop.example").await
    }

    #[tokio::test]
    async fn text_is_put_together_and_a_name_that_is_not_there_has_none() {
        let there = server(|question| vec![answer(question, ResponseCode::NoError, Some("proof"))]).await;
        assert_eq!(ask(there).await.unwrap(), [b"proof".to_vec()]);
        let none = server(|question| vec![answer(question, ResponseCode::NXDomain, None)]).await;
        assert_eq!(ask(none).await.unwrap(), Vec::<Vec<u8>>::new());
        let failed = server(|question| vec![answer(question, ResponseCode::ServFail, None)]).await;
        assert!(matches!(ask(failed).await, Err(TxtLookupError::Failed { .. })));
    }

    #[tokio::test]
    async fn answers_to_other_questions_are_passed_over() {
        let forger = server(|question| {
            let right = answer(question, ResponseCode::NoError, Some("right"));
            let mut forged = answer(question, ResponseCode::NoError, Some("forged"));
            forged.metadata.id ^= 1;
            let mut elsewhere = answer(question, ResponseCode::NoError, Some("elsewhere"));
            elsewhere.queries[0].set_query_type(RecordType::A);
            vec![forged, elsewhere, right]
        });
        assert_eq!(ask(forger.await).await.unwrap(), [b"right".to_vec()]);
    }

    #[tokio::test]
    async fn answer_that_does_not_fit_comes_over_tcp() {
        let udp = server(|question| {
            let mut cut = answer(question, ResponseCode::NoError, None);
            cut.metadata.truncation = true;
            vec![cut]
        });
        let address = udp.await;
        let listener = TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut question).await.unwrap();
            let text = "long".repeat(100);
            let bytes = answer(&question, ResponseCode::NoError, Some(&text)).to_vec().unwrap();
            stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        });
        assert_eq!(ask(address).await.unwrap(), [b"long".repeat(100)]);
    }

    #[tokio::test]
    async fn servers_are_those_of_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        std::fs::write(&path, "# a\nsearch lan\nnameserver 192.0.2.1\nnameserver ::1 \nnameserver x\n")
            .unwrap();
        let servers = system_servers(&path).await;
        assert_eq!(servers, ["192.0.2.1:53".parse().unwrap(), "[::1]:53".parse::<SocketAddr>().unwrap()]);
        assert!(system_servers(&folder.path().join("none")).await.is_empty());
    }
}
