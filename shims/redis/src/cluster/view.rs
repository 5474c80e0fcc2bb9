//! What `CLUSTER NODES` says, as one node sees it.

use std::ops::RangeInclusive;

/// The id of a node, which it keeps for good.
pub(super) type NodeId = Box<str>;

/// Where a node says that it is reached.
pub(super) type Address = (String, u16);

/// All nodes that one node knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View(Vec<Node>);

/// A node as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: NodeId,
    /// `None` if it does not know its own.
    pub(super) address: Option<Address>,
    pub(super) role: NodeRole,
    slots: Vec<RangeInclusive<u16>>,
    is_myself: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NodeRole {
    Primary,
    Replica { of: NodeId },
}

impl View {
    /// Reads the reply. Lines that are none are left out.
    pub(super) fn parse(nodes: &str) -> Self {
        Self(nodes.lines().filter_map(Node::parse).collect())
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.0.iter()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Node> {
        self.0.iter().find(|node| &*node.id == id)
    }

    /// The node whose view it is.
    pub(super) fn myself(&self) -> Option<&Node> {
        self.0.iter().find(|node| node.is_myself)
    }

    /// The primary of the shard that the node whose view it is belongs to.
    pub(super) fn own_primary(&self) -> Option<&str> {
        let myself = self.myself()?;
        Some(match &myself.role {
            NodeRole::Primary => &myself.id,
            NodeRole::Replica { of } => of,
        })
    }

    /// Who owns a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&str> {
        let owner = self.0.iter().find(|node| node.slots.iter().any(|slots| slots.contains(&slot)));
        owner.map(|owner| &*owner.id)
    }

    /// The nodes that own slots.
    pub(super) fn owners(&self) -> impl Iterator<Item = &Node> {
        self.0.iter().filter(|node| !node.slots.is_empty())
    }

    /// The nodes that own a slot which another one owned before, unless they took over from it: then
    /// the slot is in the same log as before.
    pub(super) fn gained_since<'a>(&'a self, before: &'a View) -> impl Iterator<Item = &'a Node> {
        self.owners().filter(|owner| {
            let former = before.owners().filter(|former| former.id != owner.id);
            let mut other = former.filter(|former| !before.is_replica_of(&owner.id, &former.id));
            other.any(|former| former.overlaps(owner))
        })
    }

    fn is_replica_of(&self, node: &str, primary: &str) -> bool {
        let role = self.get(node).map(|node| &node.role);
        matches!(role, Some(NodeRole::Replica { of }) if &**of == primary)
    }
}

impl Node {
    /// `id host:port@bus[,hostname] flags primary ping pong epoch link slot …`
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, address, flags, primary, _, _, _, _, slots @ ..] = words.as_slice() else { return None };
        let has = |wanted: &str| flags.split(',').any(|flag| flag == wanted);
        if has("handshake") {
            return None;
        }
        let (host, port) = address.split('@').next()?.rsplit_once(':')?;
        let address = (!host.is_empty() && !has("noaddr")).then_some((host.to_owned(), port.parse().ok()?));
        let role = match *primary {
            "-" => NodeRole::Primary,
            primary => NodeRole::Replica { of: primary.into() },
        };
        Some(Self {
            id: (*id).into(),
            address,
            role,
            // Slots under way are in brackets; they still belong to their old owner.
            slots: slots.iter().filter_map(|slots| range(slots)).collect(),
            is_myself: has("myself"),
        })
    }

    fn overlaps(&self, other: &Node) -> bool {
        let meets = |one: &RangeInclusive<u16>, other: &RangeInclusive<u16>| {
            one.start() <= other.end() && other.start() <= one.end()
        };
        self.slots.iter().any(|one| other.slots.iter().any(|other| meets(one, other)))
    }
}

fn range(slots: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "aa 10.0.0.1:7001@17001 master - 0 0 1 connected 0-9 12\n\
        bb 10.0.0.2:7002@17002,host master - 0 0 2 connected 10-11\n\
        cc :7003@17003 myself,slave aa 0 0 1 connected\n\
        dd 10.0.0.4:7004@17004 handshake - 0 0 0 connected\n";

    fn gained(after: &str) -> Vec<String> {
        let (before, after) = (View::parse(BEFORE), View::parse(after));
        after.gained_since(&before).map(|node| node.id.to_string()).collect()
    }

    #[test]
    fn a_view_is_read() {
        let view = View::parse(BEFORE);
        assert_eq!(view.nodes().count(), 3, "who is only being introduced is none yet");
        assert_eq!(view.own_primary(), Some("aa"));
        assert_eq!(
            [0, 9, 10, 12, 13].map(|slot| view.owner(slot)),
            [Some("aa"), Some("aa"), Some("bb"), Some("aa"), None]
        );
        assert_eq!(view.get("bb").unwrap().address, Some(("10.0.0.2".to_owned(), 7002)));
        assert_eq!(view.myself().unwrap().address, None);
    }

    #[test]
    fn who_gains_a_slot_of_another_is_seen() {
        assert!(gained(BEFORE).is_empty());
        assert_eq!(gained(&BEFORE.replace("0-9 12", "0-8 12").replace("10-11", "9-11")), ["bb"]);
        assert_eq!(gained(&BEFORE.replace("0-9 12", "0-9 12 [3->-bb]")), [""; 0], "still under way");
    }

    #[test]
    fn who_takes_over_from_its_primary_gains_nothing() {
        let after = "aa 10.0.0.1:7001@17001 slave cc 0 0 1 connected\n\
            bb 10.0.0.2:7002@17002 master - 0 0 2 connected 10-11\n\
            cc 10.0.0.3:7003@17003 myself,master - 0 0 1 connected 0-9 12\n";
        assert!(gained(after).is_empty());
        assert_eq!(gained(&after.replace("0-9 12", "0-12").replace(" 10-11", "")), ["cc"]);
    }
}
