//! What first records wait for, and what becomes of those that are late.

use std::time::Duration;

use antipode_barrier::{BarrierError, BoxFuture, Store};
use rdkafka::error::KafkaError;
use tokio::time::{Instant, sleep};

use super::core::Ticket;
use super::held::Terms;
use super::{Gate, OnLate, Seat, selected};
use crate::Error;

/// How long a record that is late on arrival at the front of its key is looked at all the same.
const LOOK: Duration = Duration::from_millis(100);

/// How long a barrier that was refused because too many wait is put off.
const REFUSED: Duration = Duration::from_millis(10);

/// A wait's end.
pub(super) enum Ended {
    Barrier(Ticket, Result<(), Box<BarrierError>>),
    DeadLetter(Ticket, Result<(), KafkaError>),
}

impl Gate {
    /// Waits for what a record depends on, for as long as it has.
    pub(super) fn wait(&self, ticket: Ticket, terms: &Terms) -> BoxFuture<'static, Ended> {
        let since = terms.since.unwrap_or_else(Instant::now);
        let deadline = (since + self.rules.deadline).max(Instant::now() + LOOK.min(self.rules.deadline));
        let (registry, stores) = (self.rules.registry.clone(), self.rules.stores.clone());
        let lineage = terms.lineage.clone();
        Box::pin(async move {
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let barrier = selected(registry.barrier_on(&lineage), stores.as_deref());
                match barrier.deadline(left).await {
                    Err(error) if error.is_too_many() && left > REFUSED => sleep(REFUSED).await,
                    outcome => return Ended::Barrier(ticket, outcome.map(drop).map_err(Box::new)),
                }
            }
        })
    }

    /// Takes in how a wait has ended.
    pub(super) fn ended(&self, seat: &mut Seat, ended: Ended) -> Result<(), Error> {
        let mut core = self.shared.core();
        match ended {
            Ended::Barrier(ticket, Ok(())) => core.release(ticket, |_| ()),
            Ended::DeadLetter(ticket, Ok(())) => core.done(ticket),
            Ended::Barrier(ticket, Err(source)) => {
                let Some(held) = core.waiting(ticket) else { return Ok(()) };
                match (&self.rules.on_late, &self.dead_letters) {
                    (OnLate::DeadLetter(_), Some(letters)) => {
                        let (letters, message) = (letters.clone(), held.message.clone());
                        seat.waits.push(Box::pin(async move {
                            Ended::DeadLetter(ticket, letters.send(message, &source).await)
                        }));
                    }
                    (OnLate::Deliver, _) => core.release(ticket, |held| held.terms.stale = Some(source)),
                    (OnLate::Fail | OnLate::DeadLetter(_), _) => {
                        let (store, place) = (self.shared.store.name(), held.place());
                        let error = Error::Late { store, place, source };
                        core.recheck(ticket, |held| held.terms.since = Some(Instant::now()));
                        return Err(error);
                    }
                }
            }
            Ended::DeadLetter(ticket, Err(source)) => {
                let Some(held) = core.waiting(ticket) else { return Ok(()) };
                let (store, place) = (self.shared.store.name(), held.place());
                let error = Error::DeadLetter { store, place, source: Box::new(source) };
                core.recheck(ticket, |_| ());
                return Err(error);
            }
        }
        Ok(())
    }
}
