//! The connection that carries lineage.

use std::collections::HashSet;
use std::sync::Arc;

use antipode_barrier::Recorder;
use antipode_lineage::{Lineage, LineageScope, StoreName, WriteId};
use redis::aio::ConnectionLike;
use redis::streams::StreamId;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, ServerErrorKind, Value};

use crate::batch::{Batch, Outcome, watched};
use crate::commands::CommandTable;
use crate::entries::stream_lineage;
use crate::error::EntryLineageError;
use crate::record::{Recording, refused_outside_of_a_lineage};
use crate::replication::Sharding;
use crate::shared::Shared;
use crate::transaction::{Transaction, Whose};
use crate::treatment::{Attached, Effect, Treatment, Watch};

/// A Redis connection that carries lineage. It is a [`ConnectionLike`] around another one, so
/// [`AsyncCommands`](redis::AsyncCommands), [`redis::cmd`], [`redis::pipe`], atomic pipelines and
/// [`redis::Script`] go on as before, with the same replies and the same errors.
///
/// - **A write** stores the current lineage beside the value, in the same transaction, and adds its
///   position to the current lineage. Both travel with the command: there is no further round trip.
///   A partial update joins what is stored. A command that cannot be placed, because the connection
///   broke, it was cancelled, or the server does not count (yet), is added as
///   [unplaced](WriteId::unplaced).
/// - **A read** joins the lineage of the value's writer and the position of the server.
/// - **A pipeline** of up to 64 commands that all read keys, or all write them, is sent as one transaction
///   (not in a cluster, and not where one blocks or is of streams).
/// - **A command without keys** passes as it is; if it writes (`FLUSHDB`), it is placed.
///
/// # Limits
/// - `PUBLISH` and `SUBSCRIBE` carry nothing: put a lineage in the message with
///   [`LineageCodec`](antipode_lineage::LineageCodec).
/// - `MULTI` by hand is refused: use [`redis::pipe`]`().atomic()`. `WATCH` works when it goes through
///   the same shim. Until the transaction, the shim cannot use transactions of its own: a read
///   depends on everything unless nothing at all was written meanwhile (which only a primary that
///   has, or had, replicas can tell), and a write is there a moment before its lineage.
/// - A script's keys must be declared. `SORT` by external keys depends on everything.
/// - Lineage does not follow a key into another database or server (`MOVE`, `COPY … DB`, `MIGRATE`).
/// - A blocking pop learns the lineage just after it; a `DEL` of the key in between hides it.
/// - Nothing is joined from entries that `XRANGE` and the like return inside of a script.
/// - An ACL must allow `MULTI`, `EXEC`, `EVAL`, `INFO`, `COMMAND`, `PEXPIRETIME`, and in the keys `antipode:*`
///   the commands `GET`, `SET`, `MSET`, `APPEND`, `DEL`, `PEXPIRE`, `PEXPIREAT` and `PERSIST`.
/// - A write that changes part of a value which expires takes a second round trip, the first time that a
///   process meets its key.
/// - Commands whose lineage could not be stored, though they were executed, return that error.
/// - Client-side caching sees the shim's transactions, and caches nothing.
#[derive(Debug, Clone)]
pub struct RedisShim<C> {
    inner: C,
    shared: Arc<Shared>,
    recorder: Recorder,
    reads: StreamReads,
    is_watching: bool,
    /// The place of the last stream read.
    witness: Option<WriteId>,
}

/// What becomes of the lineage in stream entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamReads {
    Joined,
    LeftToTheEntries,
}

/// The most commands of a pipeline that are sent in one transaction.
const MOST_TOGETHER: usize = 64;

impl<C> RedisShim<C> {
    pub(crate) fn new(inner: C, shared: Arc<Shared>) -> Self {
        let recorder = shared.recorder.clone();
        Self { inner, shared, recorder, reads: StreamReads::Joined, is_watching: false, witness: None }
    }

    /// The same connection, recording into this scope, whatever the current one.
    #[must_use]
    pub fn within(&self, scope: LineageScope) -> Self
    where
        C: Clone,
    {
        Self { recorder: self.recorder.within(scope), ..self.clone() }
    }

    /// For consumers that handle each entry in a scope of its own: what this connection reads from
    /// streams (`XREAD`, `XREADGROUP`, `XRANGE`, `XCLAIM` …) joins nothing into the current lineage
    /// and needs none. Take each entry's from [`entry_lineage`](Self::entry_lineage).
    ///
    /// Otherwise the lineage of *every* entry returned is joined.
    ///
    /// ```no_run
    /// # use antipode_lineage::LineageScope;
    /// # use redis::{AsyncCommands, RedisResult, streams::StreamReadReply};
    /// # async fn example(store: antipode_redis::RedisStore) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut notifications = store.connection().await?.leaving_entries();
    /// let batch: StreamReadReply = notifications.xread(&["notifications"], &["0"]).await?;
    /// for entry in batch.keys.iter().flat_map(|stream| &stream.ids) {
    ///     let scope = LineageScope::from(notifications.entry_lineage(entry)?);
    ///     scope.run(async { /* a barrier, then the reads */ }).await;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn leaving_entries(self) -> Self {
        Self { reads: StreamReads::LeftToTheEntries, ..self }
    }

    /// What depends on an entry that this connection has just read: its writer's lineage, and the
    /// entry itself.
    ///
    /// # Errors
    /// [`EntryLineageError`] if the entry has a lineage that cannot be read.
    pub fn entry_lineage(&self, entry: &StreamId) -> Result<Lineage, EntryLineageError> {
        let mut lineage = stream_lineage(entry).transpose()?.unwrap_or_default();
        lineage.add(self.witness.unwrap_or_else(|| WriteId::unplaced(self.recorder.store())));
        Ok(lineage)
    }

    /// The name of the store.
    #[must_use]
    pub fn store(&self) -> StoreName {
        self.recorder.store()
    }

    /// The connection inside. What is sent on it carries no lineage.
    #[must_use]
    pub fn inner(&self) -> &C {
        &self.inner
    }

    /// The connection inside. What is sent on it carries no lineage.
    pub fn inner_mut(&mut self) -> &mut C {
        &mut self.inner
    }

    /// The connection inside, without its shim.
    #[must_use]
    pub fn into_inner(self) -> C {
        self.inner
    }
}

impl<C: ConnectionLike + Send> ConnectionLike for RedisShim<C> {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let table = self.shared.commands(&mut self.inner).await?;
            let treatments = [self.treat(&table, command)?.knowing(&self.shared.expiring)];
            let Some(recording) = self.recording(&treatments)? else {
                return self.inner.req_packed_command(command).await;
            };
            let mut replies = self.send(&treatments, recording).await?;
            // Who said that it waits for no reply gets none.
            let reply = replies.pop().filter(|_| !command.is_no_response());
            Ok(reply.unwrap_or_default())
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let table = self.shared.commands(&mut self.inner).await?;
            let treatments: Vec<_> =
                pipeline.cmd_iter().map(|command| self.treat(&table, command)).collect::<RedisResult<_>>()?;
            let knowing = |treatment: Treatment<'a>| treatment.knowing(&self.shared.expiring);
            let treatments: Vec<_> = treatments.into_iter().map(knowing).collect();
            let Some(recording) = self.recording(&treatments)? else {
                self.end_watch(pipeline.is_transaction());
                return self.inner.req_packed_commands(pipeline, offset, count).await;
            };
            if pipeline.is_transaction() {
                self.end_watch(true);
                return self.transact(&treatments, recording).await;
            }
            let replies = if self.go_together(&treatments) {
                self.send_together(&treatments, recording).await?
            } else {
                self.send(&treatments, recording).await?
            };
            Ok(replies.into_iter().skip(offset).take(count).collect())
        })
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}

impl<C: ConnectionLike + Send> RedisShim<C> {
    fn treat<'a>(&mut self, table: &CommandTable, command: &'a Cmd) -> RedisResult<Treatment<'a>> {
        let treatment = Treatment::of(table, command);
        match treatment.watch {
            Watch::Unchanged => {}
            Watch::Begins => self.is_watching = true,
            Watch::Ends => self.is_watching = false,
            Watch::Multi => {
                let detail = format!("store {}: use redis::pipe().atomic()", self.recorder.store());
                return Err((ErrorKind::Client, "MULTI by hand cannot carry lineage", detail).into());
            }
        }
        treatment.note(&self.shared.expiring);
        let treatment = if self.is_watching { treatment.watched() } else { treatment };
        Ok(match self.reads {
            StreamReads::Joined => treatment,
            StreamReads::LeftToTheEntries => treatment.leaving_entries(),
        })
    }

    fn end_watch(&mut self, is_transaction: bool) {
        self.is_watching &= !is_transaction;
    }

    /// What to record, and where; `None` if the commands should be sent as they are.
    fn recording(&self, treatments: &[Treatment<'_>]) -> RedisResult<Option<Recording>> {
        let mut treated =
            treatments.iter().filter(|treatment| treatment.effect != Effect::Nothing).peekable();
        if treated.peek().is_none() {
            return Ok(None);
        }
        if treated.all(|treatment| treatment.has_entries && !treatment.joins_entries) {
            return Ok(Some(Recording::witness_only(self.recorder.store(), self.shared.sharding)));
        }
        let scope = self.recorder.scope().map_err(|missing| refused_outside_of_a_lineage(&missing))?;
        let writes = treatments.iter().any(Treatment::is_write);
        let begin = |scope| Recording::begin(self.recorder.store(), self.shared.sharding, scope, writes);
        Ok(scope.map(begin))
    }

    async fn send(&mut self, treatments: &[Treatment<'_>], recording: Recording) -> RedisResult<Vec<Value>> {
        let attached = attached(treatments, &recording).await;
        let batch = Batch::new(treatments, &attached);
        let replies = self.inner.req_packed_commands(&batch.pipeline, 0, batch.count).await;
        let outcome = replies.and_then(|replies| batch.unpack(self.recorder.store(), replies));
        self.finish(treatments, &attached, recording, outcome).await
    }

    async fn transact(
        &mut self,
        treatments: &[Treatment<'_>],
        recording: Recording,
    ) -> RedisResult<Vec<Value>> {
        let attached = attached(treatments, &recording).await;
        let outcome = self.execute(Whose::Users, treatments, &attached).await;
        let replies = self.finish(treatments, &attached, recording, outcome).await?;
        Ok(vec![if replies.is_empty() { Value::Nil } else { Value::Array(replies) }])
    }

    /// Whether a pipeline is sent in one transaction: that is about half as many commands. In a cluster its
    /// keys may be in several slots. Many commands would keep others from the server for too long, and beside
    /// writes a read would depend on what they replace.
    fn go_together(&self, treatments: &[Treatment<'_>]) -> bool {
        let alike = |treatment: &Treatment<'_>| {
            let first = treatments.first().map(|first| first.effect);
            treatment.fits_together() && Some(treatment.effect) == first
        };
        self.shared.sharding == Sharding::Single
            && (2..=MOST_TOGETHER).contains(&treatments.len())
            && treatments.iter().all(alike)
    }

    /// Sends a pipeline in one transaction, and as it is if the server refuses that.
    async fn send_together(
        &mut self,
        treatments: &[Treatment<'_>],
        recording: Recording,
    ) -> RedisResult<Vec<Value>> {
        let attached = attached(treatments, &recording).await;
        match self.execute(Whose::Shims, treatments, &attached).await {
            // One command was refused, so none was executed.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::ExecAbort) => {
                self.send(treatments, recording).await
            }
            outcome => match self.finish(treatments, &attached, recording, outcome).await? {
                replies if replies.is_empty() => Err(watched(self.recorder.store())),
                replies => Ok(replies),
            },
        }
    }

    async fn execute(
        &mut self,
        whose: Whose,
        treatments: &[Treatment<'_>],
        attached: &Attached,
    ) -> RedisResult<Outcome> {
        let transaction = Transaction::new(whose, treatments, attached);
        let Transaction { pipeline, replies: (skipped, count), .. } = &transaction;
        let replies = self.inner.req_packed_commands(pipeline, *skipped, *count).await;
        transaction.unpack(self.recorder.store(), treatments, replies?)
    }

    /// Gives companions that stay for good the lifetimes of keys that do not. They are too long if this does
    /// not happen, which harms nobody, so the user is not told.
    async fn bring_in_step(&mut self, treatments: &[Treatment<'_>], attached: &Attached, late: &[usize]) {
        let mut keys = HashSet::new();
        let mut pipeline = Pipeline::new();
        for treatment in late.iter().filter_map(|at| treatments.get(*at)) {
            if treatment.names().any(|name| keys.insert(name)) {
                treatment.names().for_each(|name| self.shared.expiring.note(name));
                pipeline.add_command(treatment.bring_in_step(attached));
            }
        }
        let replies = self.inner.req_packed_commands(&pipeline, 0, pipeline.len()).await;
        let refused = |reply: Value| reply.extract_error().err();
        if let Some(error) = replies.map_or_else(Some, |replies| replies.into_iter().find_map(refused)) {
            tracing::warn!(store = %self.recorder.store(), %error, "a lineage may stay longer than its key");
        }
    }

    /// Records what happened, whatever comes then.
    async fn finish(
        &mut self,
        treatments: &[Treatment<'_>],
        attached: &Attached,
        recording: Recording,
        outcome: Result<Outcome, RedisError>,
    ) -> RedisResult<Vec<Value>> {
        let outcome = recording.end(outcome)?;
        if !outcome.out_of_step.is_empty() {
            self.bring_in_step(treatments, attached, &outcome.out_of_step).await;
        }
        if treatments.iter().any(|treatment| treatment.has_entries) {
            let store = self.recorder.store();
            let placed =
                outcome.replication.map(|replication| replication.write_id(store, self.shared.sharding));
            self.witness = Some(placed.unwrap_or_else(|| WriteId::unplaced(store)));
        }
        Ok(outcome.replies)
    }
}

/// The lineage to write, once the captures of other stores are in.
async fn attached(treatments: &[Treatment<'_>], recording: &Recording) -> Attached {
    match recording.scope() {
        Some(scope) if treatments.iter().any(Treatment::is_write) => Attached::from(scope.settled().await),
        _ => Attached::default(),
    }
}
