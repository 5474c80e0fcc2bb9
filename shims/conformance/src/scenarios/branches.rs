//! Branches, where the store can hold their ledger.

use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{BranchState, Ledger, Registry};
use antipode_lineage::{Branch, BranchId, Lineage, LineageScope, StoreName, WriteId};
use tokio::time::{sleep, timeout};

use crate::stage::{Outcome, PATIENCE, Stage, Stop};
use crate::{Bed, Change, Fault, Node};

/// Short, so that a scenario does not take long; longer than a busy machine is late with a renewal.
const LEASE: Duration = Duration::from_secs(1);

fn ledger<B: Bed>(stage: &Stage<B>) -> Outcome<(StoreName, Arc<dyn Ledger>)> {
    let store = stage.bed.store();
    let ledger =
        store.ledger().ok_or_else(|| Stop::Unsupported("the store has no branch ledger".to_owned()))?;
    Ok((store.name(), ledger))
}

/// A request that starts a branch: what it hands over.
async fn request(
    registry: &Registry,
    ledger: StoreName,
    name: &str,
    lease: Duration,
) -> Outcome<(Branch, Lineage)> {
    let request = LineageScope::new();
    let branch = registry.branch(ledger, name).lease(lease).within(&request).await?;
    Ok((branch, request.lineage()))
}

fn branch(ledger: StoreName, id: u128) -> Outcome<Branch> {
    Ok(Branch { ledger, name: "scenario".parse()?, id: BranchId(id) })
}

/// A request is answered while the work that it started still runs. Behind a barrier that is not whole the
/// work's write is not there; behind a whole one it is, at a replica.
pub(crate) async fn a_whole_barrier_waits_for_a_branch_and_its_writes<B: Bed>(
    stage: &mut Stage<B>,
) -> Outcome {
    let ((name, _), registry, key) = (ledger(stage)?, stage.registry_reading(0).await?, stage.key("refund"));
    let (refund, reply) = request(&registry, name, "refund", PATIENCE).await?;
    registry.barrier_on(&reply).await?;
    assert_eq!(stage.peek(Node::Replica(0), &key).await?, None, "the anomaly");
    stage.fault(Fault::Cut { replica: 0 }).await?;
    let work = async {
        let open = registry.begin(refund).await?;
        sleep(Duration::from_millis(50)).await;
        open.run(stage.write(Change::Put(&key, "paid back"))).await?;
        open.complete().await?;
        Ok::<_, Stop>(())
    };
    let reader = registry.barrier_on(&reply).whole().deadline(Duration::from_secs(2));
    let (worked, read) = tokio::join!(work, reader);
    worked?;
    assert!(read.is_err(), "the branch has ended, and its write is held back");
    stage.heal().await?;
    let report = registry.barrier_on(&reply).whole().await?;
    assert_eq!(report.branches(), 1);
    assert_eq!(stage.peek(Node::Replica(0), &key).await?.as_deref(), Some("paid back"));
    Ok(())
}

/// A running branch keeps its lease. One that is dropped ends as abandoned, for good, and that is told as
/// soon as it is known.
pub(crate) async fn a_branch_that_dies_is_abandoned_by_the_ledgers_clock<B: Bed>(
    stage: &mut Stage<B>,
) -> Outcome {
    let ((name, _), registry) = (ledger(stage)?, stage.registry().await?);
    let (refund, reply) = request(&registry, name, "refund", LEASE).await?;
    let open = registry.begin(refund).await?;
    let waited = registry.barrier_on(&reply).whole().deadline(LEASE * 2).await;
    assert!(waited.is_err_and(|error| error.is_timeout()), "it is renewed while it runs");
    drop(open);
    let error = registry.barrier_on(&reply).whole().await.err();
    assert!(error.as_ref().is_some_and(|error| error.is_abandoned()), "{error:?}");
    let again = registry.begin(refund).await.err();
    assert!(again.as_ref().is_some_and(|error| error.is_abandoned()), "{again:?}");
    Ok(())
}

/// The rules of a ledger, one by one.
pub(crate) async fn a_ledger_keeps_what_it_was_told<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let (name, ledger) = ledger(stage)?;
    let [open, closed, short, unknown] =
        [branch(name, u128::MAX)?, branch(name, 1)?, branch(name, 0)?, branch(name, 1 << 127)?];
    let is_open = |state: &BranchState, expected: &[Branch]| match state {
        BranchState::Open { lease_left, waits } => {
            *lease_left <= PATIENCE && *lease_left > PATIENCE / 2 && waits == expected
        }
        _ => false,
    };
    for step in ["registered", "registered again"] {
        let state = ledger.register(&open, PATIENCE).await?;
        assert!(is_open(&state, &[]), "{step}: {state}");
    }
    ledger.register(&closed, PATIENCE).await?;
    ledger.register(&short, LEASE / 10).await?;
    let waits = [closed, unknown];
    let state = ledger.renew(open.id, &waits).await?;
    assert!(is_open(&state, &waits), "{state}");
    let mut last = Lineage::from(WriteId::unplaced(name));
    last.add_branch(open);
    last.mark_weak();
    for other in [&last, &Lineage::new()] {
        let state = ledger.complete(closed.id, other).await?;
        assert_eq!(state, BranchState::Closed(last.clone()), "the first lineage stays");
    }
    sleep(LEASE / 5).await;
    let asked = [short.id, open.id, unknown.id, closed.id];
    let states = ledger.read(&asked).await?;
    let [first, second, third, fourth] = states.as_slice() else {
        return Err(Stop::failed(format!("four states, not {states:?}")));
    };
    assert_eq!([first, third], [&BranchState::Abandoned, &BranchState::Unknown]);
    assert!(is_open(second, &waits) && *fourth == BranchState::Closed(last.clone()), "{states:?}");
    for (id, state) in [
        (short.id, BranchState::Abandoned),
        (unknown.id, BranchState::Unknown),
        (closed.id, BranchState::Closed(last.clone())),
    ] {
        assert_eq!(ledger.renew(id, &[]).await?, state, "no renewal opens it");
    }
    assert_eq!(ledger.complete(short.id, &last).await?, BranchState::Abandoned, "too late");
    assert_eq!(ledger.complete(unknown.id, &last).await?, BranchState::Unknown);
    assert_eq!(ledger.register(&short, PATIENCE).await?, BranchState::Abandoned, "it is no new one");
    Ok(())
}

/// Branches that ended are kept for a while, and then unknown: never taken for completed, nor forgotten
/// while they run.
pub(crate) async fn a_branch_that_ended_is_unknown_after_the_retention<B: Bed>(
    stage: &mut Stage<B>,
) -> Outcome {
    const RETENTION: Duration = Duration::from_millis(300);
    let store = stage.bed.store_forgetting(RETENTION);
    let ledger = store.as_ref().and_then(|store| store.ledger());
    let (Some(store), Some(ledger)) = (store, ledger) else {
        return Err(Stop::Unsupported("the store has no branch ledger that forgets soon".to_owned()));
    };
    let [open, closed, left] =
        [branch(store.name(), 11)?, branch(store.name(), 12)?, branch(store.name(), 13)?];
    ledger.register(&open, PATIENCE * 2).await?;
    ledger.register(&closed, PATIENCE).await?;
    ledger.complete(closed.id, &Lineage::new()).await?;
    forgotten(ledger.as_ref(), closed, &BranchState::Closed(Lineage::new())).await?;
    ledger.register(&left, RETENTION).await?;
    sleep(RETENTION).await;
    forgotten(ledger.as_ref(), left, &BranchState::Abandoned).await?;
    let states = ledger.read(&[open.id]).await?;
    assert!(matches!(states.as_slice(), [BranchState::Open { .. }]), "its time has not begun: {states:?}");
    Ok(())
}

/// Waits until the branch is forgotten; until then it must not be anything but this.
async fn forgotten(ledger: &dyn Ledger, branch: Branch, before: &BranchState) -> Outcome {
    let looks = async {
        loop {
            match ledger.read(&[branch.id]).await?.as_slice() {
                [BranchState::Unknown] => return Ok(()),
                states => assert_eq!(states, std::slice::from_ref(before)),
            }
            sleep(Duration::from_millis(30)).await;
        }
    };
    timeout(PATIENCE, looks).await.unwrap_or_else(|_| Err(Stop::failed(format!("{branch} is not forgotten"))))
}

/// Two branches whose barriers wait for each other's end are told so, long before the deadline.
pub(crate) async fn branches_that_wait_for_each_other_are_told<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let ((name, _), registry) = (ledger(stage)?, stage.registry().await?);
    let left = request(&registry, name, "left", PATIENCE).await?;
    let right = request(&registry, name, "right", PATIENCE).await?;
    let wait = async |own: Branch, other: &Lineage| {
        let open = registry.begin(own).await?;
        let outcome = open.run(registry.barrier_on(other).whole().into_future()).await;
        open.complete().await?;
        Ok::<_, Stop>(outcome)
    };
    let (left, right) = tokio::join!(wait(left.0, &right.1), wait(right.0, &left.1));
    let outcomes = [left?, right?];
    let told = |outcome: &Result<_, antipode_barrier::BarrierError>| {
        outcome.as_ref().err().is_some_and(|error| error.is_cycle())
    };
    assert!(outcomes.iter().any(told), "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| outcome.is_ok() || told(outcome)), "{outcomes:?}");
    Ok(())
}

/// The server that holds the ledger goes and comes back with what it was told: a barrier waits through
/// that, and one whose time is up before says that the store is down.
pub(crate) async fn a_ledger_restarts_while_a_barrier_waits<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let ((name, _), registry) = (ledger(stage)?, stage.registry().await?);
    let (refund, reply) = request(&registry, name, "refund", PATIENCE * 2).await?;
    let open = registry.begin(refund).await?;
    stage.fault(Fault::StopPrimary).await?;
    let down = registry.barrier_on(&reply).whole().deadline(LEASE).await.err();
    assert!(down.as_ref().is_some_and(|error| error.is_store_down()), "{down:?}");
    let waiting = registry.barrier_on(&reply).whole();
    let healed = async {
        stage.heal().await?;
        open.complete().await?;
        Ok::<_, Stop>(())
    };
    let (healed, waited) = tokio::join!(healed, waiting);
    healed?;
    assert_eq!(waited?.branches(), 1);
    Ok(())
}
