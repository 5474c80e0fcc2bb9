//! What the gate keeps, and what its callers and callbacks share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use antipode_barrier::BarrierError;
use antipode_lineage::Lineage;
use rdkafka::message::{Message, OwnedMessage};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::core::{Core, Limits};
use crate::{KafkaStore, RecordPlace};

/// A record that is not handed over.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: OwnedMessage,
    pub(super) terms: Terms,
}

impl Held {
    pub(super) fn place(&self) -> Box<RecordPlace> {
        let (topic, partition) = (self.message.topic().to_owned(), self.message.partition());
        Box::new(RecordPlace { topic, partition, offset: self.message.offset() })
    }
}

/// On what terms a record is handed over.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) lineage: Lineage,
    /// When it arrived; `None` if it was handed over at once.
    pub(super) since: Option<Instant>,
    /// How often it was handed over before.
    pub(super) attempts: u32,
    pub(super) stale: Option<Box<BarrierError>>,
}

pub(super) struct Shared {
    /// Where the records come from.
    pub(super) store: KafkaStore,
    core: Mutex<Core<Box<Held>>>,
    /// Those who wait for a record wait with it.
    calls: Notify,
}

impl Shared {
    pub(super) fn new(store: KafkaStore, limits: Limits) -> Self {
        Self { store, core: Mutex::new(Core::new(limits)), calls: Notify::new() }
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core<Box<Held>>> {
        // A panic leaves the core whole: at worst a record is handed over again.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls one of those who wait for a record, or the next to wait.
    pub(super) fn call(&self) {
        self.calls.notify_one();
    }

    /// Waits for a call. Whoever is called and goes away hands it on.
    pub(super) async fn called(&self) {
        self.calls.notified().await;
    }

    /// Changes the core on behalf of a handler, and calls somebody if there is something to do.
    pub(super) fn change(&self, change: impl FnOnce(&mut Core<Box<Held>>)) {
        let mut core = self.core();
        change(&mut core);
        let idle = core.is_idle();
        drop(core);
        if !idle {
            self.call();
        }
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.call();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.call();
    }
}
