//! The settings of the post-notification workload.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Given, Mode, StoreKind, Variant};
use crate::Failure;

/// How often a notification overtakes the post that it is about, with and without a barrier.
///
/// In the US a post is stored and then announced. In Europe, where the store's log arrives late, a
/// reader takes the notification and looks the post up, once, at its local replica. If the post is
/// not there, or only an earlier version of it, that is a violation.
#[derive(Debug, Clone, Args)]
pub struct PostNotification {
    /// Where posts are stored: memory, postgres, redis or mongodb. Servers are started for the run, each
    /// with a replica. [default: memory]
    #[arg(long, value_name = "STORE", value_delimiter = ',', value_parser = keeps_posts)]
    posts: Vec<StoreKind>,
    /// How notifications travel. Redis: a stream. Postgres: an outbox table, LISTEN at its primary and
    /// polling at a replica. MongoDB: a change stream. Kafka: a topic. All on servers of their own, which
    /// nothing delays. [default: memory]
    #[arg(long, value_name = "STORE", value_delimiter = ',')]
    notifier: Vec<StoreKind>,
    /// What happens to the post. [default: insert]
    #[arg(long, value_delimiter = ',')]
    variant: Vec<Variant>,
    /// Run every pair of post store and notifier in every variant; or, where --posts, --notifier or
    /// --variant are given as lists, every combination of those.
    #[arg(long)]
    pub(crate) matrix: bool,
    /// How late the log of posts arrives in Europe; not for servers that are there already, whose lag is
    /// theirs. [default: 150ms]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    lag: Option<Duration>,
    /// How many rounds in each mode. The modes take turns.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rounds: u32,
    /// How much later one round begins than the one before it, whether or not that has ended. [default:
    /// 10ms; in the matrix, where many servers share the machine, 20ms]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pace: Option<Duration>,
    /// Seed of the order of modes, the payloads and the embedded store.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How large a post is, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub(crate) payload: usize,
    /// What is done about causality. [default: off,propagate,barrier; in the matrix off,barrier, and with
    /// the first notifier also poll, sleep and the store's own means]
    #[arg(long, value_name = "MODE,…", value_delimiter = ',')]
    modes: Vec<Mode>,
    /// How long a barrier, or a poll, may take.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) deadline: Duration,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page with tables and plots to this file, to be looked at in a browser.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) given: Given,
}

/// One combination of the stores and a variant, with the modes that are compared in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) posts: StoreKind,
    pub(crate) notifier: StoreKind,
    pub(crate) variant: Variant,
    /// Each once, in their order.
    pub(crate) modes: Vec<Mode>,
    /// How late the log of posts arrives; none if that is up to servers that are there already.
    pub(crate) lag: Option<Duration>,
}

/// What the lag is if nothing is said.
const LAG: Duration = Duration::from_millis(150);

impl PostNotification {
    /// What is to be run: one cell, or those of the matrix.
    ///
    /// # Errors
    /// [`Failure::Settings`] if they are several without `--matrix`, or a mode is none of the store's;
    /// [`Failure::NotBuilt`].
    pub(crate) fn cells(&self) -> Result<Vec<Cell>, Failure> {
        let posts = self.chosen("posts", &self.posts, &StoreKind::POSTS)?;
        let notifiers = self.chosen("notifier", &self.notifier, &StoreKind::NOTIFIERS)?;
        let variants = self.chosen("variant", &self.variant, &Variant::ALL)?;
        posts.iter().chain(&notifiers).try_for_each(|store| store.must_be_built())?;
        if self.lag.is_some() && posts.iter().all(|store| self.given.has(*store)) {
            let advice = "servers that are there already are as late as they are: leave --lag out";
            return Err(Failure::Settings(advice.to_owned()));
        }
        let mut cells = Vec::new();
        for &posts in &posts {
            for &notifier in &notifiers {
                let alternatives = notifiers.first() == Some(&notifier);
                let modes = self.modes(posts, alternatives)?;
                let lag = (!self.given.has(posts)).then(|| self.lag.unwrap_or(LAG));
                let cell = |&variant| Cell { posts, notifier, variant, modes: modes.clone(), lag };
                cells.extend(variants.iter().map(cell));
            }
        }
        Ok(cells)
    }

    /// How much later one round begins than the one before it.
    pub(crate) fn pace(&self) -> Duration {
        self.pace.unwrap_or(Duration::from_millis(if self.matrix { 20 } else { 10 }))
    }

    fn chosen<T: Copy + Ord>(&self, name: &str, given: &[T], all: &[T]) -> Result<Vec<T>, Failure> {
        let first = all.get(..1).unwrap_or_default();
        let mut chosen = match given {
            [] if self.matrix => all.to_vec(),
            [] => first.to_vec(),
            given => given.to_vec(),
        };
        let mut seen = Vec::new();
        chosen.retain(|one| {
            !seen.contains(one) && {
                seen.push(*one);
                true
            }
        });
        match chosen.len() > 1 && !self.matrix {
            true => Err(Failure::Settings(format!("several of --{name} make a matrix: add --matrix"))),
            false => Ok(chosen),
        }
    }

    fn modes(&self, posts: StoreKind, alternatives: bool) -> Result<Vec<Mode>, Failure> {
        let applies = |mode: &Mode| {
            let sleepless = *mode == Mode::Sleep && self.given.has(posts);
            mode.applies_to(posts) && !sleepless
        };
        let mut modes = match (self.modes.is_empty(), self.matrix) {
            (true, false) => Mode::USUAL.to_vec(),
            (true, true) => {
                let own = posts.own_mode().into_iter().chain([Mode::Poll, Mode::Sleep]).filter(applies);
                [Mode::Off, Mode::Barrier].into_iter().chain(own.filter(|_| alternatives)).collect()
            }
            (false, true) => self.modes.iter().copied().filter(applies).collect(),
            (false, false) => self.modes.clone(),
        };
        modes.sort_unstable();
        modes.dedup();
        match modes.iter().find(|mode| !applies(mode)) {
            Some(mode) => {
                Err(Failure::Settings(format!("posts in {posts} have no mode {mode} here: leave it out")))
            }
            None => Ok(modes),
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "posts in {}, notifier {}, {}", self.posts, self.notifier, self.variant)
    }
}

fn keeps_posts(name: &str) -> Result<StoreKind, String> {
    match StoreKind::from_str(name, false)? {
        StoreKind::Kafka => {
            Err("a log of messages keeps no posts by their key: choose another store".to_owned())
        }
        kind => Ok(kind),
    }
}

#[cfg(test)]
impl PostNotification {
    /// The settings that these arguments ask for.
    pub(crate) fn of<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        #[derive(clap::Parser)]
        #[command(no_binary_name = true)]
        struct Command {
            #[command(flatten)]
            settings: PostNotification,
        }
        <Command as clap::Parser>::try_parse_from(arguments).unwrap().settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(arguments: &str) -> Result<Vec<Cell>, Failure> {
        PostNotification::of(arguments.split_whitespace()).cells()
    }

    #[test]
    fn a_run_is_one_cell_with_the_usual_modes() {
        let (posts, variant) = (StoreKind::Memory, Variant::Insert);
        assert_eq!(
            cells("").unwrap(),
            [Cell { posts, notifier: posts, variant, modes: Mode::USUAL.to_vec(), lag: Some(LAG) }]
        );
    }

    #[test]
    fn a_matrix_is_every_combination_of_what_is_listed() {
        let all = cells("--matrix --posts memory --notifier memory --variant update,insert,update").unwrap();
        assert_eq!(
            all.iter().map(|cell| cell.variant).collect::<Vec<_>>(),
            [Variant::Update, Variant::Insert]
        );
        let modes = [Mode::Off, Mode::Barrier, Mode::Poll, Mode::Sleep];
        assert!(all.iter().all(|cell| cell.modes == modes), "{all:?}");
    }

    #[test]
    fn a_list_without_matrix_is_refused() {
        let refused = cells("--variant insert,update").unwrap_err();
        assert!(refused.to_string().contains("--matrix"), "{refused}");
    }

    #[test]
    fn a_mode_of_another_store_is_refused_alone_and_left_out_in_a_matrix() {
        let refused = cells("--modes off,remote-apply").unwrap_err();
        assert!(refused.to_string().contains("no mode remote-apply"), "{refused}");
        let all = cells("--matrix --modes off,remote-apply --posts memory --notifier memory").unwrap();
        assert!(all.iter().all(|cell| cell.modes == [Mode::Off]), "{all:?}");
    }

    #[test]
    #[cfg(all(feature = "redis", feature = "postgres"))]
    fn the_alternatives_are_compared_with_the_first_notifier() {
        let all = cells("--matrix --posts redis --notifier memory,redis --variant insert").unwrap();
        let [first, second] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(first.modes, [Mode::Off, Mode::Barrier, Mode::Poll, Mode::Sleep, Mode::Wait]);
        assert_eq!(second.modes, [Mode::Off, Mode::Barrier]);
    }

    #[test]
    #[cfg(feature = "redis")]
    fn servers_that_are_there_have_their_own_lag() {
        let given = "--posts redis --redis redis://a/,redis://b/";
        assert!(cells(given).unwrap().iter().all(|cell| cell.lag.is_none()));
        let refused = cells(&format!("{given} --lag 100ms")).unwrap_err();
        assert!(refused.to_string().contains("leave --lag out"), "{refused}");
        let refused = cells(&format!("{given} --modes off,sleep")).unwrap_err();
        assert!(refused.to_string().contains("no mode sleep"), "{refused}");
    }

    #[test]
    #[cfg(not(feature = "kafka"))]
    fn a_store_that_is_not_built_in_is_named_before_anything_starts() {
        let refused = cells("--matrix").unwrap_err();
        assert!(matches!(refused, Failure::NotBuilt { .. }), "{refused}");
    }
}
