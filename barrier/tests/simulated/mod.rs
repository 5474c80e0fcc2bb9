//! A replica whose answers its test sets, under tokio's paused clock.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses a part of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antipode_barrier::{BoxFuture, Frontier, Frontiers, ProbeError, Registry, Replica, Shards, Store};
use antipode_lineage::{Epoch, Lineage, Position, ReplicaName, Shard, StoreName, WriteId};

pub const EPOCH: Epoch = Epoch { history: 1, term: 1 };
/// What a probe takes.
pub const ROUND_TRIP: Duration = Duration::from_micros(500);

pub struct SimReplica {
    name: ReplicaName,
    answer: Mutex<Answer>,
    pub probes: AtomicU64,
}

#[derive(Clone)]
pub enum Answer {
    Frontier(Frontier),
    Refused,
    Silence,
}

impl SimReplica {
    pub fn new(name: &str, position: u64) -> Arc<Self> {
        let answer = Mutex::new(Answer::Frontier(Frontier::new(EPOCH, Position(position))));
        Arc::new(Self { name: name.parse().unwrap(), answer, probes: AtomicU64::new(0) })
    }

    pub fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn apply(&self, position: u64) {
        self.set(Answer::Frontier(Frontier::new(EPOCH, Position(position))));
    }

    pub fn probes(&self) -> u64 {
        self.probes.load(Ordering::Relaxed)
    }
}

impl Replica for SimReplica {
    fn name(&self) -> ReplicaName {
        self.name
    }

    fn probe<'a>(&'a self, _: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        Box::pin(async {
            self.probes.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(ROUND_TRIP / 2).await;
            let answer = self.answer.lock().unwrap().clone();
            tokio::time::sleep(ROUND_TRIP / 2).await;
            match answer {
                Answer::Frontier(frontier) => Ok(frontier.into()),
                Answer::Refused => Err(ProbeError::new("connection refused")),
                Answer::Silence => std::future::pending().await,
            }
        })
    }
}

#[derive(Clone)]
pub struct SimStore {
    pub name: StoreName,
    pub primary: Option<Arc<SimReplica>>,
    pub replicas: Vec<Arc<SimReplica>>,
}

impl SimStore {
    /// A primary at 100, and replicas at these positions.
    pub fn new(name: &str, replicas: &[u64]) -> Self {
        let names = ["r0", "r1", "r2"];
        let replicas = names.iter().zip(replicas).map(|(name, position)| SimReplica::new(name, *position));
        Self {
            name: name.parse().unwrap(),
            primary: Some(SimReplica::new("primary", 100)),
            replicas: replicas.collect(),
        }
    }

    pub fn primary(&self) -> &SimReplica {
        self.primary.as_ref().unwrap()
    }

    pub fn at(&self, position: u64) -> WriteId {
        WriteId { store: self.name, shard: Shard::ONLY, epoch: EPOCH, position: Position(position) }
    }

    pub fn lineage(&self, position: u64) -> Lineage {
        Lineage::from(self.at(position))
    }
}

impl Store for SimStore {
    fn name(&self) -> StoreName {
        self.name
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        self.primary.clone().map(|primary| primary as Arc<dyn Replica>)
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        self.replicas.iter().map(|replica| Arc::clone(replica) as Arc<dyn Replica>).collect()
    }
}

pub async fn registry(stores: impl IntoIterator<Item = &SimStore>) -> Registry {
    let builder = stores.into_iter().fold(Registry::builder(), |builder, store| builder.store(store.clone()));
    builder.build().await.unwrap()
}
