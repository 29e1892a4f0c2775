use std::sync::{Mutex, PoisonError};

use super::{Account, OutOfMemory, Purpose, Reservation};

/// A reservation that grows over time, such as that of a running script. It reserves nothing before the first
/// request.
#[derive(Debug)]
pub struct GrowingReservation {
    purpose: Purpose,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    reservation: Option<Reservation>,
    last_error: Option<OutOfMemory>,
}

impl GrowingReservation {
    /// Creates an empty reservation.
    pub fn new(purpose: Purpose) -> Self {
        Self { purpose, held: Mutex::default() }
    }

    /// Grows the reservation to `bytes` in total; it never shrinks.
    ///
    /// # Errors
    /// They do not fit; the reservation is unchanged.
    pub fn grow_to(&self, account: &Account, bytes: u64) -> Result<(), OutOfMemory> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = match &mut held.reservation {
            Some(reservation) => reservation.try_grow(bytes.saturating_sub(reservation.bytes())),
            None => account.try_reserve(self.purpose, bytes).map(|new| held.reservation = Some(new)),
        };
        grown.inspect_err(|last_error| held.last_error = Some(*last_error))
    }

    /// The last rejection.
    pub fn last_error(&self) -> Option<OutOfMemory> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).last_error
    }

    /// Shrinks to `bytes` and returns the reservation.
    pub fn into_reservation(&self, bytes: u64) -> Option<Reservation> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reservation = held.reservation.take()?;
        reservation.shrink_to(bytes);
        Some(reservation)
    }
}
