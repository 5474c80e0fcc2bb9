//! Projections that keep the lineage.

use mongodb::bson::{Bson, Document};

use crate::stored::LINEAGE_FIELD;

/// The projection that does not lose the lineage: one that names what it takes takes it as well, one
/// that names what it leaves out does not leave it out.
pub(crate) fn with_lineage(mut projection: Document) -> Document {
    projection.remove(LINEAGE_FIELD);
    if kind(&projection) == Kind::Inclusion {
        projection.insert(LINEAGE_FIELD, 1);
    }
    projection
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inclusion,
    Exclusion,
}

/// As the server decides it: by the first field other than `_id` that says so.
fn kind(projection: &Document) -> Kind {
    let named = projection.iter().filter(|(name, _)| *name != "_id").find_map(|(_, value)| of(value));
    let id = || projection.get("_id").and_then(of);
    named.or_else(id).unwrap_or(Kind::Exclusion)
}

/// What a field's value says; `None` if it says nothing.
fn of(value: &Bson) -> Option<Kind> {
    let included = match value {
        Bson::Boolean(included) => *included,
        Bson::Int32(number) => *number != 0,
        Bson::Int64(number) => *number != 0,
        Bson::Double(number) => *number != 0.0,
        Bson::Document(inner) => match inner.keys().next().map(String::as_str) {
            // They add to, or cut, what another field or nothing has chosen.
            Some("$slice" | "$meta") => return None,
            Some(operator) if operator.starts_with('$') => true,
            _ => return inner.values().find_map(of),
        },
        // Another value computes a field, which only inclusions do.
        _ => true,
    };
    Some(if included { Kind::Inclusion } else { Kind::Exclusion })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn inclusions_include_it() {
        for projection in [
            doc! { "a": 1 },
            doc! { "_id": 0, "a": true },
            doc! { "_id": 1 },
            doc! { "a": { "b": 1.0 } },
            doc! { "a": { "$elemMatch": { "b": 0 } } },
            doc! { "a.$": 1_i64 },
            doc! { "a": "$b" },
            doc! { "a": { "$slice": 1 }, "b": 1 },
        ] {
            let mut expected = projection.clone();
            expected.insert(LINEAGE_FIELD, 1);
            assert_eq!(with_lineage(projection), expected);
        }
    }

    #[test]
    fn exclusions_do_not_exclude_it() {
        for projection in [
            doc! {},
            doc! { "a": 0 },
            doc! { "_id": 0 },
            doc! { "_id": 1, "a": false },
            doc! { "a": { "b": 0 } },
            doc! { "a": { "$slice": 1 } },
            doc! { "score": { "$meta": "textScore" } },
        ] {
            assert_eq!(with_lineage(projection.clone()), projection);
        }
        assert_eq!(with_lineage(doc! { "a": 0, LINEAGE_FIELD: 0 }), doc! { "a": 0 });
    }
}
