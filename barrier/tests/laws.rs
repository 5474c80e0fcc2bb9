//! The laws of satisfaction, over arbitrary histories.
//!
//! By hand: `PROPTEST_CASES=1000000 cargo test --release -p antipode-barrier --test laws`.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::sync::Arc;

use antipode_barrier::{Ancestor, Frontier, Frontiers, Verdict};
use antipode_lineage::{Epoch, Lineage, Position, Shard, StoreName, WriteId};
use proptest::collection::vec;
use proptest::prelude::*;

/// Small ranges, so that positions meet, epochs are shared and ancestors end in the middle.
const POSITIONS: std::ops::Range<u64> = 0..12;
const TERMS: std::ops::Range<u64> = 1..4;
const SHARDS: std::ops::Range<u64> = 0..3;

fn epoch() -> impl Strategy<Value = Epoch> {
    TERMS.prop_map(|term| Epoch { history: 1, term })
}

fn frontiers() -> impl Strategy<Value = Frontiers> {
    let ancestor = (epoch(), POSITIONS).prop_map(|(epoch, end)| Ancestor { epoch, end: Position(end) });
    let frontier = (epoch(), POSITIONS, vec(ancestor, 0..3)).prop_map(|(epoch, position, ancestry)| {
        Frontier::new(epoch, Position(position)).with_ancestry(Arc::from(ancestry))
    });
    vec((SHARDS.prop_map(Shard), frontier), 0..4).prop_map(Frontiers::from_iter)
}

fn lineage() -> impl Strategy<Value = Lineage> {
    let write = (SHARDS, epoch(), POSITIONS).prop_map(|(shard, epoch, position)| WriteId {
        store: StoreName::parse("posts").unwrap(),
        shard: Shard(shard),
        epoch,
        position: Position(position),
    });
    vec(write, 0..6).prop_map(Lineage::from_iter)
}

fn satisfied(frontiers: &Frontiers, lineage: &Lineage) -> bool {
    lineage.writes().iter().all(|write| {
        let frontier = frontiers.get(write.shard);
        frontier.is_some_and(|frontier| frontier.verdict(write.epoch, write.position) == Verdict::Visible)
    })
}

fn joined(a: &Lineage, b: &Lineage) -> Lineage {
    let mut both = a.clone();
    both.join(b);
    both
}

fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, ..default }
}

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn b2_what_satisfies_a_lineage_satisfies_every_smaller_one(f in frontiers(), a in lineage(), b in lineage()) {
        let both = joined(&a, &b);
        prop_assert!(a <= both);
        prop_assert!(!satisfied(&f, &both) || satisfied(&f, &a));
    }

    #[test]
    fn b3_a_join_is_satisfied_exactly_when_both_are(f in frontiers(), a in lineage(), b in lineage()) {
        prop_assert_eq!(satisfied(&f, &joined(&a, &b)), satisfied(&f, &a) && satisfied(&f, &b));
    }

    #[test]
    fn b7_nothing_past_a_proven_fork_is_visible(f in frontiers(), a in lineage()) {
        for write in a.writes() {
            let Some(frontier) = f.get(write.shard) else { continue };
            let fork = frontier.ancestry.iter().find(|ancestor| ancestor.epoch == write.epoch);
            if let Some(fork) = fork && write.epoch != frontier.epoch && write.position > fork.end {
                prop_assert_eq!(frontier.verdict(write.epoch, write.position), Verdict::Lost);
            }
        }
    }
}
