//! A post, and what a notification says of it.

use std::fmt;

use rand::Rng;

/// A version of a post, or its deletion. A body begins with what it is, so that a reader can tell
/// without any help which post and which version it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) reference: Reference,
    /// None for the deletion.
    pub(crate) body: Option<Vec<u8>>,
}

/// What a notification refers to: this state of this post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) post: String,
    pub(crate) state: State,
    /// What the store's own session needs in order to see the write, where the mode reads in one.
    pub(crate) session: Option<String>,
}

/// The state that a post was brought into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Version(u64),
    Deleted,
}

impl Post {
    /// A post whose body has `payload` random bytes after its head.
    pub(crate) fn new(id: impl Into<String>, version: u64, payload: usize, rng: &mut impl Rng) -> Self {
        let mut post = Self::small(id, version);
        if let Some(body) = &mut post.body {
            body.push(b'\n');
            let head = body.len();
            body.resize(head + payload, 0);
            if let Some(payload) = body.get_mut(head..) {
                rng.fill_bytes(payload);
            }
        }
        post
    }

    /// A post with nothing but its head.
    pub(crate) fn small(id: impl Into<String>, version: u64) -> Self {
        let reference = Reference { post: id.into(), state: State::Version(version), session: None };
        Self { body: Some(reference.to_string().into_bytes()), reference }
    }

    /// The deletion of a post.
    pub(crate) fn deleted(id: impl Into<String>) -> Self {
        let reference = Reference { post: id.into(), state: State::Deleted, session: None };
        Self { reference, body: None }
    }

    pub(crate) fn id(&self) -> &str {
        &self.reference.post
    }
}

impl Reference {
    /// Reads the text back; `None` if it is none.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        let (post, state) = (words.next()?, words.next()?);
        let state = match state {
            "deleted" => State::Deleted,
            version => State::Version(version.parse().ok()?),
        };
        let session = words.next().map(str::to_owned);
        words.next().is_none().then(|| Self { post: post.to_owned(), state, session })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { post, state, session } = self;
        match state {
            State::Version(version) => write!(f, "{post} {version}")?,
            State::Deleted => write!(f, "{post} deleted")?,
        }
        session.as_ref().map_or(Ok(()), |session| write!(f, " {session}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_says_which_state_and_how_a_session_sees_it() {
        let session = Some("7.1".to_owned());
        for mut reference in [Post::small("p1", 2).reference, Post::deleted("p1").reference] {
            assert_eq!(Reference::parse(reference.to_string().as_bytes()), Some(reference.clone()));
            reference.session.clone_from(&session);
            assert_eq!(Reference::parse(reference.to_string().as_bytes()), Some(reference));
        }
        for text in ["p1", "p1 two", "p1 2 3 4", ""] {
            assert_eq!(Reference::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
