//! Which records of one partition are handled.

use std::collections::VecDeque;

/// A record's place among those that arrived from one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Seq(u64);

/// The records of one partition from the first that is not handled, in the order of their arrival.
/// Offsets have gaps, and come again after a log was cut; the order of arrival does neither.
#[derive(Debug, Default)]
pub(super) struct Window {
    first: u64,
    slots: VecDeque<Slot>,
    /// After the last record that arrived.
    end: Option<i64>,
}

#[derive(Debug)]
struct Slot {
    offset: i64,
    handled: bool,
}

impl Window {
    /// Takes a record in. Its offset is not below [`end`](Self::end).
    pub(super) fn push(&mut self, offset: i64) -> Seq {
        self.slots.push_back(Slot { offset, handled: false });
        self.end = Some(offset.saturating_add(1));
        Seq(self.first + self.slots.len() as u64 - 1)
    }

    pub(super) fn handled(&mut self, seq: Seq) {
        let at = seq.0.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) {
            slot.handled = true;
        }
        self.drop_handled();
    }

    /// Whether a record is neither handled nor to come again.
    pub(super) fn is_open(&self, seq: Seq) -> bool {
        let at = seq.0.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.slots.get(at)).is_some_and(|slot| !slot.handled)
    }

    /// Where a consumer that knows only what is handled would go on; `None` before the first record.
    pub(super) fn position(&self) -> Option<i64> {
        self.slots.front().map(|slot| slot.offset).or(self.end)
    }

    pub(super) fn end(&self) -> Option<i64> {
        self.end
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The records from this offset on come again, or others in their place.
    pub(super) fn rewind(&mut self, offset: i64) {
        for slot in self.slots.iter_mut().filter(|slot| slot.offset >= offset) {
            slot.handled = true;
        }
        self.end = Some(offset);
        self.drop_handled();
    }

    fn drop_handled(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.handled) {
            self.slots.pop_front();
            self.first += 1;
        }
    }
}
