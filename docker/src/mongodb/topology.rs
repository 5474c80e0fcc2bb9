use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use mongodb::bson::{Bson, Document, doc};

use super::{
    MongoNode, MongoOptions,
    entrance::Links,
    session::{answer, says, until},
    setup::{SET, Setup},
};
use crate::{Member, Proxy, TopologyError, wait};

/// A MongoDB replica set.
///
/// Each member has an [`entrance`](Self::entrance): the set knows it by that address, so clients of
/// the set and the other members reach it there. What a member fetches of another one's log also goes
/// through a [`link`](Self::link) of its own, so it lags or is cut off by itself, while heartbeats and
/// votes go on. [`MongoNode::url`] leads to a member past all of them.
///
/// Who is the primary is elected by the set: [`Member::Primary`] is the server that was the first one,
/// [`leader`](Self::leader) the present one.
///
/// Dropping the topology ends its servers and removes their data; so does the end of this
/// process, however it comes about.
#[derive(Debug)]
pub struct MongoTopology {
    members: Vec<Peer>,
    url: String,
}

/// The first one is the primary of the beginning.
#[derive(Debug)]
struct Peer {
    node: MongoNode,
    entrance: Proxy,
    link: Arc<Proxy>,
}

impl MongoTopology {
    /// Starts the servers, initiates the set, and waits until there is a primary and all others
    /// follow it.
    ///
    /// # Errors
    ///
    /// [`TopologyError::MissingServer`] if MongoDB is not installed; [`TopologyError::Exited`] and
    /// [`TopologyError::Timeout`] if a server does not start within 30 s; [`TopologyError::Client`] if
    /// the set cannot be initiated.
    pub async fn start(options: MongoOptions) -> Result<Self, TopologyError> {
        let setup = Setup::new(&options).await?;
        let names = [Member::Primary].into_iter().chain((0..options.replicas).map(Member::Replica));
        let nodes = try_join_all(names.map(async |member| {
            let node = MongoNode::new(setup.server(member, &options).await?);
            let link = Arc::new(Proxy::start(node.addr()).await?);
            Ok::<_, TopologyError>((node, link))
        }))
        .await?;
        let links = Links::new(nodes.iter().map(|(node, link)| (node.addr(), link)));
        let members = try_join_all(nodes.into_iter().map(async |(node, link)| {
            let (links, target) = (links.clone(), node.addr());
            let entrance = Proxy::start_routing(target, move |message| links.route(target, message)).await?;
            Ok::<_, TopologyError>(Peer { node, entrance, link })
        }))
        .await?;
        let entrances: Vec<String> =
            members.iter().map(|member| member.entrance.addr().to_string()).collect();
        let url = format!("mongodb://{}/?replicaSet={SET}", entrances.join(","));
        let topology = Self { members, url };
        topology.initiate(&entrances).await?;
        Ok(topology)
    }

    /// Leads to the set: a client finds its members, and the primary among them, through their
    /// entrances.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server that was started as the primary.
    #[must_use]
    pub fn primary(&self) -> &MongoNode {
        &self.expect(Member::Primary).node
    }

    /// The server that was started as the replica of this index, counted from zero.
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer replicas.
    #[must_use]
    pub fn replica(&self, index: usize) -> &MongoNode {
        &self.expect(Member::Replica(index)).node
    }

    /// The proxy through which the replica of this index fetches the log, of whomever it does: the
    /// replica is its client. With a cut or hung link it gets nothing more of the log.
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer replicas.
    #[must_use]
    pub fn link(&self, index: usize) -> &Proxy {
        &self.expect(Member::Replica(index)).link
    }

    /// The same of the original primary. Nothing uses it before another one is elected.
    #[must_use]
    pub fn primary_link(&self) -> &Proxy {
        &self.expect(Member::Primary).link
    }

    /// The proxy through which the other members and the clients of the set reach a member. Cutting it
    /// leaves it the connections that it opens itself.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoSuchMember`].
    pub fn entrance(&self, member: Member) -> Result<&Proxy, TopologyError> {
        Ok(&self.peer(member)?.entrance)
    }

    /// The server of this name.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoSuchMember`].
    pub fn node(&self, member: Member) -> Result<&MongoNode, TopologyError> {
        Ok(&self.peer(member)?.node)
    }

    /// The member that is the primary now; waits until there is one. A paused server is not asked,
    /// nor one that does not answer.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Timeout`] if none is elected within 30 s.
    pub async fn leader(&self) -> Result<Member, TopologyError> {
        let found = wait::until(wait::LIMIT, || async {
            let asked = join_all(self.members.iter().map(|member| member.node.is_primary())).await;
            let leader = asked.into_iter().position(|answer| answer.is_ok_and(|is_primary| is_primary));
            Ok::<_, TopologyError>(leader.map(name))
        })
        .await?;
        found.ok_or_else(|| self.primary().server().timeout("followed by an elected primary"))
    }

    /// Makes a secondary the primary, which must have as much of the log as most of the members, and waits
    /// until a majority follows it: then no later election undoes this one. If there is no majority of
    /// running members left, the others are taken out of the set first, as an operator would do it.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoSuchMember`], [`TopologyError::NotRunning`], [`TopologyError::Client`], or
    /// [`TopologyError::Timeout`] if it is not elected within 30 s.
    pub async fn promote(&self, index: usize) -> Result<(), TopologyError> {
        let node = &self.peer(Member::Replica(index))?.node;
        let running = || self.members.iter().filter(|member| member.node.is_running());
        let mut config = self.config(node).await?;
        let of_set = config.get_array("members").map_or(0, Vec::len);
        if running().count() * 2 <= of_set {
            let left: Vec<String> = running().map(|member| member.entrance.addr().to_string()).collect();
            retain(&mut config, &left);
            let reconfigure = doc! { "replSetReconfig": config, "force": true };
            answer(node.server(), "take the lost members out of the set", reconfigure).await?;
        }
        let others = running().filter(|member| member.node.addr() != node.addr());
        let others: Vec<&MongoNode> = others.map(|member| &member.node).collect();
        for other in &others {
            // A primary refuses, and steps down when the other one is elected.
            let _ = other.freeze().await;
        }
        let elected = wait::until(wait::LIMIT, || async {
            node.server().must_run()?;
            // Refused as long as the others believe in another primary.
            let _ = answer(node.server(), "have it elected", doc! { "replSetStepUp": 1 }).await;
            Ok::<_, TopologyError>(node.is_primary().await.unwrap_or(false).then_some(()))
        })
        .await?;
        for other in others {
            let _ = other.thaw().await;
        }
        elected.ok_or_else(|| node.server().timeout("elected"))?;
        until(node.server(), "followed by a majority", is_confirmed).await
    }

    /// Starts a member if it is not running, and waits until it follows the primary: what it alone had
    /// it has rolled back then. A member that was taken out of the set is put back.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoSuchMember`], [`TopologyError::Exited`] if it does not start,
    /// [`TopologyError::Client`], or [`TopologyError::Timeout`] after 30 s.
    pub async fn rejoin(&self, member: Member) -> Result<(), TopologyError> {
        let peer = self.peer(member)?;
        peer.node.server().start().await?;
        let leader = self.node(self.leader().await?)?;
        let mut config = self.config(leader).await?;
        let host = peer.entrance.addr().to_string();
        if put_back(&mut config, &host) {
            let reconfigure = doc! { "replSetReconfig": config };
            answer(leader.server(), "put a member back into the set", reconfigure).await?;
        }
        until(peer.node.server(), "following the primary", is_ready).await
    }

    async fn initiate(&self, entrances: &[String]) -> Result<(), TopologyError> {
        let members =
            entrances.iter().zip(0_i32..).map(|(host, id)| Bson::from(doc! { "_id": id, "host": host }));
        let config = doc! {
            "_id": SET,
            "members": members.collect::<Vec<_>>(),
            "settings": {
                "electionTimeoutMillis": 1000,
                "heartbeatIntervalMillis": 200,
                // A replica lags by its own link only.
                "chainingAllowed": false,
            },
        };
        let server = self.primary().server();
        answer(server, "initiate the set", doc! { "replSetInitiate": config }).await?;
        until(server, "elected", |hello| says(hello, "isWritablePrimary")).await?;
        try_join_all(self.members.iter().map(|member| until(member.node.server(), "synchronised", is_ready)))
            .await?;
        Ok(())
    }

    async fn config(&self, node: &MongoNode) -> Result<Document, TopologyError> {
        let answer = answer(node.server(), "ask for the set", doc! { "replSetGetConfig": 1 }).await?;
        Ok(answer.get_document("config").cloned().unwrap_or_default())
    }

    fn peer(&self, member: Member) -> Result<&Peer, TopologyError> {
        let found = match member {
            Member::Primary => self.members.first(),
            Member::Replica(index) => self.members.get(index.saturating_add(1)),
        };
        found.ok_or(TopologyError::NoSuchMember { member })
    }

    fn expect(&self, member: Member) -> &Peer {
        match self.peer(member) {
            Ok(peer) => peer,
            Err(_) => panic!("no {member} among {} members", self.members.len()),
        }
    }
}

fn name(index: usize) -> Member {
    index.checked_sub(1).map_or(Member::Primary, Member::Replica)
}

fn is_ready(hello: &Document) -> bool {
    says(hello, "isWritablePrimary") || says(hello, "secondary")
}

/// Whether a majority has an entry of the primary's term.
fn is_confirmed(hello: &Document) -> bool {
    let term = |optime| hello.get_document("lastWrite").ok()?.get_document(optime).ok()?.get_i64("t").ok();
    term("opTime").is_some() && term("opTime") == term("majorityOpTime")
}

/// Takes the members of other hosts out.
fn retain(config: &mut Document, hosts: &[String]) {
    if let Ok(members) = config.get_array_mut("members") {
        members.retain(|member| host(member).is_some_and(|host| hosts.iter().any(|left| left == host)));
    }
    next_version(config);
}

/// Whether the member was missing.
fn put_back(config: &mut Document, missing: &str) -> bool {
    let Ok(members) = config.get_array_mut("members") else { return false };
    if members.iter().any(|member| host(member) == Some(missing)) {
        return false;
    }
    let ids = members.iter().filter_map(|member| member.as_document()?.get_i32("_id").ok());
    let id = ids.max().map_or(0, |id| id.saturating_add(1));
    members.push(doc! { "_id": id, "host": missing }.into());
    next_version(config);
    true
}

fn next_version(config: &mut Document) {
    let version = config.get_i32("version").unwrap_or_default();
    config.insert("version", version.saturating_add(1));
}

fn host(member: &Bson) -> Option<&str> {
    member.as_document()?.get_str("host").ok()
}
