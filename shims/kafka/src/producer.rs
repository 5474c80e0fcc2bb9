//! A producer whose records carry lineage.

use antipode_barrier::Store;
use antipode_lineage::{Lineage, LineageScope, StoreName};
use rdkafka::ClientConfig;
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::message::ToBytes;
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use crate::error::Error;
use crate::header::with_lineage;
use crate::sending::{Delivering, Sending};
use crate::store::KafkaStore;

/// What to do with a producer that does not wait for the in-sync replicas (`acks` other than `all`): what
/// it wrote may be gone after a leader's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeakAcks {
    /// It is not made.
    #[default]
    Refuse,
    /// Lineages that it adds to are marked [weak](Lineage::is_weak).
    Mark,
}

/// How durable a producer's acknowledgements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    All,
    Weak,
}

/// The configuration with safe defaults, and what it comes to.
pub(crate) fn producer_config(
    store: StoreName,
    config: &ClientConfig,
    weak_acks: WeakAcks,
) -> Result<(ClientConfig, Acks), Error> {
    let mut config = config.clone();
    let acks = ["acks", "request.required.acks"].into_iter().find_map(|name| config.get(name));
    let acks = match acks.map(str::to_owned) {
        Some(acks) if acks != "all" && acks != "-1" => match weak_acks {
            WeakAcks::Refuse => return Err(Error::WeakAcks { store, acks }),
            WeakAcks::Mark => Acks::Weak,
        },
        Some(_) => Acks::All,
        None => {
            config.set("acks", "all");
            Acks::All
        }
    };
    if acks == Acks::All && config.get("enable.idempotence").is_none() {
        config.set("enable.idempotence", "true");
    }
    Ok((config, acks))
}

/// The driver's [`FutureProducer`]: records take the current lineage along in a header, and their places
/// go into it. A clone shares the driver's.
///
/// Transactions are the driver's: call them on [`inner`](Self::inner). A record's place is known from its
/// delivery, before the commit; readers with `read_committed` see it after. A record of an aborted
/// transaction counts as visible once the partition's last stable offset has passed it.
///
/// A lineage that leaves the process right after a delivery waits for one question to the partition's
/// leader ([`LineageScope::settled`]), which all records delivered meanwhile share: the driver does not
/// tell in which leader epoch a record was written. If the leader changes while a record is on its way
/// and the log does not tell, the record is [unplaced](antipode_lineage::WriteId::unplaced_in).
pub struct KafkaProducer<C: ClientContext + 'static = DefaultClientContext> {
    store: KafkaStore,
    inner: FutureProducer<C>,
    acks: Acks,
    scope: Option<LineageScope>,
}

impl<C: ClientContext + 'static> Clone for KafkaProducer<C> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            inner: self.inner.clone(),
            acks: self.acks,
            scope: self.scope.clone(),
        }
    }
}

impl<C: ClientContext + 'static> KafkaProducer<C> {
    pub(crate) fn new(store: KafkaStore, inner: FutureProducer<C>, acks: Acks) -> Self {
        Self { store, inner, acks, scope: None }
    }

    /// The same producer, bound to an explicit scope.
    #[must_use]
    pub fn within(&self, scope: LineageScope) -> Self {
        Self { scope: Some(scope), ..self.clone() }
    }

    /// The driver's producer. What is sent through it carries no lineage.
    pub fn inner(&self) -> &FutureProducer<C> {
        &self.inner
    }

    /// Sends a record and waits for its delivery. `queue_timeout` is how long to wait for room in the
    /// driver's queue; how long the delivery may take is its `message.timeout.ms`. Dropped before its end,
    /// it leaves an unplaced write: the record may be delivered.
    ///
    /// # Errors
    /// [`Error::Send`] with the record, and [`Error::Missing`] outside of a lineage if the store was told
    /// so.
    pub async fn send<K, P>(
        &self,
        record: FutureRecord<'_, K, P>,
        queue_timeout: impl Into<Timeout>,
    ) -> Result<Delivery, Error>
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
    {
        let (topic, scope) = (record.topic, self.scope()?);
        let record = match &scope {
            Some(scope) => {
                let lineage = scope.settled().await;
                self.store.places().before_sending().await;
                self.carrying(record, &lineage)
            }
            None => record,
        };
        let sending = Sending::begin(self.store.clone(), self.acks, topic, scope);
        sending.end(self.inner.send(record, queue_timeout).await)
    }

    /// Puts a record into the driver's queue, and returns at once with a future of its delivery. Its
    /// lineage is what is known at once, see [`LineageScope::lineage`].
    ///
    /// # Errors
    /// The record comes back with [`Error::Queue`] if the driver does not take it, and with
    /// [`Error::Missing`] as for [`send`](Self::send).
    pub fn send_result<'a, K, P>(
        &self,
        record: FutureRecord<'a, K, P>,
    ) -> Result<Delivering, (Error, FutureRecord<'a, K, P>)>
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
    {
        let scope = match self.scope() {
            Ok(scope) => scope,
            Err(error) => return Err((error, record)),
        };
        let record = match &scope {
            Some(scope) => self.carrying(record, &scope.lineage()),
            None => record,
        };
        let topic = record.topic;
        let sending = Sending::begin(self.store.clone(), self.acks, topic, scope);
        match self.inner.send_result(record) {
            Ok(delivery) => Ok(Delivering { delivery, sending: Some(sending) }),
            Err((source, record)) => {
                sending.never_left();
                Err((
                    Error::Queue {
                        store: self.store.name(),
                        topic: topic.to_owned(),
                        source: Box::new(source),
                    },
                    record,
                ))
            }
        }
    }

    fn scope(&self) -> Result<Option<LineageScope>, Error> {
        let recorder = self.store.recorder();
        Ok(match &self.scope {
            Some(scope) => Some(scope.clone()),
            None => recorder.scope()?,
        })
    }

    fn carrying<'a, K, P>(&self, record: FutureRecord<'a, K, P>, lineage: &Lineage) -> FutureRecord<'a, K, P>
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
    {
        let headers = with_lineage(record.headers, lineage, self.store.codec());
        FutureRecord { headers, ..record }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(settings: &[(&str, &str)], weak_acks: WeakAcks) -> Result<(ClientConfig, Acks), Error> {
        let config = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        producer_config("orders".parse().unwrap(), &config, weak_acks)
    }

    #[test]
    fn weak_acknowledgements_are_refused_or_marked() {
        let (config, acks) = made(&[], WeakAcks::Refuse).unwrap();
        assert_eq!((config.get("acks"), config.get("enable.idempotence")), (Some("all"), Some("true")));
        assert_eq!(acks, Acks::All);
        for name in ["acks", "request.required.acks"] {
            for weak in ["0", "1"] {
                let error = made(&[(name, weak)], WeakAcks::Refuse).unwrap_err();
                assert!(error.to_string().contains(&format!("acks={weak}")), "{error}");
                let (config, acks) = made(&[(name, weak)], WeakAcks::Mark).unwrap();
                assert_eq!((acks, config.get("enable.idempotence")), (Acks::Weak, None));
            }
            assert_eq!(made(&[(name, "-1")], WeakAcks::Refuse).unwrap().1, Acks::All);
        }
    }
}
