//! What a run is made of.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use antipode::barrier::Registry;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::Failure;
use crate::cli::{Cell, Mode, PostNotification, Variant};
use crate::notifier::{Channel, Notifier};
use crate::posts::{Post, Posts, Reference};

/// The servers, the rounds, and what is known of them.
pub(crate) struct Stage {
    pub(crate) settings: PostNotification,
    pub(crate) cell: Cell,
    /// Sets the posts and channels of this run apart from those of others on the same servers.
    run: usize,
    pub(crate) posts: Arc<dyn Posts>,
    pub(crate) notifier: Arc<dyn Notifier>,
    /// The reader's.
    pub(crate) registry: Registry,
    /// The mode of each round.
    pub(crate) rounds: Vec<Mode>,
    /// When each round's post was acknowledged: for the clock only, the reader takes nothing else
    /// from it.
    acknowledged: Vec<OnceLock<Acknowledged>>,
}

/// When a write was acknowledged, and how long that took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acknowledged {
    pub(crate) at: Instant,
    pub(crate) took: Duration,
}

impl Stage {
    /// # Errors
    /// [`Failure::Registry`] if the store refuses to be registered.
    pub(crate) async fn new(
        settings: PostNotification,
        cell: Cell,
        run: usize,
        posts: Arc<dyn Posts>,
        notifier: Arc<dyn Notifier>,
    ) -> Result<Arc<Self>, Failure> {
        let registry = Registry::builder().store_arc(posts.reader()).deadline(settings.deadline);
        let registry = registry.build().await?;
        let rounds = turns(&cell.modes, &settings);
        let acknowledged = rounds.iter().map(|_| OnceLock::new()).collect();
        Ok(Arc::new(Self { settings, cell, run, posts, notifier, registry, rounds, acknowledged }))
    }

    /// The mode of a round, and where its acknowledgement is kept.
    pub(crate) fn round(&self, number: usize) -> Option<(&Mode, &OnceLock<Acknowledged>)> {
        self.rounds.get(number).zip(self.acknowledged.get(number))
    }

    /// When the post of a notification was acknowledged.
    pub(crate) fn acknowledged(&self, post: &Reference) -> Option<Acknowledged> {
        let (_, number) = post.post.rsplit_once('-')?;
        self.acknowledged.get(number.parse::<usize>().ok()?)?.get().copied()
    }

    /// How late the log of posts arrives, as far as that is known.
    pub(crate) fn lag(&self) -> Duration {
        self.cell.lag.unwrap_or_default()
    }

    pub(crate) fn channel(&self, mode: Mode) -> Channel {
        Channel { run: self.run, mode }
    }

    /// The name of a post of this run.
    pub(crate) fn id(&self, name: &str) -> String {
        format!("{}-{name}", self.run)
    }

    /// What a round writes: the same for the same seed.
    pub(crate) fn post(&self, number: usize) -> Post {
        match self.cell.variant {
            Variant::Insert => self.version(number, 1),
            Variant::Update => self.version(number, 2),
            Variant::Delete => Post::deleted(self.id(&number.to_string())),
        }
    }

    /// A version of the post of a round.
    pub(crate) fn version(&self, number: usize, version: u64) -> Post {
        self.post_of(&number.to_string(), number, version)
    }

    /// A post of the usual size under another name.
    pub(crate) fn post_of(&self, name: &str, number: usize, version: u64) -> Post {
        let seed = self.settings.seed ^ ((number as u64) << 20) ^ version;
        Post::new(self.id(name), version, self.settings.payload, &mut StdRng::seed_from_u64(seed))
    }

    /// How often the reader's replica was probed so far.
    pub(crate) fn probes(&self) -> Result<u64, Failure> {
        let (store, replica) = self.posts.place()?;
        Ok(self.registry.probes(store, replica).unwrap_or_default())
    }
}

/// The modes take turns, so that all meet the same machine; all but polling, which is so busy that the
/// others would be measured beside it, and comes last.
fn turns(modes: &[Mode], settings: &PostNotification) -> Vec<Mode> {
    let mut rng = StdRng::seed_from_u64(settings.seed);
    let (busy, mut turn): (Vec<Mode>, Vec<Mode>) = modes.iter().partition(|mode| **mode == Mode::Poll);
    let turns = (0..settings.rounds).flat_map(|_| {
        turn.shuffle(&mut rng);
        turn.clone()
    });
    let mut all: Vec<Mode> = turns.collect();
    all.extend(busy.iter().flat_map(|mode| (0..settings.rounds).map(|_| *mode)));
    all
}
