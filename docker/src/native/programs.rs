//! Finding a store's programs.

use std::{env, path::PathBuf};

use crate::TopologyError;

/// A directory that contains all of a store's programs.
#[derive(Clone, Debug)]
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// The first directory that has all of them: of `$PATH`, then elsewhere.
    pub(crate) fn find(
        store: &'static str,
        programs: &[&str],
        elsewhere: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Self, TopologyError> {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain(elsewhere)
            .find(|directory| programs.iter().all(|program| directory.join(program).is_file()))
            .map(Self)
            .ok_or_else(|| TopologyError::MissingServer {
                store,
                missing: format!("no directory with {}", programs.join(", ")),
            })
    }

    /// For a shell in a container to find.
    #[cfg(feature = "containers")]
    pub(crate) fn of_an_image() -> Self {
        Self(PathBuf::new())
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        let Self(directory) = self;
        directory.join(name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let found = Programs::find("redis", &["one", "two"], places()).unwrap();
        assert_eq!(found.program("one"), complete.path().join("one"));

        let error = Programs::find("redis", &["one", "three"], places()).unwrap_err();
        assert!(error.is_missing_server());
        assert!(error.to_string().contains("run docker/install redis"), "{error}");
    }
}
