//! The driver's threaded producer, whose records carry lineage.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::Store;
use antipode_lineage::LineageScope;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message, ToBytes};
use rdkafka::producer::{
    BaseRecord, DefaultProducerContext, NoCustomPartitioner, Partitioner, Producer, ProducerContext,
    ThreadedProducer,
};
use rdkafka::statistics::Statistics;
use rdkafka::util::IntoOpaque;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::header::with_lineage;
use crate::producer::Acks;
use crate::sending::{Flight, Landing};
use crate::store::KafkaStore;

/// The driver's limit of a delivery where the configuration names none, or no end.
const DELIVERY: Duration = Duration::from_secs(300);

/// How long the driver tries to deliver a record with this configuration.
pub(crate) fn delivery_limit(config: &ClientConfig) -> Duration {
    let set = ["message.timeout.ms", "delivery.timeout.ms"].into_iter().find_map(|name| config.get(name));
    let millis = set.and_then(|set| set.trim().parse().ok()).filter(|millis| *millis > 0);
    millis.map_or(DELIVERY, Duration::from_millis)
}

/// A record that comes back, and why.
pub type Unsent<'a, K, P, D> = (Error, BaseRecord<'a, K, P, D>);

/// The driver's [`ThreadedProducer`]: records take the current lineage along in a header, and their places
/// go into the scope that was current when they were sent. Your [`ProducerContext`] works as before. A
/// clone shares the driver's.
///
/// From [`send`](Self::send) on the scope depends on the record. What hands the lineage over waits for its
/// delivery ([`LineageScope::settled`]), at most for the driver's `message.timeout.ms` (five minutes
/// unless you set it, and where it is 0) and 5 s more. Until then, and if nobody knows what became of it (a
/// timeout, a purge, a producer that is gone), it is [unplaced](antipode_lineage::WriteId::unplaced):
/// a barrier waits for what the partitions hold when it begins, but not for a record that leaves the
/// driver's queue later.
///
/// Like [`KafkaProducer::send_result`](crate::KafkaProducer::send_result) it cannot look at a partition's
/// log before it sends: a record is unplaced as well if this process never asked about its partition
/// before. A store that is registered has asked.
///
/// A record that is sent before an earlier one of the same scope is delivered depends on the earlier one
/// as unplaced, so its readers wait for all that the store's topics hold. Where records need not wait for
/// each other, make a [fork](LineageScope::fork) of the scope for each, send them within these, and
/// [join](LineageScope::join_scope) them; where they do, await `settled` in between.
pub struct KafkaThreadedProducer<C = DefaultProducerContext, Part = NoCustomPartitioner>
where
    C: ProducerContext<Part> + 'static,
    Part: Partitioner + 'static,
{
    store: KafkaStore,
    inner: Arc<ThreadedProducer<LineageContext<C>, Part>>,
    acks: Acks,
    delivery: Duration,
    scope: Option<LineageScope>,
}

impl<C, Part> Clone for KafkaThreadedProducer<C, Part>
where
    C: ProducerContext<Part> + 'static,
    Part: Partitioner + 'static,
{
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            inner: Arc::clone(&self.inner),
            acks: self.acks,
            delivery: self.delivery,
            scope: self.scope.clone(),
        }
    }
}

impl<C, Part> KafkaThreadedProducer<C, Part>
where
    C: ProducerContext<Part> + 'static,
    Part: Partitioner + 'static,
{
    pub(crate) fn new(
        store: KafkaStore,
        inner: ThreadedProducer<LineageContext<C>, Part>,
        acks: Acks,
        delivery: Duration,
    ) -> Self {
        Self { store, inner: Arc::new(inner), acks, delivery, scope: None }
    }

    /// The same producer, bound to an explicit scope.
    #[must_use]
    pub fn within(&self, scope: LineageScope) -> Self {
        Self { scope: Some(scope), ..self.clone() }
    }

    /// The driver's producer, for flushes, purges, transactions and counts.
    pub fn inner(&self) -> &ThreadedProducer<LineageContext<C>, Part> {
        &self.inner
    }

    /// Your context.
    pub fn context(&self) -> &C {
        &self.inner.context().yours
    }

    /// Puts a record into the driver's queue, and returns at once. Its lineage is what is known at once,
    /// see [`LineageScope::lineage`]. Outside of a tokio runtime its place is not found out: it stays
    /// unplaced.
    ///
    /// # Errors
    /// The record comes back with [`Error::Queue`] if the driver does not take it, and with
    /// [`Error::Missing`] outside of a lineage if the store was told so.
    pub fn send<'a, K, P>(
        &self,
        record: BaseRecord<'a, K, P, C::DeliveryOpaque>,
    ) -> Result<(), Unsent<'a, K, P, C::DeliveryOpaque>>
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
    {
        let scope =
            match self.scope.clone().map_or_else(|| self.store.recorder().scope(), |own| Ok(Some(own))) {
                Ok(scope) => scope,
                Err(missing) => return Err((missing.into(), record)),
            };
        let Some(scope) = scope else {
            return self.queue(record, None);
        };
        let headers = with_lineage(record.headers, &scope.lineage(), self.store.codec());
        let (landing, landed) = oneshot::channel();
        let report = Report { flight: Flight::begin(self.store.clone(), record.topic), landing };
        self.queue(BaseRecord { headers, ..record }, Some(report))?;
        if self.acks == Acks::Weak {
            scope.mark_weak();
        }
        let places = self.store.places();
        match Handle::try_current() {
            Ok(_) => places.add_sent(&scope, self.delivery, landed),
            Err(_) => scope.add(places.unplaced(None)),
        }
        Ok(())
    }

    fn queue<'a, K, P>(
        &self,
        record: BaseRecord<'a, K, P, C::DeliveryOpaque>,
        report: Option<Report>,
    ) -> Result<(), Unsent<'a, K, P, C::DeliveryOpaque>>
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
    {
        let topic = record.topic;
        let sent = self.inner.send(with_opaque(record, |yours| Box::new(Carried { yours, report })));
        sent.map_err(|(source, record)| {
            let (store, topic) = (self.store.name(), topic.to_owned());
            let error = Error::Queue { store, topic, source: Box::new(source) };
            (error, with_opaque(record, |carried| carried.yours))
        })
    }
}

/// The same record with another opaque.
fn with_opaque<'a, K, P, D, E>(
    record: BaseRecord<'a, K, P, D>,
    turn: impl FnOnce(D) -> E,
) -> BaseRecord<'a, K, P, E>
where
    K: ToBytes + ?Sized,
    P: ToBytes + ?Sized,
    D: IntoOpaque,
    E: IntoOpaque,
{
    let BaseRecord { topic, partition, payload, key, timestamp, headers, delivery_opaque } = record;
    let delivery_opaque = turn(delivery_opaque);
    BaseRecord { topic, partition, payload, key, timestamp, headers, delivery_opaque }
}

/// What travels with a record through the driver: your opaque, and where its place is to be told.
#[derive(Debug)]
pub struct Carried<O> {
    yours: O,
    report: Option<Report>,
}

#[derive(Debug)]
struct Report {
    flight: Flight,
    landing: oneshot::Sender<Landing>,
}

/// Your context, with the lineage beside it.
#[derive(Debug, Clone)]
pub struct LineageContext<C> {
    yours: C,
}

impl<C> LineageContext<C> {
    pub(crate) fn new(yours: C) -> Self {
        Self { yours }
    }
}

impl<C, Part> ProducerContext<Part> for LineageContext<C>
where
    C: ProducerContext<Part>,
    Part: Partitioner,
{
    type DeliveryOpaque = Box<Carried<C::DeliveryOpaque>>;

    fn delivery(&self, result: &DeliveryResult<'_>, carried: Self::DeliveryOpaque) {
        let Carried { yours, report } = *carried;
        if let Some(Report { flight, landing }) = report {
            // Nobody listens any more if the scope is gone.
            let _ = landing.send(match result {
                Ok(record) => flight.landed(record.partition(), record.offset()),
                Err((error, record)) => flight.failed(error, record.partition()),
            });
        }
        self.yours.delivery(result, yours);
    }

    fn get_custom_partitioner(&self) -> Option<&Part> {
        self.yours.get_custom_partitioner()
    }
}

impl<C: ClientContext> ClientContext for LineageContext<C> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = C::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.yours.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.yours.stats(statistics);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.yours.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.yours.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        self.yours.generate_oauth_token(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_waited_for_as_long_as_the_driver_tries() {
        let limit = |name: &str, value: &str| {
            let mut config = ClientConfig::new();
            delivery_limit(config.set(name, value))
        };
        assert_eq!(limit("message.timeout.ms", "1500"), Duration::from_millis(1500));
        assert_eq!(limit("delivery.timeout.ms", "1500"), Duration::from_millis(1500));
        assert_eq!(limit("message.timeout.ms", "0"), DELIVERY);
        assert_eq!(delivery_limit(&ClientConfig::new()), DELIVERY);
    }
}
