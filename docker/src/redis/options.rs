use crate::Provider;

/// What a [`RedisTopology`](crate::RedisTopology) is made of.
///
/// The default is two replicas, nothing persisted, a replication backlog of 64 MB, and full
/// synchronisations that start without delay.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    pub(super) replicas: usize,
    pub(super) provider: Provider,
    pub(super) settings: Vec<(String, String)>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { replicas: 2, provider: Provider::default(), settings: Vec::new() }
    }
}

impl RedisOptions {
    /// How many replicas follow the primary.
    #[must_use]
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// What runs the servers: processes, unless told otherwise. Containers need a Docker engine;
    /// without one, starting the topology fails, and the error says what to do.
    #[must_use]
    pub fn provider(mut self, provider: Provider) -> Self {
        self.provider = provider;
        self
    }

    /// Sets a parameter of `redis.conf` on every server, such as `appendonly` to `yes`. A later
    /// setting of the same name wins.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}
