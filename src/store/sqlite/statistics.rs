//! Counts that SQLite computes, and the record of a run as a row.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde_json::json;

use super::query::{Sql, due_rows, text};
use super::row::is_readable;
use super::tokens;
use crate::post::{Category, Platform, RetryPolicy};
use crate::store::statistics_builder::{AttemptTotals, PostGroup, StatisticsBuilder, start_of_days};
use crate::store::{DayStatistics, DueQuery, GivenUpRecord, PlatformRun, RunRecord, RunStatistics, Scope, Statistics};

/// The one number that a query asks for.
pub(super) fn count(connection: &Connection, sql: &Sql) -> rusqlite::Result<u64> {
    connection.prepare_cached(&sql.text)?.query_row(params_from_iter(&sql.values), |row| number(row, 0))
}

/// The largest number that is counted. More come from runs that nobody has made, and their sum must fit too.
const LARGEST: u64 = 1 << 53;

/// A whole number. Of a run that another program has written it can be anything.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, which is wanted")]
fn number(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let number = match row.get_ref(index)? {
        ValueRef::Integer(number) => u64::try_from(number).unwrap_or(0),
        ValueRef::Real(number) => number as u64,
        _ => 0,
    };
    Ok(number.min(LARGEST))
}

/// A text; none if it is something else.
fn text_in(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Option<String>> {
    Ok(row.get_ref(index)?.as_str().ok().map(str::to_owned))
}

/// The SQL for a number in the totals of a run; null if they are not JSON.
fn in_totals(name: &str) -> String {
    format!("(CASE WHEN json_valid(totals) THEN totals ->> '{name}' END)")
}

/// What a run did on a platform.
fn platform_json(entry: &PlatformRun) -> serde_json::Value {
    let mut json = json!(entry.totals);
    if let (Some(object), Some(given_up)) = (json.as_object_mut(), &entry.given_up) {
        let given_up = json!({
            "category": given_up.category.as_str(), "reason": given_up.reason, "waiting": given_up.waiting,
            "since": super::text_of(given_up.since),
        });
        object.insert("givenUp".to_owned(), given_up);
    }
    json
}

fn given_up_from(json: &serde_json::Value) -> Option<GivenUpRecord> {
    Some(GivenUpRecord {
        category: json.get("category")?.as_str()?.parse().ok()?,
        reason: json.get("reason")?.as_str()?.to_owned(),
        waiting: json.get("waiting")?.as_u64()?,
        since: DateTime::parse_from_rfc3339(json.get("since")?.as_str()?).ok()?.to_utc(),
    })
}

/// Of each platform, why its latest run gave it up, if it did.
pub(super) fn given_up(connection: &Connection) -> rusqlite::Result<Vec<(Platform, GivenUpRecord)>> {
    // The latest rows, without a look at the runs of years.
    let latest = "SELECT by_platform, started_at FROM runs ORDER BY rowid DESC LIMIT 50";
    let mut statement = connection.prepare(&format!("SELECT by_platform FROM ({latest}) ORDER BY started_at DESC"))?;
    let mut rows = statement.query([])?;
    let mut given_up = Vec::new();
    let mut unseen = Vec::from(Platform::ALL);
    // Nearly always the first run says it of all platforms.
    while !unseen.is_empty()
        && let Some(row) = rows.next()?
    {
        let run: Option<serde_json::Value> = text_in(row, 0)?.and_then(|text| serde_json::from_str(&text).ok());
        unseen.retain(|platform| {
            let Some(entry) = run.as_ref().and_then(|run| run.get(platform.as_str())) else { return true };
            given_up.extend(entry.get("givenUp").and_then(given_up_from).map(|record| (*platform, record)));
            false
        });
    }
    given_up.sort_by_key(|(platform, _)| *platform);
    Ok(given_up)
}

/// The runs of the last days, day by day in UTC.
fn days(connection: &Connection, now: DateTime<Utc>) -> rusqlite::Result<Vec<DayStatistics>> {
    let mut statement = connection.prepare(&format!(
        "SELECT substr(started_at, 1, 10), total({}), total({} + {}) FROM runs \
         WHERE started_at >= ? AND started_at <= ? GROUP BY 1 ORDER BY 1",
        in_totals("posted"),
        in_totals("failed"),
        in_totals("permanentlyFailed")
    ))?;
    let mut rows = statement.query([super::text_of(start_of_days(now)), super::text_of(now)])?;
    let mut days = Vec::new();
    while let Some(row) = rows.next()? {
        if let Some(day) = text_in(row, 0)?.and_then(|day| day.parse().ok()) {
            days.push(DayStatistics { day, posted: number(row, 1)?, failed: number(row, 2)? });
        }
    }
    Ok(days)
}

/// The record of a run.
pub(super) fn run_sql(run: &RunRecord) -> Sql {
    let by_platform: BTreeMap<&str, serde_json::Value> =
        run.by_platform.iter().map(|entry| (entry.platform.as_str(), platform_json(entry))).collect();
    let attempts: Vec<_> = run
        .attempts
        .iter()
        .map(|count| {
            json!({
                "platform": count.platform.as_str(), "attempt": count.attempt, "after": count.after.map(Category::as_str),
                "attempts": count.attempts, "posted": count.posted,
            })
        })
        .collect();
    let string = |text: &str| Value::Text(text.to_owned());
    let mut sql = Sql::new(
        "INSERT INTO runs (id, command, started_at, finished_at, duration_ms, host, version, outcome, totals, \
         by_platform, attempts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    sql.values = vec![
        string(&run.id),
        string(run.command),
        text(run.started_at),
        text(run.finished_at),
        Value::Integer((run.finished_at - run.started_at).num_milliseconds()),
        string(&run.host),
        string(env!("CARGO_PKG_VERSION")),
        string(run.outcome.as_str()),
        string(&json!(run.totals).to_string()),
        string(&json!(by_platform).to_string()),
        string(&json!(attempts).to_string()),
    ];
    sql
}

/// All statistics.
pub(super) fn gather(
    connection: &Connection,
    policy: &RetryPolicy,
    now: DateTime<Utc>,
    runs_since: Option<DateTime<Utc>>,
) -> rusqlite::Result<Statistics> {
    let mut builder = StatisticsBuilder::new(*policy);
    add_posts(connection, &mut builder)?;
    add_categories(connection, &mut builder)?;
    let malformed = mark_malformed(connection, &mut builder)?;
    for platform in Platform::ALL {
        let query = DueQuery { policy: *policy, now, scope: Scope::Platform(platform) };
        builder.set_due(platform, count(connection, &readable_due(&query, &malformed))?);
    }
    let since = runs_since.map_or_else(String::new, super::text_of);
    add_attempts(connection, &since, &mut builder)?;
    let runs = RunStatistics { days: days(connection, now)?, ..runs(connection, &since)? };
    Ok(builder.finish(runs, &tokens::all(connection)?, given_up(connection)?))
}

/// Groups in the order of the index, so that nothing has to be sorted.
pub(super) const POSTS: &str = "SELECT platform, postretry_flagged, postretry_retries, count(*) \
                     FROM posts INDEXED BY postretry_due WHERE status = 'failed' \
                     GROUP BY platform, postretry_flagged, postretry_retries";

/// The condition that the platform is known. Other posts are malformed, and are counted as nothing else.
fn has_platform() -> String {
    let names = Platform::ALL.into_iter().flat_map(Platform::spellings);
    let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    format!("platform IN ({})", names.join(", "))
}

pub(super) fn categories() -> String {
    format!(
        "SELECT failure_category, count(*) FROM posts INDEXED BY postretry_category \
         WHERE status = 'failed' AND failure_category <> '' AND {} GROUP BY failure_category",
        has_platform()
    )
}

/// The posts for known platforms that cannot be read. No index can tell them: every failed row is read, in the order in
/// which the file has them. In any other order that takes three times as long.
pub(super) fn malformed() -> String {
    format!(
        "SELECT posts.rowid, platform, postretry_flagged, postretry_retries, failure_category \
         FROM (SELECT rowid AS number FROM posts INDEXED BY postretry_category WHERE status = 'failed' AND {} \
         ORDER BY rowid LIMIT -1) AS failed CROSS JOIN posts ON posts.rowid = failed.number WHERE NOT {}",
        has_platform(),
        is_readable()
    )
}

/// How many posts are due that are none of these rows. Rows that are known to be readable are not read again.
pub(super) fn readable_due(query: &DueQuery, malformed: &[i64]) -> Sql {
    let rows = due_rows(query);
    let mut sql = Sql::new("SELECT count(*) FROM posts WHERE rowid IN (");
    sql.push(&rows.text, rows.values);
    let malformed = Value::Text(json!(malformed).to_string());
    sql.push(") AND rowid NOT IN (SELECT value FROM json_each(?))", [malformed]);
    sql
}

/// The posts of a row that has platform, flag and retries from this column on.
fn group_in(row: &rusqlite::Row<'_>, first: usize, posts: u64) -> rusqlite::Result<PostGroup> {
    Ok(PostGroup {
        platform: row.get_ref(first)?.as_str().ok().and_then(|name| name.parse().ok()),
        is_flagged: row.get_ref(first + 1)? == ValueRef::Integer(1),
        retry_count: u32::try_from(number(row, first + 2)?).unwrap_or(u32::MAX),
        posts,
    })
}

fn add_posts(connection: &Connection, builder: &mut StatisticsBuilder) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(POSTS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        builder.add_posts(group_in(row, 0, number(row, 3)?)?);
    }
    Ok(())
}

/// Counts the malformed posts as that, and returns the numbers of their rows.
fn mark_malformed(connection: &Connection, builder: &mut StatisticsBuilder) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare(&malformed())?;
    let mut rows = statement.query([])?;
    let mut numbers = Vec::new();
    while let Some(row) = rows.next()? {
        numbers.push(row.get(0)?);
        let category = text_in(row, 4)?.filter(|name| !name.is_empty());
        builder.mark_malformed(group_in(row, 1, 1)?, category.as_deref());
    }
    Ok(numbers)
}

fn add_categories(connection: &Connection, builder: &mut StatisticsBuilder) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&categories())?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(name) = text_in(row, 0)? {
            builder.add_category(&name, number(row, 1)?);
        }
    }
    Ok(())
}

fn runs(connection: &Connection, since: &str) -> rusqlite::Result<RunStatistics> {
    let sums = format!(
        "SELECT count(*), total({}), total({} + {}) FROM runs WHERE started_at >= ?",
        in_totals("posted"),
        in_totals("failed"),
        in_totals("permanentlyFailed")
    );
    let mut statistics = connection.query_row(&sums, [since], |row| {
        Ok(RunStatistics {
            run_count: number(row, 0)?,
            success_count: number(row, 1)?,
            error_count: number(row, 2)?,
            ..RunStatistics::default()
        })
    })?;
    let last =
        "SELECT started_at, duration_ms, outcome FROM runs WHERE started_at >= ? ORDER BY started_at DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| Ok((text_in(row, 0)?, number(row, 1)?, text_in(row, 2)?));
    if let Some((started_at, duration_ms, outcome)) = connection.query_row(last, [since], read).optional()? {
        let started_at = started_at.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
        statistics.last_run = started_at.map(|at| at.with_timezone(&Utc));
        statistics.last_duration_ms = Some(i64::try_from(duration_ms).unwrap_or(i64::MAX));
        statistics.last_outcome = outcome;
    }
    Ok(statistics)
}

fn add_attempts(connection: &Connection, since: &str, builder: &mut StatisticsBuilder) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT value ->> 'platform', value ->> 'attempt', total(value ->> 'attempts'), total(value ->> 'posted'), \
         value ->> 'after' FROM runs, json_each(CASE WHEN json_valid(runs.attempts) THEN runs.attempts ELSE '[]' END) \
         WHERE started_at >= ? AND json_each.type = 'object' GROUP BY 1, 2, 5",
    )?;
    let mut rows = statement.query([since])?;
    while let Some(row) = rows.next()? {
        let totals = AttemptTotals {
            attempt: u32::try_from(number(row, 1)?).unwrap_or(u32::MAX),
            after: text_in(row, 4)?.and_then(|name| name.parse().ok()),
            attempts: number(row, 2)?,
            posted: number(row, 3)?,
        };
        builder.add_attempts(text_in(row, 0)?.and_then(|name| name.parse().ok()), totals);
    }
    Ok(())
}
