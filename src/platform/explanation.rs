//! The text of a platform's failure: one shape for all platforms, with the cause first.

use crate::post::{
    Category, Failure, MAX_CODE_CHARS, MAX_WORDS_CHARS, Platform, Retryable, excerpt, one_line, plain_cause,
};

/// The cause of an outage.
pub(super) const UNAVAILABLE: &str = "temporarily unavailable";

/// The cause of a refusal of too many requests.
pub(super) const RATE_LIMITED: &str = "the rate limit is reached";

/// The cause of a refusal whose code is in no table.
pub(super) const UNKNOWN_REASON: &str = "refused for a reason that postretry does not know";

/// The cause where a response has the platform's form, and not what its documentation promises.
pub(super) const UNEXPECTED: &str = "an unexpected response";

/// What is known of a failure besides its cause: what the platform was asked to do, and how it put its refusal.
#[derive(Debug, Clone)]
pub(super) struct Explanation<'a> {
    platform: Platform,
    step: &'a str,
    code: Option<String>,
    status: Option<u16>,
    words: Option<String>,
    support_id: Option<String>,
}

impl<'a> Explanation<'a> {
    /// Of a step that the platform was asked to take, such as "accept the video".
    pub(super) fn new(platform: Platform, step: &'a str) -> Self {
        Self { platform, step, code: None, status: None, words: None, support_id: None }
    }

    /// The platform's code; an empty one is none.
    pub(super) fn code(self, code: &str) -> Self {
        Self { code: quoted(code, MAX_CODE_CHARS).map(|code| format!("`{code}`")), ..self }
    }

    /// A code of numbers, such as "code 190/463".
    pub(super) fn numbers(self, code: Option<String>) -> Self {
        Self { code, ..self }
    }

    /// The HTTP status. That of a success is told beside a code only if the code is not known, since it says nothing of
    /// a failure that is.
    pub(super) fn status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// The platform's own words; an empty text is none.
    pub(super) fn words(self, words: &str) -> Self {
        Self { words: quoted(words, MAX_WORDS_CHARS).map(|words| format!("“{words}”")), ..self }
    }

    /// The id that the platform's support asks for, and what it is called there; an empty one is none.
    pub(super) fn support_id(self, name: &str, id: &str) -> Self {
        Self { support_id: quoted(id, MAX_CODE_CHARS).map(|id| format!("{name} {id}")), ..self }
    }

    /// The failure with this cause: in plain words and, where it helps, followed by what to do. How the platform put it
    /// follows in brackets: its code, the HTTP status, its own words, what it was asked to do, and the id that its
    /// support asks for, as far as they are known.
    ///
    /// ```text
    /// TikTok: the caption is considered risky; change it (`spam_risk_text`, HTTP 403, “risky”, when asked to accept
    /// the video, log_id 2026112300)
    ///
    /// Instagram: the caption is too long; shorten it (code 36004/2207010, HTTP 400, “La légende est trop longue.”,
    /// when asked to publish the post, fbtrace_id AbC)
    ///
    /// YouTube: the project's daily quota is used up (`quotaExceeded`, HTTP 403, “Quota exceeded.”, when asked to open
    /// an upload session)
    /// ```
    pub(super) fn failure(&self, category: Category, cause: &str) -> Failure {
        let is_told =
            |status: &u16| self.code.is_none() || category == Category::Unknown || !(200..300).contains(status);
        let status = self.status.filter(is_told);
        let details = [
            self.code.clone(),
            status.map(|status| format!("HTTP {status}")),
            self.words.clone(),
            Some(format!("when asked to {}", self.step)),
            self.support_id.clone(),
        ];
        let details: Vec<String> = details.into_iter().flatten().collect();
        let text = labelled(self.platform, &format!("{cause} ({})", details.join(", ")));
        Failure { advice: Some(one_line(cause, usize::MAX)), ..Failure::new(category, text) }
    }

    /// The failure that a row of a platform's table stands for.
    pub(super) fn by_rule(&self, category: Category, retryable: Retryable, cause: &str) -> Failure {
        let failure = self.failure(category, cause);
        if retryable == Retryable::No { failure.not_retryable() } else { failure }
    }

    /// The failure of a refusal in the platform's own form with a code that is in no table: the HTTP status decides.
    /// `refused` is the cause where that says that the token was refused.
    pub(super) fn by_status(&self, status: u16, refused: &str) -> Failure {
        match status {
            401 => self.by_rule(Category::Auth, Retryable::No, refused),
            429 => self.failure(Category::RateLimited, RATE_LIMITED),
            500..=599 => self.failure(Category::PlatformOutage, UNAVAILABLE),
            _ => self.failure(Category::Unknown, UNKNOWN_REASON),
        }
    }
}

/// A foreign text as a part of a message; none if it is empty.
fn quoted(text: &str, limit: usize) -> Option<String> {
    Some(excerpt(text, limit)).filter(|text| !text.is_empty())
}

/// The machine's text for a cause in plain words, as it begins a sentence of ours.
pub(super) fn plain(cause: &str) -> String {
    match cause {
        "connection closed before message completed" => "the connection was closed before the response".to_owned(),
        _ => plain_cause(cause),
    }
}

/// A text about a failure, with the platform's name as its label.
pub(super) fn labelled(platform: Platform, text: &str) -> String {
    format!("{}: {text}", platform.title())
}

/// The failure of a response that is not in the platform's own form, such as the page of a gateway. It says nothing of
/// the post or of its ticket, so only the class of the HTTP status counts, and a retry is always possible. Words and an
/// id for the platform's support are told where the response has them.
pub(super) fn foreign(explanation: Explanation<'_>, status: u16) -> Failure {
    // An id for the support shows that the platform has answered.
    let is_own = explanation.support_id.is_some();
    let (category, cause) = match status {
        401 if is_own => (Category::Auth, "the credentials were refused; check them"),
        401 => {
            (Category::Auth, "the credentials were refused; check them, and whether a proxy or gateway has answered")
        }
        429 => (Category::RateLimited, RATE_LIMITED),
        500..=599 => (Category::PlatformOutage, UNAVAILABLE),
        _ if is_own => (Category::Unknown, UNKNOWN_REASON),
        _ => (Category::Unknown, "the response is not the platform's own; a proxy or gateway may have answered"),
    };
    explanation.status(status).failure(category, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_stands_first_and_what_the_platform_said_in_brackets() {
        let tiktok = Explanation::new(Platform::TikTok, "accept the video");
        let instagram = Explanation::new(Platform::Instagram, "publish the post");
        let youtube = Explanation::new(Platform::YouTubeShorts, "open an upload session");
        for (explanation, cause, message) in [
            (
                tiktok.clone().code("spam_risk_text").status(403).words("risky").support_id("log_id", "2026112300"),
                "the caption is considered risky; change it",
                "TikTok: the caption is considered risky; change it (`spam_risk_text`, HTTP 403, “risky”, when asked \
                 to accept the video, log_id 2026112300)",
            ),
            (
                instagram
                    .numbers(Some("code 36004/2207010".to_owned()))
                    .status(400)
                    .words("La légende est trop longue.")
                    .support_id("fbtrace_id", "AbC"),
                "the caption is too long; shorten it",
                "Instagram: the caption is too long; shorten it (code 36004/2207010, HTTP 400, “La légende est trop \
                 longue.”, when asked to publish the post, fbtrace_id AbC)",
            ),
            (
                youtube.code("quotaExceeded").status(403).words("Quota exceeded."),
                "the project's daily quota is used up",
                "YouTube: the project's daily quota is used up (`quotaExceeded`, HTTP 403, “Quota exceeded.”, when \
                 asked to open an upload session)",
            ),
            // What is not known is left out, and so is the status of a success beside a code.
            (
                tiktok.clone().code("").words(" ").support_id("log_id", ""),
                "no response within 60s",
                "TikTok: no response within 60s (when asked to accept the video)",
            ),
            (
                tiktok.clone().code("internal").status(200),
                "an internal error",
                "TikTok: an internal error (`internal`, when asked to accept the video)",
            ),
            (
                tiktok.status(200),
                "an unexpected response",
                "TikTok: an unexpected response (HTTP 200, when asked to accept the video)",
            ),
        ] {
            let failure = explanation.failure(Category::PlatformOutage, cause);
            assert_eq!((failure.message.as_str(), failure.advice.as_deref()), (message, Some(cause)));
        }
    }

    #[test]
    fn the_status_of_a_success_is_told_beside_a_code_that_is_not_known() {
        let explanation = Explanation::new(Platform::TikTok, "accept the video").code("teapot").status(200);
        assert_eq!(
            explanation.failure(Category::Unknown, UNKNOWN_REASON).message,
            "TikTok: refused for a reason that postretry does not know (`teapot`, HTTP 200, when asked to accept the \
             video)"
        );
    }

    #[test]
    fn the_cause_and_what_was_asked_are_told_however_much_a_platform_says() {
        let long = "x y\u{1b}\n".repeat(100_000);
        let explanation = Explanation::new(Platform::TikTok, "accept the video").code(&long).status(400).words(&long);
        let message = explanation.support_id("log_id", &long).failure(Category::Unknown, "the cause").message;
        assert!(message.starts_with("TikTok: the cause (`x y\\u{1b} "), "{message}");
        assert!(message.contains("…”, when asked to accept the video, log_id x y"), "{message}");
        assert!(message.chars().count() < 800, "{message}");
    }

    #[test]
    fn the_machines_cause_reads_like_the_beginning_of_a_sentence() {
        for (cause, expected) in [
            ("Connection refused (os error 111)", "connection refused"),
            ("connection reset by peer", "connection reset by peer"),
            ("connection closed before message completed", "the connection was closed before the response"),
        ] {
            assert_eq!(plain(cause), expected);
        }
    }

    #[test]
    fn a_response_in_no_form_of_the_platforms_is_judged_by_the_class_of_its_status() {
        for platform in Platform::ALL {
            for (status, category, cause) in [
                (200, Category::Unknown, "the response is not the platform's own"),
                (401, Category::Auth, "the credentials were refused"),
                (403, Category::Unknown, "the response is not the platform's own"),
                (429, Category::RateLimited, "the rate limit is reached (HTTP 429, "),
                (503, Category::PlatformOutage, "temporarily unavailable (HTTP 503, "),
            ] {
                let failure = foreign(Explanation::new(platform, "publish the post"), status);
                assert_eq!((failure.category, failure.retryable), (category, Retryable::Yes), "{status}");
                let begin = format!("{}: {cause}", platform.title());
                let end = format!("(HTTP {status}, when asked to publish the post)");
                assert!(failure.message.starts_with(&begin) && failure.message.ends_with(&end), "{}", failure.message);
            }
        }
    }
}
