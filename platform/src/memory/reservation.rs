use bytes::Bytes;

use super::{Account, OutOfMemory, Purpose};

/// Reserved bytes of an account, released on drop.
#[derive(Debug)]
#[must_use = "the bytes are released when the reservation is dropped"]
pub struct Reservation {
    account: Account,
    purpose: Purpose,
    bytes: u64,
}

impl Reservation {
    pub(super) fn new(account: Account, purpose: Purpose, bytes: u64) -> Self {
        Self { account, purpose, bytes }
    }

    /// The reserved bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The purpose.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Reserves `bytes` more.
    ///
    /// # Errors
    /// They do not fit; the reservation is unchanged.
    pub fn try_grow(&mut self, bytes: u64) -> Result<(), OutOfMemory> {
        self.account.take(self.purpose, bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Adds the bytes of `other`, which has the same account and purpose.
    pub fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Shrinks to at most `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let excess = self.bytes.saturating_sub(bytes);
        if excess > 0 {
            self.bytes -= excess;
            self.account.release(self.purpose, excess);
        }
    }

    /// Attaches the reservation to `content`: the memory is released when its last part is dropped.
    pub fn into_bytes(self, content: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Reserved { content, _reservation: self })
    }
}

/// Content with its reservation.
struct Reserved<T> {
    content: T,
    _reservation: Reservation,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Reserved<T> {
    fn as_ref(&self) -> &[u8] {
        self.content.as_ref()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}
