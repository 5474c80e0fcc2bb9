use futures_util::future::{try_join, try_join_all};
use redis::{Cmd, cmd};

use super::{
    RedisNode, RedisOptions,
    session::{answer, says, until},
    setup::Setup,
};
use crate::{Member, Proxy, TopologyError};

/// A Redis primary and its replicas.
///
/// Each replica reaches its upstream through a [`link`](Self::link) of its own, which stays its
/// own when the upstream changes.
///
/// Dropping the topology ends its servers and removes their data; so does the end of this
/// process, however it comes about.
#[derive(Debug)]
pub struct RedisTopology {
    primary: RedisNode,
    replicas: Vec<RedisNode>,
    primary_link: Proxy,
    links: Vec<Proxy>,
}

impl RedisTopology {
    /// Starts a primary and its replicas and waits until the replicas are synchronised.
    ///
    /// # Errors
    ///
    /// [`TopologyError::MissingServer`] if Redis is not installed; [`TopologyError::Exited`] and
    /// [`TopologyError::Timeout`] if a server does not start within 30 s.
    pub async fn start(options: RedisOptions) -> Result<Self, TopologyError> {
        let setup = Setup::new(&options).await?;
        let primary = RedisNode::new(setup.server(Member::Primary, &options, None).await?);
        let primary_link = Proxy::start(primary.addr()).await?;
        let replicas = (0..options.replicas).map(async |index| {
            let link = Proxy::start(primary.addr()).await?;
            let server = setup.server(Member::Replica(index), &options, Some(link.addr())).await?;
            Ok((RedisNode::new(server), link))
        });
        let (replicas, links) = try_join_all(replicas).await?.into_iter().unzip();
        let topology = Self { primary, replicas, primary_link, links };
        for replica in &topology.replicas {
            until_synchronised(replica, &topology.primary).await?;
        }
        Ok(topology)
    }

    /// The server that was started as the primary.
    #[must_use]
    pub fn primary(&self) -> &RedisNode {
        &self.primary
    }

    /// The server that was started as the replica of this index, counted from zero.
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer replicas.
    #[must_use]
    pub fn replica(&self, index: usize) -> &RedisNode {
        match self.replicas.get(index) {
            Some(replica) => replica,
            None => panic!("no replica {index} among {}", self.replicas.len()),
        }
    }

    /// All servers that were started as replicas.
    #[must_use]
    pub fn replicas(&self) -> &[RedisNode] {
        &self.replicas
    }

    /// The proxy between the replica of this index (its client) and its upstream (its target).
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer replicas.
    #[must_use]
    pub fn link(&self, index: usize) -> &Proxy {
        match self.links.get(index) {
            Some(link) => link,
            None => panic!("no replica {index} among {}", self.links.len()),
        }
    }

    /// The proxy between the original primary and its upstream. Nothing uses it before the
    /// original primary has been made a replica by
    /// [`rejoin_as_replica`](Self::rejoin_as_replica).
    #[must_use]
    pub fn primary_link(&self) -> &Proxy {
        &self.primary_link
    }

    /// The server of this name.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoSuchMember`].
    pub fn node(&self, member: Member) -> Result<&RedisNode, TopologyError> {
        Ok(self.member(member)?.0)
    }

    /// Makes a replica a primary (`REPLICAOF NO ONE`), with a new replication id. Its former
    /// upstream is left alone: a running one stays a primary, too.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoSuchMember`], [`TopologyError::NotRunning`], [`TopologyError::Client`],
    /// or [`TopologyError::Timeout`] if it does not answer within 30 s.
    pub async fn promote(&self, index: usize) -> Result<(), TopologyError> {
        let (node, _) = self.member(Member::Replica(index))?;
        let () = answer(node.server(), "promote it", &replica_of("NO", "ONE")).await?;
        until(node.server(), "promoted", |info| says(info, "role:master")).await?;
        node.keep_settings().await
    }

    /// Makes a replica follow another upstream, the new primary or another replica, and waits
    /// until it is synchronised: with the missing part where their histories agree, else with
    /// all of the upstream's data in place of its own.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoSuchMember`], [`TopologyError::NotRunning`], [`TopologyError::Client`],
    /// [`TopologyError::Timeout`] after 30 s, for instance if its link is cut.
    pub async fn follow(&self, index: usize, upstream: Member) -> Result<(), TopologyError> {
        self.attach(Member::Replica(index), upstream).await
    }

    /// Makes any server a replica of another one, so an old primary after a failover. It is
    /// started if it is not running. Writes that it alone had are lost.
    ///
    /// # Errors
    ///
    /// Those of [`follow`](Self::follow), and [`TopologyError::Exited`] if it does not start.
    pub async fn rejoin_as_replica(&self, member: Member, upstream: Member) -> Result<(), TopologyError> {
        self.member(member)?.0.server().start().await?;
        self.attach(member, upstream).await
    }

    async fn attach(&self, member: Member, upstream: Member) -> Result<(), TopologyError> {
        let (node, link) = self.member(member)?;
        let (source, _) = self.member(upstream)?;
        link.set_target(source.addr());
        link.reset();
        let address = link.addr();
        let follow = replica_of(&address.ip().to_string(), &address.port().to_string());
        let () = answer(node.server(), "make it a replica", &follow).await?;
        node.keep_settings().await?;
        until_synchronised(node, source).await
    }

    fn member(&self, member: Member) -> Result<(&RedisNode, &Proxy), TopologyError> {
        let found = match member {
            Member::Primary => Some((&self.primary, &self.primary_link)),
            Member::Replica(index) => self.replicas.get(index).zip(self.links.get(index)),
        };
        found.ok_or(TopologyError::NoSuchMember { member })
    }
}

/// Waits until both ends say so.
async fn until_synchronised(node: &RedisNode, source: &RedisNode) -> Result<(), TopologyError> {
    let port = format!(",port={},state=online,", node.port());
    try_join(
        until(source.server(), "sending to its replica", |info| {
            info.lines().any(|line| line.starts_with("slave") && line.contains(&port))
        }),
        until(node.server(), "synchronised with its upstream", |info| {
            says(info, "role:slave") && says(info, "master_link_status:up")
        }),
    )
    .await?;
    Ok(())
}

fn replica_of(host: &str, port: &str) -> Cmd {
    let mut command = cmd("REPLICAOF");
    command.arg(host).arg(port);
    command
}
