//! The writes, each with the condition under which it is allowed.

use chrono::{DateTime, Utc};
use rusqlite::types::Value;

use super::query::{Sql, text};
use super::row::{NO_TICKET, entry_text};
use super::schema::millis;
use super::{now, optional, optional_date, string};
use crate::post::{Category, HISTORY_LIMIT, HistoryEntry, LastRetried, Post, PostId, Settlement, TicketFate};
use crate::store::Lease;

/// Matches the post while this claim on it is valid.
pub(super) fn lease_held(sql: &mut Sql, id: &PostId, lease: &Lease) {
    let condition = format!(" WHERE id = ? AND claim_by = ? AND {} > ?", millis("claim_until"));
    sql.push(&condition, [string(id.key()), string(&lease.by), Value::Integer(now().timestamp_millis())]);
}

/// Matches the post if its retry state is unchanged since it was read and it has no valid claim.
pub(super) fn unchanged_since_read(sql: &mut Sql, post: &Post) {
    let retry = &post.retry;
    let same = |column: &str| format!("{} IS ?", millis(column));
    let condition = format!(
        " WHERE id = ? AND status = 'failed' AND postretry_flagged = 0 AND postretry_retries = ? AND {} AND {} AND {}",
        same("last_retried_at"),
        same("retry_not_before"),
        same("failed_at"),
    );
    let date = |at: Option<DateTime<Utc>>| at.map_or(Value::Null, |at| Value::Integer(at.timestamp_millis()));
    let values = [
        string(post.id.key()),
        Value::Integer(retry.count.into()),
        date(retry.last_retried_at),
        date(retry.not_before),
        date(post.failed_at),
    ];
    sql.push(&condition, values);
    match &retry.claim {
        None => sql.push(" AND claim_until IS NULL", []),
        Some(dead) => {
            let condition = format!(" AND claim_by = ? AND {} <= ?", millis("claim_until"));
            sql.push(&condition, [string(&dead.by), Value::Integer(now().timestamp_millis())]);
        }
    }
}

/// Adds an entry to the history, or replaces its last one. The last 50 entries are kept.
pub(super) fn set_history(sql: &mut Sql, entry: &HistoryEntry, replaces_last: bool) {
    let stored =
        "CASE WHEN json_valid(retry_history) AND json_type(retry_history) = 'array' THEN retry_history ELSE '[]' END";
    let kept = if replaces_last { format!("json_remove({stored}, '$[#-1]')") } else { stored.to_owned() };
    let longer = format!("json_insert({kept}, '$[#]', json(?))");
    sql.push(
        &format!(
            ", retry_history = CASE WHEN json_array_length({kept}) >= {HISTORY_LIMIT} \
             THEN json_remove({longer}, '$[0]') ELSE {longer} END"
        ),
        [string(&entry_text(entry)), string(&entry_text(entry))],
    );
}

pub(super) fn settlement_sql(post: &Post, lease: &Lease, settlement: &Settlement) -> Sql {
    let at = text(now());
    let mut sql = Sql::new("UPDATE posts SET retry_count = ?, error = ?, failure_category = ?, retry_not_before = ?");
    sql.values = vec![
        Value::Integer(settlement.retry_count.into()),
        optional(settlement.error.as_deref()),
        optional(settlement.category.map(Category::as_str)),
        optional_date(settlement.not_before),
    ];
    sql.push(", claim_by = NULL, claim_until = NULL, updated_at = ?", [at.clone()]);
    if let Some(entry) = &settlement.entry {
        set_history(&mut sql, entry, settlement.replaces_last);
    }
    if let LastRetried::Restored(before) = settlement.last_retried_at {
        sql.push(", last_retried_at = ?", [optional_date(before)]);
    }
    if settlement.is_permanent() {
        sql.push(", permanently_failed = 1, permanently_failed_at = ?", [at.clone()]);
    }
    if let Some(publication) = &settlement.publication {
        let fields = post.platform.fields();
        let (id, url) = (fields.id.column, fields.url.column);
        sql.push(", status = 'posted', posted_at = ?, publish_ticket = NULL", [at]);
        let given = format!(", {id} = coalesce(?, {id}), {url} = coalesce(?, {url})");
        sql.push(&given, [optional(publication.id.as_deref()), optional(publication.url.as_deref())]);
    } else if settlement.ticket == TicketFate::Dead {
        sql.push(", publish_ticket = ?", [string(NO_TICKET)]);
    }
    lease_held(&mut sql, &post.id, lease);
    sql
}
