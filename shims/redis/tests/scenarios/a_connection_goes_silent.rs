//! A connection for probes that nothing comes back on any more, though it was never closed.

use std::net::SocketAddr;
use std::sync::Arc;

use antipode_barrier::{Replica, Shards, Store};
use antipode_docker::RedisOptions;
use antipode_redis::RedisStore;
use antipode_redis::redis::Client;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::stage::{self, MOMENT, PATIENCE, Stage};

/// Carries connections until it is told to silence those that it has. Later ones are carried.
struct Carrier {
    address: SocketAddr,
    silence: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Carrier {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, silence) = (listener.local_addr().unwrap(), Arc::<Notify>::default());
        let mut tasks = JoinSet::new();
        let silenced = Arc::clone(&silence);
        tasks.spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let silenced = Arc::clone(&silenced);
                let mut server = TcpStream::connect(target).await.unwrap();
                carried.spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        () = silenced.notified() => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, silence, _tasks: tasks }
    }
}

#[tokio::test]
async fn a_probe_that_was_given_up_takes_its_connection_along() {
    let stage = Stage::with(RedisOptions::default().replicas(1)).await;
    let carrier = Carrier::to(stage.topology.replica(0).addr()).await;
    let eu = Client::open(format!("redis://{}/", carrier.address)).unwrap();
    let builder = RedisStore::builder("posts").primary(stage::client(stage.topology.primary()));
    let store = builder.replica("eu", eu).build().unwrap();
    let replica: Arc<dyn Replica> = store.replicas().pop().unwrap();
    let probe = async |limit| tokio::time::timeout(limit, replica.probe(Shards::All)).await;
    probe(PATIENCE).await.unwrap().unwrap();
    carrier.silence.notify_waiters();
    assert!(probe(MOMENT).await.is_err(), "nothing comes back");
    probe(PATIENCE).await.unwrap().unwrap();
}
