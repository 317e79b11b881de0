//! Converts a document to a post. Any field of a document may be missing, null or of a wrong type.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use mongodb::bson::{self, Bson, Document};
use serde_json::Value;

use super::decode::UNDECODABLE;
use super::identity::{can_be_id, delivery_id, problem_of, story_key, unaskable_id};
use super::place::{Place, places, platform_of_root};
use crate::post::{
    Category, Claim, EntryOutcome, HistoryEntry, Malformed, Platform, Post, PostDraft, ResetMark, Ticket,
};
use crate::store::{StoreError, StoredPost};

/// The fields that every post is read from, beside those of its platform; no others are fetched.
const FIELDS: &[&str] = &[
    "_id",
    "title",
    "description",
    "caption",
    "hashtags",
    "platform",
    "platforms",
    "platformStatus",
    "sheetTriggeredAt",
    "postretry",
    "status",
    "contentType",
    "videoPath",
    "imagePath",
    "isAiGenerated",
    "storyId",
    "storyName",
    "scheduledAt",
    "updatedAt",
    "error",
    "failedAt",
    "retryCount",
    "lastRetriedAt",
    "permanentlyFailed",
    "permanentlyFailedAt",
    "failureCategory",
    "retryNotBefore",
    "retryHistory",
    "retryClaim",
    "publishTicket",
];

/// The dates that RFC 3339 can write, in milliseconds: the years 0 to 9999.
pub(super) const DATES: RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// The names of all fields that posts are read from.
pub(super) fn field_names() -> impl Iterator<Item = &'static str> {
    let of_platforms = Platform::ALL.into_iter().map(Platform::fields).flat_map(|fields| {
        let left_upload = fields.left_upload.map(|field| field.path);
        std::iter::once(fields.id.path).chain(left_upload)
    });
    FIELDS.iter().copied().chain(of_platforms)
}

/// Reads the delivery at a place of a document.
pub(super) fn post_from(document: &Document, place: &Place) -> StoredPost {
    read_post(document, place).into()
}

/// The value at a path through objects.
pub(super) fn value_at<'a>(document: &'a Document, path: &str) -> Option<&'a Bson> {
    match path.split_once('.') {
        None => document.get(path),
        Some((name, rest)) => value_at(document.get(name)?.as_document()?, rest),
    }
}

fn read_post(document: &Document, place: &Place) -> Result<Post, Malformed> {
    let undecodable = document.get_str(UNDECODABLE).ok();
    // An id that cannot be read is shown, but a query for it would find another post or none.
    let is_askable = undecodable != Some("_id") && document.get("_id").is_some_and(can_be_id);
    let id = document.get("_id").unwrap_or(&Bson::Null);
    let mut draft = PostDraft::new(if is_askable { delivery_id(id, place) } else { unaskable_id(id) });
    let empty = Document::new();
    let problem: RefCell<Option<(String, String)>> = RefCell::default();
    if let Some(field) = undecodable {
        *problem.borrow_mut() = Some((field.to_owned(), "it cannot be decoded".to_owned()));
    } else if !is_askable {
        *problem.borrow_mut() = Some(("_id".to_owned(), problem_of(id)));
    }
    let root = Fields { document, prefix: String::new(), problem: &problem };
    // Of a post for one platform all are the same.
    let (status, retry) = match place {
        Place::Root => {
            draft.platform = platform_of_root(document).map(str::to_owned).or_else(|| root.text("platform"));
            (root.clone(), root.clone())
        }
        Place::Entry(entry) => {
            draft.platform = Some(entry.clone());
            let status = root.inside("platformStatus", &empty).inside(entry, &empty);
            (status, root.inside("postretry", &empty).inside(entry, &empty))
        }
    };
    if let (Place::Root, Err((field, problem))) = (place, places(document)) {
        // It is one of several platforms' all the same, of which nobody can say which.
        let has_several = document.get_array("platforms").is_ok_and(|platforms| platforms.len() > 1);
        if has_several || document.get_document("platformStatus").is_ok() {
            draft.id = draft.id.of_delivery();
        }
        return Err(draft.malformed(field, problem));
    }

    draft.content.title = root.text("title");
    draft.content.description = root.text("description");
    draft.content.caption = root.text("caption");
    draft.content.content_type = root.text("contentType");
    draft.content.video_path = root.text("videoPath");
    draft.content.image_path = root.text("imagePath");
    draft.content.is_ai_generated = root.flag("isAiGenerated");
    draft.content.hashtags = root.hashtags(draft.platform.as_deref());
    draft.story.key = root.value("storyId").and_then(story_key);
    draft.story.name = root.text("storyName");
    draft.updated_at = root.date("updatedAt");
    draft.scheduled_at = root.date("scheduledAt");
    draft.failed_at = match place {
        Place::Root => root.date("failedAt"),
        Place::Entry(_) => {
            status.date("lastFailedAt").or_else(|| root.date("failedAt")).or_else(|| retry.date("failedAt"))
        }
    };
    draft.error = status.text("error").or_else(|| root.text("error"));
    draft.retry_count = retry.number("retryCount").unwrap_or(0.0);
    draft.last_retried_at = retry.date("lastRetriedAt");
    draft.permanently_failed = retry.flag("permanentlyFailed");
    draft.permanently_failed_at = retry.date("permanentlyFailedAt");
    draft.category = retry.text("failureCategory");
    draft.not_before = retry.date("retryNotBefore");
    draft.history = retry.history();
    draft.claim = retry.claim();
    draft.ticket = retry.ticket();
    if let Some(platform) = draft.platform.as_deref().and_then(|name| name.parse::<Platform>().ok()) {
        let names = platform.fields();
        let of_entry = if *place == Place::Root { None } else { status.text("mediaId") };
        draft.published_id = of_entry.or_else(|| root.text_at(names.id.path));
        // A cleared ticket means that the application's upload needs no further check. But null can also be what a model
        // of the application writes by default: then no attempt has ended.
        let needs_check = match retry.document.get("publishTicket") {
            None => true,
            Some(Bson::Null) => !retry.has_ended_attempt(),
            Some(_) => false,
        };
        if needs_check {
            draft.left_upload = names.left_upload.and_then(|field| root.text_at(field.path));
        }
    }

    match problem.into_inner() {
        Some((field, problem)) => Err(draft.malformed(field, problem)),
        None => draft.check(),
    }
}

/// Reads fields of a document or of an object in it, and remembers the first one with a wrong type.
#[derive(Clone)]
struct Fields<'a> {
    document: &'a Document,
    /// The path to the object, with a dot at its end.
    prefix: String,
    problem: &'a RefCell<Option<(String, String)>>,
}

impl<'a> Fields<'a> {
    /// The fields of an object; none if there is no such object.
    fn inside(&self, name: &str, empty: &'a Document) -> Self {
        let document = self.read(name, "an object", Bson::as_document).unwrap_or(empty);
        Self { document, prefix: format!("{}{name}.", self.prefix), problem: self.problem }
    }

    fn value(&self, name: &str) -> Option<&'a Bson> {
        self.document.get(name).filter(|value| !matches!(value, Bson::Null))
    }

    fn report(&self, name: &str, problem: impl FnOnce() -> String) {
        self.problem.borrow_mut().get_or_insert_with(|| (format!("{}{name}", self.prefix), problem()));
    }

    fn wrong(&self, name: &str, expected: &str, found: &Bson) {
        self.report(name, || format!("it is {}, not {expected}", kind_of(found)));
    }

    /// Reads a field with `read`. A value that `read` does not accept is a problem.
    fn read<T>(&self, name: &str, expected: &str, read: impl Fn(&'a Bson) -> Option<T>) -> Option<T> {
        let value = self.value(name)?;
        let taken = read(value);
        if taken.is_none() {
            self.wrong(name, expected, value);
        }
        taken
    }

    fn text(&self, name: &str) -> Option<String> {
        let text = self.read(name, "a string", |value| value.as_str().map(str::to_owned))?;
        Some(text).filter(|text| !text.trim().is_empty())
    }

    fn date(&self, name: &str) -> Option<DateTime<Utc>> {
        let value = self.value(name)?;
        if is_out_of_range(value) {
            self.report(name, || "the date is out of range".to_owned());
            return None;
        }
        self.read(name, "a date", date_from)
    }

    fn flag(&self, name: &str) -> bool {
        self.read(name, "a boolean", Bson::as_bool).unwrap_or(false)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.read(name, "a number", number_from)
    }

    /// A list, or an object of lists by platform: where there are none for this one, those of TikTok are meant, as the
    /// application does it.
    fn hashtags(&self, platform: Option<&str>) -> Vec<String> {
        let Some(value) = self.value("hashtags") else { return Vec::new() };
        let Bson::Document(by_platform) = value else { return self.tags(value) };
        let platform = platform.and_then(|name| name.parse::<Platform>().ok());
        let names = platform.map(Platform::spellings).unwrap_or_default().iter();
        let lists = names.chain(Platform::TikTok.spellings()).filter_map(|name| by_platform.get(*name));
        lists.map(|list| self.tags(list)).find(|tags| !tags.is_empty()).unwrap_or_default()
    }

    fn tags(&self, list: &Bson) -> Vec<String> {
        match list {
            Bson::Null => Vec::new(),
            Bson::Array(tags) => match tags.iter().map(|tag| tag.as_str().map(str::to_owned)).collect() {
                Some(tags) => tags,
                None => {
                    self.wrong("hashtags", "a list of strings", list);
                    Vec::new()
                }
            },
            other => {
                self.wrong("hashtags", "a list of strings or an object of lists", other);
                Vec::new()
            }
        }
    }

    fn claim(&self) -> Option<Claim> {
        let until = self.value("retryClaim").and_then(|claim| claim.as_document()?.get("until"));
        if until.is_some_and(is_out_of_range) {
            self.report("retryClaim.until", || "the date is out of range".to_owned());
            return None;
        }
        self.read("retryClaim", "a claim with `by` and `until`", |value| {
            let claim = value.as_document()?;
            Some(Claim { by: claim.get_str("by").ok()?.to_owned(), until: date_from(claim.get("until")?)? })
        })
    }

    /// The ticket. An empty object is a cleared one.
    fn ticket(&self) -> Option<Ticket> {
        if self.document.get_document("publishTicket").is_ok_and(Document::is_empty) {
            return None;
        }
        self.read("publishTicket", "a ticket that this version can read", |value| ticket_from(value.as_document()?))
    }

    /// Whether an attempt has ended, even if its entry cannot be read. One that was interrupted, or that counts as failed
    /// because it was interrupted too often, may not have looked for the application's upload.
    fn has_ended_attempt(&self) -> bool {
        let is_interrupted = |entry: &Bson| {
            let value = |name| entry.as_document().and_then(|entry| entry.get_str(name).ok());
            value("outcome") == Some(EntryOutcome::Interrupted.as_str())
                || value("category") == Some(Category::Interrupted.as_str())
        };
        self.document.get_array("retryHistory").is_ok_and(|entries| !entries.iter().all(is_interrupted))
    }

    /// The text at a path through objects.
    fn text_at(&self, path: &str) -> Option<String> {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let Some(rest) = rest else { return self.text(name) };
        let text = self.read(name, "an object with string values", |value| match value.as_document()?.get(rest) {
            None | Some(Bson::Null) => Some(None),
            Some(text) => text.as_str().map(|text| Some(text.to_owned())),
        });
        text.flatten().filter(|text| !text.trim().is_empty())
    }

    /// The history. Unreadable entries are not shown, but they stay in the store.
    fn history(&self) -> Vec<HistoryEntry> {
        let entries = self.read("retryHistory", "a list", Bson::as_array);
        entries.into_iter().flatten().filter_map(entry_from).collect()
    }
}

/// A date, if RFC 3339 can write it.
pub(super) fn date_from(value: &Bson) -> Option<DateTime<Utc>> {
    let millis = value.as_datetime()?.timestamp_millis();
    if DATES.contains(&millis) { DateTime::from_timestamp_millis(millis) } else { None }
}

fn is_out_of_range(value: &Bson) -> bool {
    value.as_datetime().is_some_and(|date| !DATES.contains(&date.timestamp_millis()))
}

#[expect(clippy::cast_precision_loss, reason = "a retry counter is far below the limit")]
pub(super) fn number_from(value: &Bson) -> Option<f64> {
    match value {
        Bson::Double(number) => Some(*number),
        Bson::Int32(number) => Some(f64::from(*number)),
        Bson::Int64(number) => Some(*number as f64),
        Bson::Decimal128(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

fn entry_from(value: &Bson) -> Option<HistoryEntry> {
    let entry = value.as_document()?;
    let text = |name: &str| entry.get_str(name).ok().map(str::to_owned);
    let count = |name: &str| entry.get(name).and_then(number_from).and_then(whole);
    Some(HistoryEntry {
        attempt: count("attempt")?,
        started_at: entry.get("startedAt").and_then(date_from),
        finished_at: entry.get("finishedAt").and_then(date_from),
        outcome: EntryOutcome::from_name(entry.get_str("outcome").ok()?)?,
        category: text("category").and_then(|name| name.parse().ok()),
        error: text("error"),
        host: text("host").unwrap_or_default(),
        interruptions: count("interruptions").unwrap_or(0),
        reset: entry.get("resetAt").and_then(date_from).zip(text("resetBy")).map(|(at, by)| ResetMark { at, by }),
        settled_by: text("settledBy"),
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
fn whole(number: f64) -> Option<u32> {
    (number >= 0.0 && number <= f64::from(u32::MAX)).then_some(number as u32)
}

/// A ticket as [`ticket_document`] writes it: JSON's types, and BSON dates. A date that cannot be read is no missing date:
/// without `committedAt` the upload would count as one that cannot be public.
fn ticket_from(document: &Document) -> Option<Ticket> {
    let mut json = serde_json::Map::new();
    for name in ["platform", "fingerprint", "payload"] {
        if let Some(value) = document.get(name) {
            json.insert(name.to_owned(), json_from(value)?);
        }
    }
    for name in DATES_OF_TICKET {
        if let Some(value) = document.get(name).filter(|value| !matches!(value, Bson::Null)) {
            json.insert(name.to_owned(), date_from(value)?.to_rfc3339().into());
        }
    }
    serde_json::from_value(json.into()).ok()
}

/// A value as JSON, if it is of one of JSON's types. In extended JSON a document could mean another value.
fn json_from(value: &Bson) -> Option<Value> {
    Some(match value {
        Bson::Null => Value::Null,
        Bson::Boolean(value) => (*value).into(),
        Bson::Int32(number) => (*number).into(),
        Bson::Int64(number) => (*number).into(),
        Bson::Double(number) => serde_json::Number::from_f64(*number)?.into(),
        Bson::String(text) => text.as_str().into(),
        Bson::Array(values) => values.iter().map(json_from).collect::<Option<Vec<_>>>()?.into(),
        Bson::Document(fields) => {
            let fields = fields.iter().map(|(name, value)| Some((name.clone(), json_from(value)?)));
            fields.collect::<Option<serde_json::Map<_, _>>>()?.into()
        }
        _ => return None,
    })
}

/// JSON as a value; [`json_from`] makes the same JSON of it again.
fn bson_from(json: Value) -> Bson {
    match json {
        Value::Null => Bson::Null,
        Value::Bool(value) => Bson::Boolean(value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => i32::try_from(whole).map_or(Bson::Int64(whole), Bson::Int32),
            None => number.as_f64().map_or(Bson::Null, Bson::Double),
        },
        Value::String(text) => Bson::String(text),
        Value::Array(values) => Bson::Array(values.into_iter().map(bson_from).collect()),
        Value::Object(fields) => {
            Bson::Document(fields.into_iter().map(|(name, value)| (name, bson_from(value))).collect())
        }
    }
}

const DATES_OF_TICKET: [&str; 3] = ["madeAt", "committedAt", "adoptedAt"];

/// A ticket as a document, its dates as BSON dates.
///
/// # Errors
/// If it cannot be converted to a document. It must not be stored as null: null means that no check is needed.
pub(super) fn ticket_document(ticket: &Ticket) -> Result<Document, StoreError> {
    let unstorable = |problem: String| StoreError::new("store a ticket", problem);
    let json = serde_json::to_value(ticket).map_err(|error| unstorable(error.to_string()))?;
    let Bson::Document(mut document) = bson_from(json) else {
        return Err(unstorable("it is not a document".to_owned()));
    };
    let dates = [Some(ticket.made_at), ticket.committed_at, ticket.adopted_at];
    for (name, date) in DATES_OF_TICKET.into_iter().zip(dates) {
        if let Some(date) = date {
            document.insert(name, bson_date(date));
        }
    }
    Ok(document)
}

/// An entry of the history as a document.
pub(super) fn entry_document(entry: &HistoryEntry) -> Document {
    let text = |text: Option<&str>| text.map_or(Bson::Null, |text| Bson::String(text.to_owned()));
    let date = |date: Option<DateTime<Utc>>| date.map_or(Bson::Null, bson_date);
    let mut document = Document::new();
    document.insert("attempt", integer(entry.attempt));
    document.insert("startedAt", date(entry.started_at));
    document.insert("finishedAt", date(entry.finished_at));
    document.insert("outcome", entry.outcome.as_str());
    document.insert("category", text(entry.category.map(Category::as_str)));
    document.insert("error", text(entry.error.as_deref()));
    document.insert("host", entry.host.as_str());
    if entry.interruptions > 0 {
        document.insert("interruptions", integer(entry.interruptions));
    }
    if let Some(reset) = &entry.reset {
        document.insert("resetAt", bson_date(reset.at));
        document.insert("resetBy", reset.by.as_str());
    }
    if let Some(by) = &entry.settled_by {
        document.insert("settledBy", by.as_str());
    }
    document
}

/// A date, to the millisecond as BSON has it.
pub(super) fn bson_date(date: DateTime<Utc>) -> Bson {
    Bson::DateTime(bson::DateTime::from_millis(date.timestamp_millis()))
}

/// A whole number in the smallest type that holds it, as Mongoose writes them.
pub(super) fn integer(number: u32) -> Bson {
    i32::try_from(number).map_or_else(|_| Bson::Int64(i64::from(number)), Bson::Int32)
}

/// The type of a value, for messages.
fn kind_of(value: &Bson) -> &'static str {
    match value {
        Bson::Double(_) | Bson::Int32(_) | Bson::Int64(_) | Bson::Decimal128(_) => "a number",
        Bson::String(_) => "a string",
        Bson::Array(_) => "a list",
        Bson::Document(_) => "an object",
        Bson::Boolean(_) => "a boolean",
        Bson::DateTime(_) => "a date",
        Bson::ObjectId(_) => "an ObjectId",
        Bson::Undefined => "undefined",
        _ => "of another type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::post::Category;
    use mongodb::bson::doc;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_document_as_mongoose_writes_it_is_read() {
        let document = doc! {
            "_id": 7, "platform": "youtube", "status": "failed", "title": "T", "caption": Bson::Null,
            "hashtags": { "youtube_shorts": ["a", "b"], "tiktok": ["c"] }, "videoPath": "a.mp4",
            "failedAt": bson_date(at(1000)), "retryCount": 2.7, "__v": 3, "nested": { "unknown": true },
        };
        let post = read_post(&document, &Place::Root).unwrap();
        assert_eq!(post.platform, Platform::YouTubeShorts);
        assert_eq!(post.content.hashtags, ["a", "b"]);
        assert_eq!(post.retry.count, 2);
        assert_eq!(post.failed_at, Some(at(1000)));
    }

    #[test]
    fn each_field_of_a_wrong_type_is_named() {
        let wrong = [
            ("platform", Bson::Int32(1)),
            ("platform", Bson::String("myspace".into())),
            ("title", Bson::Int32(42)),
            ("hashtags", Bson::Array(vec![Bson::Int32(1)])),
            ("hashtags", Bson::String("#a".into())),
            ("failedAt", Bson::String("yesterday".into())),
            ("retryCount", Bson::String("three".into())),
            ("retryCount", Bson::Double(f64::NAN)),
            ("permanentlyFailed", Bson::String("no".into())),
            ("retryClaim", Bson::Document(doc! { "by": 7 })),
            ("publishTicket", Bson::Document(doc! { "kind": "carrierPigeon" })),
            ("uploadProgress", Bson::String("50%".into())),
            ("tiktokVideoId", Bson::Int64(7)),
            ("isAiGenerated", Bson::String("yes".into())),
            ("retryClaim", Bson::String("me".into())),
            ("retryClaim", Bson::Document(doc! { "by": "me" })),
            ("retryHistory", Bson::Document(doc! {})),
            ("retryCount", Bson::Array(Vec::new())),
            ("retryCount", Bson::MaxKey),
            ("retryCount", Bson::JavaScriptCode("1".into())),
            ("retryCount", Bson::Decimal128("NaN".parse().unwrap())),
            ("title", Bson::Document(doc! { "$oid": "x" })),
            ("failedAt", Bson::Document(doc! { "$date": "x" })),
            ("permanentlyFailed", Bson::Undefined),
            ("_id", Bson::Document(doc! { "$oid": "65f0a1b2c3d4e5f6a7b8c9d0" })),
            ("_id", Bson::Array(Vec::new())),
            ("_id", Bson::String("x".repeat(3_000_000))),
        ];
        for (field, value) in wrong {
            let mut document = doc! { "_id": 1, "platform": "tiktok", "status": "failed" };
            document.insert(field, value);
            let malformed = read_post(&document, &Place::Root).unwrap_err();
            assert_eq!(malformed.field, field, "{}", malformed.problem);
        }
    }

    #[test]
    fn a_ticket_comes_back_as_it_was_stored_with_dates_as_dates() {
        let payload = serde_json::json!({ "publishId": "v_pub_file~1", "size": 5_000_000_000_i64 });
        let ticket = Ticket::from_application(Platform::TikTok, at(1000), at(2000), payload)
            .with_fingerprint(Some("f00".to_owned()));
        let stored = ticket_document(&ticket).unwrap();
        for name in DATES_OF_TICKET {
            assert!(matches!(stored.get(name), Some(Bson::DateTime(_))), "{name}");
        }
        assert_eq!(ticket_from(&stored), Some(ticket));
    }

    #[test]
    fn a_date_that_cannot_be_written_is_out_of_range() {
        for millis in [i64::MIN, *DATES.start() - 1, *DATES.end() + 1, i64::MAX] {
            let date = Bson::DateTime(bson::DateTime::from_millis(millis));
            for (field, value) in [
                ("failedAt", date.clone()),
                ("retryNotBefore", date.clone()),
                ("retryClaim.until", Bson::Document(doc! { "by": "me", "until": date.clone() })),
            ] {
                let name = field.split('.').next().unwrap();
                let mut document = doc! { "_id": 1, "platform": "tiktok" };
                document.insert(name, value);
                let malformed = read_post(&document, &Place::Root).unwrap_err();
                assert_eq!((malformed.field.as_ref(), malformed.problem.as_str()), (field, "the date is out of range"));
            }
        }
        for millis in [*DATES.start(), *DATES.end()] {
            let document = doc! {
                "_id": 1, "platform": "tiktok", "failedAt": bson::DateTime::from_millis(millis),
            };
            let post = read_post(&document, &Place::Root).unwrap();
            assert_eq!(post.failed_at.map(|date| date.timestamp_millis()), Some(millis));
        }
    }

    #[test]
    fn a_ticket_with_a_date_that_cannot_be_read_is_no_ticket_without_that_date() {
        let ticket = Ticket::new(Platform::TikTok, at(1000), serde_json::json!({})).committed(at(2000));
        let stored = ticket_document(&ticket).unwrap();
        for wrong in [
            Bson::String("yesterday".into()),
            Bson::DateTime(bson::DateTime::MAX),
            Bson::Document(doc! { "$date": "x" }),
            Bson::Array(Vec::new()),
        ] {
            let mut document = stored.clone();
            document.insert("committedAt", wrong.clone());
            assert_eq!(ticket_from(&document), None, "{wrong}");
        }
    }

    #[test]
    fn what_a_ticket_holds_comes_back_even_if_it_looks_like_extended_json() {
        let payload = serde_json::json!({
            "a": { "$oid": "x" }, "b": { "$date": "2024-01-01T00:00:00Z" }, "n": [1, -5_000_000_000_i64, 1.5, null, true],
        });
        let ticket = Ticket::new(Platform::TikTok, at(1000), payload);
        assert_eq!(ticket_from(&ticket_document(&ticket).unwrap()), Some(ticket.clone()));
        for strange in [Bson::Double(f64::NAN), Bson::MinKey, Bson::JavaScriptCode("1".into()), Bson::Undefined] {
            let mut document = ticket_document(&ticket).unwrap();
            document.insert("payload", doc! { "a": strange });
            assert_eq!(ticket_from(&document), None);
        }
    }

    #[test]
    fn an_upload_of_the_application_counts_until_it_was_dealt_with() {
        let mut document = doc! {
            "_id": 1, "platform": "tiktok", "failedAt": bson_date(at(1000)), "uploadProgress": { "publishId": "v1" },
        };
        assert_eq!(read_post(&document, &Place::Root).unwrap().left_upload.as_deref(), Some("v1"));
        // A model of the application writes such values by default.
        document.extend(doc! { "publishTicket": Bson::Null, "lastRetriedAt": Bson::Null, "retryHistory": [] });
        assert_eq!(read_post(&document, &Place::Root).unwrap().left_upload.as_deref(), Some("v1"));
        // An attempt that was interrupted may not have looked for the upload.
        let mut interrupted = document.clone();
        let entries: [Bson; 2] =
            [doc! { "outcome": "interrupted" }.into(), doc! { "outcome": "failed", "category": "interrupted" }.into()];
        interrupted.extend(doc! { "lastRetriedAt": bson_date(at(2000)), "retryHistory": entries.to_vec() });
        assert_eq!(read_post(&interrupted, &Place::Root).unwrap().left_upload.as_deref(), Some("v1"));
        for (field, value) in
            [("publishTicket", Bson::Document(Document::new())), ("retryHistory", vec!["of another version"].into())]
        {
            let mut dealt_with = document.clone();
            dealt_with.insert(field, value);
            let post = read_post(&dealt_with, &Place::Root).unwrap();
            assert_eq!((post.left_upload, post.retry.ticket), (None, None), "{field}");
        }
    }

    #[test]
    fn a_history_entry_comes_back_and_a_strange_one_is_passed_over() {
        let entry = HistoryEntry {
            attempt: 3,
            started_at: Some(at(1)),
            finished_at: Some(at(2)),
            outcome: EntryOutcome::Failed,
            category: Some(Category::Network),
            error: Some("refused".into()),
            host: "web1".into(),
            interruptions: 1,
            reset: Some(ResetMark { at: at(3), by: "root@web1".into() }),
            settled_by: None,
        };
        let history = vec![Bson::String("?".into()), Bson::Document(entry_document(&entry))];
        let document = doc! { "_id": 1, "platform": "tiktok", "retryHistory": history };
        assert_eq!(read_post(&document, &Place::Root).unwrap().retry.history, [entry]);
    }
}
