//! The keys of one partition, each with its records in order.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::window::Seq;

/// What records are kept in order by: the hash of a key. Two keys that share one wait for each other,
/// which is slower and not wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LaneId(pub(super) u64);

/// Whether a record may be looked at now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is the first of its key. Its record is with the caller.
    First,
    /// Another one of its key comes first.
    Behind,
}

/// A record that is not handed over.
#[derive(Debug)]
struct Parked<R> {
    seq: Seq,
    offset: i64,
    record: R,
}

/// The first record of a key. It leaves when it is handled.
#[derive(Debug)]
enum Stage<R> {
    /// Its dependencies are looked at or waited for.
    Waiting(R),
    /// To be handed over.
    Ready(R),
    /// With the caller: just arrived, or being handled.
    Out,
}

#[derive(Debug)]
struct Lane<R> {
    seq: Seq,
    offset: i64,
    stage: Stage<R>,
    behind: VecDeque<Parked<R>>,
}

#[derive(Debug)]
pub(super) struct Lanes<R> {
    lanes: HashMap<LaneId, Lane<R>, BuildHasherDefault<Unchanged>>,
    parked: usize,
}

impl<R> Default for Lanes<R> {
    fn default() -> Self {
        Self { lanes: HashMap::default(), parked: 0 }
    }
}

impl<R> Lanes<R> {
    /// Records in memory that are not handed over.
    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// Takes a record in. A first one is the caller's: it hands it over, or parks it.
    pub(super) fn enter(&mut self, id: LaneId, seq: Seq, offset: i64) -> Turn {
        match self.lanes.entry(id) {
            Entry::Occupied(_) => Turn::Behind,
            Entry::Vacant(lane) => {
                lane.insert(Lane { seq, offset, stage: Stage::Out, behind: VecDeque::new() });
                Turn::First
            }
        }
    }

    /// Keeps a record: as the one to look at, if it is the first of its key, or behind the others.
    pub(super) fn park(&mut self, id: LaneId, seq: Seq, offset: i64, record: R) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        self.parked += 1;
        if lane.seq == seq {
            lane.stage = Stage::Waiting(record);
        } else {
            lane.behind.push_back(Parked { seq, offset, record });
        }
    }

    /// The record that is waited for.
    pub(super) fn waiting(&self, id: LaneId, seq: Seq) -> Option<&R> {
        match self.lanes.get(&id)? {
            Lane { seq: first, stage: Stage::Waiting(record), .. } if *first == seq => Some(record),
            _ => None,
        }
    }

    pub(super) fn waiting_mut(&mut self, id: LaneId, seq: Seq) -> Option<&mut R> {
        match self.lanes.get_mut(&id)? {
            Lane { seq: first, stage: Stage::Waiting(record), .. } if *first == seq => Some(record),
            _ => None,
        }
    }

    /// It may be handed over. Whether it was waited for.
    pub(super) fn visible(&mut self, id: LaneId, seq: Seq, change: impl FnOnce(&mut R)) -> bool {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.seq == seq) else { return false };
        match std::mem::replace(&mut lane.stage, Stage::Out) {
            Stage::Waiting(mut record) => {
                change(&mut record);
                lane.stage = Stage::Ready(record);
                true
            }
            stage => {
                lane.stage = stage;
                false
            }
        }
    }

    /// Takes a record that may be handed over.
    pub(super) fn take(&mut self, id: LaneId, seq: Seq) -> Option<R> {
        let lane = self.lanes.get_mut(&id).filter(|lane| lane.seq == seq)?;
        match std::mem::replace(&mut lane.stage, Stage::Out) {
            Stage::Ready(record) => {
                self.parked -= 1;
                Some(record)
            }
            stage => {
                lane.stage = stage;
                None
            }
        }
    }

    /// The first record of its key is through. The next one, if there is one, is to be looked at.
    pub(super) fn leave(&mut self, id: LaneId, seq: Seq) -> Option<Seq> {
        let Entry::Occupied(mut entry) = self.lanes.entry(id) else { return None };
        let lane = entry.get_mut();
        if lane.seq != seq {
            return None;
        }
        if !matches!(lane.stage, Stage::Out) {
            self.parked -= 1;
        }
        let Some(next) = lane.behind.pop_front() else {
            entry.remove();
            return None;
        };
        lane.seq = next.seq;
        lane.offset = next.offset;
        lane.stage = Stage::Waiting(next.record);
        Some(lane.seq)
    }

    /// Drops the parked records from an offset on. Those that are being handled stay the first of their
    /// key until they are through.
    pub(super) fn rewind(&mut self, offset: i64) {
        let mut dropped = 0;
        self.lanes.retain(|_, lane| {
            let behind = lane.behind.len();
            lane.behind.retain(|parked| parked.offset < offset);
            dropped += behind - lane.behind.len();
            // Arrivals of a partition have growing offsets: nothing is left behind a first one at or
            // past this offset.
            let first = lane.offset >= offset && !matches!(lane.stage, Stage::Out);
            dropped += usize::from(first);
            !first
        });
        self.parked -= dropped;
    }
}

/// Hashes an id to itself: it is a hash already, under a seed that no sender of keys knows.
#[derive(Debug, Default)]
struct Unchanged(u64);

impl Hasher for Unchanged {
    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
