//! One server of a store: the user's client, and how far the server has come.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use antipode_barrier::{BoxFuture, Frontier, Frontiers, Line, ProbeError, Replica, Shards, Target};
use antipode_lineage::{Epoch, ReplicaName, StoreName};
use mongodb::Client;
use mongodb::bson::doc;
use mongodb::bson::oid::ObjectId;
use mongodb::options::SelectionCriteria;

use crate::error::Error;
use crate::hello::{Hello, Reach, Role};
use crate::history::{History, Standing};
use crate::hold::{Clock, Hold};
use crate::oplog::Oplog;
use crate::position::OpTime;

/// A primary or a replica of a store.
pub(crate) struct Server {
    pub(crate) store: StoreName,
    pub(crate) name: ReplicaName,
    pub(crate) client: Client,
    reach: Reach,
    history: Arc<History>,
    seen: Mutex<Seen>,
    line: Line<Sample>,
    /// Only of a replica: reads at a primary see its writes at once.
    hold: Option<Hold>,
}

/// What a server last said.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    /// Its start, and the id of the set that it was in then.
    identity: Option<(Option<ObjectId>, u64)>,
    epoch: Option<Epoch>,
}

/// Where a server stood when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) set: u64,
    pub(crate) applied: OpTime,
    pub(crate) committed: Option<OpTime>,
}

impl Sample {
    #[cfg(test)]
    pub(crate) fn at(set: u64, applied: OpTime) -> Self {
        Self { set, applied, committed: None }
    }

    /// The epoch of what was applied then.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch { history: self.set, term: self.applied.term }
    }
}

impl Server {
    pub(crate) fn new(
        store: StoreName,
        name: ReplicaName,
        client: Client,
        reach: Reach,
        history: Arc<History>,
        clock: &Arc<Clock>,
    ) -> Self {
        let hold = (reach == Reach::Direct).then(|| Hold::new(Arc::clone(clock)));
        Self { store, name, client, reach, history, seen: Mutex::default(), line: Line::new(), hold }
    }

    /// The epoch of what the server had applied when it was last asked, however long ago.
    pub(crate) fn last_epoch(&self) -> Option<Epoch> {
        self.seen().epoch
    }

    /// Asks the server where it stands.
    pub(crate) async fn sample(&self) -> Result<Sample, Error> {
        let hello = self.hello().await?;
        match (self.reach, hello.role) {
            (_, Role::Primary) | (Reach::Direct, Role::Secondary) => {}
            (_, Role::Unready) => {
                return Err(self.problem("is starting, recovering or rolling back: wait for it"));
            }
            (_, Role::Alone) => return Err(self.problem("is in no replica set: add it to the store's")),
            (_, Role::Router) => return Err(self.problem("is a mongos: sharded clusters are not supported")),
            (_, Role::Arbiter) => return Err(self.problem("is an arbiter, which has no data: name another")),
            (Reach::Primary, Role::Secondary) => {
                return Err(self.problem("is no primary any more: give `.primary(..)` a client of the set"));
            }
        }
        let applied = hello.applied.ok_or_else(|| self.problem("has no log yet: wait for it"))?;
        let set = self.set_of(&hello).await?;
        self.update(|seen| seen.epoch = Some(Epoch { history: set, term: applied.term }));
        Ok(Sample { set, applied, committed: hello.committed })
    }

    /// The same, by a question that others may share. It is sent after this call.
    pub(crate) async fn sample_shared(self: &Arc<Self>) -> Option<Sample> {
        // The line must not keep alive what it belongs to.
        let server = Arc::downgrade(self);
        self.line.ask(async move { server.upgrade()?.sample().await.ok() }).await
    }

    /// The only servers that its operations may go to, whatever the user prefers: another one may lag
    /// behind what a barrier found here.
    pub(crate) fn criteria(&self) -> SelectionCriteria {
        self.reach.criteria()
    }

    pub(crate) async fn hello(&self) -> Result<Hello, Error> {
        Hello::ask(&self.client, self.reach).await.map_err(|source| self.driver(source))
    }

    /// How far it has come in the settled log.
    pub(crate) async fn frontier(&self) -> Result<Frontier, Error> {
        let Sample { set, applied, committed } = self.sample().await?;
        match self.history.standing(set, applied) {
            Standing::Within(frontier) => return Ok(frontier),
            Standing::Astray => {
                return Err(self.problem("has writes that an election cut off: wait until it rolls back"));
            }
            Standing::Unknown(known) => {
                if committed.is_none_or(|committed| committed.term != applied.term) {
                    return Err(
                        self.problem("follows an election that no majority has confirmed: wait for it")
                    );
                }
                let ends = Oplog::new(&self.client, self.reach).ends(applied, known).await;
                self.history.learn(set, applied.term, &ends.map_err(|source| self.driver(source))?);
            }
        }
        match self.history.standing(set, applied) {
            Standing::Within(frontier) => Ok(frontier),
            _ => Err(self.problem("was overtaken by another election: ask again")),
        }
    }

    /// The id of the set that it is in: half of the one that the set got when it was initiated.
    pub(crate) async fn set_of(&self, hello: &Hello) -> Result<u64, Error> {
        if let Some((process, set)) = self.seen().identity
            && process == hello.process
        {
            return Ok(set);
        }
        let ask = doc! { "replSetGetConfig": 1 };
        let admin = self.client.database("admin");
        let reply = admin.run_command(ask).selection_criteria(self.reach.criteria()).await;
        let reply = reply.map_err(|source| self.driver(source))?;
        let id = reply.get_document("config").and_then(|config| config.get_document("settings"));
        let id = id.and_then(|settings| settings.get_object_id("replicaSetId"));
        let [_, _, _, _, id @ ..] = id
            .map_err(|_| self.problem("does not name the id of its set: is it MongoDB 6.0 or later?"))?
            .bytes();
        let set = u64::from_be_bytes(id);
        self.update(|seen| seen.identity = Some((hello.process, set)));
        Ok(set)
    }

    fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn problem(&self, problem: &'static str) -> Error {
        Error::Server { store: self.store, replica: self.name, problem }
    }

    fn driver(&self, source: mongodb::error::Error) -> Error {
        Error::Driver { store: self.store, source }
    }
}

impl Replica for Server {
    fn name(&self) -> ReplicaName {
        self.name
    }

    fn probe<'a>(&'a self, _shards: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        Box::pin(async { Ok(self.frontier().await.map_err(ProbeError::new)?.into()) })
    }

    fn wait<'a>(&'a self, until: Target) -> Option<BoxFuture<'a, Result<Frontiers, ProbeError>>> {
        let hold = self.hold.as_ref()?;
        Some(Box::pin(async move {
            hold.until(&self.client, until.position).await;
            Ok(self.frontier().await.map_err(ProbeError::new)?.into())
        }))
    }
}

impl fmt::Debug for Server {
    /// Without the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("store", &self.store).field("name", &self.name).finish_non_exhaustive()
    }
}
