//! Facebook's anomaly: a notification overtakes the post that it is about.
//!
//! Rounds begin at a fixed pace, whether or not earlier ones have ended (open loop), and the modes
//! take turns, so that all of them meet the same machine, the same servers and the same lag.

mod detection;
mod figures;
mod oracle;
mod rounds;
mod setup;
mod table;

use antipode::barrier::Registry;
use rand::SeedableRng;
use rand::rngs::StdRng;

use self::figures::Figures;
use self::rounds::{Seen, Stage};
use crate::cli::{Mode, PostNotification, Variant};
use crate::posts::Post;
use crate::{Failure, notifier, output, posts};

/// Runs the workload, prints its table and writes its figures.
///
/// # Errors
/// [`Failure::Violated`] if a read behind a barrier was stale, [`Failure::NotVisible`] if barriers
/// failed; and whatever keeps the run from its end.
pub(crate) async fn run(settings: &PostNotification) -> Result<(), Failure> {
    let settings = settings.normalised();
    let progress = output::progress("starting the stores", 0);
    let posts = posts::open(settings.posts, settings.seed).await?;
    let notifier = notifier::open(settings.notifier, settings.seed).await?;
    let registry = Registry::builder().store_arc(posts.reader()).deadline(settings.deadline).build().await?;
    let stage = Stage::new(settings.clone(), posts, notifier, registry);

    setup::prepare(&stage, &progress).await?;
    stage.posts.set_lag(settings.lag)?;
    let before = stage.probes()?;
    let seen = rounds::run(&stage, &progress).await?;
    let probes = stage.probes()? - before;
    let detection = match settings.modes.contains(&Mode::Barrier) {
        true => Some(detection::measure(&stage, &progress).await?),
        false => None,
    };
    progress.finish_and_clear();

    let figures = Figures::new(&stage, &seen, probes, detection);
    print!("{}", table::render(&figures));
    output::write_json(settings.json.as_deref(), &figures)?;
    verdict(&seen)
}

/// Whether the run showed what it should.
fn verdict(seen: &[Seen]) -> Result<(), Failure> {
    let barriers = || seen.iter().filter_map(|seen| Some((seen.barrier.as_ref()?, seen.read.as_ref())));
    let reads = || barriers().filter_map(|(_, read)| read);
    let violations = reads().filter(|read| read.sight.is_violation()).count() as u64;
    if violations > 0 {
        return Err(Failure::Violated { violations, reads: reads().count() as u64 });
    }
    let errors = || barriers().filter_map(|(barrier, _)| barrier.outcome.as_ref().err());
    let Some(first) = errors().next().map(ToString::to_string) else { return Ok(()) };
    let (failed, barriers) = (errors().count() as u64, barriers().count() as u64);
    Err(Failure::NotVisible { failed, barriers, first })
}

impl PostNotification {
    /// Each mode once, in their order.
    fn normalised(&self) -> Self {
        let mut settings = self.clone();
        settings.modes.sort();
        settings.modes.dedup();
        settings
    }

    /// A version of the post of a round: the same for the same seed.
    fn post(&self, number: usize, version: u64) -> Post {
        let number = number as u64;
        let mut rng = StdRng::seed_from_u64(self.seed.rotate_left(32) ^ number << 8 ^ version);
        Post::new(format!("p{number}"), version, self.payload, &mut rng)
    }

    /// The version that a round writes.
    fn version(&self) -> u64 {
        match self.variant {
            Variant::Insert => 1,
            Variant::Update => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use antipode::lineage::Lineage;

    use super::oracle::Sight;
    use super::rounds::{Read, Waited};
    use super::*;

    async fn seen(mode: Mode, sight: Sight) -> Seen {
        let registry = Registry::builder().build().await.unwrap();
        let outcome = registry.barrier_on(&Lineage::new()).await;
        let barrier = (mode == Mode::Barrier).then_some(Waited { took: Duration::ZERO, outcome });
        Seen { mode, read: Some(Read { sight, window: Duration::ZERO }), lineage_bytes: 0, barrier }
    }

    #[tokio::test]
    async fn only_a_stale_read_behind_a_barrier_fails_the_run() {
        let off = seen(Mode::Off, Sight::Absent).await;
        let fresh = seen(Mode::Barrier, Sight::Fresh).await;
        let stale = seen(Mode::Barrier, Sight::Stale).await;
        assert!(verdict(&[off, fresh]).is_ok());
        let failed = verdict(&[stale]).unwrap_err();
        assert!(matches!(failed, Failure::Violated { violations: 1, reads: 1 }), "{failed}");
    }
}
