//! The settings of the workload of forged requests.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::StoreKind;

/// What requests with forged lineages cost those with honest ones.
///
/// Honest users store a post and read it in the other region, behind a barrier. In every second turn
/// requests come between that depend on posts which nobody will ever write, each on another one.
#[derive(Debug, Clone, Args)]
pub struct Forged {
    /// Where posts are stored.
    #[arg(long, value_name = "STORE", default_value = "memory")]
    pub(crate) store: StoreKind,
    /// How many forged requests come in each of those turns.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) forged: u32,
    /// How many honest ones come in each turn.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub(crate) honest: u32,
    /// How many honest ones come in a second, whatever becomes of them.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// How late posts reach the replica.
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = humantime::parse_duration)]
    pub(crate) lag: Duration,
    /// How many turns there are of each kind.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
