//! Recording what a request did into a lineage, whatever becomes of the request.

use antipode_barrier::MissingLineage;
use antipode_lineage::{LineageScope, StoreName, WriteId};
use redis::{ErrorKind, RedisError, RedisResult};

use crate::batch::Outcome;
use crate::replication::{Role, Sharding};
use crate::treatment::Effect;

/// A request under way. Dropped before its end, because its future was, it leaves an unplaced write:
/// the server may have executed it.
#[derive(Debug)]
pub(crate) struct Recording {
    store: StoreName,
    sharding: Sharding,
    scope: Option<LineageScope>,
    /// Whether it may have written what is not recorded yet.
    is_open: bool,
}

impl Recording {
    pub(crate) fn begin(store: StoreName, sharding: Sharding, scope: LineageScope, writes: bool) -> Self {
        Self { store, sharding, scope: Some(scope), is_open: writes }
    }

    /// A request that joins nothing into any lineage.
    pub(crate) fn witness_only(store: StoreName, sharding: Sharding) -> Self {
        Self { store, sharding, scope: None, is_open: false }
    }

    pub(crate) fn scope(&self) -> Option<&LineageScope> {
        self.scope.as_ref()
    }

    /// The request has ended.
    pub(crate) fn end(mut self, outcome: RedisResult<Outcome>) -> RedisResult<Outcome> {
        match &outcome {
            Ok(outcome) => {
                self.is_open = false;
                self.record(outcome);
            }
            // The server said no to all of it, in words. All other errors leave it open.
            Err(error) if error.clone().into_server_errors().is_some() => self.is_open = false,
            Err(_) => {}
        }
        outcome
    }

    fn record(&self, outcome: &Outcome) {
        let Some(scope) = &self.scope else { return };
        scope.join(&outcome.lineage);
        let placed = match (outcome.effect, outcome.replication) {
            (Effect::Nothing, _) => return,
            // It was a primary when it wrote, and is none any more: nobody knows where the write is.
            (Effect::Writes, Some(replication)) if replication.role == Role::Replica => None,
            (_, replication) => replication,
        };
        scope.add(match placed {
            Some(replication) => replication.write_id(self.store, self.sharding),
            None => WriteId::unplaced(self.store),
        });
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let (true, Some(scope)) = (self.is_open, &self.scope) {
            scope.add(WriteId::unplaced(self.store));
        }
    }
}

/// The driver's error for a command outside of any lineage.
pub(crate) fn refused_outside_of_a_lineage(missing: &MissingLineage) -> RedisError {
    (ErrorKind::Client, "a command needs a lineage", missing.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::Replication;

    const REPLICA: &str = "role:slave\r\nmaster_link_status:up\r\nslave_repl_offset:180\r\n\
        master_replid:0a4e02fd5d2b610da9417180c4dda76708277527\r\n";

    /// The primary was demoted between the write and the question for its place: the place it then
    /// gives may be of a history that the write is not part of.
    #[test]
    fn a_write_at_a_server_that_is_no_primary_any_more_is_unplaced() {
        let store: StoreName = "posts".parse().unwrap();
        for (effect, is_unplaced) in [(Effect::Writes, true), (Effect::Reads, false), (Effect::Runs, false)] {
            let scope = LineageScope::new();
            let recording = Recording::begin(store, Sharding::Single, scope.clone(), true);
            let outcome = Outcome { effect, replication: Replication::parse(REPLICA), ..Outcome::default() };
            recording.end(Ok(outcome)).unwrap();
            let lineage = scope.lineage();
            assert_eq!(lineage.writes().len(), 1);
            assert_eq!(lineage.writes()[0].is_unplaced(), is_unplaced, "{effect:?}");
        }
    }
}
