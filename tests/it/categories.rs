//! Every failure of a platform that is documented or was seen, through the real client: which category it is, whether
//! it costs a retry, and when the post is due again.

use std::ops::RangeInclusive;
use std::panic::AssertUnwindSafe;

use chrono::{TimeDelta, Timelike};
use chrono_tz::America::Los_Angeles;
use futures_util::{FutureExt, StreamExt, stream};
use mongodb::bson::Document;
use postretry_sandbox::{Act, Fault, Knobs};
use serde_json::{Value, json};

use crate::support::env::{TestEnv, date_of, is_cleared, now};
use crate::support::kinds::post_of;

/// What follows from a failure.
#[derive(Debug, Clone)]
enum Then {
    /// It costs a retry, and the backoff decides.
    Retry,
    /// It costs none, and the post is due again after so many seconds.
    Wait(RangeInclusive<i64>),
    /// It costs none, and the quota starts anew at the next midnight in California.
    PacificMidnight,
    /// It costs none, and the post waits for a person to mend the account; exit code 3.
    Person,
    /// It costs none, and the next pass looks again.
    PollAgain,
    /// The post is permanently failed at once; exit code 3.
    GiveUp,
}

use Then::{GiveUp, PacificMidnight, Person, PollAgain, Retry, Wait};

/// A row: the kind of publish, what goes wrong, and what is expected of it.
struct Row {
    kind: &'static str,
    /// What goes wrong at every call of this endpoint.
    fault: Option<(&'static str, Act)>,
    /// What is different about the platforms.
    knobs: fn(&mut Knobs),
    category: &'static str,
    then: Then,
    /// What the error must say: the raw code.
    says: &'static str,
}

fn row(kind: &'static str, endpoint: &'static str, act: Act, category: &'static str, then: Then) -> Row {
    Row { kind, fault: Some((endpoint, act)), knobs: |_| {}, category, then, says: "" }
}

fn world(kind: &'static str, knobs: fn(&mut Knobs), category: &'static str, then: Then) -> Row {
    Row { kind, fault: None, knobs, category, then, says: "" }
}

impl Row {
    fn says(self, says: &'static str) -> Self {
        Self { says, ..self }
    }
}

/// When TikTok's window of a minute is over.
fn minute() -> Then {
    Wait(55..=80)
}

/// About so many seconds: what a slow machine adds is not the point.
fn about(seconds: i64) -> Then {
    Wait(seconds - 60..=seconds + 60)
}

fn hour() -> Then {
    about(3600)
}

fn day() -> Then {
    about(86400)
}

fn with_header(status: u16, body: &Value, name: &str, value: &str) -> Act {
    Act::Answer { status, body: body.to_string(), headers: [(name.to_owned(), value.to_owned())].into() }
}

fn tiktok_body(code: &str) -> Value {
    json!({ "data": {}, "error": { "code": code, "message": "what a person reads", "log_id": "20261123" } })
}

fn tiktok_status(status: &str) -> Act {
    let error = json!({ "code": "ok", "message": "", "log_id": "20261123" });
    Act::json(200, &json!({ "data": { "status": status }, "error": error }))
}

fn flat(status: u16, code: &str) -> Act {
    Act::json(status, &json!({ "error": code, "error_description": "what a person reads", "log_id": "1" }))
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn tiktok_rows() -> Vec<Row> {
    let init = "tiktok.video_init";
    let refused =
        |status, code, category, then| row("tiktok", init, Act::tiktok(status, code), category, then).says(code);
    let asked =
        |code, category, then| row("tiktok", "tiktok.creator_info", Act::tiktok(200, code), category, then).says(code);
    let failed = |knobs, category, then, says| world("tiktok", knobs, category, then).says(says);
    let mut rows = vec![
        row("tiktok", "tiktok.creator_info", Act::LoseRequest, "network", Retry),
        row("tiktok", init, Act::LoseAnswer, "network", Retry),
        row("tiktok photo", "tiktok.photo_init", Act::LoseAnswer, "ambiguous", GiveUp),
        row("tiktok photo", "tiktok.photo_init", Act::tiktok(500, "internal_error"), "ambiguous", GiveUp),
        row("tiktok", "tiktok.chunk", Act::LoseRequest, "network", Retry),
        row("tiktok", "tiktok.chunk", Act::json(503, &Value::Null), "platform_outage", Retry).says("503"),
        row("tiktok", "tiktok.chunk", Act::json(403, &Value::Null), "network", Retry),
        row("tiktok", "tiktok.chunk", Act::json(404, &Value::Null), "network", Retry),
        row("tiktok", "tiktok.chunk", Act::json(416, &Value::Null), "network", Retry).says("416"),
        row("tiktok", "tiktok.chunk", Act::json(400, &Value::Null), "media_processing", GiveUp).says("400"),
        refused(500, "internal_error", "platform_outage", Retry),
        row("tiktok", init, Act::json(502, &Value::Null), "platform_outage", Retry).says("502"),
        refused(429, "rate_limit_exceeded", "rate_limited", minute()),
        // What stands between says nothing of the post, whatever its page is sent with.
        row("tiktok", init, Act::html(403), "unknown", Retry).says("403"),
        row("tiktok", init, Act::html(302), "unknown", Retry).says("302"),
        row("tiktok", init, Act::html(401), "auth", Person).says("401"),
        row("tiktok", init, Act::html(429), "rate_limited", minute()).says("429"),
        row("tiktok", init, Act::html(502), "platform_outage", Retry).says("502"),
        row("tiktok", "tiktok.status", Act::html(404), "unknown", Retry).says("404"),
        row("tiktok photo", "tiktok.photo_init", Act::html(401), "ambiguous", GiveUp).says("401"),
        row("tiktok photo", "tiktok.photo_init", Act::html(403), "ambiguous", GiveUp).says("403"),
        row(
            "tiktok",
            init,
            with_header(429, &tiktok_body("rate_limit_exceeded"), "retry-after", "120"),
            "rate_limited",
            about(120),
        ),
        row(
            "tiktok",
            init,
            with_header(429, &tiktok_body("rate_limit_exceeded"), "retry-after", "9999999"),
            "rate_limited",
            about(7 * 86400),
        ),
        // A time that is over already is no answer to when.
        row(
            "tiktok",
            init,
            with_header(429, &tiktok_body("rate_limit_exceeded"), "retry-after", "0"),
            "rate_limited",
            minute(),
        ),
        row("tiktok", "tiktok.creator_info", Act::tiktok(200, "teapot"), "unknown", Retry).says("`teapot`, HTTP 200"),
        row(
            "tiktok",
            init,
            Act::json(503, &json!({ "error": { "message": "not now", "log_id": "20261123" } })),
            "platform_outage",
            Retry,
        )
        .says("“not now”, when asked to accept the video, log_id 20261123"),
        asked("spam_risk_too_many_posts", "quota_exhausted", day()),
        asked("reached_active_user_cap", "quota_exhausted", day()),
        asked("spam_risk_user_banned_from_posting", "account_restricted", Person),
        refused(403, "spam_risk_too_many_posts", "quota_exhausted", day()),
        refused(403, "reached_active_user_cap", "quota_exhausted", day()),
        refused(403, "spam_risk_too_many_pending_share", "quota_exhausted", day()),
        refused(401, "access_token_invalid", "auth", Person),
        refused(401, "scope_not_authorized", "auth", Person),
        refused(400, "scope_permission_missed", "auth", Person),
        refused(403, "spam_risk_user_banned_from_posting", "account_restricted", Person),
        refused(403, "unaudited_client_can_only_post_to_private_accounts", "account_restricted", Person),
        refused(403, "privacy_level_option_mismatch", "rejected_content", GiveUp),
        refused(400, "invalid_param", "rejected_content", GiveUp),
        refused(400, "invalid_params", "rejected_content", GiveUp),
        refused(400, "invalid_file_upload", "media_processing", GiveUp),
        refused(403, "spam_risk_text", "rejected_content", GiveUp),
        refused(403, "spam_risk", "rejected_content", GiveUp),
        refused(418, "teapot_short_and_stout", "unknown", Retry),
        row("tiktok photo", "tiktok.photo_init", Act::tiktok(403, "url_ownership_unverified"), "missing_asset", Retry)
            .says("url_ownership_unverified"),
        row(
            "tiktok photo",
            "tiktok.photo_init",
            Act::tiktok(400, "app_version_check_failed"),
            "account_restricted",
            Person,
        )
        .says("app_version_check_failed"),
        row(
            "tiktok",
            "tiktok.status",
            Act::tiktok(400, "token_not_authorized_for_specified_publish_id"),
            "ambiguous",
            GiveUp,
        )
        .says("token_not_authorized_for_specified_publish_id"),
        world(
            "tiktok",
            |knobs| {
                knobs.tiktok_forgets_ids = true;
                knobs.tiktok_may_list = false;
            },
            "ambiguous",
            GiveUp,
        )
        .says("invalid_publish_id"),
        row("tiktok", "tiktok.status", tiktok_status("SEND_TO_USER_INBOX"), "ambiguous", GiveUp).says("inbox"),
        world("tiktok", |knobs| knobs.tiktok_looks = u32::MAX, "processing", PollAgain),
        world("tiktok", |knobs| knobs.tiktok_privacy_levels = vec!["SELF_ONLY".to_owned()], "rejected_content", GiveUp)
            .says("SELF_ONLY"),
    ];
    for code in ["invalid_grant", "invalid_client", "unauthorized_client"] {
        rows.push(row("tiktok", "tiktok.token", flat(200, code), "auth", Person).says(code));
    }
    rows.extend([
        failed(|k| k.tiktok_fail_reason = Some("internal".into()), "platform_outage", Retry, "internal"),
        failed(|k| k.tiktok_fail_reason = Some("auth_removed".into()), "auth", Person, "auth_removed"),
        failed(
            |k| k.tiktok_fail_reason = Some("spam_risk_too_many_posts".into()),
            "quota_exhausted",
            day(),
            "too_many",
        ),
        failed(
            |k| k.tiktok_fail_reason = Some("spam_risk_user_banned_from_posting".into()),
            "account_restricted",
            Person,
            "banned",
        ),
        failed(|k| k.tiktok_fail_reason = Some("spam_risk_text".into()), "rejected_content", GiveUp, "spam_risk_text"),
        failed(|k| k.tiktok_fail_reason = Some("spam_risk".into()), "rejected_content", GiveUp, "spam_risk"),
        failed(
            |k| k.tiktok_fail_reason = Some("file_format_check_failed".into()),
            "media_processing",
            GiveUp,
            "file_format",
        ),
        failed(|k| k.tiktok_fail_reason = Some("duration_check_failed".into()), "media_processing", GiveUp, "duration"),
        failed(|k| k.tiktok_fail_reason = Some("frame_rate_check_failed".into()), "media_processing", GiveUp, "frame"),
        failed(|k| k.tiktok_fail_reason = Some("picture_size_check_failed".into()), "media_processing", GiveUp, "size"),
        failed(
            |k| k.tiktok_fail_reason = Some("video_pull_failed".into()),
            "missing_asset",
            Retry,
            "video_pull_failed",
        ),
        failed(|k| k.tiktok_fail_reason = Some("publish_cancelled".into()), "ambiguous", GiveUp, "publish_cancelled"),
        Row {
            kind: "tiktok photo",
            ..failed(|k| k.tiktok_fail_reason = Some("photo_pull_failed".into()), "missing_asset", Retry, "photo_pull")
        },
    ]);
    rows
}

fn usage(minutes: i64) -> String {
    json!({ "17841400000000001": [
        { "type": "ads_insights", "estimated_time_to_regain_access": 600 },
        { "type": "instagram", "call_count": 100, "estimated_time_to_regain_access": minutes },
    ] })
    .to_string()
}

fn graph_body(code: i64, subcode: Option<i64>) -> Value {
    json!({ "error": {
        "message": "Une erreur", "type": "OAuthException", "code": code, "error_subcode": subcode,
        "is_transient": false, "fbtrace_id": "A",
    } })
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn instagram_rows() -> Vec<Row> {
    let create = "instagram.create";
    let refused =
        |code, subcode, category, then| row("instagram", create, Act::graph(400, code, subcode), category, then);
    let debug_with = |status, kind: &str, retriable: bool, message: &str| {
        let info = json!({ "retriable": retriable, "type": kind, "message": message });
        Act::json(status, &json!({ "debug_info": info }))
    };
    let debug = |status, kind: &str, retriable: bool| debug_with(status, kind, retriable, "what a person reads");
    let unauthorized = r#"{"success":false,"error":{"message":"unauthorized user request"}}"#;
    let mut rows = vec![
        row("instagram", create, Act::LoseRequest, "network", Retry),
        row("instagram", create, Act::LoseAnswer, "network", Retry),
        row("instagram", "instagram.upload", Act::LoseRequest, "network", Retry),
        row("instagram", "instagram.container", Act::LoseRequest, "network", Retry),
        row("instagram", create, Act::json(500, &Value::Null), "platform_outage", Retry).says("500"),
        row(
            "instagram",
            create,
            Act::json(400, &json!({ "error": { "code": 987, "is_transient": true, "message": "x" } })),
            "platform_outage",
            Retry,
        )
        .says("987"),
        row(
            "instagram",
            create,
            Act::json(400, &json!({ "error": { "code": 4, "is_transient": true, "message": "x" } })),
            "rate_limited",
            hour(),
        )
        .says("code 4"),
        row(
            "instagram",
            create,
            Act::json(429, &json!({ "error": { "code": 987, "is_transient": true, "message": "x" } })),
            "rate_limited",
            hour(),
        )
        .says("987"),
        row("instagram", create, Act::graph(500, 100, None), "platform_outage", Retry).says("code 100"),
        row("instagram", create, Act::graph(401, 31_337, None), "auth", Person).says("31337"),
        row("instagram", "instagram.upload", debug(401, "ProcessingFailedError", true), "auth", Person)
            .says("ProcessingFailedError"),
        row(
            "instagram",
            create,
            Act::json(503, &json!({ "error": { "message": "not now", "fbtrace_id": "AbC" } })),
            "platform_outage",
            Retry,
        )
        .says("“not now”, when asked to create a container for the post, fbtrace_id AbC"),
        row("instagram", "instagram.upload", debug(500, "ProcessingFailedError", true), "platform_outage", Retry),
        // The container, which is read then, has nothing of it.
        row("instagram", "instagram.upload", debug(400, "ProcessingFailedError", false), "media_processing", Retry)
            .says("ProcessingFailedError"),
        row("instagram", "instagram.upload", debug(400, "NotAuthorizedError", false), "auth", Person)
            .says("NotAuthorizedError"),
        row("instagram", "instagram.upload", debug(401, "NotAuthorizedError", false), "auth", Person)
            .says("NotAuthorizedError"),
        row(
            "instagram",
            "instagram.upload",
            debug_with(400, "ProcessingFailedError", false, unauthorized),
            "auth",
            Person,
        )
        .says("unauthorized"),
        row("instagram", create, Act::html(403), "unknown", Retry).says("403"),
        row("instagram", create, Act::html(401), "auth", Person).says("401"),
        row("instagram", create, Act::html(429), "rate_limited", hour()).says("429"),
        row("instagram", create, Act::html(520), "platform_outage", Retry).says("520"),
        row("instagram", "instagram.upload", Act::html(413), "unknown", Retry).says("413"),
        row("instagram", "instagram.container", Act::html(404), "unknown", Retry).says("404"),
        row("instagram", "instagram.publish", Act::html(405), "unknown", Retry).says("405"),
        row("instagram", create, Act::json(429, &Value::Null), "rate_limited", hour()).says("429"),
        row(
            "instagram",
            create,
            with_header(400, &graph_body(80002, None), "x-business-use-case-usage", &usage(25)),
            "rate_limited",
            about(25 * 60),
        )
        .says("80002"),
        row("instagram", create, Act::json(401, &Value::Null), "auth", Person).says("401"),
        row("instagram", "instagram.publish", Act::graph(400, 4, Some(2_207_051)), "account_restricted", Person)
            .says("2207051"),
        row("instagram", "instagram.publish", Act::graph(400, 9, Some(2_207_042)), "quota_exhausted", day())
            .says("2207042"),
        row("instagram", "instagram.publish", Act::graph(400, 9007, Some(2_207_027)), "processing", PollAgain),
        // The account may be read, and the container that was just made is not found: the next attempt looks for it.
        row("instagram", "instagram.container", Act::graph(400, 100, Some(33)), "unknown", Retry).says("100/33"),
        row("instagram", "instagram.container", Act::graph(400, 24, Some(2_207_008)), "platform_outage", Retry)
            .says("24/2207008"),
        row("instagram", "instagram.container", Act::graph(400, 100, None), "unknown", Retry).says("100"),
        row("instagram", create, Act::graph(400, 31_337, None), "unknown", Retry).says("31337"),
        world("instagram", |k| k.instagram_quota = (50, 50), "quota_exhausted", day()).says("50"),
        world("instagram", |k| k.instagram_looks = u32::MAX, "processing", PollAgain),
        world("instagram", |k| k.instagram_copyright = true, "rejected_content", GiveUp).says("copyright"),
        world(
            "instagram",
            |k| k.instagram_error = Some("Error: media upload failed, error code 2207082".into()),
            "media_processing",
            Retry,
        )
        .says("2207082"),
        world("instagram", |k| k.instagram_error = Some("9/2207042".into()), "quota_exhausted", day()).says("2207042"),
        world("instagram", |k| k.instagram_error = Some("Error 2207026".into()), "media_processing", GiveUp)
            .says("2207026"),
    ];
    for (code, subcode) in [(1, None), (2, None), (-1, Some(2_207_001)), (-1, Some(2_207_032)), (24, Some(2_207_008))] {
        rows.push(refused(code, subcode, "platform_outage", Retry));
    }
    for code in [4, 17, 32, 613, 80002, 341] {
        rows.push(refused(code, None, "rate_limited", hour()));
    }
    rows.push(refused(9, Some(2_207_042), "quota_exhausted", day()));
    let auth = [
        (190, Some(463)),
        (190, Some(460)),
        (190, Some(458)),
        (190, None),
        (102, None),
        (3, None),
        (10, None),
        (200, None),
        (299, None),
        (190, Some(492)),
    ];
    rows.extend(auth.map(|(code, subcode)| refused(code, subcode, "auth", Person)));
    for (code, subcode) in
        [(190, Some(459)), (190, Some(464)), (25, Some(2_207_050)), (4, Some(2_207_051)), (368, None)]
    {
        rows.push(refused(code, subcode, "account_restricted", Person));
    }
    let rejected = [
        (100, None),
        (1, Some(2_207_057)),
        (36004, Some(2_207_010)),
        (100, Some(2_207_023)),
        (100, Some(2_207_028)),
        (100, Some(2_207_035)),
        (100, Some(2_207_036)),
        (100, Some(2_207_037)),
        (100, Some(2_207_040)),
        (100, Some(2_207_081)),
    ];
    rows.extend(rejected.map(|(code, subcode)| refused(code, subcode, "rejected_content", GiveUp)));
    let unprocessable = [
        (36000, Some(2_207_004)),
        (36001, Some(2_207_005)),
        (36003, Some(2_207_009)),
        (352, Some(2_207_026)),
        (100, Some(2_207_085)),
    ];
    rows.extend(unprocessable.map(|(code, subcode)| refused(code, subcode, "media_processing", GiveUp)));
    for (code, subcode) in [(-2, 2_207_003), (9004, 2_207_052), (100, 2_207_077)] {
        rows.push(refused(code, Some(subcode), "missing_asset", Retry));
    }
    for (code, subcode) in [(-1, 2_207_053), (100, 2_207_082)] {
        rows.push(refused(code, Some(subcode), "media_processing", Retry));
    }
    rows
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn youtube_rows() -> Vec<Row> {
    let session = "youtube.session";
    let refused = |status, reason, category, then| {
        row("youtube", session, Act::youtube(status, reason, "what a person reads"), category, then).says(reason)
    };
    let per_day = "Quota exceeded for quota metric 'Video Uploads' and limit 'Video Uploads per day' of service";
    let status = |knobs, category, then, says| world("youtube", knobs, category, then).says(says);
    let mut rows = vec![
        row("youtube", session, Act::LoseRequest, "network", Retry),
        row("youtube", session, Act::LoseAnswer, "network", Retry),
        row("youtube", "youtube.chunk", Act::LoseRequest, "network", Retry),
        row("youtube", session, Act::json(502, &Value::Null), "platform_outage", Retry).says("502"),
        row("youtube", session, Act::json(504, &Value::Null), "platform_outage", Retry).says("504"),
        row("youtube", "youtube.chunk", Act::json(500, &Value::Null), "platform_outage", Retry).says("500"),
        refused(500, "internalError", "platform_outage", Retry),
        refused(503, "backendError", "platform_outage", Retry),
        refused(429, "rateLimitExceeded", "rate_limited", hour()),
        refused(403, "userRateLimitExceeded", "rate_limited", hour()),
        row("youtube", session, Act::youtube(429, "rateLimitExceeded", per_day), "quota_exhausted", PacificMidnight),
        refused(403, "quotaExceeded", "quota_exhausted", PacificMidnight),
        refused(403, "dailyLimitExceeded", "quota_exhausted", PacificMidnight),
        refused(400, "uploadLimitExceeded", "quota_exhausted", day()),
        refused(418, "teapot", "unknown", Retry),
        row("youtube", "youtube.chunk", Act::youtube(404, "notFound", ""), "ambiguous", GiveUp),
        row("youtube", session, Act::html(403), "unknown", Retry).says("403"),
        row("youtube", session, Act::html(401), "auth", Person).says("401"),
        row("youtube", session, Act::html(429), "rate_limited", hour()).says("429"),
        row("youtube", session, Act::html(511), "platform_outage", Retry).says("511"),
        row("youtube", "youtube.chunk", Act::html(404), "unknown", Retry).says("404"),
        row("youtube", "youtube.chunk", Act::html(413), "unknown", Retry).says("413"),
        world("youtube", |k| k.youtube_looks = u32::MAX, "processing", PollAgain),
        status(
            |k| {
                k.youtube_looks = u32::MAX;
                k.youtube_processing = Some(json!({ "processingStatus": "terminated" }));
            },
            "ambiguous",
            GiveUp,
            "stopped processing",
        ),
        status(
            |k| {
                k.youtube_looks = u32::MAX;
                k.youtube_processing =
                    Some(json!({ "processingStatus": "failed", "processingFailureReason": "transcodeFailed" }));
            },
            "media_processing",
            GiveUp,
            "transcodeFailed",
        ),
        status(
            |k| {
                k.youtube_looks = u32::MAX;
                k.youtube_processing =
                    Some(json!({ "processingStatus": "failed", "processingFailureReason": "uploadFailed" }));
            },
            "media_processing",
            Retry,
            "uploadFailed",
        ),
    ];
    for reason in ["authError", "expired", "authorizationRequired", "required"] {
        rows.push(refused(401, reason, "auth", Person));
    }
    for reason in ["insufficientPermissions", "accessNotConfigured", "forbidden"] {
        rows.push(refused(403, reason, "auth", Person));
    }
    for code in ["invalid_grant", "deleted_client", "invalid_client", "admin_policy_enforced"] {
        rows.push(row("youtube", "google.token", flat(400, code), "auth", Person).says(code));
    }
    rows.push(refused(401, "youtubeSignupRequired", "account_restricted", Person));
    for reason in [
        "authenticatedUserNotChannel",
        "accountDelegationForbidden",
        "authenticatedUserAccountClosed",
        "authenticatedUserAccountSuspended",
        "channelClosed",
        "channelSuspended",
    ] {
        rows.push(refused(403, reason, "account_restricted", Person));
    }
    for reason in [
        "invalidTitle",
        "invalidDescription",
        "invalidTags",
        "invalidCategoryId",
        "invalidPublishAt",
        "invalidFilename",
        "invalidRecordingDetails",
        "invalidVideoGameRating",
        "invalidVideoMetadata",
        "defaultLanguageNotSet",
        "badRequest",
        "missingRequiredParameter",
        "unexpectedParameter",
        "incompatibleParameters",
    ] {
        rows.push(refused(400, reason, "rejected_content", GiveUp));
    }
    for reason in ["forbiddenPrivacySetting", "forbiddenLicenseSetting"] {
        rows.push(refused(403, reason, "rejected_content", GiveUp));
    }
    rows.push(refused(400, "required", "rejected_content", GiveUp));
    rows.push(refused(400, "mediaBodyRequired", "missing_asset", Retry));
    macro_rules! rejected {
        ($($reason:literal => $category:literal, $then:expr;)*) => {
            $(rows.push(status(
                |k| k.youtube_status = Some(json!({ "uploadStatus": "rejected", "rejectionReason": $reason })),
                $category,
                $then,
                $reason,
            ));)*
        };
    }
    rejected! {
        "copyright" => "rejected_content", GiveUp;
        "claim" => "rejected_content", GiveUp;
        "inappropriate" => "rejected_content", GiveUp;
        "termsOfUse" => "rejected_content", GiveUp;
        "trademark" => "rejected_content", GiveUp;
        "legal" => "rejected_content", GiveUp;
        "length" => "rejected_content", GiveUp;
        "duplicate" => "rejected_content", GiveUp;
        "uploaderAccountClosed" => "account_restricted", Person;
        "uploaderAccountSuspended" => "account_restricted", Person;
    }
    rows.push(status(
        |k| k.youtube_status = Some(json!({ "uploadStatus": "failed", "failureReason": "codec" })),
        "media_processing",
        GiveUp,
        "codec",
    ));
    rows.push(status(
        |k| k.youtube_status = Some(json!({ "uploadStatus": "failed", "failureReason": "uploadAborted" })),
        "media_processing",
        Retry,
        "uploadAborted",
    ));
    rows
}

async fn check(row: Row) {
    let Row { kind, fault, knobs, category, then, says } = row;
    let place = format!("{kind}: {fault:?} {category} {says}");
    let mut env = TestEnv::reused().await;
    env.set("HTTP_TIMEOUT", "2s");
    env.set("POST_RETRY_WAIT", "300ms");
    knobs(&mut env.sandbox.world().knobs);
    if let Some((endpoint, act)) = fault {
        env.sandbox.fault(Fault::always(endpoint, act));
    }
    let (platform, fields) = post_of(kind);
    let id = env.post(platform, fields).await;
    let started_at = now();
    // A pass waits up to two minutes for what a platform says that it will allow again, if it has the time.
    let ran = env.run(&["run", "--max-duration", "30s", "--format", "json"]).await;
    let code = if matches!(then, Person | GiveUp) { 3 } else { 0 };
    assert_eq!(ran.code, code, "{place}: {ran:?}");
    assert_eq!(ran.json()["posts"][0]["category"], category, "{place}: {ran:?}");
    let post: Document = env.get(&id).await;
    assert_eq!(post.get_str("failureCategory").ok(), Some(category), "{place}: {post}");
    let error = post.get_str("error").unwrap();
    assert!(error.contains(says), "{place}: {error}");
    let retries_used = i32::from(matches!(then, Retry | GiveUp));
    assert_eq!(post.get_i32("retryCount").ok(), Some(retries_used), "{place}: {post}");
    let is_permanent = matches!(then, GiveUp);
    assert_eq!(post.get_bool("permanentlyFailed").unwrap_or(false), is_permanent, "{place}: {post}");
    let wait = || (date_of(&post, "retryNotBefore") - started_at).num_seconds();
    match then {
        Retry | Person | PollAgain | GiveUp => assert!(is_cleared(&post, "retryNotBefore"), "{place}: {post}"),
        Wait(ref seconds) => assert!(seconds.contains(&wait()), "{place}: {}", wait()),
        PacificMidnight => {
            let local = date_of(&post, "retryNotBefore").with_timezone(&Los_Angeles);
            assert_eq!(local.num_seconds_from_midnight(), 0, "{place}: {local}");
            assert!((0..=25 * 3600 + 60).contains(&wait()), "{place}: {}", wait());
        }
    }
    assert_eq!(env.sandbox.world().violations, Vec::<String>::new(), "{place}");
    // One that costs no retry is due by its old place as soon as nothing holds it back.
    if matches!(then, Person | PollAgain) {
        let listed = env.run(&["list-failed", "--due", "--format", "json"]).await.expect(0).json();
        assert_eq!(listed["total"], 1, "{place}");
    }
}

async fn check_all(rows: Vec<Row>) {
    let count = rows.len();
    let checks = rows.into_iter().map(|row| AssertUnwindSafe(check(row)).catch_unwind());
    let ended: Vec<_> = stream::iter(checks).buffer_unordered(8).collect().await;
    let failed = ended.into_iter().filter(Result::is_err).count();
    assert_eq!(failed, 0, "rows of {count} that do not hold; they are told above");
    println!("{count} rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_known_failure_of_tiktok() {
    check_all(tiktok_rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_known_failure_of_instagram() {
    check_all(instagram_rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_known_failure_of_youtube() {
    check_all(youtube_rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instagrams_throttle_by_the_hour_lasts_an_hour_however_short_the_base_interval_is() {
    for (code, seconds) in [(4, 3600), (17, 3600), (32, 300)] {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_INTERVAL_MINUTES", "5");
        env.sandbox.fault(Fault::always("instagram.create", Act::graph(400, code, None)));
        let id = env.post("instagram", Document::new()).await;
        let started_at = now();
        assert_eq!(env.pass(0).await["posts"][0]["category"], "rate_limited", "{code}");
        let wait = (date_of(&env.get(&id).await, "retryNotBefore") - started_at).num_seconds();
        assert!((seconds - 5..=seconds + 60).contains(&wait), "code {code}: {wait} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_may_be_a_date() {
    let env = TestEnv::new().await;
    let at = now() + TimeDelta::minutes(90);
    let date = httpdate::fmt_http_date(at.into());
    let act = with_header(429, &tiktok_body("rate_limit_exceeded"), "retry-after", &date);
    env.sandbox.fault(Fault::always("tiktok.video_init", act));
    let id = env.post("tiktok", Document::new()).await;
    env.pass(0).await;
    let apart = (date_of(&env.get(&id).await, "retryNotBefore") - at).num_seconds().abs();
    assert!(apart <= 1, "{apart} s apart");
}
