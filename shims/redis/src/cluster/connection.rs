//! The connection to a cluster: the driver's to its primaries, and reads from one region's servers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crc16::{State, XMODEM};
use redis::aio::ConnectionLike;
use redis::cluster_async::ClusterConnection;
use redis::{Arg, Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value, cmd, pipe};
use smallvec::SmallVec;
use tokio::time::sleep;

use super::region::Region;
use crate::commands::CommandTable;
use crate::companion;

/// What a server answers that is not the one to ask, or not now.
const ELSEWHERE: [&str; 5] = ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"];

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

/// How often a transaction is sent again whose slot is not where it was, or on the move.
const RETRIES: u32 = 6;

/// How long the slot is given before the second time; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection to a cluster. It is the driver's [`ClusterConnection`] to the primaries, which knows
/// the slots and follows redirects, with transactions that follow them, too.
///
/// If it reads from a region, reads go to the replica of their slot there. They go to the slot's
/// primary instead if they are part of a transaction, have keys of no or several slots, or the replica
/// has not (or no longer) got a key: while a slot is on the move, the replica of its old owner loses
/// them one by one and says nothing of it. So asking for what does not exist costs a request to the
/// primary.
#[derive(Clone)]
pub struct RedisClusterConnection {
    /// `None` to read from the primaries.
    region: Option<Arc<Region>>,
    primaries: ClusterConnection,
    table: Arc<CommandTable>,
}

/// A request as it is sent to a replica: with `READONLY` before, and a count of the keys after each
/// part of it.
struct Asked {
    pipeline: Pipeline,
    /// What becomes of each reply.
    replies: Vec<Reply>,
}

#[derive(Debug, Clone, Copy)]
enum Reply {
    /// It goes to the user.
    Kept,
    /// It answers something of ours.
    Dropped,
    /// It says how many keys there are.
    Counted { keys: usize },
    /// It goes to the user without its last part, which says how many keys there are.
    Executed { keys: usize },
}

impl RedisClusterConnection {
    pub(super) fn new(
        region: Option<Arc<Region>>,
        primaries: ClusterConnection,
        table: Arc<CommandTable>,
    ) -> Self {
        Self { region, primaries, table }
    }

    /// The replies of the replica; `None` if the primary has to be asked.
    async fn read(&self, pipeline: &Pipeline) -> RedisResult<Option<Vec<Value>>> {
        let Some(region) = &self.region else { return Ok(None) };
        let Some((slot, asked)) = self.asked(pipeline) else { return Ok(None) };
        let Some(server) = region.server_of(slot) else { return Ok(None) };
        let mut connection = server.driver_connection().await?;
        let count = asked.replies.len();
        let replies = connection.req_packed_commands(&asked.pipeline, 0, count).await?;
        Ok(asked.unpack(replies))
    }

    /// Asks about a key of the transaction. The driver takes no notice of redirects within
    /// transactions; from this it learns where the slot is now.
    async fn knock(&mut self, pipeline: &Pipeline) -> RedisResult<()> {
        let key = pipeline.cmd_iter().find_map(|command| {
            let arguments: SmallVec<[&[u8]; 8]> = command.args_iter().map(simple).collect();
            let known = self.table.find(arguments.first()?, arguments.get(1).copied())?;
            known.keys(&arguments).first().map(|key| key.name.to_vec())
        });
        let Some(key) = key else { return Ok(()) };
        self.primaries.req_packed_command(cmd("EXISTS").arg(key)).await.map(drop)
    }

    /// The slot of its keys, and the request; `None` if it is not for a replica.
    fn asked(&self, pipeline: &Pipeline) -> Option<(u16, Asked)> {
        if pipeline.is_transaction() {
            return None;
        }
        let mut asked = Asked::begin();
        let mut slot = None;
        let mut open: Option<SmallVec<[&[u8]; 2]>> = None;
        for command in pipeline.cmd_iter() {
            let arguments: SmallVec<[&[u8]; 8]> = command.args_iter().map(simple).collect();
            let is = |name: &str| {
                arguments.first().is_some_and(|given| given.eq_ignore_ascii_case(name.as_bytes()))
            };
            if is("MULTI") {
                open = Some(SmallVec::new());
                asked.send(command.clone(), Reply::Kept);
                continue;
            }
            if is("EXEC") {
                let keys = open.take()?;
                asked.send(exists(&keys), Reply::Dropped);
                asked.send(command.clone(), Reply::Executed { keys: keys.len() });
                continue;
            }
            let known = self.table.find(arguments.first()?, arguments.get(1).copied())?;
            if known.writes {
                return None;
            }
            let keys = known.keys(&arguments);
            for key in &keys {
                let of_key = slot_of(key.name);
                if slot.replace(of_key).is_some_and(|other| other != of_key) {
                    return None;
                }
            }
            let keys = keys.iter().map(|key| key.name).filter(|key| !companion::is_companion(key));
            asked.send(command.clone(), Reply::Kept);
            match &mut open {
                Some(open) => open.extend(keys),
                None => {
                    let keys: SmallVec<[&[u8]; 2]> = keys.collect();
                    if !keys.is_empty() {
                        asked.send(exists(&keys), Reply::Counted { keys: keys.len() });
                    }
                }
            }
        }
        Some((slot?, asked))
    }
}

impl ConnectionLike for RedisClusterConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let mut pipeline = pipe();
            pipeline.add_command(command.clone());
            match self.read(&pipeline).await? {
                Some(replies) => replies.into_iter().next().unwrap_or_default().extract_error(),
                None => self.primaries.req_packed_command(command).await,
            }
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            if let Some(replies) = self.read(pipeline).await? {
                return Ok(replies.into_iter().skip(offset).take(count).collect());
            }
            let mut pause = PAUSE;
            for _ in 0..RETRIES {
                match self.primaries.req_packed_commands(pipeline, offset, count).await {
                    Err(error) if pipeline.is_transaction() && aborted_elsewhere(&error) => {
                        self.knock(pipeline).await?;
                        sleep(pause).await;
                        pause *= 2;
                    }
                    outcome => return outcome,
                }
            }
            self.primaries.req_packed_commands(pipeline, offset, count).await
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

impl fmt::Debug for RedisClusterConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisClusterConnection").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Asked {
    fn begin() -> Self {
        let mut asked = Self { pipeline: pipe(), replies: Vec::new() };
        // Whoever reconnects forgets it, so it is said every time.
        asked.send(cmd("READONLY"), Reply::Dropped);
        asked
    }

    fn send(&mut self, command: Cmd, reply: Reply) {
        self.pipeline.add_command(command);
        self.replies.push(reply);
    }

    /// The user's replies; `None` if the server redirects, or has not got all keys.
    fn unpack(&self, replies: Vec<Value>) -> Option<Vec<Value>> {
        if replies.len() != self.replies.len() || replies.iter().any(redirects) {
            return None;
        }
        let mut kept = Vec::with_capacity(replies.len());
        for (reply, value) in self.replies.iter().zip(replies) {
            match (reply, value) {
                (Reply::Kept, value) => kept.push(value),
                (Reply::Dropped, _) => {}
                (Reply::Counted { keys }, count) => has(&count, *keys).then_some(())?,
                (Reply::Executed { keys }, Value::Array(mut executed)) => {
                    has(&executed.pop()?, *keys).then_some(())?;
                    kept.push(Value::Array(executed));
                }
                (Reply::Executed { .. }, value) => kept.push(value),
            }
        }
        Some(kept)
    }
}

/// The slot that a key is hashed to.
fn slot_of(key: &[u8]) -> u16 {
    State::<XMODEM>::calculate(companion::tag(key).unwrap_or(key)) % SLOTS
}

fn exists(keys: &[&[u8]]) -> Cmd {
    let mut exists = cmd("EXISTS");
    for key in keys {
        exists.arg(*key);
    }
    exists
}

fn has(count: &Value, keys: usize) -> bool {
    matches!(count, Value::Int(count) if usize::try_from(*count) == Ok(keys))
}

/// Whether another server has to be asked.
fn redirects(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error) if ELSEWHERE.contains(&error.code()))
}

/// Whether nothing of a transaction was executed, because its slot is not there.
fn aborted_elsewhere(error: &RedisError) -> bool {
    let refusals = error.clone().into_server_errors();
    refusals.is_some_and(|refusals| refusals.iter().any(|(_, refusal)| ELSEWHERE.contains(&refusal.code())))
}

fn simple(argument: Arg<&[u8]>) -> &[u8] {
    match argument {
        Arg::Simple(bytes) => bytes,
        _ => b"0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_companion_share_a_slot() {
        assert_eq!(slot_of(b"b"), 3300);
        for key in ["b", "{user}.posts", "a{user}b{c}", "{a"] {
            assert_eq!(slot_of(&companion::companion(key.as_bytes())), slot_of(key.as_bytes()), "{key}");
        }
    }
}
