//! Many barriers at once.

use antipode_lineage::LineageScope;

use crate::counted::Counted;
use crate::stage::{Outcome, Stage, registry};
use crate::waiting::{Waiting, pending};
use crate::{Bed, Change, Node};

/// A thousand barriers on a replica that lags ask it no more than one would: one question at a time,
/// and far fewer than there are barriers.
pub(crate) async fn a_thousand_barriers_ask_like_one<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    const MANY: usize = 1_000;
    let counted = Counted::new(stage.bed.store_reading(0));
    let (registry, key) = (registry([counted.clone() as _]).await?, stage.key("post"));
    stage.cut_all().await?;
    let request = LineageScope::new();
    request.run(stage.write(Change::Put(&key, "new"))).await?;
    let waiting = Waiting::begin(&registry, &request.settled().await, MANY).await?;
    stage.heal().await?;
    waiting.visible().await?;
    assert_eq!(stage.peek(Node::Replica(0), &key).await?.as_deref(), Some("new"));
    assert_eq!(counted.replicas.most_under_way(), 1, "one question at a time");
    let asked = counted.replicas.asked();
    assert!(asked < MANY as u64 / 2, "{asked} questions for {MANY} barriers");
    Ok(())
}

/// A dry run tells what is pending, counts as no waiter, and leaves barriers under way alone.
pub(crate) async fn a_dry_run_blocks_nobody<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let (registry, key) = (stage.registry().await?, stage.key("post"));
    stage.cut_all().await?;
    let request = LineageScope::new();
    request.run(stage.write(Change::Put(&key, "new"))).await?;
    let lineage = request.settled().await;
    pending(&registry, &lineage).await?;
    let waiting = Waiting::begin(&registry, &lineage, 3).await?;
    for _ in 0..10 {
        let found = registry.barrier_on(&lineage).probe().await;
        assert_eq!(found.len(), lineage.writes().len(), "every write is spoken of: {found:?}");
        assert_eq!(registry.waiting(), 3);
    }
    stage.heal().await?;
    waiting.visible().await
}
