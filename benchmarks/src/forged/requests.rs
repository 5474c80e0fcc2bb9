//! The requests of one turn.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use antipode::edge::BAGGAGE_HEADER;
use antipode::lineage::{Baggage, Lineage, LineageCodec, LineageScope, Position, WriteId};
use http::{HeaderMap, HeaderValue};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Stage;
use crate::Failure;
use crate::posts::{Access, POSTS, Post};

/// How often requests are let loose.
const TICK: Duration = Duration::from_millis(1);
/// How far beyond the store's log forged positions lie.
const AHEAD: u64 = 1 << 40;

/// What became of one turn's requests.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// From when each honest request was due until its read had ended.
    pub(crate) honest: Vec<Duration>,
    /// From when each forged request was due until it was refused.
    pub(crate) forged: Vec<Duration>,
    /// Forged requests whose barrier ended otherwise than by naming the position unreachable.
    pub(crate) not_told: u64,
    /// Probes of the store's servers.
    pub(crate) questions: u64,
}

enum Ended {
    Honest(Duration),
    Forged { took: Duration, told: bool },
}

/// Lets `honest` requests loose, `rate` in a second, and `forged` ones evenly between them. All are due at
/// their time, whatever becomes of those before.
pub(crate) async fn turn(stage: &Arc<Stage>, honest: u32, rate: u32, forged: u32) -> Result<Turn, Failure> {
    let mut forgeries = forgeries(stage, forged).await?.into_iter();
    let length = Duration::from_secs(1) * honest / rate;
    let before = stage.questions.0.load(Ordering::Relaxed);
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    let (mut honest_due, mut forged_due) = (0, 0);
    while honest_due < honest || forged_due < forged {
        let now = began.elapsed();
        while honest_due < honest && length * honest_due / honest <= now {
            tasks.spawn(honestly(Arc::clone(stage), began + length * honest_due / honest));
            honest_due += 1;
        }
        while forged_due < forged && length.mul_f64(f64::from(forged_due) / f64::from(forged)) <= now {
            let due = began + length.mul_f64(f64::from(forged_due) / f64::from(forged));
            let headers = forgeries.next().unwrap_or_default();
            let stage = Arc::clone(stage);
            tasks.spawn(async move { Ok(forgery(&stage, &headers, due).await) });
            forged_due += 1;
        }
        sleep_until(Instant::now() + TICK).await;
    }
    let mut turn = Turn::default();
    while let Some(ended) = tasks.join_next().await {
        match ended?? {
            Ended::Honest(took) => turn.honest.push(took),
            Ended::Forged { took, told } => {
                turn.forged.push(took);
                turn.not_told += u64::from(!told);
            }
        }
    }
    turn.questions = stage.questions.0.load(Ordering::Relaxed) - before;
    Ok(turn)
}

/// A user stores a post, and reads it in the other region.
async fn honestly(stage: Arc<Stage>, due: Instant) -> Result<Ended, Failure> {
    let post = post(&stage);
    let headers = headers(&written(&stage, &post).await?);
    let admitted =
        stage.inbound.admit(&headers).map_err(Failure::store("edge", "admit an honest request"))?;
    let scope = LineageScope::from(admitted.lineage);
    let found = scope.run(async {
        stage.registry.barrier().await.map_err(|error| Failure::NotVisible {
            failed: 1,
            barriers: 1,
            first: error.to_string(),
        })?;
        stage.posts.read(Access::Shim, &post.reference).await
    });
    match found.await? {
        Some(_) => Ok(Ended::Honest(due.elapsed())),
        None => Err(Failure::Violated { violations: 1, reads: 1 }),
    }
}

/// A request that depends on what will never be. It is refused before it reads anything.
async fn forgery(stage: &Stage, headers: &HeaderMap, due: Instant) -> Ended {
    let admitted = stage.inbound.admit(headers).unwrap_or_default();
    let scope = LineageScope::from(admitted.lineage);
    let outcome = scope.run(async { stage.registry.barrier().await }).await;
    Ended::Forged { took: due.elapsed(), told: outcome.is_err_and(|error| error.is_unreachable()) }
}

/// The headers of forged requests: each depends on another position.
async fn forgeries(stage: &Stage, count: u32) -> Result<Vec<HeaderMap>, Failure> {
    let lineage = written(stage, &post(stage)).await?;
    let real = lineage.writes().first().copied();
    let real: WriteId =
        real.ok_or(Failure::Garbled { what: "a lineage without a write", found: POSTS.into() })?;
    let position = |number: u32| Position(real.position.0.saturating_add(AHEAD + u64::from(number)));
    let forged = |number| headers(&Lineage::from(WriteId { position: position(number), ..real }));
    Ok((0..count).map(forged).collect())
}

async fn written(stage: &Stage, post: &Post) -> Result<Lineage, Failure> {
    let scope = LineageScope::new();
    scope.run(stage.posts.write(Access::Shim, post)).await?;
    Ok(scope.settled().await)
}

fn headers(lineage: &Lineage) -> HeaderMap {
    let value = Baggage::default().write(&LineageCodec::plain(), lineage).value;
    let value = HeaderValue::try_from(value).into_iter();
    value.map(|value| (http::HeaderName::from_static(BAGGAGE_HEADER), value)).collect()
}

fn post(stage: &Stage) -> Post {
    let number = stage.written.fetch_add(1, Ordering::Relaxed);
    Post::small(format!("p{number}"), 1)
}
