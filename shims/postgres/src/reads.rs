use antipode_lineage::LineageScope;
use sqlx::PgPool;

use crate::PostgresStore;
use crate::access::{Access, Kind};

/// The replicas, for statements that read.
///
/// `&PostgresReads` is a sqlx [`Executor`](sqlx::Executor). A statement goes to the server that the last
/// barrier in the scope proved fresh, else to the preferred replica, else to the primary. Rows join the
/// lineage that they carry, and every statement adds a *read witness*: a position at or after what it
/// can have seen, sampled beside the request.
///
/// On a standby a row shows an instant before the replayed position moves past it. So the witness is
/// the position after the replayed one if more has been received: it lies in the record that is being
/// applied, which any server that shows the row has applied as a whole. On a primary it is the flushed
/// position, which covers the rows of every writer with `synchronous_commit` at `local` or more.
#[derive(Debug, Clone)]
pub struct PostgresReads {
    store: PostgresStore,
    scope: Option<LineageScope>,
}

impl PostgresReads {
    pub(crate) fn new(store: PostgresStore) -> Self {
        Self { store, scope: None }
    }

    /// The same for the given scope instead of the current one.
    #[must_use]
    pub fn within(&self, scope: LineageScope) -> Self {
        Self { scope: Some(scope), ..self.clone() }
    }

    /// The pool that a statement would go to now.
    #[must_use]
    pub fn inner(&self) -> &PgPool {
        &self.store.route(self.scope().as_ref()).pool
    }

    pub(crate) fn access(&self) -> Access {
        let access = self.store.access(self.store.route(self.scope().as_ref()), Kind::Read);
        match &self.scope {
            Some(scope) => Access { recorder: access.recorder.within(scope.clone()), ..access },
            None => access,
        }
    }

    fn scope(&self) -> Option<LineageScope> {
        self.scope.clone().or_else(LineageScope::current)
    }
}
