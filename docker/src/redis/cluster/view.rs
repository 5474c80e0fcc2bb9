//! What `CLUSTER NODES` says.

use std::ops::RangeInclusive;

/// A node as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) port: u16,
    /// The id of its primary, if it is a replica.
    pub(super) follows: Option<String>,
    pub(super) is_myself: bool,
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

/// All nodes that one node knows.
pub(super) fn parse(nodes: &str) -> Vec<Seen> {
    nodes.lines().filter_map(node).collect()
}

fn node(line: &str) -> Option<Seen> {
    let words: Vec<&str> = line.split(' ').collect();
    let [id, addr, flags, follows, _, _, _, _, slots @ ..] = words.as_slice() else { return None };
    let (_, port) = addr.split('@').next()?.rsplit_once(':')?;
    let slots = slots.iter().filter(|slots| !slots.starts_with('['));
    Some(Seen {
        id: (*id).to_owned(),
        port: port.parse().ok()?,
        follows: (*follows != "-").then(|| (*follows).to_owned()),
        is_myself: flags.split(',').any(|flag| flag == "myself"),
        slots: slots.filter_map(|slots| range(slots)).collect(),
    })
}

fn range(slots: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_read() {
        let said = "aa 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5 7 [8->-bb]\n\
                    bb 127.0.0.1:7002@17002,host slave aa 0 1 1 connected\n";
        let [primary, replica] = <[Seen; 2]>::try_from(parse(said)).unwrap();
        assert!(primary.is_myself && primary.follows.is_none());
        assert_eq!(primary.slots, [0..=5, 7..=7]);
        assert_eq!((replica.port, replica.follows.as_deref()), (7002, Some("aa")));
    }
}
