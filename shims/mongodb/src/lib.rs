//! The MongoDB shim: collections, sessions and transactions that carry lineage.
//!
//! - [`MongoStore`] is what is registered for barriers: a replica set and the members to read from.
//! - [`MongoCollection`] has the methods of the driver's collection, and carries lineage. Databases,
//!   [sessions](MongoSession) and collections begin at the store.
//! - [`MongoChangeStream`] yields changes, each with what it depends on.
//!
//! ```no_run
//! use antipode_barrier::Registry;
//! use antipode_lineage::LineageScope;
//! use antipode_mongodb::MongoStore;
//! use antipode_mongodb::mongodb::Client;
//! use antipode_mongodb::mongodb::bson::{Document, doc};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let posts = MongoStore::builder("posts")
//!     .primary(Client::with_uri_str("mongodb://us.example/?replicaSet=rs").await?)
//!     .replica("eu", Client::with_uri_str("mongodb://eu.example/?directConnection=true").await?)
//!     .build()?;
//! let registry = Registry::builder().store(posts.clone()).build().await?;
//! let collection = posts.database("app").collection::<Document>("posts");
//!
//! LineageScope::new()
//!     .run(async {
//!         collection.insert_one(doc! { "_id": 1, "text": "hello" }).await?;
//!         // In another service, in the scope of what it received:
//!         registry.barrier().await?;
//!         let post = collection.find_one(doc! { "_id": 1 }).await?;
//!         assert!(post.is_some());
//!         Ok::<(), Box<dyn std::error::Error>>(())
//!     })
//!     .await
//! # }
//! ```
//!
//! # Where the lineage is
//! In the document: a sub-document [`LINEAGE_FIELD`] with a field per entry of the form of
//! [`Lineage::to_fields`](antipode_lineage::Lineage::to_fields). Inserts and replacements store the
//! current lineage there; updates join it with `$max`, an update by pipeline with a last stage of its
//! own. Readers through the shim do not see it, whatever their type or projection. Readers without
//! the shim see one more field; what writers without it write keeps the lineage that was there, unless
//! they replace the document.
//!
//! - A document grows by some 40 bytes for each shard of a store that it depends on.
//! - A validator of the collection must allow the field, and `additionalProperties: false` does not.
//! - A projection that an index alone could answer reads the document as well.
//! - An update that changes nothing, but brings lineage, counts as a modification.
//! - Do not write `$$ROOT` into other documents by aggregation: it takes the lineage field along.
//!
//! # What is waited for
//! Writes wait for a majority, unless the write concern of the operation, the collection, the database
//! or the client says otherwise. A write that waits for fewer, or not for their journals, marks the
//! lineage as [weak](antipode_lineage::Lineage::is_weak): an election can cut it off.
//! The shim adds no round trip to an operation. Its place is learnt beside the request, with a
//! `hello` that the operations of a process share, and that only handing the lineage over waits for.
//!
//! # What happens in an election
//! A position is an optime: the election term, and the timestamp in the log. Where a term ended is
//! looked up once in the log of a member, and remembered for the lifetime of the process: a write
//! beyond that place is *lost*, one before it is waited for as usual. That is only believed once a
//! majority has an entry of the new term: until then, probes of members that are in the new term fail,
//! and barriers go on waiting. A member that still has what was cut off, and one that is rolling it
//! back, cannot be asked either: nothing is called visible there. A term from before the oldest entry
//! of the log is *indeterminate*.
//!
//! # Versions
//! MongoDB 6.0 or later, a replica set; `mongos` is refused. The driver's client-level `bulk_write`
//! needs MongoDB 8.0, and is not offered here.

mod access;
pub mod actions;
mod capture;
mod change_stream;
mod check;
mod collection;
mod concern;
mod cursor;
mod database;
mod error;
mod hello;
mod history;
mod hold;
mod oplog;
mod position;
mod projection;
mod read;
mod server;
mod session;
mod store;
mod stored;
mod transaction;
mod update;
mod write;

pub use change_stream::{MongoChangeStream, MongoEvent};
pub use collection::MongoCollection;
pub use cursor::{MongoCursor, MongoSessionCursor};
pub use database::{MongoDatabase, StartSession};
pub use error::Error;
pub use mongodb;
pub use session::MongoSession;
pub use store::{MongoStore, MongoStoreBuilder};
pub use stored::LINEAGE_FIELD;
pub use transaction::StartTransaction;
