//! The results of a pass, a dry run and single posts, for people.

use super::table::{Cell, Column, Table};
use super::text::{tally, wrapped};
use super::{Paint, Screen, plural, relative, utc};
use crate::post::{Category, Outcome, Totals};
use crate::retry::{AttemptReport, DryRunReport, GivenUp, MalformedPost, PassReport, PlatformReport};

/// The result of a pass. Empty if there was nothing to do.
pub fn run_text(report: &PassReport, screen: Screen) -> String {
    if report.totals().is_empty() && report.malformed.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        Column::whole("post"),
        Column::whole("platform"),
        Column::whole("outcome"),
        Column::number("attempt").dispensable(),
        Column::whole("next").dispensable(),
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
            outcome_cell(post.outcome),
            post.attempt.to_string().into(),
            next.unwrap_or_default().into(),
            detail(post).into(),
        ]);
    }
    let mut text = if table.is_empty() { String::new() } else { table.text(screen) };
    text.push_str(&summary(&report.platforms));
    for note in report.platforms.iter().filter_map(platform_note) {
        let note = wrapped(&note, screen.width, 2);
        text.push_str(&format!("{}\n", Paint::Warning.on(&note, screen.has_color)));
    }
    text.push_str(&malformed_notes(&report.malformed, screen));
    text
}

fn outcome_cell(outcome: Outcome) -> Cell {
    match outcome {
        Outcome::Posted => Cell::painted("posted", Paint::Good),
        Outcome::PermanentlyFailed => Cell::painted("permanently failed", Paint::Bad),
        Outcome::Failed => Cell::painted("failed", Paint::Warning),
        other @ (Outcome::Deferred | Outcome::Interrupted | Outcome::Withdrawn) => other.as_str().into(),
    }
}

fn detail(post: &AttemptReport) -> String {
    match (post.outcome, post.category) {
        (Outcome::Posted, _) => post.url.clone().unwrap_or_default(),
        (_, category) => {
            let category = category.map(|category| format!("{category}: ")).unwrap_or_default();
            format!("{category}{}", post.error.as_deref().unwrap_or_default())
        }
    }
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

/// Why a platform was skipped, in one line without a line end. `None` if it was not.
pub fn platform_note(report: &PlatformReport) -> Option<String> {
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
    let until = until.map(|until| format!(" until {}", utc(until))).unwrap_or_default();
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
    format!("malformed post {}: field `{}`: {}; left unchanged", post.id, post.field, post.problem)
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
        Column::flexible("title", 10),
        Column::flexible("reason", 30),
    ]);
    for post in &report.posts {
        table.row([
            post.id.as_str().into(),
            post.platform.as_str().into(),
            post.attempt.to_string().into(),
            post.title.clone().unwrap_or_default().into(),
            post.reason.clone().into(),
        ]);
    }
    let mut text = if table.is_empty() { String::new() } else { table.text(screen) };
    let would_start = report.posts.iter().filter(|post| post.skipped.is_none()).count();
    text.push_str(&format!("{} due, {would_start} would be started", report.posts.len()));
    if flagged > 0 {
        text.push_str(&format!("; {flagged} would be marked as permanently failed"));
    }
    text.push('\n');
    text.push_str(&malformed_notes(&report.malformed, screen));
    text
}

/// The results of `retry` and `reset`: id, outcome and, if there is one, the reason.
pub fn results_text(results: &[(String, &'static str, Option<String>)], screen: Screen) -> String {
    let mut table = Table::new(&[Column::whole("post"), Column::whole("outcome"), Column::flexible("detail", 20)]);
    for (id, outcome, detail) in results {
        let paint = match *outcome {
            "posted" | "reset" => Paint::Good,
            "failed" | "deferred" | "busy" => Paint::Warning,
            _ => Paint::Bad,
        };
        table.row([id.clone().into(), Cell::painted(*outcome, paint), detail.clone().unwrap_or_default().into()]);
    }
    table.text(screen)
}
