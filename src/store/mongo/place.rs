//! Where the fields of a delivery are in its document: the one place that knows both shapes of a document.
//!
//! A document is a post for one platform, with everything in its root, or a post for several platforms: then each entry
//! of `platforms` is a delivery, with the application's status in `platformStatus.P` and its retry state in
//! `postretry.P`.

use mongodb::bson::{Bson, Document, doc};

use crate::post::Platform;

/// Where the fields of a delivery are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the root of the document: a post for one platform.
    Root,
    /// In the sub-documents of this entry of `platforms`, spelled as it is there.
    Entry(String),
}

/// The field that is set once another publisher has been told of the document, which it publishes on TikTok.
pub(super) const HANDED_OVER: &str = "sheetTriggeredAt";

/// The place of an entry whose name cannot be part of a path. Nothing is ever written there.
const NO_PATH: &str = "?";

/// The error of a shape that is neither: the field, and what is wrong with it.
pub(super) type ShapeError = (String, String);

impl Place {
    /// The place of the entry with this name.
    pub(super) fn entry(name: &str) -> Self {
        let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        Self::Entry(if is_plain { name } else { NO_PATH }.to_owned())
    }

    /// Whether fields can be written there.
    pub(super) fn is_writable(&self) -> bool {
        *self != Self::Entry(NO_PATH.to_owned())
    }

    /// The path of a field of the retry state.
    pub(super) fn retry(&self, name: &str) -> String {
        match self {
            Self::Root => name.to_owned(),
            Self::Entry(entry) => format!("postretry.{entry}.{name}"),
        }
    }

    /// The path of a field that the application keeps for each platform; none in a post for one.
    pub(super) fn status(&self, name: &str) -> Option<String> {
        match self {
            Self::Root => None,
            Self::Entry(entry) => Some(format!("platformStatus.{entry}.{name}")),
        }
    }

    /// The path of the last failure's text.
    pub(super) fn error(&self) -> String {
        self.status("error").unwrap_or_else(|| "error".to_owned())
    }

    /// The paths of the date of the first failure: the first that is set counts.
    pub(super) fn failure_dates(&self) -> Vec<String> {
        match self {
            Self::Root => vec!["failedAt".to_owned()],
            Self::Entry(_) => {
                let own = self.status("lastFailedAt").into_iter();
                own.chain(["failedAt".to_owned(), self.retry("failedAt")]).collect()
            }
        }
    }

    /// The date of the first failure, as an expression; null where there is none.
    pub(super) fn failure_date(&self) -> Bson {
        first_of(&self.failure_dates(), Bson::Null)
    }

    /// The date that pages and lists are sorted by, as an expression: the first failure, else the last change.
    pub(super) fn anchor(&self) -> Bson {
        let mut dates = self.failure_dates();
        dates.push("updatedAt".to_owned());
        first_of(&dates, Bson::Null)
    }

    /// Matches the documents in which there is a failed delivery at this place, as far as an index can tell; whoever
    /// reads the document decides with [`places`].
    pub(super) fn failed(&self) -> Document {
        let mut filter = doc! { "status": "failed" };
        match self {
            Self::Root => filter.extend(has_no_statuses()),
            Self::Entry(entry) => drop(filter.insert(format!("platformStatus.{entry}.status"), "failed")),
        }
        filter
    }

    /// The same, exactly: as [`places`] would decide, but for a platform that is named twice.
    pub(super) fn counted(&self) -> Document {
        let mut filter = self.failed();
        filter.extend(self.not_handed_over());
        if let Self::Entry(entry) = self {
            let no_list = doc! { "platforms": { "$in": [Bson::Null, Bson::Array(Vec::new())] }, "platform": entry };
            let is_no_name = doc! { "$not": { "$type": "string" } };
            let listed =
                doc! { "platforms": { "$eq": entry, "$type": "array", "$not": { "$elemMatch": is_no_name.clone() } } };
            // A list that cannot be read is counted once, with the first entry that failed.
            let unreadable = vec![
                doc! { "platforms": { "$ne": Bson::Null, "$not": { "$type": "array" } } },
                doc! { "platforms": { "$elemMatch": is_no_name } },
            ];
            let told_here = doc! { "$expr": { "$eq": [first_failed_entry(), entry] }, "$or": unreadable };
            filter.insert("$or", vec![no_list, listed, told_here]);
        }
        filter
    }

    /// The same, for a write: the post is not in another publisher's hands, and is still of this shape.
    pub(super) fn writable(&self) -> Document {
        let mut filter = self.failed();
        match self {
            Self::Root => drop(filter.insert("platforms.1", doc! { "$exists": false })),
            // It is still one of the document's platforms.
            Self::Entry(entry) => {
                let empty = [Bson::Null, Bson::Array(Vec::new())];
                let with_entry: Vec<Bson> = empty.iter().cloned().chain([Bson::from(entry.as_str())]).collect();
                let others = vec![
                    doc! { "platforms": { "$nin": with_entry } },
                    doc! { "platforms": { "$in": empty.to_vec() }, "platform": { "$ne": entry } },
                ];
                filter.insert("$nor", others);
            }
        }
        filter.extend(self.not_handed_over());
        filter
    }

    /// Whether the delivery is not in another publisher's hands, which is only ever so of one for TikTok.
    pub(super) fn not_handed_over(&self) -> Document {
        let tiktok = Platform::TikTok.as_str();
        match self {
            Self::Entry(entry) if entry == tiktok => doc! { HANDED_OVER: Bson::Null },
            Self::Entry(_) => Document::new(),
            Self::Root => doc! { "$nor": [{
                HANDED_OVER: { "$ne": Bson::Null },
                "$or": [
                    { "platforms": tiktok },
                    { "platforms": { "$in": [Bson::Null, Bson::Array(Vec::new())] }, "platform": tiktok },
                ],
            }] },
        }
    }
}

/// The first of these fields that is set, as an expression.
pub(super) fn first_of(paths: &[String], otherwise: Bson) -> Bson {
    paths.iter().rev().fold(otherwise, |rest, path| Bson::Document(doc! { "$ifNull": [format!("${path}"), rest] }))
}

/// The names under which entries of the known platforms may be.
pub(super) fn spellings() -> impl Iterator<Item = &'static str> {
    Platform::ALL.into_iter().flat_map(Platform::spellings).copied()
}

/// Matches documents without a status for any known platform. `$exists` rather than a comparison with null, so that the
/// server can merge sorted parts of the index.
pub(super) fn has_no_statuses() -> Document {
    spellings().map(|name| (format!("platformStatus.{name}.status"), doc! { "$exists": false }.into())).collect()
}

/// Matches documents that say something of their platforms, but have a status for none that is known: whatever that is,
/// it is no failed delivery.
pub(super) fn says_nothing() -> Document {
    let values = statuses_as_list();
    let is_set = doc! { "$ne": [{ "$ifNull": ["$$this.v", Bson::Null] }, Bson::Null] };
    let mut filter = doc! { "status": "failed", "platformStatus": { "$type": "object" } };
    filter.extend(has_no_statuses());
    filter.insert("$expr", doc! { "$anyElementTrue": [{ "$map": { "input": values, "in": is_set } }] });
    filter
}

/// The entries of `platformStatus` as a list, as an expression.
pub(super) fn statuses_as_list() -> Document {
    let is_object = doc! { "$eq": [{ "$type": "$platformStatus" }, "object"] };
    doc! { "$objectToArray": { "$cond": [is_object, "$platformStatus", {}] } }
}

/// How many failed entries with names that are not known a document has, as an expression.
pub(super) fn unknown_entries() -> Document {
    let known: Vec<&str> = spellings().collect();
    let listed = doc! { "$cond": [{ "$isArray": "$platforms" }, "$platforms", []] };
    let is_unknown = doc! { "$and": [
        { "$in": ["$$this.k", listed] },
        { "$not": [{ "$in": ["$$this.k", known] }] },
        { "$eq": ["$$this.v.status", "failed"] },
    ] };
    doc! { "$size": { "$filter": { "input": statuses_as_list(), "as": "this", "cond": is_unknown } } }
}

/// The first of the known names whose entry is failed, as an expression.
fn first_failed_entry() -> Bson {
    let names: Vec<&str> = spellings().collect();
    names.iter().rev().fold(Bson::Null, |otherwise, name| {
        let is_failed = doc! { "$eq": [format!("$platformStatus.{name}.status"), "failed"] };
        Bson::Document(doc! { "$cond": [is_failed, *name, otherwise] })
    })
}

fn is_set(value: Option<&Bson>) -> bool {
    value.is_some_and(|value| !matches!(value, Bson::Null | Bson::Undefined))
}

/// What a document says about its platforms.
struct Shape<'a> {
    /// The entries of `platforms`; none of a document that has no list.
    names: Vec<&'a str>,
    /// `platformStatus`, if it says anything.
    statuses: Option<&'a Document>,
}

fn shape(document: &Document) -> Result<Shape<'_>, ShapeError> {
    let names = match document.get("platforms") {
        None | Some(Bson::Null | Bson::Undefined) => Vec::new(),
        Some(Bson::Array(names)) => match names.iter().map(Bson::as_str).collect() {
            Some(names) => names,
            None => return Err(("platforms".to_owned(), "it is not a list of strings".to_owned())),
        },
        Some(_) => return Err(("platforms".to_owned(), "it is not a list of strings".to_owned())),
    };
    let statuses = match document.get("platformStatus") {
        None | Some(Bson::Null | Bson::Undefined) => None,
        Some(Bson::Document(statuses)) => statuses.values().any(|value| is_set(Some(value))).then_some(statuses),
        Some(_) => return Err(("platformStatus".to_owned(), "it is not an object".to_owned())),
    };
    if names.len() > 1 && statuses.is_none() {
        let problem = "the post is for several platforms, but it has no status for each of them";
        return Err(("platformStatus".to_owned(), problem.to_owned()));
    }
    Ok(Shape { names, statuses })
}

/// The name of the platform of a post for one platform.
pub(super) fn platform_of_root(document: &Document) -> Option<&str> {
    let listed = document.get("platforms").and_then(Bson::as_array).and_then(|names| names.first()?.as_str());
    listed.or_else(|| document.get("platform").and_then(Bson::as_str))
}

/// The place at which a document is found that is malformed as a whole, so that it is told once.
pub(super) fn place_of_malformed(document: &Document) -> Place {
    let statuses = document.get("platformStatus");
    // A filter looks into lists.
    let listed = statuses.and_then(Bson::as_array).into_iter().flatten().filter_map(Bson::as_document);
    let statuses: Vec<&Document> = statuses.and_then(Bson::as_document).into_iter().chain(listed).collect();
    let is_failed = |name: &&str| {
        let mut of_name = statuses.iter().filter_map(|statuses| statuses.get(*name)?.as_document());
        of_name.any(|status| status.get_str("status").is_ok_and(|status| status == "failed"))
    };
    spellings().find(is_failed).map_or(Place::Root, Place::entry)
}

/// The failed deliveries of a document with `status: failed`. None are in another publisher's hands.
///
/// # Errors
/// What is wrong with it, if it is not clear which deliveries it has.
pub(super) fn places(document: &Document) -> Result<Vec<Place>, ShapeError> {
    // A filter looks into lists, so that it finds one with `failed` in it.
    if document.get("status").is_some_and(|status| status.as_str() != Some("failed")) {
        return Ok(Vec::new());
    }
    let Shape { names, statuses } = shape(document)?;
    let is_handed_over = |name: &str| name == Platform::TikTok.as_str() && is_set(document.get(HANDED_OVER));
    let Some(statuses) = statuses else {
        let is_ours = !platform_of_root(document).is_some_and(is_handed_over);
        return Ok(is_ours.then_some(Place::Root).into_iter().collect());
    };
    let names = match (names.as_slice(), document.get("platform")) {
        ([], Some(Bson::String(name))) => vec![name.as_str()],
        ([], _) => return Err(("platform".to_owned(), "the field is missing".to_owned())),
        (names, _) => names.to_vec(),
    };
    let mut taken: Vec<Result<Platform, &str>> = Vec::new();
    let mut places = Vec::new();
    for name in names {
        let platform = name.parse::<Platform>().map_err(|_| name);
        if taken.contains(&platform) {
            continue;
        }
        taken.push(platform);
        let is_failed = match statuses.get(name) {
            None | Some(Bson::Null | Bson::Undefined) => false,
            Some(Bson::Document(status)) => status.get("status").and_then(Bson::as_str) == Some("failed"),
            // It cannot be read, so it is reported.
            Some(_) => true,
        };
        if is_failed && !is_handed_over(name) {
            places.push(Place::entry(name));
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson;

    fn names(document: &Document) -> Vec<String> {
        let name = |place| match place {
            Place::Root => "root".to_owned(),
            Place::Entry(name) => name,
        };
        places(document).unwrap().into_iter().map(name).collect()
    }

    #[test]
    fn defaults_of_the_application_say_nothing() {
        for document in [
            doc! { "platform": "tiktok" },
            doc! { "platform": "tiktok", "platforms": [], "platformStatus": {} },
            doc! { "platform": "tiktok", "platforms": Bson::Null, "platformStatus": Bson::Null },
            doc! { "platform": "tiktok", "platformStatus": { "tiktok": Bson::Null, "instagram": Bson::Null } },
            doc! { "platforms": ["tiktok"] },
        ] {
            assert_eq!(names(&document), ["root"], "{document}");
        }
    }

    #[test]
    fn each_failed_entry_is_a_delivery() {
        let statuses = doc! {
            "tiktok": { "status": "posted" }, "instagram": { "status": "failed" }, "youtube": { "status": "failed" },
            "youtube_shorts": { "status": "failed" },
        };
        let listed = doc! { "platforms": ["tiktok", "youtube", "instagram", "youtube_shorts", "instagram"],
        "platformStatus": statuses.clone() };
        assert_eq!(names(&listed), ["youtube", "instagram"]);
        let by_platform = doc! { "platform": "instagram", "platforms": [], "platformStatus": statuses };
        assert_eq!(names(&by_platform), ["instagram"]);
        for silent in [doc! {}, doc! { "status": Bson::Null }, doc! { "status": "skipped" }, doc! { "status": 7 }] {
            let document = doc! { "platforms": ["tiktok"], "platformStatus": { "tiktok": silent } };
            assert_eq!(names(&document), [""; 0], "{document}");
        }
    }

    #[test]
    fn what_another_publisher_has_is_not_ours() {
        let at = bson_now();
        assert_eq!(names(&doc! { "platform": "tiktok", "sheetTriggeredAt": at.clone() }), [""; 0]);
        assert_eq!(names(&doc! { "platform": "instagram", "sheetTriggeredAt": at.clone() }), ["root"]);
        let failed = doc! { "status": "failed" };
        let document = doc! { "platforms": ["tiktok", "instagram"], "sheetTriggeredAt": at,
        "platformStatus": { "tiktok": failed.clone(), "instagram": failed } };
        assert_eq!(names(&document), ["instagram"]);
    }

    fn bson_now() -> Bson {
        Bson::DateTime(bson::DateTime::now())
    }

    #[test]
    fn a_shape_that_is_neither_is_told_with_its_field() {
        for (document, field) in [
            (doc! { "platforms": "tiktok" }, "platforms"),
            (doc! { "platforms": ["tiktok", 7] }, "platforms"),
            (doc! { "platforms": ["tiktok", "instagram"] }, "platformStatus"),
            (
                doc! { "platforms": ["tiktok", "instagram"], "platformStatus": { "tiktok": Bson::Null } },
                "platformStatus",
            ),
            (doc! { "platform": "tiktok", "platformStatus": "failed" }, "platformStatus"),
            (doc! { "platformStatus": { "tiktok": { "status": "failed" } } }, "platform"),
        ] {
            assert_eq!(places(&document).unwrap_err().0, field, "{document}");
        }
    }

    #[test]
    fn a_name_that_is_no_path_is_never_written() {
        for name in ["a.b", "$where", "", "a b"] {
            assert!(!Place::entry(name).is_writable(), "{name}");
        }
        assert_eq!(Place::entry("youtube").retry("retryCount"), "postretry.youtube.retryCount");
    }
}
