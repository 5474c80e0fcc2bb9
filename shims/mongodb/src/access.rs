//! The way from a collection to its store's servers and to the lineage.

use std::sync::Arc;

use antipode_barrier::Recorder;
use antipode_lineage::{Lineage, LineageScope, WriteId};
use mongodb::Client;
use mongodb::bson::Timestamp;
use mongodb::error::{Error as DriverError, Result};

use crate::capture::{Acknowledged, Capture};
use crate::error::Error;
use crate::server::Server;
use crate::store::MongoStore;
use crate::stored::beside;

/// A store, and the lineage to record into. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) store: MongoStore,
    recorder: Recorder,
    scope: Option<LineageScope>,
}

/// An operation at one server, and the scope that learns its place.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    store: MongoStore,
    scope: LineageScope,
    capture: Capture,
}

impl Access {
    pub(crate) fn new(store: MongoStore) -> Self {
        let recorder = store.recorder().clone();
        Self { store, recorder, scope: None }
    }

    pub(crate) fn within(&self, scope: LineageScope) -> Self {
        let recorder = self.recorder.within(scope.clone());
        Self { store: self.store.clone(), recorder, scope: Some(scope) }
    }

    /// The primary's client.
    pub(crate) fn primary(&self) -> &Client {
        self.store.inner()
    }

    /// The scope to record into.
    ///
    /// # Errors
    /// [`Error::MissingLineage`] in the driver's form.
    pub(crate) fn scope(&self) -> Result<Option<LineageScope>> {
        self.recorder.scope().map_err(|missing| DriverError::custom(Error::from(missing)))
    }

    /// The scope that reads are routed by, where nothing is recorded.
    pub(crate) fn current(&self) -> Option<LineageScope> {
        self.scope.clone().or_else(LineageScope::current)
    }

    /// The server that reads in this scope go to.
    ///
    /// # Errors
    /// [`Error::UnknownReplica`] in the driver's form.
    pub(crate) fn reads(&self, scope: Option<&LineageScope>) -> Result<&Arc<Server>> {
        self.store.route(scope).map_err(DriverError::custom)
    }

    /// Before an operation at this server.
    pub(crate) async fn record(
        &self,
        server: &Arc<Server>,
        scope: Option<LineageScope>,
    ) -> Option<Recording> {
        let scope = scope?;
        Some(Recording { store: self.store.clone(), scope, capture: Capture::begin(server).await })
    }

    /// Before a write.
    pub(crate) async fn record_write(&self, scope: Option<LineageScope>) -> Option<Recording> {
        self.record(self.store.primary_server(), scope).await
    }
}

impl Recording {
    /// What a write stores beside the value.
    pub(crate) async fn lineage(&self) -> Lineage {
        beside(&self.scope, self.capture.fallback()).await
    }

    /// Joins what was read.
    pub(crate) fn join(&self, lineage: &Lineage) {
        self.scope.join(lineage);
    }

    /// A write was acknowledged, in a session with this operation time.
    pub(crate) fn written(&self, time: Option<Timestamp>, acknowledged: Acknowledged) {
        let limit = self.store.capture_limit();
        self.capture.clone().defer_write(&self.scope, time, acknowledged, limit);
    }

    /// A write may have happened.
    pub(crate) fn unknown(&self, acknowledged: Acknowledged) {
        if acknowledged == Acknowledged::ByFewer {
            self.scope.mark_weak();
        }
        self.scope.add(self.fallback());
    }

    /// A read was answered.
    pub(crate) fn read(&self) {
        self.capture.clone().defer_read(&self.scope, self.store.capture_limit());
    }

    fn fallback(&self) -> WriteId {
        self.capture.fallback()
    }
}
