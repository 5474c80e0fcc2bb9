//! A collection whose documents carry lineage.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

use antipode_barrier::Store as _;
use antipode_lineage::{LineageScope, StoreName};
use mongodb::bson::{Document, RawDocumentBuf, serialize_to_raw_document_buf};
use mongodb::error::Result;
use mongodb::options::{CollectionOptions, UpdateModifications};
use mongodb::{Collection, Database};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::Access;
use crate::actions::{
    Aggregate, CountDocuments, Delete, Distinct, Find, FindOne, FindOneAndDelete, FindOneAndReplace,
    FindOneAndUpdate, InsertMany, InsertOne, ReplaceOne, Target, Update, Watch,
};
use crate::concern::by_majority;
use crate::write::Reach;

/// A collection whose documents carry lineage. It has the driver's methods, with the same results and the
/// same errors; each is an action with the driver's options, sent when awaited.
///
/// - **A write** stores the current lineage in the document, and adds its own position to the current
///   lineage. There is no further round trip. An insert or a replacement stores the lineage, an update
///   joins it to what is stored; a deletion takes it along. A write that may have happened, though nobody
///   knows (the connection broke, the future was dropped), is added as
///   [unplaced](antipode_lineage::WriteId::unplaced).
/// - **A read** goes to the replica that the last barrier in the scope proved fresh, else to the store's
///   preferred one. It joins the lineage of each document as it is handed over, and the position of the
///   server that answered, also if it found nothing. A read preference of the user's is not followed:
///   it could lead to a server that lags behind.
///
/// A clone shares everything. Made by [`MongoDatabase::collection`](crate::MongoDatabase::collection).
pub struct MongoCollection<T: Send + Sync> {
    access: Access,
    database: String,
    options: CollectionOptions,
    primary: Collection<RawDocumentBuf>,
    documents: PhantomData<fn() -> T>,
}

impl<T: Send + Sync> MongoCollection<T> {
    pub(crate) fn new(
        access: Access,
        database: &Database,
        name: &str,
        mut options: CollectionOptions,
    ) -> Self {
        let concern = options.write_concern.take().or_else(|| database.write_concern().cloned());
        options.write_concern = Some(by_majority(concern));
        // The driver would not find it at a replica.
        options.read_concern = options.read_concern.or_else(|| database.read_concern().cloned());
        options.selection_criteria = Some(access.store.primary_server().criteria());
        let primary = database.collection_with_options(name, options.clone());
        Self { access, database: database.name().to_owned(), options, primary, documents: PhantomData }
    }

    /// The same collection, recording into this scope, whatever the current one.
    #[must_use]
    pub fn within(&self, scope: LineageScope) -> Self {
        Self { access: self.access.within(scope), ..self.clone() }
    }

    /// The same collection with documents of another type.
    #[must_use]
    pub fn clone_with_type<U: Send + Sync>(&self) -> MongoCollection<U> {
        MongoCollection {
            access: self.access.clone(),
            database: self.database.clone(),
            options: self.options.clone(),
            primary: self.primary.clone(),
            documents: PhantomData,
        }
    }

    /// The driver's collection on the primary. What goes through it carries no lineage, and what it
    /// reads has a field [`LINEAGE_FIELD`](crate::LINEAGE_FIELD).
    #[must_use]
    pub fn inner(&self) -> Collection<T> {
        self.primary.clone_with_type()
    }

    /// The collection's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.primary.name()
    }

    /// The name of the store.
    #[must_use]
    pub fn store(&self) -> StoreName {
        self.access.store.name()
    }

    /// Inserts documents. See [`Collection::insert_many`].
    pub fn insert_many(&self, documents: impl IntoIterator<Item = impl Borrow<T>>) -> InsertMany<'_>
    where
        T: Serialize,
    {
        let documents = documents.into_iter().map(|document| raw(document.borrow())).collect();
        InsertMany::new(self.target(), documents)
    }

    /// Inserts a document. See [`Collection::insert_one`].
    pub fn insert_one(&self, document: impl Borrow<T>) -> InsertOne<'_>
    where
        T: Serialize,
    {
        InsertOne::new(self.target(), raw(document.borrow()))
    }

    /// Updates a document. See [`Collection::update_one`].
    ///
    /// An update that changes nothing, but brings lineage, counts as a modification.
    pub fn update_one(&self, query: Document, update: impl Into<UpdateModifications>) -> Update<'_> {
        Update::new(self.target(), query, update.into(), Reach::One)
    }

    /// Updates all documents that match. See [`Collection::update_many`], and
    /// [`update_one`](MongoCollection::update_one).
    pub fn update_many(&self, query: Document, update: impl Into<UpdateModifications>) -> Update<'_> {
        Update::new(self.target(), query, update.into(), Reach::Many)
    }

    /// Replaces a document, and its lineage. See [`Collection::replace_one`].
    pub fn replace_one(&self, query: Document, replacement: impl Borrow<T>) -> ReplaceOne<'_>
    where
        T: Serialize,
    {
        ReplaceOne::new(self.target(), query, raw(replacement.borrow()))
    }

    /// Deletes a document. See [`Collection::delete_one`].
    pub fn delete_one(&self, query: Document) -> Delete<'_> {
        Delete::new(self.target(), query, Reach::One)
    }

    /// Deletes all documents that match. See [`Collection::delete_many`].
    pub fn delete_many(&self, query: Document) -> Delete<'_> {
        Delete::new(self.target(), query, Reach::Many)
    }

    /// Finds documents: a [`MongoCursor`](crate::MongoCursor). See [`Collection::find`].
    pub fn find(&self, filter: Document) -> Find<'_, T> {
        Find::new(self.target(), filter)
    }

    /// How many documents match. See [`Collection::count_documents`].
    ///
    /// It joins the position of the server, not the lineages of the documents counted.
    pub fn count_documents(&self, filter: Document) -> CountDocuments<'_> {
        CountDocuments::new(self.target(), filter)
    }

    /// The values of a field. See [`Collection::distinct`].
    ///
    /// The server does not say which documents they are of: the current lineage depends on
    /// [everything](antipode_lineage::Lineage::everything) afterwards.
    pub fn distinct(&self, field: impl AsRef<str>, filter: Document) -> Distinct<'_> {
        Distinct::new(self.target(), field.as_ref().to_owned(), filter)
    }

    /// Runs an aggregation. See [`Collection::aggregate`].
    ///
    /// As long as its stages leave the documents what they are (`$match`, `$sort`, `$limit`, `$skip`,
    /// `$sample`, `$set`, `$addFields`, `$unset`, `$unwind`, `$project`), their lineage is joined as by
    /// [`find`](MongoCollection::find). With any other stage the current lineage depends on
    /// [everything](antipode_lineage::Lineage::everything) afterwards.
    pub fn aggregate(&self, pipeline: impl IntoIterator<Item = Document>) -> Aggregate<'_> {
        Aggregate::new(self.target(), pipeline.into_iter().collect())
    }

    fn target(&self) -> Target<'_> {
        Target {
            access: &self.access,
            database: &self.database,
            options: &self.options,
            primary: &self.primary,
        }
    }
}

impl<T: DeserializeOwned + Send + Sync> MongoCollection<T> {
    /// Finds a document. See [`Collection::find_one`].
    pub fn find_one(&self, filter: Document) -> FindOne<'_, T> {
        FindOne::new(self.target(), filter)
    }

    /// Finds a document and deletes it. See [`Collection::find_one_and_delete`].
    pub fn find_one_and_delete(&self, filter: Document) -> FindOneAndDelete<'_, T> {
        FindOneAndDelete::new(self.target(), filter)
    }

    /// Finds a document and updates it. See [`Collection::find_one_and_update`].
    pub fn find_one_and_update(
        &self,
        filter: Document,
        update: impl Into<UpdateModifications>,
    ) -> FindOneAndUpdate<'_, T> {
        FindOneAndUpdate::new(self.target(), filter, update.into())
    }

    /// Finds a document and replaces it. See [`Collection::find_one_and_replace`].
    pub fn find_one_and_replace(
        &self,
        filter: Document,
        replacement: impl Borrow<T>,
    ) -> FindOneAndReplace<'_, T>
    where
        T: Serialize,
    {
        FindOneAndReplace::new(self.target(), filter, raw(replacement.borrow()))
    }

    /// Watches the collection: a [`MongoChangeStream`](crate::MongoChangeStream). See
    /// [`Collection::watch`].
    pub fn watch(&self) -> Watch<'_, T> {
        Watch::new(self.target())
    }
}

impl<T: Send + Sync> Clone for MongoCollection<T> {
    fn clone(&self) -> Self {
        self.clone_with_type()
    }
}

impl<T: Send + Sync> fmt::Debug for MongoCollection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = self.primary.namespace();
        f.debug_struct("MongoCollection").field("namespace", &namespace).finish_non_exhaustive()
    }
}

fn raw(document: &impl Serialize) -> Result<RawDocumentBuf> {
    Ok(serialize_to_raw_document_buf(document)?)
}
