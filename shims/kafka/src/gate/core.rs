//! The gate's state: which records wait, which may be handed over, what may be committed. Events in,
//! actions out: no clock, no I/O, no driver.

use std::collections::VecDeque;

use super::lanes::{LaneId, Lanes, Turn};
use super::window::{Seq, Window};
use crate::RecordPlace;

/// How much is kept of one partition before it is paused; it is resumed at half of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Records parked in memory.
    pub(super) parked: usize,
    /// Records from the first that is not handled.
    pub(super) window: usize,
}

/// One record of one assignment. Of an assignment that has ended it means nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ticket {
    generation: u64,
    slot: usize,
    lane: LaneId,
    seq: Seq,
    offset: i64,
}

/// What the consumer is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flow {
    Pause(String, i32),
    Resume(String, i32),
}

#[derive(Debug)]
struct Partition<R> {
    generation: u64,
    topic: String,
    partition: i32,
    window: Window,
    lanes: Lanes<R>,
    paused: bool,
    committed: Option<i64>,
}

#[derive(Debug)]
pub(super) struct Core<R> {
    limits: Limits,
    partitions: Vec<Partition<R>>,
    generations: u64,
    /// Where the last record came from: the next one most likely does, too.
    recent: usize,
    /// First records of their keys that nobody looked at yet.
    unchecked: VecDeque<Ticket>,
    ready: VecDeque<Ticket>,
    flow: Vec<Flow>,
}

impl<R> Core<R> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            partitions: Vec::new(),
            generations: 0,
            recent: 0,
            unchecked: VecDeque::new(),
            ready: VecDeque::new(),
            flow: Vec::new(),
        }
    }

    /// A partition is this consumer's from now on.
    pub(super) fn assign(&mut self, topic: &str, partition: i32) {
        self.revoke(topic, partition);
        self.generations += 1;
        self.partitions.push(Partition {
            generation: self.generations,
            topic: topic.to_owned(),
            partition,
            window: Window::default(),
            lanes: Lanes::default(),
            paused: false,
            committed: None,
        });
    }

    /// A partition is not this consumer's any more: drops its parked records and says where the next
    /// consumer goes on, unless it has been told.
    pub(super) fn revoke(&mut self, topic: &str, partition: i32) -> Option<RecordPlace> {
        let slot = self.find(topic, partition)?;
        let mut revoked = self.partitions.swap_remove(slot);
        revoked.uncommitted()
    }

    /// A record has arrived. It is the caller's: if it is the first of its key, to hand over or to
    /// [`park`](Self::park), else to park. `None` if the partition is not assigned.
    pub(super) fn arrive(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        lane: LaneId,
    ) -> Option<(Ticket, Turn)> {
        let slot = self.find(topic, partition)?;
        self.recent = slot;
        let held = self.partitions.get_mut(slot)?;
        if held.window.end().is_some_and(|end| offset < end) {
            held.window.rewind(offset);
            held.lanes.rewind(offset);
        }
        let seq = held.window.push(offset);
        let turn = held.lanes.enter(lane, seq, offset);
        let ticket = Ticket { generation: held.generation, slot, lane, seq, offset };
        self.regulate(slot);
        Some((ticket, turn))
    }

    /// Keeps a record, to be looked at when it is the first of its key and nobody does yet.
    pub(super) fn park(&mut self, ticket: Ticket, record: R) {
        if let Some((slot, held)) = self.held(ticket) {
            held.lanes.park(ticket.lane, ticket.seq, ticket.offset, record);
            self.regulate(slot);
        }
    }

    /// A record that came first since its key's last one was handled, to be looked at.
    pub(super) fn unchecked(&mut self) -> Option<Ticket> {
        self.unchecked.pop_front()
    }

    /// A record that is waited for; `None` if it is gone meanwhile.
    pub(super) fn waiting(&self, ticket: Ticket) -> Option<&R> {
        let held = self.partitions.iter().find(|held| held.generation == ticket.generation)?;
        held.lanes.waiting(ticket.lane, ticket.seq)
    }

    /// A record that was waited for may be handed over, `change`d to say on what terms.
    pub(super) fn release(&mut self, ticket: Ticket, change: impl FnOnce(&mut R)) {
        if let Some((_, held)) = self.held(ticket)
            && held.lanes.visible(ticket.lane, ticket.seq, change)
        {
            self.ready.push_back(ticket);
        }
    }

    /// A record to hand over.
    pub(super) fn next(&mut self) -> Option<(Ticket, R)> {
        while let Some(ticket) = self.ready.pop_front() {
            if let Some((slot, held)) = self.held(ticket)
                && let Some(record) = held.lanes.take(ticket.lane, ticket.seq)
            {
                self.regulate(slot);
                return Some((ticket, record));
            }
        }
        None
    }

    /// A record is handled: the next one of its key is to be looked at.
    pub(super) fn done(&mut self, ticket: Ticket) {
        if let Some((slot, held)) = self.held(ticket) {
            held.window.handled(ticket.seq);
            let next = held.lanes.leave(ticket.lane, ticket.seq);
            self.unchecked.extend(next.map(|seq| Ticket { seq, ..ticket }));
            self.regulate(slot);
        }
    }

    /// A record was handed over and is not handled: it is to be looked at again, before the others of
    /// its key.
    pub(super) fn give_back(&mut self, ticket: Ticket, record: R) {
        match self.held(ticket) {
            Some((_, held)) if held.window.is_open(ticket.seq) => {
                self.park(ticket, record);
                self.unchecked.push_back(ticket);
            }
            // The log was cut before it.
            Some(_) => self.done(ticket),
            None => {}
        }
    }

    /// A record that was waited for is to be looked at again, `change`d to say since when.
    pub(super) fn recheck(&mut self, ticket: Ticket, change: impl FnOnce(&mut R)) {
        if let Some((_, held)) = self.held(ticket)
            && let Some(record) = held.lanes.waiting_mut(ticket.lane, ticket.seq)
        {
            change(record);
            self.unchecked.push_back(ticket);
        }
    }

    /// What the consumer has to be told since the last time.
    pub(super) fn flow(&mut self) -> Vec<Flow> {
        std::mem::take(&mut self.flow)
    }

    /// Whether a caller of [`recv`](super::Gate::recv) has something to do besides waiting.
    pub(super) fn is_idle(&self) -> bool {
        self.unchecked.is_empty() && self.ready.is_empty() && self.flow.is_empty()
    }

    /// What is to be committed since the last time.
    pub(super) fn uncommitted(&mut self) -> Vec<RecordPlace> {
        self.partitions.iter_mut().filter_map(Partition::uncommitted).collect()
    }

    /// All of it is to be said again, whether it was said or not.
    pub(super) fn say_again(&mut self) {
        self.partitions.iter_mut().for_each(|held| held.committed = None);
    }

    /// Records in memory that are not handed over.
    pub(super) fn parked(&self) -> usize {
        self.partitions.iter().map(|held| held.lanes.parked()).sum()
    }

    /// Partitions paused now.
    pub(super) fn paused(&self) -> usize {
        self.partitions.iter().filter(|held| held.paused).count()
    }

    fn find(&self, topic: &str, partition: i32) -> Option<usize> {
        let is = |held: &Partition<R>| held.partition == partition && held.topic == topic;
        if self.partitions.get(self.recent).is_some_and(is) {
            return Some(self.recent);
        }
        self.partitions.iter().position(is)
    }

    /// The partition of a ticket, if its assignment has not ended.
    fn held(&mut self, ticket: Ticket) -> Option<(usize, &mut Partition<R>)> {
        let is = |held: &Partition<R>| held.generation == ticket.generation;
        let slot = match self.partitions.get(ticket.slot) {
            Some(held) if is(held) => ticket.slot,
            // Another assignment's end has moved it.
            _ => self.partitions.iter().position(is)?,
        };
        Some((slot, self.partitions.get_mut(slot)?))
    }

    fn regulate(&mut self, slot: usize) {
        let Some(held) = self.partitions.get_mut(slot) else { return };
        let (parked, window) = (held.lanes.parked(), held.window.len());
        let Limits { parked: most, window: widest } = self.limits;
        if !held.paused && (parked >= most || window >= widest) {
            held.paused = true;
            self.flow.push(Flow::Pause(held.topic.clone(), held.partition));
        } else if held.paused && parked <= most / 2 && window <= widest / 2 {
            held.paused = false;
            self.flow.push(Flow::Resume(held.topic.clone(), held.partition));
        }
    }
}

impl<R> Partition<R> {
    fn uncommitted(&mut self) -> Option<RecordPlace> {
        let offset = self.window.position().filter(|at| Some(*at) != self.committed)?;
        self.committed = Some(offset);
        Some(RecordPlace { topic: self.topic.clone(), partition: self.partition, offset })
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
