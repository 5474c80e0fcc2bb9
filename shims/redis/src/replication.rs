//! What `INFO replication` says.

use antipode_barrier::{Ancestor, Frontier};
use antipode_lineage::{Epoch, Position, Shard, StoreName, WriteId};

/// Which side of replication a server is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It counts its own writes.
    Primary,
    /// It applies another server's log.
    Replica,
}

/// How the logs of a store are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharding {
    /// There is one.
    Single,
    /// Each shard of a cluster has one, which is called by its history: replication ids are unique,
    /// every process meets them with the positions, and who takes over knows which one it left.
    #[cfg(feature = "cluster")]
    ByHistory,
}

/// The state of replication at one server at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replication {
    pub(crate) role: Role,
    /// The first half of `master_replid`, which two servers of different histories share with
    /// probability 2⁻⁶⁴.
    pub(crate) history: u64,
    /// `master_replid2`, and the last offset of it that this server has (`second_repl_offset` - 1).
    pub(crate) left: Option<Ancestor>,
    /// `master_repl_offset` of a primary, `slave_repl_offset` of a replica: what it has applied.
    /// (`slave_read_repl_offset` is only received.)
    offset: u64,
    /// Whether writes move the offset. Before its first replica a primary has no backlog and counts
    /// nothing.
    counts: bool,
    pub(crate) link_is_up: bool,
    /// A full synchronisation is under way: the data belongs to no position.
    is_syncing: bool,
    /// The data set is being read from disk.
    pub(crate) is_loading: bool,
}

impl Replication {
    /// Reads the reply; `None` if a field is missing that every server since 4.0 has.
    pub(crate) fn parse(info: &str) -> Option<Self> {
        let (mut role, mut history, mut second, mut end) = (None, None, None, None);
        let (mut offset, mut applied) = (None, None);
        let (mut counts, mut link_is_up, mut is_syncing, mut is_loading) = (false, true, false, false);
        for line in info.as_bytes().split(|byte| *byte == b'\n') {
            // About every command's answer ends with this text: most of its lines are passed over at once.
            let Some(b'r' | b'm' | b's' | b'l') = line.first() else { continue };
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (field, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default();
            let value = value.strip_suffix(b"\r").unwrap_or(value);
            match field {
                b"role" if value == b"master" => role = Some(Role::Primary),
                b"role" => role = Some(Role::Replica),
                b"master_replid" => history = half(value),
                b"master_replid2" => second = half(value),
                b"second_repl_offset" => end = number(value),
                b"master_repl_offset" => offset = number(value),
                b"slave_repl_offset" => applied = number(value),
                b"repl_backlog_active" => counts = value == b"1",
                b"master_link_status" => link_is_up = value == b"up",
                b"master_sync_in_progress" => is_syncing = value == b"1",
                b"loading" => is_loading = value == b"1",
                _ => {}
            }
        }
        let role = role?;
        let left = second.filter(|history| *history != 0).zip(end).map(|(history, end)| Ancestor {
            epoch: Epoch { history, term: 0 },
            end: Position(end.saturating_sub(1)),
        });
        let offset = if role == Role::Primary { offset? } else { applied? };
        let history = history?;
        Some(Self { role, history, left, offset, counts, link_is_up, is_syncing, is_loading })
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch { history: self.history, term: 0 }
    }

    /// A place that covers all that this server showed when it was asked; `None` where it has none:
    /// at a primary that never had a replica, and at a replica without a synchronised past.
    pub(crate) fn position(&self) -> Option<Position> {
        let placed = match self.role {
            Role::Primary => self.counts,
            // A replica that dropped its past, or never had one, says 1 until it is connected.
            Role::Replica => !self.is_syncing && (self.link_is_up || self.offset > 1),
        };
        placed.then_some(Position(self.offset))
    }

    /// The same as an entry of a lineage.
    pub(crate) fn write_id(&self, store: StoreName, sharding: Sharding) -> WriteId {
        match self.position() {
            Some(position) => WriteId { store, shard: self.shard(sharding), epoch: self.epoch(), position },
            None => WriteId::unplaced(store),
        }
    }

    pub(crate) fn shard(&self, sharding: Sharding) -> Shard {
        match sharding {
            Sharding::Single => Shard::ONLY,
            #[cfg(feature = "cluster")]
            Sharding::ByHistory => Shard(self.history),
        }
    }

    /// How far the server has come. Nothing is applied where nothing can be vouched for: during a
    /// full synchronisation the old data is on its way out.
    pub(crate) fn frontier(&self) -> Frontier {
        let applied = match self.role {
            Role::Primary => self.offset,
            Role::Replica => self.position().map_or(0, |position| position.0),
        };
        Frontier::new(self.epoch(), Position(applied))
    }
}

/// The first 16 hexadecimal digits of a replication id.
fn half(replid: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(replid.get(..16)?).ok()?, 16).ok()
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMOTED: &str = "# Replication\r\nrole:master\r\nconnected_slaves:1\r\n\
        slave0:ip=127.0.0.1,port=6380,state=online,offset=190,lag=0\r\n\
        master_replid:0a4e02fd5d2b610da9417180c4dda76708277527\r\n\
        master_replid2:ffffffffffffffffa9417180c4dda76708277527\r\n\
        master_repl_offset:200\r\nsecond_repl_offset:101\r\nrepl_backlog_active:1\r\n";
    const REPLICA: &str = "role:slave\r\nmaster_link_status:up\r\nmaster_sync_in_progress:0\r\n\
        slave_read_repl_offset:190\r\nslave_repl_offset:180\r\n\
        master_replid:0a4e02fd5d2b610da9417180c4dda76708277527\r\n\
        master_replid2:0000000000000000000000000000000000000000\r\n\
        master_repl_offset:185\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:1\r\n";

    fn parse(info: &str) -> Replication {
        Replication::parse(info).unwrap()
    }

    #[test]
    fn a_promoted_primary_knows_where_it_left_the_old_history() {
        let replication = parse(PROMOTED);
        assert_eq!(replication.position(), Some(Position(200)));
        let epoch = Epoch { history: u64::MAX, term: 0 };
        assert_eq!(replication.left, Some(Ancestor { epoch, end: Position(100) }));
        assert_eq!(replication.epoch(), Epoch { history: 0x0a4e_02fd_5d2b_610d, term: 0 });
    }

    #[test]
    fn a_replica_is_as_far_as_it_has_applied_not_received() {
        let replication = parse(REPLICA);
        assert_eq!(replication.position(), Some(Position(180)));
        assert_eq!(replication.left, None);
    }

    #[test]
    fn a_primary_that_never_had_a_replica_has_no_positions() {
        let alone = PROMOTED.replace("repl_backlog_active:1", "repl_backlog_active:0");
        assert!(parse(&alone).write_id("posts".parse().unwrap(), Sharding::Single).is_unplaced());
    }

    #[test]
    fn a_replica_in_full_synchronisation_vouches_for_nothing() {
        let syncing = REPLICA.replace("master_sync_in_progress:0", "master_sync_in_progress:1");
        let without_a_past = REPLICA.replace("slave_repl_offset:180", "slave_repl_offset:1");
        assert_eq!(parse(&without_a_past).position(), Some(Position(1)), "connected, it is at the start");
        for info in [syncing, without_a_past.replace("status:up", "status:down")] {
            assert_eq!(parse(&info).position(), None);
            assert_eq!(parse(&info).frontier().position, Position(0));
        }
    }

    #[test]
    fn half_a_reply_is_none() {
        for end in ["role:master\r\n", "role:master\r\nmaster_replid:0a4e02fd5d2b610d", ""] {
            assert_eq!(Replication::parse(end), None, "{end}");
        }
    }
}
