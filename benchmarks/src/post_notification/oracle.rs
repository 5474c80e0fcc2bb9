//! What a reader saw, judged by nothing but the bytes that it read.

use crate::Failure;
use crate::posts::{Reference, State};

/// What one read of a post found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The state referred to, or a later version.
    Fresh,
    /// An earlier version.
    Stale,
    /// No post at all.
    Absent,
    /// A post that was deleted.
    Undead,
}

impl Sight {
    pub(crate) fn is_violation(self) -> bool {
        self != Self::Fresh
    }
}

/// Compares what was read with what the notification referred to.
///
/// # Errors
/// [`Failure::Garbled`] if it is another post, or none that this run wrote: then the run itself is
/// wrong.
pub(crate) fn judge(wanted: &Reference, read: Option<&[u8]>) -> Result<Sight, Failure> {
    let Some(body) = read else {
        return Ok(if wanted.state == State::Deleted { Sight::Fresh } else { Sight::Absent });
    };
    let head = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let garbled = || Failure::Garbled { what: "a post", found: String::from_utf8_lossy(head).into_owned() };
    let found = Reference::parse(head).filter(|found| found.post == wanted.post).ok_or_else(garbled)?;
    match (wanted.state, found.state) {
        (State::Deleted, State::Version(_)) => Ok(Sight::Undead),
        (State::Version(wanted), State::Version(found)) if found >= wanted => Ok(Sight::Fresh),
        (State::Version(_), State::Version(_)) => Ok(Sight::Stale),
        // No body says so.
        (_, State::Deleted) => Err(garbled()),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::posts::Post;

    fn judged(wanted: &Post, read: Option<&Post>) -> Sight {
        judge(&wanted.reference, read.and_then(|post| post.body.as_deref())).unwrap()
    }

    #[test]
    fn nothing_and_an_earlier_version_are_violations() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut version = |version| Post::new("p1", version, 100, &mut rng);
        let [first, second, third] = [1, 2, 3].map(&mut version);
        assert_eq!(judged(&second, None), Sight::Absent);
        assert_eq!(judged(&second, Some(&first)), Sight::Stale);
        assert_eq!(judged(&second, Some(&second)), Sight::Fresh);
        assert_eq!(judged(&second, Some(&third)), Sight::Fresh);
        assert!(Sight::Absent.is_violation() && Sight::Stale.is_violation() && !Sight::Fresh.is_violation());
    }

    #[test]
    fn a_post_found_after_its_deletion_is_a_violation() {
        let deletion = Post::deleted("p1");
        assert_eq!(judged(&deletion, None), Sight::Fresh);
        assert_eq!(judged(&deletion, Some(&Post::small("p1", 1))), Sight::Undead);
        assert!(Sight::Undead.is_violation());
    }

    #[test]
    fn another_post_is_an_error_not_a_pass() {
        for wanted in [Post::small("p1", 1), Post::deleted("p1")] {
            for read in ["p2 1\n", "p1\n", "", "p1 one\n", "p1 deleted"] {
                assert!(judge(&wanted.reference, Some(read.as_bytes())).is_err(), "{read:?}");
            }
        }
    }
}
