//! What a store must offer to hold branches.

use std::fmt;
use std::time::Duration;

use antipode_lineage::{Branch, BranchId, Lineage, LineageCodec};

use crate::{BoxFuture, ProbeError};

/// A branch ledger: says of branches whether they still run, and how they ended.
///
/// A branch is **registered** with a lease, **renewed** by whoever runs it, and **completed** with its
/// final lineage. One whose lease runs out before that is abandoned. Once a branch has ended it never
/// changes again, and is forgotten after a retention that the store documents.
///
/// The rules of an implementation:
///
/// - Leases are measured by the clock of the server that holds the ledger, never by its clients'.
/// - Each call is one atomic step at the server that takes writes; repeating it changes nothing more. It
///   may be dropped at any time.
/// - What was never registered, or was forgotten, is [`Unknown`](BranchState::Unknown): never taken for
///   ended.
pub trait Ledger: Send + Sync + 'static {
    /// Enters a branch that is open for as long as `lease`. Answers with how it stands then.
    fn register<'a>(
        &'a self,
        branch: &'a Branch,
        lease: Duration,
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>>;

    /// Gives an open branch the lease anew that it was registered with, and notes which branches it waits
    /// for at present. Answers with how it stands then; one that has ended stays as it is.
    fn renew<'a>(
        &'a self,
        branch: BranchId,
        waits: &'a [Branch],
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>>;

    /// Closes an open branch with its final lineage. Answers with how it stands then; one that has ended
    /// stays as it is.
    fn complete<'a>(
        &'a self,
        branch: BranchId,
        last: &'a Lineage,
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>>;

    /// How the branches stand, in the order of the question.
    fn read<'a>(&'a self, branches: &'a [BranchId]) -> BoxFuture<'a, Result<Vec<BranchState>, ProbeError>>;
}

/// How a branch stands in its ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BranchState {
    /// It has not ended, or nobody has said so yet.
    Open {
        /// How long until it counts as abandoned, unless it is renewed.
        lease_left: Duration,
        /// The branches that it said it waits for.
        waits: Vec<Branch>,
    },
    /// It ended with this lineage.
    Closed(Lineage),
    /// Its lease ran out before it was completed.
    Abandoned,
    /// It was never registered, or it ended so long ago that the ledger has forgotten it.
    Unknown,
}

impl fmt::Display for BranchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BranchState::Open { lease_left, waits } => {
                write!(f, "open (lease {lease_left:?})")?;
                waits.iter().try_for_each(|branch| write!(f, ", waits for {branch}"))
            }
            BranchState::Closed(last) => write!(f, "closed with {last}"),
            BranchState::Abandoned => f.write_str("abandoned"),
            BranchState::Unknown => f.write_str("unknown"),
        }
    }
}

/// The text form of what a ledger keeps: for stores that hold texts.
impl BranchState {
    /// What an open branch waits for, as a text to keep: branches, with a space between.
    #[must_use]
    pub fn waits_text(waits: &[Branch]) -> String {
        waits.iter().map(Branch::to_string).collect::<Vec<_>>().join(" ")
    }

    /// A final lineage, as a text to keep: that of the wire, at most
    /// [`MAX_WIRE_LEN`](antipode_lineage::MAX_WIRE_LEN) bytes.
    #[must_use]
    pub fn last_text(last: &Lineage) -> String {
        LineageCodec::plain().encode(last)
    }

    /// An open branch, from the texts kept.
    ///
    /// # Errors
    /// [`ProbeError`] if they were not made by [`waits_text`](BranchState::waits_text).
    pub fn open_of(lease_left: Duration, waits: &str) -> Result<Self, ProbeError> {
        let waits = waits.split_whitespace().map(str::parse).collect::<Result<_, _>>();
        Ok(BranchState::Open { lease_left, waits: waits.map_err(ProbeError::new)? })
    }

    /// A closed branch, from the text kept.
    ///
    /// # Errors
    /// [`ProbeError`] if it was not made by [`last_text`](BranchState::last_text).
    pub fn closed_of(last: &str) -> Result<Self, ProbeError> {
        LineageCodec::plain().decode(last).map(BranchState::Closed).map_err(ProbeError::new)
    }
}
