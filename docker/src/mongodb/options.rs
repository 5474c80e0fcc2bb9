use crate::Provider;

/// What a [`MongoTopology`](crate::MongoTopology) is made of.
///
/// The default is two replicas that can be elected, elections after a second without a primary, and
/// replication from the primary only. Every server has its test commands enabled, for
/// [fail points](crate::FailPoint).
#[derive(Clone, Debug)]
pub struct MongoOptions {
    pub(super) provider: Provider,
    pub(super) replicas: usize,
    pub(super) settings: Vec<(String, String)>,
}

impl Default for MongoOptions {
    fn default() -> Self {
        Self { provider: Provider::default(), replicas: 2, settings: Vec::new() }
    }
}

impl MongoOptions {
    /// Who runs the servers. Processes by default.
    #[must_use]
    pub fn provider(mut self, provider: Provider) -> Self {
        self.provider = provider;
        self
    }

    /// How many secondaries follow the primary. A majority is more than half of all servers: with
    /// four, the primary and two of them acknowledge while the other two lag.
    #[must_use]
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// Sets a server parameter on every server, as `--setParameter` does. A later setting of the same
    /// name wins.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}
