//! Servers that are far away.

use std::time::Duration;

use antipode_docker::{Node, Proxy};
use indicatif::ProgressBar;

use super::pairs::Pairs;
use crate::Failure;
use crate::cli::Overhead;
use crate::servers::reached;

/// A primary and a replica at one distance, and what is measured there.
pub(crate) struct Distance<'a> {
    pub(crate) settings: &'a Overhead,
    progress: &'a ProgressBar,
    round_trip: Duration,
    /// The address of the primary.
    pub(crate) primary: String,
    /// The address of the replica.
    pub(crate) replica: String,
    /// What makes them so far away.
    _proxies: [Option<Proxy>; 2],
}

impl<'a> Distance<'a> {
    /// Puts two servers, each with its address, so far away.
    ///
    /// # Errors
    /// [`Failure`] if a proxy does not start.
    pub(crate) async fn put<S>(
        settings: &'a Overhead,
        progress: &'a ProgressBar,
        round_trip: Duration,
        [primary, replica]: [(&Node<S>, String); 2],
    ) -> Result<Self, Failure> {
        let (primary, near) = reached(primary, round_trip).await?;
        let (replica, far) = reached(replica, round_trip).await?;
        Ok(Self { settings, progress, round_trip, primary, replica, _proxies: [near, far] })
    }

    /// A row of the table, of what is compared.
    pub(crate) fn pairs(&self, form: &'static str) -> Pairs<'a> {
        let Self { settings, progress, round_trip, .. } = *self;
        Pairs { form, round_trip, rounds: settings.rounds, progress }
    }
}
