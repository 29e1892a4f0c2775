use bytes::Bytes;

use super::{Account, OutOfMemory, Purpose};

/// Bytes that are held of an account, given back on drop.
#[derive(Debug)]
#[must_use = "the bytes are given back as soon as the reservation is dropped"]
pub struct Reservation {
    account: Account,
    purpose: Purpose,
    bytes: u64,
}

impl Reservation {
    pub(super) fn new(account: Account, purpose: Purpose, bytes: u64) -> Self {
        Self { account, purpose, bytes }
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whose they are.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// What they are held for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Holds `bytes` more.
    ///
    /// # Errors
    /// They do not fit; what was held still is.
    pub fn try_grow(&mut self, bytes: u64) -> Result<(), OutOfMemory> {
        self.account.take(self.purpose, bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Holds what `other` held, which is of the same account and purpose.
    pub fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Holds no more than `bytes`, and gives the rest back.
    pub fn shrink_to(&mut self, bytes: u64) {
        let more = self.bytes.saturating_sub(bytes);
        if more > 0 {
            self.bytes -= more;
            self.account.give_back(self.purpose, more);
        }
    }

    /// `content`, with which the memory is held: until the last part of it is dropped, wherever that is by then.
    pub fn into_bytes(self, content: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Held { content, _reservation: self })
    }
}

/// Content and the memory that it takes.
struct Held<T> {
    content: T,
    _reservation: Reservation,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.content.as_ref()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}
