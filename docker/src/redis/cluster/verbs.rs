//! Failovers and moving slots.

use std::ops::RangeInclusive;

use redis::cmd;

use super::topology::{RedisClusterTopology, cluster, id, nodes, until_synchronised};
use crate::{
    RedisNode, TopologyError,
    redis::session::{answer, says, until},
};

/// How a replica takes over from its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// `CLUSTER FAILOVER`: the primary stops taking writes and hands over all it has. Nothing is
    /// lost.
    Coordinated,
    /// `CLUSTER FAILOVER TAKEOVER`: the replica takes over with what it has, whatever the others
    /// say. What it did not receive is lost.
    Alone,
}

/// How many keys move in one step.
const BATCH: usize = 100;

/// How long one step may take, in ms.
const MIGRATE_LIMIT: u32 = 10_000;

impl RedisClusterTopology {
    /// Makes a replica the primary of its shard and waits until all running nodes know it, and until
    /// those of them that follow it now are synchronised.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`]; [`TopologyError::Client`] if it is no replica, or its primary
    /// does not answer a coordinated takeover; [`TopologyError::Timeout`] after 30 s.
    pub async fn failover(&self, to: &RedisNode, how: Takeover) -> Result<(), TopologyError> {
        let command = match how {
            Takeover::Coordinated => cluster(&["FAILOVER"]),
            Takeover::Alone => cluster(&["FAILOVER", "TAKEOVER"]),
        };
        let () = answer(to.server(), "let it take over", &command).await?;
        until(to.server(), "promoted", |info| says(info, "role:master")).await?;
        let new = id(to).await?;
        self.until_all("seeing the new primary", |seen| {
            seen.iter().any(|node| node.id == new && node.follows.is_none() && !node.slots.is_empty())
        })
        .await?;
        for node in self.nodes().filter(|node| node.is_running()) {
            let seen = nodes(node.server()).await?;
            if seen.iter().any(|seen| seen.is_myself && seen.follows.as_ref() == Some(&new)) {
                until_synchronised(node).await?;
            }
        }
        Ok(())
    }

    /// Starts a node that was killed or stopped, and waits until it has learnt its role and, as a
    /// replica, is synchronised. Writes that it alone had, as a former primary, are lost.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Exited`], [`TopologyError::Client`]; [`TopologyError::Timeout`] after 30 s.
    pub async fn rejoin(&self, node: &RedisNode) -> Result<(), TopologyError> {
        node.server().start().await?;
        until_synchronised(node).await
    }

    /// Moves slots with their keys from one primary to another, and waits until all running nodes
    /// know it.
    ///
    /// # Errors
    ///
    /// Those of the steps [`open`](Self::open_slots), [`move_keys`](Self::move_keys) and
    /// [`close`](Self::close_slots).
    pub async fn migrate(
        &self,
        slots: RangeInclusive<u16>,
        from: &RedisNode,
        to: &RedisNode,
    ) -> Result<(), TopologyError> {
        self.open_slots(slots.clone(), from, to).await?;
        self.move_keys(slots.clone(), from, to).await?;
        self.close_slots(slots, from, to).await
    }

    /// Begins to move slots: the old owner redirects requests for keys that it has not.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`]; [`TopologyError::Client`] if a node is no primary or does not
    /// own a slot.
    pub async fn open_slots(
        &self,
        slots: RangeInclusive<u16>,
        from: &RedisNode,
        to: &RedisNode,
    ) -> Result<(), TopologyError> {
        let (source, target) = (id(from).await?, id(to).await?);
        for slot in slots {
            let slot = slot.to_string();
            let importing = cluster(&["SETSLOT", &slot, "IMPORTING", &source]);
            let () = answer(to.server(), "open a slot", &importing).await?;
            let migrating = cluster(&["SETSLOT", &slot, "MIGRATING", &target]);
            let () = answer(from.server(), "open a slot", &migrating).await?;
        }
        Ok(())
    }

    /// Moves the keys that open slots hold now (`MIGRATE`).
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`], [`TopologyError::Client`].
    pub async fn move_keys(
        &self,
        slots: RangeInclusive<u16>,
        from: &RedisNode,
        to: &RedisNode,
    ) -> Result<(), TopologyError> {
        for slot in slots {
            loop {
                let ask = cluster(&["GETKEYSINSLOT", &slot.to_string(), &BATCH.to_string()]);
                let keys: Vec<Vec<u8>> = answer(from.server(), "list a slot's keys", &ask).await?;
                if keys.is_empty() {
                    break;
                }
                let mut migrate = cmd("MIGRATE");
                migrate.arg("127.0.0.1").arg(to.port()).arg("").arg(0).arg(MIGRATE_LIMIT);
                migrate.arg("KEYS").arg(keys);
                let _: String = answer(from.server(), "move keys", &migrate).await?;
            }
        }
        Ok(())
    }

    /// Ends the move: the slots belong to the new owner, and all running nodes know it.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`]; [`TopologyError::Client`] if the old owner still has keys of a
    /// slot; [`TopologyError::Timeout`] after 30 s.
    pub async fn close_slots(
        &self,
        slots: RangeInclusive<u16>,
        from: &RedisNode,
        to: &RedisNode,
    ) -> Result<(), TopologyError> {
        let target = id(to).await?;
        for slot in slots.clone() {
            let assign = cluster(&["SETSLOT", &slot.to_string(), "NODE", &target]);
            // The new owner first: from then on its claim wins.
            for node in [to, from] {
                let () = answer(node.server(), "close a slot", &assign).await?;
            }
        }
        self.until_all("seeing the new owner", |seen| {
            let owner = seen.iter().find(|node| node.id == target);
            owner.is_some_and(|owner| {
                slots.clone().all(|slot| owner.slots.iter().any(|range| range.contains(&slot)))
            })
        })
        .await
    }
}
