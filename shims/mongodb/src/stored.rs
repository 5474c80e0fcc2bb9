//! The lineage stored in a document.

use antipode_lineage::{Epoch, Lineage, LineageScope, WriteId};
use mongodb::bson::raw::{CString, RawBsonRef, RawDocument, RawDocumentBuf};
use mongodb::error::Result;

/// The name of the field that holds a document's lineage: a sub-document with one field per entry, in
/// the form of [`Lineage::to_fields`], with `:` for the dots that a store's name may have.
pub const LINEAGE_FIELD: &str = "_antipode";

/// The fields of the sub-document. In a path, a dot would lead into another one.
pub(crate) fn fields(lineage: &Lineage) -> impl Iterator<Item = (String, String)> + '_ {
    lineage.to_fields().map(|(field, position)| (field.replace('.', ":"), position))
}

/// The same as paths from the document's root, for an update that joins them. The server cannot bound how
/// many branches come together in a document that is updated again and again, so these are forgotten.
pub(crate) fn paths(lineage: &Lineage) -> impl Iterator<Item = (String, String)> {
    let mut lineage = lineage.clone();
    if !lineage.branches().is_empty() {
        lineage.forget_branches();
    }
    let fields: Vec<_> = fields(&lineage).collect();
    fields.into_iter().map(|(field, position)| (format!("{LINEAGE_FIELD}.{field}"), position))
}

/// The document with this lineage instead of the one it may have.
pub(crate) fn attach(document: &RawDocument, lineage: &Lineage) -> Result<RawDocumentBuf> {
    let mut attached = detach(document)?;
    if *lineage != Lineage::new() {
        let mut stored = RawDocumentBuf::new();
        for (field, position) in fields(lineage) {
            stored.append(CString::try_from(field)?, position.as_str());
        }
        attached.append(CString::try_from(LINEAGE_FIELD.to_owned())?, &stored);
    }
    Ok(attached)
}

/// The document without its lineage, as readers of their own types expect it.
pub(crate) fn detach(document: &RawDocument) -> Result<RawDocumentBuf> {
    if document.get(LINEAGE_FIELD)?.is_none() {
        return Ok(document.to_owned());
    }
    let mut detached = RawDocumentBuf::new();
    for element in document.iter() {
        let (name, value) = element?;
        if name.as_str() != LINEAGE_FIELD {
            detached.append(name, value);
        }
    }
    Ok(detached)
}

/// The lineage in a document. One that cannot be read stands for everything.
pub(crate) fn lineage_of(document: &RawDocument) -> Lineage {
    match document.get(LINEAGE_FIELD) {
        Ok(None) => Lineage::new(),
        Ok(Some(RawBsonRef::Document(stored))) => parse(stored).unwrap_or_else(Lineage::everything),
        Ok(Some(_)) | Err(_) => Lineage::everything(),
    }
}

/// What a write stores beside the value: all that the scope depends on.
///
/// Operations in the same store whose places are not known yet are not waited for. They stand for
/// earlier places in the log that the value itself is about to be in, and a reader of the value depends
/// on its place anyway. `here` is what would stand for the write itself.
pub(crate) async fn beside(scope: &LineageScope, here: WriteId) -> Lineage {
    let lineage = without(&scope.lineage(), here);
    if lineage.writes().iter().any(WriteId::is_unplaced) {
        return without(&scope.settled().await, here);
    }
    lineage
}

fn without(lineage: &Lineage, here: WriteId) -> Lineage {
    let covered = |write: &WriteId| {
        let of_this_history = write.epoch == Epoch::UNKNOWN || write.epoch == here.epoch;
        write.store == here.store && write.is_unplaced() && of_this_history
    };
    if !lineage.writes().iter().any(covered) {
        return lineage.clone();
    }
    let mut kept = lineage.clone();
    kept.retain(|write| !covered(write));
    kept
}

fn parse(stored: &RawDocument) -> Option<Lineage> {
    let mut fields = Vec::new();
    for element in stored.iter() {
        let (field, position) = element.ok()?;
        fields.push((field.as_str().replace(':', "."), position.as_str()?));
    }
    Lineage::from_fields(fields).ok()
}

#[cfg(test)]
mod tests {
    use antipode_lineage::{Position, Shard, StoreName};
    use mongodb::bson::rawdoc;

    use super::*;

    fn sample() -> Lineage {
        let epoch = Epoch { history: 7, term: 2 };
        let write = |store: &str| WriteId {
            store: store.parse().unwrap(),
            shard: Shard::ONLY,
            epoch,
            position: Position(255),
        };
        let mut lineage = Lineage::from_iter([write("posts.eu"), write("cache")]);
        lineage.mark_weak();
        lineage.add_branch(format!("posts.eu/send.mail/{:032x}", 7).parse().unwrap());
        lineage
    }

    #[test]
    fn what_is_attached_is_read_back_and_taken_off() {
        let plain = rawdoc! { "_id": 1, "a": { "b": 2 } };
        let attached = attach(&plain, &sample()).unwrap();
        assert_eq!(lineage_of(&attached), sample());
        assert_eq!(detach(&attached).unwrap(), plain);
        let again = attach(&attached, &Lineage::everything()).unwrap();
        assert_eq!(lineage_of(&again), Lineage::everything(), "it is replaced, not repeated");
        assert_eq!(detach(&again).unwrap(), plain);
        assert_eq!(attach(&attached, &Lineage::new()).unwrap(), plain, "nothing is stored of nothing");
    }

    #[test]
    fn no_path_leads_into_a_field_of_a_field() {
        let paths: Vec<_> = paths(&sample()).map(|(path, _)| path).collect();
        let entries = ["_antipode.cache/0/7/2", "_antipode.posts:eu/0/7/2"];
        assert_eq!(paths, [entries.as_slice(), &["_antipode.!branches", "_antipode.!weak"]].concat());
    }

    #[test]
    fn what_cannot_be_read_stands_for_everything() {
        for unreadable in [
            rawdoc! { "_antipode": "text" },
            rawdoc! { "_antipode": { "posts/0/7/2": 255 } },
            rawdoc! { "_antipode": { "posts": "00000000000000ff" } },
            rawdoc! { "_antipode": { "posts/0/7/2": { "eu/0/7/2": "00000000000000ff" } } },
        ] {
            assert!(lineage_of(&unreadable).has_overflowed(), "{unreadable:?}");
        }
        assert_eq!(lineage_of(&rawdoc! { "a": 1 }), Lineage::new());
    }

    #[tokio::test]
    async fn only_unknown_places_of_the_same_store_are_left_out() {
        let posts = StoreName::parse("posts").unwrap();
        let of = |term| WriteId::unplaced_in(posts, Shard::ONLY, Epoch { history: 7, term });
        let scope = LineageScope::new();
        scope.join(&sample());
        for covered in [WriteId::unplaced(posts), of(2)] {
            scope.add(covered);
        }
        assert_eq!(beside(&scope, of(2)).await, sample());
        assert!(beside(&scope, of(3)).await.covers_write(&of(2)), "an election may have cut it off");
        let cache = WriteId::unplaced(StoreName::parse("cache").unwrap());
        scope.add(cache);
        assert!(beside(&scope, of(2)).await.covers_write(&cache));
        scope.join(&Lineage::everything());
        assert!(beside(&scope, of(2)).await.has_overflowed());
    }
}
