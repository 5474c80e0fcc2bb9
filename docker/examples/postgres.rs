//! Postgres with a standby that trails, to try things out: says where they are, and ends with its input (Ctrl-D) or by
//! Ctrl-C.
//!
//! ```sh
//! docker/install postgres
//! cargo run -p antipode-docker --features postgres --example postgres [MILLISECONDS]
//! ```

use std::io::{Read, stdin};
use std::time::Duration;

use antipode_docker::{PostgresOptions, PostgresTopology};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lag = std::env::args().nth(1).map_or(Ok(150), |lag| lag.parse())?;
    let topology = PostgresTopology::start(PostgresOptions::default().standbys(1)).await?;
    topology.link(0).set_delay_to_client(Duration::from_millis(lag));
    println!("# The standby trails by {lag} ms; Ctrl-C ends both.");
    println!("export US={}", topology.primary().url());
    println!("export EU={}", topology.standby(0).url());
    tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
