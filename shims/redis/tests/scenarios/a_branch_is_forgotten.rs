//! Branches that ended are kept for a while, and then unknown: never taken for completed.

use std::time::Duration;

use antipode_barrier::{BranchState, Ledger, Store};
use antipode_docker::RedisOptions;
use antipode_lineage::{Branch, Lineage};
use antipode_redis::RedisStore;
use tokio::time::{sleep, timeout};

use crate::stage::{PATIENCE, Stage, client};

const SHORT: Duration = Duration::from_millis(300);

/// Waits until the branch is forgotten; until then it must not be anything but this.
async fn forgotten(ledger: &dyn Ledger, branch: Branch, before: &BranchState) {
    let looks = async {
        loop {
            match ledger.read(&[branch.id]).await.unwrap().as_slice() {
                [BranchState::Unknown] => return,
                [state] => assert_eq!(state, before),
                states => panic!("{states:?}"),
            }
            sleep(SHORT / 10).await;
        }
    };
    timeout(PATIENCE, looks).await.unwrap();
}

#[tokio::test]
async fn a_branch_that_ended_is_unknown_after_the_retention() {
    let stage = Stage::with(RedisOptions::default().replicas(0)).await;
    let store =
        RedisStore::builder("posts").primary(client(stage.topology.primary())).branch_retention(SHORT);
    let ledger = store.build().unwrap().ledger().unwrap();
    let [closed, left, open]: [Branch; 3] =
        [1, 2, 3].map(|id| format!("posts/refund/{id:032x}").parse().unwrap());
    ledger.register(&open, PATIENCE * 2).await.unwrap();
    ledger.register(&closed, PATIENCE).await.unwrap();
    ledger.complete(closed.id, &Lineage::new()).await.unwrap();
    forgotten(ledger.as_ref(), closed, &BranchState::Closed(Lineage::new())).await;
    ledger.register(&left, SHORT).await.unwrap();
    sleep(SHORT).await;
    forgotten(ledger.as_ref(), left, &BranchState::Abandoned).await;
    let states = ledger.read(&[open.id]).await.unwrap();
    assert!(matches!(states.as_slice(), [BranchState::Open { .. }]), "its time has not begun: {states:?}");
}
