//! The conditions of queries and writes as MongoDB filters.
//!
//! Due posts are found with one range for each retry count, `failedAt` ≤ now − base × 2^k. So an index serves the
//! query, no derived data is stored, and a changed setting takes effect at once. Every branch of an `$or` repeats the
//! whole condition, and the index for all of them is named: the server would plan each branch anew, with every index.

use chrono::{DateTime, TimeDelta, Utc};
use mongodb::bson::{Bson, Document, doc};

use super::document::{bson_date, integer};
use super::index;
use super::page::Position;
use super::place::{HANDED_OVER, Place, first_of, spellings, unknown_entries};
use crate::post::{BackoffFrom, MAX_LEASE, Platform, Post, RetryPolicy, Settlement};
use crate::store::query::MalformedPosts;
use crate::store::{ListFilter, Scope};

fn one_of(names: &[&str]) -> Bson {
    match names {
        [name] => Bson::String((*name).to_owned()),
        names => Bson::Document(doc! { "$in": names.to_vec() }),
    }
}

fn extended(base: &Document, more: Document) -> Document {
    let mut whole = base.clone();
    whole.extend(more);
    whole
}

/// A part of the failed deliveries, all with their fields at one place, or with unknown names.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Where the fields are; none of deliveries with unknown names, which can only be reported.
    pub(super) place: Option<Place>,
    /// Matches their documents.
    pub(super) base: Document,
    /// Which posts for one platform, if they are that.
    kind: RootKind,
}

/// How a post for one platform names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RootKind {
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
                "platform": { "$nin": known.clone(), "$not": { "$type": "array" } },
                "platforms": { "$in": [Bson::Null, Bson::Array(Vec::new())] },
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

/// A scan of one index for deliveries.
#[derive(Debug, Clone)]
pub(super) struct IndexScan {
    /// Where the fields are.
    pub(super) part: Part,
    /// It finds the deliveries that any of these matches.
    pub(super) branches: Vec<Document>,
    /// The index.
    pub(super) index: String,
    /// The field by which the index returns each branch in order; none if the server has to sort them.
    pub(super) ordered_by: Option<String>,
}

/// Whatever any of these matches.
pub(super) fn any(branches: Vec<Document>) -> Document {
    doc! { "$or": branches }
}

/// The scans for what is due in a part. No two find the same delivery. What has begun comes first.
pub(super) fn due(part: &Part, policy: &RetryPolicy, now: DateTime<Utc>, malformed: MalformedPosts) -> Vec<IndexScan> {
    let from = policy.backoff_from;
    let scan = |branches, index: String, ordered_by| IndexScan { part: part.clone(), branches, index, ordered_by };
    let Some(place) = &part.place else { return vec![scan(vec![part.base.clone()], part.index(from), None)] };
    let state = DueState::new(part, place, policy, now, malformed);
    let (ordered, mut others) = state.by_date();
    let ordered_by = state.dates.first().to_owned();
    let undated = state.undated();
    let mut scans = vec![
        scan(vec![state.processing()], index::processing_of(place), None),
        scan(state.claimed(), index::claims_of(place), None),
    ];
    if part.kind == RootKind::Unknown {
        let branches = scans.into_iter().flat_map(|scan| scan.branches).chain(ordered).chain(undated).chain(others);
        return vec![scan(branches.chain(state.unreadable()).collect(), part.index(from), None)];
    }
    // Pages are in the order of the first failure.
    let is_ordered = part.kind != RootKind::Listed && from == BackoffFrom::FirstFailure;
    if is_ordered {
        scans.push(scan(ordered, part.index(from), Some(ordered_by)));
    } else {
        others.extend(ordered);
    }
    if part.kind == RootKind::Named {
        scans.push(scan(undated, index::UNDATED.to_owned(), None));
    } else {
        others.extend(undated);
    }
    others.extend(state.unreadable());
    scans.push(scan(others, part.index(from), None));
    scans.retain(|scan| !scan.branches.is_empty());
    scans
}

/// The state of deliveries at a place, and what makes it due.
struct DueState<'a> {
    place: &'a Place,
    policy: &'a RetryPolicy,
    now: DateTime<Utc>,
    malformed: MalformedPosts,
    base: &'a Document,
    /// Those that are not marked as permanently failed.
    unflagged: Document,
    /// Those of them that nobody works on, and that nothing but the backoff holds back.
    unclaimed: Document,
    dates: Dates,
}

impl<'a> DueState<'a> {
    fn new(
        part: &'a Part,
        place: &'a Place,
        policy: &'a RetryPolicy,
        now: DateTime<Utc>,
        malformed: MalformedPosts,
    ) -> Self {
        let unflagged = extended(&part.base, doc! { place.retry("permanentlyFailed"): not_flagged() });
        let unclaimed = extended(
            &unflagged,
            doc! {
                place.retry("retryNotBefore"): { "$not": { "$gt": bson_date(now) } },
                place.retry("retryClaim"): Bson::Null,
            },
        );
        let dates = Dates::of(place, policy.backoff_from);
        Self { place, policy, now, malformed, base: &part.base, unflagged, unclaimed, dates }
    }

    /// Those that the platform is still processing.
    fn processing(&self) -> Document {
        extended(&self.unclaimed, is_processing(self.place))
    }

    /// Those that nobody works on and that the platform is not processing.
    fn idle(&self) -> Document {
        extended(&self.unclaimed, doc! { "$nor": [is_processing(self.place)] })
    }

    /// Those whose process died, or whose clock was wrong. `retryNotBefore` was checked when the attempt started.
    fn claimed(&self) -> Vec<Document> {
        let claim = self.place.retry("retryClaim");
        let until = format!("{claim}.until");
        let with = |more: Document| extended(&self.unflagged, more);
        let is_claimed = doc! { "$exists": true };
        let latest = self.now.checked_add_signed(MAX_LEASE).map(|latest| doc! { "$gt": bson_date(latest) });
        let ends = [Some(doc! { "$lte": bson_date(self.now) }), latest].into_iter().flatten();
        let mut branches: Vec<Document> =
            ends.map(|end| with(doc! { claim.as_str(): is_claimed.clone(), until.as_str(): end })).collect();
        if self.malformed == MalformedPosts::Excluded {
            for dead in &mut branches {
                dead.insert("$expr", is_readable_claim(&claim));
            }
            return branches;
        }
        let is_set = doc! { "$exists": true, "$ne": Bson::Null };
        branches.extend([
            with(doc! { claim.as_str(): is_set.clone(), until.as_str(): Bson::Null }),
            with(doc! { claim.as_str(): Bson::Array(Vec::new()), until.as_str(): { "$exists": false } }),
            with(doc! { claim.as_str(): is_set, until.as_str(): { "$type": other_than(&["date"]) } }),
            with(doc! {
                claim.as_str(): is_claimed, until: { "$type": "date" },
                format!("{claim}.by"): { "$not": { "$type": "string" } },
            }),
        ]);
        branches
    }

    /// Those whose backoff is over since a date: with an ordinary retry count and the usual date, and all others.
    fn by_date(&self) -> (Vec<Document>, Vec<Document>) {
        let (policy, idle) = (self.policy, self.idle());
        let count = self.place.retry("retryCount");
        let (mut ordered, mut others, mut latest_of_all) = (Vec::new(), Vec::new(), None);
        for number in 0..policy.max_retries {
            let Some(latest) = policy.latest_due_anchor(number, self.now) else { break };
            latest_of_all = latest_of_all.max(Some(latest));
            let latest = bson_date(latest);
            // A filter looks into lists.
            let in_time = doc! { self.dates.first(): { "$lte": latest.clone(), "$not": { "$type": "array" } } };
            let in_list = doc! { self.dates.first(): { "$lte": latest, "$type": "array" } };
            for counted in exact_counts(number).into_iter().map(|exact| extended(&idle, doc! { &count: exact })) {
                if self.malformed == MalformedPosts::Included {
                    others.push(extended(&counted, in_list.clone()));
                }
                ordered.push(extended(&counted, in_time.clone()));
            }
        }
        let Some(latest) = latest_of_all else { return (ordered, others) };
        let exact: Vec<Bson> = (0..policy.max_retries).flat_map(exact_counts).collect();
        let unusual = extended(&idle, doc! { "$expr": self.dates.is_reached(&count, policy, self.now) });
        let in_time = doc! { self.dates.first(): { "$lte": bson_date(latest) } };
        if *self.place == Place::Root && !self.base.contains_key(HANDED_OVER) {
            // Every key of the index before the date has one value, so that the server can merge by the date.
            for due in &mut ordered {
                due.insert(HANDED_OVER, Bson::Null);
            }
            let handed_over = doc! { HANDED_OVER: { "$ne": Bson::Null }, &count: { "$in": exact.clone() } };
            others.push(extended(&extended(&unusual, handed_over), in_time.clone()));
        }
        let odd = doc! { &count: { "$lt": integer(policy.max_retries), "$nin": exact } };
        others.push(extended(&extended(&unusual, odd), in_time));
        let open = extended(&unusual, doc! { &count: { "$not": { "$gte": integer(policy.max_retries) } } });
        others.extend(self.dates.otherwise(latest, self.malformed).iter().map(|date| extended(&open, date.clone())));
        (ordered, others)
    }

    /// Those without any date: then the last change counts, and without that they are due.
    fn undated(&self) -> Vec<Document> {
        let idle = self.idle();
        let mut branches = Vec::new();
        for number in 0..self.policy.max_retries {
            let Some(latest) = self.policy.latest_due_anchor(number, self.now) else { break };
            for range in count_ranges(number) {
                let counted = extended(&idle, doc! { self.place.retry("retryCount"): range });
                let dates = self.dates.unset(latest, self.malformed).into_iter();
                branches.extend(dates.map(|date| extended(&counted, date)));
            }
        }
        branches
    }

    /// Those whose flag or counter cannot be read, if they are to be reported.
    fn unreadable(&self) -> Vec<Document> {
        if self.malformed == MalformedPosts::Excluded {
            return Vec::new();
        }
        let count = self.place.retry("retryCount");
        // With a dead claim they are found by that.
        let is_not_dead = doc! { self.place.retry("retryClaim.until"): { "$not": { "$lte": bson_date(self.now) } } };
        let counted = extended(&self.unflagged, is_not_dead);
        let flags = wrong_type(&self.place.retry("permanentlyFailed"), &["bool"]);
        let counts = wrong_type(&count, &NUMBERS);
        flags
            .into_iter()
            .map(|flag| extended(self.base, flag))
            .chain(counts.into_iter().map(|wrong| extended(&counted, wrong)))
            .chain([extended(&counted, doc! { count: f64::NAN })])
            .collect()
    }
}

fn is_processing(place: &Place) -> Document {
    doc! { place.retry("failureCategory"): "processing", place.retry("publishTicket"): { "$type": "object" } }
}

/// The dates that the backoff counts from: the first that is set.
struct Dates(Vec<String>);

impl Dates {
    fn of(place: &Place, from: BackoffFrom) -> Self {
        let own = match from {
            BackoffFrom::FirstFailure => None,
            BackoffFrom::LastAttempt => Some(place.retry("lastRetriedAt")),
        };
        Self(own.into_iter().chain(place.failure_dates()).collect())
    }

    /// The one that nearly every failed delivery has.
    fn first(&self) -> &str {
        self.0.first().map_or("failedAt", String::as_str)
    }

    /// Whether the backoff is over, as an expression. It is where there is no date.
    fn is_reached(&self, count: &str, policy: &RetryPolicy, now: DateTime<Utc>) -> Document {
        let count = format!("${count}");
        let whole = doc! { "$cond": [{ "$isNumber": count.as_str() }, { "$max": [0, { "$floor": count }] }, 0] };
        // No more retries can be asked for, and a larger number would be too large for the server.
        let whole = doc! { "$min": [whole, policy.max_retries] };
        let delay = doc! { "$multiply": [policy.base_interval.num_milliseconds(), { "$pow": [2, whole] }] };
        let dates: Vec<String> = self.0.iter().cloned().chain(["updatedAt".to_owned()]).collect();
        doc! { "$lte": [first_of(&dates, Bson::Null), { "$subtract": [bson_date(now), delay] }] }
    }

    /// The ways in which there can be a date that is rare. If malformed posts are included, values that are no dates count
    /// too, so that they are reported.
    fn otherwise(&self, latest: DateTime<Utc>, malformed: MalformedPosts) -> Vec<Document> {
        let mut unset = Document::new();
        let mut branches = Vec::new();
        for (number, path) in self.0.iter().enumerate() {
            if number > 0 {
                branches.push(extended(&unset, doc! { path.as_str(): { "$lte": bson_date(latest) } }));
            }
            if malformed == MalformedPosts::Included {
                branches.extend(wrong_type(path, &["date"]).map(|wrong| extended(&unset, wrong)));
            }
            unset.insert(path.as_str(), Bson::Null);
        }
        branches
    }

    /// No date at all: then the last change counts, and without that it is due.
    fn unset(&self, latest: DateTime<Utc>, malformed: MalformedPosts) -> Vec<Document> {
        let unset: Document = self.0.iter().map(|path| (path.clone(), Bson::Null)).collect();
        let date = bson_date(latest);
        let changed = match malformed {
            MalformedPosts::Included => vec![doc! { "updatedAt": { "$not": { "$gt": date } } }],
            MalformedPosts::Excluded => vec![doc! { "updatedAt": { "$lte": date } }, doc! { "updatedAt": Bson::Null }],
        };
        changed.into_iter().map(|changed| extended(&unset, changed)).collect()
    }
}

/// The branches after a place in the order of a part, of those that are ordered by this field.
pub(super) fn after(branches: Vec<Document>, ordered_by: &str, position: &Position) -> Vec<Document> {
    let Some(anchor) = position.date() else { return branches };
    let rest = position.after_same_date();
    let no_list = doc! { "$type": "array" };
    // A range, although it holds a single instant: after an equal value the server does not merge by this field.
    let next = anchor.checked_add_signed(TimeDelta::milliseconds(1));
    let same = doc! { "$gte": bson_date(anchor), "$lt": next.map_or(Bson::MaxKey, bson_date), "$not": no_list.clone() };
    branches
        .into_iter()
        .flat_map(|branch| {
            let latest =
                branch.get(ordered_by).and_then(Bson::as_document).and_then(|range| range.get("$lte")).cloned();
            let is_reached = latest
                .as_ref()
                .and_then(Bson::as_datetime)
                .is_none_or(|latest| latest.timestamp_millis() >= anchor.timestamp_millis());
            let later = extended(
                &branch,
                doc! { ordered_by: { "$gt": bson_date(anchor), "$lte": latest.unwrap_or(Bson::MaxKey), "$not": no_list.clone() } },
            );
            let at_same = extended(&branch, doc! { ordered_by: same.clone(), "$expr": rest.clone() });
            [later, at_same].into_iter().filter(move |_| is_reached)
        })
        .collect()
}

/// Whether the claim has a holder and a date.
fn is_readable_claim(claim: &str) -> Document {
    doc! { "$and": [is_of(&format!("{claim}.by"), "string"), is_of(&format!("{claim}.until"), "date")] }
}

fn is_of(field: &str, kind: &str) -> Document {
    doc! { "$eq": [{ "$type": format!("${field}") }, kind] }
}

fn not_flagged() -> Bson {
    Bson::Document(doc! { "$in": [Bson::Null, false] })
}

/// The values of counters as this program and Mongoose write `count`; a missing one means 0.
fn exact_counts(count: u32) -> Vec<Bson> {
    if count == 0 { vec![Bson::Null, integer(0)] } else { vec![integer(count)] }
}

/// All counters that mean `count`, in as few ranges as possible.
fn count_ranges(count: u32) -> Vec<Bson> {
    match (count, count.checked_add(1)) {
        (0, _) => vec![Bson::Null, Bson::Document(doc! { "$lt": 1 })],
        (_, Some(next)) => vec![Bson::Document(doc! { "$gte": integer(count), "$lt": integer(next) })],
        (_, None) => vec![at_least(count)],
    }
}

const NUMBERS: [&str; 4] = ["double", "int", "long", "decimal"];

/// Every BSON type that a field may have by mistake, other than these and null. A list has the types of its elements, so
/// an empty one has none.
fn other_than(types: &[&str]) -> Vec<Bson> {
    [
        "double",
        "string",
        "object",
        "binData",
        "objectId",
        "bool",
        "date",
        "regex",
        "javascript",
        "int",
        "timestamp",
        "long",
        "decimal",
        "minKey",
        "maxKey",
    ]
    .into_iter()
    .filter(|name| !types.contains(name))
    .map(Bson::from)
    .collect()
}

/// Matches values of a field that have none of these types, and are there.
fn wrong_type(field: &str, types: &[&str]) -> [Document; 2] {
    [doc! { field: { "$type": other_than(types) } }, doc! { field: Bson::Array(Vec::new()) }]
}

/// The exhausted deliveries of a part that are not marked yet, without those that are running or waiting to be resumed.
pub(super) fn exhausted(part: &Part, policy: &RetryPolicy) -> Option<IndexScan> {
    let place = part.place.as_ref()?;
    let exhausted = extended(
        &part.base,
        doc! {
            place.retry("permanentlyFailed"): not_flagged(),
            place.retry("retryCount"): at_least(policy.max_retries),
            place.retry("retryClaim"): Bson::Null,
            "$nor": [is_processing(place)],
        },
    );
    let index = part.index(BackoffFrom::FirstFailure);
    Some(IndexScan { part: part.clone(), branches: vec![exhausted], index, ordered_by: None })
}

/// A counter of at least this. A missing one counts as 0.
fn at_least(count: u32) -> Bson {
    if count == 0 {
        Bson::Document(doc! { "$not": { "$type": other_than(&NUMBERS) } })
    } else {
        Bson::Document(doc! { "$gte": integer(count) })
    }
}

/// Matches the delivery if its retry state is unchanged and it has no valid claim by the server's clock.
pub(super) fn unchanged_since_read(id: Bson, place: &Place, post: &Post) -> Document {
    let retry = &post.retry;
    let field = |name: &str| place.retry(name);
    let date = |date: Option<DateTime<Utc>>| date.map_or(Bson::Null, bson_date);
    let count = count_ranges(retry.count).into_iter().map(|range| doc! { field("retryCount"): range });
    let mut failed_at = vec![date(post.failed_at)];
    if post.failed_at.is_none() && *place != Place::Root {
        // The claim on another delivery of the document may have kept the date that counts instead.
        failed_at.push(date(post.updated_at));
    }
    let mut conditions = vec![doc! { "$in": [place.failure_date(), { "$literal": failed_at }] }];
    let mut filter = doc! { "_id": id };
    filter.extend(place.writable());
    filter.extend(doc! {
        field("permanentlyFailed"): not_flagged(),
        field("lastRetriedAt"): date(retry.last_retried_at),
        field("retryNotBefore"): date(retry.not_before),
        "$or": count.collect::<Vec<_>>(),
    });
    let claim = field("retryClaim");
    match &retry.claim {
        None => drop(filter.insert(claim, Bson::Null)),
        Some(dead) => {
            let until = format!("{claim}.until");
            conditions.push(is_not_live(&format!("${until}")));
            filter.insert(format!("{claim}.by"), dead.by.as_str());
            filter.insert(until, doc! { "$type": "date" });
        }
    }
    filter.insert("$expr", doc! { "$and": conditions });
    filter
}

/// Whether a lease until this field's date is valid by the server's clock. No other type is between two dates.
fn is_live(until: &str) -> Document {
    let latest = doc! { "$add": ["$$NOW", MAX_LEASE.num_milliseconds()] };
    doc! { "$and": [{ "$gt": [until, "$$NOW"] }, { "$lte": [until, latest] }] }
}

/// Whether there is a claim that can be read and is valid.
pub(super) fn has_live_claim(place: &Place) -> Document {
    let claim = place.retry("retryClaim");
    doc! { "$and": [is_of(&format!("{claim}.by"), "string"), is_live(&format!("${claim}.until"))] }
}

/// Whether there is no valid lease in this field.
pub(super) fn is_not_live(until: &str) -> Document {
    doc! { "$not": [is_live(until)] }
}

fn claimed_by(id: Bson, place: &Place, by: &str) -> Document {
    doc! { "_id": id, place.retry("retryClaim.by"): by }
}

fn claim_is_live(place: &Place) -> Document {
    is_live(&format!("${}", place.retry("retryClaim.until")))
}

/// Matches the delivery while it is failed and this claim on it is valid.
pub(super) fn lease_held(id: Bson, place: &Place, by: &str) -> Document {
    let mut filter = claimed_by(id, place, by);
    filter.extend(place.writable());
    filter.insert("$expr", claim_is_live(place));
    filter
}

/// Matches the delivery if this holder has claimed it and it is not failed any more.
pub(super) fn changed_under_claim(id: Bson, place: &Place, by: &str) -> Document {
    extended(&claimed_by(id, place, by), doc! { "$nor": [place.writable()] })
}

/// Matches the delivery if the outcome of this holder's attempt may be written. A publication is recorded as long as
/// nobody else has claimed the post. An expired claim on a post that is not failed any more is no risk either: nobody
/// else will claim it.
pub(super) fn settleable(id: Bson, place: &Place, by: &str, settlement: &Settlement) -> Document {
    let mut filter = claimed_by(id, place, by);
    if settlement.publication.is_none() {
        filter.insert("$or", vec![doc! { "$nor": [place.writable()] }, doc! { "$expr": claim_is_live(place) }]);
    }
    filter
}

/// Whether these fields are exactly as in a document. An expression, because a filter would take some values for
/// operators.
pub(super) fn as_in(document: &Document, place: &Place, fields: &[&str]) -> Vec<Document> {
    let condition = |name: &&str| {
        let path = place.retry(name);
        let field = format!("${path}");
        match super::document::value_at(document, &path) {
            Some(value) => doc! { "$eq": [field, { "$literal": value.clone() }] },
            None => doc! { "$eq": [{ "$type": field }, "missing"] },
        }
    };
    fields.iter().map(condition).collect()
}

/// The parts that make up a list, exactly: they are counted too. Those of platforms that nobody asked for are left out.
pub(super) fn listed_parts(filter: &ListFilter) -> Vec<Part> {
    if !filter.platforms.is_empty() {
        let scopes = filter.platforms.iter().flat_map(|platform| parts(Scope::Platform(*platform), &Usage::all()));
        let exactly = |part: Part| match &part.place {
            Some(place @ Place::Entry(_)) => Part { base: place.counted(), ..part },
            _ => part,
        };
        return scopes.map(exactly).collect();
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

/// The failed deliveries of a part that pass the filter, whether due or not; none if none can.
pub(super) fn listed(part: &Part, filter: &ListFilter) -> Option<Document> {
    let Some(place) = &part.place else {
        // Of a delivery with an unknown name nothing is known that a filter could ask for.
        return filter.is_everything().then(|| part.base.clone());
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
