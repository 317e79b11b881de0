//! The tables, what is derived from their columns for the indexes, and how an older file becomes a current one.

use rusqlite::{Connection, TransactionBehavior};

/// The tables as any program may use them.
pub const SCHEMA: &str = include_str!("schema.sql");

/// The version of the schema, in the file's `user_version`.
pub(super) const VERSION: i64 = 1;

/// An instant column as whole milliseconds since 1970; null where there is none or it is no date.
///
/// Whoever inserts a row computes this for the indexes, so only what every SQLite since 3.31 knows is used.
pub(super) fn millis(column: &str) -> String {
    format!("CAST(round((julianday({column}) - 2440587.5) * 86400000) AS INTEGER)")
}

/// What is derived for the indexes. It is never stored: the columns are computed when they are asked for, and only
/// the indexes hold their values. A malformed value is -1, which every question for what is due finds, so that it is
/// reported.
fn derived_columns() -> Vec<(&'static str, String)> {
    let first = format!(
        "CASE WHEN failed_at IS NOT NULL THEN coalesce({}, -1) \
         WHEN updated_at IS NOT NULL THEN coalesce({}, -1) ELSE 0 END",
        millis("failed_at"),
        millis("updated_at")
    );
    let last = format!(
        "CASE WHEN last_retried_at IS NOT NULL THEN coalesce({}, -1) ELSE {first} END",
        millis("last_retried_at")
    );
    vec![
        ("anchor_first", first),
        ("anchor_last", last),
        ("listed_at", format!("coalesce({}, {})", millis("failed_at"), millis("updated_at"))),
        (
            "retries",
            "CASE typeof(retry_count) WHEN 'null' THEN 0 WHEN 'integer' THEN max(retry_count, 0) \
             WHEN 'real' THEN max(CAST(retry_count AS INTEGER), 0) ELSE -1 END"
                .to_owned(),
        ),
        (
            "flagged",
            "CASE WHEN permanently_failed IS NULL THEN 0 WHEN permanently_failed = 0 THEN 0 \
             WHEN permanently_failed = 1 THEN 1 ELSE -1 END"
                .to_owned(),
        ),
    ]
}

/// The names of the indexes and what they hold.
const INDEXES: [(&str, &str); 5] = [
    ("postretry_due", "posts (status, platform, flagged, retries, anchor_first)"),
    ("postretry_due_last_attempt", "posts (status, platform, flagged, retries, anchor_last)"),
    ("postretry_claims", "posts (claim_until) WHERE claim_until IS NOT NULL"),
    ("postretry_category", "posts (status, failure_category, platform)"),
    ("postretry_list", "posts (status, listed_at DESC, id)"),
];

/// Brings a file to the current version; one that another program has made gets what it lacks.
///
/// # Errors
/// Where the file cannot be written.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    if version(connection)? == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    if version(&transaction)? != VERSION {
        transaction.execute_batch(SCHEMA)?;
        let known = column_names(&transaction)?;
        for (name, kind) in declared_columns() {
            if !known.iter().any(|known| known == name) {
                transaction.execute_batch(&format!("ALTER TABLE posts ADD COLUMN {name} {kind}"))?;
            }
        }
        for (name, expression) in derived_columns() {
            if !known.iter().any(|known| known == name) {
                transaction.execute_batch(&format!(
                    "ALTER TABLE posts ADD COLUMN {name} INTEGER GENERATED ALWAYS AS ({expression}) VIRTUAL"
                ))?;
            }
        }
        for (name, on) in INDEXES {
            transaction.execute_batch(&format!("CREATE INDEX IF NOT EXISTS {name} ON {on}"))?;
        }
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

/// The version of a file; 0 for one that postretry has not made.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn column_names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_xinfo('posts')")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// The columns of `posts` as the schema declares them, but for the key.
fn declared_columns() -> impl Iterator<Item = (&'static str, &'static str)> {
    let table = SCHEMA.split("CREATE TABLE IF NOT EXISTS posts (").nth(1).and_then(|rest| rest.split(");").next());
    table
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(' '))
        .map(|(name, kind)| (name, kind.trim()))
        .filter(|(name, _)| *name != "id")
}
