//! The rounds: a writer in the US, a reader in Europe, and only a notification between them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use antipode::barrier::{BarrierError, Registry, Report};
use antipode::lineage::LineageScope;
use futures_util::future::try_join;
use indicatif::ProgressBar;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::task::JoinSet;

use super::oracle::{Sight, judge};
use crate::Failure;
use crate::cli::{Mode, PostNotification};
use crate::notifier::{Notification, Notifier};
use crate::posts::{Access, Posts};

/// How long a run may take beyond its schedule.
const GRACE: Duration = Duration::from_secs(30);

/// What a run is made of.
pub(crate) struct Stage {
    pub(crate) settings: PostNotification,
    pub(crate) posts: Box<dyn Posts>,
    pub(crate) notifier: Box<dyn Notifier>,
    /// The reader's.
    pub(crate) registry: Registry,
    /// The mode of each round.
    pub(crate) rounds: Vec<Mode>,
    /// When each round's post was acknowledged: for the clock only, the reader takes nothing else
    /// from it.
    acknowledged: Vec<OnceLock<Instant>>,
}

/// What the reader of one round saw.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) mode: Mode,
    /// Nothing, if the barrier failed: then the post was not read.
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

impl Stage {
    pub(crate) fn new(
        settings: PostNotification,
        posts: Box<dyn Posts>,
        notifier: Box<dyn Notifier>,
        registry: Registry,
    ) -> Arc<Self> {
        let mut rng = StdRng::seed_from_u64(settings.seed);
        let mut turn = settings.modes.clone();
        let turns = (0..settings.rounds).flat_map(|_| {
            turn.shuffle(&mut rng);
            turn.clone()
        });
        let rounds: Vec<Mode> = turns.collect();
        let acknowledged = rounds.iter().map(|_| OnceLock::new()).collect();
        Arc::new(Self { settings, posts, notifier, registry, rounds, acknowledged })
    }

    /// How often the reader's replica was probed so far.
    pub(crate) fn probes(&self) -> Result<u64, Failure> {
        let (store, replica) = self.posts.place()?;
        Ok(self.registry.probes(store, replica).unwrap_or_default())
    }
}

/// Runs all rounds.
pub(crate) async fn run(stage: &Arc<Stage>, progress: &ProgressBar) -> Result<Vec<Seen>, Failure> {
    let total = u32::try_from(stage.rounds.len()).unwrap_or(u32::MAX);
    progress.set_length(u64::from(total));
    progress.set_message("rounds");
    let mut readers = JoinSet::new();
    for mode in &stage.settings.modes {
        // Subscribed before the first round begins.
        let subscription = stage.notifier.subscribe(*mode).await?;
        readers.spawn(read_all(Arc::clone(stage), *mode, subscription, progress.clone()));
    }
    let limit = stage.settings.pace * total + stage.settings.lag + stage.settings.deadline + GRACE;
    let both = try_join(write_all(stage), collect(readers));
    let late = Failure::TooLate { what: "the end of the rounds", seconds: limit.as_secs() };
    let ((), seen) = tokio::time::timeout(limit, both).await.map_err(|_| late)??;
    Ok(seen.into_iter().flatten().collect())
}

/// Begins every round when it is due.
async fn write_all(stage: &Arc<Stage>) -> Result<(), Failure> {
    let mut rounds = JoinSet::new();
    let mut due = tokio::time::interval(stage.settings.pace.max(Duration::from_micros(1)));
    for number in 0..stage.rounds.len() {
        due.tick().await;
        rounds.spawn(write(Arc::clone(stage), number));
    }
    collect(rounds).await?;
    Ok(())
}

/// The writer's side of one round.
async fn write(stage: Arc<Stage>, number: usize) -> Result<(), Failure> {
    let Some((mode, acknowledged)) = stage.rounds.get(number).zip(stage.acknowledged.get(number)) else {
        return Ok(());
    };
    let post = stage.settings.post(number, stage.settings.version());
    let request = async {
        stage.posts.write(mode.access(), &post).await?;
        acknowledged.get_or_init(Instant::now);
        stage.notifier.publish(*mode, &post.reference).await
    };
    match mode.access() {
        Access::Raw => request.await,
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
    let number = notification.post.post.strip_prefix('p').and_then(|number| number.parse::<usize>().ok());
    let acknowledged = number.and_then(|number| stage.acknowledged.get(number)?.get());
    let garbled = || Failure::Garbled { what: "a notification", found: notification.post.to_string() };
    let acknowledged = acknowledged.ok_or_else(garbled)?;
    let handle = async {
        let barrier = match mode {
            Mode::Barrier => {
                let began = Instant::now();
                let outcome = stage.registry.barrier().await;
                Some(Waited { took: began.elapsed(), outcome })
            }
            Mode::Off | Mode::Propagate => None,
        };
        let read = if barrier.as_ref().is_some_and(|barrier| barrier.outcome.is_err()) {
            None
        } else {
            let body = stage.posts.read(mode.access(), &notification.post.post).await?;
            let window = acknowledged.elapsed();
            Some(Read { sight: judge(&notification.post, body.as_deref())?, window })
        };
        Ok(Seen { mode, read, lineage_bytes: notification.lineage_bytes, barrier })
    };
    match mode.access() {
        Access::Raw => handle.await,
        Access::Shim => LineageScope::from(notification.lineage.clone()).run(handle).await,
    }
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
            Self::Off => Access::Raw,
            Self::Propagate | Self::Barrier => Access::Shim,
        }
    }
}
