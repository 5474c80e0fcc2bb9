//! Failovers: what was lost is never called visible, what was not is.

use antipode_lineage::{Lineage, LineageScope};

use crate::stage::{Outcome, Stage, Stop};
use crate::waiting::{Waiting, refused};
use crate::{Bed, Change, Fault, Node};

/// A write that reached no replica before the primary was gone. New writes then take its position, so
/// that a bare position would pass.
pub(crate) async fn a_write_that_a_failover_cut_off_is_lost<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let (before, key) = (stage.registry().await?, stage.key("post"));
    let lost = lose_a_write(stage, &key, 0).await?;
    let waiting = Waiting::begin(&before, &lost, 1).await?;
    fail_over(stage, 0).await?;
    overtake(stage).await?;
    assert_eq!(stage.peek(Node::Primary, &key).await?, None, "the write is gone");

    let after = stage.registry().await?;
    let error = refused(&after, &lost).await?;
    assert!(error.is_lost(), "the store knows its history: {error}");
    let error = refused(&before, &lost).await?;
    assert!(error.is_lost(), "those who were there before know as well: {error}");
    for outcome in waiting.end().await? {
        match outcome {
            Err(error) => assert!(error.is_lost(), "it ended a wait under way: {error}"),
            Ok(report) => return Err(Stop::failed(format!("the write is gone: {report:?}"))),
        }
    }
    Ok(())
}

/// A write that the promoted replica had is part of the new history, though the epoch is another.
pub(crate) async fn a_write_that_survives_a_failover_is_visible<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let key = stage.key("post");
    let kept = keep_a_write(stage, &key).await?;
    fail_over(stage, 0).await?;
    overtake(stage).await?;
    let registry = stage.registry().await?;
    registry.barrier_on(&kept).await?;
    assert_eq!(stage.peek(Node::Replica(1), &key).await?.as_deref(), Some("new"));
    let reader = LineageScope::new();
    assert_eq!(reader.run(stage.read(&key)).await?.as_deref(), Some("new"));
    assert!(!reader.settled().await.is_empty());
    Ok(())
}

/// After the second failover a store may no longer know what became of a write. Then it says so.
pub(crate) async fn a_write_lost_two_failovers_ago_is_never_visible<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let [kept, lost] = ["kept", "lost"].map(|what| stage.key(what));
    let kept_lineage = keep_a_write(stage, &kept).await?;
    let lost_lineage = lose_a_write(stage, &lost, 0).await?;
    fail_over(stage, 0).await?;
    overtake(stage).await?;
    fail_over(stage, 1).await?;
    overtake(stage).await?;
    assert_eq!(stage.peek(Node::Primary, &lost).await?, None, "the write is gone");
    assert_eq!(stage.peek(Node::Primary, &kept).await?.as_deref(), Some("new"), "the other one is not");

    let registry = stage.registry().await?;
    let error = refused(&registry, &lost_lineage).await?;
    assert!(error.is_lost() || error.is_indeterminate(), "the write is gone: {error}");
    if let Err(error) = registry.barrier_on(&kept_lineage).await {
        assert!(error.is_indeterminate(), "the write is there: {error}");
    }
    Ok(())
}

/// A write that both replicas have.
async fn keep_a_write<B: Bed>(stage: &Stage<B>, key: &str) -> Outcome<Lineage> {
    let request = LineageScope::new();
    request.run(stage.write(Change::Put(key, "new"))).await?;
    stage.settle_all(key, Some("new")).await?;
    Ok(request.settled().await)
}

/// A write that neither replica will have.
async fn lose_a_write<B: Bed>(stage: &mut Stage<B>, key: &str, seen: usize) -> Outcome<Lineage> {
    keep_a_write(stage, &stage.key("earlier")).await?;
    stage.cut_all().await?;
    let request = LineageScope::new();
    request.run(stage.write(Change::Put(key, "new"))).await?;
    assert_eq!(stage.peek(Node::Replica(seen), key).await?, None, "the replicas were cut off");
    Ok(request.settled().await)
}

async fn fail_over<B: Bed>(stage: &mut Stage<B>, to: usize) -> Outcome {
    stage.fault(Fault::Failover { to }).await
}

/// Writes at the new primary until it is well past where the old one was.
async fn overtake<B: Bed>(stage: &Stage<B>) -> Outcome {
    let key = stage.key("overtaking");
    let request = LineageScope::new();
    for _ in 0..20 {
        request.run(stage.write(Change::Put(&key, &"x".repeat(200)))).await?;
    }
    assert!(!request.settled().await.is_empty());
    Ok(())
}
