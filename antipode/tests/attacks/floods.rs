//! Attacks by sheer number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use antipode::edge::{EdgeObserver, Fault, Inbound, Treated};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::samples::{PLAIN, request, signed};

#[derive(Clone, Default)]
struct Lines(Arc<AtomicU64>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Clone, Default)]
struct Told(Arc<[AtomicU64; 2]>);

impl EdgeObserver for Told {
    fn found(&self, fault: Fault, treated: Treated) {
        assert_eq!(treated, Treated::Refused);
        self.0[usize::from(fault != Fault::Unreadable)].fetch_add(1, Ordering::Relaxed);
    }
}

/// Each is counted, and told as one of a few kinds: nothing that a sender chooses becomes a label.
#[test]
fn s14_a_flood_of_forgeries_writes_a_few_lines_and_counts_all() {
    const MANY: u64 = 20_000;
    let (lines, told) = (Lines::default(), Told::default());
    let inbound = Inbound::require(signed()).observer(told.clone());
    tracing::subscriber::with_default(lines.clone(), || {
        for at in 0..MANY {
            assert!(inbound.admit(&request([format!("antipode=forged{at}")])).is_err());
            assert!(inbound.admit(&request([""])).is_err());
        }
    });
    assert_eq!([Fault::Unreadable, Fault::Missing].map(|fault| inbound.count(fault)), [MANY; 2]);
    assert_eq!(told.0.each_ref().map(|count| count.load(Ordering::Relaxed)), [MANY; 2]);
    let lines = lines.0.load(Ordering::Relaxed);
    assert!((2..100).contains(&lines), "{lines} lines for {MANY} forgeries of two kinds");
}

#[test]
fn s14_what_is_no_fault_writes_no_line() {
    let lines = Lines::default();
    let inbound = Inbound::accept(PLAIN);
    tracing::subscriber::with_default(lines.clone(), || {
        for _ in 0..100 {
            assert!(inbound.clone().admit(&request(["a=b"])).is_ok());
        }
    });
    assert_eq!(inbound.count(Fault::Missing), 100, "clones count together");
    assert_eq!(lines.0.load(Ordering::Relaxed), 0, "no lineage where none is required");
}
