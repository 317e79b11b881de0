//! What people read: tables and sentences.

use chrono::{DateTime, Utc};

use super::json::{PostJson, rate};
use super::table::{Column, Table};
use super::{plural, relative, utc};
use crate::post::{Category, DueReason, Outcome, Post, RetryPolicy, Standing, Totals, WaitReason};
use crate::retry::{AttemptReport, DryRunReport, GivenUp, MalformedPost, PassReport, PlatformReport};
use crate::store::{Statistics, StoredPost};

/// Where a text will be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Screen {
    /// The columns of the terminal; none where there is none.
    pub width: Option<usize>,
}

/// What happens to a post next, when and why: one sentence.
pub(super) fn explain(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>) -> String {
    let post = match stored {
        Ok(post) => post,
        Err(malformed) => {
            return format!(
                "It is left alone until its field `{}` is corrected: {}.",
                malformed.field, malformed.problem
            );
        }
    };
    let attempt = post.retry.count.saturating_add(1);
    let of = policy.max_retries;
    let lookup = if post.retry.ticket.is_some() { ", after its earlier upload has been looked up" } else { "" };
    match policy.standing(post, now) {
        Standing::Claimed { until } => {
            format!(
                "Attempt {} of {of} is under way now; its claim lasts until {} unless renewed.",
                post.retry.count,
                utc(until)
            )
        }
        Standing::PermanentlyFailed | Standing::Spent => given_up(post, policy),
        Standing::Due(DueReason::Interrupted) => {
            format!("The next run takes attempt {} of {of} up again, since the process died in it.", post.retry.count)
        }
        Standing::Due(DueReason::Processing) => {
            format!(
                "The next run looks whether {} has finished processing it; nothing is sent again.",
                post.platform.title()
            )
        }
        Standing::Due(DueReason::NoDate) => {
            format!("The next run makes attempt {attempt} of {of}{lookup}: it carries no date to wait from.")
        }
        Standing::Due(DueReason::BackoffOver { since }) => {
            format!("The next run makes attempt {attempt} of {of}{lookup}: it is due since {}.", utc(since))
        }
        Standing::Waiting { until: None, .. } => "Its next retry lies beyond the calendar.".to_owned(),
        Standing::Waiting { until: Some(until), reason } => {
            let why = match reason {
                WaitReason::Backoff => {
                    format!("the backoff after {}", plural(u64::from(post.retry.count), "retry", "retries"))
                }
                WaitReason::PlatformSaid => match post.retry.category {
                    Some(category) => format!("{} said so ({category})", post.platform.title()),
                    None => format!("{} said so", post.platform.title()),
                },
            };
            format!("Attempt {attempt} of {of} is due at {} ({}){lookup}: {why}.", utc(until), relative(until, now))
        }
    }
}

fn given_up(post: &Post, policy: &RetryPolicy) -> String {
    let why = match post.retry.category {
        Some(Category::Ambiguous) => {
            return format!(
                "It is parked, since it may be on {} already: look there first, then `postretry reset {}` sends it \
                 again.",
                post.platform.title(),
                post.id
            );
        }
        Some(Category::Expired) => "it was too late to be worth publishing".to_owned(),
        Some(category @ (Category::RejectedContent | Category::MediaProcessing))
            if !policy.is_spent(post.retry.count) =>
        {
            format!("no retry can mend a failure of category {category}")
        }
        _ => format!("all {} are used up", plural(u64::from(policy.max_retries), "retry", "retries")),
    };
    format!("It is not retried any more, since {why}; `postretry reset {}` gives it its retries back.", post.id)
}

fn cell(text: Option<&str>) -> String {
    text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The list of failed posts.
pub fn list_text(
    posts: &[StoredPost],
    total: u64,
    skip: u64,
    policy: &RetryPolicy,
    now: DateTime<Utc>,
    screen: Screen,
) -> String {
    if total == 0 {
        return "no failed posts\n".to_owned();
    }
    let mut table = Table::new(&[
        Column::whole("id"),
        Column::whole("platform"),
        Column::flexible("title", 8),
        Column::whole("failed"),
        Column::number("retries"),
        Column::whole("next retry"),
        Column::flexible("error", 8),
    ]);
    for stored in posts {
        let post = PostJson::new(stored, policy, now);
        let failed_at = match stored {
            Ok(post) => post.failed_at,
            Err(malformed) => malformed.draft.failed_at,
        };
        table.row(vec![
            post.id.clone(),
            post.platform.clone().unwrap_or_default(),
            cell(post.title.as_deref()),
            failed_at.map(|at| relative(at, now)).unwrap_or_default(),
            format!("{}/{}", post.retry_count, post.max_retries),
            next_retry(stored, policy, now),
            cell(post.error.as_deref()),
        ]);
    }
    let mut text = table.text(screen.width);
    let shown = posts.len() as u64;
    if shown < total {
        let first = if shown == 0 { skip } else { skip + 1 };
        text.push_str(&format!("{first} to {} of {}\n", skip + shown, plural(total, "failed post", "failed posts")));
    }
    text
}

fn next_retry(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>) -> String {
    let Ok(post) = stored else { return "malformed".to_owned() };
    match policy.standing(post, now) {
        Standing::Due(_) => "due".to_owned(),
        Standing::Claimed { .. } => "running".to_owned(),
        Standing::PermanentlyFailed | Standing::Spent => "never".to_owned(),
        Standing::Waiting { until, .. } => until.map_or_else(|| "never".to_owned(), |until| relative(until, now)),
    }
}

/// One post in full, with its history.
pub fn post_text(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>, screen: Screen) -> String {
    let post = PostJson::new(stored, policy, now);
    let mut text = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.push_str(&format!("{name:<20}{value}\n"));
        }
    };
    line("id", Some(post.id.clone()));
    line("title", post.title.clone());
    line("platform", post.platform.clone());
    line("story", post.story.clone());
    line("failed at", post.failed_at.clone());
    line("retries", Some(format!("{} of {}", post.retry_count, post.max_retries)));
    line("last retried at", post.last_retried_at.clone());
    line("next retry at", post.next_retry_at.clone());
    line(
        "permanently failed",
        post.permanently_failed.then(|| post.permanently_failed_at.clone().unwrap_or_else(|| "yes".to_owned())),
    );
    line("category", post.category.map(str::to_owned));
    line("error", post.error.clone());
    let (history, claim) = match stored {
        Ok(post) => (&post.retry.history, &post.retry.claim),
        Err(malformed) => (&malformed.draft.history, &malformed.draft.claim),
    };
    line("claimed by", claim.as_ref().map(|claim| claim.by.clone()));
    text.push_str(&format!("\n{}\n", explain(stored, policy, now)));
    if history.is_empty() {
        return text;
    }
    let mut table = Table::new(&[
        Column::number("attempt"),
        Column::whole("started"),
        Column::whole("outcome"),
        Column::whole("category"),
        Column::flexible("host", 6),
        Column::flexible("error", 8),
    ]);
    for entry in history {
        let interruptions = match entry.interruptions {
            0 => String::new(),
            count => format!(" ({})", plural(u64::from(count), "interruption", "interruptions")),
        };
        let reset = entry.reset.as_ref().map(|reset| format!(", reset by {} {}", reset.by, relative(reset.at, now)));
        table.row(vec![
            entry.attempt.to_string(),
            entry.started_at.map(utc).unwrap_or_default(),
            format!("{}{interruptions}{}", entry.outcome, reset.unwrap_or_default()),
            entry.category.map(|category| category.to_string()).unwrap_or_default(),
            entry.host.clone(),
            cell(entry.error.as_deref()),
        ]);
    }
    text.push('\n');
    text.push_str(&table.text(screen.width));
    text
}

/// What a pass did; empty where there was nothing to do.
pub fn run_text(report: &PassReport, screen: Screen) -> String {
    let totals = report.totals();
    if totals.is_empty() && report.malformed.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    if !report.posts.is_empty() {
        let mut table = Table::new(&[
            Column::whole("post"),
            Column::whole("platform"),
            Column::whole("outcome"),
            Column::number("attempt"),
            Column::whole("next retry"),
            Column::flexible("detail", 12),
        ]);
        for post in &report.posts {
            table.row(vec![
                post.id.to_string(),
                post.platform.to_string(),
                outcome_words(post.outcome).to_owned(),
                post.attempt.to_string(),
                post.next_retry_at.map(|at| relative(at, report.finished_at)).unwrap_or_default(),
                detail(post),
            ]);
        }
        text.push_str(&table.text(screen.width));
    }
    text.push_str(&summary(&report.platforms));
    for note in report.platforms.iter().filter_map(platform_note) {
        text.push_str(&format!("{note}\n"));
    }
    text.push_str(&malformed_notes(&report.malformed));
    text
}

fn outcome_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::PermanentlyFailed => "permanently failed",
        other => other.as_str(),
    }
}

fn detail(post: &AttemptReport) -> String {
    match post.outcome {
        Outcome::Posted => post.url.clone().unwrap_or_default(),
        _ => {
            let category = post.category.map(|category| format!("{category}: ")).unwrap_or_default();
            format!("{category}{}", post.error.as_deref().unwrap_or_default())
        }
    }
}

/// The counts in one line; those that are none are left out.
fn summary(platforms: &[PlatformReport]) -> String {
    let totals: Totals = platforms.iter().map(|platform| platform.totals).sum();
    let counts = [
        (totals.posted, "posted"),
        (totals.failed, "failed"),
        (totals.permanently_failed, "permanently failed"),
        (totals.deferred, "deferred"),
        (totals.skipped, "skipped"),
    ];
    let parts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let mut line = format!("{} due", totals.due);
    if !parts.is_empty() {
        line.push_str(&format!(": {}", parts.join(", ")));
    }
    if totals.flagged > 0 {
        line.push_str(&format!("; {} marked as permanently failed", totals.flagged));
    }
    line.push('\n');
    line
}

/// Why a platform got no or no further post, in one line without its end; none where it got all of them.
pub fn platform_note(report: &PlatformReport) -> Option<String> {
    let platform = report.platform;
    let waiting = |count| plural(count, "post waits", "posts wait");
    let skipped = report.totals.skipped;
    if !report.is_configured {
        let note = format!(
            "{platform}: not configured, {} as they are",
            plural(skipped, "due post is left", "due posts are left")
        );
        return (skipped > 0).then_some(note);
    }
    let GivenUp { category, reason, advice, until, waiting: count, is_circuit } = report.given_up.as_ref()?;
    let (count, advice) = (waiting(*count), advice.as_deref().unwrap_or(reason));
    let until = until.map(|until| format!(" until {}", utc(until))).unwrap_or_default();
    Some(match category {
        _ if *is_circuit => format!("{platform}: in trouble, {count} for the next run; {reason}"),
        Category::Auth => format!("{platform}: sign-in refused, {count}; {advice}, they will go out by themselves"),
        Category::AccountRestricted => {
            format!("{platform}: account restricted, {count}; {advice}, they will go out by themselves")
        }
        Category::QuotaExhausted => format!("{platform}: quota used up, {count}{until}; {advice}"),
        _ => format!("{platform}: asked for a pause, {count}{until}; {advice}"),
    })
}

fn malformed_notes(malformed: &[MalformedPost]) -> String {
    malformed
        .iter()
        .map(|post| format!("malformed post {}: field `{}`: {}; left as it is\n", post.id, post.field, post.problem))
        .collect()
}

/// What a pass would do.
pub fn dry_run_text(report: &DryRunReport, screen: Screen) -> String {
    if report.posts.is_empty() && report.malformed.is_empty() {
        return "nothing is due\n".to_owned();
    }
    let mut table = Table::new(&[
        Column::whole("post"),
        Column::whole("platform"),
        Column::flexible("title", 8),
        Column::number("attempt"),
        Column::flexible("reason", 20),
    ]);
    for post in &report.posts {
        table.row(vec![
            post.id.to_string(),
            post.platform.to_string(),
            cell(post.title.as_deref()),
            post.attempt.to_string(),
            post.reason.clone(),
        ]);
    }
    let mut text = table.text(screen.width);
    let would_start = report.posts.iter().filter(|post| post.skipped.is_none()).count() as u64;
    text.push_str(&format!("{} due, {would_start} would be started\n", report.posts.len()));
    text.push_str(&malformed_notes(&report.malformed));
    text
}

/// What became of the posts of `retry` and `reset`: id, outcome and, where there is one, why.
pub fn results_text(results: &[(String, &'static str, Option<String>)], screen: Screen) -> String {
    let mut table = Table::new(&[Column::whole("post"), Column::whole("outcome"), Column::flexible("detail", 12)]);
    for (id, outcome, detail) in results {
        table.row(vec![id.clone(), (*outcome).to_owned(), detail.clone().unwrap_or_default()]);
    }
    table.text(screen.width)
}

/// The statistics.
pub fn stats_text(statistics: &Statistics, now: DateTime<Utc>, screen: Screen) -> String {
    let retryable = statistics.total_failed.saturating_sub(statistics.permanently_failed);
    let mut text = format!(
        "{}: {} permanently, {retryable} retryable, {} due\n\n",
        plural(statistics.total_failed, "failed post", "failed posts"),
        statistics.permanently_failed,
        statistics.due
    );
    let percent = |posted, attempts| rate(posted, attempts).map(|rate| format!("{:.0} %", rate * 100.0));
    let mut table = Table::new(&[
        Column::whole("platform"),
        Column::number("failed"),
        Column::number("permanently"),
        Column::number("due"),
        Column::number("attempts"),
        Column::number("posted"),
        Column::number("success"),
    ]);
    for entry in &statistics.by_platform {
        table.row(vec![
            entry.platform.to_string(),
            entry.failed.to_string(),
            entry.permanently_failed.to_string(),
            entry.due.to_string(),
            entry.attempts.to_string(),
            entry.posted.to_string(),
            percent(entry.posted, entry.attempts).unwrap_or_default(),
        ]);
    }
    text.push_str(&table.text(screen.width));
    let mut section = |table: &Table, is_empty: bool| {
        if !is_empty {
            text.push('\n');
            text.push_str(&table.text(screen.width));
        }
    };
    let mut table = Table::new(&[Column::number("retries made"), Column::number("posts")]);
    for (count, posts) in &statistics.retry_distribution {
        table.row(vec![count.to_string(), posts.to_string()]);
    }
    section(&table, statistics.retry_distribution.is_empty());
    let mut table = Table::new(&[
        Column::number("attempt"),
        Column::number("made"),
        Column::number("posted"),
        Column::number("success"),
    ]);
    for entry in &statistics.by_attempt {
        table.row(vec![
            entry.attempt.to_string(),
            entry.attempts.to_string(),
            entry.posted.to_string(),
            percent(entry.posted, entry.attempts).unwrap_or_default(),
        ]);
    }
    section(&table, statistics.by_attempt.is_empty());
    let mut table = Table::new(&[Column::whole("category"), Column::number("posts")]);
    for (category, posts) in &statistics.by_category {
        table.row(vec![category.to_string(), posts.to_string()]);
    }
    section(&table, statistics.by_category.is_empty());
    let mut table = Table::new(&[Column::whole("token"), Column::whole("lapses")]);
    for (platform, at) in &statistics.tokens {
        let lapses = at.map_or_else(|| "not known".to_owned(), |at| relative(at, now));
        table.row(vec![platform.to_string(), lapses]);
    }
    section(&table, statistics.tokens.is_empty());
    let runs = &statistics.runs;
    text.push_str(&format!(
        "\n{}: {} posted, {} failed",
        plural(runs.run_count, "recorded run", "recorded runs"),
        runs.success_count,
        runs.error_count
    ));
    if let (Some(last), Some(millis)) = (runs.last_run, runs.last_duration_ms) {
        let outcome = runs.last_outcome.as_deref().unwrap_or("unknown");
        text.push_str(&format!("; the last {} took {millis} ms and ended with `{outcome}`", relative(last, now)));
    }
    text.push('\n');
    text
}
