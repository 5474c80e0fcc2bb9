use std::fmt;

/// A server of a topology, named by the role it was started in: it keeps the name when another
/// server is promoted over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Member {
    /// The server that was started as the primary.
    Primary,
    /// The server that was started as the replica (for Postgres: the standby) of this index,
    /// counted from zero.
    Replica(usize),
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("primary"),
            Self::Replica(index) => write!(f, "replica-{index}"),
        }
    }
}
