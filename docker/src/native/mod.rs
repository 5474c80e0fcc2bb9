//! Servers as processes of this machine.
//!
//! Each runs under a small supervising shell that ends it when this process is gone (see
//! `supervisor.sh`), in a directory that a second shell removes afterwards (see [`Home`]).

mod account;
#[cfg(any(feature = "kafka", feature = "mongodb"))]
mod cache;
mod home;
mod log;
pub(crate) mod process_tree;
mod programs;
mod supervised;

#[cfg(any(feature = "kafka", feature = "mongodb"))]
pub(crate) use self::cache::cache;
pub(crate) use self::{account::Account, home::Home, log::tail, programs::Programs, supervised::Supervised};
