//! The Redis Cluster store, put through the conformance suite. Replica 0 and 1 are the first and the
//! second replica of every shard, and every fault is done to all shards.
#![allow(clippy::expect_used)] // Helpers of tests.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{OnMissing, Store};
use antipode_conformance::{Bed, BedResult, Change, Fault, Node, Support};
use antipode_docker::{Member, RedisClusterOptions, RedisClusterTopology, RedisNode, Takeover};
use antipode_redis::redis::aio::MultiplexedConnection;
use antipode_redis::redis::{AsyncCommands, Client, cmd, pipe};
use antipode_redis::{RedisClusterStore, RedisStore};

fn main() -> ExitCode {
    antipode_conformance::run::<ClusterBed>()
}

struct ClusterBed {
    topology: RedisClusterTopology,
    primary: Member,
    store: RedisClusterStore,
}

impl ClusterBed {
    fn shards(&self) -> impl Iterator<Item = usize> {
        0..self.topology.shards()
    }

    /// The store of a process that reads from these.
    fn store_over(&self, replicas: &[usize]) -> RedisClusterStore {
        let builder = RedisStore::cluster("posts").on_missing(OnMissing::Ignore);
        let builder = self.topology.nodes().fold(builder, |builder, node| builder.node(client(node)));
        let region = |builder: antipode_redis::RedisClusterStoreBuilder, index: &usize| {
            let nodes = self.shards().map(|shard| client(self.topology.replica(shard, *index)));
            builder.region(format!("replica-{index}"), nodes)
        };
        replicas.iter().fold(builder, region).build().expect("good names")
    }

    fn all_replicas(&self) -> RedisClusterStore {
        let left = [0, 1].into_iter().filter(|index| {
            self.primary != Member::Replica(*index) && self.topology.replica(0, *index).is_running()
        });
        self.store_over(&left.collect::<Vec<_>>())
    }

    /// A connection to the server of this role that has the key's slot.
    async fn raw(&self, member: Member, key: &str) -> BedResult<MultiplexedConnection> {
        for shard in self.shards() {
            let node = self.topology.node(shard, member);
            let mut connection = node.connect().await?;
            let mut ask = pipe();
            ask.add_command(cmd("READONLY")).ignore().exists(key);
            let found: Result<(i64,), _> = ask.query_async(&mut connection).await;
            match found {
                Ok(_) => return Ok(connection),
                Err(error) if error.to_string().contains("Moved") => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(format!("nobody has the slot of {key}").into())
    }

    /// Waits until the primaries take writes.
    async fn until_ready(&self) -> BedResult {
        for shard in self.shards() {
            let node = self.topology.node(shard, self.primary);
            loop {
                let mut connection = node.connect().await?;
                let info: String = cmd("CLUSTER").arg("INFO").query_async(&mut connection).await?;
                if info.contains("cluster_state:ok") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}

impl Bed for ClusterBed {
    async fn start() -> BedResult<Self> {
        // A primary that is stopped in good order keeps its data, and its history with it.
        let options = RedisClusterOptions::default().replicas(2).setting("save", "3600 1");
        let topology = RedisClusterTopology::start(options).await?;
        let placeholder = RedisStore::cluster("posts").node(client(topology.primary(0))).build()?;
        let mut bed = Self { topology, primary: Member::Primary, store: placeholder };
        bed.store = bed.all_replicas();
        Ok(bed)
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    fn store_reading(&self, replica: usize) -> Arc<dyn Store> {
        Arc::new(self.store_over(&[replica]))
    }

    async fn write(&self, change: Change<'_>) -> BedResult {
        let mut posts = self.store.connection().await?;
        let key = &slotted(change.key());
        match change {
            Change::Put(_, value) => posts.set(key, value).await,
            Change::Append(_, suffix) => posts.append(key, suffix).await,
            Change::Delete(_) => posts.del(key).await,
        }
        .map_err(Into::into)
    }

    async fn transaction(&self, changes: &[Change<'_>]) -> BedResult<Support> {
        let mut transaction = pipe();
        transaction.atomic();
        for change in changes {
            let key = &slotted(change.key());
            match change {
                Change::Put(_, value) => transaction.set(key, *value),
                Change::Append(_, suffix) => transaction.append(key, *suffix),
                Change::Delete(_) => transaction.del(key),
            };
        }
        let () = transaction.query_async(&mut self.store.connection().await?).await?;
        Ok(Support::Done)
    }

    async fn read(&self, key: &str) -> BedResult<Option<String>> {
        Ok(self.store.read_connection().await?.get(slotted(key)).await?)
    }

    async fn peek(&self, node: Node, key: &str) -> BedResult<Option<String>> {
        let member = match node {
            Node::Primary => self.primary,
            Node::Replica(index) => Member::Replica(index),
        };
        let key = &slotted(key);
        Ok(self.raw(member, key).await?.get(key).await?)
    }

    async fn spoil_lineage(&self, key: &str) -> BedResult<Support> {
        let mut raw = self.raw(self.primary, key).await?;
        let () = raw.set(format!("antipode:{{{key}}}"), "posts/0/1/0=not-a-position ").await?;
        Ok(Support::Done)
    }

    async fn fault(&mut self, fault: Fault) -> BedResult<Support> {
        for shard in self.shards() {
            let link = |replica| self.topology.link(shard, Member::Replica(replica));
            match fault {
                Fault::Cut { replica } => link(replica).hang(),
                Fault::Delay { replica, by } => link(replica).set_delay_to_client(by),
                Fault::Freeze { replica } => self.topology.replica(shard, replica).pause().await?,
                Fault::Stop { replica } => self.topology.replica(shard, replica).stop().await?,
                Fault::StopPrimary => self.topology.node(shard, self.primary).stop().await?,
                Fault::Failover { .. } => self.topology.node(shard, self.primary).kill().await?,
                _ => return Ok(Support::Unsupported),
            }
        }
        if let Fault::Failover { to } = fault {
            let replicas =
                || self.shards().flat_map(|shard| [0, 1].map(|replica| (shard, Member::Replica(replica))));
            // What the links hold back is lost with the primaries.
            replicas().for_each(|(shard, member)| self.topology.link(shard, member).cut());
            replicas().for_each(|(shard, member)| self.topology.link(shard, member).heal());
            for shard in self.shards() {
                self.topology.failover(self.topology.replica(shard, to), Takeover::Alone).await?;
            }
            self.primary = Member::Replica(to);
            self.until_ready().await?;
            self.store = self.all_replicas();
        }
        Ok(Support::Done)
    }

    async fn heal(&mut self) -> BedResult {
        let mut restarted = false;
        for shard in self.shards() {
            for index in [0, 1] {
                let replica = self.topology.replica(shard, index);
                let link = self.topology.link(shard, Member::Replica(index));
                link.heal();
                link.set_delay(Duration::ZERO);
                if replica.is_running() {
                    replica.resume().await?;
                } else if self.primary == Member::Primary {
                    replica.restart().await?;
                }
            }
            let primary: &RedisNode = self.topology.node(shard, self.primary);
            if !primary.is_running() {
                primary.restart().await?;
                restarted = true;
            }
        }
        self.until_ready().await?;
        if restarted {
            self.store = self.all_replicas();
        }
        Ok(())
    }
}

/// A transaction's keys must be in one slot; all others are where their names put them.
fn slotted(key: &str) -> String {
    match key.strip_prefix("a_transaction_") {
        Some(rest) => format!("{{a_transaction}}_{rest}"),
        None => key.to_owned(),
    }
}

fn client(node: &RedisNode) -> Client {
    Client::open(node.url()).expect("an address")
}
