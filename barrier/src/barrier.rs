//! The barrier: waits until a lineage is visible.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use antipode_lineage::{Lineage, LineageScope, StoreName, WriteId};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::error::Kind;
use crate::registry::Registered;
use crate::report::{Report, Route, Wait};
use crate::store_wait::{Ended, Need, StoreWait};
use crate::watcher::Bell;
use crate::whole::end_of_branches;
use crate::{BarrierError, BoxFuture, Dependency, Observer, Verdict};

/// What a barrier does when its deadline passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum OnTimeout {
    /// Fails (fail-closed).
    #[default]
    Fail,
    /// Sends the reads of the stores that lag to their primaries, if those show the writes; else fails.
    Primary,
    /// Goes on (fail-open): the report and the lineage are marked weak, reads may be stale.
    Weak,
}

/// What of a lineage a barrier waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
enum Closure {
    /// The writes known when the lineage was handed over.
    #[default]
    Prefix,
    /// Also those of the branches that were still running.
    Whole,
}

/// A barrier about to be awaited: it returns when every write of the lineage is visible at a replica
/// of each store, or an error when its deadline passes or waiting is vain.
///
/// One that waits is a `tracing` span `barrier` with the fields `outcome`, `waited_us`, `prevented` and `skipped`;
/// in it, one `store_wait` for each store that was asked, with `store`, `replica`, `verdict`, `waited_us` and
/// `prevented`. Both are of level debug.
///
/// On a lineage that is known to be visible it is a comparison with what the last probes answered: no
/// network, no allocation, no task. Dropping it leaves nothing behind.
#[must_use = "a barrier does nothing until it is awaited"]
#[derive(Clone)]
pub struct Barrier<'a> {
    registered: &'a Arc<Registered>,
    subject: Subject<'a>,
    options: Options<'a>,
}

#[derive(Clone)]
pub(crate) enum Subject<'a> {
    Current,
    Given(&'a Lineage),
}

#[derive(Clone, Copy)]
struct Options<'a> {
    deadline: Duration,
    only: Option<&'a [StoreName]>,
    on_timeout: OnTimeout,
    closure: Closure,
}

impl<'a> Barrier<'a> {
    pub(crate) fn new(registered: &'a Arc<Registered>, subject: Subject<'a>) -> Self {
        let (on_timeout, closure) = Default::default();
        let options = Options { deadline: registered.deadline, only: None, on_timeout, closure };
        Self { registered, subject, options }
    }

    /// How long it may take, instead of the registry's default. There is no barrier without a deadline.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// Takes no longer than this, whatever its deadline is: for what is left of a request's own.
    pub fn at_most(mut self, limit: Duration) -> Self {
        self.options.deadline = self.options.deadline.min(limit);
        self
    }

    /// Waits only for these stores: those that the reads behind it use.
    pub fn only(mut self, stores: &'a [StoreName]) -> Self {
        self.options.only = Some(stores);
        self
    }

    /// What to do when the deadline passes.
    pub fn on_timeout(mut self, policy: OnTimeout) -> Self {
        self.options.on_timeout = policy;
        self
    }

    /// Waits for the whole lineage: first for the end of its open [branches](crate::Registry::branch), those
    /// nested in them included, then for their writes, too. All of it within the deadline. Their ledgers are
    /// asked at their primaries, whatever [`only`](Barrier::only) selects.
    ///
    /// The current scope then depends on what the branches came to, and no longer on the branches.
    ///
    /// # Errors
    /// Beside those of any barrier: [abandoned](BarrierError::is_abandoned),
    /// [unknown branch](BarrierError::is_unknown_branch), and, inside of a branch,
    /// [cycle](BarrierError::is_cycle). It never passes a branch over in silence.
    pub fn whole(mut self) -> Self {
        self.options.closure = Closure::Whole;
        self
    }

    /// The report, if the last probes' answers show every write already; a comparison, like the
    /// barrier itself then is. Asks nothing and waits for nothing: `None` is not a verdict.
    ///
    /// `None` without a current lineage, and while a capture of it is under way.
    #[must_use]
    pub fn known(&self) -> Option<Report> {
        let now = Instant::now();
        match self.subject {
            Subject::Given(lineage) => covered(self.registered, lineage, self.options, now),
            Subject::Current => {
                let lineage = LineageScope::current()?.try_settled()?;
                covered(self.registered, &lineage, self.options, now)
            }
        }
    }

    /// Ends the barrier at once, as awaiting it would, if the last probes' answers show every write
    /// already: no allocation, nothing asked.
    ///
    /// # Errors
    /// The barrier itself, to be awaited. Nothing has happened then.
    pub fn try_now(self) -> Result<Report, Self> {
        let Some(report) = self.known() else { return Err(self) };
        let scope = match self.subject {
            Subject::Given(_) => None,
            Subject::Current => LineageScope::current(),
        };
        conclude(self.registered, scope.as_ref(), Ok(&report));
        Ok(report)
    }

    /// Dry run: what is known now of every write, by asking once. Waits for nothing else, and no
    /// longer than the deadline.
    ///
    /// Stores that did not answer in time are left out, and so are branches. Without a current lineage there is nothing
    /// to ask about.
    pub async fn probe(self) -> Vec<Dependency> {
        let lineage = match self.subject {
            Subject::Given(lineage) => lineage.clone(),
            Subject::Current => LineageScope::current().map(|scope| scope.lineage()).unwrap_or_default(),
        };
        let deadline = Instant::now() + self.options.deadline;
        let (needs, _) = needs(self.registered, &lineage, self.options);
        let mut looks: FuturesUnordered<_> = needs.iter().map(Need::look).collect();
        let mut found = Vec::new();
        while let Ok(Some(look)) = timeout_at(deadline, looks.next()).await {
            found.extend(look);
        }
        found.sort_by_key(|dependency| dependency.write);
        found
    }
}

impl<'a> IntoFuture for Barrier<'a> {
    type Output = Result<Report, BarrierError>;
    type IntoFuture = BarrierFuture<'a>;

    fn into_future(self) -> BarrierFuture<'a> {
        let started = Instant::now();
        let scope = match self.subject {
            Subject::Given(_) => None,
            Subject::Current => match LineageScope::current() {
                Some(scope) => Some(scope),
                None => {
                    let error = BarrierError::new(Kind::NoLineage, Duration::ZERO, Vec::new());
                    return BarrierFuture::ended(self.registered, None, Err(error));
                }
            },
        };
        let lineage = match (&self.subject, &scope) {
            (Subject::Given(lineage), _) => Some((*lineage).clone()),
            (Subject::Current, Some(scope)) => scope.try_settled(),
            (Subject::Current, None) => None,
        };
        let covered =
            lineage.as_ref().and_then(|lineage| covered(self.registered, lineage, self.options, started));
        if let Some(report) = covered {
            return BarrierFuture::ended(self.registered, scope.as_ref(), Ok(report));
        }
        let span = tracing::debug_span!(
            "barrier",
            outcome = tracing::field::Empty,
            waited_us = tracing::field::Empty,
            prevented = tracing::field::Empty,
            skipped = tracing::field::Empty
        );
        let waiting = wait(self.registered, scope, lineage, self.options, started).instrument(span);
        BarrierFuture(State::Waiting(Box::pin(waiting)))
    }
}

/// A barrier under way. See [`Barrier`].
#[must_use = "futures do nothing until they are awaited"]
pub struct BarrierFuture<'a>(State<'a>);

#[allow(clippy::large_enum_variant)] // Boxing the common case would make it allocate.
enum State<'a> {
    Ended(Option<Result<Report, BarrierError>>),
    Waiting(BoxFuture<'a, Result<Report, BarrierError>>),
}

impl BarrierFuture<'_> {
    fn ended(
        registered: &Registered,
        scope: Option<&LineageScope>,
        outcome: Result<Report, BarrierError>,
    ) -> Self {
        conclude(registered, scope, outcome.as_ref());
        Self(State::Ended(Some(outcome)))
    }
}

impl Future for BarrierFuture<'_> {
    type Output = Result<Report, BarrierError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.0 {
            State::Ended(outcome) => outcome.take(),
            State::Waiting(waiting) => {
                let outcome = ready!(waiting.as_mut().poll(cx));
                self.0 = State::Ended(None);
                Some(outcome)
            }
        };
        // Polled after it was ready: like any future, it has nothing more to say.
        outcome.map_or(Poll::Pending, Poll::Ready)
    }
}

/// The report of a barrier on a lineage that the cached frontiers show; else nothing.
fn covered(
    registered: &Arc<Registered>,
    lineage: &Lineage,
    options: Options<'_>,
    now: Instant,
) -> Option<Report> {
    if lineage.has_overflowed() || options.follows_branches_of(lineage) {
        return None;
    }
    let mut report = Report::new(Arc::clone(registered));
    for writes in lineage.writes().chunk_by(|a, b| a.store == b.store) {
        let store = writes.first()?.store;
        let Some((index, store)) = registered.find(store).filter(|_| options.selects(store)) else {
            report.skip(writes.len());
            continue;
        };
        let fresh = store.replicas.iter().position(|replica| replica.shows(writes, now))?;
        report.add_route(index, Route::Replica(u16::try_from(fresh).ok()?));
    }
    Some(report)
}

/// What has to be asked of which store, and how many writes are left out.
fn needs<'a>(
    registered: &'a Registered,
    lineage: &Lineage,
    options: Options<'_>,
) -> (SmallVec<[Need<'a>; 1]>, usize) {
    let selected = |store: &StoreName| options.selects(*store);
    let known = registered.names().filter(selected);
    let mut skipped = lineage.writes().len();
    let needs = known.filter_map(|name| {
        let (index, store) = registered.find(name)?;
        let held = lineage.of_store(name);
        skipped -= held.len();
        let writes: Arc<[WriteId]> = held.iter().copied().filter(|write| !write.is_unplaced()).collect();
        let latest = lineage.has_overflowed() || writes.len() < held.len();
        let unplaced = || held.iter().copied().filter(WriteId::is_unplaced).collect();
        let unplaced = latest.then(unplaced);
        (latest || !writes.is_empty()).then_some(Need { index, store, writes, unplaced })
    });
    let needs = needs.collect();
    (needs, skipped)
}

/// An `async fn` would hold its arguments twice while it waits.
#[allow(clippy::manual_async_fn)]
fn wait<'a>(
    registered: &'a Arc<Registered>,
    scope: Option<LineageScope>,
    lineage: Option<Lineage>,
    options: Options<'a>,
    started: Instant,
) -> impl Future<Output = Result<Report, BarrierError>> + Send + 'a {
    async move {
        let outcome = match Place::take(registered) {
            None => Err(BarrierError::new(Kind::TooMany, started.elapsed(), Vec::new())),
            Some(_place) => {
                let lineage = match (lineage, &scope) {
                    (Some(lineage), _) => lineage,
                    (None, Some(scope)) => {
                        let settled = timeout_at(started + options.deadline, scope.settled()).await;
                        // Past the deadline, what could not be captured counts as unplaced.
                        settled.unwrap_or_else(|_| scope.lineage())
                    }
                    (None, None) => Lineage::new(),
                };
                if options.follows_branches_of(&lineage) {
                    // Boxed, so that other barriers do not pay for its room.
                    Box::pin(wait_whole(registered, scope.as_ref(), lineage, options, started)).await
                } else {
                    let (needs, skipped) = needs(registered, &lineage, options);
                    drop(lineage);
                    wait_for(registered, &needs, skipped, options, started).await
                }
            }
        };
        record(&tracing::Span::current(), started.elapsed(), outcome.as_ref());
        conclude(registered, scope.as_ref(), outcome.as_ref());
        outcome
    }
}

/// Waits for the branches, then for the writes of all.
async fn wait_whole(
    registered: &Arc<Registered>,
    scope: Option<&LineageScope>,
    lineage: Lineage,
    options: Options<'_>,
    started: Instant,
) -> Result<Report, BarrierError> {
    let running = scope.cloned().or_else(LineageScope::current).and_then(|scope| scope.running());
    let deadline = started + options.deadline;
    let ended = end_of_branches(registered, lineage, running, deadline, options.on_timeout).await;
    let ended = ended
        .map_err(|unended| BarrierError::of_branches(unended.kind, started.elapsed(), unended.branches))?;
    let (needs, skipped) = needs(registered, &ended.lineage, options);
    let mut report = wait_for(registered, &needs, skipped, options, started).await?;
    report.add_branches(ended.branches.len());
    if ended.is_weak {
        report.weaken();
    }
    if let Some(scope) = scope {
        scope.resolve(&ended.branches, &ended.lineage);
    }
    Ok(report)
}

async fn wait_for(
    registered: &Arc<Registered>,
    needs: &[Need<'_>],
    skipped: usize,
    options: Options<'_>,
    started: Instant,
) -> Result<Report, BarrierError> {
    let deadline = started + options.deadline;
    let mut report = Report::new(Arc::clone(registered));
    report.skip(skipped);
    let bell = Arc::new(Bell::new());
    let waits = needs.iter().map(|need| StoreWait::new(need, options.on_timeout, Arc::clone(&bell)));
    let mut waits: SmallVec<[StoreWait<'_>; 1]> = waits.collect();
    while !waits.is_empty() {
        let next = poll_fn(|cx| {
            bell.register(cx.waker());
            let mut polled = waits.iter_mut().map(|wait| wait.poll(cx)).enumerate();
            let ended = polled.find_map(|(at, poll)| match poll {
                Poll::Ready(ended) => Some((at, ended)),
                Poll::Pending => None,
            });
            ended.map_or(Poll::Pending, Poll::Ready)
        });
        let Ok((at, ended)) = timeout_at(deadline, next).await else { break };
        let ended_wait = waits.swap_remove(at);
        let (need, store, waited) = (ended_wait.need(), ended_wait.need().store.name, started.elapsed());
        match ended {
            Ended::Visible { replica, prevented } => {
                let route = u16::try_from(replica).map_or(Route::Primary, Route::Replica);
                report.add_route(need.index, route);
                let wait = Wait { store, waited, replica: need.store.name_of(route), prevented };
                ended_wait.tell(&wait, Verdict::Visible, registered.observer.as_ref());
                report.add_wait(wait);
            }
            Ended::Final(verdict, writes) => {
                let kind = match verdict {
                    Verdict::Lost => Kind::Lost,
                    Verdict::Unreachable => Kind::Unreachable,
                    _ => Kind::Indeterminate,
                };
                let wait = Wait { store, waited, replica: None, prevented: false };
                ended_wait.tell(&wait, verdict, registered.observer.as_ref());
                return Err(BarrierError::new(kind, waited, need.condemned(verdict, &writes)));
            }
        }
    }
    time_out(&waits, options.on_timeout, started, registered.observer.as_ref(), &mut report)?;
    report.end(started.elapsed());
    Ok(report)
}

/// Applies the policy to the stores that are not visible by the deadline.
fn time_out(
    late: &[StoreWait<'_>],
    policy: OnTimeout,
    started: Instant,
    observer: &dyn Observer,
    report: &mut Report,
) -> Result<(), BarrierError> {
    let mut failed = Vec::new();
    for late in late {
        let (need, waited) = (late.need(), started.elapsed());
        let given_up = Wait { store: need.store.name, waited, replica: None, prevented: false };
        match policy {
            OnTimeout::Primary if need.primary_showed() => {
                report.add_route(need.index, Route::Primary);
                let replica = need.store.name_of(Route::Primary);
                let wait = Wait { replica, prevented: true, ..given_up };
                late.tell(&wait, Verdict::Visible, observer);
                report.add_wait(wait);
            }
            OnTimeout::Weak => {
                report.weaken();
                late.tell(&given_up, Verdict::Pending, observer);
                report.add_wait(given_up);
            }
            OnTimeout::Fail | OnTimeout::Primary => {
                late.tell(&given_up, Verdict::Pending, observer);
                failed.push(need);
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let down = failed.iter().any(|need| need.is_down());
    let kind = if down { Kind::StoreDown } else { Kind::Timeout };
    let unseen = failed.iter().flat_map(|need| need.unseen()).collect();
    Err(BarrierError::new(kind, started.elapsed(), unseen))
}

fn record(span: &tracing::Span, waited: Duration, outcome: Result<&Report, &BarrierError>) {
    span.record("outcome", outcome.map_or_else(BarrierError::outcome, Report::outcome));
    span.record("waited_us", waited.as_micros() as u64);
    if let Ok(report) = outcome {
        span.record("prevented", report.prevented());
        span.record("skipped", report.skipped());
    }
}

/// Hands the routes to the reads that follow, and the outcome to the observer.
fn conclude(registered: &Registered, scope: Option<&LineageScope>, outcome: Result<&Report, &BarrierError>) {
    if let (Some(scope), Ok(report)) = (scope, outcome) {
        report.hand_routes_to(scope);
        if report.is_weak() {
            scope.mark_weak();
        }
    }
    registered.observer.ended(outcome);
}

/// A waiting barrier's place among the registry's.
struct Place<'a>(&'a Registered);

impl<'a> Place<'a> {
    fn take(registered: &'a Registered) -> Option<Self> {
        let place = Self(registered);
        let before = registered.waiting.fetch_add(1, Ordering::Relaxed);
        (before < registered.max_waiting).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Options<'_> {
    fn selects(&self, store: StoreName) -> bool {
        self.only.is_none_or(|only| only.contains(&store))
    }

    fn follows_branches_of(&self, lineage: &Lineage) -> bool {
        self.closure == Closure::Whole && (lineage.has_forgotten_branches() || !lineage.branches().is_empty())
    }
}
