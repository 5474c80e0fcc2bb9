//! How a shim reaches the current lineage.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use antipode_lineage::{CaptureObserver, Captured, LineageScope, StoreName};

use crate::Observer;

/// What a shim does with an operation outside of any lineage scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMissing {
    /// Refuses it with [`MissingLineage`].
    Error,
    /// Lets it pass without lineage, counts it, and warns at the 1st, 2nd, 4th, 8th … time.
    #[default]
    Warn,
    /// Lets it pass without lineage.
    Ignore,
}

/// An operation outside of any lineage scope, refused by [`OnMissing::Error`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "store {store} was used outside of a lineage: run the request in `LineageScope::run`, spawn with `.in_current_lineage()`, or give the shim a scope"
)]
#[non_exhaustive]
pub struct MissingLineage {
    /// The store.
    pub store: StoreName,
}

/// The lineage that a shim records into: the scope it was given, else the task's current one.
///
/// Clones share the count of operations that had none, and the observer.
#[derive(Debug, Clone)]
pub struct Recorder {
    store: StoreName,
    on_missing: OnMissing,
    scope: Option<LineageScope>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    missed: AtomicU64,
    observer: OnceLock<(Arc<dyn Observer>, Arc<dyn CaptureObserver>)>,
}

impl Recorder {
    /// A recorder for `store` that uses the current lineage.
    #[must_use]
    pub fn new(store: StoreName, on_missing: OnMissing) -> Self {
        Self { store, on_missing, scope: None, shared: Arc::default() }
    }

    /// The same recorder, bound to an explicit scope.
    #[must_use]
    pub fn within(&self, scope: LineageScope) -> Self {
        Self { scope: Some(scope), ..self.clone() }
    }

    /// The store's name.
    #[must_use]
    pub fn store(&self) -> StoreName {
        self.store
    }

    /// How many operations had no lineage to record into.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.shared.missed.load(Ordering::Relaxed)
    }

    /// Tells this observer of captures and of operations without a lineage. Shims call it from
    /// [`Store::observed_by`](crate::Store::observed_by). The first observer stays.
    pub fn observed_by(&self, observer: Arc<dyn Observer>) {
        let tell = Arc::new(Tell(Arc::clone(&observer)));
        let _ = self.shared.observer.set((observer, tell));
    }

    /// The scope to record into; `None` lets the operation pass without lineage.
    ///
    /// # Errors
    /// [`MissingLineage`] if there is none and the recorder was told [`OnMissing::Error`].
    pub fn scope(&self) -> Result<Option<LineageScope>, MissingLineage> {
        let scope = self.scope.clone().or_else(LineageScope::current);
        let observer = self.shared.observer.get();
        if scope.is_none() {
            if let Some((observer, _)) = observer {
                observer.missed(self.store);
            }
            let count = self.shared.missed.fetch_add(1, Ordering::Relaxed) + 1;
            match self.on_missing {
                OnMissing::Error => return Err(MissingLineage { store: self.store }),
                OnMissing::Warn if count.is_power_of_two() => {
                    tracing::warn!(store = %self.store, count, "operation outside of a lineage");
                }
                OnMissing::Warn | OnMissing::Ignore => {}
            }
        }
        Ok(match (scope, observer) {
            (Some(scope), Some((_, tell))) => Some(scope.told_to(Arc::clone(tell))),
            (scope, _) => scope,
        })
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("missed", &self.missed).finish_non_exhaustive()
    }
}

struct Tell(Arc<dyn Observer>);

impl CaptureObserver for Tell {
    fn captured(&self, captured: &Captured<'_>) {
        self.0.captured(captured);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_lineage_is_counted_or_refused() {
        let store = StoreName::parse("posts").unwrap();
        let warn = Recorder::new(store, OnMissing::Warn);
        assert_eq!(warn.clone().scope().unwrap().map(|_| ()), None);
        assert_eq!(warn.missed(), 1, "clones share the count");
        let error = Recorder::new(store, OnMissing::Error);
        assert!(error.scope().unwrap_err().to_string().contains("posts"));
        LineageScope::new().run(async { assert!(error.scope().unwrap().is_some()) }).await;
        assert!(error.within(LineageScope::new()).scope().unwrap().is_some());
    }
}
