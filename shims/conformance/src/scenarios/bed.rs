//! The bed itself: where it does not do what it says, the other scenarios prove nothing.

use antipode_lineage::LineageScope;

use crate::stage::{Outcome, Stage};
use crate::{Bed, Change, Fault, Node};

/// A value written while a replica is cut off is at the primary and not at the replica; afterwards
/// it is at both.
pub(crate) async fn a_cut_replica_falls_behind_and_catches_up<B: Bed>(stage: &mut Stage<B>) -> Outcome {
    let key = stage.key("post");
    for replica in [0, 1] {
        LineageScope::new().run(stage.write(Change::Put(&key, "old"))).await?;
        stage.settle(Node::Replica(replica), &key, Some("old")).await?;
        stage.fault(Fault::Cut { replica }).await?;
        LineageScope::new().run(stage.write(Change::Put(&key, "new"))).await?;
        assert_eq!(stage.peek(Node::Primary, &key).await?.as_deref(), Some("new"));
        assert_eq!(stage.peek(Node::Replica(replica), &key).await?.as_deref(), Some("old"));
        stage.heal().await?;
        stage.settle(Node::Replica(replica), &key, Some("new")).await?;
    }
    Ok(())
}
