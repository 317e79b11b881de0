//! The parts of the failed deliveries: those with their fields at one place, and how their posts name the platform.

use mongodb::bson::{Bson, Document, doc};

use super::document::bson_date;
use super::filter::{at_least, extended, one_of};
use super::index;
use super::place::{HANDED_OVER, Place, first_named, spellings, status_path, unknown_entries};
use crate::post::{BackoffFrom, Platform};
use crate::store::{ListFilter, Scope};

/// A part of the failed deliveries, all with their fields at one place, or with unknown names.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Where the fields are; none of deliveries with unknown names, which can only be reported.
    pub(super) place: Option<Place>,
    /// Matches their documents.
    pub(super) base: Document,
    /// Which posts for one platform, if they are that.
    pub(super) kind: RootKind,
}

/// How a post for one platform names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RootKind {
    /// With `platform`.
    Named,
    /// Only in the list of platforms.
    Listed,
    /// With a name that is not known, so that it can only be reported.
    Unknown,
    /// It is a post for several platforms, or nobody asks.
    Other,
}

impl Part {
    fn new(place: Option<Place>, base: Document, kind: RootKind) -> Self {
        Self { place, base, kind }
    }

    /// Deliveries of this platform at one place.
    fn at(place: Place) -> Self {
        let base = place.failed();
        Self::new(Some(place), base, RootKind::Other)
    }

    /// The index in the order of retry counts and dates.
    pub(super) fn index(&self, from: BackoffFrom) -> String {
        match (&self.place, self.kind, from) {
            (Some(Place::Entry(name)), ..) => index::due_of(name),
            (None, ..) | (_, RootKind::Listed, _) => index::PLATFORMS.to_owned(),
            (Some(Place::Root), _, BackoffFrom::FirstFailure) => index::DUE.to_owned(),
            (Some(Place::Root), _, BackoffFrom::LastAttempt) => index::DUE_LAST_ATTEMPT.to_owned(),
        }
    }
}

/// What the failed documents say of their platforms: whatever none of them says need not be asked for.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    /// The names under which there is a status of a platform.
    pub(super) entries: Vec<&'static str>,
    /// Whether any has a list of platforms.
    pub(super) has_lists: bool,
}

impl Usage {
    /// Anything may be there.
    fn all() -> Self {
        Self { entries: spellings().collect(), has_lists: true }
    }
}

/// The parts that make up the deliveries of a scope. They do not overlap.
pub(super) fn parts(scope: Scope, usage: &Usage) -> Vec<Part> {
    let root = |more: Document, kind| Part::new(Some(Place::Root), extended(&Place::Root.failed(), more), kind);
    match scope {
        Scope::Platform(platform) => {
            let names = platform.spellings();
            let mut parts = vec![root(doc! { "platform": one_of(names) }, RootKind::Named)];
            if usage.has_lists {
                let listed = doc! { "platforms": one_of(names), "platform": { "$nin": names.to_vec() } };
                parts.push(root(listed, RootKind::Listed));
            }
            let used = names.iter().filter(|name| usage.entries.contains(name));
            parts.extend(used.map(|name| Part::at(Place::entry(name))));
            if platform == Platform::TikTok {
                for part in &mut parts {
                    part.base.insert(HANDED_OVER, Bson::Null);
                }
            }
            parts
        }
        Scope::UnknownPlatform => {
            let known: Vec<&str> = spellings().collect();
            let unknown = doc! {
                "platform": { "$nin": known.clone() },
                "$or": [
                    { "platforms": { "$in": [Bson::Null, Bson::Array(Vec::new())] } },
                    { "platforms": { "$not": { "$type": "array" } } },
                ],
            };
            let mut parts = vec![root(unknown, RootKind::Unknown)];
            if usage.has_lists {
                let entries = doc! { "status": "failed", "platforms": { "$elemMatch": { "$nin": known } } };
                parts.push(Part::new(None, entries, RootKind::Other));
            }
            parts
        }
    }
}

/// Parts with all deliveries, whatever their platforms are, in as few queries as possible. They may overlap. What a part
/// of [`parts`] matches, a part with the same index matches here: [`super::work`] leaves out of a pass what these have
/// shown to be empty.
pub(super) fn all_parts(usage: &Usage) -> Vec<Part> {
    let of_platforms = Platform::ALL.into_iter().flat_map(|platform| parts(Scope::Platform(platform), usage));
    let mut all: Vec<Part> = of_platforms.filter(|part| part.kind == RootKind::Other).collect();
    // One query serves the posts of all platforms that are named in the same way.
    let known: Vec<&str> = spellings().collect();
    let root = |more: Document, kind| Part::new(Some(Place::Root), extended(&Place::Root.failed(), more), kind);
    all.push(root(doc! { "platform": one_of(&known) }, RootKind::Named));
    if usage.has_lists {
        // Whatever the field says: the list may name another platform.
        all.push(root(doc! { "platforms": one_of(&known) }, RootKind::Listed));
    }
    all.extend(parts(Scope::UnknownPlatform, usage));
    // Where no document has a text as the status for a platform, hardly any has a status for it. To ask for that costs
    // time in every branch of a search.
    for part in all.iter_mut().filter(|part| part.place == Some(Place::Root)) {
        for name in spellings().filter(|name| !usage.entries.contains(name)) {
            part.base.remove(status_path(name));
        }
    }
    all
}

/// The parts that make up a list, exactly: they are counted too. Those of platforms that nobody asked for are left out.
pub(super) fn listed_parts(filter: &ListFilter) -> Vec<Part> {
    if !filter.platforms.is_empty() {
        let of_platform = |platform: Platform| {
            // The field decides only where the list names nothing. A filter for its value also matches a list with it.
            let is_named = doc! { "$in": [first_named(), platform.spellings().to_vec()] };
            let is_of = doc! { "$expr": { "$or": [is_named, { "$isArray": [first_named()] }] } };
            let exactly = move |part: Part| match &part.place {
                Some(place @ Place::Entry(_)) => Part { base: place.counted(), ..part },
                Some(place @ Place::Root) => {
                    Part { base: extended(&extended(&part.base, place.counted()), is_of.clone()), ..part }
                }
                None => part,
            };
            parts(Scope::Platform(platform), &Usage::all()).into_iter().map(exactly)
        };
        return filter.platforms.iter().copied().flat_map(of_platform).collect();
    }
    // Without a status for any platform the whole document is one post.
    let unknown = doc! {
        "status": "failed",
        "platforms": { "$elemMatch": { "$nin": spellings().collect::<Vec<_>>() } },
        "platformStatus": { "$type": "object" },
        "$expr": { "$gt": [unknown_entries(), 0] },
    };
    let places = std::iter::once(Place::Root).chain(spellings().map(Place::entry));
    let known = places.map(|place| Part::new(Some(place.clone()), place.counted(), RootKind::Other));
    known.chain([Part::new(None, unknown, RootKind::Other)]).collect()
}

/// The failed deliveries of a part that pass the filter, whether due or not; none if none can. The date of those with
/// unknown names is for the caller to compare: a document can have several.
pub(super) fn listed(part: &Part, filter: &ListFilter) -> Option<Document> {
    let Some(place) = &part.place else {
        // Of a delivery with an unknown name nothing else is known that a filter could ask for.
        let rest = ListFilter { since: None, ..filter.clone() };
        return rest.is_everything().then(|| part.base.clone());
    };
    let mut conditions = vec![part.base.clone()];
    if !filter.categories.is_empty() {
        let names: Vec<&str> = filter.categories.iter().map(|category| category.as_str()).collect();
        conditions.push(doc! { place.retry("failureCategory"): { "$in": names } });
    }
    if let Some(policy) = filter.permanent {
        conditions.push(doc! { "$or": [
            { place.retry("permanentlyFailed"): true },
            { place.retry("retryCount"): at_least(policy.max_retries) },
        ] });
    }
    if let Some(since) = filter.since {
        conditions.push(doc! { "$expr": { "$gte": [place.anchor(), bson_date(since)] } });
    }
    Some(doc! { "$and": conditions })
}
