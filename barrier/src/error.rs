//! Why a barrier did not say visible.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use antipode_lineage::{ReplicaName, StoreName, WriteId};

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

/// A barrier that did not say visible. The reads behind it may miss a write of the lineage.
#[derive(Debug)]
pub struct BarrierError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    waited: Duration,
    dependencies: Vec<Dependency>,
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
}

impl BarrierError {
    pub(crate) fn new(kind: Kind, waited: Duration, dependencies: Vec<Dependency>) -> Self {
        Self(Box::new(Inner { kind, waited, dependencies }))
    }

    /// The deadline passed with a write still [`Pending`](Verdict::Pending): the replica lags.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == Kind::Timeout
    }

    /// The deadline passed and a store's replicas could not be asked.
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
        Ok(())
    }
}

impl Error for BarrierError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let failure = self.0.dependencies.iter().find_map(|dependency| dependency.failure.as_ref());
        failure.map(|failure| failure as &(dyn Error + 'static))
    }
}
