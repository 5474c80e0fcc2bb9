//! The `antipode` command.

use std::process::ExitCode;

use antipode_benchmarks::{CountingAllocator, parse_arguments, run};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[tokio::main]
async fn main() -> ExitCode {
    let workload = parse_arguments();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,sqlx_core=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let outcome = tokio::select! {
        outcome = run(workload) => outcome,
        // The servers that were started end with the run.
        _ = tokio::signal::ctrl_c() => return ExitCode::from(130),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("antipode: {}", failure.with_causes());
            ExitCode::FAILURE
        }
    }
}
