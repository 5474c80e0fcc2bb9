//! Runs the scenarios, as tests with names.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antipode_barrier::BoxFuture;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;

use crate::record;
use crate::scenarios;
use crate::stage::{Outcome, Stage, Stop};
use crate::{Bed, BedResult};

/// A scenario that has not ended by then hangs. Includes the start of a topology.
const HUNG: Duration = Duration::from_secs(120);

/// A named scenario.
pub(crate) struct Scenario<B> {
    pub(crate) name: &'static str,
    pub(crate) play: for<'a> fn(&'a mut Stage<B>) -> BoxFuture<'a, Outcome>,
}

/// Puts a store through every scenario, and prints each by name like `cargo test` does. Takes the
/// arguments of `cargo test` (a filter, `--exact`, `--list`, `--skip`). Scenarios run one at a time,
/// unless `--test-threads` or the environment variable `RUST_TEST_THREADS` says otherwise: each of those
/// that run at the same time has a bed of its own.
///
/// A scenario that needs what the store cannot do is printed as *ignored*, with the reason.
///
/// With the environment variable `ANTIPODE_CONFORMANCE_RECORD`, a line is appended to the file that it
/// names: the package, the test target, and how many scenarios passed, failed and were ignored.
#[must_use]
pub fn run<B: Bed>() -> ExitCode {
    run_when::<B>(Start::Always)
}

/// Like [`run`], but every scenario is ignored unless `--ignored` or `--include-ignored` asks for it:
/// for a bed that needs what not every machine has, such as a Docker engine.
#[must_use]
pub fn run_if_asked<B: Bed>() -> ExitCode {
    run_when::<B>(Start::IfAsked)
}

/// When scenarios are started.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Always,
    IfAsked,
}

fn run_when<B: Bed>(start: Start) -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            eprintln!("the conformance suite could not start a tokio runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or_else(asked_threads).or(Some(1));
    let idle: Arc<Mutex<Vec<B>>> = Arc::default();
    let trials = scenarios::all::<B>().into_iter().map(|scenario| {
        let (runtime, idle) = (Arc::clone(&runtime), Arc::clone(&idle));
        Trial::ignorable_test(scenario.name, move || play(&runtime, &idle, &scenario))
            .with_ignored_flag(start == Start::IfAsked)
    });
    let asked = start == Start::Always || arguments.ignored || arguments.include_ignored;
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if asked
        && !arguments.list
        && let Err(error) = record::append(&conclusion)
    {
        eprintln!("the counts of the conformance suite could not be recorded: {error}");
        return ExitCode::FAILURE;
    }
    // Beds end their servers when dropped, which may need the runtime.
    let _entered = runtime.enter();
    while let Some(bed) = take(&idle) {
        drop(bed);
    }
    conclusion.exit_code()
}

/// What `cargo test` goes by as well.
fn asked_threads() -> Option<usize> {
    std::env::var("RUST_TEST_THREADS").ok()?.parse().ok().filter(|threads| *threads > 0)
}

fn play<B: Bed>(
    runtime: &Runtime,
    idle: &Mutex<Vec<B>>,
    scenario: &Scenario<B>,
) -> Result<Completion, Failed> {
    // A failed assertion unwinds through here and drops the bed with the stage.
    let _entered = runtime.enter();
    let bed = take(idle);
    let played = async {
        let bed = match bed {
            Some(bed) => bed,
            None => B::start().await?,
        };
        let mut stage = Stage::new(bed, scenario.name);
        let completion = match (scenario.play)(&mut stage).await {
            Ok(()) => Completion::Completed,
            Err(Stop::Unsupported(reason)) => Completion::ignored_with(reason),
            Err(Stop::Failed(error)) => return Err(error),
        };
        BedResult::Ok((completion, stage.strike().await?))
    };
    match runtime.block_on(async { tokio::time::timeout(HUNG, played).await }) {
        Ok(Ok((completion, bed))) => {
            idle.lock().unwrap_or_else(PoisonError::into_inner).extend(bed);
            Ok(completion)
        }
        Ok(Err(error)) => Err(with_sources(error.as_ref()).into()),
        Err(_) => Err(format!("hung: no end within {HUNG:?}").into()),
    }
}

fn take<B>(idle: &Mutex<Vec<B>>) -> Option<B> {
    idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
