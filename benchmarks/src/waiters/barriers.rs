//! Barriers that wait.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use antipode::barrier::BarrierFuture;
use antipode::lineage::{Lineage, LineageScope};
use tokio::task::JoinSet;

use super::{Stage, Turn};
use crate::posts::{Access, Post};
use crate::{Allocations, Failure};

/// Each waiter is a task with one barrier.
pub(crate) async fn run(stage: &Arc<Stage>, post: &Post, waiters: u32) -> Result<Turn, Failure> {
    let before = probes(stage)?;
    let lineage = written(stage, post).await?;
    let acknowledged = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..waiters {
        let (stage, lineage) = (Arc::clone(stage), lineage.clone());
        tasks.spawn(async move {
            let outcome = stage.registry.barrier_on(&lineage).await;
            (acknowledged.elapsed(), outcome)
        });
    }
    let mut turn = Turn { questions: 0, waits: Vec::with_capacity(waiters as usize), late: 0 };
    let mut failures = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (wait, outcome) = ended?;
        match outcome {
            Ok(report) => {
                turn.waits.push(wait);
                turn.late += u64::from(!report.prevented());
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    if let Some(first) = failures.first() {
        let (failed, first) = (failures.len() as u64, first.clone());
        return Err(Failure::NotVisible { failed, barriers: u64::from(waiters), first });
    }
    turn.questions = probes(stage)? - before;
    Ok(turn)
}

/// What a waiting barrier occupies: its future, and what the engine keeps for it. Without the task that
/// awaits it, which differs from service to service.
pub(crate) async fn bytes_per_waiter(stage: &Stage, post: &Post, waiters: u32) -> Result<u64, Failure> {
    let lineage = written(stage, post).await?;
    let mut barriers: Vec<Pin<Box<BarrierFuture<'_>>>> = Vec::with_capacity(waiters as usize);
    let before = Allocations::now().live_bytes;
    for _ in 0..waiters {
        let mut barrier = Box::pin(stage.registry.barrier_on(&lineage).into_future());
        // It registers with the engine and waits: nobody is to be woken.
        let _ = barrier.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        barriers.push(barrier);
    }
    let grown = Allocations::now().live_bytes.saturating_sub(before);
    drop(barriers);
    // The other measurements begin with this write applied.
    stage.registry.barrier_on(&lineage).await.map_err(|error| Failure::NotVisible {
        failed: 1,
        barriers: 1,
        first: error.to_string(),
    })?;
    Ok(grown / u64::from(waiters.max(1)))
}

async fn written(stage: &Stage, post: &Post) -> Result<Lineage, Failure> {
    let scope = LineageScope::new();
    scope.run(stage.posts.write(Access::Shim, post)).await?;
    Ok(scope.settled().await)
}

fn probes(stage: &Stage) -> Result<u64, Failure> {
    let (store, replica) = stage.posts.place()?;
    Ok(stage.registry.probes(store, replica).unwrap_or_default())
}
