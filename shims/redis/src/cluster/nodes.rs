//! The nodes of a cluster, by the addresses that they announce.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use antipode_barrier::ProbeError;
use antipode_lineage::{ReplicaName, StoreName};
use redis::{Client, ConnectionAddr, RedisResult, cmd, pipe};

use super::view::{Address, View};
use crate::error::Error;
use crate::histories::Histories;
use crate::replication::Replication;
use crate::server::Server;

/// How a node stands: its place in its log first, and what it knows of the cluster after that.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) replication: Replication,
    pub(super) view: View,
}

/// Servers by address. They are reached as the first node given: with its credentials and its TLS.
pub(super) struct Nodes {
    store: StoreName,
    name: ReplicaName,
    like: Client,
    pub(super) histories: Arc<Histories>,
    servers: Mutex<HashMap<Address, Arc<Server>>>,
}

impl Nodes {
    pub(super) fn new(store: StoreName, name: ReplicaName, like: Client) -> Self {
        Self { store, name, like, histories: Arc::default(), servers: Mutex::default() }
    }

    /// The server at an address that a node announced.
    pub(super) fn at(&self, address: &Address) -> RedisResult<Arc<Server>> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get(address) {
            return Ok(Arc::clone(server));
        }
        let (host, port) = address.clone();
        let like = self.like.get_connection_info();
        let to = match like.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        let client = Client::open(like.clone().set_addr(to))?;
        let server = Arc::new(Server::new(self.store, self.name, client, Arc::clone(&self.histories)));
        servers.insert(address.clone(), Arc::clone(&server));
        Ok(server)
    }

    /// Forgets the servers that nobody announces any more.
    pub(super) fn retain(&self, views: &[&View]) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let announced = |address: &Address| {
            let mut nodes = views.iter().flat_map(|view| view.nodes());
            nodes.any(|node| node.address.as_ref() == Some(address))
        };
        servers.retain(|address, _| announced(address));
    }
}

impl Standing {
    /// Asks a server.
    pub(super) async fn of(server: &Server) -> Result<Self, ProbeError> {
        let mut question = pipe();
        question.add_command(cmd("INFO").arg("replication").arg("persistence").clone());
        question.add_command(cmd("CLUSTER").arg("NODES").clone());
        let failed =
            |source| ProbeError::new(Error::Connect { store: server.store, replica: server.name, source });
        let (info, nodes): (String, String) = server.ask_together(&question).await.map_err(failed)?;
        let problem =
            |problem| ProbeError::new(format!("store {}: a node of {} {problem}", server.store, server.name));
        let replication = Replication::parse(&info)
            .ok_or_else(|| problem("does not say where it stands: is it a Redis?"))?;
        if replication.is_loading {
            return Err(problem("is loading its data: wait for it"));
        }
        Ok(Self { replication, view: View::parse(&nodes) })
    }
}
