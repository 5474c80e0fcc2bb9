//! Where a record stands, learnt beside the request.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use antipode_barrier::{Line, Shards};
use antipode_lineage::{Epoch, Lineage, LineageScope, Position, Shard, WriteId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::cluster::{Cluster, End};
use crate::logs::Place;
use crate::sending::Landing;

/// After so long without a look at the logs, a producer looks before it sends: a leader that changed long
/// before the sending would else seem to have changed during it.
const IDLE: Duration = Duration::from_secs(5);

/// How long a sending waits for that look at most.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long the look after the acknowledgement may take. Beyond it the write stays unplaced.
const LIMIT: Duration = Duration::from_secs(5);

/// Between two looks, if one failed.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a look at a log tells the epoch of records that are read. For so long after an unclean
/// election, a record read from the new end of the log may be given the old epoch, and be called lost.
const FRESH: Duration = Duration::from_secs(1);

/// Finds out in which epoch a record was written. The driver tells its offset only.
///
/// One look at the logs serves all who ask meanwhile, and happens beside their requests: what goes out
/// with a request waits for it, the request does not.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) cluster: Arc<Cluster>,
    looks: Line<()>,
    /// The logs to look at next.
    wanted: Arc<Mutex<BTreeSet<Shard>>>,
}

impl Places {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        Arc::new(Self { cluster, looks: Line::new(), wanted: Arc::default() })
    }

    /// A sending is about to begin.
    pub(crate) async fn before_sending(&self) {
        if !self.cluster.logs.are_fresh(IDLE) {
            let look = self.cluster.frontiers(Shards::All, End::Leader);
            if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, look).await {
                tracing::debug!(%error, "a record is sent without a look at the logs");
            }
        }
    }

    /// What stands for a record whose fate is not known.
    pub(crate) fn unplaced(&self, shard: Option<Shard>) -> WriteId {
        let store = self.cluster.store;
        match shard.and_then(|shard| Some((shard, self.cluster.logs.epoch(shard)?))) {
            Some((shard, epoch)) => WriteId::unplaced_in(store, shard, epoch),
            None => WriteId::unplaced(store),
        }
    }

    /// Adds a record that was acknowledged now to the scope.
    pub(crate) fn add_written(
        self: &Arc<Self>,
        scope: &LineageScope,
        shard: Shard,
        sent: Instant,
        offset: u64,
    ) {
        let (places, acknowledged) = (Arc::clone(self), Instant::now());
        scope.defer(WriteId::unplaced(self.cluster.store), LIMIT, async move {
            Some(places.written(shard, sent, acknowledged, offset).await.into())
        });
    }

    /// Adds a record that was given to the driver now to the scope. Until it is known what became of it,
    /// and if that is not told within this time, it stands there as unplaced.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn add_sent(
        self: &Arc<Self>,
        scope: &LineageScope,
        delivery: Duration,
        landing: oneshot::Receiver<Landing>,
    ) {
        let places = Arc::clone(self);
        scope.defer(self.unplaced(None), delivery.saturating_add(LIMIT), async move {
            Some(match landing.await.ok()? {
                Landing::Nowhere => Lineage::new(),
                Landing::Unplaced(write) => write.into(),
                Landing::At { shard, sent, offset } => {
                    let look = places.written(shard, sent, Instant::now(), offset);
                    let write = tokio::time::timeout(LIMIT, look).await;
                    write.unwrap_or_else(|_| places.unplaced(None)).into()
                }
            })
        });
    }

    /// Adds a record that was read to the scope.
    pub(crate) fn add_read(self: &Arc<Self>, scope: &LineageScope, shard: Shard, offset: u64) {
        if let Some(place) = self.known(shard, offset) {
            return scope.add(place);
        }
        let (places, read) = (Arc::clone(self), Instant::now());
        scope.defer(self.unplaced(Some(shard)), LIMIT, async move {
            places.look_since(shard, read).await;
            Some(places.known(shard, offset)?.into())
        });
    }

    /// The place of a record that was read, by the last look.
    pub(crate) fn known(&self, shard: Shard, offset: u64) -> Option<WriteId> {
        let logs = &self.cluster.logs;
        let since = Instant::now().checked_sub(FRESH)?;
        let epoch = logs.is_looked_at_since(shard, since).then(|| logs.epoch_of(shard, offset))?;
        epoch.map(|epoch| self.write_id(shard, epoch, offset))
    }

    /// Where a record stands that was sent and acknowledged at these times.
    async fn written(&self, shard: Shard, sent: Instant, acknowledged: Instant, offset: u64) -> WriteId {
        self.look_since(shard, acknowledged).await;
        match self.cluster.logs.place_of(shard, sent, offset) {
            Place::In(epoch) => self.write_id(shard, epoch, offset),
            Place::Since(epoch) => WriteId::unplaced_in(self.cluster.store, shard, epoch),
            Place::Unknown => self.unplaced(None),
        }
    }

    fn write_id(&self, shard: Shard, epoch: Epoch, offset: u64) -> WriteId {
        WriteId { store: self.cluster.store, shard, epoch, position: Position(offset + 1) }
    }

    /// Comes back after a look that began at this time or later. Who waits for it has a limit.
    async fn look_since(&self, shard: Shard, since: Instant) {
        while !self.cluster.logs.is_looked_at_since(shard, since) {
            lock(&self.wanted).insert(shard);
            let (cluster, wanted) = (Arc::clone(&self.cluster), Arc::clone(&self.wanted));
            let look = async move {
                let wanted: Vec<Shard> = mem::take(&mut *lock(&wanted)).into_iter().collect();
                cluster.frontiers(Shards::Of(&wanted), End::Leader).await.ok().map(drop)
            };
            self.looks.ask(look).await;
            if !self.cluster.logs.is_looked_at_since(shard, since) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn lock(wanted: &Mutex<BTreeSet<Shard>>) -> MutexGuard<'_, BTreeSet<Shard>> {
    // Nothing panics while it is held.
    wanted.lock().unwrap_or_else(PoisonError::into_inner)
}
