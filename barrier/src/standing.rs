//! How somebody who waits stands at one replica.

use antipode_lineage::{Position, Shard, WriteId};

use crate::Verdict;

/// How a waiter stands at this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// No answer since it came.
    Joining,
    /// The last probe failed, and there was no answer before it.
    Down,
    /// Not all applied yet.
    Pending,
    /// A write belongs to an epoch (or a shard) that the replica does not know.
    Stranger,
    /// A write is not part of the replica's history. It waits no longer.
    Lost,
    /// All applied. It waits no longer.
    Visible,
}

/// How `writes` stand by the verdict on each; if pending, the first place to wait for.
pub(crate) fn standing(
    verdict: impl Fn(&WriteId) -> Verdict,
    writes: &[WriteId],
) -> (Status, Option<(Shard, Position)>) {
    let (mut stranger, mut next) = (false, None);
    for write in writes {
        match verdict(write) {
            Verdict::Visible => {}
            Verdict::Pending => next = next.or(Some((write.shard, write.position))),
            Verdict::Lost => return (Status::Lost, None),
            Verdict::Unreachable | Verdict::Indeterminate => stranger = true,
        }
    }
    match next {
        _ if stranger => (Status::Stranger, None),
        Some(_) => (Status::Pending, next),
        None => (Status::Visible, None),
    }
}
