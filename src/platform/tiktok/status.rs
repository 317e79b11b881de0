//! What TikTok says of a publish: "Get Post Status" on <https://developers.tiktok.com>.

use super::classify::{classify, explanation};
use super::wire::{ApiError, StatusResponse};
use crate::post::{Category, Failure};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublishState {
    /// The post is on TikTok. Its id is empty until moderation is over, and always for a post that is not public.
    Published(Option<String>),
    Failed(Failure),
    /// TikTok is receiving the video; how many bytes it has, if it tells. It may say so while it processes too.
    Uploading(Option<u64>),
    Processing,
    /// It is a draft in the creator's inbox, since the application used the draft mode.
    Draft,
    /// TikTok does not know the `publish_id`.
    Unknown(Failure),
    /// The token may not ask about the `publish_id`.
    Inaccessible(Failure),
}

impl PublishState {
    /// `error` comes with every response. That of a success has only a log id.
    pub(super) fn read(response: StatusResponse, error: ApiError) -> Self {
        match response.status.as_str() {
            "PUBLISH_COMPLETE" => Self::Published(response.post_id()),
            "FAILED" if response.fail_reason.is_empty() => {
                let explanation = explanation("publish the post", &error);
                Self::Failed(explanation.failure(Category::Unknown, "publishing failed, and no reason is given"))
            }
            "FAILED" => {
                let reason = ApiError { code: response.fail_reason, message: String::new(), ..error };
                Self::Failed(classify("publish the post", 200, &reason))
            }
            "SEND_TO_USER_INBOX" => Self::Draft,
            "PROCESSING_UPLOAD" => Self::Uploading(response.uploaded_bytes),
            _ => Self::Processing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> PublishState {
        let error = ApiError { code: "ok".to_owned(), log_id: Some("2026".to_owned()), ..ApiError::default() };
        PublishState::read(serde_json::from_str(text).unwrap(), error)
    }

    #[test]
    fn every_documented_status_is_read() {
        for (text, expected) in [
            (
                r#"{"status":"PUBLISH_COMPLETE","publicaly_available_post_id":[7512345678901234567]}"#,
                PublishState::Published(Some("7512345678901234567".into())),
            ),
            // A private post never gets an id.
            (r#"{"status":"PUBLISH_COMPLETE","publicaly_available_post_id":[]}"#, PublishState::Published(None)),
            (r#"{"status":"PROCESSING_UPLOAD","uploaded_bytes":10}"#, PublishState::Uploading(Some(10))),
            (r#"{"status":"PROCESSING_UPLOAD","uploaded_bytes":"10"}"#, PublishState::Uploading(Some(10))),
            (r#"{"status":"PROCESSING_UPLOAD","uploaded_bytes":[]}"#, PublishState::Uploading(None)),
            (r#"{"status":"PROCESSING_DOWNLOAD","downloaded_bytes":10}"#, PublishState::Processing),
            (r#"{"status":"SEND_TO_USER_INBOX"}"#, PublishState::Draft),
            (r#"{"status":"A_STATUS_OF_TOMORROW"}"#, PublishState::Processing),
            (r#"{"status":3}"#, PublishState::Processing),
            ("{}", PublishState::Processing),
        ] {
            assert_eq!(state(text), expected, "{text}");
        }
    }

    #[test]
    fn a_fail_reason_is_classified_like_a_code() {
        for (text, category) in [
            (r#"{"status":"FAILED","fail_reason":"spam_risk_user_banned_from_posting"}"#, Category::AccountRestricted),
            (r#"{"status":"FAILED","fail_reason":"frame_rate_check_failed"}"#, Category::MediaProcessing),
            (r#"{"status":"FAILED","fail_reason":null}"#, Category::Unknown),
        ] {
            let PublishState::Failed(failure) = state(text) else { panic!("{text}") };
            assert_eq!(failure.category, category, "{text}");
            assert!(failure.message.ends_with("when asked to publish the post, log_id 2026)"), "{}", failure.message);
        }
    }
}
