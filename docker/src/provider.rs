/// What runs the servers of a topology. Everything else about it is the same: its options, its
/// nodes and their addresses, its links, and the faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provider {
    /// Processes of this machine, of programs that are installed here.
    #[default]
    Native,
    /// Containers of the stores' official images, at the Docker engine of this machine.
    ///
    /// They share the network of this machine, so that a server keeps its address over a restart
    /// and reaches the links of its topology, and the directory of their topology is mounted into
    /// them. So the engine must be on this machine, on Linux, and not run rootless; Docker
    /// Desktop runs containers in a machine of its own, and has not been tried.
    #[cfg(feature = "containers")]
    Containers,
}
