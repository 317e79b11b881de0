//! Counts that SQLite computes, and the record of a run as a row.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde_json::json;

use super::query::{Sql, listed, text};
use super::tokens;
use crate::post::{Category, Platform, RetryPolicy};
use crate::store::statistics_builder::{AttemptTotals, PostGroup, StatisticsBuilder, start_of_days};
use crate::store::{DayStatistics, GivenUpRecord, ListFilter, PlatformRun, RunRecord, RunStatistics, Statistics};

/// The one number that a query asks for.
pub(super) fn count(connection: &Connection, sql: &Sql) -> rusqlite::Result<u64> {
    connection.prepare_cached(&sql.text)?.query_row(params_from_iter(&sql.values), |row| number(row, 0))
}

fn number(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(index)?).unwrap_or(0))
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
    let mut statement = connection.prepare("SELECT by_platform FROM runs ORDER BY started_at DESC LIMIT 50")?;
    let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0))?;
    let runs = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let runs: Vec<serde_json::Value> =
        runs.into_iter().flatten().filter_map(|text| serde_json::from_str(&text).ok()).collect();
    let latest = |platform: Platform| {
        let entry = runs.iter().find_map(|run| run.get(platform.as_str()))?;
        Some((platform, given_up_from(entry.get("givenUp")?)?))
    };
    Ok(Platform::ALL.into_iter().filter_map(latest).collect())
}

/// The runs of the last days, day by day in UTC.
fn days(connection: &Connection, now: DateTime<Utc>) -> rusqlite::Result<Vec<DayStatistics>> {
    let mut statement = connection.prepare(
        "SELECT substr(started_at, 1, 10), sum(totals ->> 'posted'), \
         sum((totals ->> 'failed') + (totals ->> 'permanentlyFailed')) FROM runs WHERE started_at >= ? \
         GROUP BY 1 ORDER BY 1",
    )?;
    let mut rows = statement.query([super::text_of(start_of_days(now))])?;
    let mut days = Vec::new();
    while let Some(row) = rows.next()? {
        if let Ok(day) = row.get::<_, String>(0)?.parse() {
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
    for platform in Platform::ALL {
        let filter = ListFilter { platforms: vec![platform], due: Some((*policy, now)), ..ListFilter::default() };
        let condition = listed(&filter);
        let sql =
            Sql { text: format!("SELECT count(*) FROM posts WHERE {}", condition.text), values: condition.values };
        builder.set_due(platform, count(connection, &sql)?);
    }
    add_categories(connection, &mut builder)?;
    let since = runs_since.map_or_else(String::new, super::text_of);
    add_attempts(connection, &since, &mut builder)?;
    let runs = RunStatistics { days: days(connection, now)?, ..runs(connection, &since)? };
    Ok(builder.finish(runs, &tokens::all(connection)?, given_up(connection)?))
}

fn add_posts(connection: &Connection, builder: &mut StatisticsBuilder) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT platform, postretry_flagged = 1, max(postretry_retries, 0), count(*) FROM posts \
         WHERE status = 'failed' GROUP BY 1, 2, 3",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        builder.add_posts(PostGroup {
            platform: row.get_ref(0)?.as_str().ok().and_then(|name| name.parse().ok()),
            is_flagged: row.get(1)?,
            retry_count: u32::try_from(number(row, 2)?).unwrap_or(u32::MAX),
            posts: number(row, 3)?,
        });
    }
    Ok(())
}

fn add_categories(connection: &Connection, builder: &mut StatisticsBuilder) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT failure_category, count(*) FROM posts WHERE status = 'failed' AND typeof(failure_category) = 'text' \
         GROUP BY 1",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        builder.add_category(&row.get::<_, String>(0)?, number(row, 1)?);
    }
    Ok(())
}

fn runs(connection: &Connection, since: &str) -> rusqlite::Result<RunStatistics> {
    let sums = "SELECT count(*), coalesce(sum(totals ->> 'posted'), 0), \
                coalesce(sum((totals ->> 'failed') + (totals ->> 'permanentlyFailed')), 0) \
                FROM runs WHERE started_at >= ?";
    let mut statistics = connection.query_row(sums, [since], |row| {
        Ok(RunStatistics {
            run_count: number(row, 0)?,
            success_count: number(row, 1)?,
            error_count: number(row, 2)?,
            ..RunStatistics::default()
        })
    })?;
    let last =
        "SELECT started_at, duration_ms, outcome FROM runs WHERE started_at >= ? ORDER BY started_at DESC LIMIT 1";
    let last: Option<(String, i64, String)> =
        connection.query_row(last, [since], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    if let Some((started_at, duration_ms, outcome)) = last {
        statistics.last_run = DateTime::parse_from_rfc3339(&started_at).ok().map(|at| at.with_timezone(&Utc));
        statistics.last_duration_ms = Some(duration_ms);
        statistics.last_outcome = Some(outcome);
    }
    Ok(statistics)
}

fn add_attempts(connection: &Connection, since: &str, builder: &mut StatisticsBuilder) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT value ->> 'platform', value ->> 'attempt', sum(value ->> 'attempts'), sum(value ->> 'posted'), \
         value ->> 'after' FROM runs, json_each(runs.attempts) WHERE started_at >= ? GROUP BY 1, 2, 5",
    )?;
    let mut rows = statement.query([since])?;
    while let Some(row) = rows.next()? {
        let totals = AttemptTotals {
            attempt: u32::try_from(number(row, 1)?).unwrap_or(u32::MAX),
            after: row.get::<_, Option<String>>(4)?.and_then(|name| name.parse().ok()),
            attempts: number(row, 2)?,
            posted: number(row, 3)?,
        };
        builder.add_attempts(row.get::<_, String>(0)?.parse().ok(), totals);
    }
    Ok(())
}
