//! Failed posts as CSV (RFC 4180): the columns of the JSON, in its order, with a header.
//!
//! A spreadsheet reads it, so a text from outside is one safe line and never a formula. JSON has the texts as they are.

use chrono::{DateTime, Utc};

use super::json::PostJson;
use crate::post::{RetryPolicy, one_line};
use crate::store::StoredPost;

const HEADER: &str = "id,title,platform,story,status,error,category,failedAt,retryCount,maxRetries,lastRetriedAt,\
                      nextRetryAt,due,permanentlyFailed,permanentlyFailedAt";

/// The posts of one part of a list.
pub fn posts_csv(posts: &[StoredPost], policy: &RetryPolicy, now: DateTime<Utc>) -> String {
    let mut text = format!("{HEADER}\r\n");
    for post in posts {
        let post = PostJson::new(post, policy, now);
        let or_empty = Option::unwrap_or_default;
        let cells = [
            foreign(&post.id),
            foreign(&or_empty(post.title)),
            foreign(&or_empty(post.platform)),
            foreign(&or_empty(post.story)),
            post.status.to_owned(),
            foreign(&or_empty(post.error)),
            post.category.unwrap_or_default().to_owned(),
            or_empty(post.failed_at),
            post.retry_count.to_string(),
            post.max_retries.to_string(),
            or_empty(post.last_retried_at),
            or_empty(post.next_retry_at),
            post.due.to_string(),
            post.permanently_failed.to_string(),
            or_empty(post.permanently_failed_at),
        ];
        text.push_str(&cells.map(|cell| quoted(&cell)).join(","));
        text.push_str("\r\n");
    }
    text
}

/// The longest text, in characters.
const MAX_CELL_CHARS: usize = 1_000;

/// A text from outside. Where a spreadsheet would take it for a formula, an apostrophe makes it a text (OWASP, "CSV
/// Injection"); the last four are what East Asian input methods write for the first.
fn foreign(text: &str) -> String {
    const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    let line = one_line(text, MAX_CELL_CHARS);
    if line.starts_with(FORMULA) { format!("'{line}") } else { line }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_a_formula_and_none_breaks_a_row() {
        for (text, cell) in [
            ("Spring", "Spring"),
            ("a=b", "a=b"),
            ("=HYPERLINK(\"http://evil\")", "'=HYPERLINK(\"http://evil\")"),
            ("+1", "'+1"),
            ("-2+3", "'-2+3"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'=1"),
            ("\r\n =1", "'=1"),
            ("＝1", "'＝1"),
            ("a\r\nb\u{1b}", "a b\\u{1b}"),
        ] {
            assert_eq!(foreign(text), cell);
        }
    }

    #[test]
    fn cells_with_separators_are_quoted() {
        assert_eq!(quoted("a"), "a");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("say \"hi\"\n"), "\"say \"\"hi\"\"\n\"");
    }
}
