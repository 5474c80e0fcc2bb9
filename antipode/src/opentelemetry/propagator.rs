//! In and out of carriers.

use std::fmt;

use antipode_lineage::{Baggage, Lineage, LineageCodec, LineageScope};
use http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};

use super::members::merged;
use crate::edge::{Admitted, BAGGAGE_HEADER, Inbound};

/// Carries the lineage through a service's propagators: around all of them, whatever their order.
///
/// ```
/// use antipode::edge::Inbound;
/// use antipode::lineage::LineageCodec;
/// use antipode::opentelemetry::{LineageContextExt, LineagePropagator};
/// use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
/// use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
///
/// let usual = TextMapCompositePropagator::new(vec![
///     Box::new(TraceContextPropagator::new()),
///     Box::new(BaggagePropagator::new()),
/// ]);
/// let propagator = LineagePropagator::around(usual, Inbound::accept(LineageCodec::plain()));
///
/// // A request comes in, …
/// let headers = std::collections::HashMap::from([("baggage".to_owned(), "user=alice".to_owned())]);
/// let context = propagator.extract(&headers);
/// let scope = context.lineage_scope().expect("always, after extraction");
/// // … its handler is `scope.run(…)`, and calls another service.
/// let mut call = std::collections::HashMap::new();
/// propagator.inject_context(&context, &mut call);
/// assert!(call["baggage"].starts_with("antipode=") && call["baggage"].ends_with(",user=alice"));
/// ```
///
/// # Why around
///
/// A carrier holds one baggage header, and a propagator sets it whole: of two that stand side by side the
/// second would overwrite the first. So this one lets those within write theirs, and makes one header of
/// it: the lineage first, then the members of others. What came in goes on byte for byte, also what the SDK
/// cannot read, but for what the application changed in the context's baggage. The SDK never gets to see
/// the lineage, so an old one does not come back through it.
///
/// # Limits
///
/// - Set no other baggage propagator beside it: one that comes later would take the lineage off again. The
///   receiver then sees that there is none.
/// - A carrier tells its other header lines by [`Extractor::get_all`]; one that does not shows only the
///   first.
/// - A propagator has no answer: what the [`Inbound`] policy would refuse counts as
///   [everything](Lineage::everything). It reads no session tokens, and it does not know whom a call is
///   for: for strangers, use one without lineage.
/// - Injecting does not wait: a capture under way goes as an unplaced write, for which a barrier waits
///   longer. `scope.settled().await` before avoids that. [`PropagateLayer`](crate::tower) does both, and
///   needs no OpenTelemetry.
pub struct LineagePropagator {
    inner: Box<dyn TextMapPropagator + Send + Sync>,
    inbound: Inbound,
    codec: LineageCodec,
    fields: Vec<String>,
}

/// A context with a lineage scope.
pub trait LineageContextExt {
    /// The scope that came with the request, or was set.
    fn lineage_scope(&self) -> Option<LineageScope>;

    /// A copy of the context with this scope.
    #[must_use]
    fn with_lineage_scope(&self, scope: LineageScope) -> Self;
}

/// What a context holds of ours.
struct Held {
    scope: LineageScope,
    /// What those within would write of the baggage that came.
    then: String,
}

impl LineagePropagator {
    /// Around these propagators, taking of requests what the policy says. The lineage is sent unsigned.
    #[must_use]
    pub fn around(inner: impl TextMapPropagator + Send + Sync + 'static, inbound: Inbound) -> Self {
        let mut fields: Vec<String> = inner.fields().map(ToOwned::to_owned).collect();
        if !fields.iter().any(|field| is_baggage(field)) {
            fields.push(BAGGAGE_HEADER.to_owned());
        }
        Self { inner: Box::new(inner), inbound, codec: LineageCodec::plain(), fields }
    }

    /// Writes lineages with this codec.
    #[must_use]
    pub fn codec(self, codec: LineageCodec) -> Self {
        Self { codec, ..self }
    }

    fn written_within(&self, cx: &Context, injector: Option<&mut dyn Injector>) -> String {
        let mut within = Within { injector, baggage: String::new() };
        self.inner.inject_context(cx, &mut within);
        within.baggage
    }
}

impl TextMapPropagator for LineagePropagator {
    /// Sends what the current scope and the one in the context depend on, as of now.
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let now = self.written_within(cx, Some(&mut *injector));
        let held = cx.get::<Held>();
        // A task may have forked from the request's scope: the join leaves nothing of either out.
        let current = LineageScope::current();
        let lineage = current.iter().chain(held.map(|held| &held.scope)).map(LineageScope::lineage);
        let lineage = lineage.reduce(|mut all, one| {
            all.join(&one);
            all
        });
        let came = held.and_then(|held| held.scope.baggage());
        let came = came.map(|came| came.write_without_lineage().value).unwrap_or_default();
        let others = merged(&came, held.map_or("", |held| &held.then), &now);
        let others = Baggage::read([others.as_bytes()]);
        let header = match lineage {
            Some(lineage) => others.write(&self.codec, &lineage),
            None => others.write_without_lineage(),
        };
        if header.dropped > 0 {
            tracing::debug!(dropped = header.dropped, "baggage of others did not fit beside the lineage");
        }
        if !header.value.is_empty() {
            injector.set(BAGGAGE_HEADER, header.value);
        }
    }

    /// Begins a lineage scope with what came, and lets those within read the rest.
    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let lines = extractor.get_all(BAGGAGE_HEADER).unwrap_or_default();
        let Admitted { baggage, lineage, .. } = self
            .inbound
            .admit(&headers(&lines))
            .unwrap_or_else(|_| Admitted { lineage: Lineage::everything(), ..Admitted::default() });
        let scope = LineageScope::from(lineage);
        let others = baggage.write_without_lineage().value;
        scope.set_baggage(baggage);
        let without = Without { extractor, others: &others };
        let only_this = self.inner.extract_with_context(&Context::new(), &without);
        let then = self.written_within(&only_this, None);
        self.inner.extract_with_context(cx, &without).with_value(Held { scope, then })
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

impl LineageContextExt for Context {
    fn lineage_scope(&self) -> Option<LineageScope> {
        self.get::<Held>().map(|held| held.scope.clone())
    }

    fn with_lineage_scope(&self, scope: LineageScope) -> Self {
        let then = self.get::<Held>().map(|held| held.then.clone()).unwrap_or_default();
        self.with_value(Held { scope, then })
    }
}

impl fmt::Debug for LineagePropagator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineagePropagator").field("around", &self.inner).finish_non_exhaustive()
    }
}

/// Catches the baggage that those within write, and lets all else pass.
struct Within<'a> {
    injector: Option<&'a mut dyn Injector>,
    baggage: String,
}

impl Injector for Within<'_> {
    fn set(&mut self, key: &str, value: String) {
        if is_baggage(key) {
            self.baggage = value;
        } else if let Some(injector) = &mut self.injector {
            injector.set(key, value);
        }
    }
}

/// The carrier without our member, its baggage in one line.
struct Without<'a> {
    extractor: &'a dyn Extractor,
    others: &'a str,
}

impl Extractor for Without<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if is_baggage(key) {
            return Some(self.others).filter(|others| !others.is_empty());
        }
        self.extractor.get(key)
    }

    fn keys(&self) -> Vec<&str> {
        let mut keys = self.extractor.keys();
        keys.retain(|key| !is_baggage(key) || !self.others.is_empty());
        keys
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        if is_baggage(key) { self.get(key).map(|one| vec![one]) } else { self.extractor.get_all(key) }
    }
}

fn is_baggage(key: &str) -> bool {
    key.eq_ignore_ascii_case(BAGGAGE_HEADER)
}

/// The lines as headers. Messages may hold bytes that no header can: they become such as no lineage has.
fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let bytes: Vec<u8> =
            line.bytes().map(|byte| if byte.is_ascii_control() { b'?' } else { byte }).collect();
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { continue };
        if headers.try_append(BAGGAGE_HEADER, value).is_err() {
            break;
        }
    }
    headers
}
