//! Reads-from-lineage: who reads a value depends on what its writers depended on.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use antipode_barrier::Store;
use antipode_lineage::{Lineage, LineageScope};

use crate::elsewhere::Elsewhere;
use crate::stage::{Outcome, Stage, registry};
use crate::waiting::{Waiting, pending};
use crate::{Bed, Change, Fault, Node};

/// A writes elsewhere and here; B, who got nothing from A but the value, writes on; C, who got nothing
/// but B's value, must wait for what A wrote elsewhere.
pub(crate) async fn dependencies_travel_across_three_hops<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let elsewhere = Elsewhere::new()?;
    let registry = registry([stage.bed.store(), Arc::clone(&elsewhere) as Arc<dyn Store>]).await?;
    let [first, second] = ["first", "second"].map(|what| stage.key(what));
    let a = LineageScope::new();
    let write = elsewhere.write();
    a.add(write);
    a.run(stage.write(Change::Put(&first, "by a"))).await?;
    stage.settle_all(&first, Some("by a")).await?;

    let b = LineageScope::new();
    assert_eq!(b.run(stage.read(&first)).await?.as_deref(), Some("by a"));
    b.run(stage.write(Change::Put(&second, "by b"))).await?;
    stage.settle_all(&second, Some("by b")).await?;

    let c = LineageScope::new();
    assert_eq!(c.run(stage.read(&second)).await?.as_deref(), Some("by b"));
    let lineage = c.settled().await;
    assert!(lineage.covers_write(&write), "c depends on what a wrote elsewhere: {lineage}");
    let waiting = Waiting::begin(&registry, &lineage, 1).await?;
    elsewhere.catch_up();
    waiting.visible().await
}

/// An update that did not read what it adds to leaves that readable: with all of its dependencies, and
/// with the new writer's.
pub(crate) async fn a_blind_update_keeps_the_dependencies_of_what_it_keeps<B: Bed>(
    stage: &mut Stage<B>,
) -> Outcome {
    let (elsewhere, key) = (Elsewhere::new()?, stage.key("post"));
    let changes = [Change::Put(&key, "a"), Change::Append(&key, "b"), Change::Append(&key, "c")];
    let mut lineages = Vec::new();
    for change in changes {
        let writer = LineageScope::new();
        writer.add(elsewhere.write());
        writer.run(stage.write(change)).await?;
        lineages.push(writer.settled().await);
    }
    reads_with(stage, &key, "abc", &lineages).await
}

/// Two writers add to one value at the same time: whatever the order, both stay.
pub(crate) async fn updates_at_the_same_time_keep_each_others_dependencies<B: Bed>(
    stage: &mut Stage<B>,
) -> Outcome {
    let (elsewhere, key) = (Elsewhere::new()?, stage.key("post"));
    LineageScope::new().run(stage.write(Change::Put(&key, "-"))).await?;
    let writers: Vec<LineageScope> = (0..8).map(|_| LineageScope::new()).collect();
    writers.iter().for_each(|writer| writer.add(elsewhere.write()));
    let writes = writers.iter().map(|writer| writer.run(stage.write(Change::Append(&key, "x"))));
    for written in futures_util::future::join_all(writes).await {
        written?;
    }
    let mut lineages = Vec::new();
    for writer in &writers {
        lineages.push(writer.settled().await);
    }
    reads_with(stage, &key, "-xxxxxxxx", &lineages).await
}

/// A value that somebody without any lineage wrote: to have read it is a dependency by itself, so that
/// nobody who is told of it reads an older one.
pub(crate) async fn a_read_is_a_dependency_though_its_writer_had_no_lineage<B: Bed>(
    stage: &mut Stage<B>,
) -> Outcome {
    let (other, key) = (stage.registry_reading(1).await?, stage.key("post"));
    LineageScope::new().run(stage.write(Change::Put(&key, "old"))).await?;
    stage.settle_all(&key, Some("old")).await?;
    stage.fault(Fault::Cut { replica: 1 }).await?;
    stage.write(Change::Put(&key, "new")).await?;
    stage.settle(Node::Replica(0), &key, Some("new")).await?;

    let reader = LineageScope::new();
    assert_eq!(reader.run(stage.read(&key)).await?.as_deref(), Some("new"));
    let lineage = reader.settled().await;
    pending(&other, &lineage).await?;
    stage.heal().await?;
    other.barrier_on(&lineage).await?;
    assert_eq!(stage.peek(Node::Replica(1), &key).await?.as_deref(), Some("new"));
    Ok(())
}

/// To have found nothing is a dependency as well.
pub(crate) async fn a_read_of_nothing_is_a_dependency<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let (other, key) = (stage.registry_reading(1).await?, stage.key("post"));
    LineageScope::new().run(stage.write(Change::Put(&key, "old"))).await?;
    stage.settle_all(&key, Some("old")).await?;
    stage.fault(Fault::Cut { replica: 1 }).await?;
    LineageScope::new().run(stage.write(Change::Delete(&key))).await?;
    stage.settle(Node::Replica(0), &key, None).await?;

    let reader = LineageScope::new();
    assert_eq!(reader.run(stage.read(&key)).await?, None);
    let lineage = reader.settled().await;
    pending(&other, &lineage).await?;
    stage.heal().await?;
    other.barrier_on(&lineage).await?;
    assert_eq!(stage.peek(Node::Replica(1), &key).await?, None);
    Ok(())
}

/// A lineage beside a value that cannot be read stands for everything, never for nothing.
pub(crate) async fn an_unreadable_lineage_stands_for_everything<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let key = stage.key("post");
    LineageScope::new().run(stage.write(Change::Put(&key, "new"))).await?;
    stage.settle_all(&key, Some("new")).await?;
    stage.spoil_lineage(&key).await?;
    // Replicated like any write: one behind it says when it has arrived.
    let behind = stage.key("behind");
    stage.write(Change::Put(&behind, "new")).await?;
    stage.settle_all(&behind, Some("new")).await?;
    let reader = LineageScope::new();
    assert_eq!(reader.run(stage.read(&key)).await?.as_deref(), Some("new"));
    assert!(reader.settled().await.has_overflowed(), "{}", reader.lineage());
    Ok(())
}

/// A call that is dropped after so many polls may have written. If it has, its request knows.
pub(crate) async fn a_write_dropped_half_way_is_not_forgotten<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let registry = stage.registry_reading(0).await?;
    for polls in 1..=8 {
        let key = stage.key(&polls.to_string());
        let request = LineageScope::new();
        {
            let mut write = pin!(request.run(stage.write(Change::Put(&key, "new"))));
            for _ in 0..polls {
                if poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_ready())).await {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let landed = async {
            for _ in 0..10 {
                if stage.peek(Node::Primary, &key).await?.is_some() {
                    return Outcome::Ok(true);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(false)
        };
        if landed.await? {
            let lineage = request.settled().await;
            assert!(!lineage.is_empty(), "dropped after {polls} polls, written, and forgotten");
            registry.barrier_on(&lineage).await?;
            assert_eq!(stage.peek(Node::Replica(0), &key).await?.as_deref(), Some("new"), "{polls} polls");
        }
    }
    Ok(())
}

/// Whoever reads the value, at a replica, depends on all of this.
async fn reads_with<B: Bed>(stage: &Stage<B>, key: &str, value: &str, lineages: &[Lineage]) -> Outcome {
    stage.settle_all(key, Some(value)).await?;
    let reader = LineageScope::new();
    assert_eq!(reader.run(stage.read(key)).await?.as_deref(), Some(value));
    let read = reader.settled().await;
    for lineage in lineages {
        assert!(read.covers(lineage), "the reader has {read}, a writer of this had {lineage}");
    }
    Ok(())
}
