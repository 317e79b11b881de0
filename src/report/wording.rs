//! The words for outcomes and for what waits for a person, and the colour of each, the same in every table.

use chrono::{DateTime, Utc};

use super::text::{MAX_TEXT_CHARS, Times, wrapped};
use super::{Paint, Screen, plural};
use crate::post::{Category, Platform, one_line};
use crate::store::GivenUpRecord;

/// An outcome, by its name in JSON, in words and with its colour.
pub(super) fn outcome_words(name: &str) -> (&str, Paint) {
    match name {
        "posted" | "reset" => (name, Paint::Good),
        "failed" | "deferred" | "interrupted" | "busy" => (name, Paint::Warning),
        "skipped" => (name, Paint::Plain),
        "permanentlyFailed" | "permanent" => ("permanently failed", Paint::Bad),
        "notFound" => ("not found", Paint::Bad),
        "notFailed" => ("not failed", Paint::Bad),
        "notConfigured" => ("not configured", Paint::Bad),
        other => (other, Paint::Bad),
    }
}

/// The text of a failure for a sentence that has named the platform: without the name as its label.
pub(super) fn unlabelled(platform: Platform, text: &str) -> &str {
    text.strip_prefix(platform.title()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text)
}

/// The manual action that a platform needs, since when and for how many posts. None if it needs none.
pub(super) fn waits_for_person(platform: Platform, given_up: &GivenUpRecord, now: DateTime<Utc>) -> Option<String> {
    let GivenUpRecord { category, reason, waiting, since } = given_up;
    if *waiting == 0 {
        return refused_since(platform, given_up, Times::From(now.max(*since)));
    }
    let (name, since) = (platform.title(), Times::From(now).since((*since).min(now)));
    let reason = unlabelled(platform, reason);
    let posts = plural(*waiting, "post has", "posts have");
    match category {
        Category::Auth => Some(format!("{posts} been waiting for new {name} credentials {since}: {reason}")),
        Category::AccountRestricted => {
            Some(format!("{posts} been waiting {since}, because {name} has restricted the account: {reason}"))
        }
        _ => None,
    }
}

/// Why a platform needs manual action and since when, without the posts. None if it needs none.
pub(super) fn refused_since(platform: Platform, given_up: &GivenUpRecord, times: Times) -> Option<String> {
    let (name, since) = (platform.title(), times.since(given_up.since));
    let reason = unlabelled(platform, &given_up.reason);
    match given_up.category {
        Category::Auth => Some(format!("{name} has refused the credentials {since}: {reason}")),
        Category::AccountRestricted => Some(format!("{name} has restricted the account {since}: {reason}")),
        _ => None,
    }
}

/// The same of several platforms: a line, or more on a narrow screen, for each.
pub(super) fn waiting_lines<'a>(
    given_up: impl IntoIterator<Item = &'a (Platform, GivenUpRecord)>,
    now: DateTime<Utc>,
    screen: Screen,
) -> String {
    let told = |(platform, given_up): &(Platform, GivenUpRecord)| {
        let text = one_line(&waits_for_person(*platform, given_up, now)?, MAX_TEXT_CHARS);
        Some(format!("{}\n", Paint::Bad.on(&wrapped(&text, screen.width, 2), screen.has_color)))
    };
    given_up.into_iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn what_waits_for_a_person_is_told_with_its_posts_and_its_age() {
        let now: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        let told = |category, waiting| {
            let reason = "TikTok: it refused".to_owned();
            let since = now - TimeDelta::hours(3);
            waits_for_person(Platform::TikTok, &GivenUpRecord { category, reason, waiting, since }, now)
        };
        for (category, waiting, text) in [
            (Category::Auth, 41, "41 posts have been waiting for new TikTok credentials for 3 h: it refused"),
            (Category::Auth, 0, "TikTok has refused the credentials for 3 h: it refused"),
            (
                Category::AccountRestricted,
                1,
                "1 post has been waiting for 3 h, because TikTok has restricted the account: it refused",
            ),
            (Category::AccountRestricted, 0, "TikTok has restricted the account for 3 h: it refused"),
        ] {
            assert_eq!(told(category, waiting).as_deref(), Some(text));
        }
        assert_eq!(told(Category::QuotaExhausted, 3), None);
    }

    #[test]
    fn outcomes_are_told_in_words() {
        assert_eq!(outcome_words("permanentlyFailed"), ("permanently failed", Paint::Bad));
        assert_eq!(outcome_words("notFound").0, "not found");
        assert_eq!(outcome_words("deferred"), ("deferred", Paint::Warning));
    }
}
