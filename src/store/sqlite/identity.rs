//! The id of a row: which ids can be asked for, and how a value that is no id is shown.
//!
//! The column may have been declared by another program, with any affinity and any collation. SQLite would then compare
//! `42` with the number 42, or `a` with `A`. So a row is found only if its id is text with exactly these characters.

use rusqlite::types::{Value, ValueRef};

use super::query::Sql;
use crate::post::PostId;

/// The longest id in bytes. A longer one would fill every line in which it is named.
const MAX_ID: usize = 1024;

/// How much of an unusable id is shown, in bytes.
const SHOWN: usize = 32;

/// Begins the key of a row that cannot be asked for. An id that begins like this gets [`IS_TEXT`] too.
const MARK: char = '\0';

/// After the mark: the rest is the id.
const IS_TEXT: char = '=';

/// The id of a row, and what is wrong with it if no query can ask for it.
pub(super) fn id_from(value: ValueRef<'_>) -> (PostId, Option<String>) {
    let (shown, problem) = match value {
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if text.len() <= MAX_ID => return (id_of(text), None),
            Ok(text) => (shortened(text, SHOWN), format!("it is longer than {MAX_ID} bytes")),
            Err(_) => (hex(bytes), "it is not UTF-8 text".to_owned()),
        },
        ValueRef::Null => ("NULL".to_owned(), "it is null, not text".to_owned()),
        ValueRef::Integer(number) => (number.to_string(), "it is a number, not text".to_owned()),
        ValueRef::Real(number) => (format!("{number:?}"), "it is a number, not text".to_owned()),
        ValueRef::Blob(bytes) => (hex(bytes), "it is a blob, not text".to_owned()),
    };
    let key = format!("{MARK}{shown}");
    (PostId::new(shown, key), Some(problem))
}

/// The id that is this text.
pub(super) fn id_of(text: &str) -> PostId {
    if text.starts_with(MARK) {
        return PostId::new(text, format!("{MARK}{IS_TEXT}{text}"));
    }
    PostId::from_text(text)
}

/// The condition for the row of this id. An id that cannot be asked for has none, so that no other row is taken for it.
pub(super) fn has_id(id: &PostId) -> Sql {
    let text = match id.key().strip_prefix(MARK) {
        None => id.key(),
        Some(marked) => match marked.strip_prefix(IS_TEXT) {
            Some(text) => text,
            None => return Sql::new("0"),
        },
    };
    // The first comparison finds the row by its index. The others refuse what affinity and collation have let through.
    Sql {
        text: "id = ? AND typeof(id) = 'text' AND id = ? COLLATE BINARY".to_owned(),
        values: vec![Value::Text(text.to_owned()), Value::Text(text.to_owned())],
    }
}

/// The condition for rows that are shown like this though their id is not text.
pub(super) fn is_shown_as(shown: &str) -> Option<Sql> {
    let other =
        |kind: &str, value: Value| Some(Sql { text: format!("id = ? AND typeof(id) = '{kind}'"), values: vec![value] });
    if let Some(number) = shown.parse::<i64>().ok().filter(|number| number.to_string() == shown) {
        return other("integer", Value::Integer(number));
    }
    if let Some(number) = shown.parse::<f64>().ok().filter(|number| format!("{number:?}") == shown) {
        return other("real", Value::Real(number));
    }
    let digits = shown.strip_prefix("X'")?.strip_suffix('\'')?;
    other("blob", Value::Blob(bytes_of(digits)?))
}

/// Bytes as SQLite writes them.
fn hex(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes.iter().take(SHOWN) {
        digits.push_str(&format!("{byte:02X}"));
    }
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("X'{digits}{more}'")
}

/// The bytes that these digits stand for.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2).map(|start| digits.get(start..start.checked_add(2)?));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

/// A text of at most so many bytes, with a sign that there is more.
pub(super) fn shortened(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params_from_iter};

    use super::*;

    fn table(declared: &str, ids: &[&str]) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&format!("CREATE TABLE posts (id {declared})")).unwrap();
        for id in ids {
            connection.execute_batch(&format!("INSERT INTO posts (id) VALUES ({id})")).unwrap();
        }
        connection
    }

    /// The rows that a condition finds, as SQL literals.
    fn found(connection: &Connection, condition: &Sql) -> Vec<String> {
        let sql = format!("SELECT quote(id) FROM posts WHERE {}", condition.text);
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement.query_map(params_from_iter(&condition.values), |row| row.get(0)).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    #[test]
    fn only_the_row_with_exactly_this_text_is_found() {
        let ids = ["'42'", "42", "42.0", "x'3432'", "'a'", "' a'", "'a '", "CAST(x'61ff' AS TEXT)", "''"];
        for declared in ["", "BLOB", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"] {
            let connection = table(declared, &ids);
            for (asked, expected) in
                [("a", 1), ("A", 0), ("a ", 1), ("", 1), ("a\u{fffd}", 0), ("x'3432'", 0), ("\0", 0), ("NULL", 0)]
            {
                assert_eq!(found(&connection, &has_id(&id_of(asked))).len(), expected, "{asked:?} in {declared}");
            }
        }
        assert_eq!(found(&table("", &ids), &has_id(&id_of("42"))), ["'42'"]);
        for declared in ["INTEGER PRIMARY KEY", "NUMERIC", "REAL"] {
            let connection = table(declared, &["42", "7"]);
            for asked in ["42", "042", "42.0", "4.2e1"] {
                assert_eq!(found(&connection, &has_id(&id_of(asked))), Vec::<String>::new(), "{asked} in {declared}");
            }
        }
    }

    #[test]
    fn an_id_that_is_not_text_is_shown_and_never_finds_a_row() {
        let ids = ["NULL", "42", "-0.5", "1e999", "x'00ff'", "zeroblob(100)", "CAST(x'61ff' AS TEXT)"];
        let shown = ["NULL", "42", "-0.5", "inf", "X'00FF'", "", "X'61FF'"];
        let connection = table("", &ids);
        let mut statement = connection.prepare("SELECT id FROM posts ORDER BY rowid").unwrap();
        let mut rows = statement.query([]).unwrap();
        for expected in shown {
            let row = rows.next().unwrap().unwrap();
            let (id, problem) = id_from(row.get_ref(0).unwrap());
            assert!(problem.is_some(), "{id}");
            assert!(expected.is_empty() || id.as_str() == expected, "{id}");
            assert!(id.as_str().len() < 100, "{id}");
            assert_eq!(found(&connection, &has_id(&id)), Vec::<String>::new(), "{id}");
            let finds_itself = is_shown_as(id.as_str()).map(|condition| found(&connection, &condition).len());
            assert!(finds_itself != Some(0) || id.as_str() == "X'61FF'", "{id}");
        }
        // A text with the same characters is another id.
        let texts = table("", &["'42'", "'NULL'", "char(0) || '42'", "char(0)"]);
        let (number, _) = id_from(ValueRef::Integer(42));
        assert_eq!(found(&texts, &has_id(&number)), Vec::<String>::new());
        for text in ["42", "NULL", "\0", "\x0042"] {
            assert_eq!(found(&texts, &has_id(&id_of(text))).len(), 1, "{text:?}");
        }
        assert_eq!(found(&texts, &is_shown_as("42").unwrap()), Vec::<String>::new());
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(shortened("aäb", 2), "a…");
        assert_eq!(shortened("aäb", 4), "aäb");
        let (id, problem) = id_from(ValueRef::Text("ä".repeat(600).as_bytes()));
        assert!(id.as_str().len() <= 40 && problem.is_some(), "{id}");
    }
}
