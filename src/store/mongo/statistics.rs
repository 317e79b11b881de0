//! Counts that the server computes, and the record of a run as a document.
#![warn(clippy::arithmetic_side_effects)]

use std::cmp::Reverse;
use std::convert::identity;

use chrono::{DateTime, Utc};
use mongodb::bson::{self, Bson, Document, RawDocument, RawDocumentBuf, doc};

use super::decode::{decode, read_encoded};
use super::document::{DATES, bson_date, date_from, integer};
use super::filter::{NUMBERS, any, one_of, other_than};
use super::identity::has_long_id;
use super::page::{deliveries_in, projection_of};
use super::parts::Usage;
use super::place::{
    HANDED_OVER, Place, first_listed, first_named, has_no_statuses, has_too_many_statuses, has_unset_statuses,
    is_failed, is_without_status, other_than_root, says_nothing, spellings, without_text_status,
};
use super::suspects::{faults_of_entry, faults_of_root, narrow_faults_of_root};
use super::{MongoPostStore, index, parts};
use crate::post::{Category, Platform, RetryPolicy, Totals};
use crate::store::statistics_builder::{AttemptTotals, PostGroup, StatisticsBuilder, start_of_days};
use crate::store::{
    DayStatistics, DueQuery, GivenUpRecord, ListFilter, PlatformRun, PostStore, RunRecord, RunStatistics, Scope,
    Statistics, StoreError, StoredPost,
};

/// The largest number that is counted. More come from runs that nobody has made, and their sum must fit too.
const LARGEST: u64 = 1 << 53;

/// The largest number of an attempt that is told from others.
const LAST_ATTEMPT: u32 = 1_000;

/// A count in a document, whatever number type the server chose. It adds fractions where whole numbers are too small.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, which is wanted")]
pub(super) fn count_in(document: &Document, name: &str) -> u64 {
    let count = match document.get(name) {
        Some(Bson::Int32(count)) => u64::try_from(*count).unwrap_or(0),
        Some(Bson::Int64(count)) => u64::try_from(*count).unwrap_or(0),
        Some(Bson::Double(count)) => *count as u64,
        _ => 0,
    };
    count.min(LARGEST)
}

/// A number in the record of a run, as an expression; 0 if no run can have it. Any program can have written the record.
fn number_in(field: &str) -> Document {
    let is_count = doc! { "$and": [
        { "$isNumber": field }, { "$gte": [field, 0] }, { "$lte": [field, whole(LARGEST)] },
    ] };
    doc! { "$cond": [is_count, { "$toLong": field }, 0] }
}

/// How many posts of a run failed, as an expression.
fn failed_in_run() -> Document {
    doc! { "$add": [number_in("$totals.failed"), number_in("$totals.permanentlyFailed")] }
}

/// The record of a run.
pub(super) fn run_document(run: &RunRecord) -> Document {
    let duration = run.finished_at.signed_duration_since(run.started_at).num_milliseconds();
    let of_platform = |entry: &PlatformRun| {
        let mut document = totals_document(entry.totals);
        document.extend(entry.given_up.as_ref().map(|given_up| ("givenUp".to_owned(), given_up_bson(given_up).into())));
        (entry.platform.as_str().to_owned(), Bson::Document(document))
    };
    let by_platform: Document = run.by_platform.iter().map(of_platform).collect();
    let attempts: Vec<Document> = run
        .attempts
        .iter()
        .map(|count| {
            doc! {
                "platform": count.platform.as_str(), "attempt": integer(count.attempt),
                "after": count.after.map(Category::as_str),
                "attempts": whole(count.attempts), "posted": whole(count.posted),
            }
        })
        .collect();
    doc! {
        "_id": &run.id,
        "command": run.command,
        "startedAt": bson_date(run.started_at),
        "finishedAt": bson_date(run.finished_at),
        "durationMs": duration,
        "host": &run.host,
        "version": env!("CARGO_PKG_VERSION"),
        "outcome": run.outcome.as_str(),
        "totals": totals_document(run.totals),
        "byPlatform": by_platform,
        "attempts": attempts,
    }
}

fn totals_document(totals: Totals) -> Document {
    doc! {
        "due": whole(totals.due),
        "posted": whole(totals.posted),
        "failed": whole(totals.failed),
        "permanentlyFailed": whole(totals.permanently_failed),
        "deferred": whole(totals.deferred),
        "skipped": whole(totals.skipped),
        "flagged": whole(totals.flagged),
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The record of a platform that a run skipped.
fn given_up_bson(given_up: &GivenUpRecord) -> Document {
    doc! {
        "category": given_up.category.as_str(),
        "reason": &given_up.reason,
        "waiting": whole(given_up.waiting),
        "since": bson_date(given_up.since),
    }
}

fn given_up_from(document: &Document) -> Option<GivenUpRecord> {
    Some(GivenUpRecord {
        category: document.get_str("category").ok()?.parse().ok()?,
        reason: document.get_str("reason").unwrap_or_default().to_owned(),
        waiting: count_in(document, "waiting"),
        since: date_in(document, "since")?,
    })
}

fn date_in(document: &Document, name: &str) -> Option<DateTime<Utc>> {
    date_from(document.get(name)?)
}

/// How many runs are read to find the latest of each platform.
const LATEST_RUNS: i64 = 50;

/// A group of failed deliveries, and the category of their last failure.
struct CategoryGroup {
    posts: PostGroup,
    category: Option<String>,
    /// Whether the document names no platform of its own.
    is_unnamed: bool,
    /// Whether they are known to be malformed.
    is_malformed: bool,
}

impl CategoryGroup {
    fn is_like(&self, other: &Self) -> bool {
        let key = |group: &Self| {
            // With a collation, two queries may tell one category in two spellings.
            let category = group.category.as_deref().map(str::to_ascii_lowercase);
            let PostGroup { platform, is_flagged, retry_count, .. } = group.posts;
            (platform, is_flagged, retry_count, category, group.is_malformed)
        };
        key(self) == key(other)
    }
}

fn group_from(group: &Document, platform: Option<&str>) -> Option<CategoryGroup> {
    let key = group.get_document("_id").ok()?;
    Some(CategoryGroup {
        posts: PostGroup {
            platform: platform.and_then(|name| name.parse().ok()),
            is_flagged: key.get_bool("flagged").unwrap_or(false),
            retry_count: u32::try_from(count_in(key, "count")).unwrap_or(u32::MAX),
            posts: count_in(group, "n"),
        },
        category: key.get_str("category").ok().map(str::to_owned),
        is_unnamed: platform.is_none() && matches!(key.get("platform"), None | Some(Bson::Null)),
        is_malformed: key.get_bool("malformed").unwrap_or(false),
    })
}

/// Takes the deliveries of one group out of those that are like it. Returns how many there were: the store may have
/// changed meanwhile.
fn take_out(groups: &mut [CategoryGroup], odd: &CategoryGroup) -> u64 {
    let mut left = odd.posts.posts;
    for counted in groups.iter_mut().filter(|group| group.is_like(odd)) {
        let taken = left.min(counted.posts.posts);
        counted.posts.posts = counted.posts.posts.saturating_sub(taken);
        left = left.saturating_sub(taken);
    }
    odd.posts.posts.saturating_sub(left)
}

/// Whether another publisher has been told of the document.
fn has_mark() -> Document {
    doc! { "$ne": [{ "$ifNull": [format!("${HANDED_OVER}"), Bson::Null] }, Bson::Null] }
}

/// The names of all categories.
fn categories() -> Vec<&'static str> {
    Category::ALL.iter().map(|category| category.as_str()).collect()
}

/// The name of a category, as an expression: null if it is no text, and the same for all that are not known. What documents
/// say is not returned: it may be of any size.
fn category_name(field: &str) -> Document {
    let otherwise =
        doc! { "$cond": [{ "$eq": [{ "$type": field }, "string"] }, Category::Unknown.as_str(), Bson::Null] };
    doc! { "$cond": [{ "$in": [field, categories()] }, field, otherwise] }
}

/// The name of a platform, as an expression: null if there is none, and the same for all that are not known.
fn platform_name(name: impl Into<Bson>) -> Document {
    let known: Vec<&str> = spellings().collect();
    let otherwise = doc! { "$cond": [{ "$eq": [{ "$ifNull": ["$$name", Bson::Null] }, Bson::Null] }, Bson::Null, "?"] };
    doc! { "$let": {
        "vars": { "name": name.into() },
        "in": { "$cond": [{ "$in": ["$$name", known] }, "$$name", otherwise] },
    } }
}

/// What the statistics tell apart, of the delivery at a place.
fn group_key(place: &Place, more: Document) -> Document {
    let mut key = state_key(&place.retry(""), doc! { "malformed": is_too_long(place) });
    key.extend(more);
    key
}

/// What the statistics tell apart, of the retry state whose paths begin so.
fn state_key(path: &str, more: Document) -> Document {
    let field = |name: &str| format!("${path}{name}");
    let count = field("retryCount");
    let whole_count = doc! { "$cond": [{ "$isNumber": count.as_str() }, { "$max": [0, { "$floor": count }] }, 0] };
    let mut key = doc! {
        "flagged": { "$eq": [field("permanentlyFailed"), true] },
        "count": { "$toLong": { "$min": [whole_count, 1_000_000] } },
        "category": category_name(&field("failureCategory")),
    };
    key.extend(more);
    key
}

/// Whether a document is malformed for a reason that no index of suspects can know, as an expression. Of posts for one
/// platform, [`without_post`] tells the rest.
fn is_too_long(place: &Place) -> Document {
    match place {
        Place::Root => has_long_id(),
        Place::Entry(_) => doc! { "$or": [has_long_id(), has_too_many_statuses()] },
    }
}

/// Groups deliveries by what the statistics tell apart.
fn grouped_by(place: &Place, more: Document) -> Document {
    doc! { "$group": { "_id": group_key(place, more), "n": { "$sum": 1 } } }
}

/// The field of a document with the group in which its delivery was counted.
const GROUP: &str = "postretryGroup";

/// The searches for documents whose delivery at this place may be malformed: what they have in common, with the name of
/// the index that has only those. No two find the same document.
fn suspect_searches(place: &Place) -> Vec<(Document, String)> {
    let of_root = any(faults_of_root());
    let of_entry = match place {
        Place::Root => Vec::new(),
        Place::Entry(name) => faults_of_entry(name),
    };
    // The first condition is that of the index.
    let narrow = any(narrow_faults_of_root().into_iter().chain(of_entry.clone()).collect());
    let mut searches = vec![(doc! { "$and": [of_root.clone(), narrow] }, index::suspects_of(&Place::Root))];
    if !of_entry.is_empty() {
        let others = doc! { "$and": [any(of_entry), { "$nor": [of_root] }] };
        searches.push((others, index::suspects_of(place)));
    }
    searches
}

/// The group in which the delivery of a document at this place was counted, if it is malformed.
fn malformed_group(found: &Document, place: &Place) -> Option<CategoryGroup> {
    let is_malformed = |stored: &StoredPost| stored.readable().is_none();
    if !deliveries_in(found).iter().any(is_malformed) {
        return None;
    }
    let group = doc! { "_id": found.get_document(GROUP).ok()?.clone(), "n": 1 };
    match place {
        Place::Root => group_from(&group, group.get_document("_id").ok()?.get_str("platform").ok()),
        Place::Entry(name) => group_from(&group, Some(name)),
    }
}

/// Whether a document has the shape of a post for one platform, as far as an index can tell, as an expression.
fn is_root() -> Document {
    // A filter looks into lists.
    doc! { "$and": [is_without_status(), { "$eq": ["$status", "failed"] }] }
}

/// The posts for one platform that a filter finds, grouped by what the statistics tell apart, the platform that this
/// expression names, and more.
fn root_groups(filter: Document, platform: impl Into<Bson>, more: Document) -> Vec<Document> {
    let mut key = doc! { "platform": platform_name(platform), "isRoot": is_root() };
    key.extend(more);
    vec![doc! { "$match": filter }, grouped_by(&Place::Root, key), doc! { "$match": { "_id.isRoot": true } }]
}

/// Whether there are values that hardly any collection has. To look for them in each document takes time.
#[derive(Debug, Clone, Copy)]
struct RareValues {
    /// Another publisher has been told of a failed document.
    marks: bool,
    /// An id has a type that can be of any length.
    long_ids: bool,
    /// A platform or a category is JavaScript. Servers group it as if it were a text.
    code: bool,
}

/// The posts for one platform, without those that another publisher has been told of. It still has those of
/// [`groups_of_no_root`], which have to be taken out. An index has everything that is asked for.
fn groups_of_root(used: &[&str], rare: RareValues) -> Vec<Document> {
    // The values as they are. Computing with those of each document takes longer than all else.
    let mut values = doc! {
        "permanentlyFailed": "$permanentlyFailed", "retryCount": "$retryCount", "failureCategory": "$failureCategory",
        "platform": "$platform", "status": "$status",
    };
    if rare.code {
        values.extend(doc! {
            "failureCategory": category_name("$failureCategory"), "platform": platform_name("$platform"),
        });
    }
    values.extend(rare.marks.then(|| ("hasMark".to_owned(), has_mark().into())));
    values.extend(rare.long_ids.then(|| ("malformed".to_owned(), has_long_id().into())));
    let is_wanted = doc! { "$and": [{ "$eq": ["$_id.status", "failed"] }, { "$not": ["$_id.hasMark"] }] };
    let is_malformed = doc! { "$eq": ["$_id.malformed", true] };
    let more = doc! { "platform": platform_name("$_id.platform"), "malformed": is_malformed };
    vec![
        doc! { "$match": without_text_status(used) },
        doc! { "$group": { "_id": values, "n": { "$sum": 1 } } },
        doc! { "$match": { "$expr": is_wanted } },
        doc! { "$group": { "_id": state_key("_id.", more), "n": { "$sum": "$n" } } },
    ]
}

/// What has to be taken out of [`groups_of_root`].
fn groups_of_no_root(used: &[&str]) -> Vec<Document> {
    let more = doc! { "platform": platform_name("$platform"), "hasMark": has_mark() };
    vec![
        doc! { "$match": other_than_root(used) },
        grouped_by(&Place::Root, more),
        doc! { "$match": { "_id.hasMark": false } },
    ]
}

/// The posts of [`groups_of_root`] whose list of platforms names another one than the field does. They are counted there
/// under the name in the field; the other one is `listed` here. An index finds them.
fn groups_of_listed(used: &[&str]) -> Vec<Document> {
    let with = |platforms: Bson, platform: Document| {
        let mut filter = without_text_status(used);
        filter.extend(doc! { HANDED_OVER: Bson::Null, "platforms": platforms, "platform": platform });
        filter
    };
    let of_platform = |platform: Platform| {
        let names = platform.spellings();
        let others: Vec<Bson> = names.iter().map(|name| Bson::from(*name)).chain([Bson::Null]).collect();
        with(one_of(names), doc! { "$nin": others })
    };
    let known: Vec<&str> = spellings().collect();
    let unknown = with(doc! { "$elemMatch": { "$nin": known.clone() } }.into(), doc! { "$in": known });
    let is_another = doc! { "$ne": [first_named(), "$platform"] };
    // A filter for null takes a list with null in it for that.
    let is_unmarked = doc! { "$not": [has_mark()] };
    let more = doc! { "listed": platform_name(first_named()), "isWanted": { "$and": [is_another, is_unmarked] } };
    let branches = Platform::ALL.into_iter().map(of_platform).chain([unknown]).collect();
    let mut pipeline = root_groups(any(branches), "$platform", more);
    pipeline.push(doc! { "$match": { "_id.isWanted": true } });
    pipeline
}

/// The posts for one platform that another publisher has been told of, but does not publish: it serves TikTok only. Each
/// pipeline with the name of its index.
fn groups_of_marked(used: &[&str]) -> [(Vec<Document>, &'static str); 2] {
    let tiktok = Platform::TikTok.as_str();
    let groups = |more: Document| {
        let mut marked = without_text_status(used);
        marked.insert(HANDED_OVER, doc! { "$ne": Bson::Null });
        marked.extend(more);
        marked.extend(Place::Root.not_handed_over());
        root_groups(marked, first_named(), Document::new())
    };
    // Nearly all are for TikTok. The indexes tell it, so that only the others are read.
    let of_others = groups(doc! { "platform": { "$ne": tiktok } });
    let named_by_list =
        doc! { "platform": tiktok, "platforms": { "$exists": true, "$nin": [Bson::Null, Bson::from(tiktok)] } };
    [(of_others, index::DUE), (groups(named_by_list), index::PLATFORMS)]
}

/// Documents that are counted as posts for one platform, though they have no delivery, or are malformed for a reason
/// that no index of suspects can know.
fn without_post() -> Vec<Document> {
    let mut odd = says_nothing();
    let is_silent = odd.remove("$expr").unwrap_or(Bson::Boolean(false));
    let too_many = doc! { "$expr": has_too_many_statuses(), "$nor": [any(faults_of_root())] };
    odd.insert("$and", vec![any(vec![doc! { "$expr": is_silent.clone() }, too_many]), Place::Root.not_handed_over()]);
    root_groups(odd, first_named(), doc! { "isSilent": is_silent })
}

impl MongoPostStore {
    pub(super) async fn gather_statistics(
        &self,
        policy: &RetryPolicy,
        now: DateTime<Utc>,
        runs_since: Option<DateTime<Utc>>,
    ) -> Result<Statistics, StoreError> {
        let mut builder = StatisticsBuilder::new(*policy);
        for group in self.post_groups().await?.into_iter().filter(|group| group.posts.posts > 0) {
            builder.add_posts(group.posts);
            if let Some(name) = &group.category
                && group.posts.platform.is_some()
            {
                builder.add_category(name, group.posts.posts);
            }
            if group.is_malformed {
                builder.mark_malformed(group.posts, group.category.as_deref());
            }
        }
        for group in self.malformed_groups().await? {
            builder.mark_malformed(group.posts, group.category.as_deref());
        }
        for platform in Platform::ALL {
            let query = DueQuery { policy: *policy, now, scope: Scope::Platform(platform) };
            builder.set_due(platform, self.count_due(&query, None).await?);
        }
        let runs = self.run_statistics(now, runs_since, &mut builder).await?;
        Ok(builder.finish(runs, &self.all_tokens().await?, self.latest_given_up().await?))
    }

    /// Of each platform, why its latest run gave it up, if it did.
    pub(super) async fn latest_given_up(&self) -> Result<Vec<(Platform, GivenUpRecord)>, StoreError> {
        // In the order in which they were recorded, which needs no index and no look at the runs of years.
        let newest = self.runs.find(doc! {}).sort(doc! { "$natural": -1 }).limit(LATEST_RUNS);
        // An entry without `givenUp` comes back as an empty document: the run was for that platform, too.
        let mut fields = doc! { "startedAt": 1 };
        fields.extend(Platform::ALL.map(|platform| (format!("byPlatform.{platform}.givenUp"), Bson::Int32(1))));
        // Nearly all records have no platform that was given up, so that nothing of them need be decoded. Any program can
        // have written them.
        let read = |run: &RawDocument| {
            let of_platform = |platform: Platform| {
                let entry = run.get_document("byPlatform").ok()?.get_document(platform.as_str()).ok()?;
                Some((
                    platform,
                    entry.get_document("givenUp").ok().and_then(|given_up| given_up_from(&decode(given_up))),
                ))
            };
            let started_at = run.get_datetime("startedAt").ok().and_then(|date| date_from(&date.into()));
            (started_at, Platform::ALL.into_iter().filter_map(of_platform).collect::<Vec<_>>())
        };
        let newest = read_encoded(newest.projection(fields), usize::MAX, read);
        let (mut runs, _) = self.run("read runs from", newest).await?;
        runs.sort_by_key(|(started_at, _)| Reverse(*started_at));
        let latest = |platform: Platform| {
            let mut entries = runs.iter().flat_map(|(_, entries)| entries);
            let (_, given_up) = entries.find(|(known, _)| *known == platform)?;
            Some((platform, given_up.clone()?))
        };
        Ok(Platform::ALL.into_iter().filter_map(latest).collect())
    }

    async fn rare_values(&self) -> Result<RareValues, StoreError> {
        let marked = doc! { "status": "failed", HANDED_OVER: { "$ne": Bson::Null } };
        let short = [&NUMBERS[..], &["bool", "date", "objectId", "timestamp", "minKey", "maxKey"]].concat();
        let is_code = |field: &str| doc! { "status": "failed", field: { "$type": "javascript" } };
        let code = any(["failureCategory", "platform"].map(is_code).to_vec());
        Ok(RareValues {
            marks: self.has_any(marked, index::DUE).await?,
            long_ids: self.exists(doc! { "_id": { "$type": other_than(&short) } }).await?,
            code: self.has_any(code, index::CATEGORY).await?,
        })
    }

    /// All failed deliveries in groups, each kind of document by an index of its own.
    async fn post_groups(&self) -> Result<Vec<CategoryGroup>, StoreError> {
        let Usage { entries: used, has_lists } = self.usage().await?;
        let named = |group: &Document| {
            let key = group.get_document("_id").ok()?;
            group_from(group, key.get_str("platform").ok())
        };
        let rare = self.rare_values().await?;
        let of_root = self.collect_hinted(groups_of_root(used, rare), index::DUE, identity).await?;
        let mut groups: Vec<CategoryGroup> = of_root.iter().filter_map(named).collect();
        let no_root = self.collect_hinted(groups_of_no_root(used), index::SILENT, identity).await?;
        // The platform of those without a name is only in the list of platforms.
        groups.retain(|group| !group.is_unnamed);
        for group in no_root.iter().filter_map(named).filter(|group| !group.is_unnamed) {
            take_out(&mut groups, &group);
        }
        if *has_lists {
            self.name_as_listed(&mut groups, used).await?;
        }
        // A filter looks into lists.
        let no_name = doc! { "$eq": Bson::Null, "$not": { "$type": "array" } };
        let mut unnamed = doc! { "status": is_failed(), "platform": no_name, HANDED_OVER: Bson::Null };
        unnamed.insert("$or", vec![has_no_statuses(), has_unset_statuses()]);
        let pipeline = root_groups(unnamed, first_listed(), Document::new());
        let mut others = self.collect(pipeline, identity).await?;
        if rare.marks {
            for (pipeline, index) in groups_of_marked(used) {
                others.extend(self.collect_hinted(pipeline, index, identity).await?);
            }
        }
        groups.extend(others.iter().filter_map(named).map(|group| CategoryGroup { is_unnamed: false, ..group }));
        self.leave_out_silent(&mut groups).await?;
        let unknown =
            PostGroup { platform: None, is_flagged: false, retry_count: 0, posts: self.count_unknown_entries().await? };
        groups.push(CategoryGroup { posts: unknown, category: None, is_unnamed: false, is_malformed: false });
        for name in used {
            let place = Place::entry(name);
            let pipeline = vec![doc! { "$match": place.counted() }, grouped_by(&place, Document::new())];
            let of_entries = self.collect_hinted(pipeline, &index::due_of(name), identity).await?;
            groups.extend(of_entries.iter().filter_map(|group| group_from(group, Some(name))));
        }
        Ok(groups)
    }

    /// Counts posts under the first name of their list of platforms, if they were counted under another.
    async fn name_as_listed(&self, groups: &mut Vec<CategoryGroup>, used: &[&str]) -> Result<(), StoreError> {
        let found = self.collect_hinted(groups_of_listed(used), index::PLATFORMS, identity).await?;
        for group in &found {
            let Ok(key) = group.get_document("_id") else { continue };
            let [counted, listed] = ["platform", "listed"].map(|name| group_from(group, key.get_str(name).ok()));
            let Some((counted, mut listed)) = counted.zip(listed) else { continue };
            listed.posts.posts = take_out(groups, &counted);
            groups.push(listed);
        }
        Ok(())
    }

    /// The malformed deliveries, each with the group in which [`Self::post_groups`] has it. Only documents with a fault
    /// are read. Those whose platform is not known are left out: they are counted as malformed already.
    async fn malformed_groups(&self) -> Result<Vec<CategoryGroup>, StoreError> {
        let used = &self.usage().await?.entries;
        let mut groups = Vec::new();
        for part in parts::listed_parts(&ListFilter::default()) {
            let Some(place) = &part.place else { continue };
            let (more, by_state) = match place {
                Place::Root => (doc! { "platform": platform_name(first_named()) }, index::DUE.to_owned()),
                Place::Entry(name) if used.contains(&name.as_str()) => (Document::new(), index::due_of(name)),
                Place::Entry(_) => continue,
            };
            let mut projection = projection_of(&part);
            projection.insert(GROUP, group_key(place, more));
            // Those were told apart when they were counted.
            let others = doc! { "$expr": { "$not": [is_too_long(place)] } };
            for (faults, suspects) in suspect_searches(place) {
                let pipeline = vec![
                    doc! { "$match": { "$and": [part.base.clone(), faults, others.clone()] } },
                    doc! { "$project": projection.clone() },
                ];
                // Without the index of suspects, the other one spares the posts that are not failed.
                let read = |found: Document| malformed_group(&found, place);
                let found = self.collect_by(pipeline, &[suspects.as_str(), by_state.as_str()], read).await?;
                groups.extend(found.into_iter().flatten());
            }
        }
        Ok(groups)
    }

    /// Takes documents that have no delivery out of the groups of posts for one platform, and tells some that are
    /// malformed apart.
    async fn leave_out_silent(&self, groups: &mut Vec<CategoryGroup>) -> Result<(), StoreError> {
        let odd = self.collect(without_post(), identity).await?;
        let mut malformed = Vec::new();
        for group in &odd {
            let Ok(key) = group.get_document("_id") else { continue };
            let Some(odd) = group_from(group, key.get_str("platform").ok()) else { continue };
            if take_out(groups, &odd) == 0 {
                continue;
            }
            if !key.get_bool("isSilent").unwrap_or(false) {
                malformed.push(CategoryGroup { is_malformed: true, ..odd });
            }
        }
        groups.extend(malformed);
        Ok(())
    }

    async fn run_statistics(
        &self,
        now: DateTime<Utc>,
        since: Option<DateTime<Utc>>,
        builder: &mut StatisticsBuilder,
    ) -> Result<RunStatistics, StoreError> {
        let wanted = since.map_or_else(Document::new, |since| doc! { "startedAt": { "$gte": bson_date(since) } });
        // Without dates that cannot be read. A filter looks into lists.
        let started = |from: Bson, until: Bson| {
            doc! { "startedAt": { "$gte": from, "$lte": until, "$not": { "$type": "array" } } }
        };
        let action = "read runs from";
        let sums = vec![
            doc! { "$match": wanted.clone() },
            doc! { "$group": {
                "_id": null,
                "runs": { "$sum": 1 },
                "posted": { "$sum": number_in("$totals.posted") },
                "failed": { "$sum": failed_in_run() },
            } },
        ];
        let attempts = vec![
            doc! { "$match": wanted.clone() },
            doc! { "$unwind": "$attempts" },
            doc! { "$group": {
                "_id": {
                    "platform": platform_name("$attempts.platform"),
                    "attempt": { "$min": [number_in("$attempts.attempt"), LAST_ATTEMPT] },
                    "after": { "$cond": [{ "$in": ["$attempts.after", categories()] }, "$attempts.after", Bson::Null] },
                },
                "attempts": { "$sum": number_in("$attempts.attempts") },
                "posted": { "$sum": number_in("$attempts.posted") },
            } },
        ];
        let sums = self.run_query(action, self.runs.aggregate(sums)).await?;
        for group in self.run_query(action, self.runs.aggregate(attempts)).await? {
            let Ok(key) = group.get_document("_id") else { continue };
            let platform = key.get_str("platform").ok().and_then(|name| name.parse().ok());
            let totals = AttemptTotals {
                attempt: u32::try_from(count_in(key, "attempt")).unwrap_or(u32::MAX),
                after: key.get_str("after").ok().and_then(|name| name.parse().ok()),
                attempts: count_in(&group, "attempts"),
                posted: count_in(&group, "posted"),
            };
            builder.add_attempts(platform, totals);
        }
        let days = vec![
            doc! { "$match": started(bson_date(start_of_days(now)), bson_date(now)) },
            doc! { "$group": {
                "_id": { "$dateToString": { "date": "$startedAt", "format": "%Y-%m-%d" } },
                "posted": { "$sum": number_in("$totals.posted") },
                "failed": { "$sum": failed_in_run() },
            } },
            doc! { "$sort": { "_id": 1 } },
        ];
        let days = self.run_query(action, self.runs.aggregate(days)).await?;
        let day_from = |group: &Document| {
            let day = group.get_str("_id").ok()?.parse().ok()?;
            Some(DayStatistics { day, posted: count_in(group, "posted"), failed: count_in(group, "failed") })
        };
        let [first_date, last_date] = [*DATES.start(), *DATES.end()].map(bson::DateTime::from_millis);
        let readable = started(since.map_or(first_date.into(), bson_date), last_date.into());
        let fields = doc! { "startedAt": 1, "durationMs": 1, "outcome": 1 };
        let records = self.runs.clone_with_type::<RawDocumentBuf>();
        let last = records.find_one(readable).sort(doc! { "startedAt": -1 }).projection(fields);
        let last = self.run(action, last).await?.map(|raw| decode(&raw));
        let sum = |name: &str| sums.first().map_or(0, |sums| count_in(sums, name));
        Ok(RunStatistics {
            run_count: sum("runs"),
            success_count: sum("posted"),
            error_count: sum("failed"),
            last_run: last.as_ref().and_then(|run| date_in(run, "startedAt")),
            last_duration_ms: last.as_ref().and_then(|run| run.get_i64("durationMs").ok()),
            last_outcome: last.as_ref().and_then(|run| run.get_str("outcome").ok()).map(str::to_owned),
            days: days.iter().filter_map(day_from).collect(),
        })
    }
}
