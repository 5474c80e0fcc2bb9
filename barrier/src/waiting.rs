//! A barrier that has to wait: first for branches if it is whole, then for every store at once.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use antipode_lineage::{Lineage, LineageScope, StoreName, WriteId};
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

use crate::barrier::{Options, conclude, record};
use crate::error::Kind;
use crate::registry::Registered;
use crate::report::{Found, Report, Route, Wait};
use crate::store_wait::{Ended, Need, StoreWait};
use crate::watcher::Bell;
use crate::whole::end_of_branches;
use crate::{BarrierError, Observer, OnTimeout, Verdict};

/// What has to be asked of which store, and how many writes are left out.
pub(crate) fn needs<'a>(
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
pub(crate) fn wait<'a>(
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
    let mut found = Found::default();
    found.skip(skipped);
    let mut report = found.into_report(registered);
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
