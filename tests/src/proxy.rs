//! A proxy between a node and its PostgreSQL that fails on request.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The buffered part of a transaction, to recognize it.
const BUFFERED_MAX: usize = 1 << 20;

/// Forwards all bytes until the transaction that is to be cut.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
}

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never receives the COMMIT, or the statement that commits by itself.
    BeforeCommit,
    /// The server has committed, and its reply is dropped.
    AfterCommit,
}

#[derive(Debug, Default)]
struct Plan {
    /// The transaction to cut, once: the one that contains these bytes.
    cut: Option<(Cut, Vec<u8>)>,
    /// Whether all connections are rejected after the cut.
    then_down: bool,
    is_down: bool,
    cuts: usize,
    /// Both sides of each connection, also of some that are closed.
    connections: Vec<[TcpStream; 2]>,
}

impl Proxy {
    /// A proxy for the server on a port of loopback. It ends with the process.
    ///
    /// # Panics
    /// No port is free.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let plan = Arc::<Mutex<Plan>>::default();
        let plans = Arc::clone(&plan);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if locked(&plans).is_down {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                join(&client, &server, &plans);
            }
        });
        Self { address, plan }
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts the next transaction that contains `bytes`.
    pub fn cut(&self, cut: Cut, bytes: &str) {
        locked(&self.plan).cut = Some((cut, bytes.as_bytes().to_vec()));
    }

    /// The same; afterwards all connections are rejected.
    pub fn cut_and_disconnect(&self, cut: Cut, bytes: &str) {
        self.cut(cut, bytes);
        locked(&self.plan).then_down = true;
    }

    /// Cuts all connections. New ones are accepted.
    pub fn disconnect(&self) {
        for connection in locked(&self.plan).connections.drain(..) {
            end(&connection);
        }
    }

    /// Cuts all connections, and rejects new ones.
    pub fn reject_connections(&self) {
        locked(&self.plan).is_down = true;
        self.disconnect();
    }

    /// Accepts connections again.
    pub fn accept_connections(&self) {
        let mut plan = locked(&self.plan);
        (plan.is_down, plan.then_down) = (false, false);
    }

    /// The number of transactions that were cut.
    pub fn cuts(&self) -> usize {
        locked(&self.plan).cuts
    }
}

fn locked(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two threads, one for each direction.
fn join(client: &TcpStream, server: &TcpStream, plan: &Arc<Mutex<Plan>>) {
    let dropping_replies = Arc::<Mutex<bool>>::default();
    let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
    {
        let connections = &mut locked(plan).connections;
        connections.retain(|[client, _]| client.peer_addr().is_ok());
        connections.push([copy(client), copy(server)]);
    }
    let (from, to) = (copy(client), copy(server));
    let (plans, drops) = (Arc::clone(plan), Arc::clone(&dropping_replies));
    thread::spawn(move || forward_requests(from, to, &plans, &drops));
    let (from, to, plans) = (copy(server), copy(client), Arc::clone(plan));
    thread::spawn(move || forward_replies(from, to, &plans, &dropping_replies));
}

/// Forwards requests, except the COMMIT that is to be lost.
fn forward_requests(
    mut from: TcpStream,
    mut to: TcpStream,
    plan: &Mutex<Plan>,
    dropping_replies: &Mutex<bool>,
) {
    let (mut transaction, mut statement) = (Vec::new(), None);
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read) = from.read(&mut buffer) {
        let bytes = &buffer[..read];
        if bytes.is_empty() || locked(plan).is_down {
            break;
        }
        if contains(bytes, b"BEGIN") {
            transaction.clear();
        }
        if transaction.len() < BUFFERED_MAX {
            transaction.extend_from_slice(bytes);
        }
        let mut now = locked(plan);
        statement = state_statement(bytes).or(statement);
        let stores_state = statement.as_ref().is_some_and(|name| contains(bytes, name));
        let wanted = now.cut.as_ref().filter(|(_, part)| match stores_state {
            true => contains(bytes, part),
            false => contains(bytes, b"COMMIT") && contains(&transaction, part),
        });
        if let Some(cut) = wanted.map(|(cut, _)| *cut) {
            now.cut = None;
            now.cuts += 1;
            if cut == Cut::BeforeCommit {
                now.is_down = now.then_down;
                break;
            }
            *dropping_replies.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
        drop(now);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    end(&[from, to]);
}

/// The name of the prepared statement that commits state without a transaction, if it is prepared here.
fn state_statement(bytes: &[u8]) -> Option<Vec<u8>> {
    let sql = b"WITH stored AS (";
    let at = bytes.windows(sql.len()).position(|window| window == sql)?;
    let end = bytes[..at].iter().rposition(|byte| *byte == 0)?;
    // The bytes before the name are a length.
    let start = bytes[..end].windows(6).rposition(|window| window == b"sqlx_s")?;
    Some([b"\0", &bytes[start..end], b"\0"].concat())
}

/// Forwards replies, except the one that is to be lost.
fn forward_replies(
    mut from: TcpStream,
    mut to: TcpStream,
    plan: &Mutex<Plan>,
    dropping_replies: &Mutex<bool>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if *dropping_replies.lock().unwrap_or_else(PoisonError::into_inner) {
            let mut now = locked(plan);
            now.is_down = now.then_down;
            break;
        }
        if locked(plan).is_down || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    end(&[from, to]);
}

fn end(connection: &[TcpStream; 2]) {
    for stream in connection {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
