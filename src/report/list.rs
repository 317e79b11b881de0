//! Failed posts for people: the list, and one of them in full.

use chrono::{DateTime, Utc};

use super::explain::{PassRules, explain_to_person};
use super::json::PostJson;
use super::table::{Cell, Column, Table};
use super::text::{MAX_TEXT_CHARS, platform_name, title, wrapped};
use super::wording::{outcome_words, waiting_lines};
use super::{Paint, Screen, plural, relative};
use crate::post::{Category, Eligibility, HistoryEntry, Platform, RetryPolicy, one_line, shown_id};
use crate::store::{GivenUpRecord, ListFilter, Page, StoredPost};

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
    /// The platforms that the latest runs skipped, and why.
    pub given_up: &'a [(Platform, GivenUpRecord)],
}

/// The list of failed posts.
pub fn list_text(part: &ListPart<'_>, policy: &RetryPolicy, now: DateTime<Utc>, screen: Screen) -> String {
    let shown = part.posts.len() as u64;
    let all = plural(part.total, "failed post", "failed posts");
    let platforms = &part.filter.platforms;
    let is_listed = |platform: &Platform| platforms.is_empty() || platforms.contains(platform);
    let given_up = part.given_up.iter().filter(|(platform, _)| is_listed(platform));
    let mut text = waiting_lines(given_up, now, screen);
    if shown == 0 {
        text.push_str(&match part.total {
            0 if part.filter.is_everything() => "no failed posts\n".to_owned(),
            0 => "no failed posts match the filters\n".to_owned(),
            _ => format!("0 of {all}\n"),
        });
        return text;
    }
    let mut table = Table::new(&[
        Column::whole("id"),
        Column::whole("platform"),
        Column::whole("category"),
        Column::flexible("title", 10),
        Column::whole("failed").movable(),
        Column::number("retry"),
        Column::whole("next"),
        Column::sentences("error"),
    ]);
    for stored in part.posts {
        let post = PostJson::new(stored, policy, now);
        let (next, paint) = next_retry(stored, policy, now);
        table.row([
            shown_id(&post.id).into(),
            platform_name(post.platform.as_deref()).into(),
            post.category.unwrap_or_default().into(),
            title(post.title.as_deref()).into(),
            stored.failed_at().map(|at| relative(at, now)).unwrap_or_default().into(),
            format!("{}/{}", post.retry_count, post.max_retries).into(),
            Cell::painted(next, paint),
            post.error.unwrap_or_default().into(),
        ]);
    }
    text.push_str(&table.text(screen));
    if shown < part.total {
        let skip = part.page.skip;
        text.push_str(&format!("{} to {} of {all}\n", skip + 1, skip + shown));
    }
    text
}

/// When a post is retried next, and the colour of that.
fn next_retry(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>) -> (String, Paint) {
    let Some(post) = stored.readable() else { return ("malformed".to_owned(), Paint::Bad) };
    match policy.eligibility(post, now) {
        Eligibility::Due(_) => ("due".to_owned(), Paint::Plain),
        Eligibility::Claimed { .. } => ("running".to_owned(), Paint::Plain),
        Eligibility::PermanentlyFailed | Eligibility::Exhausted => ("never".to_owned(), Paint::Bad),
        Eligibility::Waiting { until, .. } => {
            (until.map_or_else(|| "never".to_owned(), |until| relative(until, now)), Paint::Plain)
        }
    }
}

/// Columns for the name of a field.
const NAME_WIDTH: usize = 20;

/// One post in full, with its history.
pub fn post_text(
    stored: &StoredPost,
    given_up: &[(Platform, GivenUpRecord)],
    rules: &PassRules,
    now: DateTime<Utc>,
    screen: Screen,
) -> String {
    let policy = &rules.policy;
    let post = PostJson::new(stored, policy, now);
    let history = stored.history();
    let (last_retry, failed_for_good_at) = match stored {
        StoredPost::Readable(post) => (post.retry.last_retried_at, post.retry.permanently_failed_at),
        StoredPost::Malformed(malformed) => (malformed.draft.last_retried_at, malformed.draft.permanently_failed_at),
    };
    // The dates themselves are in the JSON.
    let times = |at: DateTime<Utc>| relative(at, now);
    let failed_for_good = post.permanently_failed.then(|| failed_for_good_at.map_or_else(|| "yes".to_owned(), times));
    let may_be_retried = stored.readable().is_some() && !post.permanently_failed;
    let next = may_be_retried.then(|| next_retry(stored, policy, now).0);
    // A process that died leaves its claim behind.
    let claimed_by = stored
        .claim()
        .map(|claim| if claim.is_live(now) { claim.by.clone() } else { format!("{} (expired)", claim.by) });
    let lines = [
        ("id", Some(post.id)),
        ("title", post.title),
        ("platform", post.platform),
        ("story", post.story),
        ("category", post.category.map(str::to_owned)),
        ("error", post.error),
        ("failed", stored.failed_at().map(times)),
        ("retries", Some(format!("{} of {}", post.retry_count, post.max_retries))),
        ("last retry", last_retry.map(times)),
        ("next retry", next),
        ("permanently failed", failed_for_good),
        ("claimed by", claimed_by),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let value = one_line(&value, MAX_TEXT_CHARS);
            // A terminal breaks an ID that is too long by itself, and then it can still be copied.
            let width = screen.width.filter(|_| name != "id");
            let line = wrapped(&format!("{name:<NAME_WIDTH$}{value}"), width, NAME_WIDTH);
            let (name, value) = line.split_at(NAME_WIDTH);
            text.push_str(&format!("{}{value}\n", Paint::Heading.on(name, screen.has_color)));
        }
    }
    let explanation = one_line(&explain_to_person(stored, rules, now), MAX_TEXT_CHARS);
    text.push_str(&format!("\n{}\n", wrapped(&explanation, screen.width, 0)));
    if may_be_retried {
        let is_its = |platform: &Platform| Some(*platform) == stored.platform();
        text.push_str(&waiting_lines(given_up.iter().filter(|(platform, _)| is_its(platform)), now, screen));
    }
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
        Column::whole("category"),
        Column::whole("host").movable(),
        Column::sentences("detail"),
    ]);
    for entry in history {
        let interruptions = match entry.interruptions {
            0 => None,
            count => Some(plural(u64::from(count), "interruption", "interruptions")),
        };
        let reset = entry.reset.as_ref().map(|reset| format!("reset by {} {}", reset.by, relative(reset.at, now)));
        let settled = entry.settled_by.as_ref().map(|by| format!("recorded as posted by {by}"));
        let details = [entry.error.clone(), interruptions, settled, reset];
        let (outcome, paint) = outcome_words(entry.outcome.as_str());
        // What a person has recorded is no attempt.
        let attempt = if entry.settled_by.is_some() { String::new() } else { entry.attempt.to_string() };
        table.row([
            attempt.into(),
            entry.started_at.map(|at| relative(at, now)).unwrap_or_default().into(),
            Cell::painted(outcome, paint),
            entry.category.map_or("", Category::as_str).into(),
            entry.host.clone().into(),
            details.into_iter().flatten().collect::<Vec<_>>().join(" · ").into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::post::{Claim, EntryOutcome, PostDraft, PostId};

    const ADDRESS: &str = "https://www.tiktok.com/@a_creator_with_a_long_name/video/7512345678901234567";

    fn now() -> DateTime<Utc> {
        "2026-11-24T10:00:00Z".parse().unwrap()
    }

    fn draft(number: u8, platform: &str) -> PostDraft {
        PostDraft {
            platform: Some(platform.to_owned()),
            failed_at: Some(now() - TimeDelta::minutes(109)),
            ..PostDraft::new(PostId::from_text(format!("65f0a1b2c3d4e5f6a7b8c9d{number}")))
        }
    }

    fn posts() -> Vec<StoredPost> {
        let mut restricted = draft(0, "youtube_shorts");
        restricted.retry_count = 1.0;
        restricted.category = Some("account_restricted".to_owned());
        restricted.error = Some("YouTube has restricted the account: `youtubeSignupRequired`, HTTP 403".to_owned());
        restricted.content.title = Some("日本語の長いタイトルは表の中でも揃う".to_owned());
        let mut ambiguous = draft(1, "tiktok");
        ambiguous.category = Some("ambiguous".to_owned());
        ambiguous.permanently_failed = true;
        ambiguous.permanently_failed_at = Some(now() - TimeDelta::days(3));
        ambiguous.error = Some(format!("it may be public already: {ADDRESS}"));
        ambiguous.history = vec![HistoryEntry {
            attempt: 1,
            started_at: Some(now() - TimeDelta::hours(25)),
            finished_at: Some(now()),
            outcome: EntryOutcome::Failed,
            category: Some(Category::Ambiguous),
            error: ambiguous.error.clone(),
            host: "web1".to_owned(),
            interruptions: 1,
            reset: None,
            settled_by: None,
        }];
        let mut malformed = draft(2, "instagram");
        malformed.content.title = Some("Malformed".to_owned());
        vec![
            restricted.check().into(),
            ambiguous.check().into(),
            StoredPost::Malformed(malformed.malformed("retryCount", "it is a string, not a number")),
        ]
    }

    fn given_up() -> [(Platform, GivenUpRecord); 1] {
        let reason = "TikTok refused the refresh token; renew TIKTOK_REFRESH_TOKEN".to_owned();
        let since = now() - TimeDelta::hours(3);
        [(Platform::TikTok, GivenUpRecord { category: Category::Auth, reason, waiting: 41, since })]
    }

    fn list(filter: &ListFilter, width: Option<usize>) -> String {
        let (posts, given_up) = (posts(), given_up());
        let page = Page { skip: 0, limit: 50 };
        let part = ListPart { posts: &posts, page, total: 3, filter, given_up: &given_up };
        list_text(&part, &RetryPolicy::default(), now(), Screen { width, has_color: false })
    }

    #[test]
    fn what_matters_is_told_at_every_width() {
        let filter = ListFilter::default();
        for width in [Some(60), Some(80), Some(100), Some(140), None] {
            let text = list(&filter, width);
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for wanted in [
                "account_restricted",
                "in 11 min",
                "never",
                "malformed",
                "1 h 49 min ago",
                ADDRESS,
                "41 posts have been waiting for new TikTok credentials for 3 h",
                "日本語の",
            ] {
                assert!(flat.contains(wanted), "{wanted}, {width:?}:\n{text}");
            }
            let longest = text.lines().filter(|line| !line.contains(ADDRESS)).map(UnicodeWidthStr::width).max();
            assert!(width.is_none() || longest <= width, "{text}");
        }
    }

    #[test]
    fn a_wide_terminal_has_the_whole_error_as_a_narrow_one_has() {
        for width in 60..200 {
            let text = list(&ListFilter::default(), Some(width));
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for error in [
                "YouTube has restricted the account: `youtubeSignupRequired`, HTTP 403",
                "malformed field `retryCount`: it is a string, not a number",
            ] {
                assert!(flat.contains(error), "{width}:\n{text}");
            }
        }
    }

    #[test]
    fn a_list_without_posts_tells_what_waits_for_a_person_too() {
        let (filter, given_up) = (ListFilter::default(), given_up());
        let page = Page { skip: 0, limit: 50 };
        let part = ListPart { posts: &[], page, total: 0, filter: &filter, given_up: &given_up };
        let text = list_text(&part, &RetryPolicy::default(), now(), Screen::default());
        assert!(text.starts_with("41 posts have been waiting for new TikTok credentials for 3 h"), "{text}");
        assert!(text.ends_with("\nno failed posts\n"), "{text}");
    }

    #[test]
    fn a_list_of_one_platform_tells_of_that_one_only() {
        let filter = ListFilter { platforms: vec![Platform::Instagram], ..ListFilter::default() };
        assert!(!list(&filter, None).contains("new TikTok credentials"));
    }

    #[test]
    fn a_post_in_full_tells_times_from_now() {
        let text = |post: &StoredPost, width| {
            let screen = Screen { width: Some(width), has_color: false };
            let text = post_text(post, &given_up(), &PassRules::expiring(None), now(), screen);
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let told = text(&posts()[1], 60);
        assert!(told.contains("permanently failed 3 d ago") && !told.contains("2026-11"), "{told}");
        assert!(told.contains("Look at the account first") && told.contains("1 d 1 h ago"), "{told}");
        assert!(!told.contains("new TikTok credentials"), "it does not wait: {told}");
        let told = text(&posts()[0], 80);
        assert!(told.contains("is due in 11 min"), "{told}");
    }

    #[test]
    fn a_long_id_of_a_post_in_full_can_be_copied() {
        let id = "f00d".repeat(20);
        let post = PostDraft { platform: Some("tiktok".to_owned()), ..PostDraft::new(PostId::from_text(id.clone())) };
        let screen = Screen { width: Some(60), has_color: false };
        let text = post_text(&post.check().into(), &[], &PassRules::expiring(None), now(), screen);
        assert!(text.lines().any(|line| line == format!("{:<NAME_WIDTH$}{id}", "id")), "{text}");
    }

    #[test]
    fn what_a_person_has_recorded_is_no_attempt_in_the_history() {
        let entry = |outcome, settled_by: Option<&str>| HistoryEntry {
            attempt: 7,
            started_at: None,
            finished_at: Some(now()),
            outcome,
            category: None,
            error: None,
            host: "web1".to_owned(),
            interruptions: 0,
            reset: None,
            settled_by: settled_by.map(str::to_owned),
        };
        let history = [entry(EntryOutcome::Failed, None), entry(EntryOutcome::Posted, Some("anna"))];
        let text = history_table(&history, now()).text(Screen::default());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("DETAIL") && !lines[0].contains("ERROR"), "{text}");
        assert!(lines[1].contains('7') && lines[1].contains("failed"), "{text}");
        assert!(!lines[2].contains('7') && lines[2].ends_with("recorded as posted by anna"), "{text}");
    }

    #[test]
    fn a_post_in_full_tells_a_running_attempt_from_one_whose_process_died() {
        let text = |minutes| {
            let mut claimed = draft(3, "tiktok");
            claimed.failed_at = Some(now() - TimeDelta::hours(5));
            claimed.retry_count = 1.0;
            claimed.claim = Some(Claim { by: "web1:7:abc".to_owned(), until: now() + TimeDelta::minutes(minutes) });
            let screen = Screen::default();
            let text = post_text(&claimed.check().into(), &[], &PassRules::expiring(None), now(), screen);
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let running = text(30);
        assert!(running.contains("next retry running claimed by web1:7:abc Attempt 1 of 5 is running"), "{running}");
        let died = text(-30);
        assert!(died.contains("next retry due claimed by web1:7:abc (expired) The next pass"), "{died}");
    }
}
