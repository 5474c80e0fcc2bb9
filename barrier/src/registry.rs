//! The stores that barriers know.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antipode_lineage::{Lineage, ReplicaName, StoreName};

use crate::barrier::{Barrier, Subject};
use crate::ledger_reads::LedgerReads;
use crate::observer::Observer;
use crate::report::Route;
use crate::watcher::{WatchSettings, Watcher};
use crate::{CheckError, Ledger, Store};

/// How long a barrier may take unless told otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(1);

/// The closed set of stores that this process reads from. Names in a lineage that are not registered
/// are skipped and counted; they never reach a query, a key or a metric.
///
/// A clone shares everything.
///
/// ```
/// # use antipode_barrier::Registry;
/// # async fn example(posts: impl antipode_barrier::Store) -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder().store(posts).build().await?;
/// // In a handler, inside of the request's lineage scope:
/// registry.barrier().await?;
/// // Reads of this scope now see every write that the request depends on.
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Registry {
    registered: Arc<Registered>,
}

/// What a registry holds.
pub(crate) struct Registered {
    /// Sorted by name.
    stores: Vec<RegisteredStore>,
    pub(crate) deadline: Duration,
    /// How long one question to a ledger may take.
    pub(crate) question_limit: Duration,
    pub(crate) observer: Arc<dyn Observer>,
    /// Whether there is one who cares.
    pub(crate) observed: bool,
    pub(crate) waiting: AtomicUsize,
    pub(crate) max_waiting: usize,
}

/// One store with its watchers.
pub(crate) struct RegisteredStore {
    pub(crate) name: StoreName,
    pub(crate) primary: Option<Arc<Watcher>>,
    pub(crate) replicas: Vec<Arc<Watcher>>,
    ledger: Option<(Arc<dyn Ledger>, LedgerReads)>,
}

/// Why a registry could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A store's configuration cannot keep the promise.
    #[error(transparent)]
    Refused(#[from] CheckError),
    /// Two stores have one name.
    #[error("store {store} is registered twice: give each store a name of its own")]
    Duplicate {
        /// The store.
        store: StoreName,
    },
    /// A store has neither a replica nor a primary to read from.
    #[error("store {store} has nothing to read from: give it a primary or a replica")]
    NoReplica {
        /// The store.
        store: StoreName,
    },
    /// A store did not answer while it was checked.
    #[error("store {store} did not answer within {limit:?} when it was registered: check that it runs")]
    NoAnswer {
        /// The store.
        store: StoreName,
        /// How long it was given.
        limit: Duration,
    },
}

impl Registry {
    /// Begins a registry.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// A barrier on the current lineage. Await it, after setting what differs from the defaults.
    pub fn barrier(&self) -> Barrier<'_> {
        Barrier::new(&self.registered, Subject::Current)
    }

    /// A barrier on the given lineage.
    pub fn barrier_on<'a>(&'a self, lineage: &'a Lineage) -> Barrier<'a> {
        Barrier::new(&self.registered, Subject::Given(lineage))
    }

    pub(crate) fn registered(&self) -> &Arc<Registered> {
        &self.registered
    }

    /// How many barriers wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.registered.waiting.load(Ordering::Relaxed)
    }

    /// How many probes the replica of the store was sent; `None` if there is no such replica.
    #[must_use]
    pub fn probes(&self, store: StoreName, replica: ReplicaName) -> Option<u64> {
        let (_, store) = self.registered.find(store)?;
        let mut watchers = store.replicas.iter().chain(&store.primary);
        watchers.find(|watcher| watcher.name() == replica).map(|watcher| watcher.probes())
    }
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.registered.fmt(f)
    }
}

impl Registered {
    pub(crate) fn find(&self, name: StoreName) -> Option<(u16, &RegisteredStore)> {
        let at = self.stores.binary_search_by_key(&name, |store| store.name).ok()?;
        Some((u16::try_from(at).ok()?, self.stores.get(at)?))
    }

    pub(crate) fn store(&self, index: u16) -> Option<&RegisteredStore> {
        self.stores.get(usize::from(index))
    }

    pub(crate) fn ledger(&self, store: StoreName) -> Option<&Arc<dyn Ledger>> {
        self.find(store)?.1.ledger.as_ref().map(|(ledger, _)| ledger)
    }

    pub(crate) fn ledger_reads(&self, store: StoreName) -> Option<&LedgerReads> {
        self.find(store)?.1.ledger.as_ref().map(|(_, reads)| reads)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = StoreName> + '_ {
        self.stores.iter().map(|store| store.name)
    }
}

impl RegisteredStore {
    pub(crate) fn name_of(&self, route: Route) -> Option<ReplicaName> {
        self.replica(route).map(|watcher| watcher.name())
    }

    pub(crate) fn replica(&self, route: Route) -> Option<&Arc<Watcher>> {
        match route {
            Route::Primary => self.primary.as_ref(),
            Route::Replica(index) => self.replicas.get(usize::from(index)),
        }
    }
}

/// Builds a [`Registry`].
#[must_use = "call `build`"]
pub struct RegistryBuilder {
    stores: Vec<Arc<dyn Store>>,
    deadline: Duration,
    check_limit: Duration,
    settings: WatchSettings,
    max_waiting: usize,
    observer: Option<Arc<dyn Observer>>,
}

impl Default for RegistryBuilder {
    fn default() -> Self {
        let (frontier_ttl, probe_limit) = (Duration::from_millis(250), Duration::from_secs(1));
        Self {
            stores: Vec::new(),
            deadline: DEFAULT_DEADLINE,
            check_limit: Duration::from_secs(10),
            settings: WatchSettings { frontier_ttl, probe_limit },
            max_waiting: 100_000,
            observer: None,
        }
    }
}

impl RegistryBuilder {
    /// Adds a store.
    pub fn store(self, store: impl Store) -> Self {
        self.store_arc(Arc::new(store))
    }

    /// Adds a store that is shared already.
    pub fn store_arc(mut self, store: Arc<dyn Store>) -> Self {
        self.stores.push(store);
        self
    }

    /// How long a barrier may take unless it is told otherwise. [`DEFAULT_DEADLINE`] by default.
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// How long a replica's answer is believed without asking again. 250 ms by default; zero asks every
    /// time. Once half of the time is over, the first barrier to use the answer has the replica asked
    /// anew, without waiting for it: where barriers are frequent, none waits for a fresh answer.
    ///
    /// A replica that lost data within this time (a resync after a failover) may be taken for what it
    /// was; a broken connection, another epoch or a smaller position end the belief at once when a
    /// probe sees them.
    pub fn frontier_ttl(mut self, ttl: Duration) -> Self {
        self.settings.frontier_ttl = ttl;
        self
    }

    /// How long a probe may take until the replica counts as down, and a question to a branch ledger until
    /// it is asked again. 1 s by default.
    pub fn probe_limit(mut self, limit: Duration) -> Self {
        self.settings.probe_limit = limit;
        self
    }

    /// How many barriers may wait at once; more are refused. 100,000 by default.
    pub fn max_waiting(self, max_waiting: usize) -> Self {
        Self { max_waiting, ..self }
    }

    /// Told of every barrier, probe, and capture of the registered stores.
    pub fn observer(self, observer: impl Observer) -> Self {
        Self { observer: Some(Arc::new(observer)), ..self }
    }

    /// Checks the stores' configuration, each for at most 10 s, and builds the registry.
    ///
    /// # Errors
    /// [`RegistryError`] names the store and what is wrong with it.
    pub async fn build(self) -> Result<Registry, RegistryError> {
        let limit = self.check_limit;
        let observed = self.observer.is_some();
        let observer = self.observer.clone().unwrap_or_else(|| Arc::new(()));
        let mut stores: Vec<RegisteredStore> = Vec::with_capacity(self.stores.len());
        for store in &self.stores {
            let name = store.name();
            let checked = tokio::time::timeout(limit, store.check()).await;
            checked.map_err(|_| RegistryError::NoAnswer { store: name, limit })??;
            let registered = self.watch(store.as_ref(), &observer);
            match stores.binary_search_by_key(&name, |held| held.name) {
                Ok(_) => return Err(RegistryError::Duplicate { store: name }),
                Err(_) if registered.replicas.is_empty() => {
                    return Err(RegistryError::NoReplica { store: name });
                }
                Err(at) => stores.insert(at, registered),
            }
        }
        let Self { deadline, max_waiting, .. } = self;
        for store in &stores {
            let watchers = store.replicas.iter().chain(&store.primary);
            watchers.for_each(|watcher| observer.registered(store.name, watcher.name()));
        }
        self.stores.iter().for_each(|store| store.observed_by(Arc::clone(&observer)));
        let waiting = AtomicUsize::new(0);
        let question_limit = self.settings.probe_limit;
        let registered =
            Registered { stores, deadline, question_limit, observer, observed, waiting, max_waiting };
        Ok(Registry { registered: Arc::new(registered) })
    }

    /// Gives each replica its watcher; a primary that is read from has one, not two.
    fn watch(&self, store: &dyn Store, observer: &Arc<dyn Observer>) -> RegisteredStore {
        let name = store.name();
        let watch = |replica| Arc::new(Watcher::new(name, replica, self.settings, Arc::clone(observer)));
        let mut replicas: Vec<_> = store.replicas().into_iter().map(watch).collect();
        let primary = store.primary().map(|primary| {
            let same = replicas.iter().find(|watcher| watcher.name() == primary.name());
            same.map_or_else(|| watch(Arc::clone(&primary)), Arc::clone)
        });
        if replicas.is_empty() {
            replicas.extend(primary.clone());
        }
        let ledger = store.ledger().map(|ledger| {
            let reads = LedgerReads::new(Arc::clone(&ledger), self.settings.probe_limit);
            (ledger, reads)
        });
        RegisteredStore { name, primary, replicas, ledger }
    }
}
