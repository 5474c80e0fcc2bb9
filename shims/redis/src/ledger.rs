//! The branch ledger: a hash per branch, at the primary.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antipode_barrier::{BoxFuture, BranchState, Ledger, ProbeError};
use antipode_lineage::{Branch, BranchId, Lineage};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, cmd};

use crate::error::Error;
use crate::server::Server;

/// How long a branch is known after it ended, unless told otherwise.
pub(crate) const RETENTION: Duration = Duration::from_secs(24 * 3_600);

/// One step, by the server's clock. `KEYS` are the branches. `ARGV[1]` says what to do with each:
/// `register` (then the lease and the retention in ms, and the name), `renew` (the retention, what it
/// waits for), `complete` (the retention, the final lineage), or `read`. The reply says of each how it
/// stands then.
///
/// A branch whose lease ran out keeps its key until the retention ends: it is abandoned, not unknown.
const SCRIPT: &str = "\
local t=redis.call('TIME') local now=t[1]*1000+math.floor(t[2]/1000) \
local function ms(n) return string.format('%.0f',n) end \
local function open(k) local s=redis.call('HMGET',k,'until','last') \
return s[1] and not s[2] and tonumber(s[1])>now end \
local function lend(k,lease,keep) redis.call('HSET',k,'until',ms(now+lease)) \
redis.call('PEXPIRE',k,ms(lease+keep)) end \
local out={} for i,k in ipairs(KEYS) do \
if ARGV[1]=='register' and redis.call('EXISTS',k)==0 then \
redis.call('HSET',k,'lease',ARGV[2],'name',ARGV[4],'waits','') lend(k,ARGV[2],ARGV[3]) \
elseif ARGV[1]=='renew' and open(k) then \
redis.call('HSET',k,'waits',ARGV[3]) lend(k,redis.call('HGET',k,'lease'),ARGV[2]) \
elseif ARGV[1]=='complete' and open(k) then \
redis.call('HSET',k,'last',ARGV[3]) redis.call('PEXPIRE',k,ARGV[2]) end \
local s=redis.call('HMGET',k,'until','waits','last') \
if not s[1] then out[i]={'unknown'} elseif s[3] then out[i]={'closed',s[3]} \
elseif tonumber(s[1])<=now then out[i]={'abandoned'} \
else out[i]={'open',ms(s[1]-now),s[2]} end end \
return out";

/// The ledger of a store with one primary.
pub(crate) struct RedisLedger {
    primary: Arc<Server>,
    retention: Duration,
    /// Shared by the questions under way, until one of them fails or is given up.
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl RedisLedger {
    pub(crate) fn new(primary: Arc<Server>, retention: Duration) -> Self {
        Self { primary, retention, connection: Mutex::default() }
    }

    async fn one(&self, step: Cmd) -> Result<BranchState, ProbeError> {
        let mut states = self.ask(step).await?;
        states.pop().ok_or_else(|| ProbeError::new("the ledger's script returned nothing"))
    }

    async fn ask(&self, step: Cmd) -> Result<Vec<BranchState>, ProbeError> {
        let failed = |source| {
            let Server { store, name: replica, .. } = *self.primary;
            ProbeError::new(Error::Connect { store, replica, source })
        };
        let mut lent = Lent { ledger: self, sound: None };
        let mut connection = match self.held() {
            Some(connection) => connection,
            None => self.primary.connect().await.map_err(failed)?,
        };
        let replies: Vec<Vec<String>> = step.query_async(&mut connection).await.map_err(failed)?;
        lent.sound = Some(connection);
        drop(lent);
        replies.iter().map(|reply| state(reply)).collect()
    }

    fn held(&self) -> Option<MultiplexedConnection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn retention_ms(&self) -> u64 {
        millis(self.retention)
    }
}

/// A question under way on the shared connection. One that does not come to an answer, by failing
/// or because nobody waits for it any longer, leaves no connection to the next one: it may be silent.
struct Lent<'a> {
    ledger: &'a RedisLedger,
    sound: Option<MultiplexedConnection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        *self.ledger.connection.lock().unwrap_or_else(PoisonError::into_inner) = self.sound.take();
    }
}

impl Ledger for RedisLedger {
    fn register<'a>(
        &'a self,
        branch: &'a Branch,
        lease: Duration,
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>> {
        let mut step = step(&[branch.id], "register");
        step.arg(millis(lease)).arg(self.retention_ms()).arg(branch.name.as_str());
        Box::pin(self.one(step))
    }

    fn renew<'a>(
        &'a self,
        branch: BranchId,
        waits: &'a [Branch],
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>> {
        let mut step = step(&[branch], "renew");
        step.arg(self.retention_ms()).arg(BranchState::waits_text(waits));
        Box::pin(self.one(step))
    }

    fn complete<'a>(
        &'a self,
        branch: BranchId,
        last: &'a Lineage,
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>> {
        let mut step = step(&[branch], "complete");
        step.arg(self.retention_ms()).arg(BranchState::last_text(last));
        Box::pin(self.one(step))
    }

    fn read<'a>(&'a self, branches: &'a [BranchId]) -> BoxFuture<'a, Result<Vec<BranchState>, ProbeError>> {
        Box::pin(self.ask(step(branches, "read")))
    }
}

impl fmt::Debug for RedisLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLedger").field("primary", &self.primary).finish_non_exhaustive()
    }
}

/// The script for these branches. All of a ledger's keys have one hash tag, none is a companion's.
fn step(branches: &[BranchId], verb: &str) -> Cmd {
    let mut eval = cmd("EVAL");
    eval.arg(SCRIPT).arg(branches.len());
    for branch in branches {
        eval.arg(format!("{{antipode-branches}}:{branch}"));
    }
    eval.arg(verb);
    eval
}

fn millis(duration: Duration) -> u64 {
    // The server counts in 64 bits, and adds two of these to the time of day.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 50)
}

fn state(reply: &[String]) -> Result<BranchState, ProbeError> {
    let words: Vec<&str> = reply.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["unknown"] => Ok(BranchState::Unknown),
        ["abandoned"] => Ok(BranchState::Abandoned),
        ["closed", last] => BranchState::closed_of(last),
        ["open", left, waits] => {
            BranchState::open_of(Duration::from_millis(left.parse().map_err(ProbeError::new)?), waits)
        }
        other => Err(ProbeError::new(format!("the ledger's script returned {other:?}"))),
    }
}
