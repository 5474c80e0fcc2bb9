use super::super::RedisOptions;
use crate::Provider;

/// What every node is set to unless the options say otherwise.
const SETTINGS: &[(&str, &str)] = &[
    ("cluster-enabled", "yes"),
    ("cluster-node-timeout", "3000"),
    // Tests say who takes over.
    ("cluster-replica-no-failover", "yes"),
    ("cluster-replica-validity-factor", "0"),
    ("cluster-allow-replica-migration", "no"),
    // What happens to one shard leaves the others alone, and replicas go on answering.
    ("cluster-require-full-coverage", "no"),
    ("cluster-allow-reads-when-down", "yes"),
];

/// What a [`RedisClusterTopology`](super::RedisClusterTopology) is made of.
///
/// The default is three shards of a primary and one replica, with the settings of
/// [`RedisOptions`], a node timeout of 3 s, and no failover unless it is told to.
#[derive(Clone, Debug)]
pub struct RedisClusterOptions {
    pub(super) shards: u16,
    pub(super) replicas: usize,
    pub(super) node: RedisOptions,
}

impl Default for RedisClusterOptions {
    fn default() -> Self {
        let setting = |options: RedisOptions, (name, value): &(&str, &str)| options.setting(*name, *value);
        Self { shards: 3, replicas: 1, node: SETTINGS.iter().fold(RedisOptions::default(), setting) }
    }
}

impl RedisClusterOptions {
    /// How many shards share the slots, at least one. Redis elects nobody with fewer than three.
    #[must_use]
    pub fn shards(mut self, count: u16) -> Self {
        self.shards = count.max(1);
        self
    }

    /// How many replicas each primary has.
    #[must_use]
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// What runs the servers.
    #[must_use]
    pub fn provider(mut self, provider: Provider) -> Self {
        self.node = self.node.provider(provider);
        self
    }

    /// Sets a parameter of `redis.conf` on every server. A later setting of the same name wins.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.node = self.node.setting(name, value);
        self
    }
}
