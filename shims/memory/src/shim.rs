//! Reads and writes that carry lineage.

use std::sync::Arc;

use antipode_barrier::Recorder;
use antipode_lineage::{Lineage, LineageScope, Position, Shard, WriteId};

use crate::cluster::{Edit, Turn};
use crate::{MemoryError, MemoryStore};

/// The operations on a [`MemoryStore`]: keys are texts, values are bytes, the lineage of its writer
/// is stored beside each value.
///
/// A write goes to the primary. A read goes to the replica that the last barrier of the lineage
/// scope proved fresh, else to the first region that this handle reads from, as it is there: stale
/// if the region lags. Both wait while the region asked is paused.
///
/// Operations record into the current [`LineageScope`], or into the one given to
/// [`within`](MemoryShim::within).
///
/// # Errors
/// Every operation answers [`MemoryError::RegionDown`] if the region asked is down, and
/// [`MemoryError::MissingLineage`] if the store was told to refuse operations outside of a lineage;
/// a write [`MemoryError::LogFull`] if a replica is too far behind.
#[derive(Debug, Clone)]
pub struct MemoryShim {
    store: MemoryStore,
    recorder: Recorder,
}

impl MemoryShim {
    pub(crate) fn new(store: MemoryStore, recorder: Recorder) -> Self {
        Self { store, recorder }
    }

    /// The same handle, recording into this scope instead of the current one.
    #[must_use]
    pub fn within(&self, scope: LineageScope) -> Self {
        Self { recorder: self.recorder.within(scope), ..self.clone() }
    }

    /// The store behind it, whose [`peek`](MemoryStore::peek) reads without lineage.
    #[must_use]
    pub fn inner(&self) -> &MemoryStore {
        &self.store
    }

    /// Sets the whole value. The lineage stored beside it is replaced.
    pub async fn put(&self, key: &str, value: impl AsRef<[u8]>) -> Result<WriteId, MemoryError> {
        self.transaction().put(key, value).commit().await
    }

    /// Adds to the end of the value, or makes it. The lineage is joined with what is stored.
    pub async fn append(&self, key: &str, suffix: impl AsRef<[u8]>) -> Result<WriteId, MemoryError> {
        self.transaction().append(key, suffix).commit().await
    }

    /// Removes the value and the lineage beside it, if there is one.
    pub async fn delete(&self, key: &str) -> Result<WriteId, MemoryError> {
        self.transaction().delete(key).commit().await
    }

    /// Begins a transaction: writes that become visible together, at one position.
    pub fn transaction(&self) -> MemoryTransaction<'_> {
        MemoryTransaction { shim: self, edits: Vec::new() }
    }

    /// Reads a value. Joins its writer's lineage and the write itself into the current lineage; if
    /// there is no value, everything that the region has applied.
    pub async fn get(&self, key: &str) -> Result<Option<Arc<[u8]>>, MemoryError> {
        let scope = self.recorder.scope()?;
        let routed = scope.as_ref().and_then(|scope| scope.route(self.recorder.store()));
        let read = self.store.cluster.until(|state| {
            let region = match routed.or_else(|| self.store.reading(state).first().copied()) {
                Some(region) => state.find(region.as_str())?,
                None => state.primary,
            };
            if !state.answers(region)? {
                return Ok(Turn::Again(None));
            }
            let store = state.name;
            let region = state.region(region)?;
            let Some(stored) = region.data.get(key) else {
                let position = Position(region.applied);
                let seen = WriteId { store, shard: Shard::ONLY, epoch: region.epoch, position };
                return Ok(Turn::Done((None, (position.0 > 0).then(|| seen.into()))));
            };
            let mut lineage = stored.lineage.clone();
            lineage.add(stored.write);
            Ok(Turn::Done((Some(Arc::clone(&stored.value)), Some(lineage))))
        });
        let (value, lineage): (_, Option<Lineage>) = read.await?;
        if let (Some(scope), Some(lineage)) = (scope, lineage) {
            scope.join(&lineage);
        }
        Ok(value)
    }

    async fn commit(&self, edits: &[Edit]) -> Result<WriteId, MemoryError> {
        let scope = self.recorder.scope()?;
        let lineage = match &scope {
            Some(scope) => scope.settled().await,
            None => Lineage::new(),
        };
        let record = |write| {
            if let Some(scope) = &scope {
                scope.add(write);
            }
        };
        self.store.cluster.commit(edits, &lineage, record).await
    }
}

/// Writes that become visible together. Begun by [`MemoryShim::transaction`]; dropped, it does
/// nothing.
#[derive(Debug, Clone)]
#[must_use = "a transaction does nothing until it is committed"]
pub struct MemoryTransaction<'s> {
    shim: &'s MemoryShim,
    edits: Vec<Edit>,
}

impl MemoryTransaction<'_> {
    /// Sets the whole value.
    pub fn put(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.with(Edit::Put(key.into(), value.as_ref().into()))
    }

    /// Adds to the end of the value, or makes it.
    pub fn append(self, key: &str, suffix: impl AsRef<[u8]>) -> Self {
        self.with(Edit::Append(key.into(), suffix.as_ref().into()))
    }

    /// Removes the value.
    pub fn delete(self, key: &str) -> Self {
        self.with(Edit::Delete(key.into()))
    }

    /// Makes the changes, and adds the write to the current lineage.
    ///
    /// # Errors
    /// Those of [`MemoryShim`]; nothing was written then.
    pub async fn commit(self) -> Result<WriteId, MemoryError> {
        self.shim.commit(&self.edits).await
    }

    fn with(mut self, edit: Edit) -> Self {
        self.edits.push(edit);
        self
    }
}
