//! The settings of the gate workload.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// What the causal delivery gate keeps, and what it costs.
///
/// Records that refer to posts are read from Kafka by two processes, one of which is killed and started
/// again in the middle, while the posts reach the replica that they read late. Then: how fast a gate is
/// beside the plain consumer when nothing is late, and what one stuck key costs the others.
///
/// Servers are started for the run.
#[derive(Debug, Clone, Args)]
pub struct Gate {
    /// How many records.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    pub(crate) records: u32,
    /// Of how many keys.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub(crate) keys: u32,
    /// How late the posts reach the replica.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = humantime::parse_duration)]
    pub(crate) lag: Duration,
    /// How often each side is measured.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// One of the processes that handle records. The workload starts it.
#[derive(Debug, Clone, Args)]
pub struct GateWorker {
    #[arg(long)]
    pub(crate) kafka: String,
    #[arg(long)]
    pub(crate) primary: String,
    #[arg(long)]
    pub(crate) replica: String,
}
