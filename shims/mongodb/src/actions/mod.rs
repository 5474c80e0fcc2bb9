//! The driver's actions, carrying lineage: each has the driver's options, and is sent when awaited.

mod aggregate;
mod count;
mod delete;
mod distinct;
mod find;
mod find_one_and;
mod insert;
mod replace;
mod update;
mod watch;

use mongodb::Collection;
use mongodb::bson::RawDocumentBuf;
use mongodb::options::{CollectionOptions, WriteConcern};

use crate::access::Access;
use crate::server::Server;

pub use aggregate::Aggregate;
pub use count::CountDocuments;
pub use delete::Delete;
pub use distinct::Distinct;
pub use find::{ExplicitSession, Find, FindOne, ImplicitSession};
pub use find_one_and::{FindOneAndDelete, FindOneAndReplace, FindOneAndUpdate};
pub use insert::{InsertMany, InsertOne};
pub use replace::ReplaceOne;
pub use update::Update;
pub use watch::Watch;

/// The collection that an action is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) access: &'a Access,
    pub(crate) database: &'a str,
    pub(crate) options: &'a CollectionOptions,
    pub(crate) primary: &'a Collection<RawDocumentBuf>,
}

impl Target<'_> {
    /// The write concern of an operation that may have its own.
    pub(crate) fn concern(&self, own: Option<&WriteConcern>) -> WriteConcern {
        own.or(self.options.write_concern.as_ref()).cloned().unwrap_or_default()
    }

    /// The collection on this server.
    pub(crate) fn on(&self, server: &Server) -> Collection<RawDocumentBuf> {
        let database = server.client.database(self.database);
        database.collection_with_options(self.primary.name(), self.options.clone())
    }
}

/// The setters of an action's options.
macro_rules! option_setters {
    ($options:ident { $($name:ident: $type:ty,)* }) => {
        /// Sets all options, instead of those set so far.
        pub fn with_options(mut self, options: impl Into<Option<$options>>) -> Self {
            self.options = options.into();
            self
        }

        $(
            #[doc = concat!("Sets [`", stringify!($options), "::", stringify!($name), "`].")]
            pub fn $name(mut self, value: $type) -> Self {
                self.options.get_or_insert_default().$name = Some(value.into());
                self
            }
        )*
    };
}

/// The setter of an action's session.
macro_rules! session_setter {
    () => {
        /// Runs it in this session, on the primary's client.
        pub fn session(mut self, session: &'a mut MongoSession) -> Self {
            self.session = Some(session);
            self
        }
    };
}

/// Sends an action when it is awaited.
macro_rules! sent_when_awaited {
    (impl<$($generic:tt),*> $action:ty => $output:ty $(where $($bound:tt)*)?) => {
        impl<$($generic),*> std::future::IntoFuture for $action $(where $($bound)*)? {
            type Output = mongodb::error::Result<$output>;
            type IntoFuture = antipode_barrier::BoxFuture<'a, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.send())
            }
        }
    };
}

pub(crate) use {option_setters, sent_when_awaited, session_setter};
