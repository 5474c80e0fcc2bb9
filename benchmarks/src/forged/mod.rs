//! Honest requests at a service, with and without forged ones between them.
//!
//! A request is what [`Inbound`](antipode::edge::Inbound) makes of its headers, a barrier, and a read; there
//! is no HTTP server around it, whose own costs would hide those.

mod figures;
mod requests;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antipode::barrier::{Observer, Probed, Registry};
use antipode::edge::Inbound;
use antipode::lineage::LineageCodec;

use self::figures::{Figures, Side};
use self::requests::Turn;
use crate::cli::{Forged, Given};
use crate::posts::Posts;
use crate::{Failure, output, posts};

/// How long a barrier may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// A service and its store.
pub(crate) struct Stage {
    posts: Arc<dyn Posts>,
    registry: Registry,
    /// The most that a service can be lured into: whoever calls is believed.
    inbound: Inbound,
    questions: Arc<Questions>,
    written: AtomicU64,
}

/// Probes of all servers.
#[derive(Default)]
struct Questions(AtomicU64);

impl Observer for Questions {
    fn probed(&self, _: &Probed<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs the workload, prints its table and writes its figures.
///
/// # Errors
/// [`Failure::NotVisible`] if an honest request's barrier failed, [`Failure::Violated`] if its read was
/// stale, and whatever keeps the run from its end.
pub(crate) async fn run(settings: &Forged) -> Result<(), Failure> {
    let progress = output::progress("starting the store", u64::from(settings.rounds) * 2);
    let posts = posts::open(settings.store, &Given::default(), 1).await?;
    let questions = Arc::new(Questions::default());
    let registry = Registry::builder().store_arc(posts.reader()).deadline(DEADLINE);
    let registry = registry.observer(Arc::clone(&questions)).build().await?;
    let inbound = Inbound::accept(LineageCodec::plain());
    let stage = Stage { posts, registry, inbound, questions, written: AtomicU64::new(0) };
    let stage = Arc::new(stage);
    // Every way of access is used once before it is measured.
    requests::turn(&stage, 10, 200, 10).await?;
    stage.posts.set_lag(settings.lag)?;
    let (mut without, mut with) = (Side::default(), Side::default());
    for _ in 0..settings.rounds {
        for (side, forged) in [(&mut without, 0), (&mut with, settings.forged)] {
            progress.set_message(format!("{forged} forged requests"));
            side.add(requests::turn(&stage, settings.honest, settings.rate, forged).await?);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let figures = Figures::new(settings, stage.posts.version(), &without, &with);
    print!("{}", table::render(&figures));
    output::write_json(settings.json.as_deref(), &figures)
}
