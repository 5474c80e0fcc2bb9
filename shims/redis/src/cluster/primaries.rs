//! The primaries of a cluster, whoever they are at the moment.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use antipode_barrier::{BoxFuture, Frontier, Frontiers, ProbeError, Replica, Shards};
use antipode_lineage::{Epoch, ReplicaName, Shard};
use futures_util::future::join_all;

use super::nodes::{Nodes, Standing};
use super::view::{NodeRole, View};
use crate::replication::Role;
use crate::server::Server;

/// How often those are asked who were heard of meanwhile.
const ROUNDS: usize = 3;

/// All primaries together, as one server.
pub(super) struct Primaries {
    name: ReplicaName,
    seeds: Vec<Arc<Server>>,
    nodes: Arc<Nodes>,
    /// Those that answered last.
    known: Mutex<Vec<Arc<Server>>>,
}

/// What the primaries said.
struct Survey {
    frontiers: Vec<Frontier>,
    /// Why it is not known of every slot what its owner has.
    missing: Option<ProbeError>,
}

impl Primaries {
    pub(super) fn new(name: ReplicaName, seeds: Vec<Arc<Server>>, nodes: Arc<Nodes>) -> Self {
        Self { name, seeds, nodes, known: Mutex::default() }
    }

    /// Asks the known ones, those whom they name, and the seeds if none of them answers.
    async fn survey(&self) -> Result<Survey, ProbeError> {
        let mut next = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if next.is_empty() {
            next.clone_from(&self.seeds);
        }
        let mut failure = None;
        let mut asked: Vec<Arc<Server>> = Vec::new();
        let mut answers: Vec<(Arc<Server>, Standing)> = Vec::new();
        for _ in 0..ROUNDS {
            for (server, answer) in next.iter().zip(join_all(next.iter().map(|to| Standing::of(to))).await) {
                match answer {
                    Ok(standing) => answers.push((Arc::clone(server), standing)),
                    Err(error) => failure = Some(error),
                }
            }
            asked.append(&mut next);
            let unasked = |server: &Arc<Server>| !asked.iter().any(|asked| Arc::ptr_eq(asked, server));
            next = if answers.is_empty() {
                self.seeds.iter().filter(|seed| unasked(seed)).cloned().collect()
            } else {
                self.named(&answers).into_iter().filter(unasked).collect()
            };
            if next.is_empty() {
                break;
            }
        }
        self.take(&answers, failure)
    }

    /// The primaries that are named and have not answered.
    fn named(&self, answers: &[(Arc<Server>, Standing)]) -> Vec<Arc<Server>> {
        let mut named: Vec<Arc<Server>> = Vec::new();
        let nodes = answers.iter().flat_map(|(_, standing)| standing.view.nodes());
        for node in nodes.filter(|node| node.role == NodeRole::Primary && !answered(answers, &node.id)) {
            let server = node.address.as_ref().and_then(|address| self.nodes.at(address).ok());
            if let Some(server) = server
                && !named.iter().any(|held| Arc::ptr_eq(held, &server))
            {
                named.push(server);
            }
        }
        named
    }

    fn take(
        &self,
        answers: &[(Arc<Server>, Standing)],
        failure: Option<ProbeError>,
    ) -> Result<Survey, ProbeError> {
        let views: Vec<&View> = answers.iter().map(|(_, standing)| &standing.view).collect();
        let primaries = || answers.iter().filter(|(_, standing)| standing.replication.role == Role::Primary);
        if views.is_empty() {
            return Err(failure.unwrap_or_else(|| ProbeError::new("no node of the cluster answers")));
        }
        self.nodes.retain(&views);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
            primaries().map(|(server, _)| Arc::clone(server)).collect();
        let owners = views.iter().flat_map(|view| view.owners());
        let mut silent = owners.filter(|owner| !answered(answers, &owner.id));
        let missing = silent.next().map(|owner| {
            failure
                .unwrap_or_else(|| ProbeError::new(format!("primary {} of the cluster is silent", owner.id)))
        });
        // All of them first: one may know what another left behind.
        let histories = &self.nodes.histories;
        primaries().for_each(|(_, standing)| drop(histories.frontier(&standing.replication)));
        let frontiers = primaries().map(|(_, standing)| histories.frontier(&standing.replication));
        Ok(Survey { frontiers: present(frontiers.collect()), missing })
    }

    async fn frontiers(&self, shards: Shards<'_>) -> Result<Frontiers, ProbeError> {
        let Survey { frontiers, missing } = self.survey().await?;
        match (shards, missing) {
            (Shards::All, Some(missing)) => Err(missing),
            (Shards::All, None) => {
                Ok(frontiers.into_iter().map(|frontier| (Shard(frontier.epoch.history), frontier)).collect())
            }
            (Shards::Of(shards), missing) => {
                let found = |shard: &Shard| {
                    let found = frontiers.iter().find(|frontier| descends(frontier, *shard))?;
                    Some((*shard, found.clone()))
                };
                match missing {
                    Some(missing) if shards.iter().any(|shard| found(shard).is_none()) => Err(missing),
                    _ => Ok(shards.iter().filter_map(found).collect()),
                }
            }
        }
    }
}

impl Replica for Primaries {
    fn name(&self) -> ReplicaName {
        self.name
    }

    fn probe<'a>(&'a self, shards: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        Box::pin(self.frontiers(shards))
    }
}

impl fmt::Debug for Primaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primaries").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whether the log with this frontier is the shard called by this history, or grew out of it.
pub(super) fn descends(frontier: &Frontier, shard: Shard) -> bool {
    frontier.epoch.history == shard.0 || frontier.ancestry.iter().any(|old| old.epoch.history == shard.0)
}

/// Without those who were taken over from and do not know it yet: what they hold beyond is lost.
fn present(mut frontiers: Vec<Frontier>) -> Vec<Frontier> {
    let ancestors = frontiers.iter().flat_map(|frontier| frontier.ancestry.iter());
    let left: Vec<Epoch> = ancestors.map(|ancestor| ancestor.epoch).collect();
    frontiers.retain(|frontier| !left.contains(&frontier.epoch));
    frontiers
}

fn answered(answers: &[(Arc<Server>, Standing)], id: &str) -> bool {
    answers.iter().any(|(_, standing)| standing.view.myself().is_some_and(|node| &*node.id == id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use antipode_barrier::Ancestor;
    use antipode_lineage::Position;

    #[test]
    fn of_two_primaries_of_a_shard_the_one_that_took_over_speaks() {
        let epoch = |history| Epoch { history, term: 0 };
        let old = Frontier::new(epoch(1), Position(150));
        let other = Frontier::new(epoch(7), Position(10));
        let ancestry = [Ancestor { epoch: epoch(1), end: Position(100) }];
        let new = Frontier::new(epoch(2), Position(120)).with_ancestry(ancestry);
        assert!(descends(&new, Shard(1)) && descends(&new, Shard(2)) && !descends(&new, Shard(7)));
        assert_eq!(present(vec![old, other.clone(), new.clone()]), [other, new]);
    }
}
