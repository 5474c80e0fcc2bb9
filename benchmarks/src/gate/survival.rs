//! Two processes handle the records while they are written; one is killed and started again.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{Consumer, StreamConsumer};
use redis::AsyncCommands;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::judge::{Handled, Verdict, judge};
use super::stage::{Stage, TOPIC, consuming};
use super::writer::{post, versions, write};
use crate::Failure;
use crate::cli::Gate;
use crate::servers::kafka::failed;
use crate::servers::redis::{failed as redis_failed, raw_connection};
use crate::statistics::Rate;

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(150);

/// Of so many records one is looked up without a gate.
const SAMPLE: u32 = 100;

/// What became of the records, and what would have without a gate.
pub(super) struct Survival {
    pub(super) verdict: Verdict,
    pub(super) without: Rate,
}

/// Writes the records and waits until all are handled.
///
/// # Errors
/// [`Failure::TooLate`] and [`Failure::Store`]. Lost records are in the verdict, also when that means
/// that the wait for them was in vain.
pub(super) async fn run(stage: &Stage, settings: &Gate) -> Result<Survival, Failure> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut victim = start(stage, tell.clone())?;
    let survivor = start(stage, tell.clone())?;
    let total = u64::from(versions(settings)) * u64::from(settings.keys);
    let deadline = Instant::now() + LIMIT;
    let watching = async {
        let mut all: Vec<Handled> = Vec::new();
        let mut different = HashSet::new();
        let (mut killed, mut back) = (false, false);
        while (different.len() as u64) < total {
            let Ok(Some(handled)) = timeout_at(deadline, told.recv()).await else { break };
            different.insert(handled.record());
            all.push(handled);
            if !killed && different.len() as u64 * 5 > total * 2 {
                killed = true;
                victim.kill();
            }
            if killed && !back && different.len() as u64 * 5 > total * 3 {
                back = true;
                victim = start(stage, tell.clone())?;
            }
        }
        Ok::<_, Failure>(all)
    };
    let without = without(stage, settings, deadline);
    let (all, written, without) = tokio::join!(watching, write(stage, settings), without);
    written?;
    // Its standard input ends, so it goes as well.
    drop(survivor);
    let verdict = judge(all?, settings.keys, versions(settings));
    Ok(Survival { verdict, without: without? })
}

/// A process that handles records. Dropped, it is killed.
struct Worker(Child);

impl Worker {
    /// SIGKILL.
    fn kill(&mut self) {
        let Self(child) = self;
        // An error says that it has ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A worker, whose lines go to the channel.
fn start(stage: &Stage, tell: mpsc::UnboundedSender<Handled>) -> Result<Worker, Failure> {
    let program = std::env::current_exe().map_err(redis_failed("find this program"))?;
    let mut child = Command::new(program)
        .args(["run", "gate-worker", "--kafka", &stage.kafka.bootstrap()])
        .args(["--primary", &stage.redis.primary, "--replica", &stage.redis.replica])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(redis_failed("start a process"))?;
    if let Some(output) = child.stdout.take() {
        // It ends with the process.
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            for handled in lines.filter_map(|line| Handled::parse(&line)) {
                let _ = tell.send(handled);
            }
        });
    }
    Ok(Worker(child))
}

/// Looks a sample of the posts up when their records arrive, as a plain consumer would.
async fn without(stage: &Stage, settings: &Gate, deadline: Instant) -> Result<Rate, Failure> {
    let config = consuming(&stage.kafka.bootstrap(), "antipode-benchmark-without");
    let consumer: StreamConsumer = config.create().map_err(failed("be read"))?;
    consumer.subscribe(&[TOPIC]).map_err(failed("be read"))?;
    let mut to_replica = raw_connection(&stage.redis.replica).await?;
    let mut rate = Rate { hits: 0, of: 0 };
    for at in 0..versions(settings) * settings.keys {
        let Ok(message) = timeout_at(deadline, consumer.recv()).await else { break };
        let message = message.map_err(failed("be read"))?;
        if at % SAMPLE != 0 {
            continue;
        }
        let number = |text: Option<&[u8]>| std::str::from_utf8(text?).ok()?.parse::<u32>().ok();
        let (Some(key), Some(version)) = (number(message.key()), number(message.payload())) else { continue };
        let found: Option<u32> = to_replica.get(post(key)).await.map_err(redis_failed("read a post"))?;
        rate.hits += u64::from(found.is_none_or(|found| found < version));
        rate.of += 1;
    }
    Ok(rate)
}
