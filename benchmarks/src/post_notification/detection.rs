//! The detection delay: from the moment that a replica has applied a write until the barrier returns.
//!
//! The shims are not asked when that moment was. Where a store applies a write exactly so long after
//! its acknowledgement, it is known. Elsewhere the replica is read again and again with the bare
//! driver; the moment lies between the last look that missed the post and the first that found it. The
//! earlier of them counts, so that the figure is an upper bound, too high by at most one look.
//!
//! These are samples of their own after the rounds, because the looking would disturb those.

use std::sync::Arc;
use std::time::{Duration, Instant};

use antipode::lineage::LineageScope;
use futures_util::future::try_join;
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use super::stage::Stage;
use crate::Failure;
use crate::posts::{Access, Post};
use crate::statistics::Durations;

const SAMPLES: u32 = 50;
/// Between the beginnings of two samples: more than the looking of one takes, so that few overlap.
const PACE: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(60);

/// Measured detection delays.
#[derive(Debug)]
pub(crate) struct Detection {
    pub(crate) delays: Durations,
    pub(crate) samples: u64,
    /// How much too high a delay may be: how long the looks took.
    pub(crate) looks: Durations,
}

/// One sample.
struct Sample {
    delay: Duration,
    look: Duration,
}

/// When a replica applied a write, no later than the truth, and by how much earlier at most.
struct Applied {
    at: Instant,
    look: Duration,
}

pub(crate) async fn measure(stage: &Arc<Stage>, progress: &ProgressBar) -> Result<Detection, Failure> {
    let count = SAMPLES.min(stage.settings.rounds);
    progress.set_message("detection delay");
    let mut tasks = JoinSet::new();
    let mut due = tokio::time::interval(PACE);
    for number in 0..count {
        due.tick().await;
        tasks.spawn(sample(Arc::clone(stage), number));
    }
    let mut samples = Vec::new();
    while let Some(sample) = tasks.join_next().await {
        samples.extend(sample??);
    }
    Ok(Detection {
        delays: samples.iter().map(|sample| sample.delay).collect(),
        samples: samples.len() as u64,
        looks: samples.iter().map(|sample| sample.look).collect(),
    })
}

/// Nothing if the replica had the post before anyone looked, or the barrier failed.
async fn sample(stage: Arc<Stage>, number: u32) -> Result<Option<Sample>, Failure> {
    let post = stage.post_of(&format!("detected-{number}"), 0, 1);
    let scope = LineageScope::new();
    scope.run(stage.posts.write(Access::Shim, &post)).await?;
    let acknowledged = Instant::now();
    let lineage = scope.settled().await;
    let barrier = async {
        let outcome = stage.registry.barrier_on(&lineage).await;
        Ok(outcome.is_ok().then(Instant::now))
    };
    let (returned, applied) = try_join(barrier, applied(&stage, &post, acknowledged)).await?;
    let both = returned.zip(applied);
    Ok(both.map(|(returned, Applied { at, look })| Sample {
        delay: returned.saturating_duration_since(at),
        look,
    }))
}

async fn applied(stage: &Stage, post: &Post, acknowledged: Instant) -> Result<Option<Applied>, Failure> {
    if let Some(lag) = stage.posts.exact_lag() {
        return Ok(Some(Applied { at: acknowledged + lag, look: Duration::ZERO }));
    }
    // Until shortly before the earliest moment it can be.
    tokio::time::sleep(stage.lag().mul_f64(0.95).saturating_sub(acknowledged.elapsed())).await;
    let mut missed = None;
    while acknowledged.elapsed() < LIMIT {
        let asked = Instant::now();
        if stage.posts.read(Access::Raw, &post.reference).await?.is_some() {
            return Ok(missed.map(|at| Applied { at, look: at.elapsed() }));
        }
        missed = Some(asked);
    }
    Err(Failure::TooLate { what: "replication", seconds: LIMIT.as_secs() })
}
