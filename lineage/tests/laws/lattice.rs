//! L1: joining is commutative, associative, idempotent and monotone, and gives the least of all
//! that cover both sides; also where the result overflows.

use antipode_lineage::{Lineage, MAX_BRANCHES, MAX_ENTRIES};
use proptest::prelude::*;

use crate::samples::{cases, large, small};

fn joined(a: &Lineage, b: &Lineage) -> Lineage {
    let mut joined = a.clone();
    joined.join(b);
    joined
}

fn laws_hold(a: &Lineage, b: &Lineage, c: &Lineage) -> Result<(), TestCaseError> {
    let ab = joined(a, b);
    prop_assert_eq!(&ab, &joined(b, a), "commutative");
    prop_assert_eq!(joined(&ab, c), joined(a, &joined(b, c)), "associative");
    prop_assert_eq!(&joined(a, a), a, "idempotent");
    prop_assert_eq!(&joined(a, &ab), &ab, "absorbs");
    prop_assert!(*a <= ab && *b <= ab, "covers both sides");
    prop_assert!(joined(a, c) <= joined(&ab, c), "monotone");
    prop_assert_eq!(a <= b, ab == *b, "the order is the one of the join");
    prop_assert_eq!(a <= b && b <= a, a == b, "antisymmetric");
    if a <= c && b <= c {
        prop_assert!(ab <= *c, "least");
    }
    Ok(())
}

/// What a join depends on, said without it.
fn is_sum(a: &Lineage, b: &Lineage) -> Result<(), TestCaseError> {
    let ab = joined(a, b);
    prop_assert_eq!(ab.is_weak(), a.is_weak() || b.is_weak());
    let writes = a.writes().iter().chain(b.writes());
    for write in writes.clone() {
        prop_assert!(ab.covers_write(write));
    }
    for write in ab.writes() {
        prop_assert!(writes.clone().any(|held| held == write), "made up: {write}");
    }
    let mut keys: Vec<_> = writes.map(|write| (write.store, write.shard, write.epoch)).collect();
    keys.sort_unstable();
    keys.dedup();
    let overflows = a.has_overflowed() || b.has_overflowed() || keys.len() > MAX_ENTRIES;
    prop_assert_eq!(ab.has_overflowed(), overflows);
    prop_assert_eq!(ab.writes().len(), if overflows { 0 } else { keys.len() });
    let mut branches = [a.branches(), b.branches()].concat();
    branches.sort_unstable();
    branches.dedup();
    let forgotten = overflows
        || a.has_forgotten_branches()
        || b.has_forgotten_branches()
        || branches.len() > MAX_BRANCHES;
    prop_assert_eq!(ab.has_forgotten_branches(), forgotten);
    prop_assert_eq!(ab.branches(), if forgotten { &[] } else { branches.as_slice() });
    Ok(())
}

proptest! {
    #![proptest_config(cases(60_000))]

    #[test]
    fn l1_joining_is_a_semilattice(a in small(), b in small(), c in small()) {
        laws_hold(&a, &b, &c)?;
        is_sum(&a, &b)?;
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn l1_holds_across_overflow(a in large(), b in large(), c in large()) {
        laws_hold(&a, &b, &c)?;
        is_sum(&a, &b)?;
    }
}
