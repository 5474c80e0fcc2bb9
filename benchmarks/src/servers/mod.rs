//! How the bare drivers reach real servers: what posts, notifications and overhead share.

#[cfg(feature = "kafka")]
pub(crate) mod kafka;
#[cfg(feature = "mongodb")]
pub(crate) mod mongodb;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;
