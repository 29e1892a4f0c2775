use std::sync::{Mutex, PoisonError};

use super::{Account, OutOfMemory, Purpose, Reservation};

/// What something holds that grows while it goes on, such as a running script. It takes nothing of its account before it asks for
/// the first time.
#[derive(Debug)]
pub struct Growing {
    purpose: Purpose,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    reservation: Option<Reservation>,
    refused: Option<OutOfMemory>,
}

impl Growing {
    /// Nothing, so far.
    pub fn new(purpose: Purpose) -> Self {
        Self { purpose, held: Mutex::default() }
    }

    /// Holds `bytes` of the account in all, and no less than before.
    ///
    /// # Errors
    /// They do not fit; what was held still is.
    pub fn grow_to(&self, account: &Account, bytes: u64) -> Result<(), OutOfMemory> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = match &mut held.reservation {
            Some(reservation) => reservation.try_grow(bytes.saturating_sub(reservation.bytes())),
            None => account.try_reserve(self.purpose, bytes).map(|new| held.reservation = Some(new)),
        };
        grown.inspect_err(|refused| held.refused = Some(*refused))
    }

    /// What was refused last.
    pub fn refused(&self) -> Option<OutOfMemory> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).refused
    }

    /// Gives back all but `bytes`, for as long as what is returned is kept.
    pub fn settle(&self, bytes: u64) -> Option<Reservation> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reservation = held.reservation.take()?;
        reservation.shrink_to(bytes);
        Some(reservation)
    }
}
