//! Why a barrier did not say visible.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use antipode_lineage::{Branch, ReplicaName, StoreName, WriteId};

use crate::{ProbeError, Verdict};

/// One write that a barrier asked about, and what is known of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dependency {
    /// The write.
    pub write: WriteId,
    /// What is known of it.
    pub verdict: Verdict,
    /// The replica that this is about.
    pub replica: ReplicaName,
    /// Why the replica could not be asked, if its last probe failed.
    pub failure: Option<ProbeError>,
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} at {}", self.write, self.verdict, self.replica)?;
        match &self.failure {
            Some(failure) => write!(f, " (down: {failure})"),
            None => Ok(()),
        }
    }
}

/// One branch that kept a [whole](crate::Barrier::whole) barrier from its end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BranchDependency {
    /// The branch.
    pub branch: Branch,
    /// How it stands.
    pub standing: BranchStanding,
    /// Why its ledger could not be asked, if the last question failed.
    pub failure: Option<ProbeError>,
}

/// How a branch stands that has not ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BranchStanding {
    /// It still runs, as far as is known.
    Open,
    /// Its lease ran out: whoever ran it crashed, or never began.
    Abandoned,
    /// Its ledger does not know it, or not any more.
    Unknown,
    /// No store registered here holds its ledger.
    Unregistered,
    /// It waits for the branch that the barrier runs in, or is that branch.
    Cycle,
}

impl fmt::Display for BranchDependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standing = match self.standing {
            BranchStanding::Open => "is open",
            BranchStanding::Abandoned => "was abandoned",
            BranchStanding::Unknown => "is not in its ledger",
            BranchStanding::Unregistered => "is in a ledger that is not registered here",
            BranchStanding::Cycle => "waits for the branch that this barrier is in",
        };
        write!(f, "branch {} {standing}", self.branch)?;
        match &self.failure {
            Some(failure) => write!(f, " (ledger down: {failure})"),
            None => Ok(()),
        }
    }
}

/// A barrier that did not say visible. The reads behind it may miss a write of the lineage.
#[derive(Debug)]
pub struct BarrierError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    waited: Duration,
    dependencies: Vec<Dependency>,
    branches: Vec<BranchDependency>,
}

/// The kinds of [`BarrierError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub(crate) enum Kind {
    Timeout,
    StoreDown,
    Lost,
    Unreachable,
    Indeterminate,
    NoLineage,
    TooMany,
    Abandoned,
    UnknownBranch,
    ForgottenBranches,
    Cycle,
}

impl BarrierError {
    pub(crate) fn new(kind: Kind, waited: Duration, dependencies: Vec<Dependency>) -> Self {
        Self(Box::new(Inner { kind, waited, dependencies, branches: Vec::new() }))
    }

    pub(crate) fn of_branches(kind: Kind, waited: Duration, branches: Vec<BranchDependency>) -> Self {
        Self(Box::new(Inner { kind, waited, dependencies: Vec::new(), branches }))
    }

    /// A short name of the outcome, for labels: one of a few, none of which comes from a request.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self.0.kind {
            Kind::Timeout => "timeout",
            Kind::StoreDown => "store_down",
            Kind::Lost => "lost",
            Kind::Unreachable => "unreachable",
            Kind::Indeterminate => "indeterminate",
            Kind::NoLineage => "no_lineage",
            Kind::TooMany => "too_many",
            Kind::Abandoned => "abandoned",
            Kind::UnknownBranch => "unknown_branch",
            Kind::ForgottenBranches => "forgotten_branches",
            Kind::Cycle => "cycle",
        }
    }

    /// The deadline passed with a write still [`Pending`](Verdict::Pending), as the replica lags, or with a
    /// branch still [`Open`](BranchStanding::Open).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == Kind::Timeout
    }

    /// The deadline passed and a store's replicas, or the ledger of a branch, could not be asked.
    #[must_use]
    pub fn is_store_down(&self) -> bool {
        self.0.kind == Kind::StoreDown
    }

    /// A failover cut a write off ([`Verdict::Lost`]).
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.kind == Kind::Lost
    }

    /// A position lies ahead of its primary ([`Verdict::Unreachable`]).
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        self.0.kind == Kind::Unreachable
    }

    /// A write belongs to an unknown history ([`Verdict::Indeterminate`]).
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        self.0.kind == Kind::Indeterminate
    }

    /// The barrier was asked for the current lineage where there is none.
    #[must_use]
    pub fn is_no_lineage(&self) -> bool {
        self.0.kind == Kind::NoLineage
    }

    /// More barriers wait already than the registry allows.
    #[must_use]
    pub fn is_too_many(&self) -> bool {
        self.0.kind == Kind::TooMany
    }

    /// A branch's lease ran out before it was completed: not all of its writes may be there, and nobody
    /// knows which are.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.kind == Kind::Abandoned
    }

    /// A branch cannot be waited for: its ledger does not know it (any more) or is not registered here, or
    /// the lineage [forgot](antipode_lineage::Lineage::has_forgotten_branches) which branches it has.
    #[must_use]
    pub fn is_unknown_branch(&self) -> bool {
        matches!(self.0.kind, Kind::UnknownBranch | Kind::ForgottenBranches)
    }

    /// The barrier is inside of a branch that it waits for, or that a branch waits for that it waits for.
    #[must_use]
    pub fn is_cycle(&self) -> bool {
        self.0.kind == Kind::Cycle
    }

    /// How long the barrier waited.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.0.waited
    }

    /// The writes that were not visible, and what is known of each.
    #[must_use]
    pub fn dependencies(&self) -> &[Dependency] {
        &self.0.dependencies
    }

    /// The branches that a [whole](crate::Barrier::whole) barrier could not see the end of.
    #[must_use]
    pub fn branches(&self) -> &[BranchDependency] {
        &self.0.branches
    }

    /// The stores of those writes.
    pub fn stores(&self) -> impl Iterator<Item = StoreName> + '_ {
        let mut stores: Vec<_> = self.0.dependencies.iter().map(|found| found.write.store).collect();
        stores.dedup();
        stores.into_iter()
    }
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.kind {
            Kind::Timeout if !self.0.branches.is_empty() => {
                "branches have not ended yet: wait longer, or use a barrier that is not whole"
            }
            Kind::StoreDown if !self.0.branches.is_empty() => {
                "a branch ledger cannot be asked: check its store"
            }
            Kind::Abandoned => {
                "a branch was abandoned, its lease ran out: find out how far it came, and run it again"
            }
            Kind::UnknownBranch => {
                "a branch cannot be waited for: register the store of its ledger; \
                 if it is, the branch ended too long ago"
            }
            Kind::ForgottenBranches => {
                "the lineage has too many branches to know them all: \
                 put whole barriers earlier, or use one that is not whole"
            }
            Kind::Cycle => {
                "branches wait for each other: inside of a branch, wait only for branches that do not wait for it"
            }
            Kind::Timeout => "writes are not visible yet: wait longer, or read from the primary",
            Kind::StoreDown => "a store cannot be asked: check its replicas",
            Kind::Lost => "a write was lost in a failover: it will not become visible",
            Kind::Unreachable => {
                "a position lies ahead of its primary: the lineage is forged or of another deployment"
            }
            Kind::Indeterminate => "a write belongs to a history that the store does not know any more",
            Kind::NoLineage => {
                return f.write_str(
                    "no current lineage: run the request in `LineageScope::run`, \
                     or pass a lineage to `barrier_on`",
                );
            }
            Kind::TooMany => return f.write_str("too many barriers wait already: shed load"),
        })?;
        write!(f, " (after {:?})", self.0.waited)?;
        let mut separator = ": ";
        for dependency in &self.0.dependencies {
            write!(f, "{separator}{dependency}")?;
            separator = "; ";
        }
        for branch in &self.0.branches {
            write!(f, "{separator}{branch}")?;
            separator = "; ";
        }
        Ok(())
    }
}

impl Error for BarrierError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let mut branches = self.0.branches.iter();
        let mut dependencies = self.0.dependencies.iter();
        let failure = dependencies
            .find_map(|dependency| dependency.failure.as_ref())
            .or_else(|| branches.find_map(|branch| branch.failure.as_ref()));
        failure.map(|failure| failure as &(dyn Error + 'static))
    }
}
