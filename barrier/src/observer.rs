//! A hook for metrics and traces: what barriers, probes and captures did.

use std::sync::Arc;
use std::time::Duration;

use antipode_lineage::{Captured, ReplicaName, StoreName, WriteId};

use crate::{BarrierError, Frontiers, ProbeError, Report, Wait};

/// Told of every barrier, every probe and every capture. Called on the path of the request or the
/// watcher: be quick, do not block.
///
/// Observers compose: `()` ignores all, `Option<O>` is one or none, `(A, B)` tells both.
pub trait Observer: Send + Sync + 'static {
    /// A replica was registered, or a primary. There will be no other names of stores and replicas in
    /// what is told, but for the writes of a [`BarrierError`].
    fn registered(&self, store: StoreName, replica: ReplicaName) {
        let _ = (store, replica);
    }

    /// A barrier ended.
    fn ended(&self, outcome: Result<&Report, &BarrierError>) {
        let _ = outcome;
    }

    /// A barrier asked a store, and these writes of it became visible. Called in the span of that wait.
    fn waited(&self, wait: &Wait, writes: &[WriteId]) {
        let _ = (wait, writes);
    }

    /// A probe of a replica ended.
    fn probed(&self, probe: &Probed<'_>) {
        let _ = probe;
    }

    /// A shim captured where a write stands, or could not.
    fn captured(&self, captured: &Captured<'_>) {
        let _ = captured;
    }

    /// An operation had no lineage to be recorded in, and was refused or passed without.
    fn missed(&self, store: StoreName) {
        let _ = store;
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
    /// Whether it answered at once.
    pub kind: ProbeKind,
    /// How long it took.
    pub took: Duration,
    /// What it answered, or why it did not.
    pub result: Result<&'a Frontiers, &'a ProbeError>,
    /// For how long the replica has been seen to lag: since the first of those came who waited for it until
    /// this answer, and whose writes it was found to lack before. It lagged by at least that. Zero if
    /// nobody did.
    pub behind: Duration,
    /// If the answer ended such a wait: the time since the last probe began that found the writes missing.
    /// They became visible in between, so it was noticed no later than this after. `None` also where the
    /// server held the request: then the answer comes when the write does.
    pub detected: Option<Duration>,
}

/// How a replica was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProbeKind {
    /// For an answer at once.
    Asked,
    /// The server could hold the request until it had something to say ([`Replica::wait`](crate::Replica)).
    Held,
}

impl Observer for () {}

impl<O: Observer> Observer for Option<O> {
    fn registered(&self, store: StoreName, replica: ReplicaName) {
        self.iter().for_each(|observer| observer.registered(store, replica));
    }

    fn ended(&self, outcome: Result<&Report, &BarrierError>) {
        self.iter().for_each(|observer| observer.ended(outcome));
    }

    fn waited(&self, wait: &Wait, writes: &[WriteId]) {
        self.iter().for_each(|observer| observer.waited(wait, writes));
    }

    fn probed(&self, probe: &Probed<'_>) {
        self.iter().for_each(|observer| observer.probed(probe));
    }

    fn captured(&self, captured: &Captured<'_>) {
        self.iter().for_each(|observer| observer.captured(captured));
    }

    fn missed(&self, store: StoreName) {
        self.iter().for_each(|observer| observer.missed(store));
    }
}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn registered(&self, store: StoreName, replica: ReplicaName) {
        self.0.registered(store, replica);
        self.1.registered(store, replica);
    }

    fn ended(&self, outcome: Result<&Report, &BarrierError>) {
        self.0.ended(outcome);
        self.1.ended(outcome);
    }

    fn waited(&self, wait: &Wait, writes: &[WriteId]) {
        self.0.waited(wait, writes);
        self.1.waited(wait, writes);
    }

    fn probed(&self, probe: &Probed<'_>) {
        self.0.probed(probe);
        self.1.probed(probe);
    }

    fn captured(&self, captured: &Captured<'_>) {
        self.0.captured(captured);
        self.1.captured(captured);
    }

    fn missed(&self, store: StoreName) {
        self.0.missed(store);
        self.1.missed(store);
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn registered(&self, store: StoreName, replica: ReplicaName) {
        (**self).registered(store, replica);
    }

    fn ended(&self, outcome: Result<&Report, &BarrierError>) {
        (**self).ended(outcome);
    }

    fn waited(&self, wait: &Wait, writes: &[WriteId]) {
        (**self).waited(wait, writes);
    }

    fn probed(&self, probe: &Probed<'_>) {
        (**self).probed(probe);
    }

    fn captured(&self, captured: &Captured<'_>) {
        (**self).captured(captured);
    }

    fn missed(&self, store: StoreName) {
        (**self).missed(store);
    }
}
