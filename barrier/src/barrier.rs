//! The barrier: waits until a lineage is visible.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use antipode_lineage::{Lineage, LineageScope, StoreName};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::error::Kind;
use crate::registry::Registered;
use crate::report::{Found, Report, Route};
use crate::store_wait::Need;
use crate::waiting::{needs, wait};
use crate::{BarrierError, BoxFuture, Dependency, Observer};

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
/// One that waits is a `tracing` span `barrier` with the fields `outcome`, `waited_us`, `prevented` and
/// `skipped`; in it, one `store_wait` for each store that was asked, with `store`, `replica`, `verdict`,
/// `waited_us` and `prevented`. Both are of level debug.
///
/// On a lineage that is known to be visible it is a comparison with what the last probes answered: no
/// network, no allocation, no task; now and then one of many has a replica asked anew, and does not wait
/// for it (see [`frontier_ttl`](crate::RegistryBuilder::frontier_ttl)). Dropping it leaves nothing behind.
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
pub(crate) struct Options<'a> {
    pub(crate) deadline: Duration,
    only: Option<&'a [StoreName]>,
    pub(crate) on_timeout: OnTimeout,
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

    /// Whether the last probes' answers show every write already; a comparison, like the barrier itself
    /// then is. Asks nothing and waits for nothing, so a no is not a verdict.
    ///
    /// No without a current lineage, and while a capture of it is under way.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self.subject {
            Subject::Given(lineage) => self.covered(lineage),
            Subject::Current => LineageScope::current().and_then(|scope| self.covered_now(&scope)),
        }
        .is_some()
    }

    /// Ends the barrier at once, as awaiting it would, if the last probes' answers show every write
    /// already: no allocation, nothing asked, and no report but to an observer.
    ///
    /// # Errors
    /// The barrier itself, to be awaited. Nothing has happened then.
    pub fn try_now(self) -> Result<(), Self> {
        let (found, scope) = match self.subject {
            Subject::Given(lineage) => (self.covered(lineage), None),
            Subject::Current => {
                let scope = LineageScope::current();
                (scope.as_ref().and_then(|scope| self.covered_now(scope)), scope)
            }
        };
        let Some(found) = found else { return Err(self) };
        if let Some(scope) = scope {
            found.hand_routes_to(&scope, self.registered);
        }
        if self.registered.observed {
            self.registered.observer.ended(Ok(&found.into_report(self.registered)));
        }
        Ok(())
    }

    /// Dry run: what is known now of every write, by asking once. Waits for nothing else, and no
    /// longer than the deadline.
    ///
    /// Stores that did not answer in time are left out, and so are branches. Without a current lineage
    /// there is nothing to ask about.
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

    /// Where the cached frontiers show the lineage.
    fn covered(&self, lineage: &Lineage) -> Option<Found> {
        covered(self.registered, lineage, self.options, Instant::now())
    }

    /// The same of what the scope depends on, if that is settled.
    fn covered_now(&self, scope: &LineageScope) -> Option<Found> {
        scope.look_settled(|lineage| self.covered(lineage)).flatten()
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
        if let Some(found) = covered {
            let report = found.into_report(self.registered);
            return BarrierFuture::ended(self.registered, scope.as_ref(), Ok(report));
        }
        let span = tracing::debug_span!(
            "barrier",
            outcome = tracing::field::Empty,
            waited_us = tracing::field::Empty,
            prevented = tracing::field::Empty,
            skipped = tracing::field::Empty,
            otel.status_code = tracing::field::Empty
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

/// Where the cached frontiers show the lineage.
fn covered(registered: &Registered, lineage: &Lineage, options: Options<'_>, now: Instant) -> Option<Found> {
    if lineage.has_overflowed() || options.follows_branches_of(lineage) {
        return None;
    }
    let mut found = Found::default();
    for writes in lineage.writes().chunk_by(|a, b| a.store == b.store) {
        let store = writes.first()?.store;
        let Some((index, store)) = registered.find(store).filter(|_| options.selects(store)) else {
            found.skip(writes.len());
            continue;
        };
        let fresh = store.replicas.iter().position(|replica| replica.shows(writes, now))?;
        found.add_route(index, Route::Replica(u16::try_from(fresh).ok()?));
    }
    Some(found)
}

/// As signed numbers: OpenTelemetry has no others, and would get text.
pub(crate) fn record(span: &tracing::Span, waited: Duration, outcome: Result<&Report, &BarrierError>) {
    span.record("outcome", outcome.map_or_else(BarrierError::outcome, Report::outcome));
    span.record("waited_us", waited.as_micros() as i64);
    match outcome {
        Ok(report) => {
            span.record("prevented", report.prevented());
            span.record("skipped", report.skipped() as i64);
        }
        Err(_) => {
            span.record("otel.status_code", "error");
        }
    }
}

/// Hands the routes to the reads that follow, and the outcome to the observer.
pub(crate) fn conclude(
    registered: &Registered,
    scope: Option<&LineageScope>,
    outcome: Result<&Report, &BarrierError>,
) {
    if let (Some(scope), Ok(report)) = (scope, outcome) {
        report.hand_routes_to(scope);
        if report.is_weak() {
            scope.mark_weak();
        }
    }
    registered.observer.ended(outcome);
}

impl Options<'_> {
    pub(crate) fn selects(&self, store: StoreName) -> bool {
        self.only.is_none_or(|only| only.contains(&store))
    }

    pub(crate) fn follows_branches_of(&self, lineage: &Lineage) -> bool {
        self.closure == Closure::Whole && (lineage.has_forgotten_branches() || !lineage.branches().is_empty())
    }
}
