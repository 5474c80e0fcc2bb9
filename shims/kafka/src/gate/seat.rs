//! The seat of whoever drives the gate.

use std::hint::spin_loop;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

use antipode_barrier::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, Interval};

use super::waits::Ended;

/// How often the seat is tried until a call is waited for.
const TRIES: u32 = 100;

/// What whoever drives the gate works with.
pub(super) struct Seat {
    /// Of the first records of their keys, in no order.
    pub(super) waits: FuturesUnordered<BoxFuture<'static, Ended>>,
    pub(super) commits: Interval,
    /// When kept records began to be handed over since the driver was last asked for one.
    pub(super) keeping: Option<Instant>,
    pub(super) committed: Instant,
    /// Commits since everything was said.
    pub(super) unheard: u32,
    pub(super) passed: u32,
}

/// Held by one at a time, never for longer than a poll.
pub(super) struct SeatLock {
    seat: Mutex<Seat>,
    taken: Taken,
}

/// Whether the seat is taken, for those who look at it again and again: apart from what its holder works on,
/// so that they do not slow it down.
#[derive(Default)]
#[repr(align(128))]
struct Taken(AtomicBool);

/// The seat, held.
pub(super) struct Seated<'a> {
    seat: MutexGuard<'a, Seat>,
    taken: &'a Taken,
}

impl SeatLock {
    pub(super) fn new(seat: Seat) -> Self {
        Self { seat: Mutex::new(seat), taken: Taken::default() }
    }

    /// The seat, if nobody holds it for longer than a moment: rebalances talk to the broker.
    pub(super) fn take(&self) -> Option<Seated<'_>> {
        for _ in 0..TRIES {
            if !self.taken.0.load(Ordering::Relaxed)
                && let Some(seat) = self.lock()
            {
                self.taken.0.store(true, Ordering::Relaxed);
                return Some(Seated { seat, taken: &self.taken });
            }
            spin_loop();
        }
        None
    }

    fn lock(&self) -> Option<MutexGuard<'_, Seat>> {
        match self.seat.try_lock() {
            Ok(seat) => Some(seat),
            Err(TryLockError::Poisoned(seat)) => Some(seat.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Deref for Seated<'_> {
    type Target = Seat;

    fn deref(&self) -> &Seat {
        &self.seat
    }
}

impl DerefMut for Seated<'_> {
    fn deref_mut(&mut self) -> &mut Seat {
        &mut self.seat
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        // The lock goes after this.
        self.taken.0.store(false, Ordering::Relaxed);
    }
}
