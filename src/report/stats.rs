//! The statistics for people.

use chrono::{DateTime, TimeDelta, Utc};

use super::json::rate;
use super::table::{Cell, Column, Table};
use super::text::{tally, wrapped};
use super::{Paint, Screen, plural, relative};
use crate::post::{Category, expires_soon};
use crate::store::Statistics;

/// The statistics.
pub fn stats_text(statistics: &Statistics, now: DateTime<Utc>, screen: Screen) -> String {
    let mut text = headline(statistics);
    let tables = [
        platforms(statistics),
        retries(statistics),
        attempts(statistics),
        causes(statistics),
        categories(statistics),
        tokens(statistics, now),
    ];
    for table in tables.iter().filter(|table| !table.is_empty()) {
        text.push('\n');
        text.push_str(&table.text(screen));
    }
    text.push('\n');
    text.push_str(&runs(statistics, now, screen));
    text
}

fn headline(statistics: &Statistics) -> String {
    let retryable = statistics.total_failed.saturating_sub(statistics.permanently_failed);
    let mut text = format!(
        "{}: {} permanently failed, {retryable} retryable, {} due\n",
        plural(statistics.total_failed, "failed post", "failed posts"),
        statistics.permanently_failed,
        statistics.due
    );
    let of = |wanted: Category| {
        statistics.by_category.iter().find(|(category, _)| *category == wanted).map_or(0, |(_, count)| *count)
    };
    let for_a_person = tally(&[
        (statistics.permanently_failed, "permanently failed"),
        (of(Category::Auth), "with refused credentials"),
        (of(Category::AccountRestricted), "with a restricted account"),
    ]);
    if !for_a_person.is_empty() {
        text.push_str(&format!("manual action needed: {for_a_person}\n"));
    }
    text
}

fn percent(posted: u64, attempts: u64) -> Cell {
    rate(posted, attempts).map(|rate| format!("{:.0} %", rate * 100.0)).unwrap_or_default().into()
}

fn number(count: u64) -> Cell {
    count.to_string().into()
}

fn platforms(statistics: &Statistics) -> Table {
    let mut table = Table::new(&[
        Column::whole("platform"),
        Column::number("failed"),
        Column::number("permanent"),
        Column::number("due"),
        Column::number("attempts"),
        Column::number("posted"),
        Column::number("rate").dispensable(),
    ]);
    for entry in &statistics.by_platform {
        table.row([
            entry.platform.as_str().into(),
            number(entry.failed),
            number(entry.permanently_failed),
            number(entry.due),
            number(entry.attempts),
            number(entry.posted),
            percent(entry.posted, entry.attempts),
        ]);
    }
    table
}

fn retries(statistics: &Statistics) -> Table {
    let mut table = Table::new(&[Column::number("retry count"), Column::number("posts")]);
    for (count, posts) in &statistics.retry_distribution {
        table.row([count.to_string().into(), number(*posts)]);
    }
    table
}

/// The columns of a table of success rates.
fn success_of(kind: Column) -> [Column; 4] {
    [kind, Column::number("attempts"), Column::number("posted"), Column::number("rate")]
}

fn attempts(statistics: &Statistics) -> Table {
    let mut table = Table::new(&success_of(Column::number("attempt no.")));
    for entry in &statistics.by_attempt {
        let rate = percent(entry.posted, entry.attempts);
        table.row([entry.attempt.to_string().into(), number(entry.attempts), number(entry.posted), rate]);
    }
    table
}

fn causes(statistics: &Statistics) -> Table {
    let mut table = Table::new(&success_of(Column::whole("previous failure")));
    for cause in &statistics.by_cause {
        let after = cause.after.map_or("not classified", Category::as_str);
        table.row([after.into(), number(cause.attempts), number(cause.posted), percent(cause.posted, cause.attempts)]);
    }
    table
}

fn categories(statistics: &Statistics) -> Table {
    let mut table = Table::new(&[Column::whole("category"), Column::number("posts")]);
    for (category, posts) in &statistics.by_category {
        table.row([category.as_str().into(), number(*posts)]);
    }
    table
}

fn tokens(statistics: &Statistics, now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[Column::whole("platform"), Column::whole("token expires")]);
    for (platform, at) in &statistics.tokens {
        let ends = match at {
            None => "unknown".into(),
            Some(at) if *at - now <= TimeDelta::zero() => Cell::painted(relative(*at, now), Paint::Bad),
            Some(at) if expires_soon(*at, now) => Cell::painted(relative(*at, now), Paint::Warning),
            Some(at) => relative(*at, now).into(),
        };
        table.row([platform.as_str().into(), ends]);
    }
    table
}

fn runs(statistics: &Statistics, now: DateTime<Utc>, screen: Screen) -> String {
    let runs = &statistics.runs;
    let mut text = format!(
        "{}: {} posted, {} failed",
        plural(runs.run_count, "recorded run", "recorded runs"),
        runs.success_count,
        runs.error_count
    );
    if let (Some(last), Some(millis)) = (runs.last_run, runs.last_duration_ms) {
        let outcome = runs.last_outcome.as_deref().unwrap_or("unknown");
        let last = relative(last, now);
        let last = format!("the last run started {last}, took {millis} ms and ended with `{outcome}`");
        text.push_str(&format!("\n{}", wrapped(&last, screen.width, 2)));
    }
    text.push('\n');
    text
}
