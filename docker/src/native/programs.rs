//! Finding a store's programs.

use std::{env, fs, path::PathBuf};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_installation_is_passed_over() {
        let (incomplete, complete) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for program in
            [incomplete.path().join("one"), complete.path().join("one"), complete.path().join("two")]
        {
            fs::write(program, "").unwrap();
        }
        let places = || [incomplete.path().to_owned(), complete.path().to_owned()];
        let found = find("redis", &["one", "two"], places()).unwrap();
        assert_eq!(found.program("one"), complete.path().join("one"));

        let error = find("redis", &["one", "three"], places()).unwrap_err();
        assert!(error.is_missing_server());
        assert!(error.to_string().contains("run docker/install redis"), "{error}");
    }
}
