//! The results of a pass, a dry run and single posts, for people.

use super::json::ResultRow;
use super::table::{Cell, Column, Table};
use super::text::{Times, tally, wrapped};
use super::wording::outcome_words;
use super::{Paint, Screen, plural, relative};
use crate::post::{Category, Outcome, Totals};
use crate::retry::{AttemptReport, DryRunReport, GivenUp, MalformedPost, PassReport, PlannedPost, PlatformReport};

/// The result of a pass. Empty if there was nothing to do.
pub fn run_text(report: &PassReport, screen: Screen) -> String {
    if report.totals().is_empty() && report.malformed.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        Column::whole("post"),
        Column::whole("platform"),
        Column::whole("outcome"),
        Column::whole("next").movable(),
        Column::whole("category").movable(),
        Column::number("attempt").dispensable(),
        Column::flexible("detail", 24),
    ]);
    for post in &report.posts {
        // The next pass retries a post that is already due, no matter for how long.
        let next = post
            .next_retry_at
            .map(|at| if at <= report.finished_at { "due".to_owned() } else { relative(at, report.finished_at) });
        table.row([
            post.id.as_str().into(),
            post.platform.as_str().into(),
            outcome_cell(post.outcome.as_str()),
            next.unwrap_or_default().into(),
            post.category.map_or("", Category::as_str).into(),
            post.attempt.to_string().into(),
            detail(post).into(),
        ]);
    }
    let mut text = if table.is_empty() { String::new() } else { table.text(screen) };
    text.push_str(&summary(&report.platforms));
    for platform in &report.platforms {
        if let Some(note) = note(platform, Times::From(report.finished_at)) {
            let needs_person = platform.given_up.as_ref().is_some_and(|given_up| given_up.category.needs_person());
            let paint = if needs_person { Paint::Bad } else { Paint::Warning };
            let note = wrapped(&note, screen.width, 2);
            text.push_str(&format!("{}\n", paint.on(&note, screen.has_color)));
        }
    }
    text.push_str(&malformed_notes(&report.malformed, screen));
    text
}

fn outcome_cell(name: &str) -> Cell {
    let (words, paint) = outcome_words(name);
    Cell::painted(words, paint)
}

fn detail(post: &AttemptReport) -> String {
    let detail = if post.outcome == Outcome::Posted { &post.url } else { &post.error };
    detail.clone().unwrap_or_default()
}

/// The counts in one line, without zeros.
fn summary(platforms: &[PlatformReport]) -> String {
    let totals: Totals = platforms.iter().map(|platform| platform.totals).sum();
    let counts = tally(&[
        (totals.posted, "posted"),
        (totals.failed, "failed"),
        (totals.permanently_failed, "permanently failed"),
        (totals.deferred, "deferred"),
        (totals.skipped, "skipped"),
    ]);
    let mut line = format!("{} due", totals.due);
    if !counts.is_empty() {
        line.push_str(&format!(": {counts}"));
    }
    if totals.flagged > 0 {
        line.push_str(&format!("; {} marked as permanently failed", totals.flagged));
    }
    line.push('\n');
    line
}

/// Why a platform was skipped, for the log: one line without a line end. `None` if it was not.
pub fn platform_note(report: &PlatformReport) -> Option<String> {
    note(report, Times::Exact)
}

fn note(report: &PlatformReport, times: Times) -> Option<String> {
    let platform = report.platform;
    let skipped = report.totals.skipped;
    if !report.is_configured {
        let left = plural(skipped, "due post is left unchanged", "due posts are left unchanged");
        return (skipped > 0).then(|| format!("{platform}: not configured, {left}"));
    }
    let GivenUp { category, reason, advice, until, waiting, is_circuit } = report.given_up.as_ref()?;
    let wait = plural(*waiting, "post waits", "posts wait");
    let by_itself =
        if *waiting == 1 { "it will be retried automatically" } else { "they will be retried automatically" };
    let advice = advice.as_deref().unwrap_or(reason);
    let until = until.map(|until| format!(" {}", times.until(until))).unwrap_or_default();
    Some(match category {
        _ if *is_circuit => format!("{platform}: circuit breaker open, {wait} for the next pass; {reason}"),
        Category::Auth => format!("{platform}: credentials refused, {wait}; {advice}, then {by_itself}"),
        Category::AccountRestricted => format!("{platform}: account restricted, {wait}; {advice}, then {by_itself}"),
        Category::QuotaExhausted => format!("{platform}: quota used up, {wait}{until}; {advice}"),
        _ => format!("{platform}: rate limited, {wait}{until}; {advice}"),
    })
}

/// Why a post is malformed, in one line without a line end.
pub fn malformed_note(post: &MalformedPost) -> String {
    let platform = post.platform.as_ref().map(|platform| format!(" ({platform})")).unwrap_or_default();
    format!("malformed post {}{platform}: field `{}`: {}; left unchanged", post.id, post.field, post.problem)
}

fn malformed_notes(malformed: &[MalformedPost], screen: Screen) -> String {
    let note = |post: &MalformedPost| {
        let text = wrapped(&malformed_note(post), screen.width, 2);
        format!("{}\n", Paint::Bad.on(&text, screen.has_color))
    };
    malformed.iter().map(note).collect()
}

/// What a pass would do.
pub fn dry_run_text(report: &DryRunReport, screen: Screen) -> String {
    let flagged: u64 = report.platforms.iter().map(|platform| platform.totals.flagged).sum();
    if report.posts.is_empty() && report.malformed.is_empty() && flagged == 0 {
        return "nothing is due\n".to_owned();
    }
    let mut table = Table::new(&[
        Column::whole("post"),
        Column::whole("platform"),
        Column::number("attempt").dispensable(),
        Column::whole("due").movable(),
        Column::flexible("title", 10),
        Column::flexible("plan", 30),
    ]);
    for post in &report.posts {
        table.row([
            post.id.as_str().into(),
            post.platform.as_str().into(),
            post.attempt.to_string().into(),
            post.due_since.map(|at| relative(at, report.started_at)).unwrap_or_default().into(),
            post.title.clone().unwrap_or_default().into(),
            plan(post),
        ]);
    }
    let mut text = if table.is_empty() { String::new() } else { table.text(screen) };
    let would_start = report.posts.iter().filter(|post| post.skipped.is_none());
    let would_fail = would_start.clone().filter(|post| post.problem.is_some()).count();
    text.push_str(&format!("{} due, {} would be started", report.posts.len(), would_start.count()));
    if would_fail > 0 {
        text.push_str(&format!(", {would_fail} of them would fail"));
    }
    if flagged > 0 {
        text.push_str(&format!("; {flagged} would be marked as permanently failed"));
    }
    text.push('\n');
    text.push_str(&malformed_notes(&report.malformed, screen));
    text
}

/// What would be done with a due post, and why. Since when it is due has a column of its own.
fn plan(post: &PlannedPost) -> Cell {
    match (&post.problem, post.skipped) {
        (Some(problem), None) => Cell::painted(format!("would fail: {}", problem.message), Paint::Warning),
        _ => {
            let since = post.due_since.map(|at| format!("due since {}; ", at.format("%Y-%m-%dT%H:%M:%SZ")));
            let rest = since.and_then(|since| post.reason.strip_prefix(&since));
            rest.unwrap_or(&post.reason).into()
        }
    }
}

/// The results of `retry` and `reset`: post, platform, outcome and, if there is one, the reason or the address.
pub fn results_text(rows: &[ResultRow], screen: Screen) -> String {
    let mut table = Table::new(&[
        Column::whole("post"),
        Column::whole("platform"),
        Column::whole("outcome"),
        Column::flexible("detail", 20),
    ]);
    for row in rows {
        table.row([
            row.id.clone().into(),
            row.platform.clone().unwrap_or_default().into(),
            outcome_cell(row.outcome),
            row.error.as_ref().or(row.url.as_ref()).cloned().unwrap_or_default().into(),
        ]);
    }
    table.text(screen)
}

/// What a `reset` would do: the posts that it would change with their last failure, and why it would not change the
/// others.
pub fn reset_plan_text(rows: &[ResultRow], screen: Screen) -> String {
    let is_chosen = |row: &&ResultRow| matches!(row.outcome, "reset" | "posted");
    let mut table = Table::new(&[
        Column::whole("post"),
        Column::whole("platform"),
        Column::whole("category"),
        Column::flexible("title", 10),
        Column::flexible("error", 20),
    ]);
    for row in rows.iter().filter(is_chosen) {
        table.row([
            row.id.clone().into(),
            row.platform.clone().unwrap_or_default().into(),
            row.category.unwrap_or_default().into(),
            row.title.clone().unwrap_or_default().into(),
            row.error.clone().unwrap_or_default().into(),
        ]);
    }
    let others: Vec<ResultRow> = rows.iter().filter(|row| !is_chosen(row)).cloned().collect();
    let tables = [(table.is_empty(), table.text(screen)), (others.is_empty(), results_text(&others, screen))];
    tables.into_iter().filter_map(|(is_empty, text)| (!is_empty).then_some(text)).collect::<Vec<_>>().join("\n")
}
