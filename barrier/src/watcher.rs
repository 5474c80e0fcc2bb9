//! The one task per replica that probes on behalf of all waiting barriers.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use antipode_lineage::{ReplicaName, Shard, StoreName, WriteId};
use arc_swap::ArcSwapOption;
use futures_util::task::AtomicWaker;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::known::Known;
use crate::observer::{Observer, ProbeKind, Probed};
use crate::watch::{self, Changes, Status, Step, WaiterId, Wanted, Watch};
use crate::{BoxFuture, Frontiers, ProbeError, Replica, Shards, Target, Verdict};

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
            state.watch.ask(now, Slot::new(Arc::default()), shards_of(writes));
            Inner::keep_driven(&self.inner, &mut state);
            self.inner.joined.notify_one();
        }
    }

    /// Whether the last answer, however old, shows all the writes.
    pub(crate) fn showed(&self, writes: &[WriteId]) -> bool {
        let published = self.inner.known.load();
        published.as_ref().is_some_and(|published| {
            watch::standing(|write| published.known.verdict(write), writes).0 == Status::Visible
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

// === impl Inner: the task ===

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_driven(this: &Arc<Self>, state: &mut State) {
        if state.task.is_none() && !state.watch.is_idle() {
            let task = tokio::spawn(Self::drive(Driven { inner: Arc::clone(this), rested: false }));
            state.task = Some(task.abort_handle());
        }
    }

    async fn drive(mut driven: Driven) {
        let inner = Arc::clone(&driven.inner);
        loop {
            let now = Instant::now();
            let step = {
                let mut state = inner.lock();
                let step = state.watch.next(now);
                if step == Step::Rest {
                    // Under the lock: whoever joins next finds no task and starts one.
                    state.task = None;
                    driven.rested = true;
                    return;
                }
                step
            };
            match step {
                Step::Rest => return,
                Step::Sleep(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        () = inner.joined.notified() => {}
                    }
                }
                Step::Probe(wanted) => inner.probe(wanted).await,
                Step::Await(target, wanted) => match inner.replica.wait(target) {
                    None => inner.probe(wanted).await,
                    Some(wait) => inner.await_target(target, wait, wanted).await,
                },
            }
        }
    }

    fn begin(&self, target: Option<Target>, asked: Wanted) -> (u64, Instant) {
        let now = Instant::now();
        self.probes.fetch_add(1, Ordering::Relaxed);
        (self.lock().watch.begin(now, target, asked), now)
    }

    /// Lets the server hold the request; those who join meanwhile end that only if its answer cannot
    /// serve them.
    async fn await_target(
        &self,
        target: Target,
        wait: BoxFuture<'_, Result<Frontiers, ProbeError>>,
        wanted: Wanted,
    ) {
        let (number, begun) = self.begin(Some(target), Wanted::Of(vec![target.shard]));
        let mut wait = pin!(tokio::time::timeout(self.settings.probe_limit, wait));
        loop {
            tokio::select! {
                answer = &mut wait => return match answer {
                    Ok(answer) => self.take(number, begun, ProbeKind::Held, answer),
                    // Not a failure of the server yet: it may just have nothing to say.
                    Err(_) => self.probe(wanted).await,
                },
                () = self.joined.notified() => {
                    if self.lock().watch.has_questions() {
                        return;
                    }
                }
            }
        }
    }

    async fn probe(&self, wanted: Wanted) {
        let (number, begun) = self.begin(None, wanted.clone());
        let shards = match &wanted {
            Wanted::All => Shards::All,
            Wanted::Of(shards) => Shards::Of(shards),
        };
        let limit = self.settings.probe_limit;
        let answer = match tokio::time::timeout(limit, self.replica.probe(shards)).await {
            Ok(answer) => answer,
            Err(_) => Err(ProbeError::new(format!("no answer within {limit:?}"))),
        };
        self.take(number, begun, ProbeKind::Asked, answer);
    }

    fn take(&self, number: u64, begun: Instant, kind: ProbeKind, answer: Result<Frontiers, ProbeError>) {
        let now = Instant::now();
        let (changes, behind) = {
            let mut state = self.lock();
            // Before the answer ends it: a request that the server held is answered only then.
            let behind = state.watch.behind(now);
            let changes = match &answer {
                Ok(frontiers) => state.watch.answered(now, number, begun, frontiers),
                Err(error) => state.watch.failed(number, error.clone()),
            };
            let publish =
                |known: &Known| Published { known: known.clone(), followed: AtomicBool::new(false) };
            self.known.store(state.watch.known().map(publish).map(Arc::new));
            (changes, behind)
        };
        let Changes { waiters, askers, detected } = changes;
        for (slot, status) in waiters {
            slot.set(status);
        }
        for slot in askers {
            slot.set(Status::Visible);
        }
        let Self { store, name: replica, .. } = *self;
        let (took, result) = (now.duration_since(begun), answer.as_ref());
        self.observer.probed(&Probed { store, replica, kind, took, result, behind, detected });
    }
}

/// The task's hold on its watcher. However the task ends, the waiters get to know of it, and one of
/// them starts the next.
struct Driven {
    inner: Arc<Inner>,
    rested: bool,
}

impl Drop for Driven {
    fn drop(&mut self) {
        if self.rested {
            return;
        }
        let mut state = self.inner.lock();
        state.task = None;
        let bells: Vec<_> = state.watch.tokens().map(|slot| Arc::clone(&slot.bell)).collect();
        drop(state);
        bells.iter().for_each(|bell| bell.wake());
    }
}

/// The shards of some writes of one store, sorted.
pub(crate) fn shards_of(writes: &[WriteId]) -> Wanted {
    let mut shards: Vec<Shard> = writes.iter().map(|write| write.shard).collect();
    shards.dedup();
    Wanted::Of(shards)
}
