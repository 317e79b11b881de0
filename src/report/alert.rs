//! The alert: at most one message for each pass.

use serde::Serialize;
use serde_json::{Value, json};

use super::plural;
use super::text::MAX_TEXT_CHARS;
use super::wording::unlabelled;
use crate::post::{Category, Outcome, Platform, PostId, one_line, shown_id};
use crate::retry::PassReport;
use crate::store::GivenUpRecord;

/// How many posts the text names.
const NAMED: usize = 10;

/// How many posts the data names: a receiver that takes no megabytes must not lose the whole message.
const LISTED: usize = 1_000;

/// A permanently failed post as the data names it.
#[derive(Debug, Serialize)]
struct FailedJson {
    id: String,
    platform: Platform,
    category: Option<&'static str>,
    error: Option<String>,
}

impl FailedJson {
    fn new(id: &PostId, platform: Platform, category: Option<Category>, error: Option<&str>) -> Self {
        let category = category.map(Category::as_str);
        Self { id: id.as_str().to_owned(), platform, category, error: error.map(str::to_owned) }
    }
}

/// The message for a pass in which posts became permanently failed, or a platform was skipped that the runs before had
/// not skipped for the same category (`previous`); `None` for any other pass.
pub fn alert_message(report: &PassReport, host: &str, previous: &[(Platform, GivenUpRecord)]) -> Option<Value> {
    let is_new = |platform: Platform, category: Category| {
        !previous.iter().any(|(known, record)| *known == platform && record.category == category)
    };
    let count = report.totals().permanently_failed + report.found_published.len();
    // What cannot be read back is in the store and in the exit code.
    let posts = report.posts.iter().map_while(Result::ok).filter(|post| post.outcome == Outcome::PermanentlyFailed);
    let posts = posts.map(|post| FailedJson::new(&post.id, post.platform, post.category, post.error.as_deref()));
    let found = report.found_published.iter().map_while(Result::ok);
    let found =
        found.map(|post| FailedJson::new(&post.id, post.platform, Some(Category::Ambiguous), Some(&post.error)));
    let failed: Vec<FailedJson> = posts.chain(found).take(LISTED).collect();
    let given_up: Vec<_> = report
        .platforms
        .iter()
        .filter_map(|platform| Some((platform.platform, platform.given_up.as_ref()?)))
        .filter(|(platform, given_up)| given_up.category.needs_person() && is_new(*platform, given_up.category))
        .collect();
    if count == 0 && given_up.is_empty() {
        return None;
    }
    let mut lines = vec![format!("postretry on {host}:")];
    for (platform, given_up) in &given_up {
        let waiting = plural(given_up.waiting, "post waits", "posts wait");
        lines.push(format!(
            "{platform}: skipped for the rest of the pass ({}), {waiting}: {}",
            given_up.category,
            unlabelled(*platform, &given_up.reason)
        ));
    }
    if count > 0 {
        lines.push(format!("{} permanently failed:", plural(count, "post is", "posts are")));
    }
    for post in failed.iter().take(NAMED) {
        let error = unlabelled(post.platform, post.error.as_deref().unwrap_or_default());
        lines.push(format!("{} ({}): {error}", shown_id(&post.id), post.platform));
    }
    if count > NAMED as u64 {
        lines.push(format!("and {} more", count - NAMED as u64));
    }
    // A line break in a text from outside must not look like another post.
    let text = lines.iter().map(|line| one_line(line, MAX_TEXT_CHARS)).collect::<Vec<_>>().join("\n");
    Some(json!({
        "text": text,
        "run": { "id": report.run_id, "startedAt": super::utc(report.started_at), "host": host },
        "permanentlyFailed": failed,
        "givenUp": given_up.iter().map(|(platform, given_up)| json!({
            "platform": platform.as_str(),
            "category": given_up.category.as_str(),
            "waiting": given_up.waiting,
        })).collect::<Vec<_>>(),
    }))
}
