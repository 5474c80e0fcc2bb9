use super::{
    cluster::quoted,
    session::{self, until, value},
};
use crate::{Node, TopologyError};

/// One Postgres server of a [`PostgresTopology`](crate::PostgresTopology).
///
/// It keeps its data over a restart.
pub type PostgresNode = Node<Postgres>;

/// A Postgres server.
#[derive(Debug)]
pub enum Postgres {}

impl Node<Postgres> {
    /// `postgres://postgres@127.0.0.1:PORT/postgres`: a superuser without password.
    #[must_use]
    pub fn url(&self) -> String {
        session::url(self.server().addr())
    }

    /// Sets a configuration parameter with `ALTER SYSTEM` and reloads: for instance
    /// `recovery_min_apply_delay` to `200ms` on a standby. Parameters that need a restart take
    /// effect at the next [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`]; [`TopologyError::Client`] if the server refuses the
    /// parameter or the value.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), TopologyError> {
        const OPERATION: &str = "set a parameter";
        let loaded: String = session::value(self.server(), OPERATION, CONF_LOAD_TIME).await?;
        // Not the dot of a name such as `auto_explain.log_min_duration`.
        let name = name.replace('"', "\"\"").replace('.', "\".\"");
        let statement = format!("ALTER SYSTEM SET \"{name}\" = {}", quoted(value));
        session::execute(self.server(), OPERATION, statement).await?;
        let _: bool = session::value(self.server(), OPERATION, "SELECT pg_reload_conf()").await?;
        let changed = format!("SELECT ({CONF_LOAD_TIME}) <> {}", quoted(&loaded));
        until(self.server(), "reloaded", &changed).await
    }

    /// Whether it is a standby, or recovering from a crash, rather than a primary.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`], [`TopologyError::Client`], or [`TopologyError::Timeout`]
    /// if it does not answer within 30 s.
    pub async fn is_in_recovery(&self) -> Result<bool, TopologyError> {
        value(self.server(), "ask for its role", "SELECT pg_is_in_recovery()").await
    }
}

const CONF_LOAD_TIME: &str = "SELECT pg_conf_load_time()::text";
