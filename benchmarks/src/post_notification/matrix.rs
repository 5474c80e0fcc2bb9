//! Every pair of post store and notifier, in every variant.

use indicatif::ProgressBar;
use serde::Serialize;

use super::figures::Figures;
use super::stores::Stores;
use super::{matrix_table, play, verdict, write_report};
use crate::cli::{Cell, PostNotification};
use crate::{Failure, output};

/// The figures of all cells.
#[derive(Debug, Serialize)]
pub(crate) struct Cells {
    pub(crate) cells: Vec<Figures>,
}

/// Runs all cells, prints their table and writes their figures.
///
/// # Errors
/// [`Failure::Cell`] for the first cell that did not show what it should, or could not be run: the
/// figures of those before it are written.
pub(crate) async fn run(settings: &PostNotification, cells: Vec<Cell>) -> Result<(), Failure> {
    let progress = output::progress("starting the stores", 0);
    let stores = Stores::start(settings, &cells).await?;
    run_on(&stores, settings, cells, &progress).await
}

async fn run_on(
    stores: &Stores,
    settings: &PostNotification,
    cells: Vec<Cell>,
    progress: &ProgressBar,
) -> Result<(), Failure> {
    let (count, mut all, mut first) = (cells.len(), Cells { cells: Vec::new() }, None);
    for (number, cell) in cells.into_iter().enumerate() {
        let failed = |source| Failure::Cell { cell: cell.to_string(), source: Box::new(source) };
        let played = async {
            let stage = stores.stage(settings, &cell, number).await?;
            progress.set_position(0);
            play(&stage, progress).await
        };
        match played.await {
            Ok((figures, seen)) => {
                let line = matrix_table::line(&figures);
                progress.suspend(|| println!("[{}/{count}] {cell}: {line}", number + 1));
                first = first.or(verdict(&seen).err().map(failed));
                all.cells.push(figures);
            }
            Err(failure) => {
                first = first.or(Some(failed(failure)));
                break;
            }
        }
    }
    progress.finish_and_clear();
    let cleaned = stores.clean_up().await;
    print!("{}", matrix_table::render(&all.cells));
    output::write_json(settings.json.as_deref(), &all)?;
    write_report(settings, &all.cells)?;
    first.map_or(cleaned, Err)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use antipode::barrier::BoxFuture;
    use tempfile::NamedTempFile;

    use super::*;
    use crate::cli::StoreKind;
    use crate::notifier::{Channel, Notifier, Subscription};
    use crate::posts::Reference;

    /// A matrix of one cell that needs no server, and where its figures and its report go.
    async fn small_matrix() -> (Stores, PostNotification, Vec<Cell>, [NamedTempFile; 2]) {
        let files = [NamedTempFile::new().unwrap(), NamedTempFile::new().unwrap()];
        let [json, report] = files.each_ref().map(|file| file.path().to_str().unwrap());
        let one = ["--matrix", "--posts=memory", "--notifier=memory", "--variant=insert"];
        let extent = ["--modes=off", "--rounds=2", "--lag=10ms", "--json", json, "--report", report];
        let settings = PostNotification::of([one.as_slice(), &extent].concat());
        let cells = settings.cells().unwrap();
        (Stores::start(&settings, &cells).await.unwrap(), settings, cells, files)
    }

    fn assert_one_cell_is_written([json, report]: [NamedTempFile; 2]) {
        let shown: serde_json::Value = serde_json::from_reader(json).unwrap();
        let [cell] = shown["cells"].as_array().unwrap().as_slice() else { panic!("{shown}") };
        assert_eq!(cell["modes"]["off"]["reads"], 2, "{shown}");
        assert!(std::fs::read_to_string(report).unwrap().contains("Posts in memory"));
    }

    #[tokio::test]
    async fn what_was_shown_before_a_cell_broke_is_written() {
        let (stores, settings, mut cells, files) = small_matrix().await;
        cells.push(Cell { posts: StoreKind::Redis, ..cells[0].clone() });
        cells.push(cells[0].clone());
        let failure = run_on(&stores, &settings, cells, &ProgressBar::hidden()).await.unwrap_err();
        assert!(failure.to_string().contains("posts in redis"), "the one that was not started: {failure}");
        assert_one_cell_is_written(files);
    }

    /// On servers that cannot be reached any more when the run is over.
    struct GoneAtTheEnd(Arc<dyn Notifier>);

    impl Notifier for GoneAtTheEnd {
        fn version(&self) -> String {
            self.0.version()
        }

        fn publish<'a>(
            &'a self,
            channel: Channel,
            post: &'a Reference,
        ) -> BoxFuture<'a, Result<(), Failure>> {
            self.0.publish(channel, post)
        }

        fn subscribe(&self, channel: Channel) -> BoxFuture<'_, Result<Box<dyn Subscription>, Failure>> {
            self.0.subscribe(channel)
        }

        fn clean_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
            Box::pin(std::future::ready(Err(Failure::TooLate { what: "the clean-up", seconds: 1 })))
        }
    }

    #[tokio::test]
    async fn a_clean_up_that_fails_takes_no_figures_along_and_is_told() {
        let (mut stores, settings, cells, files) = small_matrix().await;
        let notifier = stores.notifiers.remove(&StoreKind::Memory).unwrap();
        stores.notifiers.insert(StoreKind::Memory, Arc::new(GoneAtTheEnd(notifier)));
        let failure = run_on(&stores, &settings, cells, &ProgressBar::hidden()).await.unwrap_err();
        assert!(matches!(failure, Failure::TooLate { what: "the clean-up", .. }), "{failure}");
        assert_one_cell_is_written(files);
    }
}
