//! Servers that do not answer: a barrier ends by its deadline, and works again once they do.

use std::time::Duration;

use antipode_lineage::LineageScope;

use crate::counted::Counted;
use crate::stage::{Outcome, Stage, registry};
use crate::waiting::{Waiting, eventually, refused};
use crate::{Bed, Change, Fault, Node};

/// The replica accepts connections and says nothing.
pub(crate) async fn a_frozen_replica_costs_no_more_than_the_deadline<B: Bed>(
    stage: &mut Stage<B>,
) -> Outcome {
    silent(stage, Fault::Freeze { replica: 0 }).await
}

/// The replica's process is gone.
pub(crate) async fn a_stopped_replica_costs_no_more_than_the_deadline<B: Bed>(
    stage: &mut Stage<B>,
) -> Outcome {
    silent(stage, Fault::Stop { replica: 0 }).await
}

/// The write is made while the reader's only replica is silent: it cannot be visible there.
async fn silent<B: Bed>(stage: &mut Stage<B>, fault: Fault) -> Outcome {
    let (registry, key) = (stage.registry_reading(0).await?, stage.key("post"));
    let earlier = LineageScope::new();
    earlier.run(stage.write(Change::Put(&key, "old"))).await?;
    registry.barrier_on(&earlier.settled().await).await?;
    stage.fault(fault).await?;
    let request = LineageScope::new();
    request.run(stage.write(Change::Put(&key, "new"))).await?;
    let lineage = request.settled().await;
    for _ in 0..2 {
        let error = refused(&registry, &lineage).await?;
        assert!(error.is_timeout() || error.is_store_down(), "nobody answered: {error}");
    }
    stage.heal().await?;
    registry.barrier_on(&lineage).await?;
    assert_eq!(stage.peek(Node::Replica(0), &key).await?.as_deref(), Some("new"));
    Ok(())
}

/// The replica's process is gone and comes back while a barrier waits.
pub(crate) async fn a_replica_restarts_while_a_barrier_waits<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let (registry, key) = (stage.registry_reading(0).await?, stage.key("post"));
    stage.fault(Fault::Cut { replica: 0 }).await?;
    let request = LineageScope::new();
    request.run(stage.write(Change::Put(&key, "new"))).await?;
    let waiting = Waiting::begin(&registry, &request.settled().await, 1).await?;
    stage.fault(Fault::Stop { replica: 0 }).await?;
    stage.heal().await?;
    waiting.visible().await?;
    assert_eq!(stage.peek(Node::Replica(0), &key).await?.as_deref(), Some("new"));
    Ok(())
}

/// The primary's process is gone and comes back while a barrier waits. In the same epoch the write
/// becomes visible. A store that begins a new epoch may not know, but must not be wrong.
pub(crate) async fn the_primary_restarts_while_a_barrier_waits<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let (registry, key) = (stage.registry_reading(0).await?, stage.key("post"));
    stage.fault(Fault::Cut { replica: 0 }).await?;
    let request = LineageScope::new();
    request.run(stage.write(Change::Put(&key, "new"))).await?;
    let lineage = request.settled().await;
    let waiting = Waiting::begin(&registry, &lineage, 1).await?;
    stage.fault(Fault::StopPrimary).await?;
    stage.heal().await?;
    stage.settle(Node::Primary, &key, Some("new")).await?;
    let later = LineageScope::new();
    later.run(stage.write(Change::Put(&stage.key("later"), "new"))).await?;

    let later = later.settled().await;
    let epochs = |lineage: &antipode_lineage::Lineage| {
        lineage.writes().iter().map(|write| write.epoch).collect::<Vec<_>>()
    };
    let same_epoch = epochs(&lineage) == epochs(&later);
    for outcome in waiting.end().await? {
        match outcome {
            Ok(_) => {
                assert_eq!(stage.peek(Node::Replica(0), &key).await?.as_deref(), Some("new"));
            }
            Err(error) => {
                assert!(!same_epoch, "the epoch lasted, the write is there: {error}");
                assert!(!error.is_lost(), "the write is there: {error}");
            }
        }
    }
    registry.barrier_on(&later).await?;
    Ok(())
}

/// Barriers that are dropped half-way leave no waiter, and no question under way; and nobody asks the
/// replicas when nobody waits.
pub(crate) async fn cancelled_barriers_leave_nothing_behind<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let counted = Counted::new(stage.bed.store());
    let (registry, key) = (registry([counted.clone() as _]).await?, stage.key("post"));
    stage.cut_all().await?;
    let request = LineageScope::new();
    request.run(stage.write(Change::Put(&key, "new"))).await?;
    let lineage = request.settled().await;
    drop(Waiting::begin(&registry, &lineage, 50).await?);
    eventually("no barrier waits", || registry.waiting() == 0).await?;
    eventually("no replica is asked", || counted.replicas.under_way() + counted.primary.under_way() == 0)
        .await?;
    let asked = counted.replicas.asked();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(counted.replicas.asked(), asked, "nobody waits, and somebody asks");

    stage.heal().await?;
    registry.barrier_on(&lineage).await?;
    assert_eq!(registry.waiting(), 0);
    Ok(())
}
