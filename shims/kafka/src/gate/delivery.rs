use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use antipode_barrier::BarrierError;
use antipode_lineage::{Lineage, LineageScope};
use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers, Message, OwnedMessage};

use super::core::Ticket;
use super::held::{Held, Shared, Terms};

/// A record whose dependencies are visible, to be handled.
///
/// Say [`done`](Self::done) when it is handled: its offset may be committed then, and the next record
/// of its key comes. **Dropped without it, the record is handed over again**, before any other of its
/// key, also where the handler panicked; [`attempts`](Self::attempts) counts.
#[must_use = "dropped without `done`, the record is handed over again"]
pub struct Delivery<'a> {
    /// `None` once it is done.
    record: Option<Record<'a>>,
    ticket: Ticket,
    terms: Terms,
    shared: Owner<'a>,
}

/// Those who handle a record where it was received need no share of their own: a count that all
/// processors change costs more than the rest.
enum Owner<'a> {
    Lent(&'a Arc<Shared>),
    Owned(Arc<Shared>),
}

impl Deref for Owner<'_> {
    type Target = Arc<Shared>;

    fn deref(&self) -> &Arc<Shared> {
        match self {
            Self::Lent(shared) => shared,
            Self::Owned(shared) => shared,
        }
    }
}

/// Where the driver keeps it, or a copy.
enum Record<'a> {
    Fresh(BorrowedMessage<'a>),
    Kept(OwnedMessage),
}

/// Does the same with either.
macro_rules! either {
    ($delivery:expr, $message:ident => $work:expr) => {
        match &$delivery.record {
            Some(Record::Fresh($message)) => $work,
            Some(Record::Kept($message)) => $work,
            None => Default::default(),
        }
    };
}

impl<'a> Delivery<'a> {
    pub(super) fn fresh(
        message: BorrowedMessage<'a>,
        ticket: Ticket,
        terms: Terms,
        shared: &'a Arc<Shared>,
    ) -> Self {
        Self { record: Some(Record::Fresh(message)), ticket, terms, shared: Owner::Lent(shared) }
    }

    pub(super) fn kept(held: Held, ticket: Ticket, shared: &'a Arc<Shared>) -> Self {
        let Held { message, terms } = held;
        Self { record: Some(Record::Kept(message)), ticket, terms, shared: Owner::Lent(shared) }
    }

    /// The record is handled: its offset may be committed once all before it are handled, too.
    ///
    /// If the partition has gone to another consumer meanwhile, that one handles it again.
    pub fn done(mut self) {
        self.record = None;
        self.shared.change(|core| core.done(self.ticket));
    }

    /// The same without a borrow of the gate, for a handler in another task. Copies the record unless
    /// it was copied already, because it had to wait.
    pub fn into_owned(mut self) -> Delivery<'static> {
        let record = self.record.take().map(|record| Record::Kept(record.into_owned()));
        let terms = Terms {
            lineage: std::mem::take(&mut self.terms.lineage),
            since: self.terms.since,
            attempts: self.terms.attempts,
            stale: self.terms.stale.take(),
        };
        let shared = Owner::Owned(Arc::clone(&self.shared));
        Delivery { record, ticket: self.ticket, terms, shared }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        either!(self, message => message.topic())
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        either!(self, message => message.partition())
    }

    /// The offset.
    #[must_use]
    pub fn offset(&self) -> i64 {
        either!(self, message => message.offset())
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        either!(self, message => message.key())
    }

    /// The value.
    #[must_use]
    pub fn payload(&self) -> Option<&[u8]> {
        either!(self, message => message.payload())
    }

    /// When the broker or the producer says it was made.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        match &self.record {
            Some(Record::Fresh(message)) => message.timestamp(),
            Some(Record::Kept(message)) => message.timestamp(),
            None => Timestamp::NotAvailable,
        }
    }

    /// Its headers, in order.
    #[must_use]
    pub fn headers(&self) -> Vec<(&str, Option<&[u8]>)> {
        either!(self, message => message
            .headers()
            .map(|headers| headers.iter().map(|header| (header.key, header.value)).collect())
            .unwrap_or_default())
    }

    /// What the record's writer depended on: everything, if its header could not be read; nothing, if it
    /// has none.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.terms.lineage
    }

    /// A scope to run the handler in: it depends on what the record's writer depended on and on the
    /// record itself, and is weak if the record [is stale](Self::is_stale).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn scope(&self) -> LineageScope {
        let scope = match &self.record {
            Some(Record::Fresh(message)) => self.shared.store.record_scope(message),
            Some(Record::Kept(message)) => self.shared.store.record_scope(message),
            None => LineageScope::new(),
        };
        if self.is_stale() {
            scope.mark_weak();
        }
        scope
    }

    /// Whether it is handed over although its dependencies are not visible
    /// ([`OnLate::Deliver`](crate::OnLate::Deliver)).
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.terms.stale.is_some()
    }

    /// What was not visible, of a stale record.
    #[must_use]
    pub fn missing(&self) -> Option<&BarrierError> {
        self.terms.stale.as_deref()
    }

    /// Whether it had to wait, for its dependencies or for others of its key.
    #[must_use]
    pub fn has_waited(&self) -> bool {
        self.terms.since.is_some()
    }

    /// How often this process was handed it before, and dropped it.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.terms.attempts
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let terms = Terms {
            lineage: std::mem::take(&mut self.terms.lineage),
            since: None,
            attempts: self.terms.attempts.saturating_add(1),
            stale: None,
        };
        let held = Box::new(Held { message: record.into_owned(), terms });
        self.shared.change(|core| core.give_back(self.ticket, held));
    }
}

impl Record<'_> {
    fn into_owned(self) -> OwnedMessage {
        match self {
            Self::Fresh(message) => message.detach(),
            Self::Kept(message) => message,
        }
    }
}

impl fmt::Debug for Delivery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("topic", &self.topic())
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .field("stale", &self.is_stale())
            .finish_non_exhaustive()
    }
}
