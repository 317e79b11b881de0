//! The statistics for people.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use super::json::rate;
use super::picture::{bar, curve};
use super::table::{Cell, Column, Table};
use super::text::{duration, tally, wrapped};
use super::wording::waiting_lines;
use super::{Paint, Screen, plural, relative};
use crate::post::{Category, expires_soon, one_line};
use crate::store::{DayStatistics, Statistics};

/// How many days the statistics by day have.
const DAYS: u64 = 14;

/// The statistics.
pub fn stats_text(statistics: &Statistics, now: DateTime<Utc>, screen: Screen) -> String {
    let mut text = headline(statistics, screen);
    text.push_str(&waiting_lines(&statistics.given_up, now, screen));
    let tables = [
        platforms(statistics, screen),
        retries(statistics, screen),
        categories(statistics, screen),
        successes(statistics, screen),
        attempts(statistics, screen),
        causes(statistics, screen),
        tokens(statistics, now),
    ];
    for table in tables.iter().filter(|table| !table.is_empty()) {
        text.push('\n');
        text.push_str(&table.text(screen));
    }
    text.push_str(&days(&statistics.runs.days, now, screen));
    text.push('\n');
    text.push_str(&runs(statistics, now, screen));
    text
}

/// What stands for a category where there is none.
const NOT_CLASSIFIED: &str = "not classified";

fn headline(statistics: &Statistics, screen: Screen) -> String {
    let Statistics { total_failed, permanently_failed, due, malformed, ambiguous, .. } = statistics;
    let retryable = statistics.retryable();
    let mut line = format!(
        "{}: {permanently_failed} permanently failed, {retryable} retryable",
        plural(*total_failed, "failed post", "failed posts")
    );
    if *malformed > 0 {
        line.push_str(&format!(", {malformed} malformed"));
    }
    line.push_str(&format!("; {due} due"));
    let mut text = format!("{}\n", wrapped(&line, screen.width, 2));
    // Where the platform has a line of its own below, that line has the number.
    let of = |wanted: Category| {
        let told = statistics.given_up.iter().filter(|(_, given_up)| given_up.category == wanted);
        let told = told.map(|(_, given_up)| given_up.waiting).fold(0, u64::saturating_add);
        let count =
            statistics.by_category.iter().find(|(category, _)| *category == wanted).map_or(0, |(_, count)| *count);
        count.saturating_sub(told)
    };
    let permanent = match ambiguous {
        0 => "permanently failed".to_owned(),
        1 => "permanently failed (1 of them may be public already)".to_owned(),
        count => format!("permanently failed ({count} of them may be public already)"),
    };
    let for_a_person = tally(&[
        (*permanently_failed, &permanent),
        (*malformed, "malformed"),
        (of(Category::Auth), "with refused credentials"),
        (of(Category::AccountRestricted), "with a restricted account"),
    ]);
    if !for_a_person.is_empty() {
        let line = format!("manual action needed: {for_a_person}");
        text.push_str(&format!("{}\n", Paint::Bad.on(&wrapped(&line, screen.width, 2), screen.has_color)));
    }
    text
}

/// A bar as long as `count` is of the largest count, or nothing where bars are not drawn.
fn count_bar(count: u64, counts: impl Iterator<Item = u64>, screen: Screen) -> Cell {
    if screen.has_pictures() { bar(count, counts.max().unwrap_or(0)).into() } else { "".into() }
}

/// A bar as long as `posted` is of the attempts, or nothing where bars are not drawn.
fn rate_bar(posted: u64, attempts: u64, screen: Screen) -> Cell {
    if screen.has_pictures() { Cell::painted(bar(posted, attempts), Paint::Good) } else { "".into() }
}

fn percent(posted: u64, attempts: u64) -> Cell {
    rate(posted, attempts).map(|rate| format!("{:.0} %", rate * 100.0)).unwrap_or_default().into()
}

fn number(count: u64) -> Cell {
    count.to_string().into()
}

/// The failed posts, by platform. Those that cannot be counted for one have a row of their own, so that it adds up.
fn platforms(statistics: &Statistics, screen: Screen) -> Table {
    let mut table = Table::new(&[
        Column::whole("platform"),
        Column::number("failed"),
        Column::number("permanent"),
        Column::number("due"),
        Column::picture(),
    ]);
    let counts = || statistics.by_platform.iter().map(|entry| entry.failed).chain([statistics.malformed]);
    for entry in &statistics.by_platform {
        table.row([
            entry.platform.as_str().into(),
            number(entry.failed),
            number(entry.permanently_failed),
            number(entry.due),
            count_bar(entry.failed, counts(), screen),
        ]);
    }
    if statistics.malformed > 0 {
        let bar = count_bar(statistics.malformed, counts(), screen);
        table.row(["malformed".into(), number(statistics.malformed), "".into(), "".into(), bar]);
    }
    table
}

/// A table of counts and bars.
fn counted(kind: Column, counts: &[(String, u64)], screen: Screen) -> Table {
    let mut table = Table::new(&[kind, Column::number("posts"), Column::picture()]);
    for (name, count) in counts {
        let bar = count_bar(*count, counts.iter().map(|(_, count)| *count), screen);
        table.row([name.clone().into(), number(*count), bar]);
    }
    table
}

fn retries(statistics: &Statistics, screen: Screen) -> Table {
    let counts: Vec<_> =
        statistics.retry_distribution.iter().map(|(retries, posts)| (retries.to_string(), *posts)).collect();
    counted(Column::number("retry count"), &counts, screen)
}

fn categories(statistics: &Statistics, screen: Screen) -> Table {
    let mut counts: Vec<_> =
        statistics.by_category.iter().map(|(category, posts)| (category.to_string(), *posts)).collect();
    // So that it adds up: most have not been tried yet.
    let classified = counts.iter().map(|(_, posts)| *posts).fold(0, u64::saturating_add);
    let others = statistics.total_failed.saturating_sub(statistics.malformed).saturating_sub(classified);
    if others > 0 {
        counts.push((NOT_CLASSIFIED.to_owned(), others));
    }
    counted(Column::whole("category"), &counts, screen)
}

/// A table of attempts, how many of them published a post, and bars.
fn rated(kind: Column, counts: impl IntoIterator<Item = (String, u64, u64)>, screen: Screen) -> Table {
    let columns =
        [kind, Column::number("attempts"), Column::number("posted"), Column::number("rate"), Column::picture()];
    let mut table = Table::new(&columns);
    for (name, attempts, posted) in counts {
        let bar = rate_bar(posted, attempts, screen);
        table.row([name.into(), number(attempts), number(posted), percent(posted, attempts), bar]);
    }
    table
}

fn successes(statistics: &Statistics, screen: Screen) -> Table {
    let tried = statistics.by_platform.iter().filter(|entry| entry.attempts > 0);
    let counts = tried.map(|entry| (entry.platform.to_string(), entry.attempts, entry.posted));
    rated(Column::whole("platform"), counts, screen)
}

fn attempts(statistics: &Statistics, screen: Screen) -> Table {
    let counts = statistics.by_attempt.iter().map(|entry| (entry.attempt.to_string(), entry.attempts, entry.posted));
    rated(Column::number("attempt no."), counts, screen)
}

fn causes(statistics: &Statistics, screen: Screen) -> Table {
    let name = |after: Option<Category>| after.map_or(NOT_CLASSIFIED, Category::as_str).to_owned();
    let counts = statistics.by_cause.iter().map(|cause| (name(cause.after), cause.attempts, cause.posted));
    rated(Column::whole("previous failure"), counts, screen)
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

/// What the runs of the last days did: two curves, or a table of the days on which they did something.
fn days(days: &[DayStatistics], now: DateTime<Utc>, screen: Screen) -> String {
    let today = now.date_naive();
    let first = today.checked_sub_days(Days::new(DAYS - 1)).unwrap_or(today);
    let shown: Vec<&DayStatistics> = days.iter().filter(|entry| (first..=today).contains(&entry.day)).collect();
    if shown.is_empty() {
        return String::new();
    }
    if !screen.has_pictures() {
        let mut table = Table::new(&[Column::whole("day (UTC)"), Column::number("posted"), Column::number("failed")]);
        for entry in shown {
            table.row([entry.day.to_string().into(), number(entry.posted), number(entry.failed)]);
        }
        return format!("\n{}", table.text(screen));
    }
    let count_on = |day: NaiveDate, count: fn(&DayStatistics) -> u64| {
        shown.iter().filter(|entry| entry.day == day).map(|entry| count(entry)).fold(0, u64::saturating_add)
    };
    let most = shown.iter().map(|entry| entry.posted.max(entry.failed)).max().unwrap_or(0);
    let line = |name: &str, paint: Paint, count: fn(&DayStatistics) -> u64| {
        let counts: Vec<u64> =
            first.iter_days().take_while(|day| *day <= today).map(|day| count_on(day, count)).collect();
        let curve = paint.on(&curve(&counts, most), screen.has_color);
        format!(
            "{name:<8}{curve}  {} in all, at most {} a day\n",
            counts.iter().copied().fold(0, u64::saturating_add),
            counts.iter().max().unwrap_or(&0)
        )
    };
    let (from, to) = (first.format("%-d %b"), today.format("%-d %b"));
    let heading = format!("last {DAYS} days, {from} to {to} (UTC)").to_uppercase();
    format!(
        "\n{}\n{}{}",
        Paint::Heading.on(&heading, screen.has_color),
        line("posted", Paint::Good, |entry| entry.posted),
        line("failed", Paint::Warning, |entry| entry.failed)
    )
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
        let end = match runs.last_outcome.as_deref() {
            Some("ok") => "needs no manual action".to_owned(),
            Some("attention") => "needs manual action".to_owned(),
            Some("interrupted") => "was interrupted".to_owned(),
            Some("error") => "ended with an error".to_owned(),
            // The record of a run is only a document.
            other => format!("ended with `{}`", one_line(other.unwrap_or("unknown"), 40)),
        };
        let last = format!("last run: started {}, took {}, {end}", relative(last, now), duration(millis));
        text.push_str(&format!("\n{}", wrapped(&last, screen.width, 2)));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::post::Platform;
    use crate::store::{GivenUpRecord, PlatformStatistics, RunStatistics};

    fn now() -> DateTime<Utc> {
        "2026-11-24T10:00:00Z".parse().unwrap()
    }

    fn statistics() -> Statistics {
        let day = |day: &str, posted, failed| DayStatistics { day: day.parse().unwrap(), posted, failed };
        let given_up = GivenUpRecord {
            category: Category::Auth,
            reason: "TikTok refused the refresh token".to_owned(),
            waiting: 41,
            since: now() - TimeDelta::hours(3),
        };
        let platform = PlatformStatistics {
            platform: Platform::TikTok,
            failed: 44,
            permanently_failed: 3,
            due: 41,
            attempts: 8,
            posted: 6,
        };
        Statistics {
            total_failed: 46,
            permanently_failed: 3,
            due: 41,
            malformed: 2,
            ambiguous: 1,
            retry_distribution: vec![(0, 41), (5, 3)],
            by_platform: vec![platform],
            by_category: vec![(Category::Ambiguous, 1)],
            given_up: vec![(Platform::TikTok, given_up)],
            runs: RunStatistics {
                run_count: 3,
                success_count: 6,
                error_count: 2,
                last_run: Some(now() - TimeDelta::minutes(109)),
                last_duration_ms: Some(61_500),
                last_outcome: Some("attention".to_owned()),
                days: vec![day("2026-11-01", 9, 9), day("2026-11-11", 4, 1), day("2026-11-24", 2, 0)],
            },
            ..Statistics::default()
        }
    }

    #[test]
    fn a_pipe_gets_numbers_that_add_up() {
        let text = stats_text(&statistics(), now(), Screen::default());
        assert_eq!(
            text,
            "46 failed posts: 3 permanently failed, 41 retryable, 2 malformed; 41 due\n\
             manual action needed: 3 permanently failed (1 of them may be public already), 2 malformed\n\
             41 posts have been waiting for new TikTok credentials for 3 h: TikTok refused the refresh token\n\n\
             PLATFORM   FAILED  PERMANENT  DUE\n\
             tiktok         44          3   41\n\
             malformed       2\n\n\
             RETRY COUNT  POSTS\n          0     41\n          5      3\n\n\
             CATEGORY        POSTS\nambiguous           1\nnot classified     43\n\n\
             PLATFORM  ATTEMPTS  POSTED  RATE\ntiktok           8       6  75 %\n\n\
             DAY (UTC)   POSTED  FAILED\n2026-11-11       4       1\n2026-11-24       2       0\n\n\
             3 recorded runs: 6 posted, 2 failed\n\
             last run: started 1 h 49 min ago, took 1 min 1 s, needs manual action\n"
        );
    }

    #[test]
    fn refused_credentials_are_counted_once() {
        let mut statistics = Statistics { by_category: vec![(Category::Auth, 1)], ..statistics() };
        let text = stats_text(&statistics, now(), Screen::default());
        assert!(text.contains("for new TikTok credentials") && !text.contains("refused credentials"), "{text}");
        statistics.given_up.clear();
        let text = stats_text(&statistics, now(), Screen::default());
        assert!(text.contains(", 1 with refused credentials\n"), "{text}");
    }

    #[test]
    fn a_terminal_gets_bars_and_curves_that_fit() {
        for width in [60, 80, 100, 140] {
            let text = stats_text(&statistics(), now(), Screen { width: Some(width), has_color: true });
            assert!(text.contains("██████████") && text.contains("███████▌"), "{text}");
            assert!(text.contains("LAST 14 DAYS, 11 NOV TO 24 NOV (UTC)"), "{text}");
            assert!(text.contains("█············▄") && text.contains("▂·············"), "{text}");
        }
        let plain = stats_text(&statistics(), now(), Screen { width: Some(80), has_color: false });
        assert!(!plain.contains('█'), "{plain}");
    }
}
