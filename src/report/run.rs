//! What a pass did or would do, and what became of single posts, for people.

use super::table::{Cell, Column, Table};
use super::text::{tally, wrapped};
use super::{Paint, Screen, plural, relative, utc};
use crate::post::{Category, Outcome, Totals};
use crate::retry::{AttemptReport, DryRunReport, GivenUp, MalformedPost, PassReport, PlatformReport};

/// What a pass did; empty where there was nothing to do.
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
        // What is due already is taken by the next pass, however long ago that was.
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

/// The counts in one line; those that are none are left out.
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

/// Why a platform got no or no further post, in one line without its end; none where it got all of them.
pub fn platform_note(report: &PlatformReport) -> Option<String> {
    let platform = report.platform;
    let skipped = report.totals.skipped;
    if !report.is_configured {
        let left = plural(skipped, "due post is left as it is", "due posts are left as they are");
        return (skipped > 0).then(|| format!("{platform}: not configured, {left}"));
    }
    let GivenUp { category, reason, advice, until, waiting, is_circuit } = report.given_up.as_ref()?;
    let wait = plural(*waiting, "post waits", "posts wait");
    let by_itself = if *waiting == 1 { "it will go out by itself" } else { "they will go out by themselves" };
    let advice = advice.as_deref().unwrap_or(reason);
    let until = until.map(|until| format!(" until {}", utc(until))).unwrap_or_default();
    Some(match category {
        _ if *is_circuit => format!("{platform}: in trouble, {wait} for the next run; {reason}"),
        Category::Auth => format!("{platform}: sign-in refused, {wait}; {advice}, {by_itself}"),
        Category::AccountRestricted => format!("{platform}: account restricted, {wait}; {advice}, {by_itself}"),
        Category::QuotaExhausted => format!("{platform}: quota used up, {wait}{until}; {advice}"),
        _ => format!("{platform}: asked for a pause, {wait}{until}; {advice}"),
    })
}

/// Why a post cannot be worked on, in one line without its end.
pub fn malformed_note(post: &MalformedPost) -> String {
    format!("malformed post {}: field `{}`: {}; left as it is", post.id, post.field, post.problem)
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

/// What became of the posts of `retry` and `reset`: id, outcome and, where there is one, why.
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
