//! The MongoDB store, put through the conformance suite with its servers in containers.
//!
//! `docker/test` runs it where a Docker engine answers; by hand, it is run with `-- --ignored`.

mod bed;

use std::process::ExitCode;

use antipode_docker::Provider;

const PROVIDER: Provider = Provider::Containers;

fn main() -> ExitCode {
    antipode_conformance::run_if_asked::<bed::MongoBed>()
}
