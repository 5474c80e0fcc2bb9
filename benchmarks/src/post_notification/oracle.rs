//! What a reader saw, judged by nothing but the bytes that it read.

use crate::Failure;
use crate::posts::Reference;

/// What one read of a post found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The version referred to, or a later one.
    Fresh,
    /// An earlier version.
    Stale,
    /// No post at all.
    Absent,
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
    let Some(body) = read else { return Ok(Sight::Absent) };
    let head = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match Reference::parse(head) {
        Some(found) if found.post == wanted.post => {
            Ok(if found.version >= wanted.version { Sight::Fresh } else { Sight::Stale })
        }
        _ => Err(Failure::Garbled { what: "a post", found: String::from_utf8_lossy(head).into_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::posts::Post;

    #[test]
    fn the_version_read_decides() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut version = |version| Post::new("p1", version, 100, &mut rng);
        let [first, second, third] = [1, 2, 3].map(&mut version);
        let judge = |read: Option<&Post>| judge(&second.reference, read.map(|post| post.body.as_slice()));
        assert_eq!(judge(None).unwrap(), Sight::Absent);
        assert_eq!(judge(Some(&first)).unwrap(), Sight::Stale);
        assert_eq!(judge(Some(&second)).unwrap(), Sight::Fresh);
        assert_eq!(judge(Some(&third)).unwrap(), Sight::Fresh);
        assert!(Sight::Absent.is_violation() && Sight::Stale.is_violation() && !Sight::Fresh.is_violation());
    }

    #[test]
    fn another_post_is_an_error_not_a_pass() {
        let wanted = Reference { post: "p1".to_owned(), version: 1 };
        for read in ["p2 1\n", "p1\n", "", "p1 one\n"] {
            assert!(judge(&wanted, Some(read.as_bytes())).is_err(), "{read:?}");
        }
    }
}
