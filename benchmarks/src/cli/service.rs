//! The settings of the service workload.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// What the layers cost an axum service: the same handler plain, and inside of a `LineageLayer` and a
/// `BarrierLayer` whose barrier finds everything visible, in turn, over HTTP on loopback.
///
/// A Redis and a Postgres with one replica each are started for the run.
#[derive(Debug, Clone, Args)]
pub struct Service {
    /// How many pairs of slices, plain and layered, are measured.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) pairs: u32,
    /// How long each slice is.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = humantime::parse_duration)]
    pub(crate) slice: Duration,
    /// How many connections send requests, each one after the other.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
