//! The posts in a SQLite file, for one machine, with exactly the same meaning as in MongoDB.
//!
//! SQLite runs on a thread of its own, so the rest of the program never waits for the disk. Every write is one
//! statement with its own condition, or one transaction, and is durable when it returns, except the record of an idle
//! run. The clock is this machine's.

mod connection;
mod error;
mod file;
mod foreign;
mod history;
mod identity;
#[cfg(test)]
mod plans;
mod query;
mod row;
mod schema;
mod statistics;
mod thread;
mod tokens;
mod update;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params_from_iter};

use self::connection::{execute, position};
use self::error::translate_for_one_post;
use self::file::Opened;
use self::identity::{has_id, id_of, is_shown_as};
use self::query::{
    EXHAUSTED_ORDER, Sql, count_sql, due_order, due_rows, due_rows_after, exhausted_rows_after, has_work, list_sql,
    text, text_of,
};
use self::row::{column_list, is_readable, post_from, post_from_any, ticket_text};
use self::thread::ConnectionThread;
use self::update::{found_sql, live_claim, reset_sql, set_history, settlement_sql, unchanged_since_read};
use super::query::is_as_shown;
use super::{
    DueCursor, DueQuery, Found, GivenUpRecord, Lease, LeaseWrite, ListFilter, Marked, Page, PostPage, PostStore, Reset,
    ResetOptions, RunRecord, Statistics, StoreError, StoredPost, machine_now, unnamed_stories,
};
use crate::post::{AttemptStart, BackoffFrom, Category, Platform, Post, PostId, RetryPolicy, Settlement, Ticket};

pub use schema::SCHEMA;

/// Posts in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqlitePostStore {
    path: Arc<PathBuf>,
    thread: ConnectionThread,
    /// Whether the file was created just now.
    is_new: bool,
    /// The names of the tables of another program in the file, if the posts were added to them just now.
    other_tables: Arc<[String]>,
    /// Whether the process has already warned that others can read the file.
    has_warned: Arc<AtomicBool>,
}

impl SqlitePostStore {
    /// Opens the file, creates it if it does not exist, and migrates an older one.
    ///
    /// # Errors
    /// If it cannot be opened, is not a SQLite file, was created by a newer version, or is another program's.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let path = Arc::new(path.to_owned());
        let opened = Arc::clone(&path);
        let open = move || {
            let Opened { connection, is_new, other_tables } = file::open(&opened)?;
            Ok((connection, (is_new, other_tables)))
        };
        let (thread, (is_new, other_tables)) = ConnectionThread::start(open).await?;
        Ok(Self { path, thread, is_new, other_tables: other_tables.into(), has_warned: Arc::default() })
    }

    /// A warning if others can read the file, which will contain tokens. Only once in a process.
    fn exposure(&self) -> Option<String> {
        let warning = file::exposure(&self.path)?;
        (!self.has_warned.swap(true, Ordering::Relaxed)).then_some(warning)
    }
}

/// The time in whole milliseconds, as the columns keep it.
fn now() -> DateTime<Utc> {
    let now = machine_now();
    DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
}

fn until(lease: &Lease) -> DateTime<Utc> {
    TimeDelta::from_std(lease.lasts)
        .ok()
        .and_then(|lasts| now().checked_add_signed(lasts))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn string(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn optional(text: Option<&str>) -> Value {
    text.map_or(Value::Null, string)
}

fn optional_date(at: Option<DateTime<Utc>>) -> Value {
    at.map_or(Value::Null, text)
}

#[async_trait]
impl PostStore for SqlitePostStore {
    async fn warnings(&self) -> Result<Vec<String>, StoreError> {
        let new = || {
            format!(
                "created a new, empty post store at `{}`; check the path if the store should exist already",
                self.path.display()
            )
        };
        let other = || {
            format!(
                "added the tables of a post store to `{}`, a database with other tables ({}); check the path if it is \
                 another program's",
                self.path.display(),
                self.other_tables.join(", ")
            )
        };
        let has_others = !self.other_tables.is_empty();
        Ok(self.is_new.then(new).into_iter().chain(has_others.then(other)).collect())
    }

    async fn prepare(&self, _backoff_from: BackoffFrom) -> Result<Vec<String>, StoreError> {
        // Opening the file has already created everything.
        Ok(self.exposure().into_iter().collect())
    }

    async fn may_have_work(&self, policy: &RetryPolicy, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let sql = has_work(policy, now);
        self.with("read posts from", move |connection| {
            let mut statement = connection.prepare_cached(&sql.text)?;
            statement.query_row(params_from_iter(&sql.values), |row| row.get(0))
        })
        .await
    }

    async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(now())
    }

    async fn due_posts(&self, query: &DueQuery, after: Option<&DueCursor>, limit: u32) -> Result<PostPage, StoreError> {
        let rows = due_rows_after(query, after.map(position).as_deref(), limit);
        self.page(rows, &[due_order(&query.policy).1], after, limit).await
    }

    async fn count_due(&self, query: &DueQuery, after: Option<&DueCursor>) -> Result<u64, StoreError> {
        let rows = due_rows(query);
        let mut sql = Sql::new("SELECT count(*) FROM posts WHERE rowid IN (");
        sql.push(&rows.text, rows.values);
        sql.push(&format!(") AND {}", is_readable()), []);
        if let Some(after) = after {
            sql.push_after(&[due_order(&query.policy).1], &position(after));
        }
        self.with("count posts in", move |connection| statistics::count(connection, &sql)).await
    }

    async fn exhausted_posts(
        &self,
        query: &DueQuery,
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError> {
        let rows = exhausted_rows_after(query, after.map(position).as_deref(), limit);
        self.page(rows, &EXHAUSTED_ORDER, after, limit).await
    }

    async fn mark_exhausted(&self, posts: &[Post]) -> Result<Marked, StoreError> {
        let at = text(now());
        let mark = |post: &Post| {
            let mut sql =
                Sql::new("UPDATE posts SET permanently_failed = 1, permanently_failed_at = ?, updated_at = ?");
            sql.values = vec![at.clone(), at.clone()];
            unchanged_since_read(&mut sql, post);
            (post.id.clone(), sql)
        };
        let marks: Vec<(PostId, Sql)> = posts.iter().map(mark).collect();
        let path = Arc::clone(&self.path);
        self.with("mark exhausted posts in", move |connection| {
            // One transaction: the disk has to confirm one write and not one a post.
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let mut marked = Marked::default();
            for (id, sql) in marks {
                match transaction.prepare_cached(&sql.text)?.execute(params_from_iter(&sql.values)) {
                    Ok(written) => marked.applied += written as u64,
                    Err(refused) => {
                        let refused = translate_for_one_post("mark an exhausted post in", &path, refused);
                        // A rule of the file can end the transaction.
                        if !refused.is_for_one_post() || connection.is_autocommit() {
                            return Ok(Err(refused));
                        }
                        marked.refused.push((id, refused));
                    }
                }
            }
            transaction.commit()?;
            Ok(Ok(marked))
        })
        .await?
    }

    async fn find(&self, id: &str) -> Result<Found, StoreError> {
        let conditions = [Some(has_id(&id_of(id))), is_shown_as(id)];
        self.with("read a post from", move |connection| {
            let mut not_failed = None;
            for condition in conditions.into_iter().flatten() {
                let select = format!(
                    "SELECT {}, status IS 'failed' AS is_failed FROM posts WHERE {}",
                    column_list(),
                    condition.text
                );
                let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, bool>("is_failed")?, post_from(row)?));
                let mut statement = connection.prepare_cached(&select)?;
                match statement.query_row(params_from_iter(&condition.values), read).optional()? {
                    None => {}
                    Some((true, stored)) => {
                        let mut stored = vec![stored];
                        name_stories(connection, &mut stored)?;
                        return Ok(Found::Failed(stored));
                    }
                    // Another row may be shown alike, and be failed.
                    Some((false, stored)) => {
                        not_failed = not_failed.or_else(|| Some(stored.platform().into_iter().collect()));
                    }
                }
            }
            Ok(not_failed.map_or(Found::Nothing, Found::NotFailed))
        })
        .await
    }

    async fn claim(&self, post: &Post, start: &AttemptStart, lease: &Lease) -> Result<Option<StoredPost>, StoreError> {
        let at = text(now());
        let mut sql = Sql::new("UPDATE posts SET retry_count = ?, claim_by = ?, claim_until = ?, updated_at = ?");
        sql.values = vec![Value::Integer(start.attempt.into()), string(&lease.by), text(until(lease)), at.clone()];
        if !start.is_resumption {
            sql.push(", last_retried_at = ?", [at]);
        }
        if let Some(entry) = &start.entry {
            set_history(&mut sql, entry, start.replaces_last);
        }
        unchanged_since_read(&mut sql, post);
        sql.push(&format!(" RETURNING {}", column_list()), []);
        self.with_post("claim a post in", move |connection| {
            let mut statement = connection.prepare_cached(&sql.text)?;
            let mut rows = statement.query(params_from_iter(&sql.values))?;
            let claimed = rows.next()?.map(post_from).transpose()?;
            // The change is durable only after the statement has run to its end.
            while rows.next()?.is_some() {}
            Ok(claimed)
        })
        .await
    }

    async fn renew(&self, id: &PostId, lease: &Lease) -> Result<LeaseWrite, StoreError> {
        let mut sql = Sql::new("UPDATE posts SET claim_until = ?, updated_at = ?");
        sql.values = vec![text(until(lease)), text(now())];
        self.write_leased("renew a claim in", sql, id, lease).await
    }

    async fn store_ticket(
        &self,
        id: &PostId,
        lease: &Lease,
        ticket: Option<&Ticket>,
    ) -> Result<LeaseWrite, StoreError> {
        let mut sql = Sql::new("UPDATE posts SET publish_ticket = ?, updated_at = ?");
        sql.values = vec![string(&ticket_text(ticket)?), text(now())];
        self.write_leased("store a ticket in", sql, id, lease).await
    }

    async fn settle(&self, post: &Post, lease: &Lease, settlement: &Settlement) -> Result<LeaseWrite, StoreError> {
        self.write_post("record an outcome in", settlement_sql(post, lease, settlement)).await
    }

    async fn is_recorded(&self, platform: Platform, id: &str) -> Result<bool, StoreError> {
        let column = platform.fields().id.column;
        let mut sql = Sql::new(format!("SELECT EXISTS (SELECT 1 FROM posts WHERE {column} = ?)"));
        sql.values = vec![string(id)];
        Ok(self.with("read a post from", move |connection| statistics::count(connection, &sql)).await? > 0)
    }

    async fn mark_ambiguous(&self, post: &Post, error: &str) -> Result<LeaseWrite, StoreError> {
        let at = text(now());
        let mut sql = Sql::new(
            "UPDATE posts SET permanently_failed = 1, permanently_failed_at = ?, failure_category = ?, error = ?, \
             updated_at = ?",
        );
        sql.values = vec![at.clone(), string(Category::Ambiguous.as_str()), string(error), at];
        unchanged_since_read(&mut sql, post);
        self.write_post("mark a published post in", sql).await
    }

    async fn reset(&self, id: &PostId, by: &str, options: &ResetOptions<'_>) -> Result<Reset, StoreError> {
        let condition = has_id(id);
        let shown = options.shown.cloned();
        let sql = reset_sql(id, by, options.drop_ticket);
        self.with_post("reset a post in", move |connection| {
            // No other process writes between the reading and the writing.
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let live = live_claim(now());
            let select = format!(
                "SELECT {}, coalesce({}, 0) AS is_claimed FROM posts WHERE {} AND status = 'failed'",
                column_list(),
                live.text,
                condition.text
            );
            let values = live.values.into_iter().chain(condition.values);
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, bool>("is_claimed")?, post_from(row)?));
            let found = transaction.prepare_cached(&select)?.query_row(params_from_iter(values), read).optional()?;
            let refused = match found {
                None => Some(Reset::NotFailed),
                Some((true, _)) => Some(Reset::Busy),
                Some((false, current)) => {
                    let has_changed = shown.is_some_and(|shown| !is_as_shown(&shown, &current));
                    has_changed.then_some(Reset::Changed)
                }
            };
            if let Some(refused) = refused {
                return Ok(refused);
            }
            transaction.prepare_cached(&sql.text)?.execute(params_from_iter(&sql.values))?;
            transaction.commit()?;
            Ok(Reset::Done)
        })
        .await
    }

    async fn settle_found(&self, post: &Post, settlement: &Settlement) -> Result<Reset, StoreError> {
        let sql = found_sql(post, settlement);
        let condition = has_id(&post.id);
        self.with_post("mark a post as posted in", move |connection| {
            // No other process writes between the two.
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let select = format!("SELECT 1 FROM posts WHERE {} AND status = 'failed'", condition.text);
            if !transaction.prepare_cached(&select)?.exists(params_from_iter(&condition.values))? {
                return Ok(Reset::NotFailed);
            }
            let written = transaction.prepare_cached(&sql.text)?.execute(params_from_iter(&sql.values))?;
            transaction.commit()?;
            Ok(if written == 1 { Reset::Done } else { Reset::Busy })
        })
        .await
    }

    async fn given_up_platforms(&self) -> Result<Vec<(Platform, GivenUpRecord)>, StoreError> {
        self.with("read runs from", statistics::given_up).await
    }

    async fn list(&self, filter: &ListFilter, page: Page) -> Result<PostPage, StoreError> {
        let sql = list_sql(filter, page);
        self.with("read posts from", move |connection| {
            let mut statement = connection.prepare_cached(&sql.text)?;
            let read = statement.query_map(params_from_iter(&sql.values), post_from)?;
            let mut posts = read.collect::<rusqlite::Result<Vec<StoredPost>>>()?;
            name_stories(connection, &mut posts)?;
            Ok(PostPage { posts, next: None })
        })
        .await
    }

    async fn count(&self, filter: &ListFilter) -> Result<u64, StoreError> {
        let sql = count_sql(filter);
        self.with("count posts in", move |connection| statistics::count(connection, &sql)).await
    }

    async fn statistics(
        &self,
        policy: &RetryPolicy,
        now: DateTime<Utc>,
        runs_since: Option<DateTime<Utc>>,
    ) -> Result<Statistics, StoreError> {
        let policy = *policy;
        self.with("count posts in", move |connection| statistics::gather(connection, &policy, now, runs_since)).await
    }

    async fn record_run(&self, run: &RunRecord) -> Result<(), StoreError> {
        let sql = statistics::run_sql(run);
        let is_idle = run.is_idle();
        self.with("record the run in", move |connection| {
            if is_idle {
                // It is the last write of a command.
                connection.pragma_update(None, "synchronous", "NORMAL")?;
            }
            let recorded = execute(connection, &sql).map(drop);
            if is_idle {
                connection.pragma_update(None, "synchronous", "FULL")?;
            }
            recorded
        })
        .await
    }
}

/// Adds the story names to the posts that have only a story id, with one query for all.
fn name_stories(connection: &Connection, posts: &mut [StoredPost]) -> rusqlite::Result<()> {
    let mut stories = unnamed_stories(posts);
    let keys: Vec<&str> = stories.iter().filter_map(|story| story.key.as_deref()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let keys = serde_json::json!(keys).to_string();
    let mut statement =
        connection.prepare_cached("SELECT id, name FROM stories WHERE id IN (SELECT value FROM json_each(?))")?;
    let mut rows = statement.query([keys])?;
    let mut names = std::collections::HashMap::new();
    while let Some(row) = rows.next()? {
        let key = match row.get_ref(0)? {
            ValueRef::Integer(number) => Some(number.to_string()),
            other => other.as_str().ok().map(str::to_owned),
        };
        // A name that is not text is none: it is only shown.
        names.extend(key.zip(row.get_ref(1)?.as_str().ok().map(str::to_owned)));
    }
    for story in &mut stories {
        story.name = story.key.as_ref().and_then(|key| names.get(key)).cloned();
    }
    Ok(())
}

impl SqlitePostStore {
    /// The plan of the query for what is due, as `EXPLAIN QUERY PLAN` tells it, one line a step.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub async fn explain_due(&self, query: &DueQuery) -> Result<Vec<String>, StoreError> {
        let rows = due_rows(query);
        self.with("explain a query of", move |connection| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", rows.text))?;
            let steps = statement.query_map(params_from_iter(&rows.values), |row| row.get("detail"))?;
            steps.collect()
        })
        .await
    }
}

/// Reads a row with all columns of `posts` as the embedded store reads it.
///
/// # Errors
/// Only if SQLite fails. A row with an invalid value is a malformed post.
pub fn stored_post_from(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredPost> {
    post_from_any(row)
}

/// An instant as the columns of the store have it, for programs that write rows.
pub fn date_text(at: DateTime<Utc>) -> String {
    text_of(at)
}
