//! The posts in a SQLite file, for one machine, with exactly the same meaning as in MongoDB.
//!
//! SQLite runs on its own threads, so the rest of the program never waits for the disk. Every write is one
//! statement with its own condition, or one transaction, and is durable when it returns. The clock is this machine's.

mod error;
mod file;
mod query;
mod row;
mod schema;
mod statistics;
mod tokens;
mod update;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params_from_iter};

use self::error::translate;
use self::query::{Sql, due_ids, exhausted_ids, listed, text, text_of};
use self::row::{column_list, post_from, ticket_text};
use self::update::{found_sql, lease_held, live_claim, reset_sql, set_history, settlement_sql, unchanged_since_read};
use super::query::{MalformedPosts, is_as_shown};
use super::{
    DueCursor, DueQuery, Found, GivenUpRecord, Lease, LeaseWrite, ListFilter, Page, PostPage, PostStore, Reset,
    ResetOptions, RunRecord, Statistics, StoreError, StoredPost, unnamed_stories,
};
use crate::post::{AttemptStart, BackoffFrom, Category, Platform, Post, PostId, RetryPolicy, Settlement, Ticket};

pub use schema::SCHEMA;

/// Posts in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqlitePostStore {
    path: Arc<PathBuf>,
    connection: Arc<Mutex<Connection>>,
    /// Whether the file was created just now.
    is_new: bool,
}

impl SqlitePostStore {
    /// Opens the file, creates it if it does not exist, and migrates an older one.
    ///
    /// # Errors
    /// If it cannot be opened, is not a SQLite file, or was created by a newer version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let path = Arc::new(path.to_owned());
        let opened = Arc::clone(&path);
        let (connection, is_new) = on_thread(move || file::open(&opened)).await?;
        Ok(Self { path, connection: Arc::new(Mutex::new(connection)), is_new })
    }

    /// Runs a closure with the connection on a separate thread.
    async fn with<T: Send + 'static>(
        &self,
        action: &'static str,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (path, connection) = (Arc::clone(&self.path), Arc::clone(&self.connection));
        on_thread(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            run(&connection).map_err(|error| translate(action, &path, error))
        })
        .await
    }

    /// One write to one post, only if its condition holds.
    async fn write(&self, action: &'static str, sql: Sql) -> Result<LeaseWrite, StoreError> {
        self.with(action, move |connection| {
            let written = connection.prepare_cached(&sql.text)?.execute(params_from_iter(&sql.values))?;
            Ok(if written == 1 { LeaseWrite::Applied } else { LeaseWrite::Lost })
        })
        .await
    }

    /// One write to one failed post under a valid claim.
    async fn write_leased(
        &self,
        action: &'static str,
        mut sql: Sql,
        id: &PostId,
        lease: &Lease,
    ) -> Result<LeaseWrite, StoreError> {
        lease_held(&mut sql, id, lease);
        let holder = [string(id.key()), string(&lease.by)];
        self.with(action, move |connection| {
            if connection.prepare_cached(&sql.text)?.execute(params_from_iter(&sql.values))? == 1 {
                return Ok(LeaseWrite::Applied);
            }
            let select = "SELECT status IS NOT 'failed' FROM posts WHERE id = ? AND claim_by = ?";
            let has_changed: Option<bool> =
                connection.prepare_cached(select)?.query_row(params_from_iter(&holder), |row| row.get(0)).optional()?;
            Ok(if has_changed == Some(true) { LeaseWrite::NotFailed } else { LeaseWrite::Lost })
        })
        .await
    }

    /// The posts of these ids in the order of their first failure, after the cursor.
    async fn page(&self, ids: Sql, after: Option<&DueCursor>, limit: u32) -> Result<PostPage, StoreError> {
        let mut sql = Sql::new(format!(
            "SELECT {}, coalesce(postretry_listed_at, {NO_DATE}) AS place FROM posts WHERE id IN (",
            column_list()
        ));
        sql.push(&ids.text, ids.values);
        sql.push(")", []);
        if let Some(after) = after {
            after_cursor(&mut sql, after);
        }
        sql.push(" ORDER BY place, id LIMIT ?", [Value::Integer(limit.into())]);
        self.with("read posts from", move |connection| {
            let mut statement = connection.prepare_cached(&sql.text)?;
            let mut rows = statement.query(params_from_iter(&sql.values))?;
            let mut page = PostPage::default();
            while let Some(row) = rows.next()? {
                let place: i64 = row.get("place")?;
                let id: String = row.get("id")?;
                page.posts.push(post_from(row)?);
                page.next = Some(DueCursor(serde_json::json!([place, id]).to_string()));
            }
            if page.posts.len() < limit as usize {
                page.next = None;
            }
            Ok(page)
        })
        .await
    }
}

/// The position of a post without a date: before all others.
const NO_DATE: i64 = i64::MIN;

fn after_cursor(sql: &mut Sql, after: &DueCursor) {
    let (place, id): (i64, String) = serde_json::from_str(&after.0).unwrap_or_default();
    sql.push(
        &format!(" AND (coalesce(postretry_listed_at, {NO_DATE}), id) > (?, ?)"),
        [Value::Integer(place), Value::Text(id)],
    );
}

async fn on_thread<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let joined = tokio::task::spawn_blocking(run).await;
    joined.unwrap_or_else(|_| Err(StoreError::new("use the post store", "the SQLite thread failed")))
}
/// The time in whole milliseconds, as the columns keep it.
#[expect(clippy::disallowed_methods, reason = "the store's clock is this machine's")]
fn now() -> DateTime<Utc> {
    let now = Utc::now();
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
                "created a new, empty post store at `{}`; check the path if there should be one",
                self.path.display()
            )
        };
        Ok(self.is_new.then(new).into_iter().collect())
    }

    async fn prepare(&self, _backoff_from: BackoffFrom) -> Result<Vec<String>, StoreError> {
        // Opening the file has already created everything.
        Ok(Vec::new())
    }

    async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(now())
    }

    async fn due_posts(&self, query: &DueQuery, after: Option<&DueCursor>, limit: u32) -> Result<PostPage, StoreError> {
        self.page(due_ids(query, MalformedPosts::Included), after, limit).await
    }

    async fn count_due(&self, query: &DueQuery, after: Option<&DueCursor>) -> Result<u64, StoreError> {
        let ids = due_ids(query, MalformedPosts::Excluded);
        let mut sql = Sql::new("SELECT count(*) FROM posts WHERE id IN (");
        sql.push(&ids.text, ids.values);
        sql.push(")", []);
        if let Some(after) = after {
            after_cursor(&mut sql, after);
        }
        self.with("count posts in", move |connection| statistics::count(connection, &sql)).await
    }

    async fn exhausted_posts(
        &self,
        query: &DueQuery,
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError> {
        self.page(exhausted_ids(query), after, limit).await
    }

    async fn mark_exhausted(&self, post: &Post) -> Result<LeaseWrite, StoreError> {
        let at = text(now());
        let mut sql = Sql::new("UPDATE posts SET permanently_failed = 1, permanently_failed_at = ?, updated_at = ?");
        sql.values = vec![at.clone(), at];
        unchanged_since_read(&mut sql, post);
        self.write("mark an exhausted post in", sql).await
    }

    async fn find(&self, id: &str) -> Result<Found, StoreError> {
        let id = id.to_owned();
        self.with("read a post from", move |connection| {
            let sql = format!("SELECT {} FROM posts WHERE id = ?", column_list());
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<String>>("status")?, post_from(row)?));
            let found = connection.prepare_cached(&sql)?.query_row([&id], read).optional()?;
            Ok(match found {
                None => Found::Nothing,
                Some((Some(status), stored)) if status == "failed" => {
                    let mut stored = vec![stored];
                    name_stories(connection, &mut stored)?;
                    Found::Failed(stored)
                }
                Some(_) => Found::NotFailed(PostId::from_text(id)),
            })
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
        self.with("claim a post in", move |connection| {
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
        self.write("record an outcome in", settlement_sql(post, lease, settlement)).await
    }

    async fn is_recorded(&self, platform: Platform, id: &str) -> Result<bool, StoreError> {
        let column = platform.fields().id.column;
        let mut sql = Sql::new(format!("SELECT count(*) FROM posts WHERE {column} = ?"));
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
        self.write("mark a published post in", sql).await
    }

    async fn reset(&self, id: &PostId, by: &str, options: &ResetOptions<'_>) -> Result<Reset, StoreError> {
        let key = id.key().to_owned();
        let shown = options.shown.cloned();
        let sql = reset_sql(id, by, options.drop_ticket);
        self.with("reset a post in", move |connection| {
            // No other process writes between the reading and the writing.
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let live = live_claim(now());
            let select = format!(
                "SELECT {}, coalesce({}, 0) AS is_claimed FROM posts WHERE id = ? AND status = 'failed'",
                column_list(),
                live.text
            );
            let values = live.values.into_iter().chain([Value::Text(key)]);
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
        let key = post.id.key().to_owned();
        self.with("settle a post in", move |connection| {
            // No other process writes between the two.
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let select = "SELECT count(*) FROM posts WHERE id = ? AND status = 'failed'";
            let is_failed = transaction.prepare_cached(select)?.query_row([&key], |row| row.get::<_, i64>(0))? > 0;
            if !is_failed {
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
        let mut sql = Sql::new(format!("SELECT {} FROM posts WHERE ", column_list()));
        let condition = listed(filter);
        sql.push(&condition.text, condition.values);
        let amount = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        sql.push(" ORDER BY postretry_listed_at DESC, id LIMIT ? OFFSET ?", [amount(page.limit), amount(page.skip)]);
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
        let mut sql = Sql::new("SELECT count(*) FROM posts WHERE ");
        let condition = listed(filter);
        sql.push(&condition.text, condition.values);
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
        self.write("record the run in", sql).await.map(drop)
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
    let pairs = statement.query_map([keys], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let names = pairs.collect::<rusqlite::Result<std::collections::HashMap<String, Option<String>>>>()?;
    for story in &mut stories {
        story.name = story.key.as_ref().and_then(|key| names.get(key)).cloned().flatten();
    }
    Ok(())
}

impl SqlitePostStore {
    /// The plan of the query for what is due, as `EXPLAIN QUERY PLAN` tells it, one line a step.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub async fn explain_due(&self, query: &DueQuery) -> Result<Vec<String>, StoreError> {
        let ids = due_ids(query, MalformedPosts::Included);
        self.with("explain a query of", move |connection| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", ids.text))?;
            let steps = statement.query_map(params_from_iter(&ids.values), |row| row.get("detail"))?;
            steps.collect()
        })
        .await
    }
}

/// An instant as the columns of the store have it, for programs that write rows.
pub fn date_text(at: DateTime<Utc>) -> String {
    text_of(at)
}
