//! Ids as people write them, and as MongoDB stores them.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Bson, Uuid};

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
        // No JSON begins with `@`.
        Place::Entry(entry) => PostId::new(text_of(value), format!("@{entry}@{}", key_of(value))),
    }
}

/// The `_id` of a delivery's document, and where its fields are.
pub(super) fn delivery_of(id: &PostId) -> (Bson, Place) {
    match id.key().strip_prefix('@').and_then(|rest| rest.split_once('@')) {
        Some((entry, key)) => (value_of(key), Place::Entry(entry.to_owned())),
        None => (value_of(id.key()), Place::Root),
    }
}

/// The lossless form of a value, from which [`value_of`] makes the same value again.
pub(super) fn key_of(value: &Bson) -> String {
    value.clone().into_canonical_extjson().to_string()
}

/// The value of a key.
pub(super) fn value_of(key: &str) -> Bson {
    serde_json::from_str::<serde_json::Value>(key)
        .ok()
        .and_then(|json| Bson::try_from(json).ok())
        .unwrap_or_else(|| Bson::String(key.to_owned()))
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

fn relaxed(value: &Bson) -> String {
    value.clone().into_relaxed_extjson().to_string()
}

/// Whether a query may ask for this value as an id. Others it would take for operators.
pub(super) fn can_be_id(value: &Bson) -> bool {
    match value {
        Bson::RegularExpression(_) | Bson::Undefined | Bson::Array(_) => false,
        Bson::Document(fields) => fields.keys().all(|name| !name.starts_with('$')),
        _ => true,
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
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(text)
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
            Bson::Double(1.5),
        ] {
            let id = id_of(&value);
            assert!(values_written(id.as_str()).contains(&value), "{value:?} is written {id}");
            assert_eq!(value_of(id.key()), value);
        }
    }

    #[test]
    fn a_delivery_is_found_by_its_key() {
        let value = Bson::String("@a@b".to_owned());
        let id = delivery_id(&value, &Place::entry("tiktok"));
        assert_eq!(id.as_str(), "@a@b");
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
