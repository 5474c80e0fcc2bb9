//! The current lineage of a request.

use std::cell::RefCell;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::Instrument;

use crate::captured::Teller;
use crate::{Baggage, Branch, CaptureObserver, Lineage, ReplicaName, RunningBranch, StoreName, WriteId};

thread_local! {
    /// Of the task that is being polled on this thread. Moved in and out, not cloned, by those who poll.
    static CURRENT: RefCell<Option<LineageScope>> = const { RefCell::new(None) };
}

/// The lineage of one request while it runs: reads and writes through shims add to it, calls and
/// messages take it along, a barrier waits for it.
///
/// A scope is a handle: clones share one lineage. It is current inside [`run`](LineageScope::run);
/// a spawned task inherits nothing by itself, so spawn
/// [`future.in_current_lineage()`](InCurrentLineage::in_current_lineage), or pass the handle.
/// Work whose dependencies should not reach the rest of the request until it is joined runs in a
/// [`fork`](LineageScope::fork).
///
/// ```
/// use antipode_lineage::{InCurrentLineage, LineageScope, StoreName, WriteId};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let request = LineageScope::new();
/// request
///     .run(async {
///         let work = async {
///             let scope = LineageScope::current().expect("inherited");
///             scope.add(WriteId::unplaced(StoreName::parse("posts").expect("a name")));
///         };
///         tokio::spawn(work.in_current_lineage()).await.expect("no panic");
///     })
///     .await;
/// assert_eq!(request.lineage().writes().len(), 1);
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct LineageScope {
    state: Arc<Mutex<State>>,
    teller: Teller,
}

#[derive(Debug, Clone, Default)]
struct State {
    lineage: Lineage,
    /// Captures under way. Shared by the forks made meanwhile.
    captures: Vec<Capture>,
    /// The replica that the last barrier proved fresh, per store.
    routes: Vec<(StoreName, ReplicaName)>,
    /// What came with the request beside the lineage.
    baggage: Option<Arc<Baggage>>,
    /// The branch that runs here, if this is not the request itself.
    running: Option<Arc<RunningBranch>>,
}

#[derive(Debug, Clone)]
struct Capture {
    /// What stands for it until it is in, and if it fails.
    fallback: WriteId,
    outcome: watch::Receiver<Option<Lineage>>,
    _task: Arc<AbortOnDrop>,
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl LineageScope {
    /// A scope that depends on nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The scope of the running task, if it has one.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// Runs the future with this scope as the current one.
    pub fn run<F: Future>(&self, future: F) -> InLineage<F> {
        InLineage::with(Some(self.clone()), future)
    }

    /// Calls the function with this scope as the current one: for what is polled by hand, such as a
    /// body or a stream.
    pub fn enter<R>(&self, call: impl FnOnce() -> R) -> R {
        Self::enter_held(&mut Some(self.clone()), call)
    }

    /// The same for an owner who polls again and again: the scope is moved, not cloned. While the function
    /// runs, the place holds the scope that was current before; if it holds none, nothing is changed.
    pub fn enter_held<R>(place: &mut Option<Self>, call: impl FnOnce() -> R) -> R {
        if place.is_none() {
            return call();
        }
        let _entered = Entered::new(place);
        call()
    }

    /// What the request depends on now.
    ///
    /// A capture still under way (see [`defer`](LineageScope::defer)) counts as its fallback, an
    /// [unplaced write](WriteId::unplaced): sound, but a barrier on it waits for more than it
    /// must. Where the lineage leaves the process, prefer [`settled`](LineageScope::settled).
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        let mut state = self.lock();
        state.collect();
        let mut lineage = state.lineage.clone();
        lineage.extend(state.captures.iter().map(|capture| capture.fallback));
        lineage
    }

    /// What the request depends on, once the captures under way are in. Waits no longer than the
    /// limits those captures were given.
    pub async fn settled(&self) -> Lineage {
        loop {
            let mut next = {
                let mut state = self.lock();
                state.collect();
                match state.captures.first() {
                    Some(capture) => capture.outcome.clone(),
                    None => return state.lineage.clone(),
                }
            };
            // An error says that the capture ended without an outcome; `collect` deals with both.
            let _ = next.wait_for(Option::is_some).await;
        }
    }

    /// What the request depends on, if no capture is under way.
    #[must_use]
    pub fn try_settled(&self) -> Option<Lineage> {
        self.look_settled(Lineage::clone)
    }

    /// A look at what the request depends on, if no capture is under way. The scope is locked meanwhile:
    /// the function must not use it.
    pub fn look_settled<R>(&self, look: impl FnOnce(&Lineage) -> R) -> Option<R> {
        let mut state = self.lock();
        state.collect();
        state.captures.is_empty().then(|| look(&state.lineage))
    }

    /// The same scope by a handle that tells of the captures made through it: [`add`](LineageScope::add)
    /// and [`defer`](LineageScope::defer).
    #[must_use]
    pub fn told_to(self, observer: Arc<dyn CaptureObserver>) -> Self {
        Self { teller: Teller(Some(observer)), ..self }
    }

    /// Adds a write to what the request depends on.
    pub fn add(&self, write: WriteId) {
        self.teller.tell(write.store, &[write], None);
        self.lock().lineage.add(write);
    }

    /// Adds a branch that is registered and about to start. Whole-lineage barriers on what is handed over
    /// from now on wait for its end.
    pub fn add_branch(&self, branch: Branch) {
        self.lock().lineage.add_branch(branch);
    }

    /// Takes branches that have ended for what they came to: their final lineages, joined.
    pub fn resolve(&self, ended: &[Branch], last: &Lineage) {
        let mut state = self.lock();
        state.lineage.join(last);
        ended.iter().for_each(|branch| state.lineage.remove_branch(branch));
    }

    /// The branch that runs in this scope.
    #[must_use]
    pub fn running(&self) -> Option<Arc<RunningBranch>> {
        self.lock().running.clone()
    }

    /// A [fork](LineageScope::fork) in which this branch runs. It does not wait for itself: the branch
    /// is no entry of its lineage.
    #[must_use]
    pub fn fork_for(&self, running: Arc<RunningBranch>) -> Self {
        let mut state = self.lock().clone();
        state.lineage.remove_branch(&running.branch());
        state.running = Some(running);
        Self { state: Arc::new(Mutex::new(state)), teller: Teller::default() }
    }

    /// Joins a lineage: of a message received, a value read, a reply.
    pub fn join(&self, lineage: &Lineage) {
        self.lock().lineage.join(lineage);
    }

    /// Marks the lineage as [weak](Lineage::is_weak).
    pub fn mark_weak(&self) {
        self.lock().lineage.mark_weak();
    }

    /// Lets a capture of positions run beside the request, for at most `limit`.
    ///
    /// A position sampled at any time after a write's acknowledgement covers the write, so the
    /// request may go on at once; only [handing the lineage over](LineageScope::settled) waits. If
    /// the capture yields `None`, fails, or takes longer, the
    /// `fallback` stands for it: an [unplaced write](WriteId::unplaced_in). It is cancelled when the scope and its
    /// forks are gone. It runs in a `tracing` span `capture` with the fields `store`, `took_us` and `placed`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn defer<F>(&self, fallback: WriteId, limit: Duration, capture: F)
    where
        F: Future<Output = Option<Lineage>> + Send + 'static,
    {
        let (sender, outcome) = watch::channel(None);
        let (store, teller) = (fallback.store, self.teller.clone());
        let span = tracing::debug_span!(
            "capture",
            %store,
            took_us = tracing::field::Empty,
            placed = tracing::field::Empty
        );
        let capture = async move {
            let begun = Instant::now();
            let found = tokio::time::timeout(limit, capture).await.ok().flatten();
            let took = begun.elapsed();
            let writes = found.as_ref().map_or(std::slice::from_ref(&fallback), Lineage::writes);
            teller.tell(store, writes, Some(took));
            let span = tracing::Span::current();
            span.record("took_us", took.as_micros() as i64);
            span.record("placed", !writes.iter().any(WriteId::is_unplaced));
            if let Some(lineage) = found {
                let _ = sender.send(Some(lineage));
            }
        };
        let task = tokio::spawn(capture.instrument(span));
        let _task = Arc::new(AbortOnDrop(task.abort_handle()));
        self.lock().captures.push(Capture { fallback, outcome, _task });
    }

    /// A scope of its own that begins with what this one depends on.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.lock().clone())), teller: Teller::default() }
    }

    /// Joins what another scope, such as a [`fork`](LineageScope::fork), came to depend on.
    pub fn join_scope(&self, other: &LineageScope) {
        let State { lineage, captures, routes: _, baggage: _, running: _ } = other.lock().clone();
        let mut state = self.lock();
        state.lineage.join(&lineage);
        for capture in captures {
            if !state.captures.iter().any(|held| held.outcome.same_channel(&capture.outcome)) {
                state.captures.push(capture);
            }
        }
    }

    /// The replica of `store` that the last barrier in this scope proved fresh: reads go there.
    #[must_use]
    pub fn route(&self, store: StoreName) -> Option<ReplicaName> {
        let state = self.lock();
        state.routes.iter().find(|(held, _)| *held == store).map(|(_, replica)| *replica)
    }

    /// Sets the replica that reads of `store` go to.
    pub fn set_route(&self, store: StoreName, replica: ReplicaName) {
        let mut state = self.lock();
        match state.routes.iter_mut().find(|(held, _)| *held == store) {
            Some((_, route)) => *route = replica,
            None => state.routes.push((store, replica)),
        }
    }

    /// The baggage that came with the request: its members of others go on with the calls that the
    /// request makes.
    #[must_use]
    pub fn baggage(&self) -> Option<Arc<Baggage>> {
        self.lock().baggage.clone()
    }

    /// Sets the baggage that came with the request. Forks made from now on have it too.
    pub fn set_baggage(&self, baggage: Baggage) {
        self.lock().baggage = Some(Arc::new(baggage));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Lineage> for LineageScope {
    fn from(lineage: Lineage) -> Self {
        let state = State { lineage, captures: Vec::new(), routes: Vec::new(), baggage: None, running: None };
        Self { state: Arc::new(Mutex::new(state)), teller: Teller::default() }
    }
}

impl State {
    /// Takes in the captures that have ended.
    fn collect(&mut self) {
        if self.captures.is_empty() {
            return;
        }
        let lineage = &mut self.lineage;
        self.captures.retain(|capture| {
            // Whether it ended is asked first: an outcome sent between the two is not missed.
            let ended = capture.outcome.has_changed().is_err();
            match capture.outcome.borrow().as_ref() {
                Some(outcome) => lineage.join(outcome),
                None if ended => lineage.add(capture.fallback),
                None => return true,
            }
            false
        });
    }
}

/// A scope in the place of the current one, until it is dropped.
struct Entered<'a> {
    place: &'a mut Option<LineageScope>,
}

impl<'a> Entered<'a> {
    fn new(place: &'a mut Option<LineageScope>) -> Self {
        let mut entered = Self { place };
        entered.swap();
        entered
    }

    /// Does nothing where the thread is ending and has no current scope any more.
    fn swap(&mut self) {
        let _ = CURRENT.try_with(|current| mem::swap(&mut *current.borrow_mut(), self.place));
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.swap();
    }
}

pin_project! {
    /// A future that runs inside a lineage scope. See [`LineageScope::run`].
    #[derive(Debug)]
    pub struct InLineage<F> {
        scope: Option<LineageScope>,
        #[pin]
        future: F,
    }
}

impl<F> InLineage<F> {
    fn with(scope: Option<LineageScope>, future: F) -> Self {
        Self { scope, future }
    }
}

impl<F: Future> Future for InLineage<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        LineageScope::enter_held(this.scope, || this.future.poll(cx))
    }
}

/// Carries the current lineage into a task about to be spawned.
pub trait InCurrentLineage: Future + Sized {
    /// Runs the future in the lineage scope that is current now; without one, as it is.
    fn in_current_lineage(self) -> InLineage<Self> {
        InLineage::with(LineageScope::current(), self)
    }
}

impl<F: Future> InCurrentLineage for F {}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;
