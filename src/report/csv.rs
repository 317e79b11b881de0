//! Failed posts as CSV (RFC 4180): the columns of the JSON, in its order, with a header.

use chrono::{DateTime, Utc};

use super::json::PostJson;
use crate::post::RetryPolicy;
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
            post.id,
            or_empty(post.title),
            or_empty(post.platform),
            or_empty(post.story),
            post.status.to_owned(),
            or_empty(post.error),
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

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_separators_are_quoted() {
        assert_eq!(quoted("a"), "a");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("say \"hi\"\n"), "\"say \"\"hi\"\"\n\"");
    }
}
