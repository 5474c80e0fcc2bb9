//! A write, a barrier, a read: the read sees the write.

use std::collections::BTreeSet;
use std::time::Duration;

use antipode_barrier::{OnTimeout, Registry};
use antipode_lineage::LineageScope;

use crate::stage::{Outcome, Stage};
use crate::waiting::{Waiting, pending};
use crate::{Bed, Change, Fault, Node};

/// A value that was not there before.
pub(crate) async fn an_insert_is_read_after_its_barrier<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let key = stage.key("post");
    shown(stage, &[Change::Put(&key, "new")], &[(&key, None, Some("new"))]).await
}

/// Another value under the same key, where looking for the key finds the old one.
pub(crate) async fn an_update_is_read_after_its_barrier<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let key = stage.key("post");
    shown(stage, &[Change::Put(&key, "new")], &[(&key, Some("old"), Some("new"))]).await
}

/// Part of a value.
pub(crate) async fn an_append_is_read_after_its_barrier<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let key = stage.key("post");
    shown(stage, &[Change::Append(&key, "+new")], &[(&key, Some("old"), Some("old+new"))]).await
}

/// No value any more, which no wait for a key can tell from no value yet.
pub(crate) async fn a_delete_is_read_after_its_barrier<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let key = stage.key("post");
    shown(stage, &[Change::Delete(&key)], &[(&key, Some("old"), None)]).await
}

/// Several keys changed together, at one position.
pub(crate) async fn a_transaction_is_read_whole_after_its_barrier<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let [made, changed, deleted] = ["made", "changed", "deleted"].map(|what| stage.key(what));
    let changes = [Change::Put(&made, "new"), Change::Append(&changed, "+new"), Change::Delete(&deleted)];
    let values = [
        (made.as_str(), None, Some("new")),
        (changed.as_str(), Some("old"), Some("old+new")),
        (deleted.as_str(), Some("old"), None),
    ];
    shown(stage, &changes, &values).await
}

/// Many writes of one request need one barrier, and one entry a shard in its lineage.
pub(crate) async fn many_writes_are_read_after_one_barrier<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let registry = stage.registry().await?;
    let keys: Vec<String> = (0..20).map(|number| stage.key(&number.to_string())).collect();
    stage.cut_all().await?;
    let request = LineageScope::new();
    for key in &keys {
        request.run(stage.write(Change::Put(key, "new"))).await?;
    }
    let lineage = request.settled().await;
    let shards: BTreeSet<_> = lineage.writes().iter().map(|write| write.shard).collect();
    assert_eq!(lineage.writes().len(), shards.len(), "one shard, one entry: {lineage}");
    pending(&registry, &lineage).await?;
    stage.heal().await?;
    request.run(async { registry.barrier().await }).await?;
    for key in &keys {
        assert_eq!(request.run(stage.read(key)).await?.as_deref(), Some("new"), "{key}");
    }
    Ok(())
}

/// Replicas that are always late: behind a barrier no read is stale. Without one some are, or the
/// replicas were not late.
pub(crate) async fn a_delay_makes_no_read_behind_a_barrier_stale<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let registry = stage.registry().await?;
    let (mut stale, mut prevented) = (0, 0);
    // Where the machine is too busy to look in time, the replicas must be later.
    for by in [100, 400, 1_600] {
        let late = Duration::from_millis(by);
        stage.fault(Fault::Delay { replica: 0, by: late }).await?;
        stage.fault(Fault::Delay { replica: 1, by: late }).await?;
        for round in 0..10 {
            let key = stage.key(&format!("{by}.{round}"));
            let request = LineageScope::new();
            request.run(stage.write(Change::Put(&key, "new"))).await?;
            stale += u32::from(stage.peek(Node::Replica(0), &key).await?.is_none());
            let report = request.run(async { registry.barrier().await }).await?;
            prevented += u32::from(report.prevented());
            assert_eq!(request.run(stage.read(&key)).await?.as_deref(), Some("new"), "{key}");
        }
        if stale > 0 && prevented > 0 {
            break;
        }
    }
    assert!(stale > 0 && prevented > 0, "the delay was no delay: {stale} stale, {prevented} prevented");
    Ok(())
}

/// Of two replicas one is fresh: the barrier does not wait for the other, and reads go to the fresh one.
pub(crate) async fn one_fresh_replica_is_enough_and_reads_go_there<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let (registry, key) = (stage.registry().await?, stage.key("post"));
    for (stale, fresh) in [(0, 1), (1, 0)] {
        LineageScope::new().run(stage.write(Change::Put(&key, "old"))).await?;
        stage.settle_all(&key, Some("old")).await?;
        stage.fault(Fault::Cut { replica: stale }).await?;
        let request = LineageScope::new();
        request.run(stage.write(Change::Put(&key, "new"))).await?;
        let report = request.run(async { registry.barrier().await }).await?;
        let names: Vec<_> = stage.bed.store().replicas().iter().map(|replica| replica.name()).collect();
        assert_eq!(report.route(stage.bed.store().name()).as_ref(), names.get(fresh));
        assert_eq!(request.run(stage.read(&key)).await?.as_deref(), Some("new"));
        assert_eq!(stage.peek(Node::Replica(stale), &key).await?.as_deref(), Some("old"));
        stage.heal().await?;
        stage.settle_all(&key, Some("new")).await?;
    }
    Ok(())
}

/// No replica is fresh in time, and the caller would rather read from the primary than fail.
pub(crate) async fn reads_go_to_the_primary_where_a_barrier_sends_them<B: Bed>(
    stage: &mut Stage<B>,
) -> Outcome {
    let (registry, key) = (stage.registry().await?, stage.key("post"));
    stage.cut_all().await?;
    let request = LineageScope::new();
    request.run(stage.write(Change::Put(&key, "new"))).await?;
    let deadline = Duration::from_millis(500);
    let barrier = async { registry.barrier().deadline(deadline).on_timeout(OnTimeout::Primary).await };
    request.run(barrier).await?;
    assert_eq!(request.run(stage.read(&key)).await?.as_deref(), Some("new"));
    assert_eq!(stage.peek(Node::Replica(0), &key).await?, None, "the replicas were cut off");
    Ok(())
}

/// The changes, made while both replicas are cut off, are not visible before the barrier says so and
/// are visible when it has: both by the barrier's word and by what the servers really show.
async fn shown<B: Bed>(
    stage: &mut Stage<B>,
    changes: &[Change<'_>],
    values: &[(&str, Option<&str>, Option<&str>)],
) -> Outcome {
    let registry: Registry = stage.registry().await?;
    for (key, before, _) in values {
        if let Some(before) = before {
            LineageScope::new().run(stage.write(Change::Put(key, before))).await?;
            stage.settle_all(key, Some(before)).await?;
        }
    }
    stage.cut_all().await?;
    let request = LineageScope::new();
    request.run(stage.write_all(changes)).await?;
    let lineage = request.settled().await;
    for (key, before, after) in values {
        assert_eq!(stage.peek(Node::Primary, key).await?.as_deref(), *after, "written at the primary: {key}");
        assert_eq!(stage.peek(Node::Replica(0), key).await?.as_deref(), *before, "a stale read: {key}");
    }
    pending(&registry, &lineage).await?;

    let waiting = Waiting::begin(&registry, &lineage, 1).await?;
    stage.heal().await?;
    waiting.visible().await?;
    let reader = LineageScope::from(lineage);
    reader.run(async { registry.barrier().await }).await?;
    for (key, _, after) in values {
        assert_eq!(reader.run(stage.read(key)).await?.as_deref(), *after, "behind the barrier: {key}");
    }
    Ok(())
}
