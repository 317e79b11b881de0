//! The queries in SQL.
//!
//! As in MongoDB, due posts are found with one range for each retry count. Every range is a separate `SELECT`, so that
//! each one uses the index. The ids that they return are the candidates.

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::types::Value;

use super::schema::millis;
use crate::post::{BackoffFrom, MAX_LEASE, Platform, RetryPolicy};
use crate::store::query::MalformedPosts;
use crate::store::{DueQuery, ListFilter, Scope};

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
}

/// An instant as the columns have it.
pub(super) fn text_of(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(super) fn text(at: DateTime<Utc>) -> Value {
    Value::Text(text_of(at))
}

fn in_scope(scope: Scope) -> Sql {
    let (operator, names): (&str, Vec<&str>) = match scope {
        Scope::Platform(platform) => ("IN", platform.spellings().to_vec()),
        Scope::UnknownPlatform => {
            ("NOT IN", Platform::ALL.iter().flat_map(|platform| platform.spellings()).copied().collect())
        }
    };
    let marks = vec!["?"; names.len()].join(", ");
    let or_missing = if scope == Scope::UnknownPlatform { " OR platform IS NULL" } else { "" };
    Sql {
        text: format!("status = 'failed' AND (platform {operator} ({marks}){or_missing})"),
        values: names.into_iter().map(|name| Value::Text(name.to_owned())).collect(),
    }
}

/// The value of a derived column for an unreadable value. An unreadable claim is due like one that has expired, so that
/// it is reported.
const UNREADABLE: i64 = -1;

/// The end of the longest lease that is valid at this time.
pub(super) fn latest_lease(now: DateTime<Utc>) -> Value {
    Value::Integer(now.timestamp_millis().saturating_add(MAX_LEASE.num_milliseconds()))
}

/// A `SELECT id` for each way in which a post can be due and, if wanted, for the posts whose state cannot be
/// read.
pub(super) fn due_ids(query: &DueQuery, malformed: MalformedPosts) -> Sql {
    let DueQuery { policy, now, scope } = query;
    let anchor = match policy.backoff_from {
        BackoffFrom::FirstFailure => "postretry_anchor_first",
        BackoffFrom::LastAttempt => "postretry_anchor_last",
    };
    let range = match malformed {
        MalformedPosts::Included => format!("{anchor} <= ?"),
        MalformedPosts::Excluded => format!("{anchor} <= ? AND {anchor} <> {UNREADABLE}"),
    };
    let not_before = format!("(retry_not_before IS NULL OR coalesce({}, 0) <= ?)", millis("retry_not_before"));
    let now_ms = || Value::Integer(now.timestamp_millis());
    let mut conditions: Vec<(&str, Sql)> = Vec::new();
    let mut add = |index, condition: &str, values: Vec<Value>| {
        conditions.push((index, Sql { text: condition.to_owned(), values }));
    };
    let due = match policy.backoff_from {
        BackoffFrom::FirstFailure => "postretry_due",
        BackoffFrom::LastAttempt => "postretry_due_last_attempt",
    };
    for count in 0..policy.max_retries {
        let Some(latest) = policy.latest_due_anchor(count, *now) else { break };
        add(
            due,
            &format!(
                "postretry_flagged = 0 AND postretry_retries = ? AND {range} AND postretry_claim_until IS NULL \
                 AND {not_before}"
            ),
            vec![Value::Integer(count.into()), Value::Integer(latest.timestamp_millis()), now_ms()],
        );
    }
    // The process died, or its clock was wrong.
    let is_readable = match malformed {
        MalformedPosts::Included => String::new(),
        MalformedPosts::Excluded => format!(" AND postretry_claim_until <> {UNREADABLE}"),
    };
    let expired = format!("postretry_flagged = 0 AND postretry_claim_until <= ?{is_readable}");
    add("postretry_claims", &expired, vec![now_ms()]);
    add("postretry_claims", "postretry_flagged = 0 AND postretry_claim_until > ?", vec![latest_lease(*now)]);
    add(
        "postretry_category",
        &format!(
            "postretry_flagged = 0 AND failure_category = 'processing' AND postretry_claim_until IS NULL \
             AND publish_ticket LIKE '{{%' AND {not_before}"
        ),
        vec![now_ms()],
    );
    if malformed == MalformedPosts::Included {
        add(due, "postretry_flagged = ?", vec![Value::Integer(UNREADABLE)]);
        add(due, "postretry_flagged = 0 AND postretry_retries = ?", vec![Value::Integer(UNREADABLE)]);
    }
    match scope {
        Scope::Platform(_) => selected(&[in_scope(*scope)], &conditions),
        // They can only be reported, and there are few of them: one look at each range of names.
        Scope::UnknownPlatform => {
            let mut any = Sql::default();
            for (_, condition) in conditions {
                any.push(if any.text.is_empty() { "(" } else { " OR " }, []);
                any.append(condition);
            }
            any.push(")", []);
            selected(&unknown_platforms(), &[(due, any)])
        }
    }
}

/// A `SELECT id` for each scope and each condition. SQLite would not choose the index of the condition by itself.
fn selected(scopes: &[Sql], conditions: &[(&str, Sql)]) -> Sql {
    let mut all = Sql::default();
    for (scope, (index, condition)) in scopes.iter().flat_map(|scope| conditions.iter().map(move |one| (scope, one))) {
        if !all.text.is_empty() {
            all.text.push_str(" UNION ");
        }
        all.text.push_str(&format!("SELECT id FROM posts INDEXED BY {index} WHERE "));
        all.append(scope.clone());
        all.push(" AND ", []);
        all.append(condition.clone());
    }
    all
}

/// The ranges of names between those of the platforms.
fn unknown_platforms() -> Vec<Sql> {
    let mut known: Vec<&str> = Platform::ALL.iter().flat_map(|platform| platform.spellings()).copied().collect();
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

/// A `SELECT id` for the exhausted posts that are not marked yet, without those that are running or waiting to be
/// resumed.
pub(super) fn exhausted_ids(query: &DueQuery) -> Sql {
    let mut sql = Sql::new("SELECT id FROM posts WHERE ");
    sql.append(in_scope(query.scope));
    sql.push(
        " AND postretry_flagged = 0 AND postretry_retries >= ? AND postretry_claim_until IS NULL \
         AND NOT (coalesce(failure_category, '') = 'processing' AND coalesce(publish_ticket, '') LIKE '{%')",
        [Value::Integer(query.policy.max_retries.into())],
    );
    sql
}

/// Adds the condition that a column has one of these values.
fn push_one_of(sql: &mut Sql, column: &str, names: &[&str]) {
    let marks = vec!["?"; names.len()].join(", ");
    let values = names.iter().map(|name| Value::Text((*name).to_owned()));
    sql.push(&format!(" AND {column} IN ({marks})"), values);
}

/// The condition for a list.
pub(super) fn listed(filter: &ListFilter) -> Sql {
    let mut sql = Sql::new("status = 'failed'");
    if !filter.platforms.is_empty() {
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
    if let Some((policy, now)) = filter.due {
        let platforms = Platform::ALL
            .into_iter()
            .filter(|platform| filter.platforms.is_empty() || filter.platforms.contains(platform));
        sql.push(" AND id IN (", []);
        for (index, platform) in platforms.enumerate() {
            if index > 0 {
                sql.push(" UNION ", []);
            }
            sql.append(due_ids(&DueQuery { policy, now, scope: Scope::Platform(platform) }, MalformedPosts::Excluded));
        }
        sql.push(")", []);
    }
    sql
}
