//! Ids as people write them, and as MongoDB stores them.

use std::cmp::Ordering;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Bson, Document, RawDocumentBuf, Uuid, doc};
use serde_json::{Map, Value, json};

use super::document::{DATES, number_from};
use super::place::Place;
use crate::post::PostId;

/// The id of a post: hex digits for an `ObjectId`, a string or an integer as it is, a UUID with hyphens, anything
/// else in relaxed extended JSON.
pub(super) fn id_of(value: &Bson) -> PostId {
    PostId::new(text_of(value), key_of(value))
}

/// The id of a delivery: it is written as its document is, and no other delivery has the same key.
pub(super) fn delivery_id(value: &Bson, place: &Place) -> PostId {
    match place {
        Place::Root => id_of(value),
        // No key of a document begins with `@`.
        Place::Entry(entry) => PostId::new(text_of(value), format!("@{entry}@{}", key_of(value))).of_delivery(),
    }
}

/// The `_id` of a delivery's document, and where its fields are.
pub(super) fn delivery_of(id: &PostId) -> (Bson, Place) {
    match id.key().strip_prefix('@').and_then(|rest| rest.split_once('@')) {
        Some((entry, key)) => (value_of(key), Place::Entry(entry.to_owned())),
        None => (value_of(id.key()), Place::Root),
    }
}

/// The longest id in bytes of BSON. A query can have an id in each of its branches, and one request many ids; the server
/// refuses a request that is too large.
const MAX_ID: usize = 1_024;

/// How much of a longer id is shown, in characters.
const SHOWN: usize = 32;

/// The bytes of a document before its only value, whose name is empty, and after it.
const BEFORE_VALUE: usize = 6;
const AFTER_VALUE: usize = 1;

/// The id of a post that no query can ask for: the key finds nothing.
pub(super) fn unaskable_id(value: &Bson) -> PostId {
    PostId::new(if is_short(value) { text_of(value) } else { beginning_of(value) }, "")
}

/// Why no query can ask for this value as an id.
pub(super) fn problem_of(value: &Bson) -> String {
    if is_short(value) { "a query cannot look it up".to_owned() } else { format!("it is longer than {MAX_ID} bytes") }
}

/// The longest key of a story. Nobody names a story like that, and a query has a limited size.
const MAX_STORY_KEY: usize = 2_000;

/// The lossless form of a value, from which [`value_of`] makes the same value again: its BSON in hexadecimal. In extended
/// JSON some documents would become other values. Empty if the value has no BSON.
pub(super) fn key_of(value: &Bson) -> String {
    hex(&raw_of(value).unwrap_or_default())
}

/// The BSON of a document that has only this value; none if there is none.
fn raw_of(value: &Bson) -> Option<Vec<u8>> {
    RawDocumentBuf::try_from(&doc! { "": value.clone() }).ok().map(RawDocumentBuf::into_bytes)
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// Whether a value is short enough for the id of a post.
pub(super) fn is_short(value: &Bson) -> bool {
    raw_of(value).is_some_and(|raw| raw.len() <= MAX_ID + BEFORE_VALUE + AFTER_VALUE)
}

/// The value of a key. Of what is no key: a list, which no `_id` can be.
pub(super) fn value_of(key: &str) -> Bson {
    let read = || {
        let raw = RawDocumentBuf::from_bytes(bytes_in(key)?).ok()?;
        Document::try_from(&raw).ok()?.remove("")
    };
    read().unwrap_or_else(|| Bson::Array(Vec::new()))
}

fn bytes_in(key: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = key.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let byte = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}

/// The key of a story, if there can be one with this `_id`.
pub(super) fn story_key(value: &Bson) -> Option<String> {
    can_be_id(value).then(|| key_of(value)).filter(|key| key.len() <= MAX_STORY_KEY)
}

fn text_of(value: &Bson) -> String {
    match value {
        Bson::ObjectId(id) => id.to_hex(),
        Bson::String(text) => text.clone(),
        Bson::Int32(number) => number.to_string(),
        Bson::Int64(number) => number.to_string(),
        Bson::Binary(binary) if binary.subtype == BinarySubtype::Uuid => {
            binary.to_uuid().map_or_else(|_| relaxed(value), |uuid| uuid.to_string())
        }
        other => relaxed(other),
    }
}

/// Whether the id of a document is longer than that, as an expression.
pub(super) fn has_long_id() -> Document {
    // The value has a name of one character here.
    let longest = i64::try_from(MAX_ID + BEFORE_VALUE + AFTER_VALUE + 1).unwrap_or(i64::MAX);
    doc! { "$gt": [{ "$bsonSize": { "i": "$_id" } }, longest] }
}

/// How a value begins that is too long to be shown: a string by its characters, anything else by its BSON.
fn beginning_of(value: &Bson) -> String {
    let beginning: String = match value {
        Bson::String(text) => text.chars().take(SHOWN).collect(),
        other => {
            let raw = raw_of(other).unwrap_or_default();
            hex(&raw.into_iter().skip(BEFORE_VALUE).take(SHOWN / 2).collect::<Vec<u8>>())
        }
    };
    format!("{beginning}…")
}

fn relaxed(value: &Bson) -> String {
    json_of(value).to_string()
}

/// A value in relaxed extended JSON. Of all dates that it cannot write as a text, the driver would write the same.
fn json_of(value: &Bson) -> Value {
    match value {
        Bson::DateTime(date) if date.timestamp_millis() > *DATES.end() => {
            json!({ "$date": { "$numberLong": date.timestamp_millis().to_string() } })
        }
        Bson::Document(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), json_of(value))).collect::<Map<_, _>>().into()
        }
        Bson::Array(values) => values.iter().map(json_of).collect::<Vec<_>>().into(),
        other => other.clone().into_relaxed_extjson(),
    }
}

/// Whether a query may ask for this value as an id. Others it would take for operators, or could not hold.
pub(super) fn can_be_id(value: &Bson) -> bool {
    let is_value = match value {
        Bson::RegularExpression(_) | Bson::Undefined | Bson::Array(_) => false,
        Bson::Document(fields) => fields.keys().all(|name| !name.starts_with('$')),
        _ => true,
    };
    is_value && is_short(value)
}

/// Matches the document with this `_id` and no other. `$eq` never takes a value for an operator.
pub(super) fn with_id(id: Bson) -> Document {
    doc! { "_id": { "$eq": id } }
}

/// The index by which [`with_id`] finds its document. Without this hint the server also tries the indexes of the other
/// fields of a condition, for each write anew.
pub(super) fn id_index() -> Document {
    doc! { "_id": 1 }
}

/// Whether the server takes two values for one `_id`: they are equal, or numbers of the same amount.
pub(super) fn is_same(a: &Bson, b: &Bson) -> bool {
    match (a, b) {
        (Bson::Document(a), Bson::Document(b)) => {
            let is_same_field =
                |((left, a), (right, b)): ((&String, &Bson), (&String, &Bson))| left == right && is_same(a, b);
            a.len() == b.len() && a.iter().zip(b).all(is_same_field)
        }
        (Bson::Array(a), Bson::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        _ => a == b || is_same_number(a, b),
    }
}

fn is_same_number(a: &Bson, b: &Bson) -> bool {
    let whole = |value: &Bson| value.as_i64().or_else(|| value.as_i32().map(i64::from));
    match (whole(a), whole(b), number_from(a), number_from(b)) {
        (Some(a), Some(b), ..) => a == b,
        (_, _, Some(a), Some(b)) => a.partial_cmp(&b).is_some_and(Ordering::is_eq) || (a.is_nan() && b.is_nan()),
        _ => false,
    }
}

/// Every value that a written id can mean, the most likely first.
pub(super) fn values_written(text: &str) -> Vec<Bson> {
    let mut values = Vec::new();
    if let Ok(id) = ObjectId::parse_str(text) {
        values.push(Bson::ObjectId(id));
    }
    values.push(Bson::String(text.to_owned()));
    if let Ok(number) = text.parse::<i64>() {
        values.push(Bson::Int64(number));
    }
    if let Ok(uuid) = Uuid::parse_str(text) {
        values.push(Bson::Binary(uuid.into()));
    }
    if let Ok(json) = serde_json::from_str::<Value>(text)
        && let Ok(value) = Bson::try_from(json)
        && !values.contains(&value)
    {
        values.push(value);
    }
    values.retain(can_be_id);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::{DateTime, doc};
    use std::collections::HashSet;

    #[test]
    fn every_kind_of_id_is_found_by_what_is_written() {
        let uuid = Uuid::parse_str("6fa459ea-ee8a-3ca4-894e-db77e160355e").unwrap();
        for value in [
            Bson::ObjectId(ObjectId::parse_str("65f0a1b2c3d4e5f6a7b8c9d0").unwrap()),
            Bson::String("spring-42".to_owned()),
            Bson::Int64(42),
            Bson::Binary(uuid.into()),
            Bson::Document(doc! { "shop": 1, "nr": "7" }),
            Bson::DateTime(DateTime::from_millis(1_700_000_000_000)),
            Bson::DateTime(DateTime::from_millis(DATES.end() + 1)),
            Bson::DateTime(DateTime::from_millis(DATES.end() + 2)),
            Bson::Document(doc! { "shop": 1, "at": [DateTime::MAX], "since": DateTime::MIN }),
            Bson::Double(1.5),
        ] {
            let id = id_of(&value);
            assert!(values_written(id.as_str()).contains(&value), "{value:?} is written {id}");
            assert_eq!(value_of(id.key()), value);
        }
    }

    #[test]
    fn a_key_means_its_value_and_no_other() {
        for value in [
            Bson::Document(doc! { "$oid": "65f0a1b2c3d4e5f6a7b8c9d0" }),
            Bson::Document(doc! { "$oid": "x" }),
            Bson::Document(doc! { "a": { "$gt": 1 }, "$date": Bson::Null }),
            Bson::Int64(42),
            Bson::DateTime(DateTime::MAX),
            Bson::DateTime(DateTime::MIN),
            Bson::String("\0\u{202E}\u{1b}[2J".to_owned()),
            Bson::MinKey,
            Bson::Undefined,
        ] {
            assert_eq!(value_of(&key_of(&value)), value);
        }
        for no_key in ["", "?", "0", "zz", "0500000000", "{\"$oid\":\"65f0a1b2c3d4e5f6a7b8c9d0\"}"] {
            assert_eq!(value_of(no_key), Bson::Array(Vec::new()), "{no_key}");
        }
    }

    #[test]
    fn dates_beyond_all_years_are_not_written_alike() {
        let dates = [*DATES.end(), DATES.end() + 1, DATES.end() + 2, i64::MAX].map(DateTime::from_millis);
        let written: HashSet<String> = dates.into_iter().map(|date| id_of(&date.into()).to_string()).collect();
        assert_eq!(written.len(), dates.len(), "{written:?}");
    }

    #[test]
    fn a_longer_id_than_anybody_needs_is_never_asked_for() {
        // A string has its length before it, and a NUL after it.
        let (longest, longer) = ("ä".repeat(MAX_ID / 2 - 3), "ä".repeat(MAX_ID / 2 - 2));
        assert!(can_be_id(&Bson::from(longest.as_str())));
        assert_eq!(values_written(&longest), [Bson::from(longest.as_str())]);
        assert_eq!(values_written(&longer), Vec::<Bson>::new());
        for value in [Bson::from(longer), Bson::from("x".repeat(3_000_000)), doc! { "a": "x".repeat(MAX_ID) }.into()] {
            let id = unaskable_id(&value);
            assert!(id.as_str().ends_with('…') && id.as_str().chars().count() <= SHOWN + 1, "{id}");
            assert_eq!(problem_of(&value), "it is longer than 1024 bytes");
            assert_eq!(value_of(id.key()), Bson::Array(Vec::new()));
        }
        assert_eq!(problem_of(&Bson::Undefined), "a query cannot look it up");
    }

    #[test]
    fn operators_are_no_ids_whoever_writes_them() {
        for text in [
            r#"{"$gt":1}"#,
            r#"{"$regularExpression":{"pattern":".*","options":""}}"#,
            r#"{"$undefined":true}"#,
            r#"[{"$gt":1}]"#,
            r#"{"a\u0000b":1}"#,
        ] {
            assert_eq!(values_written(text), [Bson::String(text.to_owned())]);
        }
        assert_eq!(story_key(&Bson::Document(doc! { "$gt": 1 })), None);
        assert_eq!(story_key(&Bson::String("x".repeat(10_000))), None);
        assert!(story_key(&Bson::String("spring".to_owned())).is_some());
    }

    #[test]
    fn numbers_of_one_amount_are_one_id_and_texts_are_compared_to_the_letter() {
        assert!(is_same(&Bson::Int32(42), &Bson::Double(42.0)));
        assert!(is_same(&Bson::Document(doc! { "a": 1 }), &Bson::Document(doc! { "a": 1_i64 })));
        assert!(!is_same(&Bson::Int64(i64::MAX), &Bson::Int64(i64::MAX - 1)));
        assert!(!is_same(&Bson::String("abc".into()), &Bson::String("ABC".into())));
        assert!(!is_same(&Bson::Document(doc! { "a": 1 }), &Bson::Document(doc! { "b": 1 })));
    }

    #[test]
    fn a_delivery_is_found_by_its_key() {
        let value = Bson::String("@a@b".to_owned());
        let id = delivery_id(&value, &Place::entry("tiktok"));
        assert_eq!(id.as_str(), "@a@b");
        assert!(id.is_delivery() && !id_of(&value).is_delivery());
        assert_eq!(delivery_of(&id), (value.clone(), Place::entry("tiktok")));
        assert_eq!(delivery_of(&id_of(&value)), (value, Place::Root));
    }

    #[test]
    fn a_string_and_a_number_of_one_spelling_stay_apart() {
        let (string, number) = (id_of(&Bson::String("42".to_owned())), id_of(&Bson::Int64(42)));
        assert_eq!(string.as_str(), number.as_str());
        assert_ne!(string, number);
    }
}
