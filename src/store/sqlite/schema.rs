//! The tables, the derived columns for the indexes, and the migration of older files.

use rusqlite::{Connection, TransactionBehavior};

/// The tables that any program may use.
pub const SCHEMA: &str = include_str!("schema.sql");

/// The version of the schema, in the file's `user_version`.
pub(super) const VERSION: i64 = 4;

/// A date column in whole milliseconds since 1970, with smaller digits cut off. Null if it is empty or not a valid
/// date.
///
/// The program that inserts a row computes this for the indexes, so all versions of SQLite must compute the same
/// number. They round fractions of a second in different ways, so SQLite converts only whole seconds.
pub(super) fn millis(column: &str) -> String {
    let second = format!("upper(substr({column}, 1, 19))");
    let zone = format!("CASE WHEN substr({column}, -1) IN ('Z', 'z') THEN 'Z' ELSE substr({column}, -6) END");
    let fraction = format!("CAST('0.' || substr({column}, 21, 3) AS REAL)");
    format!(
        "(CAST(strftime('%s', {second} || {zone}) AS INTEGER) * 1000 \
         + CASE substr({column}, 20, 1) WHEN '.' THEN CAST(round({fraction} * 1000) AS INTEGER) ELSE 0 END)"
    )
}

/// The derived columns for the indexes. They are never stored: SQLite computes them when they are read, and only
/// the indexes contain their values. A malformed value is -1. Every query for due posts finds it, so that it is
/// reported. No other program is likely to use their names.
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
    // As in a post that is read, an empty text is none, and both columns must be set.
    let claim_until = format!(
        "CASE WHEN trim(coalesce(claim_by, '')) = '' AND trim(coalesce(claim_until, '')) = '' THEN NULL \
         WHEN typeof(claim_by) = 'text' AND trim(claim_by) <> '' THEN coalesce({}, -1) ELSE -1 END",
        millis("claim_until")
    );
    vec![
        ("postretry_anchor_first", first),
        ("postretry_anchor_last", last),
        ("postretry_claim_until", claim_until),
        ("postretry_listed_at", format!("coalesce({}, {})", millis("failed_at"), millis("updated_at"))),
        (
            "postretry_retries",
            // The largest number that the program can count.
            "CASE typeof(retry_count) WHEN 'null' THEN 0 WHEN 'integer' THEN min(max(retry_count, 0), 4294967295) \
             WHEN 'real' THEN min(max(CAST(retry_count AS INTEGER), 0), 4294967295) ELSE -1 END"
                .to_owned(),
        ),
        (
            "postretry_flagged",
            "CASE WHEN permanently_failed IS NULL THEN 0 WHEN permanently_failed = 0 THEN 0 \
             WHEN permanently_failed = 1 THEN 1 ELSE -1 END"
                .to_owned(),
        ),
    ]
}

/// The names and columns of the indexes.
const INDEXES: [(&str, &str); 5] = [
    ("postretry_due", "posts (status, platform, postretry_flagged, postretry_retries, postretry_anchor_first)"),
    (
        "postretry_due_last_attempt",
        "posts (status, platform, postretry_flagged, postretry_retries, postretry_anchor_last)",
    ),
    (
        "postretry_claims",
        "posts (status, platform, postretry_flagged, postretry_claim_until) WHERE postretry_claim_until IS NOT NULL",
    ),
    ("postretry_category", "posts (status, failure_category, platform)"),
    (
        "postretry_list",
        // With every column that a list asks for: a row is read only if it is shown.
        "posts (status, postretry_listed_at DESC, id, platform, failure_category, postretry_flagged, \
         postretry_retries)",
    ),
];

/// Migrates a file to the current version. A file that another program has created gets what is missing.
///
/// # Errors
/// Where the file cannot be written.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    if !is_current(&transaction)? {
        transaction.execute_batch(SCHEMA)?;
        drop_derived(&transaction)?;
        for table in ["posts", "stories"] {
            let known = column_names(&transaction, table)?;
            for (name, kind) in declared_columns(table) {
                if !has_name(&known, name) {
                    transaction.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {name} {kind}"))?;
                }
            }
        }
        // A write to one post must never change two.
        if !has_unique_id(&transaction)? {
            transaction.execute_batch("CREATE UNIQUE INDEX postretry_id ON posts (id)")?;
        }
        for (name, expression) in derived_columns() {
            transaction.execute_batch(&format!(
                "ALTER TABLE posts ADD COLUMN {name} INTEGER GENERATED ALWAYS AS ({expression}) VIRTUAL"
            ))?;
        }
        for (name, on) in INDEXES {
            transaction.execute_batch(&format!("CREATE INDEX {name} ON {on}"))?;
        }
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

/// Another version may have used other expressions. No data is lost: a virtual column contains none.
fn drop_derived(connection: &Connection) -> rusqlite::Result<()> {
    for (name, _) in INDEXES {
        connection.execute_batch(&format!("DROP INDEX IF EXISTS {name}"))?;
    }
    let known = column_names(connection, "posts")?;
    for (name, _) in derived_columns() {
        if has_name(&known, name) {
            connection.execute_batch(&format!("ALTER TABLE posts DROP COLUMN {name}"))?;
        }
    }
    Ok(())
}

/// The version of a file; 0 if postretry has not created it.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Whether nothing has to be migrated: the version is this one, and it is ours and not another program's.
pub(super) fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(version(connection)? == VERSION && connection.prepare("SELECT postretry_listed_at FROM posts").is_ok())
}

/// The names of the columns of a table; none if it does not exist.
pub(super) fn column_names(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_xinfo(?)")?;
    statement
        .query_map([table], |row| {
            Ok(String::from_utf8_lossy(row.get_ref(0)?.as_bytes().unwrap_or_default()).into_owned())
        })?
        .collect()
}

/// SQLite does not distinguish upper and lower case in names.
fn has_name(known: &[String], name: &str) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether the table of the posts guarantees that no two rows have the same id.
pub(super) fn has_unique_id(connection: &Connection) -> rusqlite::Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM pragma_index_list('posts') AS list \
                  WHERE list.\"unique\" AND NOT list.partial \
                  AND (SELECT count(*) = 1 AND max(lower(name) = 'id') FROM pragma_index_info(list.name)))";
    connection.query_row(select, [], |row| row.get(0))
}

/// The columns of a table as the schema declares them.
pub(super) fn declared_columns(table: &str) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
    let start = format!("CREATE TABLE IF NOT EXISTS {table} (");
    let table = SCHEMA.split_once(&start).and_then(|(_, rest)| rest.split(");").next());
    table
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(' '))
        .map(|(name, kind)| (name, kind.trim()))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::super::row::date_from;
    use super::*;

    #[test]
    fn a_file_of_an_earlier_version_gets_what_it_lacks() {
        let mut connection = Connection::open_in_memory().unwrap();
        let earlier: Vec<&str> = SCHEMA.lines().filter(|line| !line.contains("is_ai_generated")).collect();
        connection.execute_batch(&earlier.join("\n")).unwrap();
        connection
            .execute_batch(
                "CREATE INDEX postretry_claims ON posts (claim_until) WHERE claim_until IS NOT NULL;
                 INSERT INTO posts (id, claim_by, claim_until) VALUES ('old', 'me', '1970-01-01T00:00:07Z');
                 PRAGMA user_version = 2;",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection).unwrap(), VERSION);
        let read = "SELECT is_ai_generated, postretry_claim_until FROM posts";
        let row: (Option<i64>, i64) = connection.query_row(read, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row, (Some(0), 7000));
    }

    #[test]
    fn a_claim_that_cannot_be_read_is_told_from_none() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        for (by, until, expected) in [
            ("NULL", "NULL", None),
            ("''", "NULL", None),
            ("''", "' '", None),
            ("'me'", "'1970-01-01T00:00:07Z'", Some(7000)),
            ("'me'", "NULL", Some(-1)),
            ("'me'", "''", Some(-1)),
            ("'me'", "'soon'", Some(-1)),
            ("NULL", "'1970-01-01T00:00:07Z'", Some(-1)),
            ("x'6d65'", "'1970-01-01T00:00:07Z'", Some(-1)),
        ] {
            let insert = format!("REPLACE INTO posts (id, claim_by, claim_until) VALUES ('a', {by}, {until})");
            connection.execute_batch(&insert).unwrap();
            let read = "SELECT postretry_claim_until FROM posts";
            let found: Option<i64> = connection.query_row(read, [], |row| row.get(0)).unwrap();
            assert_eq!(found, expected, "{by} {until}");
        }
    }

    fn millis_of(text: &str) -> Option<i64> {
        let connection = Connection::open_in_memory().unwrap();
        connection.query_row(&format!("SELECT {}", millis("?1")), [text], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_table_that_lets_an_id_come_twice_gets_an_index_that_does_not() {
        for (declared, is_unique) in [
            ("id TEXT PRIMARY KEY", true),
            ("ID TEXT UNIQUE", true),
            ("id TEXT", false),
            ("id TEXT, platform TEXT, UNIQUE (id, platform)", false),
        ] {
            let mut connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(&format!("CREATE TABLE posts ({declared})")).unwrap();
            assert_eq!(has_unique_id(&connection).unwrap(), is_unique, "{declared}");
            migrate(&mut connection).unwrap();
            migrate(&mut connection).unwrap();
            assert!(has_unique_id(&connection).unwrap());
            connection.execute_batch("INSERT INTO posts (id) VALUES ('a'), ('b')").unwrap();
            assert!(connection.execute_batch("INSERT INTO posts (id) VALUES ('a')").is_err(), "{declared}");
        }
    }

    #[test]
    fn the_columns_are_those_that_sqlite_declares() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE posts (id TEXT PRIMARY KEY, Title TEXT)").unwrap();
        migrate(&mut connection).unwrap();
        for table in ["posts", "stories", "runs", "tokens"] {
            let known = column_names(&connection, table).unwrap();
            let declared: Vec<&str> = declared_columns(table).map(|(name, _)| name).collect();
            assert!(declared.len() > 1, "{table}");
            assert!(declared.iter().all(|name| has_name(&known, name)), "{table}: {declared:?} {known:?}");
        }
    }

    #[test]
    fn what_is_no_instant_has_no_number() {
        for text in ["", "now", "yesterday", "2026-11-23", "2026-11-23 10:00:00", "10:00:00Z", "2461367.5"] {
            assert_eq!(millis_of(text), None, "{text}");
        }
        assert_eq!(millis_of("2026-11-23t10:00:00z"), millis_of("2026-11-23T10:00:00.000Z"));
    }

    #[test]
    fn the_program_takes_for_a_date_only_what_sqlite_reads_alike() {
        for (text, is_date) in [
            ("2026-11-23 10:00:00Z", true),
            ("2026-11-23T10:00:00+14:59", true),
            ("2026-11-23T10:00:00-00:00", true),
            ("0000-01-01T00:00:00Z", true),
            ("9999-12-31T23:59:59.999Z", true),
            ("1969-12-31T23:59:59.9999Z", true),
            ("2026-11-23T10:00:00+15:00", false),
            ("2026-11-23T10:00:00-23:59", false),
            ("2026-11-23T10:00:00\u{2212}01:00", false),
            ("2026-11-23T23:59:60Z", false),
            ("2026-11-23T24:00:00Z", false),
            ("2026-02-30T10:00:00Z", false),
            ("0000-01-01T00:00:00+01:00", false),
            ("9999-12-31T23:59:59-01:00", false),
            ("+12026-11-23T10:00:00Z", false),
            ("-0001-11-23T10:00:00Z", false),
            ("2026-11-23T10:00:00.Z", false),
            ("2026-11-23T10:00:00.5e1Z", false),
            ("2026-11-23T10:00:00 or so Z", false),
            ("2026-11-23T10:00:00\0Z", false),
            (" 2026-11-23T10:00:00Z", false),
            ("2026-11-23T10:00:00Z ", false),
            ("inf", false),
            ("1795428000000", false),
            ("", false),
        ] {
            let read = date_from(text);
            assert_eq!(read.is_ok(), is_date, "{text}: {read:?}");
            if let Ok(date) = read {
                assert_eq!(millis_of(text), Some(date.timestamp_millis()), "{text}");
            }
        }
        assert!(date_from("9999-12-31T23:59:59-01:00").unwrap_err().contains("out of range"));
        assert!(date_from(&"9".repeat(1_000_000)).unwrap_err().len() < 200);
    }

    proptest! {
        #[test]
        fn an_instant_is_read_as_by_the_program_itself(
            seconds in -1_000_000_000i64..9_000_000_000,
            fraction in "(\\.[0-9]{1,9})?",
            zone in "Z|[+-](0[0-9]|1[0-3]):[0-5][0-9]",
        ) {
            let date = DateTime::from_timestamp(seconds, 0).unwrap().format("%Y-%m-%dT%H:%M:%S");
            let text = format!("{date}{fraction}{zone}");
            let read = DateTime::parse_from_rfc3339(&text).unwrap().timestamp_millis();
            prop_assert_eq!(millis_of(&text), Some(read), "{}", text);
        }
    }
}
