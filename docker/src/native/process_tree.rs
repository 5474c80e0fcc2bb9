//! Signals to a process and everything it started.
//!
//! Process groups do not do: each Postgres backend makes itself a session and group of its own.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Freezes a process and its descendants. The parent is stopped first and starts no further.
pub(crate) fn stop(root: Pid) -> nix::Result<()> {
    kill(root, Signal::SIGSTOP)?;
    for child in children(root) {
        // It may have ended meanwhile.
        let _ = stop(child);
    }
    Ok(())
}

/// Lets them run again.
pub(crate) fn cont(root: Pid) -> nix::Result<()> {
    for child in children(root) {
        let _ = cont(child);
    }
    kill(root, Signal::SIGCONT)
}

/// Kills all of them, as if at once: they are frozen first.
pub(crate) fn kill_all(root: Pid) -> nix::Result<()> {
    stop(root)?;
    kill_frozen(root)
}

fn kill_frozen(root: Pid) -> nix::Result<()> {
    for child in children(root) {
        let _ = kill_frozen(child);
    }
    kill(root, Signal::SIGKILL)
}

fn children(parent: Pid) -> Vec<Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            (parent_in(&stat)? == parent.as_raw()).then(|| Pid::from_raw(pid))
        })
        .collect()
}

/// The parent's id in `/proc/PID/stat`: `PID (NAME) STATE PARENT ...`.
fn parent_in(stat: &str) -> Option<i32> {
    // The name may itself contain spaces and parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_parent_behind_an_odd_name() {
        assert_eq!(parent_in("12 (postgres) S 7 12 12 0"), Some(7));
        assert_eq!(parent_in("12 (a) S 3 (b)) R 7 12 12 0"), Some(7));
        assert_eq!(parent_in("12 (postgres"), None);
    }

    #[test]
    fn finds_a_child() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        assert!(children(Pid::this()).contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
