//! The place where barriers wait at one replica, and what they look at there.

mod task;

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use antipode_lineage::{ReplicaName, StoreName, WriteId};
use arc_swap::ArcSwapOption;
use futures_util::task::AtomicWaker;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use self::task::Driven;
use crate::known::Known;
use crate::observer::Observer;
use crate::standing::{Status, standing};
use crate::wanted::Wanted;
use crate::watch::{WaiterId, Watch};
use crate::{Frontiers, ProbeError, Replica, Verdict};

/// How watchers treat their replicas.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchSettings {
    /// How long an answer is believed without asking again.
    pub(crate) frontier_ttl: Duration,
    /// How long a probe may take.
    pub(crate) probe_limit: Duration,
}

/// Watches one replica while someone waits there; at most one probe is under way.
///
/// It owns its task, which ends when nobody waits, and with the watcher.
pub(crate) struct Watcher {
    inner: Arc<Inner>,
}

struct Inner {
    store: StoreName,
    replica: Arc<dyn Replica>,
    name: ReplicaName,
    settings: WatchSettings,
    observer: Arc<dyn Observer>,
    /// What the state machine knows, for those who only want to look.
    known: ArcSwapOption<Published>,
    state: Mutex<State>,
    /// Rung when someone joins.
    joined: Notify,
    probes: AtomicU64,
}

struct Published {
    known: Known,
    /// Whether somebody has asked for the answer that follows it.
    followed: AtomicBool,
}

struct State {
    watch: Watch<Arc<Slot>>,
    task: Option<AbortHandle>,
}

/// Where a waiter's status is left for it.
#[derive(Debug)]
struct Slot {
    status: Mutex<Status>,
    bell: Arc<Bell>,
}

/// Wakes a waiter whose status changed.
pub(crate) type Bell = AtomicWaker;

impl Slot {
    fn new(bell: Arc<Bell>) -> Arc<Self> {
        Arc::new(Self { status: Mutex::new(Status::Joining), bell })
    }

    fn status(&self) -> Status {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, status: Status) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
        self.bell.wake();
    }
}

/// A waiter's place at a watcher. Dropping it gives it up.
pub(crate) struct Seat<'a> {
    inner: &'a Arc<Inner>,
    id: WaiterId,
    slot: Arc<Slot>,
}

impl Seat<'_> {
    /// How the waiter stands. Keeps the watcher's task going, should its runtime have ended.
    pub(crate) fn status(&self) -> Status {
        let status = self.slot.status();
        if !matches!(status, Status::Visible | Status::Lost) {
            Inner::keep_driven(self.inner, &mut self.inner.lock());
        }
        status
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.inner.lock().watch.leave(self.id);
    }
}

impl Watcher {
    pub(crate) fn new(
        store: StoreName,
        replica: Arc<dyn Replica>,
        settings: WatchSettings,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let watch = Watch::new(Instant::now());
        let inner = Inner {
            store,
            name: replica.name(),
            replica,
            settings,
            observer,
            known: ArcSwapOption::empty(),
            state: Mutex::new(State { watch, task: None }),
            joined: Notify::new(),
            probes: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn name(&self) -> ReplicaName {
        self.inner.name
    }

    /// Probes begun so far.
    pub(crate) fn probes(&self) -> u64 {
        self.inner.probes.load(Ordering::Relaxed)
    }

    /// Whether the cached frontiers show all the writes: no lock, no wait, no allocation. But for the
    /// first to use what is past half of its time: it has the replica asked anew, without waiting for
    /// that, so that those who come later find a fresh answer rather than none.
    pub(crate) fn shows(&self, writes: &[WriteId], now: Instant) -> bool {
        let published = self.inner.known.load();
        let Some(published) = published.as_ref() else { return false };
        let ttl = self.inner.settings.frontier_ttl;
        let Some(age) = published.known.covers(writes, now, ttl) else { return false };
        if age > ttl / 2 && !published.followed.swap(true, Ordering::Relaxed) {
            self.refresh(writes, now);
        }
        true
    }

    /// Has the replica asked about these writes' shards; nobody waits for the answer.
    fn refresh(&self, writes: &[WriteId], now: Instant) {
        // A barrier may be looked at from outside of a runtime.
        if Handle::try_current().is_ok() {
            let mut state = self.inner.lock();
            state.watch.ask(now, Slot::new(Arc::default()), Wanted::by(writes));
            Inner::keep_driven(&self.inner, &mut state);
            self.inner.joined.notify_one();
        }
    }

    /// Whether the last answer, however old, shows all the writes.
    pub(crate) fn showed(&self, writes: &[WriteId]) -> bool {
        let published = self.inner.known.load();
        published.as_ref().is_some_and(|published| {
            standing(|write| published.known.verdict(write), writes).0 == Status::Visible
        })
    }

    /// The verdict by the last answer, however old; `None` if there is none.
    pub(crate) fn last_verdict(&self, write: &WriteId) -> Option<Verdict> {
        self.inner.known.load().as_ref().map(|published| published.known.verdict(write))
    }

    /// Why the last probe failed, if it did.
    pub(crate) fn failure(&self) -> Option<ProbeError> {
        self.inner.lock().watch.failure().cloned()
    }

    /// Begins to wait for the writes; `bell` rings when the status changes.
    pub(crate) fn join(&self, writes: &Arc<[WriteId]>, bell: &Arc<Bell>) -> Seat<'_> {
        let slot = Slot::new(Arc::clone(bell));
        let mut state = self.inner.lock();
        let (id, status) = state.watch.join(Instant::now(), Arc::clone(&slot), Arc::clone(writes));
        slot.set(status);
        Inner::keep_driven(&self.inner, &mut state);
        self.inner.joined.notify_one();
        Seat { inner: &self.inner, id, slot }
    }

    /// The frontiers by a probe that begins after this call, which others may share.
    pub(crate) async fn ask(&self, wanted: Wanted) -> Result<Frontiers, ProbeError> {
        let asking = Asking { inner: &self.inner, slot: Slot::new(Arc::default()) };
        {
            let mut state = self.inner.lock();
            state.watch.ask(Instant::now(), Arc::clone(&asking.slot), wanted);
            Inner::keep_driven(&self.inner, &mut state);
            self.inner.joined.notify_one();
        }
        poll_fn(|cx| {
            asking.slot.bell.register(cx.waker());
            if asking.slot.status() != Status::Joining {
                return Poll::Ready(());
            }
            Inner::keep_driven(&self.inner, &mut self.inner.lock());
            Poll::Pending
        })
        .await;
        let state = self.inner.lock();
        match (state.watch.known(), state.watch.failure()) {
            (Some(known), _) => Ok(known.iter().map(|(shard, frontier)| (shard, frontier.clone())).collect()),
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => Err(ProbeError::new("the replica was not probed")),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(task) = &self.inner.lock().task {
            task.abort();
        }
    }
}

/// A question under way. Dropping it takes it back.
struct Asking<'a> {
    inner: &'a Arc<Inner>,
    slot: Arc<Slot>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.inner.lock().watch.drop_askers(|slot| Arc::ptr_eq(slot, &self.slot));
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_driven(this: &Arc<Self>, state: &mut State) {
        if state.task.is_none() && !state.watch.is_idle() {
            let task = tokio::spawn(Driven::new(Arc::clone(this)).drive());
            state.task = Some(task.abort_handle());
        }
    }
}
