use futures_util::future::{try_join, try_join_all};

use super::{
    PostgresNode, PostgresOptions,
    cluster::{Cluster, application_name, quoted},
    session::{until, value},
};
use crate::{Member, Proxy, TopologyError};

/// A Postgres primary and its streaming standbys.
///
/// Each standby reaches its upstream through a [`link`](Self::link) of its own, which stays its
/// own when the upstream changes. An upstream knows standby `i` by the application name
/// `standby_i`.
///
/// Dropping the topology ends its servers and removes their data; so does the end of this
/// process, however it comes about.
#[derive(Debug)]
pub struct PostgresTopology {
    primary: PostgresNode,
    standbys: Vec<PostgresNode>,
    primary_link: Proxy,
    links: Vec<Proxy>,
    cluster: Cluster,
}

impl PostgresTopology {
    /// Makes a new database cluster, starts its primary and its standbys, and waits until all
    /// standbys are streaming.
    ///
    /// # Errors
    ///
    /// [`TopologyError::MissingServer`] if Postgres is not installed; [`TopologyError::Exited`],
    /// [`TopologyError::Tool`] and [`TopologyError::Timeout`] if a server does not start, each
    /// step within 30 s.
    pub async fn start(options: PostgresOptions) -> Result<Self, TopologyError> {
        let cluster = Cluster::new(&options).await?;
        let primary = PostgresNode::new(cluster.primary(&options).await?);
        let primary_link = Proxy::start(primary.addr()).await?;
        let standbys = (0..options.standbys).map(async |index| {
            let link = Proxy::start(primary.addr()).await?;
            let member = Member::Replica(index);
            let standby = cluster.standby(member, primary.addr(), link.addr()).await?;
            Ok((PostgresNode::new(standby), link))
        });
        let (standbys, links) = try_join_all(standbys).await?.into_iter().unzip();
        let topology = Self { primary, standbys, primary_link, links, cluster };
        for index in 0..options.standbys {
            topology.until_streaming(Member::Replica(index), Member::Primary).await?;
        }
        Ok(topology)
    }

    /// The server that was started as the primary.
    #[must_use]
    pub fn primary(&self) -> &PostgresNode {
        &self.primary
    }

    /// The server that was started as the standby of this index, counted from zero.
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer standbys.
    #[must_use]
    pub fn standby(&self, index: usize) -> &PostgresNode {
        match self.standbys.get(index) {
            Some(standby) => standby,
            None => panic!("no standby {index} among {}", self.standbys.len()),
        }
    }

    /// All servers that were started as standbys.
    #[must_use]
    pub fn standbys(&self) -> &[PostgresNode] {
        &self.standbys
    }

    /// The proxy between the standby of this index (its client) and its upstream (its target).
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer standbys.
    #[must_use]
    pub fn link(&self, index: usize) -> &Proxy {
        match self.links.get(index) {
            Some(link) => link,
            None => panic!("no standby {index} among {}", self.links.len()),
        }
    }

    /// The proxy between the original primary and its upstream. Nothing uses it before the
    /// original primary has been made a standby by
    /// [`rejoin_as_standby`](Self::rejoin_as_standby).
    #[must_use]
    pub fn primary_link(&self) -> &Proxy {
        &self.primary_link
    }

    /// The server of this name.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoSuchMember`].
    pub fn node(&self, member: Member) -> Result<&PostgresNode, TopologyError> {
        Ok(self.member(member)?.0)
    }

    /// Makes a standby a primary, on a new timeline, and waits until it takes writes. Its former
    /// upstream is left alone: a running one stays a primary, too.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoSuchMember`], [`TopologyError::NotRunning`], [`TopologyError::Client`]
    /// if it is no standby, [`TopologyError::Timeout`] after 30 s.
    pub async fn promote(&self, index: usize) -> Result<(), TopologyError> {
        let (node, _) = self.member(Member::Replica(index))?;
        let promote = "SELECT pg_promote(false)";
        let _: bool = value(node.server(), "promote it", promote).await?;
        until(node.server(), "promoted", "SELECT NOT pg_is_in_recovery()").await
    }

    /// Points a standby to another upstream, the new primary or another standby, and waits until
    /// it is streaming from there, on the upstream's timeline.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoSuchMember`]; [`TopologyError::Role`] if it has been promoted;
    /// [`TopologyError::Timeout`] after 30 s, for instance if its link is cut or it had already
    /// replayed what the new primary lacks: then use
    /// [`rejoin_as_standby`](Self::rejoin_as_standby).
    pub async fn follow(&self, index: usize, upstream: Member) -> Result<(), TopologyError> {
        let member = Member::Replica(index);
        let (node, link) = self.member(member)?;
        let (source, _) = self.member(upstream)?;
        if !node.is_in_recovery().await? {
            return Err(TopologyError::Role {
                server: node.name().to_owned(),
                role: "has been promoted",
                advice: "call rejoin_as_standby() instead",
            });
        }
        link.set_target(source.addr());
        link.reset();
        self.until_streaming(member, upstream).await
    }

    /// Makes any server a standby of another one by giving it that one's data: all it had is
    /// lost, including writes that never were replicated. So an old primary comes back after a
    /// failover. It is killed if it is running; its link's faults stay, while the data is copied
    /// past the link.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoSuchMember`], [`TopologyError::Tool`] if the data cannot be copied,
    /// and those of [`follow`](Self::follow).
    pub async fn rejoin_as_standby(&self, member: Member, upstream: Member) -> Result<(), TopologyError> {
        let (node, link) = self.member(member)?;
        let (source, _) = self.member(upstream)?;
        source.server().must_run()?;
        node.kill().await?;
        link.set_target(source.addr());
        link.reset();
        self.cluster.replace(member, source.addr(), link.addr()).await?;
        node.server().start().await?;
        self.until_streaming(member, upstream).await
    }

    fn member(&self, member: Member) -> Result<(&PostgresNode, &Proxy), TopologyError> {
        let found = match member {
            Member::Primary => Some((&self.primary, &self.primary_link)),
            Member::Replica(index) => self.standbys.get(index).zip(self.links.get(index)),
        };
        found.ok_or(TopologyError::NoSuchMember { member })
    }

    /// Waits until both ends say so.
    async fn until_streaming(&self, member: Member, upstream: Member) -> Result<(), TopologyError> {
        let (node, _) = self.member(member)?;
        let (source, _) = self.member(upstream)?;
        let receives = "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')";
        let sends = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_replication \
             WHERE application_name = {} AND state = 'streaming')",
            quoted(&application_name(member)),
        );
        try_join(
            until(source.server(), "sending to its standby", &sends),
            until(node.server(), "streaming from its upstream", receives),
        )
        .await?;
        Ok(())
    }
}
