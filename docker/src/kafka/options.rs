/// What a [`KafkaTopology`](crate::KafkaTopology) is made of.
///
/// The default is one broker. A broker that dies is noticed within some 3 s, a follower that lags
/// leaves the in-sync replicas after 1.5 s, groups rebalance without delay, and topics are made
/// only when asked for.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    pub(super) brokers: usize,
    pub(super) settings: Vec<(String, String)>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self { brokers: 1, settings: Vec::new() }
    }
}

impl KafkaOptions {
    /// How many brokers, each of which is a controller as well: 1, or 3 for faults. With 3, one
    /// can fail; none is taken for 1.
    #[must_use]
    pub fn brokers(mut self, count: usize) -> Self {
        self.brokers = count.max(1);
        self
    }

    /// Sets a parameter of `server.properties` on every broker, such as
    /// `unclean.leader.election.enable` to `true`. A later setting of the same name wins.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}
