//! What another program may have made of the file, and whether posts can be kept in it all the same.

use rusqlite::{Connection, OptionalExtension};

use super::identity::shortened;
use super::schema::{VERSION, column_names, declared_columns, version};

/// How many of the tables of another program are named.
const NAMED: usize = 5;

/// How much of the name of a table is shown, in bytes.
const SHOWN: usize = 40;

const OWN_FILE: &str = "use a file of its own for the posts: `sqlite:PATH`";

/// The file cannot be used.
#[derive(Debug)]
pub(super) enum FileError {
    /// SQLite says so.
    Sqlite(rusqlite::Error),
    /// Its contents are not what a post store needs.
    Unsuitable { problem: String, hint: &'static str },
}

impl From<rusqlite::Error> for FileError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn unsuitable<T>(problem: impl Into<String>, hint: &'static str) -> Result<T, FileError> {
    Err(FileError::Unsuitable { problem: problem.into(), hint })
}

/// Checks a file that is not of the current version. Returns the tables in it if there are some, but none for posts.
///
/// # Errors
/// If a newer version has created it, or if it has tables that posts cannot be kept in.
pub(super) fn check(connection: &Connection) -> Result<Vec<String>, FileError> {
    let version = version(connection)?;
    let tables = tables(connection)?;
    let is_ours = tables.is_empty() || is_ours(connection)?;
    if is_ours && version > VERSION {
        let problem =
            format!("it was created by a newer postretry (schema {version}; this version supports up to {VERSION})");
        return unsuitable(problem, "update postretry on this machine");
    }
    // The version is one number for the whole file, and the other program needs it.
    if !is_ours && version != 0 {
        let names = named(&tables).join(", ");
        return unsuitable(
            format!("it belongs to another program, with version {version} and tables {names}"),
            OWN_FILE,
        );
    }
    let has_posts = check_posts(connection)?;
    if !is_ours {
        check_other(connection, "stories", &["id"])?;
        for table in ["runs", "tokens"] {
            let needed: Vec<&str> = declared_columns(table).map(|(name, _)| name).collect();
            check_other(connection, table, &needed)?;
        }
    }
    Ok(if has_posts { Vec::new() } else { named(&tables) })
}

/// The names of the tables and views.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let select = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                  ORDER BY name";
    let mut statement = connection.prepare(select)?;
    let mut rows = statement.query([])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        names.push(String::from_utf8_lossy(row.get_ref(0)?.as_bytes().unwrap_or_default()).into_owned());
    }
    Ok(names)
}

/// The first of these names.
fn named(tables: &[String]) -> Vec<String> {
    let mut names: Vec<String> =
        tables.iter().take(NAMED).map(|name| format!("`{}`", shortened(name, SHOWN))).collect();
    if tables.len() > NAMED {
        names.push(format!("{} more", tables.len().saturating_sub(NAMED)));
    }
    names
}

/// Whether any version of postretry has used the file.
fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name LIKE 'postretry\\_%' \
                  ESCAPE '\\') OR EXISTS (SELECT 1 FROM pragma_table_info('tokens') WHERE name = 'refresh_until')";
    connection.query_row(select, [], |row| row.get(0))
}

/// Checks the table of the posts, if there is one, and says whether there is.
fn check_posts(connection: &Connection) -> Result<bool, FileError> {
    const HINT: &str = "docs/sqlite.md shows the table that posts need";
    let select = "SELECT type = 'table', wr FROM pragma_table_list WHERE schema = 'main' AND lower(name) = 'posts'";
    let found: Option<(bool, bool)> =
        connection.query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((is_table, has_no_rowid)) = found else { return Ok(false) };
    if !is_table {
        return unsuitable("its `posts` are not an ordinary table", HINT);
    }
    if has_no_rowid {
        return unsuitable("its table `posts` was created WITHOUT ROWID", HINT);
    }
    check_other(connection, "posts", &["id"])?;
    let duplicate = "SELECT 1 FROM posts WHERE id IS NOT NULL GROUP BY id HAVING count(*) > 1 LIMIT 1";
    if !super::schema::has_unique_id(connection)? && connection.prepare(duplicate)?.exists([])? {
        return unsuitable("several rows of its table `posts` have the same `id`", "give every row an id of its own");
    }
    Ok(true)
}

/// Checks that a table has the columns that cannot be added to it, if it exists.
fn check_other(connection: &Connection, table: &str, needed: &[&str]) -> Result<(), FileError> {
    let known = column_names(connection, table)?;
    let lacks = |name: &&&str| !known.iter().any(|known| known.eq_ignore_ascii_case(name));
    match needed.iter().find(lacks) {
        Some(name) if !known.is_empty() => {
            unsuitable(format!("its table `{table}` has no column `{name}`, so it is another program's"), OWN_FILE)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(sql: &str) -> Result<Vec<String>, String> {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        check(&connection).map_err(|error| match error {
            FileError::Unsuitable { problem, .. } => problem,
            FileError::Sqlite(error) => panic!("{error} for {sql}"),
        })
    }

    #[test]
    fn what_posts_cannot_be_kept_in_is_named() {
        for (sql, expected) in [
            (
                "CREATE TABLE a (b); PRAGMA user_version = 3",
                "belongs to another program, with version 3 and tables `a`",
            ),
            ("CREATE TABLE a (b); PRAGMA user_version = 4", "belongs to another program"),
            ("CREATE TABLE a (b); PRAGMA user_version = 99", "belongs to another program"),
            ("PRAGMA user_version = 99", "created by a newer postretry (schema 99"),
            ("CREATE TABLE a (b); CREATE VIEW posts AS SELECT b AS id FROM a", "not an ordinary table"),
            ("CREATE TABLE posts (id TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID", "WITHOUT ROWID"),
            ("CREATE TABLE posts (key TEXT)", "table `posts` has no column `id`"),
            ("CREATE TABLE posts (id TEXT); INSERT INTO posts VALUES ('a'), ('a')", "have the same `id`"),
            ("CREATE TABLE tokens (user TEXT, value TEXT)", "table `tokens` has no column `key`"),
            ("CREATE TABLE runs (id TEXT, distance REAL)", "table `runs` has no column `command`"),
            ("CREATE TABLE stories (key TEXT)", "table `stories` has no column `id`"),
        ] {
            let problem = checked(sql).unwrap_err();
            assert!(problem.contains(expected), "{sql}: {problem}");
        }
    }

    #[test]
    fn the_tables_of_another_program_are_named_if_there_are_no_posts() {
        assert_eq!(checked("").unwrap(), Vec::<String>::new());
        assert_eq!(checked("CREATE TABLE Posts (ID TEXT); CREATE TABLE a (b)").unwrap(), Vec::<String>::new());
        assert_eq!(checked("CREATE TABLE a (b); CREATE TABLE c (d)").unwrap(), ["`a`", "`c`"]);
        let many: String = (0..9).map(|number| format!("CREATE TABLE t{number} (a);")).collect();
        assert_eq!(checked(&many).unwrap().last().map(String::as_str), Some("4 more"));
    }
}
