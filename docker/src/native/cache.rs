//! Where `docker/install` keeps what distributions do not have.

use std::{env, path::PathBuf};

/// `$XDG_CACHE_HOME/antipode`, or in `~/.cache`.
pub(crate) fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/".into())).join(".cache");
    let chosen = env::var_os("XDG_CACHE_HOME").filter(|chosen| !chosen.is_empty());
    chosen.map_or_else(home, PathBuf::from).join("antipode")
}
