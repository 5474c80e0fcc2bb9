//! Barriers as scenarios use them: refused, under way, many.

use std::time::Duration;

use antipode_barrier::{BarrierError, Registry, Report, Verdict};
use antipode_lineage::{Lineage, WriteId};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::stage::{Outcome, PATIENCE, Stop};

/// A deadline that passes while nothing happens.
const SHORT: Duration = Duration::from_millis(200);

/// A barrier that must not say visible, with a short deadline that it must keep.
pub(crate) async fn refused(registry: &Registry, lineage: &Lineage) -> Outcome<BarrierError> {
    let barrier = registry.barrier_on(lineage).deadline(SHORT).into_future();
    match tokio::time::timeout(PATIENCE, barrier).await {
        Ok(Err(error)) => Ok(error),
        Ok(Ok(report)) => {
            Err(Stop::failed(format!("{lineage} must not be visible, the barrier said {report:?}")))
        }
        Err(_) => Err(Stop::failed(format!("a barrier of {SHORT:?} did not return in {PATIENCE:?}"))),
    }
}

/// A barrier on writes that lag, and on nothing worse: it times out, and the dry run calls them
/// pending. (Where they stand for all that the primaries have, a shard without any is visible.)
pub(crate) async fn pending(registry: &Registry, lineage: &Lineage) -> Outcome {
    let given_up = Instant::now() + PATIENCE;
    let error = loop {
        let error = refused(registry, lineage).await?;
        // A busy machine may keep a replica from answering at all in so short a time.
        if !error.is_store_down() || Instant::now() >= given_up {
            break error;
        }
    };
    assert!(error.is_timeout(), "{lineage} is on its way: {error}");
    let verdicts = verdicts(registry, lineage).await;
    let is_placed = lineage.writes().iter().any(|write| !write.is_unplaced());
    let expected = |verdict: Verdict| match verdict {
        Verdict::Visible => !is_placed,
        other => other == Verdict::Pending,
    };
    assert!(
        verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Pending)
            && verdicts.iter().all(|(_, verdict)| expected(*verdict)),
        "{lineage} is on its way, the dry run says {verdicts:?}"
    );
    Ok(())
}

/// What the dry run says.
pub(crate) async fn verdicts(registry: &Registry, lineage: &Lineage) -> Vec<(WriteId, Verdict)> {
    let found = registry.barrier_on(lineage).probe().await;
    found.into_iter().map(|dependency| (dependency.write, dependency.verdict)).collect()
}

/// Barriers under way, which end with this.
pub(crate) struct Waiting(Vec<JoinHandle<Result<Report, BarrierError>>>);

impl Waiting {
    /// Begins `many` barriers, and returns when all of them wait.
    pub(crate) async fn begin(registry: &Registry, lineage: &Lineage, many: usize) -> Outcome<Self> {
        let begin = || {
            let (registry, lineage) = (registry.clone(), lineage.clone());
            tokio::spawn(async move { registry.barrier_on(&lineage).await })
        };
        let before = registry.waiting();
        let waiting = Self((0..many).map(|_| begin()).collect());
        eventually("every barrier waits", || registry.waiting() >= before + many).await?;
        Ok(waiting)
    }

    /// What they ended with.
    pub(crate) async fn end(mut self) -> Outcome<Vec<Result<Report, BarrierError>>> {
        let mut outcomes = Vec::with_capacity(self.0.len());
        for barrier in &mut self.0 {
            outcomes.push(barrier.await?);
        }
        Ok(outcomes)
    }

    /// All of them must say visible.
    pub(crate) async fn visible(self) -> Outcome {
        for outcome in self.end().await? {
            outcome?;
        }
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, so: impl Fn() -> bool) -> Outcome {
    let watch = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, watch).await;
    ended.map_err(|_| Stop::failed(format!("never came: {what}")))
}
