//! What a server says of itself.

use mongodb::Client;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::error::Result;
use mongodb::options::{ReadPreference, SelectionCriteria};

use crate::position::OpTime;

/// What a server is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    Secondary,
    Arbiter,
    /// In `STARTUP`, `RECOVERING` or `ROLLBACK`: it refuses reads.
    Unready,
    /// Not of a replica set, or no longer.
    Alone,
    /// A `mongos`: the front of a sharded cluster.
    Router,
}

/// The reply to `hello`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) role: Role,
    pub(crate) set: Option<String>,
    /// Another one after each start of the server.
    pub(crate) process: Option<ObjectId>,
    /// What local reads show.
    pub(crate) applied: Option<OpTime>,
    /// What the server knows to be on a majority.
    pub(crate) committed: Option<OpTime>,
    /// 17 for 6.0.
    pub(crate) wire_version: i32,
}

/// Which servers a client's commands may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Whichever server is the primary.
    Primary,
    /// The one server that the client is connected to.
    Direct,
}

impl Reach {
    pub(crate) fn criteria(self) -> SelectionCriteria {
        SelectionCriteria::ReadPreference(match self {
            Reach::Primary => ReadPreference::Primary,
            Reach::Direct => ReadPreference::Nearest { options: Default::default() },
        })
    }
}

impl Hello {
    pub(crate) async fn ask(client: &Client, reach: Reach) -> Result<Self> {
        let admin = client.database("admin");
        let reply = admin.run_command(doc! { "hello": 1 }).selection_criteria(reach.criteria()).await?;
        Ok(Self::parse(&reply))
    }

    fn parse(reply: &Document) -> Self {
        let is = |field| reply.get_bool(field).is_ok_and(|is| is);
        let set = reply.get_str("setName").ok().map(str::to_owned);
        let role = match () {
            () if reply.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") => Role::Router,
            () if set.is_none() => Role::Alone,
            () if is("isWritablePrimary") => Role::Primary,
            () if is("secondary") => Role::Secondary,
            () if is("arbiterOnly") => Role::Arbiter,
            () => Role::Unready,
        };
        let version = reply.get_document("topologyVersion");
        let write = reply.get_document("lastWrite");
        let optime = |field| write.as_ref().ok()?.get_document(field).ok().and_then(OpTime::parse);
        Self {
            role,
            set,
            process: version.and_then(|version| version.get_object_id("processId")).ok(),
            applied: optime("opTime"),
            committed: optime("majorityOpTime"),
            wire_version: reply.get_i32("maxWireVersion").unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use antipode_lineage::Position;
    use mongodb::bson::Timestamp;

    use super::*;

    #[test]
    fn a_role_is_what_a_server_can_do_now() {
        let role = |reply: Document| Hello::parse(&reply).role;
        assert_eq!(role(doc! { "setName": "rs", "isWritablePrimary": true }), Role::Primary);
        assert_eq!(role(doc! { "setName": "rs", "secondary": true }), Role::Secondary);
        assert_eq!(role(doc! { "setName": "rs", "arbiterOnly": true }), Role::Arbiter);
        // As a member in rollback says it.
        assert_eq!(
            role(doc! { "setName": "rs", "isWritablePrimary": false, "secondary": false }),
            Role::Unready
        );
        // A standalone server calls itself writable.
        assert_eq!(role(doc! { "isWritablePrimary": true }), Role::Alone);
        assert_eq!(role(doc! { "isWritablePrimary": true, "msg": "isdbgrid" }), Role::Router);
    }

    #[test]
    fn what_is_applied_and_what_is_committed_are_two_places() {
        let at = |increment: u32, t: i64| doc! { "ts": Timestamp { time: 1, increment }, "t": t };
        let reply = doc! { "setName": "rs", "lastWrite": { "opTime": at(9, 2), "majorityOpTime": at(4, 1) } };
        let hello = Hello::parse(&reply);
        assert_eq!(hello.applied, Some(OpTime { term: 2, position: Position(1 << 32 | 9) }));
        assert_eq!(hello.committed, Some(OpTime { term: 1, position: Position(1 << 32 | 4) }));
        assert_eq!(Hello::parse(&doc! { "setName": "rs" }).applied, None);
    }
}
