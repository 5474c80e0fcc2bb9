use crate::Provider;

/// What a [`PostgresTopology`](crate::PostgresTopology) is made of.
///
/// The default is two standbys and the server's own settings, except for smaller buffers, up to
/// 32 WAL senders, 1 GB of kept WAL and reconnecting to an upstream every 200 ms. In
/// particular `fsync` and `synchronous_commit` are on.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    pub(super) standbys: usize,
    pub(super) provider: Provider,
    pub(super) settings: Vec<(String, String)>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { standbys: 2, provider: Provider::default(), settings: Vec::new() }
    }
}

impl PostgresOptions {
    /// How many standbys stream from the primary.
    #[must_use]
    pub fn standbys(mut self, count: usize) -> Self {
        self.standbys = count;
        self
    }

    /// What runs the servers: processes, unless told otherwise. Containers need a Docker engine;
    /// without one, starting the topology fails, and the error says what to do.
    #[must_use]
    pub fn provider(mut self, provider: Provider) -> Self {
        self.provider = provider;
        self
    }

    /// Sets a parameter of `postgresql.conf` on every server, such as `synchronous_commit` to
    /// `off`. A later setting of the same name wins.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}
