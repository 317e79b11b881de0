//! The ways in which the connection is used: on its own thread, and with errors that say what failed.

use std::path::Path;
use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::error::{translate, translate_for_one_post};
use super::identity::has_id;
use super::query::Sql;
use super::row::{column_list, post_from};
use super::update::lease_held;
use super::{SqlitePostStore, string};
use crate::post::PostId;
use crate::store::{DueCursor, Lease, LeaseWrite, PostPage, StoreError};

impl SqlitePostStore {
    /// Runs a closure with the connection on its thread.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        action: &'static str,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.translated(action, translate, run).await
    }

    /// The same for a write to one post, which a rule of the file may refuse.
    pub(super) async fn with_post<T: Send + 'static>(
        &self,
        action: &'static str,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.translated(action, translate_for_one_post, run).await
    }

    async fn translated<T: Send + 'static>(
        &self,
        action: &'static str,
        translate: fn(&str, &Path, rusqlite::Error) -> StoreError,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = Arc::clone(&self.path);
        self.thread.run(move |connection| run(connection).map_err(|error| translate(action, &path, error))).await
    }

    /// One write to a table other than the posts, only if its condition holds.
    pub(super) async fn write(&self, action: &'static str, sql: Sql) -> Result<LeaseWrite, StoreError> {
        self.with(action, move |connection| execute(connection, &sql)).await
    }

    /// One write to one post, only if its condition holds.
    pub(super) async fn write_post(&self, action: &'static str, sql: Sql) -> Result<LeaseWrite, StoreError> {
        self.with_post(action, move |connection| execute(connection, &sql)).await
    }

    /// One write to one failed post under a valid claim.
    pub(super) async fn write_leased(
        &self,
        action: &'static str,
        mut sql: Sql,
        id: &PostId,
        lease: &Lease,
    ) -> Result<LeaseWrite, StoreError> {
        lease_held(&mut sql, id, lease);
        let mut select = Sql::new("SELECT status IS NOT 'failed' FROM posts WHERE claim_by = ? AND ");
        select.values.push(string(&lease.by));
        let id = has_id(id);
        select.push(&id.text, id.values);
        self.with_post(action, move |connection| {
            if execute(connection, &sql)? == LeaseWrite::Applied {
                return Ok(LeaseWrite::Applied);
            }
            let mut statement = connection.prepare_cached(&select.text)?;
            let has_changed: Option<bool> =
                statement.query_row(params_from_iter(&select.values), |row| row.get(0)).optional()?;
            Ok(if has_changed == Some(true) { LeaseWrite::NotFailed } else { LeaseWrite::Lost })
        })
        .await
    }

    /// These rows in the order of columns with whole numbers and then of their own numbers, after the cursor.
    pub(super) async fn page(
        &self,
        rows: Sql,
        order: &[&str],
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError> {
        let order_columns = order.join(", ");
        let mut sql =
            Sql::new(format!("SELECT {}, {order_columns}, rowid AS number FROM posts WHERE rowid IN (", column_list()));
        sql.push(&rows.text, rows.values);
        sql.push(")", []);
        if let Some(after) = after {
            sql.push_after(order, &position(after));
        }
        sql.push(&format!(" ORDER BY {order_columns}, number LIMIT ?"), [Value::Integer(limit.into())]);
        let keys = order.len() + 1;
        self.with("read posts from", move |connection| {
            let mut statement = connection.prepare_cached(&sql.text)?;
            let columns = statement.column_count();
            let mut rows = statement.query(params_from_iter(&sql.values))?;
            let mut page = PostPage::default();
            let mut last: Vec<i64> = Vec::new();
            while let Some(row) = rows.next()? {
                page.posts.push(post_from(row)?);
                last = (columns - keys..columns).map(|key| row.get(key)).collect::<rusqlite::Result<_>>()?;
            }
            if page.posts.len() >= limit as usize {
                page.next = Some(DueCursor(serde_json::json!(last).to_string()));
            }
            Ok(page)
        })
        .await
    }
}

/// Runs a statement that changes one row, or none if its condition does not hold.
pub(super) fn execute(connection: &Connection, sql: &Sql) -> rusqlite::Result<LeaseWrite> {
    let written = connection.prepare_cached(&sql.text)?.execute(params_from_iter(&sql.values))?;
    Ok(if written == 1 { LeaseWrite::Applied } else { LeaseWrite::Lost })
}

/// What a page is sorted by, and the number of the row, of the last one in it.
pub(super) fn position(cursor: &DueCursor) -> Vec<i64> {
    serde_json::from_str(&cursor.0).unwrap_or_default()
}
