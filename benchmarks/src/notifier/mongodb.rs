//! Notifications through a change stream of MongoDB.

use antipode::barrier::{BoxFuture, OnMissing};
use antipode::lineage::{Lineage, StoreName};
use antipode::mongodb::{MongoChangeStream, MongoCollection, MongoStore};
use futures_util::StreamExt;
use mongodb::bson::{Document, doc, serialize_to_vec};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::ChangeStreamEvent;
use mongodb::{Client, Collection};

use super::{Channel, Notification, Notifier, Subscription};
use crate::Failure;
use crate::cli::Pair;
use crate::posts::Reference;
use crate::servers::mongodb::{DATABASE, MongoServers, client, failed, majority, version};

const NOTIFICATIONS: &str = "notifications";

/// A set of one member, which nothing delays; or the secondary of one that is there.
pub(crate) struct MongoNotifier {
    servers: MongoServers,
    writes: MongoCollection<Document>,
    changes: MongoCollection<Document>,
    to_set: Client,
    to_secondary: Client,
    version: String,
}

impl MongoNotifier {
    pub(crate) async fn open(given: Option<&Pair>) -> Result<Self, Failure> {
        let servers = MongoServers::open(given, NOTIFICATIONS, 0).await?;
        let store = async |reads_from: &str| {
            let (set, replica) = (client(&servers.set).await?, client(reads_from).await?);
            let store = MongoStore::builder(NOTIFICATIONS).primary(set).replica("near", replica);
            store.on_missing(OnMissing::Error).build().map_err(failed("be opened"))
        };
        let (writer, reader) = (store(&servers.secondary).await?, store(&servers.secondary).await?);
        let to_set = client(&servers.set).await?;
        Ok(Self {
            writes: writer.database(DATABASE).collection(NOTIFICATIONS),
            changes: reader.database(DATABASE).collection(NOTIFICATIONS),
            version: version(&to_set).await?,
            to_secondary: client(&servers.secondary).await?,
            to_set,
            servers,
        })
    }
}

impl Notifier for MongoNotifier {
    fn version(&self) -> String {
        self.version.clone()
    }

    fn clean_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.servers.clean_up())
    }

    fn publish<'a>(&'a self, channel: Channel, post: &'a Reference) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let document = doc! { "channel": channel.to_string(), "post": post.to_string() };
            let published = if channel.carries_lineage() {
                self.writes.insert_one(document).await
            } else {
                majority(&self.to_set.database(DATABASE), NOTIFICATIONS).insert_one(document).await
            };
            published.map(drop).map_err(failed("publish a notification"))
        })
    }

    fn subscribe(&self, channel: Channel) -> BoxFuture<'_, Result<Box<dyn Subscription>, Failure>> {
        Box::pin(async move {
            let of_channel = doc! { "$match": { "fullDocument.channel": channel.to_string() } };
            let changes = if channel.carries_lineage() {
                let watch = self.changes.watch().pipeline([of_channel]);
                Changes::Shim(Box::new(watch.await.map_err(failed("subscribe"))?))
            } else {
                let notifications: Collection<Document> =
                    self.to_secondary.database(DATABASE).collection(NOTIFICATIONS);
                let watch = notifications.watch().pipeline([of_channel]);
                Changes::Raw(Box::new(watch.await.map_err(failed("subscribe"))?))
            };
            Ok(Box::new(changes) as Box<dyn Subscription>)
        })
    }
}

enum Changes {
    Raw(Box<ChangeStream<ChangeStreamEvent<Document>>>),
    Shim(Box<MongoChangeStream<Document>>),
}

impl Subscription for Changes {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Notification>, Failure>> {
        Box::pin(async move {
            const OPERATION: &str = "receive notifications";
            let ended = || Failure::Garbled { what: "a change stream", found: "its end".to_owned() };
            let (event, lineage) = match self {
                Self::Raw(changes) => {
                    let event = changes.next().await.ok_or_else(ended)?;
                    (event.map_err(failed(OPERATION))?, Lineage::new())
                }
                Self::Shim(changes) => {
                    let event = changes.next().await.ok_or_else(ended)?.map_err(failed(OPERATION))?;
                    let lineage = event.lineage().clone();
                    (event.into_inner(), lineage)
                }
            };
            Ok(vec![parse(&event.full_document.unwrap_or_default(), lineage)?])
        })
    }
}

fn parse(document: &Document, lineage: Lineage) -> Result<Notification, Failure> {
    let post = document.get_str("post").ok().and_then(|post| Reference::parse(post.as_bytes()));
    let garbled = || Failure::Garbled { what: "a notification", found: document.to_string() };
    Ok(Notification { post: post.ok_or_else(garbled)?, lineage_bytes: stored_bytes(&lineage)?, lineage })
}

/// The size of the sub-document with the lineage, which the shim takes out of the document: what the
/// notification depends on, without the notification itself.
fn stored_bytes(lineage: &Lineage) -> Result<usize, Failure> {
    let own = StoreName::parse(NOTIFICATIONS).map_err(failed("name the store"))?;
    let writes = lineage.writes().iter().filter(|write| write.store != own).copied();
    let stored: Document =
        writes.collect::<Lineage>().to_fields().map(|(field, at)| (field, at.into())).collect();
    if stored.is_empty() {
        return Ok(0);
    }
    Ok(serialize_to_vec(&stored).map_err(failed("tell the size of a lineage"))?.len())
}
