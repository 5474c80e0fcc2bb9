//! Servers that are there already.

use std::ffi::OsStr;
use std::fmt;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Command};

use super::StoreKind;

/// Run against servers that are there, instead of starting some. Their replicas are as late as they
/// are; the run removes what it wrote.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Servers that are there already")]
pub(crate) struct Given {
    /// Redis: `redis://host/,redis://replica/`.
    #[arg(long, value_name = "PRIMARY,REPLICA", value_parser = PairParser)]
    pub(crate) redis: Option<Pair>,
    /// Postgres: `postgres://host/db,postgres://replica/db`. The role may create tables and a schema.
    #[arg(long, value_name = "PRIMARY,REPLICA", value_parser = PairParser)]
    pub(crate) postgres: Option<Pair>,
    /// MongoDB: the replica set, and one secondary of it to read from.
    #[arg(long, value_name = "SET,SECONDARY", value_parser = PairParser)]
    pub(crate) mongodb: Option<Pair>,
    /// Kafka: `host:9092`. The run may create topics.
    #[arg(long, value_name = "BOOTSTRAP")]
    pub(crate) kafka: Option<String>,
}

/// The addresses of a primary and of a replica. They may hold passwords: they are not printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) primary: String,
    pub(crate) replica: String,
}

impl Given {
    /// Whether this store's servers are there already.
    pub(crate) fn has(&self, store: StoreKind) -> bool {
        match store {
            StoreKind::Memory => false,
            StoreKind::Postgres => self.postgres.is_some(),
            StoreKind::Redis => self.redis.is_some(),
            StoreKind::Mongodb => self.mongodb.is_some(),
            StoreKind::Kafka => self.kafka.is_some(),
        }
    }
}

impl Pair {
    /// Two URLs with a comma between. A URL of MongoDB may have commas itself.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, _) = text.split_once("://")?;
        let comma = text.rfind(&format!(",{scheme}://"))?;
        let (primary, replica) = text.split_at_checked(comma)?;
        Some(Self { primary: primary.to_owned(), replica: replica.trim_start_matches(',').to_owned() })
    }
}

/// Parses a [`Pair`]. Unlike a function it writes the message itself: `clap` would repeat what was given.
#[derive(Clone)]
struct PairParser;

impl TypedValueParser for PairParser {
    type Value = Pair;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Pair, clap::Error> {
        let advice = || {
            let of = argument.map(Arg::to_string).unwrap_or_default();
            let advice = format!(
                "{of}: two URLs are needed, a primary's and a replica's, with only a comma between\n"
            );
            clap::Error::raw(ErrorKind::ValueValidation, advice).with_cmd(command)
        };
        value.to_str().and_then(Pair::parse).ok_or_else(advice)
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_two_urls_even_if_one_has_commas() {
        let pair =
            Pair::parse("mongodb://a:1,b:2/?replicaSet=s,mongodb://b:2/?directConnection=true").unwrap();
        assert_eq!(pair.primary, "mongodb://a:1,b:2/?replicaSet=s");
        assert_eq!(pair.replica, "mongodb://b:2/?directConnection=true");
        for one in ["redis://a/", "a,b", ""] {
            assert_eq!(Pair::parse(one), None, "{one}");
        }
    }

    #[test]
    fn passwords_are_not_printed() {
        let pair = Pair::parse("redis://:secret@a/,redis://:secret@b/").unwrap();
        assert!(!format!("{pair:?}").contains("secret"));
    }
}
