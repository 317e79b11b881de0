//! The queries in SQL.
//!
//! As in MongoDB, due posts are found with one range for each retry count. Every range is a separate `SELECT`, so that
//! each one uses the index. The rows that they return are the candidates.

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::types::Value;

use super::row::{column_list, is_readable};
use super::schema::millis;
use crate::post::{BackoffFrom, MAX_LEASE, Platform, RetryPolicy};
use crate::store::{DueQuery, ListFilter, Page, Scope};

/// Some SQL and the values for its `?`.
#[derive(Debug, Clone, Default)]
pub(super) struct Sql {
    pub(super) text: String,
    pub(super) values: Vec<Value>,
}

impl Sql {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }

    pub(super) fn push(&mut self, text: &str, values: impl IntoIterator<Item = Value>) {
        self.text.push_str(text);
        self.values.extend(values);
    }

    fn append(&mut self, other: Self) {
        self.text.push_str(&other.text);
        self.values.extend(other.values);
    }

    /// Adds the condition that a row comes after a position in the order of these columns and of the rows' numbers.
    pub(super) fn push_after(&mut self, order: &[&str], position: &[i64]) {
        // One from another query says nothing of this order.
        if position.len() != order.len() + 1 {
            return;
        }
        let marks = vec!["?"; position.len()].join(", ");
        let values: Vec<Value> = position.iter().map(|key| Value::Integer(*key)).collect();
        self.push(&format!(" AND ({}, rowid) > ({marks})", order.join(", ")), values);
    }
}

/// An instant as the columns have it.
pub(super) fn text_of(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(super) fn text(at: DateTime<Utc>) -> Value {
    Value::Text(text_of(at))
}

fn in_scope(scope: Scope) -> Sql {
    match scope {
        Scope::Platform(platform) => named("IN", platform.spellings(), ""),
        Scope::UnknownPlatform => named("NOT IN", &all_spellings(), " OR platform IS NULL"),
    }
}

/// The failed posts for any platform that there is.
fn known_platforms() -> Sql {
    named("IN", &all_spellings(), "")
}

fn named(operator: &str, names: &[&str], or_else: &str) -> Sql {
    let marks = vec!["?"; names.len()].join(", ");
    Sql {
        text: format!("status = 'failed' AND (platform {operator} ({marks}){or_else})"),
        values: names.iter().map(|name| Value::Text((*name).to_owned())).collect(),
    }
}

fn all_spellings() -> Vec<&'static str> {
    Platform::ALL.iter().flat_map(|platform| platform.spellings()).copied().collect()
}

/// The value of a derived column for an unreadable value. An unreadable claim is due like one that has expired, so that
/// it is reported.
const UNREADABLE: i64 = -1;

/// The end of the longest lease that is valid at this time.
pub(super) fn latest_lease(now: DateTime<Utc>) -> Value {
    Value::Integer(now.timestamp_millis().saturating_add(MAX_LEASE.num_milliseconds()))
}

/// A `SELECT rowid` for each way in which a post can be due, and for the posts whose state cannot be read. Whether a
/// post is malformed in another column, this does not ask.
pub(super) fn due_rows(query: &DueQuery) -> Sql {
    let conditions = due_conditions(query);
    match query.scope {
        Scope::Platform(_) => selected(&in_scope(query.scope), &conditions),
        // They can only be reported, and there are few of them: one look at each range of names, without those that are
        // permanently failed. The plus sign keeps SQLite from planning every condition for every range, which takes
        // longer than all else in a pass.
        Scope::UnknownPlatform => {
            let mut sql = Sql::new("SELECT rowid FROM posts WHERE rowid IN (");
            for (position, range) in unknown_platforms().iter().enumerate() {
                if position > 0 {
                    sql.push(" UNION ALL ", []);
                }
                let unmarked = Sql::new("postretry_flagged < 1");
                sql.append(selected(range, &[(due_order(&query.policy).0, unmarked)]));
            }
            sql.push(") AND +(", []);
            for (position, (_, condition)) in conditions.into_iter().enumerate() {
                if position > 0 {
                    sql.push(" OR ", []);
                }
                sql.append(condition);
            }
            sql.push(")", []);
            sql
        }
    }
}

/// Whether there may be anything to do, for all platforms together: SQLite takes longer to plan what a pass reads than to
/// find that there is nothing. It finds what [`due_rows`] and [`exhausted_rows_after`] find, and every post for an unknown
/// platform that is not marked.
pub(super) fn has_work(policy: &RetryPolicy, now: DateTime<Utc>) -> Sql {
    let (due, anchor) = due_order(policy);
    let steps: Vec<(u32, DateTime<Utc>)> = policy.latest_due_anchors(now).collect();
    let known = known_platforms();
    let mut ways = other_due_conditions(policy, now);
    ways.push(("postretry_due", exhausted(policy, "postretry_retries")));
    let mut all = selected(&known, &ways);
    for range in unknown_platforms() {
        all.push(" UNION ALL ", []);
        all.append(selected(&range, &[(due, Sql::new("postretry_flagged < 1"))]));
    }
    if !steps.is_empty() {
        let rows = vec!["(?, ?)"; steps.len()].join(", ");
        let values = steps.iter().flat_map(|(count, latest)| [i64::from(*count), latest.timestamp_millis()]);
        let mut counted = Sql::new("");
        // The order of a cross join is kept.
        counted.push(
            &format!("SELECT 1 FROM (VALUES {rows}) AS step CROSS JOIN posts INDEXED BY {due} WHERE "),
            values.map(Value::Integer),
        );
        counted.append(known);
        counted.push(
            &format!(
                " AND postretry_flagged = 0 AND postretry_retries = step.column1 AND {anchor} <= step.column2 \
                 AND postretry_claim_until IS NULL AND {} UNION ALL ",
                not_before()
            ),
            [Value::Integer(now.timestamp_millis())],
        );
        counted.append(all);
        all = counted;
    }
    let mut sql = Sql::new("SELECT EXISTS (");
    sql.append(all);
    sql.push(")", []);
    sql
}

/// The first of [`due_rows`] after a position, by date and number.
pub(super) fn due_rows_after(query: &DueQuery, after: Option<&[i64]>, limit: u32) -> Sql {
    match query.scope {
        Scope::Platform(platform) => {
            first_rows(platform, &due_conditions(query), &[due_order(&query.policy).1], after, limit)
        }
        Scope::UnknownPlatform => due_rows(query),
    }
}

/// The first rows after a position that meet any of these conditions, each with its index, in the order of these columns
/// and of the rows' numbers. Where that is the order of the index, SQLite reads no more of them than are wanted: one
/// `SELECT` for each name of the platform and each condition.
fn first_rows(
    platform: Platform,
    conditions: &[(&'static str, Sql)],
    order: &[&str],
    after: Option<&[i64]>,
    limit: u32,
) -> Sql {
    let columns = order.join(", ");
    let mut sql = Sql::new("SELECT number FROM (");
    let branches = platform.spellings().iter().flat_map(|name| conditions.iter().map(move |branch| (name, branch)));
    for (branch, (name, (index, condition))) in branches.enumerate() {
        // A post can be due for two reasons, and must not take two places of a page.
        if branch > 0 {
            sql.push(" UNION ", []);
        }
        let select = format!("SELECT * FROM (SELECT {columns}, rowid AS number FROM posts INDEXED BY {index}");
        sql.push(&format!("{select} WHERE status = 'failed' AND platform = ? AND "), [Value::Text((*name).to_owned())]);
        sql.append(condition.clone());
        if let Some(position) = after {
            sql.push_after(order, position);
        }
        sql.push(&format!(" ORDER BY {columns}, rowid LIMIT ?)"), [Value::Integer(limit.into())]);
    }
    sql.push(&format!(") ORDER BY {columns}, number LIMIT ?"), [Value::Integer(limit.into())]);
    sql
}

/// The index of what is due, and the column with the date that the backoff counts from.
pub(super) fn due_order(policy: &RetryPolicy) -> (&'static str, &'static str) {
    match policy.backoff_from {
        BackoffFrom::FirstFailure => ("postretry_due", "postretry_anchor_first"),
        BackoffFrom::LastAttempt => ("postretry_due_last_attempt", "postretry_anchor_last"),
    }
}

/// The ways in which a post can be due, each with its index.
fn due_conditions(query: &DueQuery) -> Vec<(&'static str, Sql)> {
    let DueQuery { policy, now, .. } = query;
    let (due, anchor) = due_order(policy);
    let not_before = not_before();
    let now_ms = || Value::Integer(now.timestamp_millis());
    let mut conditions: Vec<(&'static str, Sql)> = Vec::new();
    for (count, latest) in policy.latest_due_anchors(*now) {
        let condition = format!(
            "postretry_flagged = 0 AND postretry_retries = ? AND {anchor} <= ? AND postretry_claim_until IS NULL \
             AND {not_before}"
        );
        let values = vec![Value::Integer(count.into()), Value::Integer(latest.timestamp_millis()), now_ms()];
        conditions.push((due, Sql { text: condition, values }));
    }
    conditions.extend(other_due_conditions(policy, *now));
    conditions
}

/// The deferral of a post is over, at `?`.
fn not_before() -> String {
    format!("(retry_not_before IS NULL OR coalesce({}, 0) <= ?)", millis("retry_not_before"))
}

/// The ways in which a post can be due whatever its retry count and its date are.
fn other_due_conditions(policy: &RetryPolicy, now: DateTime<Utc>) -> Vec<(&'static str, Sql)> {
    let (due, _) = due_order(policy);
    let not_before = not_before();
    let now_ms = || Value::Integer(now.timestamp_millis());
    let mut conditions: Vec<(&'static str, Sql)> = Vec::new();
    let mut add = |index, condition: &str, values: Vec<Value>| {
        conditions.push((index, Sql { text: condition.to_owned(), values }));
    };
    // The process died, or its clock was wrong.
    add("postretry_claims", "postretry_flagged = 0 AND postretry_claim_until <= ?", vec![now_ms()]);
    add("postretry_claims", "postretry_flagged = 0 AND postretry_claim_until > ?", vec![latest_lease(now)]);
    add(
        "postretry_category",
        &format!(
            "postretry_flagged = 0 AND failure_category = 'processing' AND postretry_claim_until IS NULL \
             AND publish_ticket LIKE '{{%' AND publish_ticket <> '{{}}' AND {not_before}"
        ),
        vec![now_ms()],
    );
    add(due, "postretry_flagged = ?", vec![Value::Integer(UNREADABLE)]);
    add(due, "postretry_flagged = 0 AND postretry_retries = ?", vec![Value::Integer(UNREADABLE)]);
    conditions
}

/// A `SELECT rowid` for each condition in a scope. SQLite would not choose the index of the condition by itself.
fn selected(scope: &Sql, conditions: &[(&str, Sql)]) -> Sql {
    let mut all = Sql::default();
    for (index, condition) in conditions {
        if !all.text.is_empty() {
            all.text.push_str(" UNION ALL ");
        }
        all.text.push_str(&format!("SELECT rowid FROM posts INDEXED BY {index} WHERE "));
        all.append(scope.clone());
        all.push(" AND ", []);
        all.append(condition.clone());
    }
    all
}

/// The ranges of names between those of the platforms.
fn unknown_platforms() -> Vec<Sql> {
    let mut known = all_spellings();
    known.sort_unstable();
    let text = |name: &str| Value::Text(name.to_owned());
    let with = |condition: &str, values: Vec<Value>| Sql { text: format!("status = 'failed' AND {condition}"), values };
    let mut ranges = vec![with("platform IS NULL", Vec::new())];
    ranges.extend(known.first().map(|first| with("platform < ?", vec![text(first)])));
    ranges.extend(
        known.windows(2).map(|two| with("platform > ? AND platform < ?", two.iter().map(|name| text(name)).collect())),
    );
    ranges.extend(known.last().map(|last| with("platform > ?", vec![text(last)])));
    ranges
}

/// The order of the exhausted posts, which is that of their index.
pub(super) const EXHAUSTED_ORDER: [&str; 2] = ["postretry_retries", "postretry_anchor_first"];

/// A `SELECT rowid` for the first exhausted posts after a position, in [`EXHAUSTED_ORDER`]: those that are not marked yet,
/// without those that are running or waiting to be resumed.
pub(super) fn exhausted_rows_after(query: &DueQuery, after: Option<&[i64]>, limit: u32) -> Sql {
    // With the plus sign SQLite takes the position for the start of the range, and not the fewest retries.
    let retries = if after.is_some() { "+postretry_retries" } else { "postretry_retries" };
    let conditions = [("postretry_due", exhausted(&query.policy, retries))];
    match query.scope {
        Scope::Platform(platform) => first_rows(platform, &conditions, &EXHAUSTED_ORDER, after, limit),
        Scope::UnknownPlatform => selected(&in_scope(query.scope), &conditions),
    }
}

fn exhausted(policy: &RetryPolicy, retries: &str) -> Sql {
    Sql {
        text: format!(
            "postretry_flagged = 0 AND {retries} >= ? AND postretry_claim_until IS NULL \
             AND NOT (coalesce(failure_category, '') = 'processing' AND coalesce(publish_ticket, '') LIKE '{{%' \
             AND publish_ticket <> '{{}}')"
        ),
        values: vec![Value::Integer(policy.max_retries.into())],
    }
}

/// Adds the condition that a column has one of these values.
fn push_one_of(sql: &mut Sql, column: &str, names: &[&str]) {
    let marks = vec!["?"; names.len()].join(", ");
    let values = names.iter().map(|name| Value::Text((*name).to_owned()));
    sql.push(&format!(" AND {column} IN ({marks})"), values);
}

/// A page of a list, the newest failure first.
pub(super) fn list_sql(filter: &ListFilter, page: Page) -> Sql {
    // This index has every column of the conditions. With what is due, the few rows of that are sorted instead.
    let index = if filter.due.is_none() { " INDEXED BY postretry_list" } else { "" };
    let mut sql = Sql::new(format!("SELECT {} FROM posts{index} WHERE ", column_list()));
    sql.append(listed(filter));
    let amount = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    sql.push(" ORDER BY postretry_listed_at DESC, id LIMIT ? OFFSET ?", [amount(page.limit), amount(page.skip)]);
    sql
}

/// How many posts a list has.
pub(super) fn count_sql(filter: &ListFilter) -> Sql {
    // SQLite would choose an index that does not have the columns of these conditions.
    let is_listed = filter.due.is_none() && (filter.permanent.is_some() || filter.since.is_some());
    let index = if is_listed { " INDEXED BY postretry_list" } else { "" };
    let mut sql = Sql::new(format!("SELECT count(*) FROM posts{index} WHERE "));
    sql.append(listed(filter));
    sql
}

/// The condition for a list.
fn listed(filter: &ListFilter) -> Sql {
    let mut sql = match filter.due {
        None => Sql::new("status = 'failed'"),
        // Without status and platform, which are conditions of what is due already, SQLite looks only at those rows.
        Some((policy, now)) => due_on(&filter.platforms, policy, now),
    };
    if !filter.platforms.is_empty() && filter.due.is_none() {
        let names: Vec<&str> = filter.platforms.iter().flat_map(|platform| platform.spellings()).copied().collect();
        push_one_of(&mut sql, "platform", &names);
    }
    if !filter.categories.is_empty() {
        let names: Vec<&str> = filter.categories.iter().map(|category| category.as_str()).collect();
        push_one_of(&mut sql, "failure_category", &names);
    }
    if let Some(RetryPolicy { max_retries, .. }) = filter.permanent {
        sql.push(" AND (postretry_flagged = 1 OR postretry_retries >= ?)", [Value::Integer(max_retries.into())]);
    }
    if let Some(since) = filter.since {
        sql.push(" AND postretry_listed_at >= ?", [Value::Integer(since.timestamp_millis())]);
    }
    sql
}

/// The condition that a post is due, for one of these platforms if there are some.
fn due_on(platforms: &[Platform], policy: RetryPolicy, now: DateTime<Utc>) -> Sql {
    let wanted = Platform::ALL.into_iter().filter(|known| platforms.is_empty() || platforms.contains(known));
    let mut sql = Sql::new("rowid IN (");
    for (index, platform) in wanted.enumerate() {
        if index > 0 {
            sql.push(" UNION ALL ", []);
        }
        sql.append(due_rows(&DueQuery { policy, now, scope: Scope::Platform(platform) }));
    }
    sql.push(&format!(") AND {}", is_readable()), []);
    sql
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params_from_iter};

    use super::super::{row, schema, statistics};
    use super::*;
    use crate::post::Category;

    fn plan(connection: &Connection, sql: &Sql) -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", sql.text)).unwrap();
        let steps = statement.query_map(params_from_iter(&sql.values), |row| row.get("detail")).unwrap();
        steps.collect::<rusqlite::Result<_>>().unwrap()
    }

    fn store() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        row::define_is_readable(&connection).unwrap();
        schema::migrate(&mut connection).unwrap();
        connection
    }

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-11-23T10:00:00Z").unwrap().to_utc()
    }

    fn filters() -> Vec<ListFilter> {
        let policy = RetryPolicy::default();
        let none = ListFilter::default;
        vec![
            none(),
            ListFilter { platforms: vec![Platform::YouTubeShorts], ..none() },
            ListFilter { platforms: Platform::ALL.to_vec(), ..none() },
            ListFilter { categories: vec![Category::Network, Category::Auth], ..none() },
            ListFilter { permanent: Some(policy), ..none() },
            ListFilter { since: Some(now()), ..none() },
            ListFilter { platforms: vec![Platform::TikTok], permanent: Some(policy), since: Some(now()), ..none() },
        ]
    }

    #[test]
    fn no_query_looks_at_posts_that_are_not_failed() {
        let connection = store();
        let mut queries: Vec<Sql> = filters().iter().map(count_sql).collect();
        queries.extend(filters().iter().map(|filter| list_sql(filter, Page { skip: 1000, limit: 50 })));
        for backoff_from in [BackoffFrom::FirstFailure, BackoffFrom::LastAttempt] {
            let policy = RetryPolicy { backoff_from, ..RetryPolicy::default() };
            let due = ListFilter { due: Some((policy, now())), ..ListFilter::default() };
            queries.extend([count_sql(&due), list_sql(&due, Page { skip: 0, limit: 50 })]);
            for scope in [Scope::Platform(Platform::TikTok), Scope::UnknownPlatform] {
                let query = DueQuery { policy, now: now(), scope };
                queries.extend([due_rows(&query), exhausted_rows_after(&query, None, 64)]);
            }
        }
        queries.extend([statistics::POSTS.to_owned(), statistics::categories(), statistics::malformed()].map(Sql::new));
        let query = DueQuery { policy: RetryPolicy::default(), now: now(), scope: Scope::Platform(Platform::TikTok) };
        queries.push(statistics::readable_due(&query, &[1, 2]));
        for sql in queries {
            let plan = plan(&connection, &sql);
            assert!(!plan.iter().any(|step| step.starts_with("SCAN posts")), "{}: {plan:#?}", sql.text);
        }
    }

    #[test]
    fn what_is_due_is_found_without_a_look_at_the_other_failed_posts() {
        let connection = store();
        for platforms in [vec![], vec![Platform::TikTok]] {
            let due = Some((RetryPolicy::default(), now()));
            let filter = ListFilter { platforms, due, categories: vec![Category::Network], ..ListFilter::default() };
            for sql in [count_sql(&filter), list_sql(&filter, Page { skip: 0, limit: 50 })] {
                let plan = plan(&connection, &sql);
                assert!(plan.iter().any(|step| step.contains("INTEGER PRIMARY KEY (rowid=?)")), "{plan:#?}");
                assert!(!plan.iter().any(|step| step.ends_with("(status=?)")), "{plan:#?}");
            }
        }
    }

    #[test]
    fn lists_and_statistics_are_read_in_the_order_of_an_index() {
        let connection = store();
        let lists = filters().into_iter().map(|filter| list_sql(&filter, Page { skip: 1000, limit: 50 }));
        for sql in lists.chain([statistics::POSTS.to_owned(), statistics::categories()].map(Sql::new)) {
            let plan = plan(&connection, &sql);
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{}: {plan:#?}", sql.text);
        }
    }

    #[test]
    fn a_page_of_what_is_due_is_read_in_the_order_of_its_index() {
        let connection = store();
        for backoff_from in [BackoffFrom::FirstFailure, BackoffFrom::LastAttempt] {
            let policy = RetryPolicy { backoff_from, ..RetryPolicy::default() };
            let query = DueQuery { policy, now: now(), scope: Scope::Platform(Platform::YouTubeShorts) };
            let plan = plan(&connection, &due_rows_after(&query, Some(&[1, 2]), 64));
            let ranges = plan.iter().filter(|step| step.contains("postretry_retries=? AND postretry_anchor")).count();
            // Five retry counts and the unreadable ones, under two names.
            assert_eq!(ranges, 12, "{plan:#?}");
        }
    }

    #[test]
    fn a_page_of_what_is_exhausted_is_read_in_the_order_of_its_index() {
        let scope = Scope::Platform(Platform::TikTok);
        let query = DueQuery { policy: RetryPolicy::default(), now: now(), scope };
        for (after, range) in
            [(None, "postretry_retries>?"), (Some(&[5, 1, 2][..]), "(postretry_retries,postretry_anchor_first)>(?,?)")]
        {
            let plan = plan(&store(), &exhausted_rows_after(&query, after, 64));
            assert!(plan.iter().any(|step| step.contains(range)), "{plan:#?}");
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:#?}");
        }
    }

    #[test]
    fn the_posts_with_an_unknown_platform_are_found_in_six_ranges() {
        let query = DueQuery { policy: RetryPolicy::default(), now: now(), scope: Scope::UnknownPlatform };
        let plan = plan(&store(), &due_rows(&query));
        let ranges = plan.iter().filter(|step| step.contains("postretry_due (status=? AND platform")).count();
        assert_eq!(ranges, 6, "{plan:#?}");
    }
}
