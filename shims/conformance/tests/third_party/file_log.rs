//! The third party's database, which knows nothing of Antipode: a map whose servers each keep a log in
//! a file. One server leads, the others copy its log, look by look, and so lag behind.
//!
//! Each value has a note beside it, any text. Keys, values and notes hold no tab and no newline.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

/// One server: a log file, and the map that it adds up to.
pub struct Server {
    pub name: String,
    path: PathBuf,
    state: Mutex<Option<State>>,
}

/// A value and the note beside it.
pub type Noted = (String, String);

/// How far a server is in the log: the bytes applied. The log itself tells its reigns: the number of
/// each, and the byte after which it began.
#[derive(Clone, Default)]
pub struct Progress {
    pub history: u64,
    pub reigns: Vec<(u64, u64)>,
    pub bytes: u64,
}

struct State {
    file: File,
    values: HashMap<String, Noted>,
    progress: Progress,
}

/// A server that copies another one's log, until this is dropped.
pub struct Following(JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    pub fn new(name: &str, path: PathBuf) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), path, state: Mutex::default() })
    }

    /// Starts the server with what is in its log.
    pub fn open(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&self.path)?;
        let mut log = String::new();
        file.read_to_string(&mut log)?;
        let mut state = State { file, values: HashMap::new(), progress: Progress::default() };
        log.lines().for_each(|line| state.apply(line));
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
        Ok(())
    }

    /// Stops the server; the log stays.
    pub fn close(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Begins the next reign of this history.
    pub fn lead(&self, history: u64) -> io::Result<()> {
        self.with(|state| {
            let reign = state.progress.reigns.last().map_or(1, |(number, _)| number + 1);
            state.append(&format!("reign\t{history}\t{reign}\n"))
        })
    }

    /// Copies what is new in the leader's log at every look. A server with more than the leader has
    /// starts over.
    pub fn follow(self: &Arc<Self>, leader: &Server, every: Duration) -> io::Result<Following> {
        if !fs::read(&leader.path)?.starts_with(&fs::read(&self.path)?) {
            fs::write(&self.path, "")?;
            self.open()?;
        }
        let (server, leader) = (Arc::clone(self), leader.path.clone());
        Ok(Following(tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                // A look that failed is followed by the next.
                let _ = server.with(|state| state.copy(&leader));
            }
        })))
    }

    /// Reads a value, and tells how far the server is.
    pub fn get(&self, key: &str) -> io::Result<(Option<Noted>, Progress)> {
        self.with(|state| Ok((state.values.get(key).cloned(), state.progress.clone())))
    }

    /// Makes a value of the old one, or none, and tells how far the server is then.
    pub fn update(
        &self,
        key: &str,
        new: impl FnOnce(Option<&Noted>) -> Option<Noted>,
    ) -> io::Result<Progress> {
        self.with(|state| {
            state.append(&match new(state.values.get(key)) {
                Some((value, note)) => format!("put\t{key}\t{value}\t{note}\n"),
                None => format!("delete\t{key}\n"),
            })?;
            Ok(state.progress.clone())
        })
    }

    pub fn progress(&self) -> io::Result<Progress> {
        self.with(|state| Ok(state.progress.clone()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let closed =
            || io::Error::new(io::ErrorKind::NotConnected, format!("server {} is closed", self.name));
        act(state.as_mut().ok_or_else(closed)?)
    }
}

impl State {
    fn append(&mut self, lines: &str) -> io::Result<()> {
        self.file.write_all(lines.as_bytes())?;
        lines.lines().for_each(|line| self.apply(line));
        Ok(())
    }

    fn copy(&mut self, leader: &Path) -> io::Result<()> {
        let mut log = File::open(leader)?;
        log.seek(SeekFrom::Start(self.progress.bytes))?;
        let mut new = String::new();
        log.read_to_string(&mut new)?;
        // The leader may be in the middle of a line.
        let whole = new.rfind('\n').map_or(0, |end| end + 1);
        new.truncate(whole);
        self.append(&new)
    }

    fn apply(&mut self, line: &str) {
        match line.split('\t').collect::<Vec<_>>().as_slice() {
            ["reign", history, number] => {
                self.progress.history = history.parse().unwrap_or_default();
                self.progress.reigns.push((number.parse().unwrap_or_default(), self.progress.bytes));
            }
            ["put", key, value, note] => {
                self.values.insert((*key).to_owned(), ((*value).to_owned(), (*note).to_owned()));
            }
            ["delete", key] => {
                self.values.remove(*key);
            }
            _ => {}
        }
        self.progress.bytes += line.len() as u64 + 1;
    }
}
