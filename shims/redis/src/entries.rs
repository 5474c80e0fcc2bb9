//! Lineage in stream entries.
//!
//! An entry never changes, so it carries the lineage of its writer itself, in the field
//! [`LINEAGE_FIELD`], in the same text as on the wire.

use antipode_lineage::{Lineage, LineageCodec, StoreName, WireError};
use redis::streams::StreamId;
use redis::{Cmd, Value};

use crate::error::EntryLineageError;

/// The field of a stream entry that holds its writer's lineage. It stays visible to readers.
pub const LINEAGE_FIELD: &str = "antipode";

/// The lineage that the writer of an entry gave it; `None` if it was written without.
///
/// The entry's own place is not in it: nobody knew it then. See
/// [`RedisShim::entry_lineage`](crate::RedisShim::entry_lineage) for both together.
#[must_use]
pub fn stream_lineage(entry: &StreamId) -> Option<Result<Lineage, EntryLineageError>> {
    let value = entry.map.get(LINEAGE_FIELD)?;
    let text: &[u8] = match value {
        Value::BulkString(text) => text,
        _ => b"",
    };
    let failed = |source| EntryLineageError { id: entry.id.clone(), source };
    Some(LineageCodec::plain().decode(text).map_err(failed))
}

/// `XADD` with the lineage as a last field; as it is, if it will be refused anyway.
///
/// `XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value …`
pub(crate) fn with_lineage(command: &Cmd, arguments: &[&[u8]], lineage: &Lineage) -> Cmd {
    let mut command = command.clone();
    let is = |at: usize, word: &str| {
        arguments.get(at).is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
    };
    let mut at = 2;
    loop {
        at += if is(at, "NOMKSTREAM") {
            1
        } else if is(at, "MAXLEN") || is(at, "MINID") {
            if is(at + 1, "=") || is(at + 1, "~") { 3 } else { 2 }
        } else if is(at, "LIMIT") {
            2
        } else {
            break;
        };
    }
    let fields = arguments.len().saturating_sub(at + 1);
    if fields >= 2 && fields.is_multiple_of(2) && *lineage != Lineage::new() {
        command.arg(LINEAGE_FIELD).arg(LineageCodec::plain().encode(lineage));
    }
    command
}

/// The joined lineage of all entries in a reply, whichever command's it is: an entry is an id with a
/// list of fields and values. What cannot be read stands for everything.
pub(crate) fn lineage(store: StoreName, reply: &Value) -> Lineage {
    let mut lineage = Lineage::new();
    collect(store, reply, &mut lineage);
    lineage
}

fn collect(store: StoreName, reply: &Value, into: &mut Lineage) {
    match reply {
        Value::Array(items) => match items.as_slice() {
            [Value::BulkString(_), Value::Array(fields)] if is_flat(fields) => {
                // The shim's field is the last: an earlier one of this name is the user's.
                let mut pairs = fields.as_chunks().0.iter().rev();
                if let Some([_, value]) = pairs.find(|[field, _]| is_lineage_field(field)) {
                    into.join(&read(value).unwrap_or_else(|error| {
                        tracing::warn!(%store, %error, "a stream entry's lineage is taken as everything");
                        Lineage::everything()
                    }));
                }
            }
            items => items.iter().for_each(|item| collect(store, item, into)),
        },
        Value::Map(pairs) => pairs.iter().for_each(|(_, item)| collect(store, item, into)),
        _ => {}
    }
}

fn is_flat(fields: &[Value]) -> bool {
    fields.iter().all(|field| matches!(field, Value::BulkString(_)))
}

fn is_lineage_field(field: &Value) -> bool {
    matches!(field, Value::BulkString(name) if name == LINEAGE_FIELD.as_bytes())
}

fn read(value: &Value) -> Result<Lineage, WireError> {
    match value {
        Value::BulkString(text) => LineageCodec::plain().decode(text),
        _ => Err(WireError::Alphabet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use antipode_lineage::WriteId;

    fn sent(command: &str) -> usize {
        let mut xadd = Cmd::new();
        xadd.arg(command.split(' ').collect::<Vec<_>>());
        let arguments: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let lineage = WriteId::unplaced("posts".parse().unwrap()).into();
        with_lineage(&xadd, &arguments, &lineage).args_iter().len() - arguments.len()
    }

    #[test]
    fn only_an_entry_with_fields_gets_another() {
        for whole in
            ["XADD s * a 1", "XADD s NOMKSTREAM maxlen ~ 9 LIMIT 2 1-1 a 1 b 2", "XADD s MINID 5 * a 1"]
        {
            assert_eq!(sent(whole), 2, "{whole}");
        }
        for refused in ["XADD s *", "XADD s * a", "XADD s MAXLEN 10 *", "XADD s MAXLEN = 10 * a", "XADD"] {
            assert_eq!(sent(refused), 0, "{refused}");
        }
    }

    #[test]
    fn entries_are_found_in_any_reply() {
        let store: StoreName = "posts".parse().unwrap();
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let written = Lineage::from(WriteId::unplaced(store));
        let entry = |text: &str| {
            let fields = ["antipode", "mine", "antipode", text].map(bulk);
            Value::Array(vec![bulk("1-1"), Value::Array(fields.to_vec())])
        };
        let text = LineageCodec::plain().encode(&written);
        let range = Value::Array(vec![entry(&text)]);
        let read = Value::Map(vec![(bulk("stream"), range.clone())]);
        let claimed = Value::Array(vec![bulk("0-0"), range.clone(), Value::Array(Vec::new())]);
        for reply in [&range, &read, &claimed] {
            assert_eq!(lineage(store, reply), written);
        }
        assert_eq!(lineage(store, &Value::Array(vec![entry("junk")])), Lineage::everything());
        assert_eq!(lineage(store, &Value::Array(vec![bulk("1-1"), bulk("2-1")])), Lineage::new());
    }
}
