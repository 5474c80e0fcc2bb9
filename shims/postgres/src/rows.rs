//! Joins the lineage that rows carry.

use antipode_lineage::{Lineage, LineageScope, StoreName};
use sqlx::postgres::{PgRow, PgValueRef};
use sqlx::{Column, Decode, Row, ValueRef};

use crate::server::Server;
use crate::stored::{LINEAGE_COLUMN, StoredLineage};

/// The rows of one statement, or of one transaction, on their way to the user.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Where the columns of the present result were described, and which of them hold lineage.
    columns: Option<(usize, Vec<usize>)>,
    /// The last lineage joined, as stored: rows written together carry the same.
    last: Vec<u8>,
    any: bool,
}

impl Rows {
    /// Whether any row passed.
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// A row passes.
    pub(crate) fn join(&mut self, row: &PgRow, scope: &LineageScope, store: StoreName, server: &Server) {
        self.any = true;
        let described = row.columns().as_ptr().addr();
        let known = self.columns.take().filter(|(at, _)| *at == described);
        let (_, columns) = self.columns.insert(known.unwrap_or_else(|| (described, lineage_columns(row))));
        for column in columns {
            let Ok(value) = row.try_get_raw(*column) else { continue };
            if value.is_null() {
                continue;
            }
            let bytes = value.as_bytes().unwrap_or_default();
            if !bytes.is_empty() && bytes == self.last {
                continue;
            }
            self.last.clear();
            self.last.extend_from_slice(bytes);
            scope.join(&read(value, store, server));
        }
    }

    /// A statement's result ends; the next may have other columns at the same place.
    pub(crate) fn end_result(&mut self) {
        self.columns = None;
    }
}

/// A join of tables can yield several.
fn lineage_columns(row: &PgRow) -> Vec<usize> {
    let columns = row.columns().iter().enumerate();
    columns.filter(|(_, column)| column.name() == LINEAGE_COLUMN).map(|(at, _)| at).collect()
}

fn read(value: PgValueRef<'_>, store: StoreName, server: &Server) -> Lineage {
    match StoredLineage::decode(value) {
        Ok(StoredLineage(lineage)) => lineage,
        Err(error) => {
            server.warn_unreadable(store, error.as_ref());
            Lineage::everything()
        }
    }
}
