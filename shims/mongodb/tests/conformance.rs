//! The MongoDB store, put through the conformance suite.

mod bed;

use std::process::ExitCode;

use antipode_docker::Provider;

const PROVIDER: Provider = Provider::Native;

fn main() -> ExitCode {
    antipode_conformance::run::<bed::MongoBed>()
}
