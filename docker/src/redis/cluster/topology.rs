use std::sync::Arc;

use futures_util::future::try_join_all;
use redis::{Cmd, cmd};

use super::{RedisClusterOptions, switchboard::Switchboard, view};
use crate::{
    Member, Proxy, RedisNode, TopologyError, ports,
    redis::{session::answer, setup::Setup},
    server::Server,
    wait,
};

/// How often another bus port is tried when a chosen one was taken meanwhile.
const PORTS: usize = 10;

/// How many slots a cluster has.
const SLOTS: u32 = 16_384;

/// A Redis Cluster: shards, each of one primary and its replicas, that share the slots evenly.
///
/// Every node replicates through a [`link`](Self::link) of its own, whichever node it follows: a
/// link's *client* is the replica. Applications reach a node at [`url`](RedisNode::url), and at the
/// address that the cluster announces for it, which leads to the same server.
///
/// Nodes are named by the shard and the role that they were started in, and keep these names in
/// failovers and when slots move.
///
/// Dropping the topology ends its servers and removes their data; so does the end of this
/// process, however it comes about.
#[derive(Debug)]
pub struct RedisClusterTopology {
    shards: Vec<Vec<Place>>,
    /// Closes with the nodes.
    _switchboard: Switchboard,
}

/// A node with its link and what it announces.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) node: RedisNode,
    pub(super) link: Arc<Proxy>,
    pub(super) announced: u16,
}

impl RedisClusterTopology {
    /// Starts the nodes, makes them a cluster, and waits until all of them say that it is complete
    /// and all replicas are synchronised.
    ///
    /// # Errors
    ///
    /// [`TopologyError::MissingServer`] if Redis is not installed; [`TopologyError::Exited`] and
    /// [`TopologyError::Timeout`] if a server does not start, or does not join, within 30 s.
    pub async fn start(options: RedisClusterOptions) -> Result<Self, TopologyError> {
        let setup = Setup::new(&options.node).await?;
        let size = 1 + options.replicas;
        let switchboard = Switchboard::start(usize::from(options.shards) * size)?;
        let starting = switchboard.ports().iter().enumerate().map(async |(index, announced)| {
            let label = label(index / size, member(index % size));
            let server = Self::launch(&setup, &label, &options, *announced).await?;
            let link = Arc::new(Proxy::start(server.addr()).await?);
            switchboard.connect(index, server.addr(), Arc::clone(&link));
            Ok(Place { node: RedisNode::new(server), link, announced: *announced })
        });
        let mut places = try_join_all(starting).await?.into_iter();
        let shards = (0..options.shards).map(|_| places.by_ref().take(size).collect()).collect();
        let topology = Self { shards, _switchboard: switchboard };
        topology.form().await?;
        Ok(topology)
    }

    /// The node that was started as the primary of this shard, counted from zero.
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer shards.
    #[must_use]
    pub fn primary(&self, shard: usize) -> &RedisNode {
        &self.place(shard, Member::Primary).node
    }

    /// The node that was started as the replica of this index of this shard.
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer shards or replicas.
    #[must_use]
    pub fn replica(&self, shard: usize, index: usize) -> &RedisNode {
        &self.place(shard, Member::Replica(index)).node
    }

    /// The node of this name.
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer shards or replicas.
    #[must_use]
    pub fn node(&self, shard: usize, member: Member) -> &RedisNode {
        &self.place(shard, member).node
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// All nodes, shard by shard, each with the primary first.
    pub fn nodes(&self) -> impl Iterator<Item = &RedisNode> {
        self.places().map(|place| &place.node)
    }

    /// The proxy between this node (its client), whenever it is a replica, and its primary.
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer shards or replicas.
    #[must_use]
    pub fn link(&self, shard: usize, member: Member) -> &Proxy {
        &self.place(shard, member).link
    }

    /// The address that the cluster knows this node by: `redis://127.0.0.1:PORT/`.
    #[must_use]
    pub fn announced_url(&self, node: &RedisNode) -> String {
        let port = self.places().find(|place| place.node.port() == node.port()).map(|place| place.announced);
        format!("redis://127.0.0.1:{}/", port.unwrap_or_else(|| node.port()))
    }

    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.shards.iter().flatten()
    }

    fn place(&self, shard: usize, member: Member) -> &Place {
        let index = match member {
            Member::Primary => 0,
            Member::Replica(index) => index + 1,
        };
        match self.shards.get(shard).and_then(|nodes| nodes.get(index)) {
            Some(place) => place,
            None => panic!("no {} among {} nodes", label(shard, member), self.places().count()),
        }
    }

    async fn launch(
        setup: &Setup,
        label: &str,
        options: &RedisClusterOptions,
        announced: u16,
    ) -> Result<Server, TopologyError> {
        let mut tried = 1;
        loop {
            let bus = ports::free().map_err(TopologyError::system(label, "find a free port"))?.to_string();
            let own = [
                ("cluster-port", bus.clone()),
                ("cluster-announce-bus-port", bus),
                ("cluster-announce-ip", "127.0.0.1".to_owned()),
                ("cluster-announce-port", announced.to_string()),
                ("cluster-config-file", "nodes.conf".to_owned()),
            ];
            match setup.launch(label, &options.node, &own).await {
                // Someone else took it meanwhile.
                Err(TopologyError::Exited { log, .. })
                    if tried < PORTS && log.contains("Address already in use") =>
                {
                    tried += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Makes one cluster of the nodes.
    async fn form(&self) -> Result<(), TopologyError> {
        for (index, place) in self.places().enumerate() {
            let epoch = cluster(&["SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            let () = answer(place.node.server(), "number it", &epoch).await?;
        }
        let count = u32::try_from(self.shards.len()).unwrap_or(SLOTS);
        let mut first = 0;
        for (shard, at) in self.shards.iter().zip(1_u32..) {
            let Some(primary) = shard.first() else { continue };
            let next = SLOTS * at / count;
            let slots = cluster(&["ADDSLOTSRANGE", &first.to_string(), &(next - 1).to_string()]);
            let () = answer(primary.node.server(), "give it slots", &slots).await?;
            first = next;
        }
        let Some(first) = self.places().next() else { return Ok(()) };
        for place in self.places().skip(1) {
            let bus = format!("{}", self.bus_port(place).await?);
            let meet = cluster(&["MEET", "127.0.0.1", &place.announced.to_string(), &bus]);
            let () = answer(first.node.server(), "introduce it to another", &meet).await?;
        }
        self.until_all("knowing all the others", |seen| {
            seen.len() == self.places().count() && seen.iter().all(|node| node.port != 0)
        })
        .await?;
        for shard in &self.shards {
            let Some((primary, replicas)) = shard.split_first() else { continue };
            let id = id(&primary.node).await?;
            for replica in replicas {
                self.until(replica, "knowing its primary", |seen| seen.iter().any(|node| node.id == id))
                    .await?;
                let () =
                    answer(replica.node.server(), "make it a replica", &cluster(&["REPLICATE", &id])).await?;
            }
        }
        let replicas = self.places().count() - self.shards.len();
        self.until_all("seeing the whole cluster", |seen| {
            let slots = seen.iter().flat_map(|node| &node.slots).map(ExactSizeIterator::len);
            slots.sum::<usize>() == SLOTS as usize
                && seen.iter().filter(|node| node.follows.is_some()).count() == replicas
        })
        .await?;
        for place in self.shards.iter().flat_map(|shard| shard.iter().skip(1)) {
            until_synchronised(&place.node).await?;
        }
        for place in self.places() {
            until_says(place.node.server(), "in a cluster that works", "cluster_state:ok").await?;
        }
        Ok(())
    }

    async fn bus_port(&self, place: &Place) -> Result<u16, TopologyError> {
        let mut ask = cmd("CONFIG");
        ask.arg("GET").arg("cluster-port");
        let (_, port): (String, u16) = answer(place.node.server(), "ask for its bus port", &ask).await?;
        Ok(port)
    }

    /// Waits until every running node's view is like this.
    pub(super) async fn until_all(
        &self,
        condition: &'static str,
        holds: impl Fn(&[view::Seen]) -> bool,
    ) -> Result<(), TopologyError> {
        for place in self.places().filter(|place| place.node.is_running()) {
            self.until(place, condition, &holds).await?;
        }
        Ok(())
    }

    pub(super) async fn until(
        &self,
        place: &Place,
        condition: &'static str,
        holds: impl Fn(&[view::Seen]) -> bool,
    ) -> Result<(), TopologyError> {
        let server = place.node.server();
        let outcome = wait::until(wait::LIMIT, || async {
            let seen = nodes(server).await?;
            Ok::<_, TopologyError>(holds(&seen).then_some(()))
        })
        .await?;
        outcome.ok_or_else(|| server.timeout(condition))
    }
}

/// The id by which the cluster knows a node.
pub(super) async fn id(node: &RedisNode) -> Result<String, TopologyError> {
    answer(node.server(), "ask for its id", &cluster(&["MYID"])).await
}

/// What a node knows of the cluster.
pub(super) async fn nodes(server: &Server) -> Result<Vec<view::Seen>, TopologyError> {
    let nodes: String = answer(server, "ask for the nodes it knows", &cluster(&["NODES"])).await?;
    Ok(view::parse(&nodes))
}

pub(super) fn cluster(words: &[&str]) -> Cmd {
    let mut command = cmd("CLUSTER");
    for word in words {
        command.arg(word);
    }
    command
}

/// Waits until a replica is connected to its primary and has all of its data.
pub(super) async fn until_synchronised(node: &RedisNode) -> Result<(), TopologyError> {
    crate::redis::session::until(node.server(), "synchronised with its primary", |info| {
        crate::redis::session::says(info, "role:slave")
            && crate::redis::session::says(info, "master_link_status:up")
    })
    .await
}

async fn until_says(server: &Server, condition: &'static str, line: &str) -> Result<(), TopologyError> {
    let outcome = wait::until(wait::LIMIT, || async {
        let info: String = answer(server, "ask for the cluster's state", &cluster(&["INFO"])).await?;
        Ok::<_, TopologyError>(crate::redis::session::says(&info, line).then_some(()))
    })
    .await?;
    outcome.ok_or_else(|| server.timeout(condition))
}

fn member(index: usize) -> Member {
    index.checked_sub(1).map_or(Member::Primary, Member::Replica)
}

fn label(shard: usize, member: Member) -> String {
    format!("shard-{shard}-{member}")
}
