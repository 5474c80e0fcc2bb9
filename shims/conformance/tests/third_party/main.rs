//! A store that this project does not know, put through the conformance suite.
#![allow(clippy::expect_used, clippy::indexing_slicing)] // Helpers of tests.
#![allow(unreachable_pub)] // The store is written as the crate that it would be.

mod file_log;
mod file_store;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{OnMissing, Recorder, Store};
use antipode_conformance::{Bed, BedResult, Change, Fault, Node, Support};
use antipode_lineage::{ReplicaName, StoreName};
use tempfile::TempDir;

use crate::file_log::{Following, Server};
use crate::file_store::{FileReplica, FileShim, FileStore};

const HISTORY: u64 = 42;
const AT_ONCE: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    antipode_conformance::run::<FileBed>()
}

/// The first leader, and behind it replica 0 and 1.
struct FileBed {
    servers: [Arc<Server>; 3],
    /// All but those that failed for good.
    running: Vec<usize>,
    leader: usize,
    /// By server, while it follows.
    following: [Option<Following>; 3],
    _logs: TempDir,
}

impl FileBed {
    fn replica(&self, server: usize) -> Arc<FileReplica> {
        let server = Arc::clone(&self.servers[server]);
        Arc::new(FileReplica { name: ReplicaName::parse(&server.name).expect("a name"), server })
    }

    fn reading(&self, servers: &[usize]) -> FileStore {
        let name = StoreName::parse("files").expect("a name");
        let read_from = servers.iter().map(|server| self.replica(*server)).collect();
        FileStore { name, leader: self.replica(self.leader), read_from }
    }

    fn shim(&self) -> FileShim {
        let store = self.registered();
        FileShim { recorder: Recorder::new(store.name, OnMissing::Ignore), store }
    }

    fn registered(&self) -> FileStore {
        let followers = self.followers();
        self.reading(if followers.is_empty() { std::slice::from_ref(&self.leader) } else { &followers })
    }

    fn followers(&self) -> Vec<usize> {
        self.running.iter().copied().filter(|server| *server != self.leader).collect()
    }

    fn follow(&mut self, server: usize, every: Duration) -> BedResult {
        self.following[server] = Some(self.servers[server].follow(&self.servers[self.leader], every)?);
        Ok(())
    }
}

impl Bed for FileBed {
    async fn start() -> BedResult<Self> {
        let logs = tempfile::tempdir()?;
        let servers = ["first", "second", "third"].map(|name| Server::new(name, logs.path().join(name)));
        let mut bed =
            Self { servers, running: vec![0, 1, 2], leader: 0, following: [None, None, None], _logs: logs };
        bed.heal().await?;
        bed.servers[0].lead(HISTORY)?;
        Ok(bed)
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.registered())
    }

    fn store_reading(&self, replica: usize) -> Arc<dyn Store> {
        Arc::new(self.reading(&[replica + 1]))
    }

    async fn write(&self, change: Change<'_>) -> BedResult {
        match change {
            Change::Put(key, value) => self.shim().put(key, value).await?,
            Change::Append(key, suffix) => self.shim().append(key, suffix).await?,
            Change::Delete(key) => self.shim().delete(key).await?,
        }
        Ok(())
    }

    async fn read(&self, key: &str) -> BedResult<Option<String>> {
        Ok(self.shim().get(key).await?)
    }

    async fn peek(&self, node: Node, key: &str) -> BedResult<Option<String>> {
        let server = match node {
            Node::Primary => self.leader,
            Node::Replica(replica) => replica + 1,
        };
        let (noted, _) = self.servers[server].get(key)?;
        Ok(noted.map(|(value, _)| value))
    }

    async fn spoil_lineage(&self, key: &str) -> BedResult<Support> {
        let spoil = |old: Option<&(String, String)>| old.map(|(value, _)| (value.clone(), "?".to_owned()));
        self.servers[self.leader].update(key, spoil)?;
        Ok(Support::Done)
    }

    async fn fault(&mut self, fault: Fault) -> BedResult<Support> {
        match fault {
            Fault::Cut { replica } => self.following[replica + 1] = None,
            Fault::Delay { replica, by } => self.follow(replica + 1, by)?,
            Fault::Stop { replica } => {
                self.following[replica + 1] = None;
                self.servers[replica + 1].close();
            }
            Fault::StopPrimary => self.servers[self.leader].close(),
            Fault::Failover { to } => {
                self.servers[self.leader].close();
                self.running.retain(|server| *server != self.leader);
                self.leader = to + 1;
                self.following[self.leader] = None;
                self.servers[self.leader].lead(HISTORY)?;
                self.heal().await?;
            }
            // Servers that are part of this process cannot stand still.
            _ => return Ok(Support::Unsupported),
        }
        Ok(Support::Done)
    }

    async fn heal(&mut self) -> BedResult {
        for server in &self.running {
            self.servers[*server].open()?;
        }
        for server in self.followers() {
            self.follow(server, AT_ONCE)?;
        }
        Ok(())
    }
}
