//! What a store offers to be put through the scenarios.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::Store;

/// What a bed's methods return: any error fails the scenario with its text.
pub type BedResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A store under test: a running topology of one primary and **two replicas**, its shim, and the
/// faults that can be done to it.
///
/// Scenarios know keys and text values. Where the store has no such thing, the bed makes it: a table
/// `(key text primary key, value text)`, a document `{_id, value}`.
///
/// A scenario has the bed for itself, and uses keys that no other scenario uses. It is handed to the
/// next one after [`heal`](Bed::heal), unless the scenario failed or did something that cannot be
/// undone ([`Fault::Failover`], [`Fault::StopPrimary`]): then it is dropped, and the next scenario
/// [starts](Bed::start) a new one. All beds of a run live in one multi-threaded tokio runtime.
///
/// A method that does something returns when it *has happened*: a write is acknowledged, a cut link
/// carries nothing any more, a started server answers.
pub trait Bed: Sized + Send + Sync + 'static {
    /// Starts the topology, healthy and empty. A server that is not installed is an error that says
    /// how to get it. Dropping the bed must end everything it started.
    fn start() -> impl Future<Output = BedResult<Self>> + Send;

    /// The store as a service would register it now: the primary, and both replicas to read from,
    /// replica 0 first. After a failover: the new primary, and the replica that is left.
    fn store(&self) -> Arc<dyn Store>;

    /// The same store, registered by a process that reads from this replica only. Replicas keep
    /// their number for good, also once promoted.
    fn store_reading(&self, replica: usize) -> Arc<dyn Store>;

    /// The same store, whose [ledger](Store::ledger) forgets branches so long after they ended; `None`
    /// if it has no ledger, or keeps what it is told for longer than a scenario may take.
    fn store_forgetting(&self, after: Duration) -> Option<Arc<dyn Store>> {
        let _ = after;
        None
    }

    /// Changes a value through the shim, in the current lineage scope (there may be none).
    fn write(&self, change: Change<'_>) -> impl Future<Output = BedResult> + Send;

    /// Makes all the changes atomically, through the shim, in the current lineage scope.
    fn transaction(&self, changes: &[Change<'_>]) -> impl Future<Output = BedResult<Support>> + Send {
        let _ = changes;
        async { Ok(Support::Unsupported) }
    }

    /// Reads a value through the shim, in the current lineage scope: from the replica that the
    /// scope's route names, else from replica 0.
    fn read(&self, key: &str) -> impl Future<Output = BedResult<Option<String>>> + Send;

    /// Reads a value from one server with the plain driver. This is the oracle for what is *really*
    /// visible there, so nothing of the shim may be in it.
    fn peek(&self, node: Node, key: &str) -> impl Future<Output = BedResult<Option<String>>> + Send;

    /// Makes the lineage stored beside a value unreadable (see [`Change`]), as a foreign writer or
    /// a later version would, with the plain driver at the primary.
    fn spoil_lineage(&self, key: &str) -> impl Future<Output = BedResult<Support>> + Send {
        let _ = key;
        async { Ok(Support::Unsupported) }
    }

    /// Does something bad to the topology. Faults add up until [`heal`](Bed::heal).
    fn fault(&mut self, fault: Fault) -> impl Future<Output = BedResult<Support>> + Send;

    /// Undoes every fault except a failover: links carry again what was held back, frozen servers
    /// go on, stopped ones run again with the data they had. Replicas need not have caught up yet.
    fn heal(&mut self) -> impl Future<Output = BedResult> + Send;
}

/// A change of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Sets the whole value, whether there was one or not. What was stored beside it is replaced.
    Put(&'a str, &'a str),
    /// Adds text to the end of the value, without reading it first (`APPEND`,
    /// `SET value = value || $1`): a blind partial update, after which the lineage stored beside
    /// the value covers the earlier writers' as well. The value exists.
    Append(&'a str, &'a str),
    /// Removes the value.
    Delete(&'a str),
}

impl<'a> Change<'a> {
    /// The key of the value.
    #[must_use]
    pub fn key(&self) -> &'a str {
        match self {
            Change::Put(key, _) | Change::Append(key, _) | Change::Delete(key) => key,
        }
    }
}

/// One server of the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// The primary, whichever server that is now.
    Primary,
    /// Replica 0 or 1.
    Replica(usize),
}

/// Something bad that happens to the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing of the primary's log reaches this replica; it goes on answering. In a failover, what
    /// a cut replica did not receive is lost. Hold the link or break it, as long as the replica
    /// catches up soon after [`heal`](Bed::heal).
    Cut {
        /// 0 or 1.
        replica: usize,
    },
    /// The primary's log reaches this replica so much later.
    Delay {
        /// 0 or 1.
        replica: usize,
        /// How much later.
        by: Duration,
    },
    /// The replica stands still: it accepts connections and answers nothing (SIGSTOP).
    Freeze {
        /// 0 or 1.
        replica: usize,
    },
    /// The replica's process is gone, connections are refused; its data is kept.
    Stop {
        /// 0 or 1.
        replica: usize,
    },
    /// The primary's process is gone, after what it acknowledged became durable; its data is kept.
    /// `heal` starts it again.
    StopPrimary,
    /// The primary is gone for good. This replica becomes primary with what it has, and the other
    /// one follows it; links are whole afterwards. From then on [`Bed::store`], [`Bed::write`],
    /// [`Bed::read`] and [`Node::Primary`] mean the new primary. Stores handed out earlier stay as
    /// they were configured.
    Failover {
        /// 0 or 1.
        to: usize,
    },
}

impl Fault {
    /// Whether [`Bed::heal`] does not bring back what was before.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Fault::StopPrimary | Fault::Failover { .. })
    }
}

/// Whether a bed could do what it was asked. A scenario that needs something unsupported is reported
/// as ignored, with the reason: never as passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Support {
    /// It has happened.
    Done,
    /// The store has no such thing.
    Unsupported,
}
