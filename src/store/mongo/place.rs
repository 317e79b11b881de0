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

/// How many names the list of platforms and `platformStatus` may have. No post has so many, and each name is looked up,
/// here and by the server.
const MAX_NAMES: u32 = 100;

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
        let mut filter = doc! { "status": is_failed() };
        match self {
            Self::Root => filter.extend(has_no_statuses()),
            Self::Entry(entry) => filter.extend(is_failed_entry(entry)),
        }
        filter
    }

    /// The same, exactly: as [`places`] would decide, but for a platform that is named twice.
    pub(super) fn counted(&self) -> Document {
        let mut filter = self.failed();
        filter.extend(self.not_handed_over());
        match self {
            Self::Root => drop(filter.insert("$and", vec![doc! { "$nor": [has_other_entries()] }])),
            Self::Entry(entry) => {
                let no_list = doc! { "platforms": { "$in": [Bson::Null, Bson::Array(Vec::new())] }, "platform": entry };
                let named = doc! { "$expr": is_clear(), "$or": [no_list, { "platforms": entry }] };
                // A shape that is not clear is counted once, with the first entry that failed.
                let mut told_here = doc! { "$expr": { "$not": [is_clear()] } };
                let earlier = spellings().take_while(|name| *name != entry).map(is_failed_entry);
                let earlier: Vec<Document> = earlier.collect();
                if !earlier.is_empty() {
                    told_here.insert("$nor", earlier);
                }
                filter.insert("$or", vec![named, told_here]);
            }
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

/// The path of the status of the entry with this name.
pub(super) fn status_path(name: &str) -> String {
    format!("platformStatus.{name}.status")
}

/// Matches documents without a status for any known platform. `$exists` rather than a comparison with null, so that the
/// server can merge sorted parts of the index.
pub(super) fn has_no_statuses() -> Document {
    spellings().map(|name| (status_path(name), doc! { "$exists": false }.into())).collect()
}

/// The condition for a field that is `failed`. A filter looks into lists, but a list with `failed` in it is no status.
pub(super) fn is_failed() -> Bson {
    Bson::Document(doc! { "$eq": "failed", "$not": { "$type": "array" } })
}

/// Matches documents in which the entry with this name is failed.
fn is_failed_entry(name: &str) -> Document {
    doc! { status_path(name): is_failed() }
}

/// Whether a document says something of any platform, as an expression.
fn says_something() -> Document {
    let is_set = doc! { "$ne": [{ "$ifNull": ["$$this.v", Bson::Null] }, Bson::Null] };
    doc! { "$anyElementTrue": [{ "$map": { "input": statuses_as_list(), "in": is_set } }] }
}

/// Matches documents without a status for any known platform that are no posts for one platform either.
fn has_other_entries() -> Document {
    doc! { "platformStatus": { "$type": "object" }, "$expr": { "$and": [says_something(), is_clear()] } }
}

/// Matches documents whose status for each known platform is null, an empty list or missing. An entry that is a list has
/// no status for a filter, not even a missing one.
pub(super) fn has_unset_statuses() -> Document {
    let is_unset = doc! { "$in": [Bson::Null, Bson::Array(Vec::new())] };
    spellings().map(|name| (status_path(name), is_unset.clone().into())).collect()
}

/// Whether a document has no other statuses, as far as an index can tell, as an expression.
pub(super) fn is_without_status() -> Document {
    // What the index tells of a field that is missing is null, and what a list has for it is an empty list.
    let is_missing = |name: &str| {
        let status = format!("${}", status_path(name));
        doc! { "$or": [{ "$in": [{ "$type": status.as_str() }, ["missing", "null"]] }, { "$eq": [status, []] }] }
    };
    doc! { "$and": spellings().map(is_missing).collect::<Vec<_>>() }
}

/// Matches failed documents in which the status for none of these platforms is a text. An index alone answers this; to be
/// sure that a field is missing, the server would read the document. A document whose `status` is a list with `failed` in it
/// is matched too: compare `$status` itself.
pub(super) fn without_text_status(names: &[&str]) -> Document {
    let mut filter = doc! { "status": "failed" };
    let no_text = doc! { "$not": { "$gte": "" } };
    filter.extend(names.iter().map(|name| (status_path(name), no_text.clone().into())));
    filter
}

/// Matches those of [`without_text_status`] that are no post for one platform, because a status is something else.
pub(super) fn other_than_root(names: &[&str]) -> Document {
    let mut filter = without_text_status(names);
    filter.insert("platformStatus", doc! { "$type": "object" });
    filter.insert("$expr", doc! { "$and": [{ "$eq": ["$status", "failed"] }, { "$not": [is_without_status()] }] });
    filter
}

/// Matches documents without a status for any known platform that say something of their platforms, but have no failed
/// delivery, and are not reported as malformed either.
pub(super) fn says_nothing() -> Document {
    // With any status it is no post for one platform.
    let is_no_post: Vec<Document> = spellings().map(has_status).chain([is_clear()]).collect();
    let mut filter = doc! { "status": is_failed(), "platformStatus": { "$type": "object" } };
    filter.insert("$or", vec![has_no_statuses(), has_unset_statuses()]);
    filter.insert("$expr", doc! { "$and": [says_something(), { "$or": is_no_post }] });
    filter
}

/// Matches documents in which a filter sees no status for any known platform, but that have no post for one platform:
/// those that say nothing, and those with a list of objects for `platformStatus` of which one has a status and another
/// has none. A filter that asks for null is content with one object of a list.
pub(super) fn has_no_post() -> Document {
    let mut filter = says_nothing();
    let is_silent = filter.remove("$expr").unwrap_or(Bson::Boolean(false));
    let mut in_list: Document = spellings().map(|name| (status_path(name), Bson::Null)).collect();
    in_list.insert("$expr", doc! { "$and": [{ "$isArray": "$platformStatus" }, { "$not": [is_without_status()] }] });
    filter.insert("$and", vec![doc! { "$or": [{ "$expr": is_silent }, in_list] }]);
    filter
}

/// The entries of `platformStatus` as a list, as an expression.
pub(super) fn statuses_as_list() -> Document {
    let is_object = doc! { "$eq": [{ "$type": "$platformStatus" }, "object"] };
    doc! { "$objectToArray": { "$cond": [is_object, "$platformStatus", {}] } }
}

/// Whether a document has a status, of any kind, for the entry with this name, as an expression.
fn has_status(name: &str) -> Document {
    let status = format!("${}", status_path(name));
    // What a list has for the field is a list.
    let in_list = doc! { "$ne": [status.as_str(), []] };
    let in_object = doc! { "$ne": [{ "$type": status.as_str() }, "missing"] };
    doc! { "$cond": [{ "$isArray": format!("$platformStatus.{name}") }, in_list, in_object] }
}

/// Whether the entry with this name is failed, as an expression. It looks into lists of objects, as a filter does: in
/// the place of `platformStatus`, and in the place of the entry.
fn has_failed(name: &str) -> Document {
    let is_failed = doc! { "$eq": ["$$this.status", "failed"] };
    let in_entry = doc! { "$anyElementTrue": [{ "$map": { "input": as_list("$$entry"), "in": is_failed } }] };
    // A filter does not look into a list in a list.
    let is_object = doc! { "$eq": [{ "$type": "$$statuses" }, "object"] };
    let entry = doc! { "$cond": [is_object, format!("$$statuses.{name}"), Bson::Null] };
    let in_statuses = doc! { "$let": { "vars": { "entry": entry }, "in": in_entry } };
    let statuses = as_list("$platformStatus");
    doc! { "$anyElementTrue": [{ "$map": { "input": statuses, "as": "statuses", "in": in_statuses } }] }
}

/// A value as a list, as an expression: itself, if it is one.
fn as_list(value: &str) -> Document {
    doc! { "$cond": [{ "$isArray": value }, value, [value]] }
}

/// Whether it is clear which deliveries a document has, if it says something of its platforms: an expression that is
/// true where [`places`] finds nothing wrong. Where there are too many names, they are not looked at.
fn is_clear() -> Document {
    let is_few = |list: Document| doc! { "$lte": [{ "$size": list }, MAX_NAMES] };
    let is_text = |value: &str| doc! { "$eq": [{ "$type": value }, "string"] };
    let names = doc! { "$cond": [{ "$isArray": "$platforms" }, "$platforms", []] };
    let are_texts = doc! { "$allElementsTrue": [{ "$map": { "input": names.clone(), "in": is_text("$$this") } }] };
    let are_names = doc! { "$and": [is_few(names.clone()), are_texts] };
    doc! { "$and": [
        { "$eq": [{ "$type": "$platformStatus" }, "object"] },
        is_few(statuses_as_list()),
        { "$in": [{ "$type": "$platforms" }, ["array", "missing", "null", "undefined"]] },
        { "$cond": [{ "$eq": [names, []] }, is_text("$platform"), are_names] },
    ] }
}

/// Whether a document has so many entries that it is malformed, as an expression.
pub(super) fn has_too_many_statuses() -> Document {
    doc! { "$gt": [{ "$size": statuses_as_list() }, MAX_NAMES] }
}

/// Matches documents with so many platforms that they are malformed.
pub(super) fn has_too_many_platforms() -> Document {
    doc! { format!("platforms.{MAX_NAMES}"): { "$exists": true } }
}

/// The list of platforms, as an expression; empty if it is none.
fn listed_platforms() -> Document {
    doc! { "$cond": [{ "$isArray": "$platforms" }, "$platforms", []] }
}

/// The failed entries with names that are not known, as a list of `k` and `v`, as an expression.
fn unknown_statuses() -> Document {
    let known: Vec<&str> = spellings().collect();
    let is_object = doc! { "$eq": [{ "$type": "$$this.v" }, "object"] };
    let is_set = doc! { "$ne": [{ "$ifNull": ["$$this.v", Bson::Null] }, Bson::Null] };
    let is_unknown = doc! { "$and": [
        { "$in": ["$$this.k", listed_platforms()] },
        { "$not": [{ "$in": ["$$this.k", known] }] },
        // What is no object cannot be read, so it is reported.
        { "$cond": [is_object, { "$eq": ["$$this.v.status", "failed"] }, is_set] },
    ] };
    doc! { "$filter": { "input": statuses_as_list(), "as": "this", "cond": is_unknown } }
}

/// What [`unknown_entries`] counts, as a list of names and of the dates to sort by, as an expression. A document of which
/// it is not clear which deliveries it has has no name in the list.
pub(super) fn unknown_deliveries() -> Document {
    // What is no date is not shown as one either.
    let first_date = |paths: &[&str]| {
        paths.iter().rev().fold(Bson::Null, |rest, path| {
            Bson::Document(doc! { "$cond": [{ "$eq": [{ "$type": *path }, "date"] }, *path, rest] })
        })
    };
    let of_entry = first_date(&["$$this.v.lastFailedAt", "$failedAt", "$updatedAt"]);
    let named = doc! { "$map": { "input": unknown_statuses(), "in": { "name": "$$this.k", "date": of_entry } } };
    let of_document = doc! { "date": first_date(&["$failedAt", "$updatedAt"]) };
    doc! { "$cond": [is_clear(), named, [of_document]] }
}

/// How many failed entries with names that are not known a document has, as an expression. If it is not clear which
/// deliveries it has, and it is not told for another reason, it counts as one.
pub(super) fn unknown_entries() -> Document {
    let listed = listed_platforms();
    let entries = doc! { "$size": unknown_statuses() };
    // As `is_handed_over` decides it.
    let tiktok = Platform::TikTok.as_str();
    let names_nothing = [Bson::Null, Bson::Array(Vec::new())].map(|nothing| doc! { "$in": [nothing, listed.clone()] });
    let by_platform = doc! { "$and": [{ "$or": names_nothing.to_vec() }, { "$in": [tiktok, as_list("$platform")] }] };
    let is_in_hands = doc! { "$and": [
        { "$ne": [{ "$ifNull": [format!("${HANDED_OVER}"), Bson::Null] }, Bson::Null] },
        { "$or": [{ "$in": [tiktok, listed] }, by_platform] },
    ] };
    let is_told_here = doc! { "$and": [
        { "$not": [is_in_hands] },
        { "$or": spellings().map(has_status).collect::<Vec<_>>() },
        { "$not": [{ "$or": spellings().map(has_failed).collect::<Vec<_>>() }] },
    ] };
    let of_unclear = doc! { "$cond": [is_told_here, 1, 0] };
    // A condition computes only the value that it takes.
    let of_failed = doc! { "$cond": [is_clear(), entries, of_unclear] };
    doc! { "$cond": [{ "$eq": ["$status", "failed"] }, of_failed, 0] }
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

fn too_many(field: &str) -> ShapeError {
    (field.to_owned(), format!("it has more than {MAX_NAMES} names"))
}

fn shape(document: &Document) -> Result<Shape<'_>, ShapeError> {
    let names = match document.get("platforms") {
        None | Some(Bson::Null | Bson::Undefined) => Vec::new(),
        Some(Bson::Array(names)) if names.len() > MAX_NAMES as usize => return Err(too_many("platforms")),
        Some(Bson::Array(names)) => match names.iter().map(Bson::as_str).collect() {
            Some(names) => names,
            None => return Err(("platforms".to_owned(), "it is not a list of strings".to_owned())),
        },
        Some(_) => return Err(("platforms".to_owned(), "it is not a list of strings".to_owned())),
    };
    let statuses = match document.get("platformStatus") {
        None | Some(Bson::Null | Bson::Undefined) => None,
        Some(Bson::Document(statuses)) if statuses.len() > MAX_NAMES as usize => {
            return Err(too_many("platformStatus"));
        }
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

/// The platform that the list of platforms names first, as an expression; null if there is none.
pub(super) fn first_listed() -> Document {
    doc! { "$cond": [{ "$isArray": "$platforms" }, { "$first": "$platforms" }, Bson::Null] }
}

/// What [`platform_of_root`] returns, as an expression. A value that is not text is returned as it is: it is no known
/// platform either.
pub(super) fn first_named() -> Document {
    let is_text = doc! { "$eq": [{ "$type": "$$listed" }, "string"] };
    let otherwise = doc! { "$ifNull": ["$platform", "$$listed"] };
    doc! { "$let": { "vars": { "listed": first_listed() }, "in": { "$cond": [is_text, "$$listed", otherwise] } } }
}

/// The known platforms that a document names, whatever its status.
pub(super) fn known_platforms(document: &Document) -> Vec<Platform> {
    let listed = document.get("platforms").and_then(Bson::as_array).into_iter().flatten().filter_map(Bson::as_str);
    let mut names: Vec<&str> = listed.collect();
    if names.is_empty() {
        names.extend(document.get("platform").and_then(Bson::as_str));
    }
    let mut platforms = Vec::new();
    for platform in names.into_iter().filter_map(|name| name.parse::<Platform>().ok()) {
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    platforms
}

/// What a document says of the entry with this name. It looks into lists, because a filter does.
fn entries<'a>(document: &'a Document, name: &str) -> impl Iterator<Item = &'a Document> {
    let statuses = objects(document.get("platformStatus"));
    statuses.into_iter().flat_map(move |statuses| objects(statuses.get(name)))
}

fn objects(value: Option<&Bson>) -> Vec<&Document> {
    match value {
        Some(Bson::Document(object)) => vec![object],
        Some(Bson::Array(list)) => list.iter().filter_map(Bson::as_document).collect(),
        _ => Vec::new(),
    }
}

/// The place at which a document is found that is malformed as a whole, so that it is told once.
pub(super) fn place_of_malformed(document: &Document) -> Place {
    let is_failed = |status: &Document| status.get_str("status").is_ok_and(|status| status == "failed");
    let found = spellings().find(|name| entries(document, name).any(is_failed));
    found.map_or(Place::Root, Place::entry)
}

/// Whether a document that is malformed as a whole, and none of whose entries is failed, is in another publisher's hands:
/// as [`Place::not_handed_over`] says it to the server.
pub(super) fn is_handed_over(document: &Document) -> bool {
    let has = |value: Option<&Bson>| match value {
        Some(Bson::Array(list)) => list.iter().any(|name| name.as_str() == Some(Platform::TikTok.as_str())),
        value => value.and_then(Bson::as_str) == Some(Platform::TikTok.as_str()),
    };
    let by_platform = || names_nothing(document) && has(document.get("platform"));
    is_set(document.get(HANDED_OVER)) && (has(document.get("platforms")) || by_platform())
}

/// Whether the list of platforms is missing or empty, or a filter takes it for that because of what is in it.
fn names_nothing(document: &Document) -> bool {
    let is_nothing = |value: &Bson| match value {
        Bson::Array(list) => list.is_empty(),
        value => !is_set(Some(value)),
    };
    match document.get("platforms") {
        None => true,
        Some(Bson::Array(list)) => list.is_empty() || list.iter().any(is_nothing),
        Some(value) => is_nothing(value),
    }
}

/// Whether a document that is malformed as a whole is found as a post for one platform whose name is not known.
pub(super) fn is_without_known_name(document: &Document) -> bool {
    let is_known = |name: &Bson| name.as_str().is_some_and(|name| name.parse::<Platform>().is_ok());
    let has_known_name = match document.get("platform") {
        Some(Bson::Array(list)) => list.iter().any(is_known),
        value => value.is_some_and(is_known),
    };
    names_nothing(document) && !has_known_name
}

/// Whether a document has a status, of any kind, for a platform that is known. Then it is not found as a post for one
/// platform.
pub(super) fn has_known_status(document: &Document) -> bool {
    let has_status = |status: &Document| status.contains_key("status");
    spellings().any(|name| entries(document, name).any(has_status))
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

    fn names_of(document: &Document) -> Vec<String> {
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
            assert_eq!(names_of(&document), ["root"], "{document}");
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
        assert_eq!(names_of(&listed), ["youtube", "instagram"]);
        let by_platform = doc! { "platform": "instagram", "platforms": [], "platformStatus": statuses };
        assert_eq!(names_of(&by_platform), ["instagram"]);
        for silent in [doc! {}, doc! { "status": Bson::Null }, doc! { "status": "skipped" }, doc! { "status": 7 }] {
            let document = doc! { "platforms": ["tiktok"], "platformStatus": { "tiktok": silent } };
            assert_eq!(names_of(&document), [""; 0], "{document}");
        }
    }

    #[test]
    fn what_another_publisher_has_is_not_ours() {
        let at = bson_now();
        assert_eq!(names_of(&doc! { "platform": "tiktok", "sheetTriggeredAt": at.clone() }), [""; 0]);
        assert_eq!(names_of(&doc! { "platform": "instagram", "sheetTriggeredAt": at.clone() }), ["root"]);
        let failed = doc! { "status": "failed" };
        let document = doc! { "platforms": ["tiktok", "instagram"], "sheetTriggeredAt": at,
        "platformStatus": { "tiktok": failed.clone(), "instagram": failed } };
        assert_eq!(names_of(&document), ["instagram"]);
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
    fn more_names_than_any_post_has_are_malformed() {
        let names = |count: u32| (0..count).map(|number| format!("name{number}"));
        let listed = |count| names(count).chain(["tiktok".to_owned()]).collect::<Vec<_>>();
        let statuses = |count| {
            let others = names(count).map(|name| (name, Bson::from(doc! { "status": "posted" })));
            others.chain([("tiktok".to_owned(), doc! { "status": "failed" }.into())]).collect::<Document>()
        };
        let document = |names: Vec<String>, statuses: Document| doc! { "platforms": names, "platformStatus": statuses };
        let most = MAX_NAMES - 1;
        assert_eq!(names_of(&document(listed(most), statuses(most))), ["tiktok"]);
        for (listed, statuses, field) in [
            (listed(most + 1), statuses(1), "platforms"),
            (listed(1), statuses(most + 1), "platformStatus"),
            (listed(200_000), statuses(200_000), "platforms"),
        ] {
            let document = document(listed, statuses);
            assert_eq!(places(&document).unwrap_err().0, field);
            assert_eq!(place_of_malformed(&document), Place::entry("tiktok"));
        }
    }

    #[test]
    fn a_list_with_failed_in_it_is_no_status() {
        for document in [
            doc! { "status": ["failed"], "platform": "tiktok" },
            doc! { "platforms": ["tiktok"], "platformStatus": { "tiktok": { "status": ["failed"] } } },
        ] {
            assert_eq!(names_of(&document), [""; 0], "{document}");
        }
    }

    #[test]
    fn the_platforms_of_a_document_are_known_whatever_its_status() {
        use Platform::{Instagram, TikTok, YouTubeShorts};
        for (document, platforms) in [
            (doc! { "platform": "tiktok", "status": "posted" }, vec![TikTok]),
            (doc! { "platform": "tiktok", "platforms": [] }, vec![TikTok]),
            (doc! { "platform": "tiktok", "platforms": ["instagram"] }, vec![Instagram]),
            (doc! { "platforms": ["youtube", "tiktok", "youtube_shorts", 7, "x"] }, vec![YouTubeShorts, TikTok]),
            (doc! { "platform": 7, "platforms": "tiktok" }, vec![]),
        ] {
            assert_eq!(known_platforms(&document), platforms, "{document}");
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
