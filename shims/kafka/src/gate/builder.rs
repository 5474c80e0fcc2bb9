use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{DEFAULT_DEADLINE, Registry};
use antipode_lineage::StoreName;
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;

use super::core::Limits;
use super::dead_letter::DeadLetters;
use super::held::Shared;
use super::rebalances::Rebalances;
use super::{Gate, Keyless, OnLate};
use crate::{Error, KafkaStore};

/// Builds a [`Gate`].
#[must_use = "call `build`"]
#[derive(Debug)]
pub struct GateBuilder {
    store: KafkaStore,
    registry: Registry,
    config: ClientConfig,
    topics: Vec<String>,
    stores: Option<Vec<StoreName>>,
    deadline: Duration,
    on_late: OnLate,
    keyless: Keyless,
    limits: Limits,
    commit_every: Duration,
}

/// The driver must not say that records are handled: the gate knows.
const NOT_THE_DRIVERS: &[&str] = &["enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store"];

impl GateBuilder {
    pub(super) fn new(store: KafkaStore, registry: Registry) -> Self {
        Self {
            store,
            registry,
            config: ClientConfig::new(),
            topics: Vec::new(),
            stores: None,
            deadline: DEFAULT_DEADLINE,
            on_late: OnLate::default(),
            keyless: Keyless::default(),
            limits: Limits { parked: 1_000, window: 100_000 },
            commit_every: Duration::from_secs(1),
        }
    }

    /// The consumer's configuration, in the driver's words. It needs `bootstrap.servers` and `group.id`;
    /// automatic commits and offset storing are off, and refused if it turns them on.
    pub fn config(self, config: &ClientConfig) -> Self {
        Self { config: config.clone(), ..self }
    }

    /// The topics to subscribe to.
    pub fn topics<T: Into<String>>(self, topics: impl IntoIterator<Item = T>) -> Self {
        Self { topics: topics.into_iter().map(Into::into).collect(), ..self }
    }

    /// Waits only for these stores: those that the handler reads. By default for all of the registry.
    pub fn stores(self, stores: impl IntoIterator<Item = StoreName>) -> Self {
        Self { stores: Some(stores.into_iter().collect()), ..self }
    }

    /// How long a record's dependencies are waited for, from its arrival. [`DEFAULT_DEADLINE`] by
    /// default. A record that waited behind others of its key is looked at before it is taken for late.
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// What happens to a record that is late. [`OnLate::Fail`] by default.
    pub fn on_late(self, on_late: OnLate) -> Self {
        Self { on_late, ..self }
    }

    /// The order of records without a key. [`Keyless::InOrder`] by default.
    pub fn keyless(self, keyless: Keyless) -> Self {
        Self { keyless, ..self }
    }

    /// How many records are parked of each partition until it is paused; it is resumed at half as many.
    /// 1,000 by default. Records that are handed over and dropped come on top.
    pub fn capacity(mut self, records: usize) -> Self {
        self.limits.parked = records.max(1);
        self
    }

    /// How far handling may run ahead: how many records of a partition, from the first that is not
    /// handled, may have been received until it is paused. So many at most are handled again after a
    /// restart. 100,000 by default.
    pub fn ahead(mut self, records: usize) -> Self {
        self.limits.window = records.max(1);
        self
    }

    /// How often offsets are committed, while [`recv`](Gate::recv) is called. 1 s by default. What a broker
    /// refused is said again with every tenth commit, and when the gate closes.
    pub fn commit_every(self, period: Duration) -> Self {
        Self { commit_every: period, ..self }
    }

    /// Makes the consumer and subscribes.
    ///
    /// # Errors
    /// [`Error::GateSetting`] of a configuration under which records would be lost;
    /// [`Error::Client`] and [`Error::Consume`] from the driver.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn build(self) -> Result<Gate, Error> {
        let config = self.consumer_config()?;
        let shared = Arc::new(Shared::new(self.store.clone(), self.limits));
        let context = Rebalances { shared: Arc::clone(&shared) };
        let consumer = self.store.consumer_with_context(&config, context)?;
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let store = antipode_barrier::Store::name(&self.store);
        consumer.subscribe(&topics).map_err(|source| Error::Consume { store, source: Box::new(source) })?;
        let dead_letters = match &self.on_late {
            OnLate::DeadLetter(topic) => Some(DeadLetters::new(store, &self.config, topic)?),
            OnLate::Fail | OnLate::Deliver => None,
        };
        let stores = self.stores.map(Arc::from);
        Ok(Gate::new(
            consumer,
            shared,
            super::Rules {
                registry: self.registry,
                stores,
                deadline: self.deadline,
                on_late: self.on_late,
                keyless: self.keyless,
                commit_every: self.commit_every,
            },
            dead_letters,
        ))
    }

    fn consumer_config(&self) -> Result<ClientConfig, Error> {
        let store = antipode_barrier::Store::name(&self.store);
        let refuse = |setting: &'static str, advice| Err(Error::GateSetting { store, setting, advice });
        for setting in NOT_THE_DRIVERS {
            if self.config.get(setting).is_some_and(|value| value != "false") {
                return refuse(setting, "leave it out: the gate commits what is handled");
            }
        }
        if self.config.get("group.id").is_none_or(str::is_empty) {
            return refuse("group.id", "name the group that handles these topics");
        }
        if self.topics.is_empty() {
            return refuse("topics", "call `.topics(..)` before `.build()`");
        }
        let mut config = self.config.clone();
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        Ok(config)
    }
}
