//! Every pair of post store and notifier, in every variant. Each store's servers are started once, for
//! all cells.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::figures::Figures;
use super::stage::Stage;
use super::{matrix_table, play, verdict, write_report};
use crate::cli::{Cell, PostNotification, StoreKind};
use crate::notifier::Notifier;
use crate::posts::Posts;
use crate::{Failure, notifier, output, posts};

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
    let (count, mut all, mut first) = (cells.len(), Cells { cells: Vec::new() }, None);
    for (number, cell) in cells.into_iter().enumerate() {
        let failed = |source| Failure::Cell { cell: cell.to_string(), source: Box::new(source) };
        let played = async {
            let (posts, notifier) = (stores.posts(cell.posts)?, stores.notifier(cell.notifier)?);
            let stage = Stage::new(settings.clone(), cell.clone(), number, posts, notifier).await?;
            progress.set_position(0);
            play(&stage, &progress).await
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
    stores.clean_up().await?;
    print!("{}", matrix_table::render(&all.cells));
    output::write_json(settings.json.as_deref(), &all)?;
    write_report(settings, &all.cells)?;
    first.map_or(Ok(()), Err)
}

/// The servers of all cells.
struct Stores {
    posts: BTreeMap<StoreKind, Arc<dyn Posts>>,
    notifiers: BTreeMap<StoreKind, Arc<dyn Notifier>>,
}

impl Stores {
    /// Starts them all, so that one that is missing is known before the first cell.
    async fn start(settings: &PostNotification, cells: &[Cell]) -> Result<Self, Failure> {
        let mut stores = Self { posts: BTreeMap::new(), notifiers: BTreeMap::new() };
        for Cell { posts, notifier, .. } in cells {
            if !stores.posts.contains_key(posts) {
                stores.posts.insert(*posts, posts::open(*posts, &settings.given, settings.seed).await?);
            }
            if !stores.notifiers.contains_key(notifier) {
                stores
                    .notifiers
                    .insert(*notifier, notifier::open(*notifier, &settings.given, settings.seed).await?);
            }
        }
        Ok(stores)
    }

    async fn clean_up(&self) -> Result<(), Failure> {
        for notifier in self.notifiers.values() {
            notifier.clean_up().await?;
        }
        for posts in self.posts.values() {
            posts.clean_up().await?;
        }
        Ok(())
    }

    fn posts(&self, kind: StoreKind) -> Result<Arc<dyn Posts>, Failure> {
        self.posts.get(&kind).cloned().ok_or_else(|| kind.not_built())
    }

    fn notifier(&self, kind: StoreKind) -> Result<Arc<dyn Notifier>, Failure> {
        self.notifiers.get(&kind).cloned().ok_or_else(|| kind.not_built())
    }
}
