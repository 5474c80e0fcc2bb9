/// What happens to a record whose dependencies are not visible by its deadline, or never will be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OnLate {
    /// [`recv`](crate::Gate::recv) fails with [`Error::Late`](crate::Error::Late) (fail-closed). The
    /// record stays the first of its key and is waited for anew: nothing is skipped.
    #[default]
    Fail,
    /// It is handed over, [marked stale](crate::Delivery::is_stale) (fail-open): the handler's reads may
    /// miss what the record refers to.
    Deliver,
    /// It goes to this topic, as it is, with the reason in the header
    /// [`DEAD_LETTER_HEADER`](crate::DEAD_LETTER_HEADER), and counts as handled once that topic has it.
    DeadLetter(String),
}

/// The order of records without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Keyless {
    /// Those of one partition are kept in order, as if they had one key.
    #[default]
    InOrder,
    /// Each stands for itself, and passes others that wait.
    Independent,
}
