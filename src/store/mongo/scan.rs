//! The scans that find what is due and what has no retries left.
//!
//! Due posts are found with one range for each retry count, `failedAt` ≤ now − base × 2^k. So an index serves the
//! query, no derived data is stored, and a changed setting takes effect at once. Every branch of an `$or` repeats the
//! whole condition, and the index for all of them is named: the server would plan each branch anew, with every index.

use chrono::{DateTime, Utc};
use mongodb::bson::{self, Bson, Document, doc};

use super::document::{DATES, bson_date, integer};
use super::filter::{
    NUMBERS, at_least, count_ranges, exact_counts, extended, is_of, no_plain, not_flagged, other_than, wrong_type,
};
use super::index;
use super::page::Position;
use super::parts::{Part, RootKind};
use super::place::{HANDED_OVER, Place, first_of};
use crate::post::{BackoffFrom, MAX_LEASE, RetryPolicy};
use crate::store::query::MalformedPosts;

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
    /// What they have in common.
    pub(super) finds: Finds,
}

/// Which deliveries a scan finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Finds {
    /// Those that a platform is still processing.
    Processing,
    /// Those with a claim.
    Claimed,
    /// Those with a date, a retry count and everything else as usual.
    Dated,
    /// Those without any date.
    Undated,
    /// All others that are due.
    Others,
    /// Those with unknown names.
    Unknown,
    /// Those without retries left.
    Exhausted,
}

impl IndexScan {
    /// Scans with the same key find the same sort of deliveries by the same index, for one platform or for several.
    pub(super) fn key(&self) -> ScanKey {
        (self.index.clone(), self.finds)
    }
}

/// The index of a scan and what it finds.
pub(super) type ScanKey = (String, Finds);

/// The scans for what is due in a part. No two find the same delivery. What has begun comes first. Their number is always
/// the same, because a cursor has it: one without branches finds nothing and is left out.
pub(super) fn due(part: &Part, policy: &RetryPolicy, now: DateTime<Utc>, malformed: MalformedPosts) -> Vec<IndexScan> {
    let from = policy.backoff_from;
    let scan =
        |finds, branches, index, ordered_by| IndexScan { part: part.clone(), branches, index, ordered_by, finds };
    let Some(place) = &part.place else {
        return vec![scan(Finds::Unknown, vec![part.base.clone()], part.index(from), None)];
    };
    let state = DueState::new(part, place, policy, now, malformed);
    let (ordered, mut others) = state.by_date();
    let ordered_by = state.dates.first().to_owned();
    let undated = state.undated();
    let mut scans = vec![
        scan(Finds::Processing, vec![state.processing()], index::processing_of(place), None),
        scan(Finds::Claimed, state.claimed(), index::claims_of(place), None),
    ];
    if part.kind == RootKind::Unknown {
        let branches = scans.into_iter().flat_map(|scan| scan.branches).chain(ordered).chain(undated).chain(others);
        return vec![scan(Finds::Unknown, branches.chain(state.unreadable()).collect(), part.index(from), None)];
    }
    // Pages are in the order of the first failure.
    let is_ordered = part.kind != RootKind::Listed && from == BackoffFrom::FirstFailure;
    if is_ordered {
        scans.push(scan(Finds::Dated, ordered, part.index(from), Some(ordered_by)));
    } else {
        others.extend(ordered);
    }
    if part.kind == RootKind::Named {
        scans.push(scan(Finds::Undated, undated, index::UNDATED.to_owned(), None));
    } else {
        others.extend(undated);
    }
    others.extend(state.unreadable());
    scans.push(scan(Finds::Others, others, part.index(from), None));
    scans
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
    Some(IndexScan { part: part.clone(), branches: vec![exhausted], index, ordered_by: None, finds: Finds::Exhausted })
}

/// Branches for each index, as few as can be, that find whatever [`due`] and [`exhausted`] find, and some deliveries more:
/// a look whether there is anything to do costs as much as it has branches.
pub(super) fn candidates(part: &Part, policy: &RetryPolicy, now: DateTime<Utc>) -> Vec<(String, Vec<Document>)> {
    let index = part.index(policy.backoff_from);
    let Some(place) = &part.place else { return vec![(index, vec![part.base.clone()])] };
    let state = DueState::new(part, place, policy, now, MalformedPosts::Included);
    let unflagged = state.unflagged.clone();
    if part.kind == RootKind::Unknown {
        let [wrong_flag, listed_flag] = state.unreadable_flags();
        return vec![(index, vec![unflagged, wrong_flag, listed_flag])];
    }
    let mut due = state.dated_candidates();
    let undated = state.undated_candidates();
    let claimed = extended(&unflagged, doc! { place.retry("retryClaim"): { "$exists": true } });
    let mut candidates =
        vec![(index::claims_of(place), vec![claimed]), (index::processing_of(place), vec![state.processing()])];
    if part.kind == RootKind::Named {
        candidates.push((index::UNDATED.to_owned(), undated));
    } else {
        due.extend(undated);
    }
    if let Some(latest) = state.latest() {
        due.extend(state.may_be_handed_over().then(|| state.handed_over(&state.unclaimed, latest)));
        due.extend(state.unusual(&state.unclaimed, latest));
    }
    due.extend(state.unreadable());
    candidates.push((index, due));
    candidates.extend(exhausted(part, policy).map(|scan| (scan.index, scan.branches)));
    candidates
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
            with(doc! { claim.as_str(): is_set.clone(), until.as_str(): { "$exists": false } }),
            with(doc! { claim.as_str(): is_set.clone(), until.as_str(): Bson::Array(Vec::new()) }),
            with(doc! { claim.as_str(): is_set, until.as_str(): { "$type": other_than(&["date"]) } }),
            with(doc! {
                claim.as_str(): is_claimed, until: { "$type": "date" },
                format!("{claim}.by"): { "$not": { "$type": "string" } },
            }),
        ]);
        branches
    }

    /// Of these the ones with each ordinary retry count, with the latest date that makes them due.
    fn counted(&self, base: &Document) -> Vec<(Document, Bson)> {
        let count = self.place.retry("retryCount");
        let mut counted = Vec::new();
        for (number, latest) in self.latest_due_anchors() {
            let exact = exact_counts(number).into_iter().map(|exact| extended(base, doc! { &count: exact }));
            counted.extend(exact.map(|counted| (counted, bson_date(latest))));
        }
        counted
    }

    /// Those whose backoff is over since the usual date, and some more. They need no order, so one branch can have
    /// all values that mean the same retry count.
    fn dated_candidates(&self) -> Vec<Document> {
        let reached = |(number, latest)| {
            let due = doc! {
                self.place.retry("retryCount"): { "$in": exact_counts(number) },
                self.dates.first(): { "$lte": bson_date(latest) },
            };
            extended(&self.unclaimed, due)
        };
        self.latest_due_anchors().map(reached).collect()
    }

    /// The values of all ordinary retry counts.
    fn ordinary_counts(&self) -> Vec<Bson> {
        (0..self.policy.max_retries).flat_map(exact_counts).collect()
    }

    /// The latest date that makes any due.
    fn latest(&self) -> Option<DateTime<Utc>> {
        self.latest_due_anchors().map(|(_, latest)| latest).max()
    }

    fn latest_due_anchors(&self) -> impl Iterator<Item = (u32, DateTime<Utc>)> {
        self.policy.latest_due_anchors(self.now)
    }

    /// Those whose backoff is over since a date: with an ordinary retry count and the usual date, and all others.
    fn by_date(&self) -> (Vec<Document>, Vec<Document>) {
        let idle = self.idle();
        let (mut ordered, mut others) = (Vec::new(), Vec::new());
        for (counted, latest) in self.counted(&idle) {
            // A filter looks into lists.
            let in_time = doc! { self.dates.first(): { "$lte": latest.clone(), "$not": { "$type": "array" } } };
            if self.malformed == MalformedPosts::Included {
                let in_list = doc! { self.dates.first(): { "$lte": latest, "$type": "array" } };
                others.push(extended(&counted, in_list));
            }
            let counted = extended(&counted, in_time);
            if self.dates.first() == TIE {
                ordered.push(counted);
            } else {
                // Where a value of any type decides between equal dates, a page cannot tell where it ended.
                others.push(extended(&counted, doc! { TIE: { "$type": no_plain("date") } }));
                ordered.push(extended(&counted, doc! { TIE: { "$not": { "$type": no_plain("date") } } }));
            }
        }
        let Some(latest) = self.latest() else { return (ordered, others) };
        if self.may_be_handed_over() {
            // Every key of the index before the date has one value, so that the server can merge by the date.
            for due in &mut ordered {
                due.insert(HANDED_OVER, Bson::Null);
            }
            others.push(self.handed_over(&idle, latest));
        }
        others.extend(self.unusual(&idle, latest));
        (ordered, others)
    }

    /// Whether other platforms' posts among them may have the mark of TikTok's other publisher, which means nothing there.
    fn may_be_handed_over(&self) -> bool {
        *self.place == Place::Root && !self.base.contains_key(HANDED_OVER)
    }

    /// Of these the ones with that mark.
    fn handed_over(&self, base: &Document, latest: DateTime<Utc>) -> Document {
        let count = self.place.retry("retryCount");
        let handed_over = doc! {
            "$expr": self.dates.is_reached(&count, self.policy, self.now),
            HANDED_OVER: { "$ne": Bson::Null },
            &count: { "$in": self.ordinary_counts() },
            self.dates.first(): { "$lte": bson_date(latest) },
        };
        extended(base, handed_over)
    }

    /// Of these the ones with an unusual retry count, another date than the usual one, or values that cannot be read.
    fn unusual(&self, base: &Document, latest: DateTime<Utc>) -> Vec<Document> {
        let (policy, count) = (self.policy, self.place.retry("retryCount"));
        let reached = extended(base, doc! { "$expr": self.dates.is_reached(&count, policy, self.now) });
        let odd = doc! {
            &count: { "$lt": integer(policy.max_retries), "$nin": self.ordinary_counts() },
            self.dates.first(): { "$lte": bson_date(latest) },
        };
        let has_retries = doc! { &count: { "$not": { "$gte": integer(policy.max_retries) } } };
        let open = extended(&reached, has_retries.clone());
        let mut unusual = vec![extended(&reached, odd)];
        unusual.extend(self.dates.otherwise(latest).iter().map(|date| extended(&open, date.clone())));
        if self.malformed == MalformedPosts::Included {
            // What cannot be read cannot be compared with a date either.
            let open = extended(base, has_retries);
            unusual.extend(self.dates.unreadable().iter().map(|date| extended(&open, date.clone())));
            unusual.extend(self.listed_state(latest));
        }
        unusual
    }

    /// Deliveries whose retry state is in a list instead of an object, so that no condition on a field of it finds them.
    fn listed_state(&self, latest: DateTime<Utc>) -> Vec<Document> {
        let Place::Entry(entry) = self.place else { return Vec::new() };
        let count = self.place.retry("retryCount");
        let without_count = doc! {
            count.as_str(): { "$exists": false },
            self.dates.first(): { "$lte": bson_date(latest) },
            // Those that count as null are found as all others.
            "$nor": [{ count.as_str(): Bson::Null }],
        };
        let in_list = |path: String| extended(&without_count, doc! { path: { "$type": "array" } });
        let paths = ["postretry".to_owned(), format!("postretry.{entry}")];
        paths.into_iter().map(in_list).map(|found| extended(self.base, found)).collect()
    }

    /// Those without any date: then the last change counts, and without that they are due.
    fn undated(&self) -> Vec<Document> {
        let idle = self.idle();
        let mut branches = Vec::new();
        for (number, latest) in self.latest_due_anchors() {
            for range in count_ranges(number) {
                let counted = extended(&idle, doc! { self.place.retry("retryCount"): range });
                let dates = self.dates.unset(latest, self.malformed).into_iter();
                branches.extend(dates.map(|date| extended(&counted, date)));
            }
        }
        branches
    }

    /// Those without any date that are due, and some more.
    fn undated_candidates(&self) -> Vec<Document> {
        let (unclaimed, count) = (&self.unclaimed, self.place.retry("retryCount"));
        let unset = extended(unclaimed, self.dates.all_unset());
        let mut branches = Vec::new();
        for (number, latest) in self.latest_due_anchors() {
            let changed = doc! { "updatedAt": { "$not": { "$gt": bson_date(latest) } } };
            let ranges = count_ranges(number).into_iter().map(|range| extended(&unset, doc! { &count: range }));
            branches.extend(ranges.map(|counted| extended(&counted, changed.clone())));
        }
        branches.push(extended(&unset, doc! { "updatedAt": { "$gt": last_date() } }));
        branches
    }

    /// Those whose flag cannot be read.
    fn unreadable_flags(&self) -> [Document; 2] {
        wrong_type(&self.place.retry("permanentlyFailed"), &["bool"]).map(|flag| extended(self.base, flag))
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
        let counts = wrong_type(&count, &NUMBERS);
        self.unreadable_flags()
            .into_iter()
            .chain(counts.into_iter().map(|wrong| extended(&counted, wrong)))
            .chain([extended(&counted, doc! { count: f64::NAN })])
            .collect()
    }
}

fn is_processing(place: &Place) -> Document {
    // An empty object is no ticket.
    let ticket = doc! { "$type": "object", "$ne": Document::new() };
    doc! { place.retry("failureCategory"): "processing", place.retry("publishTicket"): ticket }
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

    /// The ways in which there can be a date that is rare.
    fn otherwise(&self, latest: DateTime<Utc>) -> Vec<Document> {
        let mut unset = Document::new();
        let mut branches = Vec::new();
        for (number, path) in self.0.iter().enumerate() {
            if number > 0 {
                branches.push(extended(&unset, doc! { path.as_str(): { "$lte": bson_date(latest) } }));
            }
            unset.insert(path.as_str(), Bson::Null);
        }
        branches
    }

    /// Values that are no dates, and dates so late that they are out of range. Those that are too early are found as they
    /// are.
    fn unreadable(&self) -> Vec<Document> {
        let mut unset = Document::new();
        let mut branches = Vec::new();
        for path in &self.0 {
            let late = doc! { path.as_str(): { "$gt": last_date() } };
            let wrong = wrong_type(path, &["date"]).into_iter().chain([late]);
            branches.extend(wrong.map(|wrong| extended(&unset, wrong)));
            unset.insert(path.as_str(), Bson::Null);
        }
        branches
    }

    /// None of the dates is set.
    fn all_unset(&self) -> Document {
        self.0.iter().map(|path| (path.clone(), Bson::Null)).collect()
    }

    /// No date at all: then the last change counts, and without that it is due.
    fn unset(&self, latest: DateTime<Utc>, malformed: MalformedPosts) -> Vec<Document> {
        let unset = self.all_unset();
        let date = bson_date(latest);
        let changed = match malformed {
            MalformedPosts::Included => {
                vec![doc! { "updatedAt": { "$not": { "$gt": date } } }, doc! { "updatedAt": { "$gt": last_date() } }]
            }
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
    let next = anchor.timestamp_millis().checked_add(1).map(bson::DateTime::from_millis);
    let same = doc! { "$gte": anchor, "$lt": next.map_or(Bson::MaxKey, Bson::DateTime), "$not": no_list.clone() };
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
                doc! { ordered_by: { "$gt": anchor, "$lte": latest.unwrap_or(Bson::MaxKey), "$not": no_list.clone() } },
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

/// The field whose date decides between deliveries with the same first date.
const TIE: &str = "failedAt";

/// The last date that can be read.
fn last_date() -> Bson {
    Bson::DateTime(bson::DateTime::from_millis(*DATES.end()))
}
