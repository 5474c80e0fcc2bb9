//! A process that handles records. It tells each on its standard output, so that killing it loses no
//! word of what it did.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use antipode::barrier::Registry;
use antipode::kafka::{Delivery, Gate};
use redis::AsyncCommands;
use redis::aio::ConnectionManager;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::stage::{TOPIC, consuming, posts, records};
use super::writer::post;
use crate::Failure;
use crate::cli::GateWorker;
use crate::servers::kafka::failed;
use crate::servers::redis::{failed as redis_failed, raw_connection};

/// Handlers in one process.
const HANDLERS: usize = 16;

/// The group of the processes.
const GROUP: &str = "antipode-benchmark-workers";

/// Far more than the lag: a record past it is an error.
const DEADLINE: Duration = Duration::from_secs(150);

/// Handles records until the standard input ends, which is when the workload wants it to, or is gone.
///
/// # Errors
/// [`Failure::Store`].
pub(crate) async fn work(settings: &GateWorker) -> Result<(), Failure> {
    let posts = posts(&settings.primary, &settings.replica)?;
    let registry = Registry::builder().store(posts).deadline(DEADLINE).build().await?;
    let gate = Gate::builder(&records(&settings.kafka)?, &registry)
        .config(&consuming(&settings.kafka, GROUP))
        .topics([TOPIC])
        .deadline(DEADLINE)
        .commit_every(Duration::from_millis(200))
        .build()
        .map_err(failed("be read"))?;
    let gate = Arc::new(gate);
    let to_replica = raw_connection(&settings.replica).await?;
    let mut handlers = JoinSet::new();
    for _ in 0..HANDLERS {
        let (gate, to_replica) = (Arc::clone(&gate), to_replica.clone());
        handlers.spawn(async move {
            loop {
                let delivery = gate.recv().await.map_err(failed("be read"))?;
                handle(delivery, &to_replica).await?;
            }
        });
    }
    let (tell, told) = oneshot::channel();
    // It ends with the process.
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = tell.send(());
    });
    tokio::select! {
        Some(failed) = handlers.join_next() => failed?,
        _ = told => {
            handlers.shutdown().await;
            match Arc::into_inner(gate) {
                Some(gate) => gate.close().await.map_err(failed("be committed to")),
                None => Ok(()),
            }
        }
    }
}

/// Looks the post up, once, and tells what there was.
async fn handle(delivery: Delivery<'_>, to_replica: &ConnectionManager) -> Result<(), Failure> {
    let number = |text: Option<&[u8]>| std::str::from_utf8(text?).ok()?.parse::<u32>().ok();
    let (Some(key), Some(version)) = (number(delivery.key()), number(delivery.payload())) else {
        return Err(Failure::Garbled { what: "a record", found: format!("{delivery:?}") });
    };
    let found: Option<u32> = to_replica.clone().get(post(key)).await.map_err(redis_failed("read a post"))?;
    let seen = if found.is_some_and(|found| found >= version) { "seen" } else { "missed" };
    let waited = if delivery.has_waited() { "waited" } else { "at-once" };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let line = format!("{now} {key} {version} {seen} {waited}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).map_err(redis_failed("tell"))?;
    delivery.done();
    Ok(())
}
