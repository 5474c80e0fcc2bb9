//! Databases and sessions of a store.

use antipode_barrier::BoxFuture;
use antipode_lineage::LineageScope;
use mongodb::Database;
use mongodb::error::Result;
use mongodb::options::{CollectionOptions, DatabaseOptions, SessionOptions, TransactionOptions};

use crate::access::Access;
use crate::actions::option_setters;
use crate::collection::MongoCollection;
use crate::session::MongoSession;
use crate::store::MongoStore;

/// A database whose collections carry lineage. Made by [`MongoStore::database`].
#[derive(Debug, Clone)]
pub struct MongoDatabase {
    access: Access,
    inner: Database,
}

impl MongoStore {
    /// A database of this store.
    #[must_use]
    pub fn database(&self, name: &str) -> MongoDatabase {
        MongoDatabase { access: Access::new(self.clone()), inner: self.inner().database(name) }
    }

    /// A database of this store, with concerns and read preference for its collections.
    #[must_use]
    pub fn database_with_options(&self, name: &str, options: DatabaseOptions) -> MongoDatabase {
        let inner = self.inner().database_with_options(name, options);
        MongoDatabase { access: Access::new(self.clone()), inner }
    }

    /// A session, for operations that should see one another's effects, and for transactions. Sent
    /// nowhere until used.
    pub fn start_session(&self) -> StartSession {
        StartSession { access: Access::new(self.clone()), options: None }
    }
}

impl MongoDatabase {
    /// The same database, its collections recording into this scope, whatever the current one.
    #[must_use]
    pub fn within(&self, scope: LineageScope) -> Self {
        Self { access: self.access.within(scope), inner: self.inner.clone() }
    }

    /// The driver's database on the primary. What goes through it carries no lineage.
    #[must_use]
    pub fn inner(&self) -> &Database {
        &self.inner
    }

    /// A collection. Its writes wait for a majority, unless the client, the database or the operation
    /// says otherwise.
    #[must_use]
    pub fn collection<T: Send + Sync>(&self, name: &str) -> MongoCollection<T> {
        self.collection_with_options(name, CollectionOptions::default())
    }

    /// A collection with concerns and read preference of its own.
    #[must_use]
    pub fn collection_with_options<T: Send + Sync>(
        &self,
        name: &str,
        options: CollectionOptions,
    ) -> MongoCollection<T> {
        MongoCollection::new(self.access.clone(), &self.inner, name, options)
    }
}

/// Starts a session when awaited. Made by [`MongoStore::start_session`].
#[must_use = "await it"]
#[derive(Debug)]
pub struct StartSession {
    access: Access,
    options: Option<SessionOptions>,
}

impl StartSession {
    option_setters!(SessionOptions {
        default_transaction_options: TransactionOptions,
        causal_consistency: bool,
        snapshot: bool,
    });
}

impl IntoFuture for StartSession {
    type Output = Result<MongoSession>;
    type IntoFuture = BoxFuture<'static, Result<MongoSession>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { MongoSession::start(&self.access, self.options).await })
    }
}
