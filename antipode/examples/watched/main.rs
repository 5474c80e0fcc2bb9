//! Services to be watched: readers in Europe follow notices that overtake their posts, behind a barrier.
//!
//! `cargo run -p antipode --features metrics,opentelemetry,tower --example watched`, then
//! <http://127.0.0.1:9898/metrics>, or the dashboard of `docker/compose.yaml` with its profile `observe`.
//!
//! - `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:14318` has the spans sent there, which is where that
//!   profile's Jaeger listens: the requests, their barriers and captures, and the links from a wait to the
//!   write that it waited for.
//! - `POSTGRES=<primary's URL>,<standby's URL>`, with the feature `postgres`, has profiles stored there as
//!   well. Only then are there captures beside the request, and detections: the embedded stores tell at once.
//!
//! One reader in eight has no time to wait. Now and then something is written outside of any lineage, and a
//! request comes with one that cannot be read: so that every panel has something to show.

mod profiles;
mod reader;
mod telemetry;

use std::env;
use std::time::Duration;

use antipode::memory::Lag;
use antipode::opentelemetry::WriteLinks;
use antipode::prelude::*;
use http::HeaderValue;
use tracing::{Instrument, info_span};

use crate::profiles::Profiles;
use crate::reader::Reader;

/// The port that the Prometheus of `docker/compose.yaml` scrapes. An argument names another.
const SCRAPED: u16 = 9898;

/// What ends the example.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let port = env::args().nth(1).map_or(Ok(SCRAPED), |port| port.parse())?;
    let metrics = telemetry::serve_metrics(port)?;
    telemetry::export_spans()?;
    let slow = Lag::of(Duration::from_millis(120));
    let posts = MemoryStore::builder("posts").region("us").lagging("eu", slow).build()?;
    let notices = MemoryStore::builder("notices").region("us").region("eu").build()?;
    let mut inbox = notices.tail("eu")?;
    let profiles = Profiles::open().await?;
    let europe = Registry::builder()
        .store(posts.reading_from(["eu"])?)
        .store(notices.reading_from(["eu"])?)
        .observer((metrics.clone(), WriteLinks::default()));
    let reader = Reader::new(profiles.beside(europe).build().await?, metrics);

    for number in 0_i64.. {
        let publish = async {
            posts.shim().put("post", number.to_string()).await?;
            profiles.count_post().await?;
            notices.shim().put("notice", "post").await?;
            Ok::<_, Failure>(())
        };
        LineageScope::new().run(publish.instrument(info_span!("publish", number))).await?;

        let notice = inbox.next().await?;
        let deadline = Duration::from_millis(if number % 8 == 0 { 50 } else { 1_000 });
        let follow = reader.follow(deadline).instrument(info_span!("follow a notice", number));
        notice.scope().run(follow).await?;

        if number % 32 == 0 {
            posts.shim().put("draft", "of nobody's request").await?;
            let damaged = HeaderValue::from_static("antipode=nonsense");
            reader.take(damaged).instrument(info_span!("a stranger's request", number)).await?;
        }
    }
    Ok(())
}
