//! Failed posts for people: the list, and one of them in full.

use chrono::{DateTime, Utc};

use super::explain::explain;
use super::json::PostJson;
use super::table::{Cell, Column, Table};
use super::text::wrapped;
use super::{Paint, Screen, plural, relative, utc};
use crate::post::{Category, Eligibility, EntryOutcome, HistoryEntry, RetryPolicy, one_line};
use crate::store::{ListFilter, Page, StoredPost};

/// A part of the list of failed posts.
#[derive(Debug)]
pub struct ListPart<'a> {
    /// The posts of this part.
    pub posts: &'a [StoredPost],
    /// Which part it is.
    pub page: Page,
    /// How many posts the whole list has.
    pub total: u64,
    /// Which posts are in it.
    pub filter: &'a ListFilter,
}

/// The list of failed posts.
pub fn list_text(part: &ListPart<'_>, policy: &RetryPolicy, now: DateTime<Utc>, screen: Screen) -> String {
    let shown = part.posts.len() as u64;
    let all = plural(part.total, "failed post", "failed posts");
    match shown {
        0 if part.total > 0 => return format!("0 of {all}\n"),
        0 if part.filter.is_everything() => return "no failed posts\n".to_owned(),
        0 => return "no failed posts match the filters\n".to_owned(),
        _ => {}
    }
    let mut table = Table::new(&[
        Column::whole("id"),
        Column::whole("platform"),
        Column::flexible("title", 10),
        Column::whole("failed").dispensable(),
        Column::number("retry"),
        Column::whole("next").dispensable(),
        Column::flexible("error", 20),
    ]);
    for stored in part.posts {
        let post = PostJson::new(stored, policy, now);
        table.row([
            post.id.into(),
            post.platform.unwrap_or_default().into(),
            post.title.unwrap_or_default().into(),
            stored.failed_at().map(|at| relative(at, now)).unwrap_or_default().into(),
            format!("{}/{}", post.retry_count, post.max_retries).into(),
            next_retry(stored, policy, now),
            post.error.unwrap_or_default().into(),
        ]);
    }
    let mut text = table.text(screen);
    if shown < part.total {
        let skip = part.page.skip;
        text.push_str(&format!("{} to {} of {all}\n", skip + 1, skip + shown));
    }
    text
}

fn next_retry(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>) -> Cell {
    let Some(post) = stored.readable() else { return Cell::painted("malformed", Paint::Bad) };
    match policy.eligibility(post, now) {
        Eligibility::Due(_) => Cell::painted("due", Paint::Good),
        Eligibility::Claimed { .. } => "running".into(),
        Eligibility::PermanentlyFailed | Eligibility::Exhausted => Cell::painted("never", Paint::Bad),
        Eligibility::Waiting { until, .. } => {
            until.map_or_else(|| "never".to_owned(), |until| relative(until, now)).into()
        }
    }
}

/// Columns for the name of a field.
const NAME_WIDTH: usize = 20;

/// One post in full, with its history.
pub fn post_text(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>, screen: Screen) -> String {
    let post = PostJson::new(stored, policy, now);
    let history = stored.history();
    let given_up =
        post.permanently_failed.then(|| post.permanently_failed_at.clone().unwrap_or_else(|| "yes".to_owned()));
    let lines = [
        ("id", Some(post.id)),
        ("title", post.title),
        ("platform", post.platform),
        ("story", post.story),
        ("failed at", post.failed_at),
        ("retries", Some(format!("{} of {}", post.retry_count, post.max_retries))),
        ("last retried at", post.last_retried_at),
        ("next retry at", post.next_retry_at),
        ("permanently failed", given_up),
        ("category", post.category.map(str::to_owned)),
        ("error", post.error),
        ("claimed by", stored.claim().map(|claim| claim.by.clone())),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let value = one_line(&value, usize::MAX);
            let line = wrapped(&format!("{name:<NAME_WIDTH$}{value}"), screen.width, NAME_WIDTH);
            let (name, value) = line.split_at(NAME_WIDTH);
            text.push_str(&format!("{}{value}\n", Paint::Heading.on(name, screen.has_color)));
        }
    }
    text.push_str(&format!("\n{}\n", wrapped(&explain(stored, policy, now), screen.width, 0)));
    if !history.is_empty() {
        text.push('\n');
        text.push_str(&history_table(history, now).text(screen));
    }
    text
}

fn history_table(history: &[HistoryEntry], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[
        Column::number("attempt"),
        Column::whole("started"),
        Column::whole("outcome"),
        Column::whole("category").dispensable(),
        Column::flexible("host", 10),
        Column::flexible("error", 20),
    ]);
    for entry in history {
        let interruptions = match entry.interruptions {
            0 => None,
            count => Some(plural(u64::from(count), "interruption", "interruptions")),
        };
        let reset = entry.reset.as_ref().map(|reset| format!("reset by {} {}", reset.by, relative(reset.at, now)));
        let details = [entry.error.clone(), interruptions, reset];
        table.row([
            entry.attempt.to_string().into(),
            entry.started_at.map(utc).unwrap_or_default().into(),
            Cell::painted(entry.outcome.as_str(), paint_of(entry.outcome)),
            entry.category.map_or("", Category::as_str).into(),
            entry.host.clone().into(),
            details.into_iter().flatten().collect::<Vec<_>>().join("; ").into(),
        ]);
    }
    table
}

fn paint_of(outcome: EntryOutcome) -> Paint {
    match outcome {
        EntryOutcome::Posted => Paint::Good,
        EntryOutcome::Failed => Paint::Bad,
        EntryOutcome::Deferred | EntryOutcome::Interrupted => Paint::Warning,
    }
}
