//! From what is told to what is counted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use antipode_barrier::{BarrierError, Observer, ProbeKind, Probed, Report};
use antipode_lineage::{Captured, ReplicaName, StoreName};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::names::{self, *};
use crate::edge::{EdgeObserver, Fault, Treated};

/// What a barrier that fails may say of a store. Counted from zero: to rates, a count that begins with one
/// is no event.
const OUTCOMES_OF_STORES: [&str; 5] = ["timeout", "store_down", "lost", "unreachable", "indeterminate"];

/// Observes a registry and the edge, and tells the recorder of the process. A clone shares everything.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    /// What a barrier on a visible lineage touches; it takes no lock and looks nothing up.
    visible: Histogram,
    received: Histogram,
    sent: Histogram,
    /// Only what registries have: nothing else is ever a label.
    stores: RwLock<BTreeMap<StoreName, OfStore>>,
}

struct OfStore {
    wait: Histogram,
    prevented: Counter,
    capture: Histogram,
    unplaced: Counter,
    missed: Counter,
    replicas: BTreeMap<ReplicaName, OfReplica>,
}

struct OfReplica {
    probe: Histogram,
    failures: Counter,
    lag: Gauge,
    detection: Histogram,
}

impl Metrics {
    /// Describes the metrics to the recorder that is installed now, and will tell that one.
    #[must_use]
    pub fn new() -> Self {
        names::describe();
        let visible = histogram!(BARRIER_WAIT, "outcome" => "visible");
        let size = |direction: &'static str| histogram!(LINEAGE_SIZE, "direction" => direction);
        let (received, sent) = (size("received"), size("sent"));
        for (fault, treated) in
            Fault::ALL.into_iter().flat_map(|fault| Treated::ALL.map(|treated| (fault, treated)))
        {
            faults(fault, treated).increment(0);
        }
        let inner = Inner { visible, received, sent, stores: RwLock::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Does nothing for a store that no registry has.
    fn of_store(&self, store: StoreName, tell: impl FnOnce(&OfStore)) {
        let stores = self.inner.stores.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&store) {
            tell(store);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stores = self.inner.stores.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_tuple("Metrics").field(&stores.keys().collect::<Vec<_>>()).finish()
    }
}

impl Observer for Metrics {
    fn registered(&self, store: StoreName, replica: ReplicaName) {
        let mut stores = self.inner.stores.write().unwrap_or_else(PoisonError::into_inner);
        let of_store = stores.entry(store).or_insert_with(|| OfStore::new(store));
        of_store.replicas.entry(replica).or_insert_with(|| OfReplica::new(store, replica));
    }

    fn ended(&self, outcome: Result<&Report, &BarrierError>) {
        match outcome {
            Ok(report) if !report.is_weak() => self.inner.visible.record(report.waited()),
            Ok(report) => histogram!(BARRIER_WAIT, "outcome" => report.outcome()).record(report.waited()),
            Err(error) => histogram!(BARRIER_WAIT, "outcome" => error.outcome()).record(error.waited()),
        }
        match outcome {
            Ok(report) => report.waits().iter().for_each(|wait| {
                self.of_store(wait.store, |store| {
                    store.wait.record(wait.waited);
                    store.prevented.increment(u64::from(wait.prevented));
                });
            }),
            Err(error) => error.stores().for_each(|name| {
                self.of_store(name, |_| failures(name, error.outcome()).increment(1));
            }),
        }
    }

    fn probed(&self, probe: &Probed<'_>) {
        self.of_store(probe.store, |store| {
            let Some(replica) = store.replicas.get(&probe.replica) else { return };
            replica.lag.set(probe.behind);
            if probe.kind == ProbeKind::Asked {
                replica.probe.record(probe.took);
            }
            replica.failures.increment(u64::from(probe.result.is_err()));
            if let Some(detected) = probe.detected {
                replica.detection.record(detected);
            }
        });
    }

    fn captured(&self, captured: &Captured<'_>) {
        self.of_store(captured.store, |store| {
            if let Some(took) = captured.took {
                store.capture.record(took);
            }
            store.unplaced.increment(u64::from(captured.is_unplaced()));
        });
    }

    fn missed(&self, store: StoreName) {
        self.of_store(store, |store| store.missed.increment(1));
    }
}

impl EdgeObserver for Metrics {
    fn found(&self, fault: Fault, treated: Treated) {
        faults(fault, treated).increment(1);
    }

    fn received(&self, bytes: usize) {
        self.inner.received.record(bytes as f64);
    }

    fn sent(&self, bytes: usize) {
        self.inner.sent.record(bytes as f64);
    }
}

fn failures(store: StoreName, outcome: &'static str) -> Counter {
    counter!(FAILURES, "store" => store.to_string(), "outcome" => outcome)
}

fn faults(fault: Fault, treated: Treated) -> Counter {
    counter!(EDGE_FAULTS, "fault" => fault.as_str(), "treated" => treated.as_str())
}

impl OfStore {
    fn new(name: StoreName) -> Self {
        for outcome in OUTCOMES_OF_STORES {
            failures(name, outcome).increment(0);
        }
        let store = || name.to_string();
        Self {
            wait: histogram!(STORE_WAIT, "store" => store()),
            prevented: counter!(PREVENTED, "store" => store()),
            capture: histogram!(CAPTURE, "store" => store()),
            unplaced: counter!(UNPLACED, "store" => store()),
            missed: counter!(MISSED, "store" => store()),
            replicas: BTreeMap::new(),
        }
    }
}

impl OfReplica {
    fn new(store: StoreName, replica: ReplicaName) -> Self {
        let (store, replica) = (|| store.to_string(), || replica.to_string());
        Self {
            probe: histogram!(PROBE, "store" => store(), "replica" => replica()),
            failures: counter!(PROBE_FAILURES, "store" => store(), "replica" => replica()),
            lag: gauge!(REPLICA_LAG, "store" => store(), "replica" => replica()),
            detection: histogram!(DETECTION, "store" => store(), "replica" => replica()),
        }
    }
}
