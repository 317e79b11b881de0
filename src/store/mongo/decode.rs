//! Documents from the server, each decoded by itself.
//!
//! The driver's own conversion takes nested keys such as `$oid` for extended JSON, and one document that it cannot
//! convert ends the whole query.

use mongodb::Cursor;
use mongodb::bson::{Bson, Document, RawDocument, Utf8Lossy};

/// The field that names the first field of a document that cannot be decoded. No document has it in the store, because
/// every read names the fields that it wants.
pub(super) const UNDECODABLE: &str = "postretryUndecodable";

/// Decodes a document. What cannot be decoded is kept as far as it can be read, and [`UNDECODABLE`] names it.
pub(super) fn decode(raw: &RawDocument) -> Document {
    Document::try_from(raw).unwrap_or_else(|_| decode_lossily(raw))
}

fn decode_lossily(raw: &RawDocument) -> Document {
    let mut document = Document::new();
    let mut undecodable = None;
    for element in raw.iter_elements() {
        // What follows cannot be found.
        let Ok(element) = element else {
            undecodable.get_or_insert_with(|| "_id".to_owned());
            break;
        };
        let name = element.key().as_str();
        let value = Bson::try_from(element).unwrap_or_else(|_| {
            undecodable.get_or_insert_with(|| name.to_owned());
            // No field that is read may have a value of this type.
            Bson::MinKey
        });
        document.insert(name, value);
    }
    if let Ok(Utf8Lossy(lossy)) = Utf8Lossy::<Document>::try_from(raw) {
        document = lossy;
    }
    document.insert(UNDECODABLE, undecodable.unwrap_or_else(|| "_id".to_owned()));
    document
}

/// Reads all documents of a query, and keeps of each what `read` makes of it.
pub(super) async fn read_all<T>(
    operation: impl IntoFuture<Output = mongodb::error::Result<Cursor<Document>>>,
    read: impl Fn(Document) -> T,
) -> mongodb::error::Result<Vec<T>> {
    read_some(operation, usize::MAX, read).await.map(|(all, _)| all)
}

/// The same, until the documents have this many bytes together. What is left of them is none if there may be more
/// documents.
pub(super) async fn read_some<T>(
    operation: impl IntoFuture<Output = mongodb::error::Result<Cursor<Document>>>,
    bytes: usize,
    read: impl Fn(Document) -> T,
) -> mongodb::error::Result<(Vec<T>, usize)> {
    read_encoded(operation, bytes, |raw| read(decode(raw))).await
}

/// The same with documents of which little is needed: `read` decodes that.
pub(super) async fn read_encoded<T>(
    operation: impl IntoFuture<Output = mongodb::error::Result<Cursor<Document>>>,
    bytes: usize,
    read: impl Fn(&RawDocument) -> T,
) -> mongodb::error::Result<(Vec<T>, usize)> {
    let mut cursor = operation.await?;
    let (mut some, mut left) = (Vec::new(), bytes);
    while left > 0 && cursor.advance().await? {
        let raw = cursor.current();
        left = left.saturating_sub(raw.as_bytes().len());
        some.push(read(raw));
    }
    Ok((some, left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::{RawDocumentBuf, doc};

    #[test]
    fn keys_that_look_like_extended_json_are_only_keys() {
        for value in [
            doc! { "$oid": "x" },
            doc! { "$date": "x" },
            doc! { "$date": { "$numberLong": "x" } },
            doc! { "$numberInt": 7 },
            doc! { "$binary": { "base64": "?", "subType": "00" } },
            doc! { "$code": 1, "$scope": 2 },
            doc! { "a": [{ "$regularExpression": { "pattern": ".*", "options": "" } }] },
        ] {
            let document = doc! { "_id": 1, "title": value };
            let raw = RawDocumentBuf::try_from(&document).unwrap();
            assert_eq!(decode(&raw), document);
        }
    }

    #[test]
    fn of_a_document_that_is_not_utf_8_the_field_is_named_and_the_rest_is_read() {
        let raw = RawDocumentBuf::try_from(&doc! { "_id": 1, "title": "QQQQ", "status": "failed" }).unwrap();
        let mut bytes = raw.into_bytes();
        let at = bytes.windows(4).position(|part| part == b"QQQQ").unwrap();
        bytes[at] = 0xFF;
        let raw = RawDocumentBuf::from_bytes(bytes).unwrap();
        let document = decode(&raw);
        assert_eq!(document.get_str(UNDECODABLE).unwrap(), "title");
        assert_eq!(document.get_str("title").unwrap(), "\u{FFFD}QQQ");
        assert_eq!((document.get_i32("_id").unwrap(), document.get_str("status").unwrap()), (1, "failed"));
    }
}
