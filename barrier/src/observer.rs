//! A hook for metrics: what barriers and probes did.

use std::sync::Arc;
use std::time::Duration;

use antipode_lineage::{ReplicaName, StoreName};

use crate::{BarrierError, Frontiers, ProbeError, Report};

/// Told of every barrier and every probe. Called on the path of the request or the watcher: be quick,
/// do not block.
///
/// Observers compose: `()` ignores all, `Option<O>` is one or none, `(A, B)` tells both.
pub trait Observer: Send + Sync + 'static {
    /// A barrier ended.
    fn ended(&self, outcome: Result<&Report, &BarrierError>) {
        let _ = outcome;
    }

    /// A probe of a replica ended.
    fn probed(&self, probe: &Probed<'_>) {
        let _ = probe;
    }
}

/// A probe that ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Probed<'a> {
    /// The store.
    pub store: StoreName,
    /// The replica.
    pub replica: ReplicaName,
    /// How long it took.
    pub took: Duration,
    /// What it answered, or why it did not.
    pub result: Result<&'a Frontiers, &'a ProbeError>,
}

impl Observer for () {}

impl<O: Observer> Observer for Option<O> {
    fn ended(&self, outcome: Result<&Report, &BarrierError>) {
        self.iter().for_each(|observer| observer.ended(outcome));
    }

    fn probed(&self, probe: &Probed<'_>) {
        self.iter().for_each(|observer| observer.probed(probe));
    }
}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn ended(&self, outcome: Result<&Report, &BarrierError>) {
        self.0.ended(outcome);
        self.1.ended(outcome);
    }

    fn probed(&self, probe: &Probed<'_>) {
        self.0.probed(probe);
        self.1.probed(probe);
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn ended(&self, outcome: Result<&Report, &BarrierError>) {
        (**self).ended(outcome);
    }

    fn probed(&self, probe: &Probed<'_>) {
        (**self).probed(probe);
    }
}
