//! The command line.

mod choices;
mod forged;
#[cfg(all(feature = "kafka", feature = "redis"))]
mod gate;
mod given;
mod post_notification;
#[cfg(feature = "service")]
mod service;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

pub(crate) use self::choices::{Mode, StoreKind, Variant};
pub(crate) use self::forged::Forged;
#[cfg(all(feature = "kafka", feature = "redis"))]
pub(crate) use self::gate::{Gate, GateWorker};
pub(crate) use self::given::{Given, Pair};
pub(crate) use self::post_notification::{Cell, PostNotification};
#[cfg(feature = "service")]
pub(crate) use self::service::Service;
use crate::{Failure, waiters};

/// Shows what goes wrong between two datastores, that a barrier prevents it, and what that costs.
///
/// Without arguments: `antipode run post-notification --modes off,barrier` on the embedded store, which
/// needs no server and takes a few seconds.
#[derive(Debug, Parser)]
#[command(name = "antipode", version, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run a workload.
    Run {
        #[command(subcommand)]
        workload: Workload,
    },
}

/// What to run.
#[derive(Debug, Clone, Subcommand)]
#[non_exhaustive]
pub enum Workload {
    /// A notification overtakes its post: how often, and what a barrier makes of it.
    PostNotification(Box<PostNotification>),
    /// What a shim costs compared with the bare driver, on loopback and at a distance.
    Overhead(Overhead),
    /// What thousands of barriers that wait at one replica cost, next to polling.
    Waiters(Waiters),
    /// What requests with forged lineages cost those with honest ones.
    Forged(Forged),
    /// What the layers around a service cost.
    #[cfg(feature = "service")]
    Service(Service),
    /// What the causal delivery gate of Kafka consumers keeps, and what it costs.
    #[cfg(all(feature = "kafka", feature = "redis"))]
    Gate(Gate),
    /// One of the processes of that.
    #[cfg(all(feature = "kafka", feature = "redis"))]
    #[command(hide = true)]
    GateWorker(GateWorker),
}

/// What the shims cost: the same operations with the bare driver and through the shim, in turn, on
/// loopback and through a proxy that makes the round trip 1 ms longer.
///
/// Servers are started for the run.
#[derive(Debug, Clone, Args)]
pub struct Overhead {
    /// Which stores' shims: postgres, redis, mongodb, kafka. [default: those that are built in]
    #[arg(long, value_name = "STORE,…", value_delimiter = ',', value_parser = driver)]
    stores: Vec<StoreKind>,
    /// How many pairs of operations for each figure.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rounds: u32,
    /// How large a value is, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub(crate) payload: usize,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// What it costs that many barriers wait at one lagging replica: probes there, time, memory; next to
/// requests that poll the replica, as the paper's published artifact does.
#[derive(Debug, Clone, Args)]
pub struct Waiters {
    /// At whose replica. Kafka has a consumer group instead, which commits late: barriers wait until it
    /// has processed a record.
    #[arg(long, value_name = "STORE", default_value = "memory")]
    pub(crate) store: StoreKind,
    /// How many wait at once.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,100,1000,10000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) points: Vec<u32>,
    /// How late the log arrives at the replica.
    #[arg(long, value_name = "TIME", default_value = "150ms", value_parser = humantime::parse_duration)]
    pub(crate) lag: Duration,
    /// How often each number of waiters is measured.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) repeats: u32,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// What is run without arguments.
const DEFAULT: [&str; 5] = ["antipode", "run", "post-notification", "--modes", "off,barrier"];

fn driver(name: &str) -> Result<StoreKind, String> {
    match StoreKind::from_str(name, false)? {
        StoreKind::Memory => {
            Err("the embedded store has no driver to compare with: the others have".to_owned())
        }
        kind => Ok(kind),
    }
}

impl Overhead {
    /// The stores that are asked for, each once, in their order.
    ///
    /// # Errors
    /// [`Failure::NotBuilt`].
    pub(crate) fn stores(&self) -> Result<Vec<StoreKind>, Failure> {
        let mut stores = self.stores.clone();
        if stores.is_empty() {
            stores.extend(StoreKind::DRIVERS.into_iter().filter(|store| store.must_be_built().is_ok()));
        }
        stores.sort_unstable();
        stores.dedup();
        stores.iter().try_for_each(|store| store.must_be_built())?;
        Ok(stores)
    }
}

/// Parses this process's arguments. Prints and exits for `--help` and for what cannot be understood.
#[must_use]
pub fn parse_arguments() -> Workload {
    let command = parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let action = command.action.or_else(|| Command::parse_from(DEFAULT).action);
    match action {
        Some(Action::Run { workload }) => workload,
        // The line above has a workload.
        None => std::process::exit(2),
    }
}

/// Like [`Parser::try_parse_from`], whose errors repeat what was given. An address may hold a password.
fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Command, clap::Error> {
    Command::try_parse_from(arguments).map_err(|error| {
        if !error.use_stderr() || !error.to_string().contains("://") {
            return error;
        }
        let advice = "an address stands where none is expected: give it to the option of its store, and if they \
                      are two, with only a comma between\n";
        clap::Error::raw(error.kind(), advice).with_cmd(&Command::command())
    })
}

/// Runs a workload and prints what it showed.
///
/// # Errors
/// [`Failure`] if it could not be run to its end, or did not show what it should.
pub async fn run(workload: Workload) -> Result<(), Failure> {
    match workload {
        Workload::PostNotification(settings) => crate::post_notification::run(&settings).await,
        Workload::Waiters(settings) => waiters::run(&settings).await,
        Workload::Forged(settings) => crate::forged::run(&settings).await,
        #[cfg(feature = "service")]
        Workload::Service(settings) => crate::service::run(&settings).await,
        #[cfg(all(feature = "kafka", feature = "redis"))]
        Workload::Gate(settings) => crate::gate::run(&settings).await,
        #[cfg(all(feature = "kafka", feature = "redis"))]
        Workload::GateWorker(settings) => crate::gate::work(&settings).await,
        #[cfg(any(feature = "redis", feature = "postgres", feature = "mongodb", feature = "kafka"))]
        Workload::Overhead(settings) => crate::overhead::run(&settings).await,
        #[cfg(not(any(feature = "redis", feature = "postgres", feature = "mongodb", feature = "kafka")))]
        Workload::Overhead(settings) => {
            settings.stores()?;
            Err(StoreKind::Redis.not_built())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        Command::command().debug_assert();
    }

    /// What is said to arguments that are refused.
    fn refusal(arguments: &[&str]) -> String {
        let all = ["antipode", "run"].iter().chain(arguments);
        parse(all).err().map(|error| error.to_string()).unwrap_or_else(|| panic!("{arguments:?} are taken"))
    }

    #[test]
    fn an_address_that_is_refused_is_not_repeated_for_its_password() {
        let given: [&[&str]; 6] = [
            &["--redis=redis://:hunter2@a/"],
            &["--redis", ":hunter2@a"],
            &["--redis", "redis://a/,", "redis://:hunter2@b/"],
            &["--rediss=redis://:hunter2@a/,redis://:hunter2@b/"],
            &["--posts", "redis://:hunter2@a/"],
            &["--postgres", "postgres://me:hunter2@a/,redis://b/"],
        ];
        for given in given {
            let refusal = refusal(&[&["post-notification"], given].concat());
            assert!(!refusal.contains("hunter2"), "{refusal}");
            assert!(
                refusal.contains("comma") || refusal.contains("--redis"),
                "it says what to do: {refusal}"
            );
        }
    }

    #[test]
    fn stores_that_cannot_be_measured_are_refused_with_the_reason() {
        assert!(refusal(&["post-notification", "--posts", "kafka"]).contains("keeps no posts"));
        assert!(refusal(&["overhead", "--stores", "redis,memory"]).contains("no driver"));
    }
}
