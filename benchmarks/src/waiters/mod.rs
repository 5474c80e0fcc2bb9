//! Many barriers wait at one lagging replica for one write, next to as many requests that poll for it.
//!
//! Both sides are measured from the acknowledgement of the write to the moment that the waiter goes on,
//! so both contain the lag.

mod barriers;
mod figures;
#[cfg(feature = "kafka")]
mod kafka;
mod polls;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use antipode::barrier::Registry;
use indicatif::ProgressBar;

use self::figures::{Figures, Measured, Point};
use crate::cli::{Given, StoreKind, Waiters};
use crate::posts::{Post, Posts};
use crate::{Failure, output, posts};

/// How long a waiter may wait.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a run is made of.
pub(crate) struct Stage {
    posts: Arc<dyn Posts>,
    registry: Registry,
    written: AtomicU32,
}

/// Runs the workload, prints its table and writes its figures.
///
/// # Errors
/// [`Failure::NotVisible`] if a barrier failed, and whatever keeps the run from its end.
pub(crate) async fn run(settings: &Waiters) -> Result<(), Failure> {
    let steps = settings.points.len() as u64 * u64::from(settings.repeats);
    let progress = output::progress("starting the store", steps);
    let posts = open(settings.store).await?;
    let registry = Registry::builder().store_arc(posts.reader()).deadline(DEADLINE).build().await?;
    let stage = Arc::new(Stage { posts, registry, written: AtomicU32::new(0) });
    // Every way of access is used once before it is measured.
    stage.point(1, 1, &ProgressBar::hidden()).await?;
    stage.posts.set_lag(settings.lag)?;
    let mut points = Vec::new();
    for waiters in &settings.points {
        progress.set_message(format!("{waiters} waiters"));
        points.push(stage.point(*waiters, settings.repeats, &progress).await?);
    }
    progress.finish_and_clear();
    let figures = Figures::new(settings, stage.posts.version(), points);
    print!("{}", table::render(&figures));
    output::write_json(settings.json.as_deref(), &figures)
}

async fn open(store: StoreKind) -> Result<Arc<dyn Posts>, Failure> {
    match store {
        #[cfg(feature = "kafka")]
        StoreKind::Kafka => Ok(Arc::new(kafka::LateGroup::open().await?)),
        store => posts::open(store, &Given::default(), 1).await,
    }
}

impl Stage {
    /// Barriers and polls in turn.
    async fn point(
        self: &Arc<Self>,
        waiters: u32,
        repeats: u32,
        progress: &ProgressBar,
    ) -> Result<Point, Failure> {
        let (mut barriers, mut polls) = (Measured::default(), Measured::default());
        let bytes = barriers::bytes_per_waiter(self, &self.post(), waiters).await?;
        for _ in 0..repeats {
            barriers.add(barriers::run(self, &self.post(), waiters).await?);
            polls.add(polls::run(self, &self.post(), waiters).await?);
            progress.inc(1);
        }
        Ok(Point::new(waiters, bytes, &barriers, &polls))
    }

    /// A new post, and a small one: polling for it should cost no more than asking whether it exists.
    fn post(&self) -> Post {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        Post::small(format!("p{number}"), 1)
    }
}

/// What all waiters of one turn did.
pub(crate) struct Turn {
    /// Probes, or queries, that the replica got.
    pub(crate) questions: u64,
    /// From the acknowledged write until each waiter went on.
    pub(crate) waits: Vec<Duration>,
    /// Waiters that came when the write was there already.
    pub(crate) late: u64,
}
