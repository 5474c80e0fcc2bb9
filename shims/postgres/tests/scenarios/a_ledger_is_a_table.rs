//! The branch ledger's table: made when deploying, and emptied of what is forgotten.

use std::time::Duration;

use antipode_barrier::{BranchState, Store};
use antipode_docker::{PostgresOptions, PostgresTopology};
use antipode_lineage::{Branch, Lineage};
use tokio::time::{sleep, timeout};

use crate::posts::{PATIENCE, Test, builder, value};

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_named_and_a_forgotten_branch_leaves_it() -> Test {
    let topology = PostgresTopology::start(PostgresOptions::default().standbys(0)).await?;
    let store = builder(&topology).await?.branch_retention(Duration::from_millis(1)).build()?;
    let ledger = store.ledger().unwrap();
    let refused = ledger.read(&[]).await;
    assert!(format!("{refused:?}").contains("create_branch_ledger"), "{refused:?}");
    store.create_branch_ledger().await?;
    store.create_branch_ledger().await?;

    let [closed, another]: [Branch; 2] = [1, 2].map(|id| format!("posts/refund/{id:032x}").parse().unwrap());
    ledger.register(&closed, PATIENCE).await?;
    ledger.complete(closed.id, &Lineage::new()).await?;
    let forgotten = async {
        while ledger.read(&[closed.id]).await? != [BranchState::Unknown] {
            sleep(Duration::from_millis(10)).await;
        }
        Test::Ok(())
    };
    timeout(PATIENCE, forgotten).await??;
    ledger.register(&another, PATIENCE).await?;
    let left = "SELECT count(*) FROM antipode.branches";
    assert_eq!(value::<i64>(store.inner(), left).await?, 1, "whoever registers takes it away");
    Ok(())
}
