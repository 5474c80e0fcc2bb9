//! How the bare drivers reach real servers: what posts, notifications and overhead share.

#[cfg(feature = "kafka")]
pub(crate) mod kafka;
#[cfg(feature = "mongodb")]
pub(crate) mod mongodb;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(any(feature = "redis", feature = "postgres", feature = "mongodb"))]
mod reached;
#[cfg(feature = "redis")]
pub(crate) mod redis;

#[cfg(any(feature = "redis", feature = "postgres", feature = "mongodb"))]
pub(crate) use self::reached::reached;
