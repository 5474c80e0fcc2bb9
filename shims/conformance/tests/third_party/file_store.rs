//! The database of [`file_log`](crate::file_log), made known to Antipode.
//!
//! A position is a byte of the log, an epoch is a reign, and the lineage goes into the note beside the
//! value.

use std::io;
use std::sync::Arc;

use antipode_barrier::{
    Ancestor, BoxFuture, Frontier, Frontiers, ProbeError, Recorder, Replica, Shards, Store,
};
use antipode_lineage::{Epoch, Lineage, Position, ReplicaName, Shard, StoreName, WriteId};

use crate::file_log::{Progress, Server};

/// What is registered: who leads, and who is read from.
#[derive(Clone)]
pub struct FileStore {
    pub name: StoreName,
    pub leader: Arc<FileReplica>,
    pub read_from: Vec<Arc<FileReplica>>,
}

/// A server, and what this process calls it.
pub struct FileReplica {
    pub name: ReplicaName,
    pub server: Arc<Server>,
}

impl Store for FileStore {
    fn name(&self) -> StoreName {
        self.name
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        Some(self.leader.clone())
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        self.read_from.iter().map(|replica| Arc::clone(replica) as _).collect()
    }
}

impl Replica for FileReplica {
    fn name(&self) -> ReplicaName {
        self.name
    }

    fn probe<'a>(&'a self, _: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        let progress = self.server.progress().map_err(ProbeError::new);
        Box::pin(async move { Ok(frontier(&progress?).map(Frontiers::from).unwrap_or_default()) })
    }
}

/// Each reign ended where the next began: what lies behind that in the old one was cut off.
fn frontier(progress: &Progress) -> Option<Frontier> {
    let epoch = |term| Epoch { history: progress.history, term };
    let ends = progress.reigns.iter().zip(progress.reigns.iter().skip(1));
    let ancestry: Vec<Ancestor> =
        ends.map(|((reign, _), (_, end))| Ancestor { epoch: epoch(*reign), end: Position(*end) }).collect();
    let (reign, _) = progress.reigns.last()?;
    Some(Frontier::new(epoch(*reign), Position(progress.bytes)).with_ancestry(ancestry))
}

/// Reads and writes that carry lineage.
pub struct FileShim {
    pub store: FileStore,
    pub recorder: Recorder,
}

impl FileShim {
    /// Sets a value; the lineage beside it is replaced.
    pub async fn put(&self, key: &str, value: &str) -> io::Result<()> {
        self.write(key, |_, lineage| Some((value.to_owned(), lineage.clone()))).await
    }

    /// Adds to a value; the lineage beside it is joined, for the old part stays readable.
    pub async fn append(&self, key: &str, suffix: &str) -> io::Result<()> {
        self.write(key, |old, lineage| {
            let (value, mut joined) = old.unwrap_or_default();
            joined.join(lineage);
            Some((value + suffix, joined))
        })
        .await
    }

    pub async fn delete(&self, key: &str) -> io::Result<()> {
        self.write(key, |_, _| None).await
    }

    /// Reads along the route; joins the lineage beside the value, and how far the server is, into the
    /// current lineage.
    pub async fn get(&self, key: &str) -> io::Result<Option<String>> {
        let scope = self.recorder.scope().map_err(io::Error::other)?;
        let route = scope.as_ref().and_then(|scope| scope.route(self.store.name));
        let known = || self.store.read_from.iter().chain([&self.store.leader]);
        let replica = known().find(|replica| route.is_none_or(|route| route == replica.name));
        let replica =
            replica.ok_or_else(|| io::Error::other(format!("{}: unknown route", self.store.name)))?;
        let (noted, progress) = replica.server.get(key)?;
        if let Some(scope) = scope {
            noted.iter().for_each(|(_, note)| scope.join(&parse(note)));
            self.place(&progress).into_iter().for_each(|witness| scope.add(witness));
        }
        Ok(noted.map(|(value, _)| value))
    }

    async fn write(
        &self,
        key: &str,
        new: impl FnOnce(Option<(String, Lineage)>, &Lineage) -> Option<(String, Lineage)>,
    ) -> io::Result<()> {
        let scope = self.recorder.scope().map_err(io::Error::other)?;
        let lineage = match &scope {
            Some(scope) => scope.settled().await,
            None => Lineage::new(),
        };
        let written = self.store.leader.server.update(key, |old| {
            let old = old.map(|(value, note)| (value.clone(), parse(note)));
            new(old, &lineage).map(|(value, lineage)| (value, note(&lineage)))
        });
        // A write that failed may have happened nevertheless.
        let place = written.as_ref().ok().and_then(|progress| self.place(progress));
        if let Some(scope) = scope {
            scope.add(place.unwrap_or_else(|| WriteId::unplaced(self.store.name)));
        }
        written.map(|_| ())
    }

    fn place(&self, progress: &Progress) -> Option<WriteId> {
        let Frontier { epoch, position, .. } = frontier(progress)?;
        Some(WriteId { store: self.store.name, shard: Shard::ONLY, epoch, position })
    }
}

fn note(lineage: &Lineage) -> String {
    lineage.to_fields().map(|(field, value)| format!("{field}={value} ")).collect()
}

/// What cannot be read stands for everything.
fn parse(note: &str) -> Lineage {
    let fields = note.split_whitespace().map(|field| field.split_once('=').unwrap_or((field, "")));
    Lineage::from_fields(fields).unwrap_or_else(|_| Lineage::everything())
}
