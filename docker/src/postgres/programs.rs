//! Finding Postgres.

use std::{fs, path::PathBuf};

use crate::{TopologyError, native::Programs};

/// Where Debian keeps each major version of Postgres, outside of `$PATH`.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// The oldest major version of Postgres that the topologies work with.
const OLDEST_POSTGRES: u32 = 14;

/// A complete installation: first in `$PATH`, then Debian's newest.
pub(super) fn programs() -> Result<Programs, TopologyError> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(POSTGRES_VERSIONS)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            (version >= OLDEST_POSTGRES).then(|| (version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|(one, _), (other, _)| other.cmp(one));
    Programs::find(
        "postgres",
        &["postgres", "initdb", "pg_basebackup", "pg_ctl"],
        versions.into_iter().map(|(_, path)| path),
    )
}
