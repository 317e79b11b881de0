//! The writes, each with the condition under which it is allowed.

use chrono::{DateTime, Utc};
use rusqlite::types::Value;

use super::history::entry_text;
use super::identity::has_id;
use super::query::{Sql, latest_lease, text};
use super::row::NO_TICKET;
use super::schema::millis;
use super::{now, optional, optional_date, string};
use crate::post::{
    Category, EntryOutcome, HISTORY_LIMIT, HistoryEntry, LastRetried, Post, PostId, Settlement, TicketFate,
};
use crate::store::Lease;

/// Whether the claim on the post is valid at this time.
pub(super) fn live_claim(now: DateTime<Utc>) -> Sql {
    let condition = "(postretry_claim_until > ? AND postretry_claim_until <= ?)";
    Sql { text: condition.to_owned(), values: vec![Value::Integer(now.timestamp_millis()), latest_lease(now)] }
}

/// Matches the post with exactly this id.
fn push_where_id(sql: &mut Sql, id: &PostId) {
    let condition = has_id(id);
    sql.push(" WHERE ", []);
    sql.push(&condition.text, condition.values);
}

/// Matches the post while it is failed and this claim on it is valid.
pub(super) fn lease_held(sql: &mut Sql, id: &PostId, lease: &Lease) {
    push_where_id(sql, id);
    sql.push(" AND claim_by = ? AND status = 'failed' AND ", [string(&lease.by)]);
    let live = live_claim(now());
    sql.push(&live.text, live.values);
}

/// Matches the post if the outcome of this holder's attempt may be written. A publication is recorded as long as
/// nobody else has claimed the post. An expired claim on a post that is not failed any more is no risk either: nobody
/// else will claim it.
fn settleable(sql: &mut Sql, id: &PostId, lease: &Lease, settlement: &Settlement) {
    push_where_id(sql, id);
    sql.push(" AND claim_by = ?", [string(&lease.by)]);
    if settlement.publication.is_none() {
        let live = live_claim(now());
        sql.push(&format!(" AND (status IS NOT 'failed' OR {})", live.text), live.values);
    }
}

/// Matches the post if its retry state is unchanged since it was read and it has no valid claim.
pub(super) fn unchanged_since_read(sql: &mut Sql, post: &Post) {
    let retry = &post.retry;
    let same = |column: &str| format!("{} IS ?", millis(column));
    let condition = format!(
        " AND status = 'failed' AND postretry_flagged = 0 AND postretry_retries = ? AND {} AND {} AND {}",
        same("last_retried_at"),
        same("retry_not_before"),
        same("failed_at"),
    );
    let date = |at: Option<DateTime<Utc>>| at.map_or(Value::Null, |at| Value::Integer(at.timestamp_millis()));
    let values =
        [Value::Integer(retry.count.into()), date(retry.last_retried_at), date(retry.not_before), date(post.failed_at)];
    push_where_id(sql, &post.id);
    sql.push(&condition, values);
    match &retry.claim {
        None => sql.push(" AND postretry_claim_until IS NULL", []),
        Some(dead) => {
            let condition = format!(" AND claim_by = ? AND {} IS NOT NULL AND NOT ", millis("claim_until"));
            sql.push(&condition, [string(&dead.by)]);
            let live = live_claim(now());
            sql.push(&live.text, live.values);
        }
    }
}

/// Adds an entry to the history, or replaces its last one. The last 50 entries are kept. A last entry that is not the
/// open one of this attempt was added by another program: it stays.
pub(super) fn set_history(sql: &mut Sql, entry: &HistoryEntry, replaces_last: bool) {
    let stored =
        "CASE WHEN json_valid(retry_history) AND json_type(retry_history) = 'array' THEN retry_history ELSE '[]' END";
    let kept = if replaces_last {
        format!(
            "CASE WHEN {stored} ->> '$[#-1].outcome' = '{}' AND {stored} ->> '$[#-1].attempt' = {} \
             THEN json_remove({stored}, '$[#-1]') ELSE {stored} END",
            EntryOutcome::Interrupted.as_str(),
            entry.attempt
        )
    } else {
        stored.to_owned()
    };
    let longer = format!("json_insert({kept}, '$[#]', json(?))");
    sql.push(
        &format!(
            ", retry_history = CASE WHEN json_array_length({kept}) >= {HISTORY_LIMIT} \
             THEN json_remove({longer}, '$[0]') ELSE {longer} END"
        ),
        [string(&entry_text(entry)), string(&entry_text(entry))],
    );
}

/// Resets the retry count. An ambiguous post loses its ticket, because a person has checked it. The last entry of the
/// history records who reset it. If there is none, the ticket `null` would not tell that the application's upload needs
/// no check.
pub(super) fn reset_sql(id: &PostId, by: &str, drop_ticket: bool) -> Sql {
    let at = text(now());
    let mut sql = Sql::new(
        "UPDATE posts SET retry_count = 0, permanently_failed = 0, permanently_failed_at = NULL, \
         last_retried_at = NULL, retry_not_before = NULL, claim_by = NULL, claim_until = NULL, \
         publish_ticket = CASE WHEN NOT (? OR coalesce(failure_category, '') = 'ambiguous') THEN publish_ticket \
         WHEN coalesce(upload_publish_id, instagram_container_id) IS NULL \
         OR CASE WHEN json_valid(retry_history) AND json_type(retry_history) = 'array' \
         THEN EXISTS (SELECT 1 FROM json_each(retry_history) WHERE CASE WHEN type = 'object' \
         THEN 'interrupted' NOT IN (coalesce(json_extract(value, '$.outcome'), ''), \
         coalesce(json_extract(value, '$.category'), '')) ELSE 1 END) END THEN 'null' ELSE '{}' END, \
         failure_category = NULL, updated_at = ?, retry_history = CASE \
         WHEN json_valid(retry_history) AND json_type(retry_history, '$[#-1]') = 'object' \
         THEN json_set(retry_history, '$[#-1].resetAt', ?, '$[#-1].resetBy', ?) \
         WHEN json_valid(retry_history) AND json_type(retry_history) = 'array' THEN retry_history END",
    );
    sql.values = vec![Value::Integer(drop_ticket.into()), at.clone(), at, string(by)];
    push_where_id(&mut sql, id);
    sql.push(" AND status = 'failed'", []);
    sql
}

/// Ends an attempt.
pub(super) fn settlement_sql(post: &Post, lease: &Lease, settlement: &Settlement) -> Sql {
    let mut sql = settled(post, settlement);
    settleable(&mut sql, &post.id, lease, settlement);
    sql
}

/// Settles a failed post that a person has found on its platform, unless it has a valid claim.
pub(super) fn found_sql(post: &Post, settlement: &Settlement) -> Sql {
    let mut sql = settled(post, settlement);
    sql.push(", permanently_failed = 0, permanently_failed_at = NULL", []);
    push_where_id(&mut sql, &post.id);
    sql.push(" AND status = 'failed' AND NOT coalesce(", []);
    let live = live_claim(now());
    sql.push(&format!("{}, 0)", live.text), live.values);
    sql
}

/// What a settlement changes.
fn settled(post: &Post, settlement: &Settlement) -> Sql {
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
    sql
}
