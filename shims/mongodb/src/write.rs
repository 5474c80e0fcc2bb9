//! A write under way.

use antipode_lineage::Lineage;
use mongodb::ClientSession;
use mongodb::error::{Error as DriverError, ErrorKind, Result, WriteFailure};
use mongodb::options::WriteConcern;

use crate::access::{Access, Recording};
use crate::capture::Acknowledged;
use crate::concern::acknowledged;
use crate::session::{MongoSession, Running};

/// A write under way. Dropped before its end, because its future was, it leaves an unplaced write: the
/// server may have executed it.
pub(crate) struct Write<'a> {
    recording: Option<Recording>,
    lineage: Lineage,
    session: Running<'a>,
    acknowledged: Acknowledged,
    reach: Reach,
    /// Whether it may have written what is not recorded yet.
    is_open: bool,
}

/// How many documents a write changes. Of one it is known that an error left it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    One,
    Many,
}

impl<'a> Write<'a> {
    /// Takes what the write has to carry.
    pub(crate) async fn begin(
        access: &Access,
        session: Option<&'a mut MongoSession>,
        concern: &WriteConcern,
        reach: Reach,
    ) -> Result<Self> {
        let scope = access.scope()?;
        let recording = access.record_write(scope).await;
        let session = match session {
            Some(session) => {
                session.will_write(recording.as_ref());
                Running::OfTheUser(session)
            }
            None => Running::own(access.primary()).await?,
        };
        let acknowledged = session.acknowledged().unwrap_or_else(|| acknowledged(concern));
        let lineage = match &recording {
            Some(recording) => {
                let mut lineage = recording.lineage().await;
                // Who reads the value must know, too.
                if acknowledged == Acknowledged::ByFewer {
                    lineage.mark_weak();
                }
                lineage
            }
            None => Lineage::new(),
        };
        let is_open = !session.in_transaction();
        Ok(Self { recording, lineage, session, acknowledged, reach, is_open })
    }

    /// What is stored beside the value.
    pub(crate) fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// The session to run the driver's action in.
    pub(crate) fn session(&mut self) -> &mut ClientSession {
        self.session.inner_mut()
    }

    /// Joins the lineage of a document that the write returns.
    pub(crate) fn join(&self, lineage: &Lineage) {
        if let Some(recording) = &self.recording {
            recording.join(lineage);
        }
    }

    /// The driver's action has ended.
    pub(crate) fn end<T>(mut self, outcome: Result<T>) -> Result<T> {
        if self.session.in_transaction() {
            return outcome;
        }
        match &outcome {
            Ok(_) => self.place(),
            Err(error) => match effect(error, self.reach) {
                Effect::Nothing => self.is_open = false,
                Effect::NotSent if self.session.inner().operation_time().is_some() => self.place(),
                Effect::NotSent => self.is_open = false,
                Effect::Some => self.place(),
                Effect::Unknown => {}
            },
        }
        outcome
    }

    fn place(&mut self) {
        if let Some(recording) = &self.recording {
            self.is_open = false;
            recording.written(self.session.inner().operation_time(), self.acknowledged);
        }
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if let (true, Some(recording)) = (self.is_open, &self.recording) {
            recording.unknown(self.acknowledged);
        }
    }
}

/// What a write that failed has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Nothing,
    /// It was not sent; what was sent before it, of a batch, was acknowledged as usual.
    NotSent,
    /// Some documents were written, at or before the time in the reply, and acknowledged as usual.
    Some,
    Unknown,
}

fn effect(error: &DriverError, reach: Reach) -> Effect {
    const RETRYABLE: &str = "RetryableWriteError";
    /// The server gave up on it, at whatever point it was: it took too long, the server is going down,
    /// or is no primary any more.
    const GIVEN_UP: [i32; 9] = [50, 91, 189, 262, 10107, 11600, 11602, 13435, 13436];
    match (error.kind.as_ref(), reach) {
        // A first try that failed in another way would have its own error.
        (
            ErrorKind::InvalidArgument { .. }
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::BsonSerialization(_)
            | ErrorKind::Bson(_)
            | ErrorKind::SessionsNotSupported
            | ErrorKind::Shutdown,
            _,
        ) => Effect::NotSent,
        (ErrorKind::Write(WriteFailure::WriteError(_)), Reach::One) => Effect::Nothing,
        (ErrorKind::Command(command), Reach::One)
            if !GIVEN_UP.contains(&command.code) && !error.contains_label(RETRYABLE) =>
        {
            Effect::Nothing
        }
        (ErrorKind::Write(WriteFailure::WriteError(_)), Reach::Many) => Effect::Some,
        (ErrorKind::InsertMany(failure), _) if failure.write_concern_error.is_none() => Effect::Some,
        _ => Effect::Unknown,
    }
}
