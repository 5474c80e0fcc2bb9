//! A replica set, and a store on it.

use antipode_docker::{MongoOptions, MongoTopology, Proxy};
use antipode_mongodb::mongodb::Client;
use antipode_mongodb::{MongoCollection, MongoStore};

pub(crate) struct Set {
    pub(crate) store: MongoStore,
    pub(crate) topology: MongoTopology,
}

/// A store whose primary is behind a link.
pub(crate) struct Proxied {
    pub(crate) store: MongoStore,
    pub(crate) link: Proxy,
}

/// A set of a primary and this many secondaries. The store reads from the primary.
pub(crate) async fn start(replicas: usize) -> Set {
    let topology = MongoTopology::start(MongoOptions::default().replicas(replicas)).await.unwrap();
    let client = Client::with_uri_str(topology.url()).await.unwrap();
    let store = MongoStore::builder("posts").primary(client).build().unwrap();
    Set { store, topology }
}

impl Set {
    pub(crate) fn collection<T: Send + Sync>(&self) -> MongoCollection<T> {
        self.store.database("app").collection("posts")
    }

    pub(crate) async fn proxied(&self) -> Proxied {
        let link = Proxy::start(self.topology.primary().addr()).await.unwrap();
        let uri = format!("mongodb://{}/?directConnection=true&serverSelectionTimeoutMS=1000", link.addr());
        let primary = Client::with_uri_str(uri).await.unwrap();
        Proxied { store: MongoStore::builder("posts").primary(primary).build().unwrap(), link }
    }
}
