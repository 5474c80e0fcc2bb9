//! Who waits at one replica, and for what: a state machine without clock or I/O.
//!
//! Time and answers come in as arguments, changes go out as values, so the engine's heart runs
//! under a simulated clock. [`crate::watcher`] drives it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use antipode_lineage::{Position, Shard, WriteId};
use tokio::time::Instant;

use crate::known::Known;
use crate::pacing::Pacing;
use crate::standing::{Status, standing};
use crate::wanted::Wanted;
use crate::{Frontiers, ProbeError, Target};

pub(crate) type WaiterId = u64;

/// What the driver should do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nobody waits.
    Rest,
    /// Probe these shards.
    Probe(Wanted),
    /// Let the server hold a request until the target is applied, or probe where it cannot.
    Await(Target, Wanted),
    /// Nothing before then, unless someone joins.
    Sleep(Instant),
}

#[derive(Debug)]
struct Waiter<T> {
    token: T,
    writes: Arc<[WriteId]>,
    status: Status,
    /// When it came.
    since: Instant,
    /// Where it stands in `queue`, if it does.
    queued: Option<(Shard, Position)>,
}

#[derive(Debug)]
struct Asker<T> {
    token: T,
    wanted: Wanted,
    /// The number of probes begun when it asked: only a later one answers it.
    after: u64,
}

/// One replica's waiters and what is known of its frontiers. `T` is how the driver knows a waiter.
#[derive(Debug)]
pub(crate) struct Watch<T> {
    known: Option<Known>,
    failure: Option<ProbeError>,
    waiters: BTreeMap<WaiterId, Waiter<T>>,
    next_id: WaiterId,
    /// Those whose wait ends by the frontier's advance, by shard and position.
    queue: BTreeSet<(Shard, Position, WaiterId)>,
    /// Those to be judged at the next answer, whatever it says.
    newcomers: BTreeSet<WaiterId>,
    askers: Vec<Asker<T>>,
    begun: u64,
    /// The shards that the probe under way asks for.
    asked: Wanted,
    /// What the server holds a request for.
    awaited: Option<Target>,
    /// When the last probe began that was answered.
    told: Option<Instant>,
    pacing: Pacing,
}

/// What an answer changes: the tokens to tell, and the askers it serves.
#[derive(Debug)]
pub(crate) struct Changes<T> {
    pub(crate) waiters: Vec<(T, Status)>,
    pub(crate) askers: Vec<T>,
    /// If a write was found that was missing before: the time since it was last found missing, unless the
    /// server held the request.
    pub(crate) detected: Option<Duration>,
}

impl<T: Clone> Watch<T> {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            known: None,
            failure: None,
            waiters: BTreeMap::new(),
            next_id: 0,
            queue: BTreeSet::new(),
            newcomers: BTreeSet::new(),
            askers: Vec::new(),
            begun: 0,
            asked: Wanted::All,
            awaited: None,
            told: None,
            pacing: Pacing::new(now),
        }
    }

    /// The last answers; forgotten when a probe fails.
    pub(crate) fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    /// The last probe's failure; forgotten when one succeeds.
    pub(crate) fn failure(&self) -> Option<&ProbeError> {
        self.failure.as_ref()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiters.is_empty() && self.askers.is_empty()
    }

    /// Someone begins to wait for `writes`, all of this store. Says how it stands, if that is known.
    pub(crate) fn join(&mut self, now: Instant, token: T, writes: Arc<[WriteId]>) -> (WaiterId, Status) {
        self.arrival(now);
        let id = self.next_id;
        self.next_id += 1;
        let behind = self.is_behind_awaited(&writes);
        self.waiters.insert(id, Waiter { token, writes, status: Status::Joining, since: now, queued: None });
        if behind && let Some((_, status)) = self.judge(id) {
            return (id, status);
        }
        self.newcomers.insert(id);
        (id, Status::Joining)
    }

    /// Someone wants the frontiers as of a probe that begins from now on.
    pub(crate) fn ask(&mut self, now: Instant, token: T, wanted: Wanted) {
        self.arrival(now);
        self.askers.push(Asker { token, wanted, after: self.begun });
    }

    /// A waiter goes. Nothing of it stays.
    pub(crate) fn leave(&mut self, id: WaiterId) {
        if let Some(waiter) = self.waiters.remove(&id) {
            self.newcomers.remove(&id);
            if let Some((shard, position)) = waiter.queued {
                self.queue.remove(&(shard, position, id));
            }
        }
    }

    /// Askers for whom `gone` holds are forgotten.
    pub(crate) fn drop_askers(&mut self, gone: impl Fn(&T) -> bool) {
        self.askers.retain(|asker| !gone(&asker.token));
    }

    /// Everyone who waits or asks.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &T> {
        self.waiters.values().map(|waiter| &waiter.token).chain(self.askers.iter().map(|asker| &asker.token))
    }

    pub(crate) fn next(&self, now: Instant) -> Step {
        if self.is_idle() {
            return Step::Rest;
        }
        match self.pacing.due() {
            Some(due) if due > now => Step::Sleep(due),
            _ => match self.lowest() {
                Some(target) if !self.has_questions() => Step::Await(target, self.wanted()),
                _ => Step::Probe(self.wanted()),
            },
        }
    }

    /// Whether someone needs an answer that the one awaited may not give.
    pub(crate) fn has_questions(&self) -> bool {
        !self.newcomers.is_empty() || !self.askers.is_empty()
    }

    /// A probe of these shards begins, or the server holds a request until a target is applied.
    /// Returns its number.
    pub(crate) fn begin(&mut self, now: Instant, awaited: Option<Target>, asked: Wanted) -> u64 {
        self.awaited = awaited;
        self.asked = asked;
        self.pacing.begin(now);
        self.begun += 1;
        self.begun
    }

    /// The probe of this number, begun then, was answered.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        number: u64,
        begun: Instant,
        answer: &Frontiers,
    ) -> Changes<T> {
        self.failure = None;
        let was_held = self.awaited.take().is_some();
        let missing_since = self.told.replace(begun);
        let turned = self.known.get_or_insert_default().learn(&self.asked, begun, answer);
        let mut due: BTreeSet<_> = self
            .newcomers
            .extract_if(.., |id| self.waiters.get(id).is_none_or(|waiter| self.asked.covers(&waiter.writes)))
            .collect();
        if turned {
            due.extend(self.waiters.keys().filter(|id| !self.newcomers.contains(id)));
        } else {
            due.extend(self.reached());
        }
        let lacking = |waiter: &Waiter<T>| waiter.status == Status::Pending;
        let (mut waiters, mut detected) = (Vec::new(), None);
        for id in due {
            let lacked = self.waiters.get(&id).is_some_and(lacking);
            let Some((token, status)) = self.judge(id) else { continue };
            if lacked && status == Status::Visible && !was_held {
                detected = missing_since.map(|since| now.duration_since(since));
            }
            waiters.push((token, status));
        }
        let ended = waiters.iter().any(|(_, status)| *status == Status::Visible);
        self.pacing.answered(now, ended);
        Changes { waiters, askers: self.take_askers(number), detected }
    }

    /// The probe of this number failed.
    pub(crate) fn failed(&mut self, number: u64, error: ProbeError) -> Changes<T> {
        self.known = None;
        self.awaited = None;
        self.failure = Some(error);
        self.pacing.failed();
        // What was judged by the frontiers now forgotten is judged again.
        self.queue.clear();
        let mut waiters = Vec::new();
        for (id, waiter) in &mut self.waiters {
            waiter.queued = None;
            self.newcomers.insert(*id);
            if waiter.status == Status::Joining {
                waiter.status = Status::Down;
                waiters.push((waiter.token.clone(), Status::Down));
            }
        }
        Changes { waiters, askers: self.take_askers(number), detected: None }
    }

    /// How long the first of those waits whose writes are known to be missing.
    pub(crate) fn behind(&self, now: Instant) -> Duration {
        let first = self.waiters.values().find(|waiter| waiter.status == Status::Pending);
        first.map_or(Duration::ZERO, |waiter| now.duration_since(waiter.since))
    }

    fn arrival(&mut self, now: Instant) {
        if self.is_idle() {
            self.pacing.wake(now);
        }
        self.pacing.newcomer();
    }

    /// Whether the server holds a request whose answer serves these writes as well: they come after what
    /// it is held for, which is not applied yet.
    fn is_behind_awaited(&self, writes: &[WriteId]) -> bool {
        let (Some(known), Some(target)) = (&self.known, self.awaited) else { return false };
        standing(|write| known.verdict(write), writes).0 == Status::Pending
            && writes.iter().all(|write| {
                (write.shard, write.epoch) == (target.shard, target.epoch)
                    && write.position >= target.position
            })
    }

    /// Those in the queue whose position the frontiers have reached.
    fn reached(&self) -> Vec<WaiterId> {
        let Some(known) = &self.known else { return Vec::new() };
        let reached = |(shard, frontier): (Shard, &crate::Frontier)| {
            let upto = (shard, frontier.position, WaiterId::MAX);
            self.queue.range((shard, Position(0), 0)..=upto).map(|(_, _, id)| *id).collect::<Vec<_>>()
        };
        known.iter().flat_map(reached).collect()
    }

    /// Judges a waiter by what is known, and puts it where it then belongs. Says if its status changed.
    fn judge(&mut self, id: WaiterId) -> Option<(T, Status)> {
        let known = self.known.as_ref()?;
        let waiter = self.waiters.get_mut(&id)?;
        if let Some((shard, position)) = waiter.queued.take() {
            self.queue.remove(&(shard, position, id));
        }
        let (status, next) = standing(|write| known.verdict(write), &waiter.writes);
        if let Some((shard, position)) = next {
            waiter.queued = next;
            self.queue.insert((shard, position, id));
        }
        let changed = waiter.status != status;
        waiter.status = status;
        let token = waiter.token.clone();
        if matches!(status, Status::Visible | Status::Lost) {
            self.waiters.remove(&id);
        }
        changed.then_some((token, status))
    }

    fn take_askers(&mut self, number: u64) -> Vec<T> {
        let served = self.askers.extract_if(.., |asker| asker.after < number);
        served.map(|asker| asker.token).collect()
    }

    /// What a server-side wait should wait for: the least position waited for, if all wait in one shard.
    fn lowest(&self) -> Option<Target> {
        let (shard, position, id) = *self.queue.first()?;
        let (last, _, _) = *self.queue.last()?;
        let waiter = self.waiters.get(&id)?;
        let write = waiter.writes.iter().find(|write| (write.shard, write.position) == (shard, position))?;
        (shard == last).then_some(Target { shard, epoch: write.epoch, position })
    }

    fn wanted(&self) -> Wanted {
        let mut shards = BTreeSet::new();
        for asker in &self.askers {
            match &asker.wanted {
                Wanted::All => return Wanted::All,
                Wanted::Of(of) => shards.extend(of.iter().copied()),
            }
        }
        let mut after = Shard(0);
        while let Some((shard, _, _)) = self.queue.range((after, Position(0), 0)..).next() {
            shards.insert(*shard);
            let Some(next) = shard.0.checked_add(1) else { break };
            after = Shard(next);
        }
        // Strangers stand neither in the queue nor among the newcomers; what they wait for is another
        // epoch of a shard, which any answer about that shard tells.
        let unqueued = self.waiters.values().filter(|waiter| waiter.queued.is_none());
        shards.extend(unqueued.flat_map(|waiter| waiter.writes.iter().map(|write| write.shard)));
        Wanted::Of(shards.into_iter().collect())
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
