//! The servers of a run: each store's are started once, for all cells.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::stage::Stage;
use crate::cli::{Cell, PostNotification, StoreKind};
use crate::notifier::Notifier;
use crate::posts::Posts;
use crate::{Failure, notifier, posts};

/// Those of all cells.
#[derive(Default)]
pub(super) struct Stores {
    pub(super) posts: BTreeMap<StoreKind, Arc<dyn Posts>>,
    pub(super) notifiers: BTreeMap<StoreKind, Arc<dyn Notifier>>,
}

impl Stores {
    /// Starts them all, so that one that is missing is known before the first cell; then the others are
    /// left as they were.
    ///
    /// # Errors
    /// Those of [`posts::open`] and [`notifier::open`].
    pub(super) async fn start(settings: &PostNotification, cells: &[Cell]) -> Result<Self, Failure> {
        let mut stores = Self::default();
        let Err(failure) = stores.open(settings, cells).await else { return Ok(stores) };
        // Why a store is missing says more than what else it kept from being done.
        let _ = stores.clean_up().await;
        Err(failure)
    }

    /// What a cell is played on; its number sets it apart from the other cells.
    ///
    /// # Errors
    /// Those of [`Stage::new`]; [`Failure::NotBuilt`] if its stores were not started.
    pub(super) async fn stage(
        &self,
        settings: &PostNotification,
        cell: &Cell,
        number: usize,
    ) -> Result<Arc<Stage>, Failure> {
        let posts = self.posts.get(&cell.posts).ok_or_else(|| cell.posts.not_built())?;
        let notifier = self.notifiers.get(&cell.notifier).ok_or_else(|| cell.notifier.not_built())?;
        Stage::new(settings.clone(), cell.clone(), number, Arc::clone(posts), Arc::clone(notifier)).await
    }

    /// Removes what the run wrote, wherever that is possible.
    ///
    /// # Errors
    /// The first of the stores'.
    pub(super) async fn clean_up(&self) -> Result<(), Failure> {
        let mut cleaned = Ok(());
        for notifier in self.notifiers.values() {
            cleaned = cleaned.and(notifier.clean_up().await);
        }
        for posts in self.posts.values() {
            cleaned = cleaned.and(posts.clean_up().await);
        }
        cleaned
    }

    async fn open(&mut self, settings: &PostNotification, cells: &[Cell]) -> Result<(), Failure> {
        let (given, seed) = (&settings.given, settings.seed);
        for &Cell { posts, notifier, .. } in cells {
            if let Entry::Vacant(place) = self.posts.entry(posts) {
                place.insert(posts::open(posts, given, seed).await?);
            }
            if let Entry::Vacant(place) = self.notifiers.entry(notifier) {
                place.insert(notifier::open(notifier, given, seed).await?);
            }
        }
        Ok(())
    }
}
