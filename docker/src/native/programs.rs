//! Finding a store's programs.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::TopologyError;

/// Where Debian keeps each major version of Postgres, outside of `$PATH`.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// The oldest major version of Postgres that the topologies work with.
const OLDEST_POSTGRES: u32 = 14;

/// A directory that contains all of a store's programs.
#[derive(Clone, Debug)]
pub(crate) struct Programs(PathBuf);

/// A complete installation: first in `$PATH`, then Debian's newest.
pub(crate) fn postgres_programs() -> Result<Programs, TopologyError> {
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
    find(
        "postgres",
        &["postgres", "initdb", "pg_basebackup", "pg_ctl"],
        versions.into_iter().map(|(_, path)| path),
    )
}

pub(crate) fn redis_programs() -> Result<Programs, TopologyError> {
    find("redis", &["redis-server"], [PathBuf::from("/usr/bin")])
}

fn find(
    store: &'static str,
    programs: &[&str],
    elsewhere: impl IntoIterator<Item = PathBuf>,
) -> Result<Programs, TopologyError> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(elsewhere)
        .find(|directory| programs.iter().all(|program| directory.join(program).is_file()))
        .map(Programs)
        .ok_or_else(|| TopologyError::MissingServer {
            store,
            missing: format!("no directory with {}", programs.join(", ")),
        })
}

impl Programs {
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        let Self(directory) = self;
        directory.join(name)
    }
}

/// The last lines of a log, in one line.
pub(super) fn tail(log: &Path) -> String {
    const LINES: usize = 8;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(text.get(text.len().saturating_sub(8 << 10)..).unwrap_or(&text));
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return "(empty)".to_owned();
    }
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or(&lines).join(" | ")
}
