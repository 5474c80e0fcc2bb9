//! Lineage in the carriers of OpenTelemetry's own propagators, with the SDK's beside it.

use antipode::edge::{Fault, Inbound};
use antipode::lineage::{Baggage as Raw, Epoch, LineageCodec, Position, Shard, WriteId};
use antipode::opentelemetry::{LineageContextExt, LineagePropagator};
use antipode::prelude::*;
use opentelemetry::Context;
use opentelemetry::KeyValue;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::{Extractor, Injector, TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};

const PLAIN: LineageCodec = LineageCodec::plain();
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A carrier as HTTP has it: header lines in order, a name as often as it likes.
#[derive(Default)]
struct Lines(Vec<(String, String)>);

impl Lines {
    fn of(lines: &[(&str, &str)]) -> Self {
        Self(lines.iter().map(|(key, line)| (key.to_string(), line.to_string())).collect())
    }

    fn baggage(&self) -> &str {
        assert!(self.get_all("baggage").is_none_or(|lines| lines.len() == 1), "one header line is written");
        self.get("baggage").unwrap_or_default()
    }
}

impl Injector for Lines {
    fn set(&mut self, key: &str, value: String) {
        self.0.retain(|(held, _)| held != key);
        self.0.push((key.to_owned(), value));
    }
}

impl Extractor for Lines {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(held, _)| held == key).map(|(_, line)| line.as_str())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(key, _)| key.as_str()).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let lines = self.0.iter().filter(|(held, _)| held == key).map(|(_, line)| line.as_str());
        Some(lines.collect::<Vec<_>>()).filter(|lines| !lines.is_empty())
    }
}

fn lineage(shards: u64) -> Lineage {
    let epoch = Epoch { history: 9, term: 1 };
    let posts = StoreName::parse("posts").unwrap();
    let write = |shard| WriteId { store: posts, shard: Shard(shard), epoch, position: Position(1 << 40) };
    (0..shards).map(write).collect()
}

fn member(lineage: &Lineage) -> String {
    Raw::default().write(&PLAIN, lineage).value
}

/// The lineage as the next service reads it from the raw header.
fn arrived(call: &Lines) -> Option<Lineage> {
    Raw::read(call.get_all("baggage").unwrap_or_default()).lineage(&PLAIN).unwrap()
}

/// Both orders of the SDK's propagators, each with ours around.
fn both() -> [LineagePropagator; 2] {
    let trace = || Box::new(TraceContextPropagator::new()) as Box<dyn TextMapPropagator + Send + Sync>;
    let baggage = || Box::new(BaggagePropagator::new()) as Box<dyn TextMapPropagator + Send + Sync>;
    [vec![trace(), baggage()], vec![baggage(), trace()]].map(|order| {
        LineagePropagator::around(TextMapCompositePropagator::new(order), Inbound::accept(PLAIN))
    })
}

#[test]
fn the_lineage_travels_beside_the_baggage_of_the_sdk_and_its_trace() {
    for propagator in both() {
        let ours = member(&lineage(3));
        let came = Lines::of(&[("baggage", &format!("user=alice,{ours}")), ("traceparent", TRACE)]);
        let context = propagator.extract(&came);
        let scope = context.lineage_scope().unwrap();
        assert_eq!(scope.lineage(), lineage(3));
        assert_eq!(context.baggage().get("user").unwrap().as_str(), "alice");
        assert!(context.baggage().get("antipode").is_none(), "an old lineage cannot come back through it");
        assert!(context.span().span_context().is_valid());

        // The request writes something, and adds a member of its own.
        scope.join(&lineage(5));
        let context = context.with_baggage([KeyValue::new("user", "alice"), KeyValue::new("tier", "gold")]);
        let mut call = Lines::default();
        propagator.inject_context(&context, &mut call);
        assert_eq!(call.baggage(), format!("{},user=alice,tier=gold", member(&lineage(5))));
        assert_eq!(call.get("traceparent"), Some(TRACE));
    }
}

/// What the SDK cuts, merges or drops goes on as it came.
#[test]
fn members_that_the_sdk_cannot_read_go_on_byte_for_byte() {
    let odd = "query=a=b=c;ttl=5,alone,name=%41da,p=1%2C2";
    let many: Vec<String> = (0..40).map(|at| format!("k{at}={}", "v".repeat(80))).collect();
    let many = many.join(",");
    for propagator in both() {
        let ours = member(&lineage(32));
        let came = Lines::of(&[("baggage", odd), ("baggage", &many), ("baggage", &ours)]);
        let context = propagator.extract(&came);
        assert_eq!(context.lineage_scope().unwrap().lineage(), lineage(32), "in the third line");
        let mut call = Lines::default();
        propagator.inject_context(&context, &mut call);
        assert_eq!(call.baggage(), format!("{ours},{odd},{many}"));
    }
}

/// The SDK's own, for comparison, loses it: a value past its size, and members past their number.
#[test]
fn a_full_baggage_costs_members_of_others_and_never_the_lineage() {
    let many: Vec<String> = (0..64).map(|at| format!("k{at}={}", "v".repeat(110))).collect();
    let many = many.join(",");
    let ours = member(&lineage(40));
    let whole = format!("{many},{ours}");
    let came = Lines::of(&[("baggage", &whole)]);
    let mut sdk = Lines::default();
    BaggagePropagator::new().inject_context(&BaggagePropagator::new().extract(&came), &mut sdk);
    assert_eq!(arrived(&sdk), None, "through the SDK's baggage");
    for propagator in both() {
        let mut call = Lines::default();
        propagator.inject_context(&propagator.extract(&came), &mut call);
        assert_eq!(arrived(&call), Some(lineage(40)));
        assert!(call.baggage().len() <= 8_192);
    }
}

#[test]
fn a_hop_that_has_only_the_sdk_hands_the_lineage_on() {
    let hop = BaggagePropagator::new();
    for propagator in both() {
        for shards in [1, 8, 32] {
            let scope = LineageScope::from(lineage(shards));
            let mut there = Lines::default();
            propagator.inject_context(&Context::new().with_lineage_scope(scope), &mut there);
            let mut back = Lines::default();
            hop.inject_context(&hop.extract(&there), &mut back);
            let context = propagator.extract(&back);
            assert_eq!(context.lineage_scope().unwrap().lineage(), lineage(shards));
        }
    }
}

/// The composition that the documentation warns of: what is left is seen to be nothing, not something old.
#[test]
fn a_baggage_propagator_set_after_it_takes_the_lineage_off_for_all_to_see() {
    let ours = || LineagePropagator::around(TraceContextPropagator::new(), Inbound::accept(PLAIN));
    let [before, after] = [true, false].map(|first| {
        let sdk = Box::new(BaggagePropagator::new()) as Box<dyn TextMapPropagator + Send + Sync>;
        let mut order: Vec<Box<dyn TextMapPropagator + Send + Sync>> = vec![Box::new(ours())];
        order.insert(usize::from(!first), sdk);
        TextMapCompositePropagator::new(order)
    });
    let context = Context::new().with_baggage([KeyValue::new("user", "alice")]);
    let context = context.with_lineage_scope(lineage(2).into());
    let mut call = Lines::default();
    before.inject_context(&context, &mut call);
    assert_eq!(arrived(&call), Some(lineage(2)));
    after.inject_context(&context, &mut call);
    assert_eq!(arrived(&call), None);
}

#[tokio::test]
async fn what_the_task_came_to_depend_on_goes_along_also_from_a_fork() {
    for propagator in both() {
        let context = propagator.extract(&Lines::of(&[("baggage", &member(&lineage(1)))]));
        let request = context.lineage_scope().unwrap();
        let fork = request.fork();
        fork.join(&lineage(4));
        let mut call = Lines::default();
        fork.run(async { propagator.inject_context(&context, &mut call) }).await;
        assert_eq!(arrived(&call), Some(lineage(4)));

        let mut elsewhere = Lines::default();
        LineageScope::new().run(async { propagator.inject_context(&context, &mut elsewhere) }).await;
        assert_eq!(arrived(&elsewhere), Some(lineage(1)), "of the context, in another scope");

        let mut alone = Lines::default();
        LineageScope::from(lineage(2)).run(async { propagator.inject(&mut alone) }).await;
        assert_eq!(arrived(&alone), Some(lineage(2)), "of the current scope, without a context");
        let mut none = Lines::default();
        propagator.inject_context(&Context::new(), &mut none);
        assert_eq!(none.baggage(), "", "nobody has a lineage");
    }
}

#[test]
fn what_cannot_be_read_or_would_be_refused_counts_as_everything() {
    let inbound = Inbound::require(PLAIN);
    let propagator = LineagePropagator::around(BaggagePropagator::new(), inbound.clone());
    let extract = |lines: &[(&str, &str)]| {
        let context = propagator.extract(&Lines::of(lines));
        context.lineage_scope().unwrap().lineage()
    };
    assert!(extract(&[("baggage", "antipode=nonsense,user=alice")]).has_overflowed());
    assert!(extract(&[("baggage", "antipode=\u{1}\n")]).has_overflowed(), "bytes that no header holds");
    assert!(extract(&[]).has_overflowed());
    assert_eq!([Fault::Unreadable, Fault::Missing].map(|fault| inbound.count(fault)), [2, 1]);
}
