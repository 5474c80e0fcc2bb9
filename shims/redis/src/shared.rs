//! What all shims of a store share.

use std::sync::{Arc, OnceLock};

use antipode_barrier::{OnMissing, Recorder};
use antipode_lineage::StoreName;
use redis::aio::ConnectionLike;
use redis::{ErrorKind, RedisError, RedisResult, Value, cmd};

use crate::commands::CommandTable;
use crate::expiring::Expiring;
use crate::replication::Sharding;

/// A store as its shims know it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) recorder: Recorder,
    pub(crate) sharding: Sharding,
    pub(crate) expiring: Expiring,
    commands: OnceLock<Arc<CommandTable>>,
}

impl Shared {
    pub(crate) fn new(store: StoreName, on_missing: OnMissing, sharding: Sharding) -> Arc<Self> {
        let recorder = Recorder::new(store, on_missing);
        Arc::new(Self { recorder, sharding, expiring: Expiring::default(), commands: OnceLock::new() })
    }

    pub(crate) fn store(&self) -> StoreName {
        self.recorder.store()
    }

    /// The server's commands, asked for once: when the store is registered, else at the first use of
    /// a shim, by each connection for itself, so that none waits for another's.
    pub(crate) async fn commands(
        &self,
        connection: &mut (impl ConnectionLike + Send),
    ) -> RedisResult<Arc<CommandTable>> {
        if let Some(table) = self.commands.get() {
            return Ok(Arc::clone(table));
        }
        self.learn(connection.req_packed_command(&cmd("COMMAND")).await?)
    }

    /// Takes in the answer to `COMMAND`.
    pub(crate) fn learn(&self, commands: Value) -> RedisResult<Arc<CommandTable>> {
        let table = CommandTable::parse(&commands.extract_error()?).ok_or_else(|| {
            let detail = format!("store {}: Redis 7.0 or later is needed", self.store());
            RedisError::from((ErrorKind::UnexpectedReturnType, "COMMAND lists no commands", detail))
        })?;
        Ok(Arc::clone(self.commands.get_or_init(|| Arc::new(table))))
    }
}
