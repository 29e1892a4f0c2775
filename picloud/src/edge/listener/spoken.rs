//! The connections on which something is said, and which of them give way where there is no place for one more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::pulse::Pulse;
use crate::edge::client::network;
use crate::edge::peer::Peer;

/// How long a head or a body must have been coming for its connection to give way.
const WAITED_MIN: Duration = Duration::from_secs(1);

/// Of how many such connections of one address one gives way at a time, and how many do at the most: looking takes longer than closing.
const ONE_OF: usize = 64;
const AT_ONCE_MAX: usize = 16;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Spoken(Mutex<HashMap<usize, Arc<Conversation>>>);

/// One connection on which something is said.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) peer: Arc<Peer>,
    pub(super) pulse: Arc<Pulse>,
    gives_way: AtomicBool,
    asked: Notify,
}

/// A conversation, which is over when this is dropped.
pub(super) struct Begun<'s> {
    spoken: &'s Spoken,
    pub(super) conversation: Arc<Conversation>,
}

impl Spoken {
    /// Begins a conversation with a first byte.
    pub(super) fn begin(&self, address: IpAddr) -> Begun<'_> {
        let conversation = Arc::new(Conversation {
            peer: Peer::new(address),
            pulse: Arc::new(Pulse::new()),
            gives_way: AtomicBool::new(false),
            asked: Notify::new(),
        });
        conversation.pulse.begin_head();
        self.all().insert(key(&conversation), Arc::clone(&conversation));
        Begun { spoken: self, conversation }
    }

    /// Has connections of one address give way: of that from which most heads and bodies are to come, the ones that take longest. Where
    /// no address has more than one, none does. How many do is given back.
    pub(super) fn make_room(&self) -> usize {
        let all = self.all();
        let mut by_address: HashMap<IpAddr, Vec<(Duration, &Arc<Conversation>)>> = HashMap::new();
        for conversation in all.values() {
            if let Some((waited, address)) = conversation.waits().filter(|(waited, _)| *waited >= WAITED_MIN)
            {
                by_address.entry(address).or_default().push((waited, conversation));
            }
        }
        let most = by_address.into_values().max_by_key(Vec::len).filter(|most| most.len() > 1);
        let Some(mut most) = most else { return 0 };
        most.sort_unstable_by_key(|(waited, _)| std::cmp::Reverse(*waited));
        let give_way = (most.len() / ONE_OF).clamp(1, AT_ONCE_MAX);
        for (_, conversation) in most.into_iter().take(give_way) {
            conversation.gives_way.store(true, Ordering::Relaxed);
            conversation.asked.notify_one();
        }
        give_way
    }

    /// Nothing panics while the lock is held.
    fn all(&self) -> MutexGuard<'_, HashMap<usize, Arc<Conversation>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Conversation {
    /// Done when the connection is to give way.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Whether the connection is to give way.
    pub(super) fn gives_way(&self) -> bool {
        self.gives_way.load(Ordering::Relaxed)
    }

    /// For how long a head or a body has been coming, and from where. Of a head only the other end of the connection is known; of a body a
    /// trusted proxy has said whose it is.
    fn waits(&self) -> Option<(Duration, IpAddr)> {
        if self.gives_way() {
            return None;
        }
        let head = self.pulse.in_head().map(|waited| (waited, self.peer.address));
        let (waited, address) = head.or_else(|| self.peer.in_body())?;
        Some((waited, network(address.to_canonical())))
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.spoken.all().remove(&key(&self.conversation));
    }
}

/// The address at which it is, which is its own while it is held.
fn key(conversation: &Arc<Conversation>) -> usize {
    Arc::as_ptr(conversation) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_gives_way_from_which_most_is_to_come() {
        let spoken = Spoken::default();
        let begin = |address: &str| spoken.begin(address.parse().unwrap());
        let many = [begin("2001:db8::1"), begin("2001:db8::2"), begin("2001:db8::3")];
        let few = [begin("2001:db8:0:1::1"), begin("192.0.2.1")];
        let proxied = [begin("127.0.0.1"), begin("127.0.0.1")];
        for begun in &proxied {
            begun.conversation.pulse.end_head();
        }
        let gave_way = || {
            let all = many.iter().chain(&few).chain(&proxied);
            all.map(|begun| begun.conversation.gives_way()).filter(|gives_way| *gives_way).count()
        };
        spoken.make_room();
        assert_eq!(gave_way(), 0, "none has waited for long");
        std::thread::sleep(WAITED_MIN);
        spoken.make_room();
        assert!(
            many[0].conversation.gives_way()
                || many[1].conversation.gives_way()
                || many[2].conversation.gives_way()
        );
        spoken.make_room();
        assert_eq!(gave_way(), 2);
        spoken.make_room();
        assert_eq!(gave_way(), 2, "each has one");
        drop((many, few, proxied));
        assert!(spoken.all().is_empty());
    }
}
