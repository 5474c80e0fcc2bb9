//! One region's servers: what a process reads from.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antipode_barrier::{BoxFuture, Frontier, Frontiers, ProbeError, Replica, Shards};
use antipode_lineage::{Epoch, Position, ReplicaName, Shard};
use futures_util::future::{join_all, try_join_all};

use super::floors::Floors;
use super::nodes::{Nodes, Standing};
use super::primaries::descends;
use super::view::{Address, View};
use crate::replication::Role;
use crate::server::Server;

/// A replica of every shard, as one server.
pub(super) struct Region {
    pub(super) name: ReplicaName,
    pub(super) servers: Vec<Arc<Server>>,
    nodes: Arc<Nodes>,
    state: Mutex<State>,
}

/// What is known of the servers, in their order.
#[derive(Debug, Default)]
struct State {
    seen: Vec<Option<Seen>>,
    floors: Floors,
}

/// A server when it was asked last.
#[derive(Debug)]
struct Seen {
    frontier: Frontier,
    view: View,
}

impl Region {
    pub(super) fn new(name: ReplicaName, servers: Vec<Arc<Server>>, nodes: Arc<Nodes>) -> Self {
        let seen = servers.iter().map(|_| None).collect();
        Self { name, servers, nodes, state: Mutex::new(State { seen, floors: Floors::default() }) }
    }

    /// The server that has the slot by its own word, when it was asked last; `None` if there is none,
    /// or if servers of two shards claim it.
    pub(super) fn server_of(&self, slot: u16) -> Option<Arc<Server>> {
        let state = self.lock();
        let mut claims = state.seen.iter().zip(&self.servers).filter_map(|(seen, server)| {
            let view = &seen.as_ref()?.view;
            let primary = view.own_primary()?;
            (view.owner(slot) == Some(primary)).then_some((primary, server))
        });
        let (primary, server) = claims.next()?;
        claims.all(|(other, _)| other == primary).then(|| Arc::clone(server))
    }

    /// Whether every server has been asked.
    pub(super) fn is_known(&self) -> bool {
        self.lock().seen.iter().all(Option::is_some)
    }

    /// Asks them, if nobody has yet. What cannot be asked is read at its primary.
    pub(super) async fn look(&self) {
        if !self.is_known() {
            let _ = self.frontiers(Shards::All).await;
        }
    }

    /// The shards, by their primaries, that servers of this region belong to.
    pub(super) fn primaries(&self) -> Vec<Box<str>> {
        self.lock().primaries()
    }

    async fn frontiers(&self, shards: Shards<'_>) -> Result<Frontiers, ProbeError> {
        let asked = self.lock().needed(shards);
        let servers = || asked.iter().filter_map(|index| self.servers.get(*index));
        let answers = join_all(servers().map(|server| Standing::of(server))).await;
        let mut failure = None;
        let mut standings = Vec::with_capacity(answers.len());
        for (index, answer) in asked.iter().zip(answers) {
            match answer {
                Ok(standing) => standings.push((*index, standing)),
                Err(error) => failure = Some(error),
            }
        }
        let moved_to = self.lock().moved_to(&standings);
        // Until their places are known nothing of this is remembered: the next probe begins anew.
        let floors = try_join_all(moved_to.iter().map(|owner| self.floor(owner))).await?;
        self.lock().take(self, standings, floors.into_iter().flatten(), shards, failure)
    }

    /// Where the new owner of a slot is now. `None` if it counts nothing, because it never had a
    /// replica that could lag.
    async fn floor(&self, owner: &Address) -> Result<Option<(Epoch, Position)>, ProbeError> {
        let server = self.nodes.at(owner).map_err(ProbeError::new)?;
        let replication = Standing::of(&server).await?.replication;
        if replication.role != Role::Primary {
            let moving = format!("store {}: the new owner of a slot is a replica already", server.store);
            return Err(ProbeError::new(moving));
        }
        Ok(replication.position().map(|position| (replication.epoch(), position)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The servers to ask: those of the shards, or all of them, if one has never been asked, a shard is
    /// none of theirs, or there is a floor to be reached.
    fn needed(&self, shards: Shards<'_>) -> Vec<usize> {
        let all = || (0..self.seen.len()).collect();
        let (Shards::Of(shards), true) = (shards, self.floors.is_empty()) else { return all() };
        let mut needed = Vec::new();
        for shard in shards {
            let of = |seen: &Option<Seen>| seen.as_ref().is_some_and(|seen| descends(&seen.frontier, *shard));
            let before = needed.len();
            needed.extend(self.seen.iter().enumerate().filter(|(_, seen)| of(seen)).map(|(at, _)| at));
            if before == needed.len() || self.seen.iter().any(Option::is_none) {
                return all();
            }
        }
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// The new owners of slots that moved, since the same server was asked last, to a shard that is read
    /// here. (Slots of other shards are read at their primaries.)
    fn moved_to(&self, standings: &[(usize, Standing)]) -> Vec<Address> {
        let mut moved: Vec<Address> = Vec::new();
        let mut here = self.primaries();
        here.extend(standings.iter().filter_map(|(_, standing)| standing.view.own_primary().map(Into::into)));
        for (index, standing) in standings {
            let Some(Some(before)) = self.seen.get(*index) else { continue };
            let gained = standing.view.gained_since(&before.view).filter(|node| here.contains(&node.id));
            for address in gained.filter_map(|node| node.address.clone()) {
                if !moved.contains(&address) {
                    moved.push(address);
                }
            }
        }
        moved
    }

    fn primaries(&self) -> Vec<Box<str>> {
        let seen = self.seen.iter().flatten();
        seen.filter_map(|seen| seen.view.own_primary().map(Into::into)).collect()
    }

    fn take(
        &mut self,
        region: &Region,
        standings: Vec<(usize, Standing)>,
        floors: impl Iterator<Item = (Epoch, Position)>,
        shards: Shards<'_>,
        failure: Option<ProbeError>,
    ) -> Result<Frontiers, ProbeError> {
        for (epoch, position) in floors {
            self.floors.raise(epoch, position);
        }
        let mut frontiers: Vec<Frontier> = Vec::with_capacity(standings.len());
        for (index, Standing { replication, view }) in standings {
            let frontier = region.nodes.histories.frontier(&replication);
            if let Some(seen) = self.seen.get_mut(index) {
                *seen = Some(Seen { frontier: frontier.clone(), view });
            }
            frontiers.push(frontier);
        }
        self.floors.settle(frontiers.iter());
        let vouched = |shard: Shard, frontier: &Frontier| (shard, self.floors.cap(frontier.clone()));
        // Of two servers of one shard, either may be read from.
        let least = |shard: Shard| {
            let of = frontiers.iter().filter(|frontier| descends(frontier, shard));
            of.min_by_key(|frontier| frontier.position).map(|frontier| vouched(shard, frontier))
        };
        match (shards, failure) {
            (Shards::All, Some(failure)) => Err(failure),
            (Shards::All, None) => {
                Ok(frontiers.iter().filter_map(|frontier| least(Shard(frontier.epoch.history))).collect())
            }
            (Shards::Of(shards), Some(failure)) if shards.iter().any(|shard| least(*shard).is_none()) => {
                Err(failure)
            }
            (Shards::Of(shards), _) => Ok(shards.iter().filter_map(|shard| least(*shard)).collect()),
        }
    }
}

impl Replica for Region {
    fn name(&self) -> ReplicaName {
        self.name
    }

    fn probe<'a>(&'a self, shards: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        Box::pin(self.frontiers(shards))
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::Client;

    fn region(views: [&str; 2]) -> Region {
        let (store, name) = ("posts".parse().unwrap(), "eu".parse().unwrap());
        let client = |port: usize| Client::open(format!("redis://127.0.0.1:{port}/")).unwrap();
        let nodes = Arc::new(Nodes::new(store, name, client(1)));
        let server = |port| Arc::new(Server::new(store, name, client(port), Arc::clone(&nodes.histories)));
        let region = Region::new(name, vec![server(1), server(2)], Arc::clone(&nodes));
        let frontier = Frontier::new(Epoch { history: 1, term: 0 }, Position(1));
        let seen = |view| Some(Seen { frontier: frontier.clone(), view: View::parse(view) });
        region.lock().seen = views.map(seen).into();
        region
    }

    /// Replicas of `aa` and `bb`, as each of them sees the slots.
    fn views(first: [&str; 2], second: [&str; 2]) -> [String; 2] {
        let nodes = |[a, b]: [&str; 2]| {
            format!(
                "aa 10.0.0.1:1@2 master - 0 0 1 connected {a}\nbb 10.0.0.2:1@2 master - 0 0 2 connected {b}\n"
            )
        };
        let myself = |id: &str, of: &str| format!("{id} 10.0.0.3:1@2 myself,slave {of} 0 0 1 connected\n");
        [nodes(first) + &myself("cc", "aa"), nodes(second) + &myself("dd", "bb")]
    }

    #[test]
    fn a_slot_is_read_from_the_one_server_whose_shard_has_it_by_its_own_word() {
        let port = |views: &[String; 2], slot| {
            let region = region([&views[0], &views[1]]);
            let server = region.server_of(slot)?;
            region.servers.iter().position(|known| Arc::ptr_eq(known, &server))
        };
        let agreed = views(["0-9", "10-19"], ["0-9", "10-19"]);
        assert_eq!([9, 10, 20].map(|slot| port(&agreed, slot)), [Some(0), Some(1), None]);
        let heard_by_both = views(["0-8", "9-19"], ["0-8", "9-19"]);
        assert_eq!(port(&heard_by_both, 9), Some(1));
        let heard_by_the_new = views(["0-9", "10-19"], ["0-8", "9-19"]);
        assert_eq!(port(&heard_by_the_new, 9), None, "both claim it");
        let heard_by_the_old = views(["0-8", "9-19"], ["0-9", "10-19"]);
        assert_eq!(port(&heard_by_the_old, 9), None, "nobody claims it");
    }
}
