//! The results of a pass, a dry run and single posts, for people.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::json::ResultRow;
use super::table::{Cell, Column, Table};
use super::text::{MAX_TEXT_CHARS, Times, platform_name, tally, title, wrapped};
use super::wording::{outcome_words, refused_since, unlabelled};
use super::{Paint, Screen, plural, relative};
use crate::post::{Category, Outcome, Totals, one_line, shown_id};
use crate::retry::{
    AttemptReport, DryRunReport, FoundPublished, GivenUp, MalformedPost, PassReport, PlannedPost, PlatformReport,
    Records,
};

/// How many rows a table has at most before another one begins. A report of very many posts is never in memory as a
/// whole.
const ROWS: usize = 500;

/// Writes a table of all records.
fn write_table<T: Clone + Serialize + DeserializeOwned, const N: usize>(
    out: &mut dyn Write,
    columns: &[Column; N],
    records: &Records<T>,
    row: impl Fn(&T) -> [Cell; N],
    screen: Screen,
) -> io::Result<()> {
    let mut records = records.iter().peekable();
    while records.peek().is_some() {
        let mut table = Table::new(columns);
        for record in records.by_ref().take(ROWS) {
            table.row(row(record?.as_ref()));
        }
        out.write_all(table.text(screen).as_bytes())?;
    }
    Ok(())
}

/// Writes the result of a pass; nothing if there was nothing to do. `scrub` takes the secrets out of a text before it is
/// cut.
///
/// # Errors
/// If it cannot be written, or its records cannot be read.
pub fn write_run(
    out: &mut dyn Write,
    report: &PassReport,
    scrub: impl Fn(&str) -> String,
    screen: Screen,
) -> io::Result<()> {
    if report.is_empty() {
        return Ok(());
    }
    let columns = [
        Column::whole("post"),
        Column::whole("platform"),
        Column::whole("outcome"),
        Column::whole("next").movable(),
        Column::whole("category").movable(),
        Column::number("attempt").dispensable(),
        Column::sentences("detail"),
    ];
    let row = |post: &AttemptReport| {
        // The next pass retries a post that is already due, no matter for how long.
        let next = post
            .next_retry_at
            .map(|at| if at <= report.finished_at { "due".to_owned() } else { relative(at, report.finished_at) });
        [
            shown_id(post.id.as_str()).into(),
            post.platform.as_str().into(),
            outcome_cell(post.outcome.as_str()),
            next.unwrap_or_default().into(),
            post.category.map_or("", Category::as_str).into(),
            post.attempt.to_string().into(),
            detail(post).into(),
        ]
    };
    write_table(out, &columns, &report.posts, row, screen)?;
    writeln!(out, "{}", wrapped(&summary(&report.platforms), screen.width, 2))?;
    for platform in &report.platforms {
        if let Some(note) = note(platform, Times::From(report.finished_at)) {
            let needs_person = platform.given_up.as_ref().is_some_and(|given_up| given_up.category.needs_person());
            let paint = if needs_person { Paint::Bad } else { Paint::Warning };
            let note = wrapped(&one_line(&note, MAX_TEXT_CHARS), screen.width, 2);
            writeln!(out, "{}", paint.on(&note, screen.has_color))?;
        }
    }
    for post in report.found_published.iter() {
        // Before it is wrapped: a secret in two lines could not be found.
        let note = scrub(&published_note(post?.as_ref()));
        let note = wrapped(&one_line(&note, MAX_TEXT_CHARS), screen.width, 2);
        writeln!(out, "{}", Paint::Bad.on(&note, screen.has_color))?;
    }
    write_malformed(out, &report.malformed, scrub, screen)
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
        (totals.deferred.saturating_sub(totals.interrupted), "deferred"),
        (totals.interrupted, "interrupted"),
        (totals.skipped, "skipped"),
    ]);
    let mut line = format!("{} due", totals.due);
    if !counts.is_empty() {
        line.push_str(&format!(": {counts}"));
    }
    if totals.flagged > 0 {
        line.push_str(&format!("; {} marked as permanently failed without an attempt", totals.flagged));
    }
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
    let retry_note =
        if *waiting == 1 { "it will be retried automatically" } else { "they will be retried automatically" };
    let advice = advice.as_deref().unwrap_or(unlabelled(platform, reason));
    let until = until.map(|until| format!(" {}", times.until(until))).unwrap_or_default();
    Some(match category {
        _ if *is_circuit => {
            let reason = unlabelled(platform, reason);
            format!("{platform}: circuit breaker open, {wait} for the next pass; {reason}")
        }
        Category::Auth => {
            format!("{platform}: credentials refused, {wait}: {advice}. When this is fixed, {retry_note}")
        }
        Category::AccountRestricted => {
            format!("{platform}: account restricted, {wait}: {advice}. When this is fixed, {retry_note}")
        }
        Category::QuotaExhausted => format!("{platform}: quota used up, {wait}{until}; {advice}"),
        _ => format!("{platform}: rate limited, {wait}{until}; {advice}"),
    })
}

/// Why a post was marked as ambiguous without an attempt, in one line without a line end.
pub fn published_note(post: &FoundPublished) -> String {
    format!("ambiguous post {} ({}): {}", shown_id(post.id.as_str()), post.platform, post.error)
}

/// Why a post is malformed, in one line without a line end.
pub fn malformed_note(post: &MalformedPost) -> String {
    let platform = post.platform.as_deref().map(|name| format!(" ({})", platform_name(Some(name)))).unwrap_or_default();
    format!("malformed post {}{platform}: field `{}`: {}; left unchanged", post.id, post.field, post.problem)
}

fn write_malformed(
    out: &mut dyn Write,
    malformed: &Records<MalformedPost>,
    scrub: impl Fn(&str) -> String,
    screen: Screen,
) -> io::Result<()> {
    for post in malformed.iter() {
        let note = scrub(&malformed_note(post?.as_ref()));
        let note = wrapped(&one_line(&note, MAX_TEXT_CHARS), screen.width, 2);
        writeln!(out, "{}", Paint::Bad.on(&note, screen.has_color))?;
    }
    Ok(())
}

/// Writes what a pass would do. `scrub` takes the secrets out of a text before a table cuts it.
///
/// # Errors
/// If it cannot be written, or its records cannot be read.
pub fn write_dry_run(
    out: &mut dyn Write,
    report: &DryRunReport,
    scrub: impl Fn(&str) -> String,
    screen: Screen,
) -> io::Result<()> {
    let flagged: u64 = report.platforms.iter().map(|platform| platform.totals.flagged).sum();
    if report.posts.is_empty() && report.malformed.is_empty() && flagged == 0 {
        return out.write_all(b"nothing is due\n");
    }
    let columns = [
        Column::whole("post"),
        Column::whole("platform"),
        Column::number("attempt").dispensable(),
        Column::whole("due").movable(),
        Column::flexible("title", 10),
        Column::sentences("plan"),
    ];
    let row = |post: &PlannedPost| {
        [
            shown_id(post.id.as_str()).into(),
            post.platform.as_str().into(),
            post.attempt.to_string().into(),
            post.due_since.map(|at| relative(at, report.started_at)).unwrap_or_default().into(),
            title(post.title.as_deref().map(&scrub).as_deref()).into(),
            plan(post),
        ]
    };
    write_table(out, &columns, &report.posts, row, screen)?;
    let mut line = format!("{} due, {} would be started", report.posts.len(), report.would_start);
    if report.would_fail > 0 {
        line.push_str(&format!(", {} of them would fail", report.would_fail));
    }
    if report.would_be_deferred > 0 {
        line.push_str(&format!(", {} of them would be deferred", report.would_be_deferred));
    }
    if flagged > 0 {
        line.push_str(&format!("; {flagged} would be marked as permanently failed without an attempt"));
    }
    writeln!(out, "{}", wrapped(&line, screen.width, 2))?;
    for note in account_notes_at(report, Times::From(report.started_at)) {
        let note = wrapped(&one_line(&note, MAX_TEXT_CHARS), screen.width, 2);
        writeln!(out, "{}", Paint::Bad.on(&note, screen.has_color))?;
    }
    write_malformed(out, &report.malformed, scrub, screen)
}

/// Why platforms would refuse the due posts, as far as a dry run can tell: one line without a line end for each.
pub fn account_notes(report: &DryRunReport) -> Vec<String> {
    account_notes_at(report, Times::Exact)
}

fn account_notes_at(report: &DryRunReport, times: Times) -> Vec<String> {
    let note = |entry: &PlatformReport| {
        let Some(expiry) = entry.credential_expiry else {
            let (platform, record) = report.refused.iter().find(|(platform, _)| *platform == entry.platform)?;
            return refused_since(*platform, record, times);
        };
        let (name, expired, advice) = (entry.platform.title(), times.at(expiry.at), expiry.advice);
        Some(match expiry.access_expires_at.filter(|_| !expiry.is_over(report.started_at)) {
            Some(until) => {
                let until = times.at(until);
                format!(
                    "{name}: the stored refresh token expired {expired}, and the access token expires {until}; {advice}"
                )
            }
            None => format!("{name}: the stored credentials expired {expired}; {advice}"),
        })
    };
    report.platforms.iter().filter_map(note).collect()
}

/// What would be done with a due post, and why. Since when it is due has a column of its own.
fn plan(post: &PlannedPost) -> Cell {
    match (&post.problem, post.skipped) {
        (Some(problem), None) => Cell::painted(problem.to_string(), Paint::Warning),
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
        Column::sentences("detail"),
    ]);
    for row in rows {
        table.row([
            shown_id(&row.id).into(),
            platform_name(row.platform.as_deref()).into(),
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
        Column::sentences("error"),
    ]);
    for row in rows.iter().filter(is_chosen) {
        table.row([
            shown_id(&row.id).into(),
            platform_name(row.platform.as_deref()).into(),
            row.category.unwrap_or_default().into(),
            title(row.title.as_deref()).into(),
            row.error.clone().unwrap_or_default().into(),
        ]);
    }
    let others: Vec<ResultRow> = rows.iter().filter(|row| !is_chosen(row)).cloned().collect();
    let tables = [(table.is_empty(), table.text(screen)), (others.is_empty(), results_text(&others, screen))];
    tables.into_iter().filter_map(|(is_empty, text)| (!is_empty).then_some(text)).collect::<Vec<_>>().join("\n")
}
