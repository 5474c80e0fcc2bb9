//! Positions: their fenceposts, and those that are forged, foreign or unknown.

use std::time::Duration;

use antipode_barrier::{Shards, Verdict};
use antipode_lineage::{Epoch, Lineage, LineageScope, Position, WriteId};

use crate::counted::Counted;
use crate::stage::{Outcome, PATIENCE, Stage, Stop, registry};
use crate::waiting::{Waiting, pending, refused, verdicts};
use crate::{Bed, Change, Node};

/// With the replica at X: X - 1 and X are visible, X + 1 is not, and the same around the write itself
/// once the replica has caught up.
pub(crate) async fn the_fenceposts_stand_where_the_replica_does<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let (registry, key) = (stage.registry_reading(0).await?, stage.key("post"));
    let earlier = LineageScope::new();
    earlier.run(stage.write(Change::Put(&key, "old"))).await?;
    registry.barrier_on(&earlier.settled().await).await?;
    stage.cut_all().await?;
    let write = written(stage, &key).await?;
    let verdict = async |position: Position| -> Outcome<Verdict> {
        let verdicts = verdicts(&registry, &WriteId { position, ..write }.into()).await;
        let [(_, verdict)] = verdicts.as_slice() else {
            return Err(Stop::failed(format!("one write, one verdict: {verdicts:?}")));
        };
        Ok(*verdict)
    };
    // What was on its way when the link was cut may still arrive: the frontier must be the same
    // before and after the verdicts.
    let judged = async {
        loop {
            let at = frontier(stage, write).await?;
            let [below, there, above] = [at.0 - 1, at.0, at.0 + 1].map(Position);
            let verdicts = [verdict(below).await?, verdict(there).await?, verdict(above).await?];
            if frontier(stage, write).await? == at {
                return Outcome::Ok((at, verdicts));
            }
        }
    };
    let judged = tokio::time::timeout(PATIENCE, judged).await;
    let (at, verdicts) = judged.map_err(|_| Stop::failed("a cut replica goes on and on"))??;
    assert!(at < write.position, "the replica was cut off at {at}, before {write}");
    assert_eq!(verdicts, [Verdict::Visible, Verdict::Visible, Verdict::Pending], "around {at}");
    assert_eq!(verdict(write.position).await?, Verdict::Pending);

    stage.heal().await?;
    registry.barrier_on(&write.into()).await?;
    assert_eq!(verdict(Position(write.position.0 - 1)).await?, Verdict::Visible);
    assert_eq!(verdict(write.position).await?, Verdict::Visible);
    Ok(())
}

/// Positions that the primary itself has not reached are refused, not waited out; many of them cost
/// the primary about as much as one.
pub(crate) async fn a_position_ahead_of_the_primary_is_unreachable<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    const MANY: usize = 200;
    let counted = Counted::with_late_primary(stage.bed.store(), Duration::from_millis(50));
    let registry = registry([counted.clone() as _]).await?;
    let write = written(stage, &stage.key("post")).await?;
    let ahead = Position(write.position.0.saturating_add(1 << 40));
    for position in [ahead, Position(u64::MAX - 1)] {
        let forged = Lineage::from(WriteId { position, ..write });
        // Without a short deadline: it must end by itself.
        let ended = tokio::time::timeout(PATIENCE / 2, registry.barrier_on(&forged).into_future());
        match ended.await {
            Ok(Err(error)) => assert!(error.is_unreachable(), "{forged}: {error}"),
            Ok(Ok(report)) => return Err(Stop::failed(format!("{forged} does not exist: {report:?}"))),
            Err(_) => return Err(Stop::failed(format!("{forged} was waited out"))),
        }
    }
    let asked = counted.primary.asked();
    let lineages: Vec<Lineage> = (0..MANY as u64)
        .map(|number| WriteId { position: Position(ahead.0 + number), ..write }.into())
        .collect();
    let barriers = lineages.iter().map(|forged| registry.barrier_on(forged).into_future());
    for outcome in futures_util::future::join_all(barriers).await {
        assert!(outcome.is_err_and(|error| error.is_unreachable()));
    }
    let asked = counted.primary.asked() - asked;
    assert!(asked < MANY as u64 / 4, "{MANY} forged positions asked the primary {asked} times");
    Ok(())
}

/// A position of a history that this store never had says nothing, however small it is.
pub(crate) async fn a_foreign_history_is_never_visible<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let registry = stage.registry().await?;
    let write = written(stage, &stage.key("post")).await?;
    registry.barrier_on(&write.into()).await?;
    let Epoch { history, term } = write.epoch;
    let foreign = [
        Epoch { history: history ^ 1, term },
        Epoch { history: history ^ 1, term: term.wrapping_add(1) },
        Epoch { history, term: term.wrapping_add(1) },
    ];
    for epoch in foreign {
        for position in [Position(1), write.position] {
            let lineage = Lineage::from(WriteId { epoch, position, ..write });
            let error = refused(&registry, &lineage).await?;
            assert!(!error.is_lost(), "nothing proves that {lineage} ever was: {error}");
        }
    }
    Ok(())
}

/// A write whose position could not be learnt is waited for: everything that the primary has by then.
pub(crate) async fn an_unplaced_write_waits_for_all_that_the_primary_has<B: Bed>(
    stage: &mut Stage<B>,
) -> Outcome {
    let unplaced = Lineage::from(WriteId::unplaced(stage.bed.store().name()));
    waits_for_all(stage, &unplaced).await
}

/// A lineage that overflowed, or could not be read, is waited for like that too.
pub(crate) async fn an_overflowed_lineage_waits_for_all_that_the_primary_has<B: Bed>(
    stage: &mut Stage<B>,
) -> Outcome {
    waits_for_all(stage, &Lineage::everything()).await
}

async fn waits_for_all<B: Bed>(stage: &mut Stage<B>, lineage: &Lineage) -> Outcome {
    let (registry, key) = (stage.registry_reading(0).await?, stage.key("post"));
    stage.cut_all().await?;
    written(stage, &key).await?;
    pending(&registry, lineage).await?;
    let waiting = Waiting::begin(&registry, lineage, 1).await?;
    stage.heal().await?;
    waiting.visible().await?;
    assert_eq!(stage.peek(Node::Replica(0), &key).await?.as_deref(), Some("new"));
    Ok(())
}

/// Writes, and tells where.
async fn written<B: Bed>(stage: &Stage<B>, key: &str) -> Outcome<WriteId> {
    let request = LineageScope::new();
    request.run(stage.write(Change::Put(key, "new"))).await?;
    let lineage = request.settled().await;
    match lineage.writes() {
        [write] if !write.is_unplaced() => Ok(*write),
        _ => Err(Stop::failed(format!("one write on a healthy store has one place: {lineage}"))),
    }
}

/// Where replica 0 stands in the write's log.
async fn frontier<B: Bed>(stage: &Stage<B>, write: WriteId) -> Outcome<Position> {
    let replicas = stage.bed.store_reading(0).replicas();
    let replica = replicas.first().ok_or_else(|| Stop::failed("the store reads from nowhere"))?;
    let frontiers = replica.probe(Shards::Of(&[write.shard])).await?;
    let frontier =
        frontiers.get(write.shard).ok_or_else(|| Stop::failed("the replica knows no such shard"))?;
    assert_eq!(frontier.epoch, write.epoch, "one epoch at the primary and at the replica");
    Ok(frontier.position)
}
