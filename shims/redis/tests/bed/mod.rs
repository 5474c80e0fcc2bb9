//! What the conformance suite runs on.
#![allow(clippy::expect_used)] // Helpers of tests.

use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{OnMissing, Store};
use antipode_conformance::{Bed, BedResult, Change, Fault, Node, Support};
use antipode_docker::{Member, RedisNode, RedisOptions, RedisTopology};
use antipode_redis::redis::aio::MultiplexedConnection;
use antipode_redis::redis::{AsyncCommands, Client, cmd, pipe};
use antipode_redis::{RedisStore, RedisStoreBuilder};

/// How late a reply may be on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct RedisBed {
    topology: RedisTopology,
    primary: Member,
    store: RedisStore,
}

impl RedisBed {
    fn node(&self, member: Member) -> &RedisNode {
        self.topology.node(member).expect("one of three")
    }

    fn builder(&self) -> RedisStoreBuilder {
        let builder = RedisStore::builder("posts").on_missing(OnMissing::Ignore).response_timeout(PATIENCE);
        builder.primary(client(self.node(self.primary)))
    }

    /// The store of a process that reads from these.
    fn store_over(&self, replicas: &[usize]) -> RedisStore {
        let add = |builder: RedisStoreBuilder, index: &usize| {
            builder.replica(format!("replica-{index}"), client(self.topology.replica(*index)))
        };
        replicas.iter().fold(self.builder(), add).build().expect("good names")
    }

    fn all_replicas(&self) -> RedisStore {
        let left = [0, 1].into_iter().filter(|index| {
            self.primary != Member::Replica(*index) && self.topology.replica(*index).is_running()
        });
        self.store_over(&left.collect::<Vec<_>>())
    }

    async fn raw(&self, member: Member) -> BedResult<MultiplexedConnection> {
        Ok(self.node(member).connect().await?)
    }
}

impl Bed for RedisBed {
    async fn start() -> BedResult<Self> {
        // A primary that is stopped in good order keeps its data, and its history with it.
        let options = RedisOptions::default().provider(crate::PROVIDER).setting("save", "3600 1");
        let topology = RedisTopology::start(options).await?;
        let placeholder = RedisStore::builder("posts").primary(client(topology.primary())).build()?;
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

    fn store_forgetting(&self, after: Duration) -> Option<Arc<dyn Store>> {
        Some(Arc::new(self.builder().branch_retention(after).build().expect("good names")))
    }

    async fn write(&self, change: Change<'_>) -> BedResult {
        let mut posts = self.store.connection().await?;
        match change {
            Change::Put(key, value) => posts.set(key, value).await,
            Change::Append(key, suffix) => posts.append(key, suffix).await,
            Change::Delete(key) => posts.del(key).await,
        }
        .map_err(Into::into)
    }

    async fn transaction(&self, changes: &[Change<'_>]) -> BedResult<Support> {
        let mut transaction = pipe();
        transaction.atomic();
        for change in changes {
            match change {
                Change::Put(key, value) => transaction.set(*key, *value),
                Change::Append(key, suffix) => transaction.append(*key, *suffix),
                Change::Delete(key) => transaction.del(*key),
            };
        }
        let () = transaction.query_async(&mut self.store.connection().await?).await?;
        Ok(Support::Done)
    }

    async fn read(&self, key: &str) -> BedResult<Option<String>> {
        Ok(self.store.read_connection().await?.get(key).await?)
    }

    async fn peek(&self, node: Node, key: &str) -> BedResult<Option<String>> {
        let member = match node {
            Node::Primary => self.primary,
            Node::Replica(index) => Member::Replica(index),
        };
        Ok(self.raw(member).await?.get(key).await?)
    }

    async fn spoil_lineage(&self, key: &str) -> BedResult<Support> {
        let mut raw = self.raw(self.primary).await?;
        let () = raw.set(format!("antipode:{{{key}}}"), "posts/0/1/0=not-a-position ").await?;
        Ok(Support::Done)
    }

    async fn fault(&mut self, fault: Fault) -> BedResult<Support> {
        match fault {
            Fault::Cut { replica } => self.topology.link(replica).hang(),
            Fault::Delay { replica, by } => self.topology.link(replica).set_delay_to_client(by),
            Fault::Freeze { replica } => self.topology.replica(replica).pause().await?,
            Fault::Stop { replica } => self.topology.replica(replica).stop().await?,
            Fault::StopPrimary => self.node(self.primary).stop().await?,
            Fault::Failover { to } => {
                self.node(self.primary).kill().await?;
                for index in [0, 1] {
                    // What the links hold back is lost with the primary.
                    self.topology.link(index).cut();
                }
                self.topology.promote(to).await?;
                self.primary = Member::Replica(to);
                for index in [0, 1] {
                    self.topology.link(index).heal();
                }
                let other = 1 - to;
                if self.topology.replica(other).is_running() {
                    self.topology.follow(other, Member::Replica(to)).await?;
                }
                self.store = self.all_replicas();
            }
            _ => return Ok(Support::Unsupported),
        }
        Ok(Support::Done)
    }

    async fn heal(&mut self) -> BedResult {
        for index in [0, 1] {
            let (replica, link) = (self.topology.replica(index), self.topology.link(index));
            link.heal();
            link.set_delay(Duration::ZERO);
            if replica.is_running() {
                replica.resume().await?;
            } else if self.primary == Member::Primary {
                replica.restart().await?;
            }
        }
        if self.primary == Member::Primary && !self.node(Member::Primary).is_running() {
            self.node(Member::Primary).restart().await?;
            self.store = self.all_replicas();
        }
        let pong: String = cmd("PING").query_async(&mut self.raw(self.primary).await?).await?;
        assert_eq!(pong, "PONG");
        Ok(())
    }
}

fn client(node: &RedisNode) -> Client {
    Client::open(node.url()).expect("an address")
}
