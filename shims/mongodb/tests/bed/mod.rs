//! What the conformance suite runs on.
//!
//! Its writes are acknowledged by the primary alone (`w: 1`): with a majority, as is the default, a
//! write is not acknowledged while both replicas are cut off, and no failover loses it. What a majority
//! changes is in `lost_in_rollback.rs`.
#![allow(clippy::expect_used)] // Helpers of tests.

use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{OnMissing, Store};
use antipode_conformance::{Bed, BedResult, Change, Fault, Node, Support};
use antipode_docker::{Member, MongoOptions, MongoTopology};
use antipode_mongodb::mongodb::bson::{Document, doc};
use antipode_mongodb::mongodb::{Client, Collection};
use antipode_mongodb::{LINEAGE_FIELD, MongoCollection, MongoStore};

pub(crate) struct MongoBed {
    topology: MongoTopology,
    primary: Member,
    /// Of the set.
    client: Client,
    /// Of each member.
    clients: [Client; 3],
    store: MongoStore,
}

impl MongoBed {
    /// The store of a process that reads from these.
    fn store_over(&self, replicas: &[usize]) -> MongoStore {
        store(&self.client, replicas.iter().map(|index| (*index, self.direct(Member::Replica(*index)))))
    }

    fn all_replicas(&self) -> MongoStore {
        let left = [0, 1].into_iter().filter(|index| {
            self.primary != Member::Replica(*index) && self.topology.replica(*index).is_running()
        });
        self.store_over(&left.collect::<Vec<_>>())
    }

    fn direct(&self, member: Member) -> &Client {
        let [primary, first, second] = &self.clients;
        match member {
            Member::Replica(0) => first,
            Member::Replica(_) => second,
            _ => primary,
        }
    }

    fn posts(&self) -> MongoCollection<Document> {
        self.store.database("test").collection("posts")
    }

    fn raw(&self, member: Member) -> Collection<Document> {
        self.direct(member).database("test").collection("posts")
    }
}

impl Bed for MongoBed {
    async fn start() -> BedResult<Self> {
        let topology = MongoTopology::start(MongoOptions::default().provider(crate::PROVIDER)).await?;
        let client = Client::with_uri_str(format!("{}&w=1", topology.url())).await?;
        let direct =
            async |member| Client::with_uri_str(topology.node(member).expect("one of three").url()).await;
        let clients = [
            direct(Member::Primary).await?,
            direct(Member::Replica(0)).await?,
            direct(Member::Replica(1)).await?,
        ];
        let store = store(&client, []);
        let mut bed = Self { topology, primary: Member::Primary, client, clients, store };
        bed.store = bed.all_replicas();
        Ok(bed)
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    fn store_reading(&self, replica: usize) -> Arc<dyn Store> {
        Arc::new(self.store_over(&[replica]))
    }

    async fn write(&self, change: Change<'_>) -> BedResult {
        let (posts, id) = (self.posts(), doc! { "_id": change.key() });
        match change {
            Change::Put(key, value) => {
                posts.replace_one(id, doc! { "_id": key, "value": value }).upsert(true).await?;
            }
            Change::Append(_, suffix) => {
                posts.update_one(id, appended(suffix)).await?;
            }
            Change::Delete(_) => {
                posts.delete_one(id).await?;
            }
        }
        Ok(())
    }

    async fn transaction(&self, changes: &[Change<'_>]) -> BedResult<Support> {
        let posts = self.posts();
        let mut session = self.store.start_session().await?;
        session.start_transaction().await?;
        for change in changes {
            let id = doc! { "_id": change.key() };
            match change {
                Change::Put(key, value) => {
                    let put = posts.replace_one(id, doc! { "_id": *key, "value": *value }).upsert(true);
                    put.session(&mut session).await?;
                }
                Change::Append(_, suffix) => {
                    posts.update_one(id, appended(suffix)).session(&mut session).await?;
                }
                Change::Delete(_) => {
                    posts.delete_one(id).session(&mut session).await?;
                }
            }
        }
        session.commit_transaction().await?;
        Ok(Support::Done)
    }

    async fn read(&self, key: &str) -> BedResult<Option<String>> {
        Ok(value(self.posts().find_one(doc! { "_id": key }).await?))
    }

    async fn peek(&self, node: Node, key: &str) -> BedResult<Option<String>> {
        let member = match node {
            Node::Primary => self.primary,
            Node::Replica(index) => Member::Replica(index),
        };
        Ok(value(self.raw(member).find_one(doc! { "_id": key }).await?))
    }

    async fn spoil_lineage(&self, key: &str) -> BedResult<Support> {
        let spoil = doc! { "$set": { format!("{LINEAGE_FIELD}.posts/0/1/0"): "not a position" } };
        self.raw(self.primary).update_one(doc! { "_id": key }, spoil).await?;
        Ok(Support::Done)
    }

    async fn fault(&mut self, fault: Fault) -> BedResult<Support> {
        match fault {
            Fault::Cut { replica } => self.topology.link(replica).hang(),
            Fault::Delay { replica, by } => self.topology.link(replica).set_delay_to_client(by),
            Fault::Freeze { replica } => self.topology.replica(replica).pause().await?,
            Fault::Stop { replica } => self.topology.replica(replica).stop().await?,
            Fault::StopPrimary => self.topology.node(self.primary)?.stop().await?,
            Fault::Failover { to } => {
                self.topology.node(self.primary)?.kill().await?;
                for index in [0, 1] {
                    // What the links hold back is lost with the primary.
                    self.topology.link(index).cut();
                    self.topology.link(index).heal();
                }
                self.topology.promote(to).await?;
                self.primary = Member::Replica(to);
                self.store = self.all_replicas();
            }
            _ => return Ok(Support::Unsupported),
        }
        Ok(Support::Done)
    }

    async fn heal(&mut self) -> BedResult {
        for index in [0, 1] {
            let (replica, link) = (self.topology.replica(index), self.topology.link(index));
            link.heal();
            link.set_delay(Duration::ZERO);
            if replica.is_running() {
                replica.resume().await?;
            } else if self.primary == Member::Primary {
                replica.restart().await?;
            }
        }
        let primary = self.topology.node(self.primary)?;
        if !primary.is_running() {
            primary.restart().await?;
        }
        // The set may have elected another one meanwhile.
        let leader = self.topology.leader().await?;
        if leader != self.primary {
            self.primary = leader;
            self.store = self.all_replicas();
        }
        Ok(())
    }
}

fn store<'a>(set: &Client, replicas: impl IntoIterator<Item = (usize, &'a Client)>) -> MongoStore {
    let builder = MongoStore::builder("posts").on_missing(OnMissing::Ignore).primary(set.clone());
    let builder = replicas.into_iter().fold(builder, |builder, (index, client)| {
        builder.replica(format!("replica-{index}"), client.clone())
    });
    builder.build().expect("good names")
}

fn appended(suffix: &str) -> Vec<Document> {
    vec![doc! { "$set": { "value": { "$concat": ["$value", suffix] } } }]
}

fn value(document: Option<Document>) -> Option<String> {
    document.and_then(|document| document.get_str("value").ok().map(str::to_owned))
}
