//! What the gate keeps, and what its callers and callbacks share.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
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

impl Terms {
    pub(super) fn new(lineage: Lineage, since: Option<Instant>) -> Self {
        Self { lineage, since, attempts: 0, stale: None }
    }
}

pub(super) struct Shared {
    /// Where the records come from.
    pub(super) store: KafkaStore,
    core: Mutex<Core<Box<Held>>>,
    /// Whether the core has something for a caller to do, as it was left: most callers need not lock it.
    stirred: AtomicBool,
    /// Those who wait for a record wait with it.
    calls: Notify,
}

impl Shared {
    pub(super) fn new(store: KafkaStore, limits: Limits) -> Self {
        Self {
            store,
            core: Mutex::new(Core::new(limits)),
            stirred: AtomicBool::new(false),
            calls: Notify::new(),
        }
    }

    pub(super) fn core(&self) -> Locked<'_> {
        // A panic leaves the core whole: at worst a record is handed over again.
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { core, stirred: &self.stirred }
    }

    /// Whether a caller of [`recv`](super::Gate::recv) has nothing to do but to wait.
    pub(super) fn is_idle(&self) -> bool {
        !self.stirred.load(Ordering::Acquire)
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
        change(&mut self.core());
        if !self.is_idle() {
            self.call();
        }
    }
}

/// The core, locked.
pub(super) struct Locked<'a> {
    core: MutexGuard<'a, Core<Box<Held>>>,
    stirred: &'a AtomicBool,
}

impl Deref for Locked<'_> {
    type Target = Core<Box<Held>>;

    fn deref(&self) -> &Self::Target {
        &self.core
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.core
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let stirred = !self.core.is_idle();
        // Written where it changes, as all processors read it.
        if self.stirred.load(Ordering::Relaxed) != stirred {
            self.stirred.store(stirred, Ordering::Release);
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
