//! Joining the lineage into what an update leaves of a document.

use antipode_lineage::Lineage;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::UpdateModifications;

use crate::projection;
use crate::stored::{LINEAGE_FIELD, paths};

/// The update that also joins the lineage into the stored one.
///
/// What is no update at all stays as it is: the driver or the server says what is wrong with it.
pub(crate) fn joining(update: UpdateModifications, lineage: &Lineage) -> UpdateModifications {
    match update {
        UpdateModifications::Document(update) => UpdateModifications::Document(operators(update, lineage)),
        UpdateModifications::Pipeline(stages) => UpdateModifications::Pipeline(pipeline(stages, lineage)),
        // A form that this version does not know.
        other => other,
    }
}

fn operators(mut update: Document, lineage: &Lineage) -> Document {
    const MAX: &str = "$max";
    let has_operators = update.keys().next().is_some_and(|operator| operator.starts_with('$'));
    let mut joined = match update.get(MAX) {
        None => Document::new(),
        Some(Bson::Document(maxima)) => maxima.clone(),
        Some(_) => return update,
    };
    if has_operators && *lineage != Lineage::new() {
        joined.extend(paths(lineage).map(|(path, position)| (path, Bson::String(position))));
        update.insert(MAX, joined);
    }
    update
}

fn pipeline(stages: Vec<Document>, lineage: &Lineage) -> Vec<Document> {
    if stages.is_empty() {
        return stages;
    }
    let mut stages: Vec<Document> = stages.into_iter().map(keeping).collect();
    let joined: Document = paths(lineage)
        .map(|(path, position)| {
            let held = format!("${path}");
            (path, Bson::from(doc! { "$max": [held, position] }))
        })
        .collect();
    if !joined.is_empty() {
        stages.push(doc! { "$set": joined });
    }
    stages
}

/// The stage that leaves the lineage in the document whatever else it takes away: what it leaves of the
/// old value depends on what that depended on.
fn keeping(stage: Document) -> Document {
    let root = |new: Bson| doc! { "$mergeObjects": [new, { LINEAGE_FIELD: format!("${LINEAGE_FIELD}") }] };
    let kept = |(name, value): (String, Bson)| {
        let value = match (name.as_str(), value) {
            ("$replaceWith", new) => root(new).into(),
            ("$replaceRoot", Bson::Document(mut stage)) => {
                if let Some(new) = stage.remove("newRoot") {
                    stage.insert("newRoot", root(new));
                }
                stage.into()
            }
            ("$project", Bson::Document(fields)) => projection::with_lineage(fields).into(),
            (_, value) => value,
        };
        (name, value)
    };
    stage.into_iter().map(kept).collect()
}

#[cfg(test)]
mod tests {
    use antipode_lineage::{StoreName, WriteId};

    use super::*;

    const PATH: &str = "_antipode.cache/0/0/0";
    const POSITION: &str = "ffffffffffffffff";

    fn joined(update: impl Into<UpdateModifications>) -> UpdateModifications {
        joining(update.into(), &WriteId::unplaced(StoreName::parse("cache").unwrap()).into())
    }

    fn document(update: Document) -> Document {
        match joined(update) {
            UpdateModifications::Document(update) => update,
            other => panic!("{other:?}"),
        }
    }

    fn stages(update: Vec<Document>) -> Vec<Document> {
        match joined(update) {
            UpdateModifications::Pipeline(stages) => stages,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn operators_gain_a_maximum_beside_those_of_the_user() {
        let set = document(doc! { "$set": { "a": 1 } });
        assert_eq!(set, doc! { "$set": { "a": 1 }, "$max": { PATH: POSITION } });
        let max = document(doc! { "$max": { "a": 1 } });
        assert_eq!(max, doc! { "$max": { "a": 1, PATH: POSITION } });
    }

    #[test]
    fn what_the_driver_or_the_server_refuses_is_left_to_them() {
        for wrong in [doc! {}, doc! { "a": 1 }, doc! { "$max": 1 }] {
            assert_eq!(document(wrong.clone()), wrong);
        }
        assert!(stages(vec![]).is_empty());
    }

    #[test]
    fn a_pipeline_ends_with_the_maximum_and_loses_nothing_on_the_way() {
        let last = doc! { "$set": { PATH: { "$max": [format!("${PATH}"), POSITION] } } };
        let kept = doc! { "$mergeObjects": ["$new", { "_antipode": "$_antipode" }] };
        let stages = stages(vec![
            doc! { "$set": { "a": 1 } },
            doc! { "$replaceWith": "$new" },
            doc! { "$replaceRoot": { "newRoot": "$new" } },
            doc! { "$project": { "a": 1 } },
            doc! { "$unset": "b" },
        ]);
        assert_eq!(
            stages,
            [
                doc! { "$set": { "a": 1 } },
                doc! { "$replaceWith": kept.clone() },
                doc! { "$replaceRoot": { "newRoot": kept } },
                doc! { "$project": { "a": 1, "_antipode": 1 } },
                doc! { "$unset": "b" },
                last,
            ]
        );
    }

    #[test]
    fn nothing_is_joined_of_nothing() {
        let update = doc! { "$set": { "a": 1 } };
        let UpdateModifications::Document(same) = joining(update.clone().into(), &Lineage::new()) else {
            panic!("another form");
        };
        assert_eq!(same, update);
    }
}
