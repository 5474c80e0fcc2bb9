//! The causal delivery gate: what it keeps through a killed process, and what it costs.

mod figures;
mod judge;
mod stage;
mod stuck;
mod survival;
mod throughput;
mod worker;
mod writer;

use self::figures::Figures;
use self::stage::Stage;
pub(crate) use self::worker::work;
use crate::cli::Gate;
use crate::{Failure, output};

/// Runs the workload, prints what it showed and writes its figures.
///
/// # Errors
/// [`Failure::Violated`] if a record was handled before its post was visible, [`Failure::Garbled`] if
/// one was lost or out of order, and whatever keeps the run from its end.
pub(crate) async fn run(settings: &Gate) -> Result<(), Failure> {
    let progress = output::progress("starting the stores", 0);
    let stage = Stage::open(settings).await?;
    progress.set_message("two processes, one of them killed");
    let survival = survival::run(&stage, settings).await?;
    progress.set_message("throughput");
    let throughput = throughput::run(&stage, settings).await?;
    progress.set_message("one stuck key");
    let stuck = stuck::run(&stage, settings).await?;
    progress.finish_and_clear();
    let figures = Figures::new(settings, survival, throughput, stuck);
    print!("{}", figures.render());
    output::write_json(settings.json.as_deref(), &figures)?;
    figures.verdict()
}
