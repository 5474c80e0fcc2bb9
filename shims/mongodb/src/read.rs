//! A read under way that yields a value, not documents.

use antipode_lineage::Lineage;
use mongodb::bson::RawDocumentBuf;
use mongodb::error::Result;
use mongodb::{ClientSession, Collection};

use crate::access::Recording;
use crate::actions::Target;
use crate::session::{MongoSession, Running};

/// A read under way.
pub(crate) struct Read<'a> {
    recording: Option<Recording>,
    collection: Collection<RawDocumentBuf>,
    session: Running<'a>,
}

impl<'a> Read<'a> {
    pub(crate) async fn begin(target: Target<'a>, session: Option<&'a mut MongoSession>) -> Result<Self> {
        let access = target.access;
        let scope = access.scope()?;
        match session {
            Some(session) => {
                let recording = access.record_write(scope).await;
                let collection = target.primary.clone();
                Ok(Self { recording, collection, session: Running::OfTheUser(session) })
            }
            None => {
                let server = access.reads(scope.as_ref())?;
                let recording = access.record(server, scope).await;
                let session = Running::own(&server.client).await?;
                Ok(Self { recording, collection: target.on(server), session })
            }
        }
    }

    /// The collection to run the driver's action on.
    pub(crate) fn collection(&self) -> Collection<RawDocumentBuf> {
        self.collection.clone()
    }

    /// The session to run the driver's action in.
    pub(crate) fn session(&mut self) -> &mut ClientSession {
        self.session.inner_mut()
    }

    /// Joins what the values read depend on.
    pub(crate) fn join(&self, lineage: &Lineage) {
        if let Some(recording) = &self.recording {
            recording.join(lineage);
        }
    }

    /// The driver's action has ended.
    pub(crate) fn end<T>(self, outcome: Result<T>) -> Result<T> {
        if let (Ok(_), Some(recording)) = (&outcome, &self.recording) {
            recording.read();
        }
        outcome
    }
}
