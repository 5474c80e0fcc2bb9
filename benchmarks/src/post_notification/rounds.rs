//! The rounds: a writer in the US, a reader in Europe, and only a notification between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use antipode::barrier::{BarrierError, Report};
use antipode::lineage::LineageScope;
use futures_util::future::try_join;
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use super::oracle::{Sight, judge};
use super::stage::{Acknowledged, Stage};
use crate::Failure;
use crate::cli::Mode;
use crate::notifier::Notification;
use crate::posts::{Access, Reference};

/// How long a run may take beyond its schedule.
const GRACE: Duration = Duration::from_secs(30);

/// How long a reader sleeps beyond the lag, in [`Mode::Sleep`].
const MARGIN: Duration = Duration::from_millis(10);

/// What the reader of one round saw.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) mode: Mode,
    /// How long the write took, until it was acknowledged.
    pub(crate) write: Duration,
    /// Nothing, if the reader gave up waiting: then the post was not read.
    pub(crate) read: Option<Read>,
    pub(crate) lineage_bytes: usize,
    pub(crate) barrier: Option<Waited>,
}

/// One read of a post.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) sight: Sight,
    /// From the acknowledgement of the write to the end of the read.
    pub(crate) window: Duration,
}

/// One barrier.
#[derive(Debug)]
pub(crate) struct Waited {
    pub(crate) took: Duration,
    pub(crate) outcome: Result<Report, BarrierError>,
}

/// Runs all rounds.
pub(crate) async fn run(stage: &Arc<Stage>, progress: &ProgressBar) -> Result<Vec<Seen>, Failure> {
    let total = u32::try_from(stage.rounds.len()).unwrap_or(u32::MAX);
    progress.set_length(u64::from(total));
    progress.set_message("rounds");
    let mut readers = JoinSet::new();
    for mode in &stage.cell.modes {
        // Subscribed before the first round begins.
        let subscription = stage.notifier.subscribe(stage.channel(*mode)).await?;
        readers.spawn(read_all(Arc::clone(stage), *mode, subscription, progress.clone()));
    }
    let limit = stage.settings.pace() * total + stage.lag() + stage.settings.deadline + GRACE;
    let both = try_join(write_all(stage), collect(readers));
    let late = Failure::TooLate { what: "the end of the rounds", seconds: limit.as_secs() };
    let ((), seen) = tokio::time::timeout(limit, both).await.map_err(|_| late)??;
    Ok(seen.into_iter().flatten().collect())
}

/// Begins every round when it is due.
async fn write_all(stage: &Arc<Stage>) -> Result<(), Failure> {
    let mut rounds = JoinSet::new();
    let mut due = tokio::time::interval(stage.settings.pace().max(Duration::from_micros(1)));
    for number in 0..stage.rounds.len() {
        due.tick().await;
        rounds.spawn(write(Arc::clone(stage), number));
    }
    collect(rounds).await?;
    Ok(())
}

/// The writer's side of one round.
async fn write(stage: Arc<Stage>, number: usize) -> Result<(), Failure> {
    let Some((mode, acknowledged)) = stage.round(number) else {
        return Ok(());
    };
    let mut post = stage.post(number);
    let request = async {
        let began = Instant::now();
        post.reference.session = stage.posts.write(mode.access(), &post).await?;
        acknowledged.get_or_init(|| Acknowledged { at: Instant::now(), took: began.elapsed() });
        stage.notifier.publish(stage.channel(*mode), &post.reference).await
    };
    match mode.access() {
        Access::Raw | Access::Own => request.await,
        Access::Shim => LineageScope::new().run(request).await,
    }
}

/// Handles every notification of one mode, each in a task of its own.
async fn read_all(
    stage: Arc<Stage>,
    mode: Mode,
    mut subscription: Box<dyn crate::notifier::Subscription>,
    progress: ProgressBar,
) -> Result<Vec<Seen>, Failure> {
    let expected = stage.rounds.iter().filter(|round| **round == mode).count();
    let mut handlers = JoinSet::new();
    while handlers.len() < expected {
        for notification in subscription.next().await? {
            let (stage, progress) = (Arc::clone(&stage), progress.clone());
            handlers.spawn(async move {
                let seen = read(&stage, mode, &notification).await;
                progress.inc(1);
                seen
            });
        }
    }
    collect(handlers).await
}

/// The reader's side of one round.
async fn read(stage: &Stage, mode: Mode, notification: &Notification) -> Result<Seen, Failure> {
    let garbled = || Failure::Garbled { what: "a notification", found: notification.post.to_string() };
    let Acknowledged { at, took: write } = stage.acknowledged(&notification.post).ok_or_else(garbled)?;
    let handle = async {
        let barrier = match mode {
            Mode::Barrier => {
                let began = Instant::now();
                let outcome = stage.registry.barrier().await;
                Some(Waited { took: began.elapsed(), outcome })
            }
            _ => None,
        };
        let ready = match mode {
            Mode::Barrier => barrier.as_ref().is_some_and(|barrier| barrier.outcome.is_ok()),
            Mode::Poll => polled(stage, &notification.post).await?,
            Mode::Sleep => {
                tokio::time::sleep(stage.lag() + MARGIN).await;
                true
            }
            Mode::Off | Mode::Propagate | Mode::RemoteApply | Mode::Wait | Mode::CausalSession => true,
        };
        let read = if ready {
            let body = stage.posts.read(mode.access(), &notification.post).await?;
            let window = at.elapsed();
            Some(Read { sight: judge(&notification.post, body.as_deref())?, window })
        } else {
            None
        };
        Ok(Seen { mode, write, read, lineage_bytes: notification.lineage_bytes, barrier })
    };
    match mode.access() {
        Access::Raw | Access::Own => handle.await,
        Access::Shim => LineageScope::from(notification.lineage.clone()).run(handle).await,
    }
}

/// Waits as the paper's published artifact does: until the key of the write exists, whatever its version.
/// The artifact has no deadline.
async fn polled(stage: &Stage, post: &Reference) -> Result<bool, Failure> {
    let exists = async {
        while stage.posts.read(Access::Raw, post).await?.is_none() {
            // The embedded store answers without waiting; let others run.
            tokio::task::yield_now().await;
        }
        Ok(true)
    };
    tokio::time::timeout(stage.settings.deadline, exists).await.unwrap_or(Ok(false))
}

/// What all tasks returned; the first failure ends the others.
async fn collect<T: 'static>(mut tasks: JoinSet<Result<T, Failure>>) -> Result<Vec<T>, Failure> {
    let mut all = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        all.push(ended??);
    }
    Ok(all)
}

impl Mode {
    /// How the stores are used in this mode.
    pub(crate) fn access(self) -> Access {
        match self {
            Self::Off | Self::Poll | Self::Sleep => Access::Raw,
            Self::Propagate | Self::Barrier => Access::Shim,
            Self::RemoteApply | Self::Wait | Self::CausalSession => Access::Own,
        }
    }
}
