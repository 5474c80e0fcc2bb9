//! The one task per replica that probes on behalf of all waiting barriers.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::{Inner, Published};
use crate::known::Known;
use crate::observer::{ProbeKind, Probed};
use crate::standing::Status;
use crate::wanted::Wanted;
use crate::watch::{Changes, Step};
use crate::{BoxFuture, Frontiers, ProbeError, Target};

/// The task's hold on its watcher, also before it first runs. However the task ends, the waiters get to know
/// of it, and one of them starts the next.
pub(super) struct Driven {
    inner: Arc<Inner>,
    rested: bool,
}

impl Driven {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, rested: false }
    }

    /// Probes for as long as someone waits.
    pub(super) async fn drive(mut self) {
        let inner = Arc::clone(&self.inner);
        loop {
            let now = Instant::now();
            let step = {
                let mut state = inner.lock();
                let step = state.watch.next(now);
                if step == Step::Rest {
                    // Under the lock: whoever joins next finds no task and starts one.
                    state.task = None;
                    self.rested = true;
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

impl Inner {
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
        let limit = self.settings.probe_limit;
        let answer = match tokio::time::timeout(limit, self.replica.probe(wanted.shards())).await {
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
