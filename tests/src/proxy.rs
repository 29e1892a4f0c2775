//! What lies between a node and its PostgreSQL, and breaks where a test wants it to.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The most that is remembered of a transaction, to recognize it.
const REMEMBERED: usize = 1 << 20;

/// Passes every byte on, until a transaction comes that is to be cut off.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
}

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never receives the COMMIT.
    BeforeCommit,
    /// The server has committed, and its answer is swallowed.
    AfterCommit,
}

#[derive(Debug, Default)]
struct Plan {
    /// What is cut, once: the transaction that has these bytes in it.
    cut: Option<(Cut, Vec<u8>)>,
    /// Whether nobody is let through from the cut on.
    then_away: bool,
    is_away: bool,
    cuts: usize,
}

impl Proxy {
    /// One in front of the server that listens on a port of loopback. It ends with the process.
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
                if locked(&plans).is_away {
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

    /// Cuts the next transaction that holds `bytes`.
    pub fn cut(&self, cut: Cut, bytes: &str) {
        locked(&self.plan).cut = Some((cut, bytes.as_bytes().to_vec()));
    }

    /// The same; from then on nobody gets through any more.
    pub fn cut_and_go_away(&self, cut: Cut, bytes: &str) {
        self.cut(cut, bytes);
        locked(&self.plan).then_away = true;
    }

    /// Lets everybody through again.
    pub fn come_back(&self) {
        let mut plan = locked(&self.plan);
        (plan.is_away, plan.then_away) = (false, false);
    }

    /// How many transactions were cut.
    pub fn cuts(&self) -> usize {
        locked(&self.plan).cuts
    }
}

fn locked(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two threads, one for each direction.
fn join(client: &TcpStream, server: &TcpStream, plan: &Arc<Mutex<Plan>>) {
    let swallowing = Arc::<Mutex<bool>>::default();
    let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
    let (from, to) = (copy(client), copy(server));
    let (plans, swallows) = (Arc::clone(plan), Arc::clone(&swallowing));
    thread::spawn(move || ask(from, to, &plans, &swallows));
    let (from, to, plans) = (copy(server), copy(client), Arc::clone(plan));
    thread::spawn(move || answer(from, to, &plans, &swallowing));
}

/// What the client says goes to the server, but for the COMMIT that is to be lost.
fn ask(mut from: TcpStream, mut to: TcpStream, plan: &Mutex<Plan>, swallowing: &Mutex<bool>) {
    let mut transaction = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read) = from.read(&mut buffer) {
        let bytes = &buffer[..read];
        if bytes.is_empty() || locked(plan).is_away {
            break;
        }
        if holds(bytes, b"BEGIN") {
            transaction.clear();
        }
        if transaction.len() < REMEMBERED {
            transaction.extend_from_slice(bytes);
        }
        let mut now = locked(plan);
        let wanted = now.cut.as_ref().filter(|(_, part)| holds(&transaction, part)).map(|(cut, _)| *cut);
        if let Some(cut) = wanted.filter(|_| holds(bytes, b"COMMIT")) {
            now.cut = None;
            now.cuts += 1;
            if cut == Cut::BeforeCommit {
                now.is_away = now.then_away;
                break;
            }
            *swallowing.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
        drop(now);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    end(&from, &to);
}

/// What the server says goes to the client, but for the answer that is to be lost.
fn answer(mut from: TcpStream, mut to: TcpStream, plan: &Mutex<Plan>, swallowing: &Mutex<bool>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if *swallowing.lock().unwrap_or_else(PoisonError::into_inner) {
            let mut now = locked(plan);
            now.is_away = now.then_away;
            break;
        }
        if locked(plan).is_away || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    end(&from, &to);
}

fn end(one: &TcpStream, other: &TcpStream) {
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
