//! The service in Europe, called through the layers of its callers and its own.

use std::convert::Infallible;
use std::time::Duration;

use antipode::barrier::Registry;
use antipode::edge::{BAGGAGE_HEADER, Inbound, Outbound};
use antipode::lineage::LineageCodec;
use antipode::metrics::Metrics;
use antipode::tower::{BarrierLayer, LineageLayer, PropagateLayer};
use http::header::HeaderName;
use http::{HeaderValue, Request, Response};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::Failure;

/// Says in milliseconds how long a caller waits.
const DEADLINE: HeaderName = HeaderName::from_static("x-deadline-ms");

/// What a call of the service is, and its answer.
type Called = BoxCloneSyncService<Request<()>, Response<()>, Infallible>;

/// The reader, in this process; over a network nothing here would be different but the transport.
pub(crate) struct Reader {
    /// As services call it that propagate their lineage.
    propagating: Called,
    /// As it can be called by anybody.
    plain: Called,
}

impl Reader {
    pub(crate) fn new(registry: Registry, metrics: Metrics) -> Self {
        let inbound = Inbound::accept(LineageCodec::plain()).observer(metrics.clone());
        let service = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(drop))
            .layer(LineageLayer::new(inbound))
            .layer(BarrierLayer::new(registry).deadline_header(DEADLINE))
            .service(service_fn(async |_: Request<()>| Ok(Response::new(String::new()))));
        let plain = BoxCloneSyncService::new(service);
        let propagate = PropagateLayer::new(Outbound::to_everyone()).observer(metrics);
        let answer = |response: Response<_>| response.map(drop);
        let calls = plain.clone().map_response(|response| response.map(|()| String::new()));
        Self { propagating: BoxCloneSyncService::new(propagate.layer(calls).map_response(answer)), plain }
    }

    /// Reads what the current lineage tells of, if it is visible within the deadline.
    pub(crate) async fn follow(&self, deadline: Duration) -> Result<(), Failure> {
        let mut call = Request::new(());
        call.headers_mut().insert(DEADLINE, HeaderValue::try_from(deadline.as_millis().to_string())?);
        let answer = self.propagating.clone().oneshot(call).await?;
        if !answer.status().is_success() {
            println!("a reader was told {} after {deadline:?}", answer.status());
        }
        Ok(())
    }

    /// Takes a request of somebody with this baggage.
    pub(crate) async fn take(&self, baggage: HeaderValue) -> Result<(), Failure> {
        let mut request = Request::new(());
        request.headers_mut().insert(BAGGAGE_HEADER, baggage);
        self.plain.clone().oneshot(request).await?;
        Ok(())
    }
}
