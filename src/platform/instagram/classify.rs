//! The Graph API's codes as failures. The codes are those of "Error Codes", "Handling Errors" and "Rate Limits" on
//! <https://developers.facebook.com>, and some that were seen and are not documented. Which category a code has is our
//! decision.
//!
//! The texts are localised, so only the numbers decide. A response without Instagram's own numbers decides nothing: see
//! [`foreign`].

use super::api::SEND_BYTES;
use super::wire::{ErrorEnvelope, GraphError};
use crate::platform::auth::TokenVerdict;
use crate::platform::explanation::{Explanation, RATE_LIMITED, UNAVAILABLE, UNKNOWN_REASON, foreign};
use crate::post::{Category, Failure, Platform, Retryable};

use Category::{
    AccountRestricted, Auth, MediaProcessing, MissingAsset, Network, PlatformOutage, Processing, QuotaExhausted,
    RateLimited, RejectedContent, Unknown,
};
use Retryable::{No, Yes};

/// An error, by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct GraphCode {
    pub(super) code: Option<i64>,
    pub(super) subcode: Option<i64>,
    pub(super) is_transient: bool,
}

const RENEW_TOKEN: &str = "the access token is no longer valid; renew INSTAGRAM_ACCESS_TOKEN";
const NOT_READY: &str = "the upload is not ready yet; the next pass publishes it";
const ASPECT_RATIO: &str = "the image is too narrow or too wide; crop it to between 4:5 and 1.91:1";

/// What a number means for the post, and its cause in plain words, then what a person can do about it.
type Rule = (i64, Category, Retryable, &'static str);

/// Instagram's own subcodes. They tell more than the code beside them.
const SUBCODES: &[Rule] = &[
    (2_207_001, PlatformOutage, Yes, UNAVAILABLE),
    (2_207_003, MissingAsset, Yes, "fetching the media took too long; check that its public address responds quickly"),
    (2_207_004, MediaProcessing, No, "the image is larger than 8 MiB; make it smaller"),
    (2_207_005, MediaProcessing, No, "the image is not a JPEG; convert it"),
    (2_207_006, Network, Yes, "the upload is gone; a new one will be created"),
    (2_207_008, PlatformOutage, Yes, "the upload cannot be found at the moment"),
    (2_207_009, MediaProcessing, No, ASPECT_RATIO),
    (2_207_010, RejectedContent, No, "the caption is too long; shorten it"),
    (2_207_020, Network, Yes, "the upload has expired; a new one will be created"),
    (2_207_023, RejectedContent, No, "the media type is not known"),
    (2_207_026, MediaProcessing, No, "the format is not accepted; encode the video again as H.264 in MP4"),
    (2_207_027, Processing, Yes, NOT_READY),
    (2_207_028, RejectedContent, No, "the number of carousel items is not allowed"),
    (2_207_032, PlatformOutage, Yes, "the upload could not be created"),
    (2_207_035, RejectedContent, No, "a product tag is not allowed"),
    (2_207_036, RejectedContent, No, "a product tag is not allowed"),
    (2_207_037, RejectedContent, No, "a product tag is not allowed"),
    (2_207_040, RejectedContent, No, "a user tag is not allowed"),
    (2_207_042, QuotaExhausted, Yes, "the account has used up its posts for 24 hours"),
    (2_207_050, AccountRestricted, No, "the account is restricted; open the Instagram app and follow its instructions"),
    (2_207_051, AccountRestricted, No, "the action is blocked as spam; do not use the account for a day"),
    (2_207_052, MissingAsset, Yes, "the media could not be fetched; check that its public address responds"),
    (2_207_053, MediaProcessing, Yes, "the upload failed; the next retry sends it again"),
    (2_207_057, RejectedContent, No, "the time of the cover image is outside the video"),
    (2_207_077, MissingAsset, Yes, "the video could not be fetched; check that its public address responds"),
    (2_207_081, RejectedContent, No, "the account cannot publish trial reels"),
    (2_207_082, MediaProcessing, Yes, "the media could not be processed; the next retry sends it again"),
    (2_207_085, MediaProcessing, No, "the video cannot be processed; encode it again as H.264 with AAC sound"),
];

/// The platform's codes.
const CODES: &[Rule] = &[
    (1, PlatformOutage, Yes, UNAVAILABLE),
    (2, PlatformOutage, Yes, UNAVAILABLE),
    (3, Auth, No, "the app does not have this capability; check its permissions"),
    (4, RateLimited, Yes, "the app sends too many requests"),
    (9, QuotaExhausted, Yes, "the account has used up its posts for 24 hours"),
    (10, Auth, No, "a permission is missing; connect the account again"),
    (17, RateLimited, Yes, "the account sends too many requests"),
    (25, AccountRestricted, No, "the account is restricted; open the Instagram app and follow its instructions"),
    (32, RateLimited, Yes, "the page sends too many requests"),
    (100, RejectedContent, No, "the post is not accepted as it is"),
    (102, Auth, No, RENEW_TOKEN),
    (190, Auth, No, RENEW_TOKEN),
    (341, RateLimited, Yes, "the app has reached a temporary limit"),
    (352, MediaProcessing, No, "the format is not accepted; encode the video again as H.264 in MP4"),
    (368, AccountRestricted, No, "the account is temporarily blocked; do not use it for a day"),
    (492, Auth, No, "the user does not have the required role on the page"),
    (613, RateLimited, Yes, "too many requests"),
    (9004, MissingAsset, Yes, "the media could not be fetched; check that its public address responds"),
    (9007, Processing, Yes, NOT_READY),
    (36000, MediaProcessing, No, "the image is larger than 8 MiB; make it smaller"),
    (36001, MediaProcessing, No, "the image is not a JPEG; convert it"),
    (36003, MediaProcessing, No, ASPECT_RATIO),
    (36004, RejectedContent, No, "the caption is too long; shorten it"),
    (80002, RateLimited, Yes, "the account sends too many requests"),
];

/// The subcode of a read of something that does not exist or is not permitted.
const MISSING: i64 = 33;

impl GraphCode {
    /// The numbers of a response's error.
    pub(super) fn of(error: &GraphError) -> Self {
        Self { code: error.code, subcode: error.error_subcode, is_transient: error.is_transient }
    }

    /// The numbers in the `status` text of a container: a sentence or `9/2207042`.
    pub(super) fn in_status(text: &str) -> Self {
        let subcode = text
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse::<i64>().ok())
            .find(|number| (2_207_000..2_207_200).contains(number));
        Self { code: None, subcode, is_transient: false }
    }

    /// Whether the token is what was refused.
    pub(super) fn is_token_refused(self, status: u16) -> bool {
        let is_checkpoint = matches!(self.subcode, Some(459 | 464));
        (matches!(self.code, Some(190 | 102)) && !is_checkpoint && self.subcode != Some(492))
            || (status == 401 && (self.code.is_none() || !self.is_known()))
    }

    /// Whether the numbers tell what is wrong whatever the HTTP status is.
    fn is_known(self) -> bool {
        self.is_missing()
            || matches!(self.code, Some(200..=299))
            || found(SUBCODES, self.subcode).is_some()
            || found(CODES, self.code).is_some_and(|rule| rule.0.gives_up_platform())
    }

    /// Whether what was read does not exist, or this token has no access to it.
    pub(super) fn is_missing(self) -> bool {
        self.code == Some(100) && self.subcode == Some(MISSING)
    }

    /// Whether what was read may be found again soon. "Error Codes" says so of 2207008; of a missing object it was seen
    /// and is not documented.
    pub(super) fn may_reappear(self) -> bool {
        self.is_missing() || self.subcode == Some(2_207_008)
    }

    /// Whether the fields that a read asked for were refused, and not what was read (seen, not documented).
    pub(super) fn is_about_fields(self) -> bool {
        self.code == Some(100) && self.subcode != Some(MISSING)
    }

    /// Whether the container that was read is gone for good.
    pub(super) fn is_gone(self) -> bool {
        self.subcode == Some(2_207_006)
    }

    /// Whether the container that was read has expired.
    pub(super) fn is_expired(self) -> bool {
        self.subcode == Some(2_207_020)
    }

    fn shown(self) -> Option<String> {
        match (self.code, self.subcode) {
            (Some(code), Some(subcode)) => Some(format!("code {code}/{subcode}")),
            (Some(number), None) | (None, Some(number)) => Some(format!("code {number}")),
            (None, None) => None,
        }
    }
}

/// The row of a table with this number.
fn found(rules: &[Rule], number: Option<i64>) -> Option<(Category, Retryable, &'static str)> {
    rules.iter().find(|rule| Some(rule.0) == number).map(|rule| (rule.1, rule.2, rule.3))
}

/// Makes the failure that an error of Instagram's stands for: of the step and what Instagram said of it, the HTTP
/// status, and the error's numbers.
pub(super) type Classify = fn(Explanation<'_>, u16, GraphCode) -> Failure;

/// The failure of a step that sends the post or publishes it.
pub(super) fn classify(explanation: Explanation<'_>, status: u16, graph: GraphCode) -> Failure {
    failure(explanation, status, graph, rule(status, graph))
}

/// The failure of a step that sends nothing of the post, such as a read. It is never about the content (seen, not
/// documented).
pub(super) fn classify_read(explanation: Explanation<'_>, status: u16, graph: GraphCode) -> Failure {
    let found = match rule(status, graph) {
        (RejectedContent, ..) => (Unknown, Yes, "the request is not accepted, which says nothing of the post"),
        other => other,
    };
    failure(explanation, status, graph, found)
}

fn failure(
    explanation: Explanation<'_>,
    status: u16,
    graph: GraphCode,
    (category, retryable, cause): (Category, Retryable, &str),
) -> Failure {
    explanation.numbers(graph.shown()).status(status).by_rule(category, retryable, cause)
}

/// The failure and the numbers of a response without a result. Only an error of Instagram's own form has numbers.
pub(super) fn refusal(step: &str, status: u16, error: Option<&GraphError>, classify: Classify) -> (Failure, GraphCode) {
    let explanation = Explanation::new(Platform::Instagram, step);
    let Some(error) = error else { return (foreign(explanation, status), GraphCode::default()) };
    let explanation = explanation.words(&error.words()).support_id("fbtrace_id", &error.fbtrace_id);
    if !error.is_own() {
        return (foreign(explanation, status), GraphCode::default());
    }
    let code = GraphCode::of(error);
    (classify(explanation, status, code), code)
}

fn rule(status: u16, graph: GraphCode) -> (Category, Retryable, &'static str) {
    let checkpoint = "the account has to pass a security check; log in to it at Facebook and complete the check";
    if graph.code == Some(190) && matches!(graph.subcode, Some(459 | 464)) {
        return (AccountRestricted, No, checkpoint);
    }
    if graph.code == Some(190) && graph.subcode == Some(492) {
        return (Auth, No, "the user does not have the required role on the page");
    }
    if graph.is_missing() {
        return (Unknown, Yes, "not found, or the token has no access to it");
    }
    if let Some(rule) = found(SUBCODES, graph.subcode) {
        return rule;
    }
    let by_code = found(CODES, graph.code);
    // A throttle is marked as transient too. What stops the whole account is no outage, whatever mark or status it has.
    if let Some(rule) = by_code.filter(|rule| rule.0.gives_up_platform()) {
        return rule;
    }
    if status == 429 {
        return (RateLimited, Yes, RATE_LIMITED);
    }
    if status == 401 && !matches!(graph.code, Some(200..=299)) {
        return (Auth, No, RENEW_TOKEN);
    }
    if graph.is_transient {
        return (PlatformOutage, Yes, "a temporary error");
    }
    // With a status of the server's own failure, a code says nothing of the post.
    if let Some(rule) = by_code.filter(|_| status < 500) {
        return rule;
    }
    match (graph.code, status) {
        (Some(200..=299), _) => (Auth, No, "a permission is missing; connect the account again"),
        (_, 500..=599) => (PlatformOutage, Yes, UNAVAILABLE),
        _ => (Unknown, Yes, UNKNOWN_REASON),
    }
}

/// The failure of the upload host, whose errors have a form of their own ("Content Publishing"). That an error is not
/// `retriable` ends nothing by itself (seen, not documented): the container tells what became of the bytes.
pub(super) fn classify_upload(status: u16, body: &ErrorEnvelope) -> Failure {
    if body.error.as_ref().is_some_and(GraphError::is_own) {
        return refusal(SEND_BYTES, status, body.error.as_ref(), classify).0;
    }
    let Some(debug) = body.debug_info.as_ref().filter(|debug| debug.is_own()) else {
        return refusal(SEND_BYTES, status, body.error.as_ref(), classify).0;
    };
    let explanation = Explanation::new(Platform::Instagram, SEND_BYTES).code(&debug.kind).words(&debug.message);
    let explanation = explanation.status(status);
    match (debug.retriable, status) {
        _ if debug.is_unauthorized() || status == 401 => explanation.failure(Auth, RENEW_TOKEN).not_retryable(),
        (Some(true), _) => explanation.failure(PlatformOutage, UNAVAILABLE),
        (_, 429) => explanation.failure(RateLimited, RATE_LIMITED),
        (Some(false), _) => {
            explanation.failure(MediaProcessing, "the video data was not accepted; the next retry sends it again")
        }
        (None, 500..=599) => explanation.failure(PlatformOutage, UNAVAILABLE),
        (None, _) => explanation.failure(Unknown, UNKNOWN_REASON),
    }
}

/// What a response says of the token. `body` is none where the response is not an object.
pub(super) fn token_verdict(status: u16, body: Option<&ErrorEnvelope>) -> TokenVerdict {
    let error = body.and_then(|body| body.error.as_ref());
    if (200..300).contains(&status) && body.is_some() && error.is_none() {
        return TokenVerdict::Accepted;
    }
    // Only the upload host responds with `debug_info` and without `error`.
    let from_upload_host = body.filter(|body| body.error.is_none() && body.debug_info.is_some());
    let is_refused = match from_upload_host {
        Some(body) => classify_upload(status, body).category == Auth,
        None => error.map(GraphCode::of).unwrap_or_default().is_token_refused(status),
    };
    if is_refused { TokenVerdict::Rejected } else { TokenVerdict::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::instagram::wire::DebugInfo;
    use crate::post::TicketFate;

    #[test]
    fn every_known_code_has_its_category() {
        for (status, code, subcode, category, retryable) in [
            (500, Some(424_242), None, PlatformOutage, Yes),
            (500, Some(100), None, PlatformOutage, Yes),
            (500, Some(4), None, RateLimited, Yes),
            (500, Some(190), None, Auth, No),
            (401, Some(424_242), None, Auth, No),
            (401, Some(100), None, Auth, No),
            (400, Some(1), None, PlatformOutage, Yes),
            (400, Some(2), None, PlatformOutage, Yes),
            (400, Some(-1), Some(2_207_001), PlatformOutage, Yes),
            (400, Some(-1), Some(2_207_032), PlatformOutage, Yes),
            (400, Some(-1), Some(2_207_053), MediaProcessing, Yes),
            (400, None, Some(2_207_082), MediaProcessing, Yes),
            (400, Some(4), None, RateLimited, Yes),
            (400, Some(17), None, RateLimited, Yes),
            (400, Some(32), None, RateLimited, Yes),
            (400, Some(613), None, RateLimited, Yes),
            (400, Some(80002), None, RateLimited, Yes),
            (400, Some(341), None, RateLimited, Yes),
            (429, Some(424_242), None, RateLimited, Yes),
            (400, Some(4), Some(2_207_051), AccountRestricted, No),
            (400, Some(368), None, AccountRestricted, No),
            (400, Some(368), Some(1_390_008), AccountRestricted, No),
            (400, Some(9), Some(2_207_042), QuotaExhausted, Yes),
            (400, Some(190), Some(463), Auth, No),
            (400, Some(102), None, Auth, No),
            (400, Some(190), Some(459), AccountRestricted, No),
            (400, Some(190), Some(464), AccountRestricted, No),
            (400, Some(3), None, Auth, No),
            (400, Some(10), None, Auth, No),
            (403, Some(200), None, Auth, No),
            (403, Some(299), None, Auth, No),
            (400, Some(190), Some(492), Auth, No),
            (400, Some(25), Some(2_207_050), AccountRestricted, No),
            (400, Some(100), Some(33), Unknown, Yes),
            (400, Some(100), None, RejectedContent, No),
            (400, Some(100), Some(2_207_023), RejectedContent, No),
            (400, Some(100), Some(2_207_028), RejectedContent, No),
            (400, Some(100), Some(2_207_035), RejectedContent, No),
            (400, Some(1), Some(2_207_057), RejectedContent, No),
            (400, Some(36004), Some(2_207_010), RejectedContent, No),
            (400, None, Some(2_207_081), RejectedContent, No),
            (400, Some(36000), Some(2_207_004), MediaProcessing, No),
            (400, Some(36001), Some(2_207_005), MediaProcessing, No),
            (400, Some(36003), Some(2_207_009), MediaProcessing, No),
            (400, Some(352), Some(2_207_026), MediaProcessing, No),
            (400, None, Some(2_207_085), MediaProcessing, No),
            (400, Some(-2), Some(2_207_003), MissingAsset, Yes),
            (400, Some(9004), Some(2_207_052), MissingAsset, Yes),
            (400, None, Some(2_207_077), MissingAsset, Yes),
            (400, Some(-2), Some(2_207_020), Network, Yes),
            (400, Some(24), Some(2_207_006), Network, Yes),
            (400, Some(24), Some(2_207_008), PlatformOutage, Yes),
            (400, Some(9007), Some(2_207_027), Processing, Yes),
            (400, Some(424_242), None, Unknown, Yes),
        ] {
            let graph = GraphCode { code, subcode, is_transient: false };
            let failure = classify(Explanation::new(Platform::Instagram, "test"), status, graph);
            assert_eq!((failure.category, failure.retryable), (category, retryable), "{status} {graph:?}");
        }
    }

    #[test]
    fn an_error_that_is_marked_as_transient_is_an_outage_unless_it_throttles_or_stops_the_account() {
        for (status, code, category) in [
            (400, 100, PlatformOutage),
            (400, 424_242, PlatformOutage),
            (400, 4, RateLimited),
            (400, 613, RateLimited),
            (429, 424_242, RateLimited),
            (400, 190, Auth),
            (400, 368, AccountRestricted),
        ] {
            let graph = GraphCode { code: Some(code), subcode: None, is_transient: true };
            let failure = classify(Explanation::new(Platform::Instagram, "test"), status, graph);
            assert_eq!(failure.category, category, "{status} {code}");
        }
    }

    #[test]
    fn a_read_is_never_about_the_content() {
        for (code, subcode, category, retryable) in [
            (100, None, Unknown, Yes),
            (100, Some(2_207_023), Unknown, Yes),
            (100, Some(33), Unknown, Yes),
            (190, Some(463), Auth, No),
            (2, None, PlatformOutage, Yes),
        ] {
            let graph = GraphCode { code: Some(code), subcode, is_transient: false };
            let failure = classify_read(Explanation::new(Platform::Instagram, "test"), 400, graph);
            assert_eq!((failure.category, failure.retryable), (category, retryable), "{graph:?}");
        }
    }

    #[test]
    fn a_response_that_is_not_instagrams_own_is_told_by_its_status_alone() {
        // The page of a gateway, and JSON whose error has no number.
        for error in [None, Some(GraphError::default())] {
            for (status, category) in [
                (302, Unknown),
                (400, Unknown),
                (401, Auth),
                (403, Unknown),
                (404, Unknown),
                (413, Unknown),
                (429, RateLimited),
                (500, PlatformOutage),
                (502, PlatformOutage),
            ] {
                for classify in [classify as Classify, classify_read] {
                    let (failure, code) = refusal("test", status, error.as_ref(), classify);
                    let found = (failure.category, failure.retryable, failure.ticket);
                    assert_eq!(found, (category, Yes, TicketFate::Kept), "{status}");
                    assert_eq!(code, GraphCode::default());
                    assert!(failure.message.contains(&format!("HTTP {status}")), "{}", failure.message);
                }
            }
        }
    }

    #[test]
    fn an_error_without_a_code_keeps_its_words_and_the_id_for_support() {
        let error = GraphError {
            message: "Service unavailable".to_owned(),
            fbtrace_id: "AbC".to_owned(),
            ..GraphError::default()
        };
        let (failure, code) = refusal("publish the post", 503, Some(&error), classify);
        assert_eq!((failure.category, code), (PlatformOutage, GraphCode::default()));
        assert_eq!(
            failure.message,
            "Instagram: temporarily unavailable (HTTP 503, “Service unavailable”, when asked to publish the post, \
             fbtrace_id AbC)"
        );
    }

    #[test]
    fn no_cause_begins_with_what_to_do() {
        let commands = ["check ", "connect ", "crop ", "encode ", "log in ", "renew ", "shorten "];
        for (.., cause) in SUBCODES.iter().chain(CODES) {
            assert!(commands.iter().all(|command| !cause.starts_with(command)), "{cause}");
        }
    }

    #[test]
    fn a_text_begins_with_the_cause_and_names_the_numbers_what_people_are_told_and_the_id_for_support() {
        let error = GraphError {
            code: Some(36004),
            error_subcode: Some(2_207_010),
            error_user_msg: "La légende est trop longue.".to_owned(),
            fbtrace_id: "AbC".to_owned(),
            ..GraphError::default()
        };
        let (failure, _) = refusal("publish the post", 400, Some(&error), classify);
        assert_eq!(
            failure.message,
            "Instagram: the caption is too long; shorten it (code 36004/2207010, HTTP 400, “La légende est trop \
             longue.”, when asked to publish the post, fbtrace_id AbC)"
        );
        let failure = classify_upload(400, &debug_message("no luck", false));
        assert_eq!(
            failure.message,
            "Instagram: the video data was not accepted; the next retry sends it again (`ProcessingFailedError`, HTTP \
             400, “no luck”, when asked to upload the video)"
        );
    }

    fn debug_info(kind: &str, retriable: Option<bool>) -> ErrorEnvelope {
        let info = DebugInfo { kind: kind.to_owned(), retriable, message: String::new() };
        ErrorEnvelope { error: None, debug_info: Some(info) }
    }

    fn debug_message(message: &str, retriable: bool) -> ErrorEnvelope {
        let kind = "ProcessingFailedError".to_owned();
        let info = DebugInfo { kind, retriable: Some(retriable), message: message.to_owned() };
        ErrorEnvelope { error: None, debug_info: Some(info) }
    }

    fn graph_error(code: i64, error_subcode: Option<i64>) -> ErrorEnvelope {
        let error = GraphError { code: Some(code), error_subcode, ..GraphError::default() };
        ErrorEnvelope { error: Some(error), debug_info: None }
    }

    /// From a sample of "Upload Video to Meta Servers".
    const UNAUTHORIZED: &str = r#"{"success":false,"error":{"message":"unauthorized user request"}}"#;

    #[test]
    fn the_upload_host_is_understood() {
        for (status, body, category, retryable) in [
            (400, debug_info("ProcessingFailedError", Some(true)), PlatformOutage, Yes),
            (500, debug_info("ProcessingFailedError", Some(true)), PlatformOutage, Yes),
            (500, ErrorEnvelope::default(), PlatformOutage, Yes),
            (400, debug_info("ProcessingFailedError", Some(false)), MediaProcessing, Yes),
            (500, debug_info("ProcessingFailedError", Some(false)), MediaProcessing, Yes),
            (400, debug_message("Request processing failed", false), MediaProcessing, Yes),
            (400, debug_message(UNAUTHORIZED, false), Auth, No),
            (400, debug_message("Unauthorized", true), Auth, No),
            (400, debug_info("NewError", Some(false)), MediaProcessing, Yes),
            (400, debug_info("NewError", None), Unknown, Yes),
            (503, debug_info("NewError", None), PlatformOutage, Yes),
            (400, debug_info("NotAuthorizedError", Some(false)), Auth, No),
            (401, debug_info("NotAuthorizedError", Some(false)), Auth, No),
            (401, debug_info("NewError", Some(false)), Auth, No),
            (401, debug_info("ProcessingFailedError", Some(true)), Auth, No),
            (400, debug_info("", None), Unknown, Yes),
            (401, ErrorEnvelope::default(), Auth, Yes),
            (403, ErrorEnvelope::default(), Unknown, Yes),
            (429, ErrorEnvelope::default(), RateLimited, Yes),
            (400, ErrorEnvelope::default(), Unknown, Yes),
            (400, graph_error(190, Some(463)), Auth, No),
        ] {
            let failure = classify_upload(status, &body);
            assert_eq!((failure.category, failure.retryable), (category, retryable), "{status} {body:?}");
        }
    }

    #[test]
    fn only_a_refusal_of_the_token_itself_rejects_it() {
        use TokenVerdict::{Accepted, Rejected, Unknown};
        for (status, body, verdict) in [
            (200, Some(ErrorEnvelope::default()), Accepted),
            (200, None, Unknown),
            (200, Some(graph_error(1, None)), Unknown),
            (200, Some(graph_error(190, None)), Rejected),
            (400, Some(graph_error(190, Some(463))), Rejected),
            (400, Some(graph_error(102, None)), Rejected),
            (400, Some(graph_error(190, Some(459))), Unknown),
            (400, Some(graph_error(190, Some(492))), Unknown),
            (403, Some(graph_error(200, None)), Unknown),
            (401, Some(graph_error(100, Some(33))), Unknown),
            (401, Some(graph_error(200, None)), Unknown),
            (401, Some(graph_error(424_242, Some(2_207_050))), Unknown),
            (401, Some(graph_error(424_242, None)), Rejected),
            (401, Some(graph_error(424_242, Some(1))), Rejected),
            (400, Some(graph_error(424_242, None)), Unknown),
            (401, Some(debug_info("ProcessingFailedError", Some(true))), Rejected),
            (401, Some(ErrorEnvelope::default()), Rejected),
            (401, None, Rejected),
            (500, None, Unknown),
            (400, Some(debug_info("NotAuthorizedError", Some(false))), Rejected),
            (400, Some(debug_info("ProcessingFailedError", Some(false))), Unknown),
            (400, Some(debug_message(UNAUTHORIZED, false)), Rejected),
            (401, Some(debug_info("", None)), Rejected),
        ] {
            assert_eq!(token_verdict(status, body.as_ref()), verdict, "{status} {body:?}");
        }
    }

    #[test]
    fn a_container_that_is_not_found_is_gone_or_may_reappear() {
        for (code, subcode, is_gone, may_reappear) in [
            (24, Some(2_207_006), true, false),
            (-2, Some(2_207_020), false, false),
            (24, Some(2_207_008), false, true),
            (100, Some(33), false, true),
            (100, None, false, false),
            (190, Some(33), false, false),
        ] {
            let code = GraphCode { code: Some(code), subcode, is_transient: false };
            assert_eq!((code.is_gone(), code.may_reappear()), (is_gone, may_reappear), "{code:?}");
            assert_eq!(code.is_expired(), subcode == Some(2_207_020), "{code:?}");
            assert_eq!(code.is_about_fields(), code.code == Some(100) && subcode.is_none(), "{code:?}");
        }
    }

    #[test]
    fn the_subcode_is_found_in_a_sentence_and_in_a_pair() {
        assert_eq!(GraphCode::in_status("Error: failed with error code 2207082").subcode, Some(2_207_082));
        assert_eq!(GraphCode::in_status("9/2207042").subcode, Some(2_207_042));
        assert_eq!(GraphCode::in_status("Error: 12").subcode, None);
    }
}
