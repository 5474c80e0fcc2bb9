//! Finding Kafka, which `docker/install` keeps in the user's cache.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    TopologyError,
    native::{Programs, cache},
};

/// The one program.
pub(super) const JAVA: &str = "java";

/// What makes a Java program start fast and stay small, rather than run fast for hours.
const JVM: &[&str] = &[
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

/// A Java machine and Kafka's libraries.
#[derive(Clone, Debug)]
pub(super) struct Installation {
    programs: Programs,
    /// Absolute: the archive of loaded classes is only valid for the very same path.
    class_path: OsString,
    archive: PathBuf,
}

impl Installation {
    /// The newest one of the cache.
    pub(super) fn find() -> Result<Self, TopologyError> {
        let programs = Programs::find("kafka", &[JAVA], [PathBuf::from("/usr/bin")])?;
        let cache = cache();
        let mut places: Vec<PathBuf> = fs::read_dir(&cache)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("kafka-"))
            .map(|entry| entry.path())
            // Written last.
            .filter(|place| place.join("class-path").is_file())
            .collect();
        places.sort();
        let found = places.pop().and_then(|place| Self::at(&programs, &place));
        found.ok_or_else(|| TopologyError::MissingServer {
            store: "kafka",
            missing: format!("no kafka-* in {}", cache.display()),
        })
    }

    fn at(programs: &Programs, place: &Path) -> Option<Self> {
        let class_path = fs::read_to_string(place.join("class-path")).ok()?;
        Some(Self {
            programs: programs.clone(),
            class_path: class_path.trim_end().into(),
            archive: place.join("classes.jsa"),
        })
    }

    pub(super) fn programs(&self) -> Programs {
        self.programs.clone()
    }

    /// The arguments that run a class.
    pub(super) fn arguments(&self, class: &str) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = JVM.iter().map(OsString::from).collect();
        let mut archive = OsString::from("-XX:SharedArchiveFile=");
        archive.push(&self.archive);
        arguments.extend([archive, "-cp".into(), self.class_path.clone(), class.into()]);
        arguments
    }
}
