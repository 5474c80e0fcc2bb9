//! A Redis stream's consumer group as a source.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use antipode_barrier::{BarrierError, BoxFuture, DEFAULT_DEADLINE, Registry, Store as _};
use antipode_lineage::{Lineage, LineageScope, StoreName};
use antipode_redis::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use antipode_redis::redis::streams::{StreamId, StreamReadOptions, StreamReadReply};
use antipode_redis::redis::{AsyncCommands, Client, RedisError, RedisResult};
use antipode_redis::{LINEAGE_FIELD, RedisShim, RedisStore};

use super::{Message, Source};

/// How many entries are read at once.
const BATCH: usize = 32;

/// How long one read blocks at the server, in milliseconds.
const BLOCK: usize = 1_000;

/// How long its reply may take: a connection that is silent for longer is dead.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// The entries of a stream that one consumer of a group is given.
///
/// First those that this consumer was given before and did not acknowledge, then new ones. What depends on
/// writes that are not visible yet waits in a worker's hands: others pass it, and it counts as one of
/// those that are handled at once. Past the [deadline](Self::deadline) it is handed over again, after the
/// worker's pause (fail-closed).
///
/// Entries of consumers that are gone stay theirs: give each process the same name again, or claim them
/// (`XAUTOCLAIM`).
#[derive(Debug)]
pub struct RedisStream {
    shared: Arc<Shared>,
    registry: Registry,
    deadline: Duration,
}

/// An entry to be handled. It derefs to the driver's.
#[derive(Debug)]
pub struct Entry {
    /// `None` once it is done.
    lineage: Option<Lineage>,
    shared: Arc<Shared>,
    registry: Registry,
    deadline: Duration,
    id: StreamId,
}

#[derive(Debug)]
struct Shared {
    store: StoreName,
    acknowledging: RedisShim<ConnectionManager>,
    reading: RedisShim<ConnectionManager>,
    stream: String,
    group: String,
    consumer: String,
    state: Mutex<State>,
}

type Batch = Vec<(StreamId, Lineage)>;

struct State {
    entries: VecDeque<(StreamId, Lineage)>,
    /// Kept when a caller goes: what it brings is this consumer's.
    read: Option<BoxFuture<'static, RedisResult<Batch>>>,
    /// After which entry of its own, until there are none.
    own: Option<String>,
    caller: Option<Waker>,
}

impl RedisStream {
    /// Joins a group of a stream, both made if they are not there: then from the stream's beginning.
    /// `client` is that of the store's primary; reads block on a connection of their own.
    ///
    /// # Errors
    /// The driver's.
    pub async fn join(
        store: &RedisStore,
        client: &Client,
        registry: &Registry,
        [stream, group, consumer]: [&str; 3],
    ) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new().set_response_timeout(Some(READ_LIMIT));
        let reading = client.get_connection_manager_with_config(config).await?;
        let mut acknowledging = client.get_connection_manager().await?;
        match acknowledging.xgroup_create_mkstream::<_, _, _, ()>(stream, group, "0").await {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
            _ => {}
        }
        let state = State { entries: VecDeque::new(), read: None, own: Some("0".to_owned()), caller: None };
        let shared = Shared {
            store: store.name(),
            acknowledging: store.shim(acknowledging),
            reading: store.shim(reading).leaving_entries(),
            stream: stream.to_owned(),
            group: group.to_owned(),
            consumer: consumer.to_owned(),
            state: Mutex::new(state),
        };
        Ok(Self { shared: Arc::new(shared), registry: registry.clone(), deadline: DEFAULT_DEADLINE })
    }

    /// How long what an entry depends on is waited for. [`DEFAULT_DEADLINE`] by default.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}

impl Source for RedisStream {
    type Message = Entry;
    type Error = RedisError;

    async fn recv(&self) -> Result<Entry, RedisError> {
        let (id, lineage) = poll_fn(|cx| Shared::poll(&self.shared, cx)).await?;
        let shared = Arc::clone(&self.shared);
        let (registry, deadline) = (self.registry.clone(), self.deadline);
        Ok(Entry { lineage: Some(lineage), shared, registry, deadline, id })
    }

    /// What was handled is acknowledged already.
    async fn close(self) -> Result<(), RedisError> {
        Ok(())
    }
}

impl Shared {
    fn poll(shared: &Arc<Self>, cx: &mut Context<'_>) -> Poll<RedisResult<(StreamId, Lineage)>> {
        let mut state = shared.state();
        loop {
            if let Some(entry) = state.entries.pop_front() {
                return Poll::Ready(Ok(entry));
            }
            let own = state.own.clone();
            let read = state.read.get_or_insert_with(|| {
                let shared = Arc::clone(shared);
                Box::pin(async move { shared.read(own).await })
            });
            let Poll::Ready(batch) = read.as_mut().poll(cx) else {
                state.caller = Some(cx.waker().clone());
                return Poll::Pending;
            };
            state.read = None;
            let batch = batch?;
            if state.own.is_some() {
                state.own = batch.last().map(|(last, _)| last.id.clone());
            }
            state.entries.extend(batch);
        }
    }

    async fn read(&self, own: Option<String>) -> RedisResult<Batch> {
        let mut connection = self.reading.clone();
        let options = StreamReadOptions::default().group(&self.group, &self.consumer).count(BATCH);
        let (from, options) = match &own {
            Some(last) => (last.as_str(), options),
            None => (">", options.block(BLOCK)),
        };
        let batch = connection.xread_options(&[&self.stream], &[from], &options).await;
        let batch: Option<StreamReadReply> = batch.map_err(|error| self.named(error))?;
        let streams = batch.map(|batch| batch.keys).unwrap_or_default();
        let entries = streams.into_iter().flat_map(|stream| stream.ids);
        let lineage = |entry: &StreamId| match connection.entry_lineage(entry) {
            Ok(lineage) => lineage,
            Err(error) => {
                tracing::warn!(%error, "an entry's lineage is taken as everything");
                Lineage::everything()
            }
        };
        Ok(entries.map(|entry| (entry.clone(), lineage(&entry))).collect())
    }

    /// The driver says of a silent server only that its time is over.
    fn named(&self, error: RedisError) -> RedisError {
        if !error.is_timeout() {
            return error;
        }
        let Self { store, stream, .. } = self;
        let problem = format!("stream {stream} of {store} was not read in {READ_LIMIT:?}: check its primary");
        io::Error::new(io::ErrorKind::TimedOut, problem).into()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Message for Entry {
    fn scope(&self) -> LineageScope {
        LineageScope::from(self.lineage.clone().unwrap_or_default())
    }

    fn has_lineage(&self) -> bool {
        self.id.contains_key(LINEAGE_FIELD)
    }

    async fn visible(&self) -> Result<(), BarrierError> {
        let Some(lineage) = &self.lineage else { return Ok(()) };
        self.registry.barrier_on(lineage).deadline(self.deadline).await.map(drop)
    }

    async fn done(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut connection = shared.acknowledging.clone().into_inner();
        match connection.xack(&shared.stream, &shared.group, &[&self.id.id]).await {
            Ok(()) => self.lineage = None,
            Err(error) => tracing::warn!(%error, "an entry was not acknowledged: it comes again"),
        }
    }
}

impl Deref for Entry {
    type Target = StreamId;

    fn deref(&self) -> &StreamId {
        &self.id
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(lineage) = self.lineage.take() else { return };
        let mut state = self.shared.state();
        state.entries.push_back((self.id.clone(), lineage));
        if let Some(caller) = state.caller.take() {
            caller.wake();
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}
