//! One store's part of a barrier.

use std::sync::Arc;
use std::task::{Context, Poll};

use antipode_lineage::{Epoch, Lineage, StoreName, WriteId};
use smallvec::SmallVec;
use tokio::time::Instant;
use tracing::Span;

use crate::decision::{Decision, PrimaryView, decide};
use crate::registry::RegisteredStore;
use crate::standing::{Status, standing};
use crate::wanted::Wanted;
use crate::watcher::{Bell, Seat};
use crate::{BoxFuture, Dependency, Frontiers, Observer, OnTimeout, Verdict, Wait};

/// What a barrier needs of one store.
pub(crate) struct Need<'a> {
    /// The store's index in the registry.
    pub(crate) index: u16,
    pub(crate) store: &'a RegisteredStore,
    /// The placed writes.
    pub(crate) writes: Arc<[WriteId]>,
    /// The unplaced writes, if there are any: they, or an overflowed lineage, make the primary's present
    /// frontier the thing to wait for.
    pub(crate) unplaced: Option<Arc<[WriteId]>>,
}

/// A store's wait: for the first replica that shows everything, or for what makes waiting vain. Whoever
/// polls it sets the deadline, and is woken by the bell.
pub(crate) struct StoreWait<'a> {
    need: &'a Need<'a>,
    on_timeout: OnTimeout,
    bell: Arc<Bell>,
    /// What is waited for, once it is known.
    writes: Arc<[WriteId]>,
    /// A place at every replica, once it is known what to wait for.
    seats: SmallVec<[Seat<'a>; 2]>,
    primary: PrimaryView,
    question: Option<BoxFuture<'a, Answer>>,
    prevented: bool,
    span: Span,
}

/// How a store's wait ended.
pub(crate) enum Ended {
    /// The replica with this index shows everything.
    Visible { replica: usize, prevented: bool },
    /// Waiting cannot change it.
    Final(Verdict, Arc<[WriteId]>),
}

/// What the primary was asked.
enum Answer {
    /// What to wait for, or an unplaced write of a history that has ended.
    Placed(Result<Arc<[WriteId]>, WriteId>),
    View(PrimaryView),
}

impl<'a> StoreWait<'a> {
    pub(crate) fn new(need: &'a Need<'a>, on_timeout: OnTimeout, bell: Arc<Bell>) -> Self {
        let mut wait = Self {
            need,
            on_timeout,
            bell,
            writes: Arc::clone(&need.writes),
            seats: SmallVec::new(),
            primary: PrimaryView::Unasked,
            question: None,
            prevented: false,
            span: span(need.store.name),
        };
        if need.unplaced.is_some() {
            wait.question = Some(Box::pin(async { Answer::Placed(need.placed().await) }));
        } else {
            wait.sit();
        }
        wait
    }

    pub(crate) fn need(&self) -> &'a Need<'a> {
        self.need
    }

    /// Says how it ended: in its span, and to the observer if it found what it waited for.
    pub(crate) fn tell(&self, wait: &Wait, verdict: Verdict, observer: &dyn Observer) {
        self.span.record("verdict", tracing::field::display(verdict));
        self.span.record("waited_us", wait.waited.as_micros() as i64);
        self.span.record("prevented", wait.prevented);
        if let Some(replica) = wait.replica {
            self.span.record("replica", tracing::field::display(replica));
        }
        if verdict == Verdict::Visible {
            self.span.in_scope(|| observer.waited(wait, &self.need.writes));
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            if let Some(question) = &mut self.question
                && let Poll::Ready(answer) = question.as_mut().poll(cx)
            {
                self.question = None;
                match answer {
                    Answer::View(view) => self.primary = view,
                    Answer::Placed(Ok(writes)) => {
                        self.writes = writes;
                        self.sit();
                    }
                    Answer::Placed(Err(write)) => {
                        return Poll::Ready(Ended::Final(Verdict::Indeterminate, Arc::from([write])));
                    }
                }
            }
            if self.seats.is_empty() {
                return Poll::Pending;
            }
            let statuses: SmallVec<[Status; 4]> = self.seats.iter().map(Seat::status).collect();
            self.prevented |= statuses.first() == Some(&Status::Pending);
            match decide(&statuses, self.primary, self.on_timeout) {
                Decision::Visible(replica) => {
                    return Poll::Ready(Ended::Visible { replica, prevented: self.prevented });
                }
                Decision::Final(verdict) => {
                    return Poll::Ready(Ended::Final(verdict, Arc::clone(&self.writes)));
                }
                Decision::AskPrimary if self.question.is_none() => {
                    let (need, writes) = (self.need, Arc::clone(&self.writes));
                    self.question =
                        Some(Box::pin(async move { Answer::View(need.ask_primary(&writes).await) }));
                }
                Decision::AskPrimary | Decision::Wait => return Poll::Pending,
            }
        }
    }

    fn sit(&mut self) {
        let replicas = self.need.store.replicas.iter();
        self.seats = replicas.map(|watcher| watcher.join(&self.writes, &self.bell)).collect();
    }
}

impl Need<'_> {
    /// The writes to wait for, with the primary's present frontier where one's place is not known.
    async fn placed(&self) -> Result<Arc<[WriteId]>, WriteId> {
        let Some(unplaced) = &self.unplaced else { return Ok(Arc::clone(&self.writes)) };
        let store = self.store.name;
        let primary = self.store.primary.as_ref().ok_or(WriteId::unplaced(store))?;
        let frontiers = loop {
            // A failed probe is followed by the next at the watcher's pace.
            if let Ok(frontiers) = primary.ask(Wanted::All).await {
                break frontiers;
            }
        };
        // Since then a failover may have cut off the write: its place would tell, but nobody knows it.
        let turned = |write: &&WriteId| {
            let present = frontiers.get(write.shard).map(|frontier| frontier.epoch);
            write.epoch != Epoch::UNKNOWN && present != Some(write.epoch)
        };
        if let Some(write) = unplaced.iter().find(turned) {
            return Err(*write);
        }
        let present = frontiers.iter().map(|(shard, frontier)| WriteId {
            store,
            shard,
            epoch: frontier.epoch,
            position: frontier.position,
        });
        let all: Lineage = present.chain(self.writes.iter().copied()).collect();
        Ok(Arc::from(all.writes()))
    }

    async fn ask_primary(&self, writes: &[WriteId]) -> PrimaryView {
        let Some(primary) = &self.store.primary else { return PrimaryView::Silent };
        if primary.shows(writes, Instant::now()) {
            return PrimaryView::Said(Verdict::Visible);
        }
        match primary.ask(Wanted::by(writes)).await {
            Ok(frontiers) => PrimaryView::Said(least_settled(&frontiers, writes)),
            Err(_) => PrimaryView::Silent,
        }
    }

    /// Whether the primary, when it was last asked, showed everything. Writes without a known place
    /// are those that it holds; of one whose history is known this is not claimed, as the primary may
    /// have gone on to another since.
    pub(crate) fn primary_showed(&self) -> bool {
        let has_history = |write: &WriteId| write.epoch != Epoch::UNKNOWN;
        if self.unplaced.iter().flat_map(|unplaced| unplaced.iter()).any(has_history) {
            return false;
        }
        self.store.primary.as_ref().is_some_and(|primary| primary.showed(&self.writes))
    }

    /// Whether no replica could be asked.
    pub(crate) fn is_down(&self) -> bool {
        self.store.replicas.iter().all(|watcher| watcher.failure().is_some())
    }

    /// The writes that the preferred replica does not show.
    pub(crate) fn unseen(&self) -> impl Iterator<Item = Dependency> + '_ {
        let unplaced = self.unplaced.is_some().then(|| WriteId::unplaced(self.store.name));
        let replica = self.store.replicas.first();
        self.writes.iter().copied().chain(unplaced).filter_map(move |write| {
            let verdict = match replica?.last_verdict(&write) {
                None | Some(Verdict::Indeterminate) => Verdict::Pending,
                Some(verdict) => verdict,
            };
            let (replica, failure) = (replica?.name(), replica?.failure());
            (verdict != Verdict::Visible).then_some(Dependency { write, verdict, replica, failure })
        })
    }

    /// The writes that made the wait end with `verdict`.
    pub(crate) fn condemned(&self, verdict: Verdict, writes: &[WriteId]) -> Vec<Dependency> {
        let primary = self.store.primary.iter().map(|watcher| (watcher, true));
        let judges = || primary.clone().chain(self.store.replicas.iter().map(|watcher| (watcher, false)));
        let found = writes.iter().filter_map(|write| {
            let (judge, _) = judges().find(|(watcher, is_primary)| match watcher.last_verdict(write) {
                Some(Verdict::Pending) => *is_primary && verdict == Verdict::Unreachable,
                last => last == Some(verdict),
            })?;
            Some(Dependency { write: *write, verdict, replica: judge.name(), failure: None })
        });
        let found: Vec<_> = found.collect();
        if !found.is_empty() {
            return found;
        }
        // The judges have moved on meanwhile; the verdict stands.
        let replica = self.store.replicas.first().map(|watcher| watcher.name());
        let all = writes.iter().filter_map(|write| {
            Some(Dependency { write: *write, verdict, replica: replica?, failure: None })
        });
        all.collect()
    }

    /// What every replica and the primary say now of each write.
    pub(crate) async fn look(&self) -> Vec<Dependency> {
        let writes = match self.placed().await {
            Ok(writes) => writes,
            Err(write) => return self.condemned(Verdict::Indeterminate, &[write]),
        };
        let asked = self.store.replicas.iter().map(|watcher| watcher.ask(Wanted::by(&writes)));
        let (answers, primary) =
            futures_util::future::join(futures_util::future::join_all(asked), self.ask_primary(&writes))
                .await;
        let look = |write: &WriteId| {
            let one = std::slice::from_ref(write);
            let statuses = answers.iter().map(|answer| match answer {
                Ok(frontiers) => standing(|write| frontiers.verdict(write), one).0,
                Err(_) => Status::Down,
            });
            let statuses: Vec<Status> = statuses.collect();
            let (at, verdict) = match decide(&statuses, primary, OnTimeout::Fail) {
                Decision::Visible(at) => (at, Verdict::Visible),
                // The primary's word was about the least settled of the writes.
                Decision::Final(_) if statuses.first() == Some(&Status::Pending) && self.knows(write) => {
                    (0, Verdict::Pending)
                }
                Decision::Final(verdict) => (0, verdict),
                Decision::Wait | Decision::AskPrimary => (0, Verdict::Pending),
            };
            let watcher = self.store.replicas.get(at)?;
            let failure = answers.get(at).and_then(|answer| answer.as_ref().err()).cloned();
            Some(Dependency { write: *write, verdict, replica: watcher.name(), failure })
        };
        writes.iter().filter_map(look).collect()
    }

    fn knows(&self, write: &WriteId) -> bool {
        let primary = self.store.primary.as_ref();
        primary.is_some_and(|primary| primary.last_verdict(write) == Some(Verdict::Visible))
    }
}

fn span(store: StoreName) -> Span {
    use tracing::field::Empty;
    tracing::debug_span!(
        "store_wait",
        %store,
        replica = Empty,
        verdict = Empty,
        waited_us = Empty,
        prevented = Empty
    )
}

fn least_settled(frontiers: &Frontiers, writes: &[WriteId]) -> Verdict {
    let verdicts = || writes.iter().map(|write| frontiers.verdict(write));
    let worst = [Verdict::Lost, Verdict::Pending, Verdict::Indeterminate];
    worst.into_iter().find(|worst| verdicts().any(|verdict| verdict == *worst)).unwrap_or(Verdict::Visible)
}
