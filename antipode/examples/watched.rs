//! A service to be watched: its readers in Europe follow notices that overtake their posts, behind barriers.
//!
//! `cargo run -p antipode --features metrics --example watched`, then <http://127.0.0.1:9898/metrics>, or the dashboard of
//! `docker/compose.yaml` with its profile `observe`.

use std::net::Ipv4Addr;
use std::time::Duration;

use antipode::memory::Lag;
use antipode::metrics::{BYTES_BUCKETS, Metrics, SECONDS_BUCKETS};
use antipode::prelude::*;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    PrometheusBuilder::new()
        .with_http_listener((Ipv4Addr::UNSPECIFIED, 9898))
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES_BUCKETS)?
        .install()?;
    let slow = Lag::of(Duration::from_millis(120));
    let posts = MemoryStore::builder("posts").region("us").lagging("eu", slow).build()?;
    let notices = MemoryStore::builder("notices").region("us").region("eu").build()?;
    let mut inbox = notices.tail("eu")?;
    let europe = Registry::builder()
        .store(posts.reading_from(["eu"])?)
        .store(notices.reading_from(["eu"])?)
        .observer(Metrics::new())
        .build()
        .await?;
    println!("metrics: http://127.0.0.1:9898/metrics");

    for number in 0_u64.. {
        let write = async {
            posts.shim().put("post", number.to_string()).await?;
            notices.shim().put("notice", "post").await
        };
        LineageScope::new().run(write).await?;
        let notice = inbox.next().await?;
        // One in eight has no time to wait.
        let deadline = Duration::from_millis(if number % 8 == 0 { 50 } else { 1_000 });
        if let Err(late) = notice.scope().run(async { europe.barrier().deadline(deadline).await }).await {
            println!("{late}");
        }
    }
    Ok(())
}
