//! Whether the cluster, as it is configured, can keep the promise.

use std::sync::Arc;

use antipode_barrier::{CheckError, Replica, Shards};

use super::nodes::Standing;
use super::region::Region;
use super::view::View;
use crate::check::{Cluster, ask, is_unreachable, refuse};
use crate::server::Server;

/// Checks the nodes given, and takes the first look at the regions. One node must answer; a replica
/// that cannot be reached does not keep a service from starting.
pub(super) async fn cluster(seeds: &[Arc<Server>], regions: &[Arc<Region>]) -> Result<(), CheckError> {
    let mut failure = None;
    let mut view = None;
    for seed in seeds {
        match ask(seed, Cluster::Required).await {
            Ok(_) => view = Some(Standing::of(seed).await.map_err(|error| silent(seed, error))?.view),
            Err(error) if is_unreachable(&error) => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    let Some(view) = view else {
        // There is at least one seed.
        return failure.map_or(Ok(()), Err);
    };
    for region in regions {
        check_region(region, &view).await?;
    }
    Ok(())
}

async fn check_region(region: &Region, view: &View) -> Result<(), CheckError> {
    for server in &region.servers {
        match ask(server, Cluster::Required).await {
            Ok(_) => {}
            Err(error) if is_unreachable(&error) => {
                warn(server, "a node could not be checked");
                continue;
            }
            Err(error) => return Err(error),
        }
        let standing = Standing::of(server).await.map_err(|error| silent(server, error))?;
        if standing.view.myself().is_none_or(|node| view.get(&node.id).is_none()) {
            return Err(refuse(server, "belongs to another cluster: check the addresses"));
        }
    }
    // What it does not know yet it will ask for.
    let _ = region.probe(Shards::All).await;
    let read = region.primaries();
    if let Some(server) = region.servers.first()
        && region.is_known()
        && view.owners().any(|owner| !read.contains(&owner.id))
    {
        warn(server, "the region has no node of some shard: their keys are read at the primary");
    }
    Ok(())
}

fn silent(server: &Server, error: antipode_barrier::ProbeError) -> CheckError {
    refuse(server, "does not say what it knows of the cluster: check that its ACL allows CLUSTER")
        .with_source(error)
}

fn warn(server: &Server, what: &str) {
    tracing::warn!(store = %server.store, replica = %server.name, "{what}");
}
