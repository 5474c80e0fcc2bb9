//! Facebook's anomaly: a notification overtakes the post that it is about.
//!
//! Rounds begin at a fixed pace, whether or not earlier ones have ended (open loop), and the modes
//! take turns, so that all of them meet the same machine, the same servers and the same lag.

mod detection;
mod figures;
mod matrix;
mod matrix_table;
mod oracle;
mod report;
mod rounds;
mod setup;
mod stage;
mod stores;
mod table;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use indicatif::ProgressBar;

use self::figures::Figures;
use self::rounds::Seen;
use self::stage::Stage;
use self::stores::Stores;
use crate::cli::{Mode, PostNotification};
use crate::{Failure, output};

/// Runs the workload, or its matrix, prints a table and writes the figures.
///
/// # Errors
/// [`Failure::Violated`] if a read behind a barrier was stale, [`Failure::NotVisible`] if barriers
/// failed; and whatever keeps the run from its end.
pub(crate) async fn run(settings: &PostNotification) -> Result<(), Failure> {
    let cells = settings.cells()?;
    if settings.matrix {
        return matrix::run(settings, cells).await;
    }
    let Some(cell) = cells.into_iter().next() else { return Ok(()) };
    let progress = output::progress("starting the stores", 0);
    let stores = Stores::start(settings, std::slice::from_ref(&cell)).await?;
    let played = async { play(&stores.stage(settings, &cell, 0).await?, &progress).await };
    let played = played.await;
    progress.finish_and_clear();
    let cleaned = stores.clean_up().await;
    let (figures, seen) = played?;
    print!("{}", table::render(&figures));
    output::write_json(settings.json.as_deref(), &figures)?;
    write_report(settings, std::slice::from_ref(&figures))?;
    verdict(&seen).and(cleaned)
}

fn write_report(settings: &PostNotification, cells: &[Figures]) -> Result<(), Failure> {
    let Some(path) = &settings.report else { return Ok(()) };
    output::write("report", path, &report::page(cells, SystemTime::now()))
}

/// Runs one cell to its end.
async fn play(stage: &Arc<Stage>, progress: &ProgressBar) -> Result<(Figures, Vec<Seen>), Failure> {
    stage.posts.set_lag(Duration::ZERO)?;
    setup::prepare(stage, progress).await?;
    stage.posts.set_lag(stage.lag())?;
    let before = stage.probes()?;
    let seen = rounds::run(stage, progress).await?;
    let probes = stage.probes()? - before;
    let detection = match stage.cell.modes.contains(&Mode::Barrier) {
        true => Some(detection::measure(stage, progress).await?),
        false => None,
    };
    Ok((Figures::new(stage, &seen, probes, detection), seen))
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

#[cfg(test)]
mod tests {
    use antipode::barrier::Registry;
    use antipode::lineage::Lineage;

    use super::oracle::Sight;
    use super::rounds::{Read, Waited};
    use super::*;

    async fn seen(mode: Mode, sight: Sight) -> Seen {
        let registry = Registry::builder().build().await.unwrap();
        let outcome = registry.barrier_on(&Lineage::new()).await;
        let barrier = (mode == Mode::Barrier).then_some(Waited { took: Duration::ZERO, outcome });
        let read = Some(Read { sight, window: Duration::ZERO });
        Seen { mode, write: Duration::ZERO, read, lineage_bytes: 0, barrier }
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
