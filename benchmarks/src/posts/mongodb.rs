//! Posts in MongoDB, each a document.

use std::sync::Arc;
use std::time::Duration;

use antipode::barrier::{BoxFuture, OnMissing, Store};
use antipode::mongodb::{MongoCollection, MongoStore};
use data_encoding::HEXLOWER;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, Timestamp, deserialize_from_slice, doc, serialize_to_vec};
use mongodb::options::ReadConcern;
use mongodb::{Client, ClientSession, ClusterTime, Collection};
use serde::{Deserialize, Serialize};

use super::{Access, EU, POSTS, Post, Posts, Reference};
use crate::Failure;
use crate::cli::Pair;
use crate::servers::mongodb::{DATABASE, MongoServers, client, failed, majority, version};

const WRITE: &str = "store a post";
const READ: &str = "read a post";

/// A replica set with a lagging secondary. All writes wait for a majority, which does without it.
pub(crate) struct MongoPosts {
    servers: MongoServers,
    reader: MongoStore,
    shim_writes: MongoCollection<Document>,
    shim_reads: MongoCollection<Document>,
    to_set: Client,
    to_secondary: Client,
    version: String,
}

impl MongoPosts {
    pub(crate) async fn open(given: Option<&Pair>) -> Result<Self, Failure> {
        let servers = MongoServers::open(given, POSTS, 2).await?;
        // Two handles, each with clients of its own: the writer and the reader are different services.
        let store = async || {
            let (set, secondary) = (client(&servers.set).await?, client(&servers.secondary).await?);
            let store = MongoStore::builder(POSTS).primary(set).replica(EU, secondary);
            store.on_missing(OnMissing::Error).build().map_err(failed("be opened"))
        };
        let (writer, reader) = (store().await?, store().await?);
        let to_set = client(&servers.set).await?;
        Ok(Self {
            shim_writes: writer.database(DATABASE).collection(POSTS),
            shim_reads: reader.database(DATABASE).collection(POSTS),
            version: version(&to_set).await?,
            to_secondary: client(&servers.secondary).await?,
            to_set,
            reader,
            servers,
        })
    }

    fn posts(&self) -> Collection<Document> {
        majority(&self.to_set.database(DATABASE), POSTS)
    }

    /// Writes in a session, whose times a reader needs to see it.
    async fn write_in_session(&self, post: &Post) -> Result<String, Failure> {
        let mut session =
            self.to_set.start_session().causal_consistency(true).await.map_err(failed("begin a session"))?;
        let (query, posts) = (doc! { "_id": post.id() }, self.posts());
        match document(post) {
            Some(document) => {
                let replace = posts.replace_one(query, document).upsert(true);
                replace.session(&mut session).await.map_err(failed(WRITE))?;
            }
            None => {
                posts.delete_one(query).session(&mut session).await.map_err(failed(WRITE))?;
            }
        }
        Times::of(&session)
    }

    async fn read_in_session(&self, post: &Reference) -> Result<Option<Document>, Failure> {
        let mut session = self
            .to_secondary
            .start_session()
            .causal_consistency(true)
            .await
            .map_err(failed("begin a session"))?;
        if let Some(text) = &post.session {
            Times::parse(text)?.advance(&mut session);
        }
        let posts = self.to_secondary.database(DATABASE).collection::<Document>(POSTS);
        let find = posts.find_one(doc! { "_id": &post.post }).read_concern(ReadConcern::majority());
        find.session(&mut session).await.map_err(failed(READ))
    }
}

impl Posts for MongoPosts {
    fn reader(&self) -> Arc<dyn Store> {
        Arc::new(self.reader.clone())
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn set_lag(&self, lag: Duration) -> Result<(), Failure> {
        self.servers.set_lag(lag);
        Ok(())
    }

    fn clean_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.servers.clean_up())
    }

    fn write<'a>(&'a self, access: Access, post: &'a Post) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        Box::pin(async move {
            let query = doc! { "_id": post.id() };
            let written = match (access, document(post)) {
                (Access::Own, _) => return self.write_in_session(post).await.map(Some),
                (Access::Raw, Some(document)) => {
                    self.posts().replace_one(query, document).upsert(true).await.map(drop)
                }
                (Access::Raw, None) => self.posts().delete_one(query).await.map(drop),
                (Access::Shim, Some(document)) => {
                    self.shim_writes.replace_one(query, document).upsert(true).await.map(drop)
                }
                (Access::Shim, None) => self.shim_writes.delete_one(query).await.map(drop),
            };
            written.map(|()| None).map_err(failed(WRITE))
        })
    }

    fn read<'a>(
        &'a self,
        access: Access,
        post: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Failure>> {
        Box::pin(async move {
            let query = doc! { "_id": &post.post };
            let found = match access {
                Access::Raw => {
                    let posts = self.to_secondary.database(DATABASE).collection::<Document>(POSTS);
                    posts.find_one(query).await.map_err(failed(READ))?
                }
                Access::Shim => self.shim_reads.find_one(query).await.map_err(failed(READ))?,
                Access::Own => self.read_in_session(post).await?,
            };
            Ok(found.map(|found| found.get_binary_generic("body").cloned().unwrap_or_default()))
        })
    }
}

/// None for the deletion.
fn document(post: &Post) -> Option<Document> {
    let bytes = post.body.clone()?;
    Some(doc! { "_id": post.id(), "body": Binary { subtype: BinarySubtype::Generic, bytes } })
}

/// What a causally consistent session hands over to another one.
#[derive(Serialize, Deserialize)]
struct Times {
    cluster: ClusterTime,
    operation: Timestamp,
}

impl Times {
    /// As BSON in hexadecimal digits.
    fn of(session: &ClientSession) -> Result<String, Failure> {
        let times = session.cluster_time().cloned().zip(session.operation_time());
        let garbled = || Failure::Garbled { what: "a session's time", found: "nothing".to_owned() };
        let (cluster, operation) = times.ok_or_else(garbled)?;
        let bytes =
            serialize_to_vec(&Self { cluster, operation }).map_err(failed("tell a session's time"))?;
        Ok(HEXLOWER.encode(&bytes))
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let garbled = || Failure::Garbled { what: "a session's time", found: text.to_owned() };
        bytes.and_then(|bytes| deserialize_from_slice(&bytes).ok()).ok_or_else(garbled)
    }

    fn advance(&self, session: &mut ClientSession) {
        session.advance_cluster_time(&self.cluster);
        session.advance_operation_time(self.operation);
    }
}
