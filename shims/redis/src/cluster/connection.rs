//! Reading from one region's servers.

use std::fmt;
use std::sync::Arc;

use crc16::{State, XMODEM};
use redis::aio::ConnectionLike;
use redis::cluster_async::ClusterConnection;
use redis::{Arg, Cmd, Pipeline, RedisFuture, RedisResult, Value, cmd, pipe};
use smallvec::SmallVec;

use super::region::Region;
use crate::commands::CommandTable;
use crate::companion;

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

/// A connection to the servers of one region, for reads: each goes to the replica of its slot there.
///
/// It goes to the slot's primary instead, redirects included, if it writes, is part of a
/// transaction, has keys of no or several slots, or the replica has not (or no longer) got its keys:
/// while a slot is on the move, the replica of its old owner loses them one by one and says nothing of
/// it. So asking for what does not exist costs a request to the primary.
#[derive(Clone)]
pub struct RegionConnection {
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

impl RegionConnection {
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

impl ConnectionLike for RegionConnection {
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
            match self.read(pipeline).await? {
                Some(replies) => Ok(replies.into_iter().skip(offset).take(count).collect()),
                None => self.primaries.req_packed_commands(pipeline, offset, count).await,
            }
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

impl fmt::Debug for RegionConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionConnection").field("region", &self.region).finish_non_exhaustive()
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
    const CODES: [&str; 5] = ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"];
    matches!(reply, Value::ServerError(error) if CODES.contains(&error.code()))
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
