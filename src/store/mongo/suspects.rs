//! The few documents that have to be read to be counted.
//!
//! An index can count what is due, but it does not know whether the other fields of a document can be read. So whatever
//! may be malformed, or may be no delivery at all, is read and decided by the same code as in a pass.

use mongodb::bson::{Bson, DateTime, Document, doc};

use super::document::DATES;
use super::filter::{NUMBERS, any, no_plain, other_than};
use super::place::{Place, spellings};
use crate::post::Platform;

const TEXTS: [&str; 8] =
    ["title", "description", "caption", "contentType", "videoPath", "imagePath", "storyName", "error"];

/// Matches the documents of which the delivery at this place may be malformed or missing. It leaves none of them out, but
/// for texts that are not UTF-8.
pub(super) fn suspects(place: &Place, platform: Platform) -> Document {
    let retry = |name: &str| place.retry(name);
    let mut branches: Vec<Document> = Vec::new();
    let mut texts: Vec<String> = TEXTS.map(str::to_owned).to_vec();
    texts.push(retry("failureCategory"));
    let mut dates: Vec<String> = ["updatedAt", "scheduledAt", "failedAt"].map(str::to_owned).to_vec();
    dates.extend(["lastRetriedAt", "permanentlyFailedAt", "retryNotBefore"].map(retry));
    match place {
        Place::Root => branches.extend(shapes_of_root(platform)),
        Place::Entry(entry) => {
            branches.extend(shapes_of_entry(entry, platform));
            texts.extend(place.status("error"));
            dates.extend(place.status("lastFailedAt"));
            dates.push(retry("failedAt"));
            branches.extend(place.status("mediaId").map(|path| is_set(&path)));
        }
    }
    branches.extend(texts.into_iter().map(|path| is_no(&path, "string")));
    branches.extend(["isAiGenerated".to_owned(), retry("permanentlyFailed")].map(|path| is_no(&path, "bool")));
    branches.extend(dates.iter().flat_map(|path| is_no_date(path)));
    branches.extend(is_no_number(&retry("retryCount")));
    branches.extend(hashtags());
    branches.push(is_no_list(&retry("retryHistory")));
    // Whether these can be read is more than a question of types.
    branches.extend([retry("retryClaim"), retry("publishTicket")].map(|path| is_set(&path)));
    let fields = platform.fields();
    let left = fields.left_upload.into_iter().flat_map(|field| {
        let parent = field.path.split_once('.').map(|(parent, _)| is_no(parent, "object"));
        parent.into_iter().chain([is_set(field.path)])
    });
    branches.extend(left);
    branches.push(is_set(fields.id.path));
    branches.push(doc! { "_id": { "$type": "object" } });
    branches.push(doc! { "status": { "$type": "array" } });
    any(branches)
}

/// A post for one platform whose document also says something of its platforms.
fn shapes_of_root(platform: Platform) -> [Document; 3] {
    let lists = platform.spellings().iter().map(|name| Bson::from(vec![*name]));
    let plain: Vec<Bson> = [Bson::Null, Bson::Array(Vec::new())].into_iter().chain(lists).collect();
    [
        doc! { "platform": { "$type": "array" } },
        doc! { "platforms": { "$nin": plain } },
        doc! { "platformStatus": { "$nin": [Bson::Null, Bson::Document(Document::new())] } },
    ]
}

/// A delivery whose document does not name its platform exactly once, or keeps its fields in something else than objects.
fn shapes_of_entry(entry: &str, platform: Platform) -> Vec<Document> {
    let others: Vec<&str> = platform.spellings().iter().filter(|name| **name != entry).copied().collect();
    let mut shapes = vec![
        doc! { "platforms": { "$ne": entry } },
        doc! { "platforms": { "$not": { "$type": "array" } } },
        doc! { "platforms": { "$elemMatch": { "$not": { "$type": "string" } } } },
        doc! { "platforms": { "$in": others } },
        doc! { format!("platformStatus.{entry}.status"): { "$type": "array" } },
    ];
    let objects = ["platformStatus".to_owned(), "postretry".to_owned()]
        .into_iter()
        .chain([format!("platformStatus.{entry}"), format!("postretry.{entry}")]);
    shapes.extend(objects.map(|path| is_no(&path, "object")));
    shapes
}

fn is_set(path: &str) -> Document {
    // Servers do not agree on whether this is null.
    doc! { "$or": [{ path: { "$ne": Bson::Null } }, { path: { "$type": "undefined" } }] }
}

fn is_no(path: &str, kind: &str) -> Document {
    doc! { path: { "$type": no_plain(kind) } }
}

fn is_no_list(path: &str) -> Document {
    let is_other = doc! { path: { "$ne": Bson::Null, "$not": { "$type": "array" } } };
    doc! { "$or": [is_other, { path: { "$type": "undefined" } }] }
}

fn is_no_date(path: &str) -> [Document; 3] {
    let date = |millis: i64| DateTime::from_millis(millis);
    [is_no(path, "date"), doc! { path: { "$lt": date(*DATES.start()) } }, doc! { path: { "$gt": date(*DATES.end()) } }]
}

fn is_no_number(path: &str) -> [Document; 3] {
    [doc! { path: { "$type": other_than(&NUMBERS) } }, doc! { path: { "$type": "array" } }, doc! { path: f64::NAN }]
}

/// Hashtags are a list of strings, or an object of such lists.
fn hashtags() -> Vec<Document> {
    let mixed = |path: &str| doc! { path: { "$elemMatch": { "$not": { "$type": "string" } } } };
    let mut shapes = vec![
        mixed("hashtags"),
        doc! { "hashtags": { "$type": other_than(&["object"]), "$not": { "$type": "array" } } },
    ];
    for name in spellings() {
        let path = format!("hashtags.{name}");
        shapes.extend([is_no_list(&path), mixed(&path)]);
    }
    shapes
}
