//! Where numbers and spans go.

use std::env;
use std::net::Ipv4Addr;

use antipode::metrics::{BYTES_BUCKETS, Metrics, SECONDS_BUCKETS};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::Failure;

const NAME: &str = "watched";

/// Serves the page that Prometheus scrapes, also to containers.
pub(crate) fn serve_metrics(port: u16) -> Result<Metrics, Failure> {
    PrometheusBuilder::new()
        .with_http_listener((Ipv4Addr::UNSPECIFIED, port))
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES_BUCKETS)?
        .install()?;
    println!("metrics: http://127.0.0.1:{port}/metrics");
    Ok(Metrics::new())
}

/// Sends spans every five seconds to where `OTEL_EXPORTER_OTLP_ENDPOINT` says, if it does.
pub(crate) fn export_spans() -> Result<(), Failure> {
    let Some(endpoint) = env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT") else { return Ok(()) };
    let exporter = SpanExporter::builder().with_http().build()?;
    let resource = Resource::builder().with_service_name(NAME).build();
    let spans = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let ours = Targets::new()
        .with_target("antipode_barrier", Level::DEBUG)
        .with_target("antipode_lineage", Level::DEBUG)
        .with_target(NAME, Level::INFO);
    let layer = tracing_opentelemetry::layer().with_tracer(spans.tracer(NAME)).with_filter(ours);
    tracing_subscriber::registry().with(layer).try_init()?;
    println!("spans: to {}", endpoint.display());
    Ok(())
}
