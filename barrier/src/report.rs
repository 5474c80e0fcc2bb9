//! What a barrier that said visible did.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use antipode_lineage::{LineageScope, ReplicaName, StoreName};
use smallvec::SmallVec;

use crate::registry::Registered;

/// What a barrier did. It says visible, unless it [is weak](Report::is_weak).
#[derive(Clone)]
pub struct Report {
    registered: Arc<Registered>,
    found: Found,
    waits: Vec<Wait>,
    waited: Duration,
    branches: usize,
    weak: bool,
}

/// Where a lineage was found to be visible.
#[derive(Clone, Default)]
pub(crate) struct Found {
    /// Per store of the lineage: its index, and the index of the replica.
    routes: SmallVec<[(u16, Route); 8]>,
    skipped: usize,
}

/// Where reads go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Replica(u16),
    Primary,
}

/// One store that a barrier had to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wait {
    /// The store.
    pub store: StoreName,
    /// How long the barrier waited for it.
    pub waited: Duration,
    /// Where it found the writes; `None` if it gave up and was told to go on.
    pub replica: Option<ReplicaName>,
    /// Whether a read without the barrier would have been stale: the replica was asked and had not
    /// applied the writes.
    pub prevented: bool,
}

impl Found {
    pub(crate) fn add_route(&mut self, store: u16, route: Route) {
        self.routes.push((store, route));
    }

    pub(crate) fn skip(&mut self, writes: usize) {
        self.skipped += writes;
    }

    /// Sends the scope's reads where the barrier looked. Where there is but one place to read from,
    /// and the scope was not sent elsewhere before, there is nothing to say.
    pub(crate) fn hand_routes_to(&self, scope: &LineageScope, registered: &Registered) {
        for (index, route) in &self.routes {
            let Some(store) = registered.store(*index) else { continue };
            let choice = store.replicas.len() > 1 || *route == Route::Primary;
            if (choice || scope.route(store.name).is_some())
                && let Some(watcher) = store.replica(*route)
            {
                scope.set_route(store.name, watcher.name());
            }
        }
    }

    /// The report of a barrier that had nothing to wait for.
    pub(crate) fn into_report(self, registered: &Arc<Registered>) -> Report {
        let (registered, found, waits) = (Arc::clone(registered), self, Vec::new());
        Report { registered, found, waits, waited: Duration::ZERO, branches: 0, weak: false }
    }
}

impl Report {
    pub(crate) fn add_route(&mut self, store: u16, route: Route) {
        self.found.add_route(store, route);
    }

    pub(crate) fn add_wait(&mut self, wait: Wait) {
        self.waits.push(wait);
    }

    /// A short name of the outcome, for labels: `visible`, or `weak`.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        if self.weak { "weak" } else { "visible" }
    }

    pub(crate) fn add_branches(&mut self, ended: usize) {
        self.branches += ended;
    }

    pub(crate) fn weaken(&mut self) {
        self.weak = true;
    }

    pub(crate) fn hand_routes_to(&self, scope: &LineageScope) {
        self.found.hand_routes_to(scope, &self.registered);
    }

    pub(crate) fn end(&mut self, waited: Duration) {
        self.waited = waited;
    }

    /// How long the barrier took; zero if everything was known to be visible.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The stores that had to be asked, each with its wait. Empty if everything was known to be
    /// visible.
    #[must_use]
    pub fn waits(&self) -> &[Wait] {
        &self.waits
    }

    /// Whether a read without this barrier would have been stale.
    #[must_use]
    pub fn prevented(&self) -> bool {
        self.waits.iter().any(|wait| wait.prevented)
    }

    /// Whether the barrier gave up and was told to go on ([`OnTimeout::Weak`](crate::OnTimeout)):
    /// the reads behind it may be stale.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Entries of the lineage left out: of stores that are not registered here or not selected.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.found.skipped
    }

    /// The branches that a [whole](crate::Barrier::whole) barrier saw the end of, nested ones included.
    #[must_use]
    pub fn branches(&self) -> usize {
        self.branches
    }

    /// The replica of `store` that shows every write of the lineage: read there. `None` if the
    /// lineage has no write to it.
    #[must_use]
    pub fn route(&self, store: StoreName) -> Option<ReplicaName> {
        self.routes().find(|(held, _)| *held == store).map(|(_, replica)| replica)
    }

    /// The replica to read from, for each store of the lineage.
    pub fn routes(&self) -> impl Iterator<Item = (StoreName, ReplicaName)> + '_ {
        self.found.routes.iter().filter_map(|(store, route)| {
            let store = self.registered.store(*store)?;
            Some((store.name, store.replica(*route)?.name()))
        })
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("waited", &self.waited)
            .field("waits", &self.waits)
            .field("routes", &self.routes().collect::<Vec<_>>())
            .field("skipped", &self.found.skipped)
            .field("branches", &self.branches)
            .field("weak", &self.weak)
            .finish()
    }
}
