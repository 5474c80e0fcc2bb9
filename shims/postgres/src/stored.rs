//! The lineage stored beside a row.

use std::collections::BTreeMap;
use std::fmt::Write;

use antipode_lineage::{Epoch, Lineage, LineageScope, StoreName, WriteId};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef};
use sqlx::types::Json;
use sqlx::{Decode, Encode, Postgres, Type};

/// The name of the column that holds a row's lineage.
pub const LINEAGE_COLUMN: &str = "antipode_lineage";

/// A lineage as the value of an `antipode_lineage` column: a `jsonb` object with one field per entry,
/// `NULL` if it is empty.
///
/// Transactions of the shim fill the column by themselves. A single statement has to bind it:
///
/// ```no_run
/// # use antipode_postgres::{PostgresShim, sqlx};
/// # async fn example(posts: &PostgresShim) -> Result<(), Box<dyn std::error::Error>> {
/// sqlx::query("INSERT INTO posts (body, antipode_lineage) VALUES ($1, $2)")
///     .bind("Hello")
///     .bind(posts.lineage().await?)
///     .execute(posts)
///     .await?;
/// # Ok(()) }
/// ```
///
/// In an `INSERT … ON CONFLICT DO UPDATE`, also write
/// `antipode_lineage = excluded.antipode_lineage`: it is joined to what the row has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredLineage(pub Lineage);

impl StoredLineage {
    fn fields(&self) -> BTreeMap<String, String> {
        self.0.to_fields().collect()
    }
}

impl From<StoredLineage> for Lineage {
    fn from(stored: StoredLineage) -> Self {
        stored.0
    }
}

impl Type<Postgres> for StoredLineage {
    fn type_info() -> PgTypeInfo {
        Json::<()>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        Json::<()>::compatible(ty)
    }
}

impl Encode<'_, Postgres> for StoredLineage {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let fields = self.fields();
        if fields.is_empty() {
            return Ok(IsNull::Yes);
        }
        Json(fields).encode_by_ref(buffer)
    }
}

impl<'r> Decode<'r, Postgres> for StoredLineage {
    /// Errors for what is no lineage of a known form.
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let Json(fields) = Json::<BTreeMap<String, String>>::decode(value)?;
        Ok(Self(Lineage::from_fields(fields)?))
    }
}

/// The value of the setting `antipode.lineage`. Needs no quoting in an SQL string: names, digits and
/// the marks of JSON.
pub(crate) fn setting(lineage: &Lineage) -> String {
    let mut text = String::new();
    for (field, value) in lineage.to_fields() {
        let separator = if text.is_empty() { '{' } else { ',' };
        // Writing to a String does not fail.
        let _ = write!(text, "{separator}\"{field}\":\"{value}\"");
    }
    if !text.is_empty() {
        text.push('}');
    }
    text
}

/// What a write to `store` stores beside the value: all that the scope depends on.
///
/// Captures under way in the same store are not waited for. They stand for earlier places in the log
/// that the value itself is about to be in, and a reader of the value depends on its place anyway.
/// `here` is the history that the store was last seen in.
pub(crate) async fn beside(scope: &LineageScope, store: StoreName, here: Option<Epoch>) -> Lineage {
    let covered =
        |write: &WriteId| write.is_unplaced() && (write.epoch == Epoch::UNKNOWN || Some(write.epoch) == here);
    let own = |lineage: Lineage| without(&lineage, covered, store);
    let lineage = own(scope.lineage());
    if lineage.writes().iter().any(|write| write.is_unplaced()) {
        return own(scope.settled().await);
    }
    lineage
}

/// The lineage without such writes of `store`.
pub(crate) fn without(lineage: &Lineage, such: impl Fn(&WriteId) -> bool, store: StoreName) -> Lineage {
    if !lineage.of_store(store).iter().any(&such) {
        return lineage.clone();
    }
    let mut kept = lineage.clone();
    kept.retain(|write| write.store != store || !such(write));
    kept
}

#[cfg(test)]
mod tests {
    use antipode_lineage::{Position, Shard};

    use super::*;

    fn write(store: &str, term: u64) -> WriteId {
        let epoch = Epoch { history: 7, term };
        WriteId { store: store.parse().unwrap(), shard: Shard::ONLY, epoch, position: Position(255) }
    }

    #[test]
    fn the_setting_is_json_without_quotes_or_backslashes() {
        let mut lineage = Lineage::from_iter([write("cache", 1), write("posts", 2)]);
        lineage.mark_weak();
        assert_eq!(
            setting(&lineage),
            r#"{"cache/0/7/1":"00000000000000ff","posts/0/7/2":"00000000000000ff","!weak":"0000000000000001"}"#
        );
        assert_eq!(setting(&Lineage::new()), "");
        assert_eq!(setting(&Lineage::everything()), r#"{"!everything":"0000000000000001"}"#);
    }

    #[tokio::test]
    async fn only_captures_of_the_same_store_are_left_out() {
        let posts = StoreName::parse("posts").unwrap();
        let scope = LineageScope::new();
        scope.add(write("posts", 1));
        scope.add(WriteId::unplaced(posts));
        scope.mark_weak();
        let branch = format!("posts/refund/{:032x}", 7).parse().unwrap();
        scope.add_branch(branch);
        let stored = beside(&scope, posts, None).await;
        assert_eq!(stored.writes(), [write("posts", 1)]);
        assert!(stored.is_weak() && stored.branches() == [branch], "they are no writes");
        let of = |term| WriteId::unplaced_in(posts, Shard::ONLY, Epoch { history: 7, term });
        scope.add(of(2));
        assert!(beside(&scope, posts, Some(of(2).epoch)).await.writes() == [write("posts", 1)]);
        assert!(beside(&scope, posts, Some(of(3).epoch)).await.covers_write(&of(2)), "it may be lost");
        let cache = StoreName::parse("cache").unwrap();
        scope.add(WriteId::unplaced(cache));
        assert!(beside(&scope, posts, None).await.covers_write(&WriteId::unplaced(cache)));
        scope.join(&Lineage::everything());
        assert!(beside(&scope, posts, None).await.has_overflowed());
    }
}
