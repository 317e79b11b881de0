//! The calls of the Content Posting API (platform sheet, sections 1 and 2).

use std::ops::Range;

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use url::Url;

use super::TikTokSettings;
use super::classify::{UNKNOWN_ID, classify};
use super::status::PublishState;
use super::token::token_provider;
use super::wire::{
    ApiError, CreatorInfo, InitResponse, ListRequest, ListedVideo, PhotoInit, StatusRequest, StatusResponse, VideoInit,
    VideoList,
};
use crate::platform::auth::{self, AuthorizedClient, TokenVerdict};
use crate::platform::http::{ApiResponse, JSON_UTF8, SendError, lenient};
use crate::platform::media::MediaFile;
use crate::platform::token_provider::TokenProvider;
use crate::platform::{Origin, PublishContext, PublishError, PublisherDeps, unexpected_response};
use crate::post::{Failure, Platform};

/// The domain of TikTok's upload hosts.
const UPLOAD_DOMAIN: &str = "tiktokapis.com";

/// The most videos that one call lists.
const MAX_LISTED: u32 = 20;

/// What TikTok is asked to do with a photo, in the words of an error.
pub(super) const START_PHOTO: &str = "accept the photo";

/// Why a call has no result.
pub(super) type CallError = auth::CallError<Refusal>;

/// What TikTok says when it refuses, or a response that is not understood.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) failure: Failure,
    pub(super) status: u16,
    pub(super) code: String,
}

impl Refusal {
    /// Whether it is certain that nothing was accepted: TikTok says so with a code, or the token was refused. A
    /// response without a code may come from a server in between, after TikTok has received the request.
    pub(super) fn is_definite(&self) -> bool {
        match (self.status, self.code.as_str()) {
            (401, "") => true,
            (500.., _) | (_, "" | "ok") => false,
            _ => true,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        refusal.failure
    }
}

/// Every response of the API but those of the token endpoint.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "T: DeserializeOwned + Default"))]
struct Envelope<T> {
    #[serde(deserialize_with = "lenient")]
    data: T,
    #[serde(deserialize_with = "lenient")]
    error: ApiError,
}

impl<T> Envelope<T> {
    /// The data of a success. The status alone does not tell: TikTok refuses with HTTP 200 too (section 1).
    fn into_data(self, step: &str, status: u16, retry_at: Option<DateTime<Utc>>) -> Result<T, Refusal> {
        let is_success = (200..300).contains(&status);
        let failure = match self.error.code.as_str() {
            "ok" if is_success => return Ok(self.data),
            "ok" => unexpected_response(Platform::TikTok, step, status),
            "" if is_success => unexpected_response(Platform::TikTok, step, status),
            _ => classify(step, status, &self.error).retry_at(retry_at),
        };
        Err(Refusal { failure, status, code: self.error.code })
    }
}

/// What a response says of the token that the request carried.
fn token_verdict(response: &ApiResponse) -> TokenVerdict {
    let envelope = response.parse::<Envelope<IgnoredAny>>().unwrap_or_default();
    verdict_of(response.status, &envelope.error.code)
}

fn verdict_of(status: u16, code: &str) -> TokenVerdict {
    match (status, code) {
        (200..300, "ok") => TokenVerdict::Accepted,
        (_, "access_token_invalid") | (401, "") => TokenVerdict::Rejected,
        _ => TokenVerdict::Unknown,
    }
}

/// A video that TikTok waits for. The address is a secret.
pub(super) struct StartedVideo {
    pub(super) publish_id: String,
    pub(super) upload_url: String,
}

#[derive(Debug)]
pub(super) struct TikTokApi {
    client: AuthorizedClient,
    origin: Origin,
}

impl TikTokApi {
    pub(super) fn new(settings: &TikTokSettings, deps: &PublisherDeps) -> Self {
        let client = AuthorizedClient::new(deps.http.clone(), token_provider(settings, deps), token_verdict);
        Self { client, origin: settings.api.clone() }
    }

    pub(super) fn tokens(&self) -> &TokenProvider {
        self.client.tokens()
    }

    async fn call<T: DeserializeOwned + Default>(
        &self,
        step: &str,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
        context: &dyn PublishContext,
    ) -> Result<T, CallError> {
        let request = || {
            let request = self.client.http().post(self.origin.at(path)).header(CONTENT_TYPE, JSON_UTF8);
            match body {
                Some(body) => request.json(body),
                None => request.header(CONTENT_LENGTH, 0),
            }
        };
        let response = self.client.send::<Refusal>(request, context).await?;
        let retry_at = response.retry_after(context.now());
        let envelope = response.parse::<Envelope<T>>().unwrap_or_default();
        envelope.into_data(step, response.status, retry_at).map_err(CallError::Refused)
    }

    /// Asks whether and how the account may post now. TikTok requires that before every post (section 3).
    pub(super) async fn creator_info(&self, context: &dyn PublishContext) -> Result<CreatorInfo, PublishError> {
        let step = "report whether the account may post";
        let path = "/v2/post/publish/creator_info/query/";
        let sent = self.call(step, path, None::<&()>, context).await;
        sent.map_err(|error| error.into_retryable(Platform::TikTok, step))
    }

    /// Starts a video. If the response is lost, nothing can come of it: nobody knows the upload address (section 9).
    pub(super) async fn start_video(
        &self,
        video: &VideoInit<'_>,
        context: &dyn PublishContext,
    ) -> Result<StartedVideo, PublishError> {
        let step = "accept the video";
        let sent = self.call::<InitResponse>(step, "/v2/post/publish/video/init/", Some(video), context).await;
        let response = sent.map_err(|error| error.into_retryable(Platform::TikTok, step))?;
        match (response.publish_id, response.upload_url) {
            (Some(publish_id), Some(upload_url)) => Ok(StartedVideo { publish_id, upload_url }),
            _ => Err(unexpected_response(Platform::TikTok, step, 200).into()),
        }
    }

    /// Starts a photo, which TikTok then publishes by itself. Gives its `publish_id`, if the response has one.
    pub(super) async fn start_photo(
        &self,
        photo: &PhotoInit<'_>,
        context: &dyn PublishContext,
    ) -> Result<Option<String>, CallError> {
        let path = "/v2/post/publish/content/init/";
        Ok(self.call::<InitResponse>(START_PHOTO, path, Some(photo), context).await?.publish_id)
    }

    pub(super) async fn status(
        &self,
        publish_id: &str,
        context: &dyn PublishContext,
    ) -> Result<PublishState, PublishError> {
        let step = "report the status of the post";
        let body = StatusRequest { publish_id };
        match self.call::<StatusResponse>(step, "/v2/post/publish/status/fetch/", Some(&body), context).await {
            Ok(response) => Ok(response.into()),
            Err(CallError::Refused(refusal)) if refusal.code == UNKNOWN_ID => {
                Ok(PublishState::Unknown(refusal.failure))
            }
            Err(error) => Err(error.into_retryable(Platform::TikTok, step)),
        }
    }

    /// The newest public videos of the account. Needs the scope `video.list`.
    pub(super) async fn list_videos(&self, context: &dyn PublishContext) -> Result<Vec<ListedVideo>, PublishError> {
        let step = "list the account's videos";
        let path = "/v2/video/list/?fields=id,title,video_description,create_time,share_url";
        let sent = self.call::<VideoList>(step, path, Some(&ListRequest { max_count: MAX_LISTED }), context).await;
        Ok(sent.map_err(|error| error.into_retryable(Platform::TikTok, step))?.videos)
    }

    /// An upload address that TikTok gave, if bytes may be sent there.
    pub(super) fn upload_address(&self, address: &str) -> Result<Url, Failure> {
        self.origin.trusted(address, UPLOAD_DOMAIN, Platform::TikTok)
    }

    /// Sends a chunk. The address has a token of its own; the account's is not sent there (section 1).
    pub(super) async fn send_chunk(
        &self,
        address: &Url,
        file: &MediaFile,
        range: Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<ApiResponse, SendError> {
        let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
        let http = self.client.http();
        let request = http.put(address.clone()).header(CONTENT_TYPE, file.mime).header(CONTENT_RANGE, content_range);
        http.upload(request, file, range, context).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::post::Category;

    /// The response to a request for a video's `init`.
    fn init(status: u16, body: &str) -> Result<(Option<String>, Option<String>), Refusal> {
        let envelope: Envelope<InitResponse> = serde_json::from_str(body).unwrap();
        envelope.into_data("test", status, None).map(|data| (data.publish_id, data.upload_url))
    }

    #[test]
    fn a_success_has_the_code_ok_and_its_data_whatever_its_form() {
        let given =
            r#"{"data":{"publish_id":"v_pub_file~1","upload_url":"https://u"},"error":{"code":"ok","logid":"1"}}"#;
        assert_eq!(init(200, given).unwrap(), (Some("v_pub_file~1".to_owned()), Some("https://u".to_owned())));
        for data in [r#"{"publish_id":7,"upload_url":null}"#, "null", "[]", r#""none""#] {
            let body = format!(r#"{{"data":{data},"error":{{"code":"ok","message":3}}}}"#);
            assert_eq!(init(200, &body).unwrap(), (None, None), "{data}");
        }
    }

    #[test]
    fn a_refusal_is_classified_and_what_is_none_is_not_understood() {
        let refused = r#"{"data":{},"error":{"code":"spam_risk_too_many_posts","message":"enough","log_id":"1"}}"#;
        for (status, body, category, says) in [
            (200, refused, Category::QuotaExhausted, "`spam_risk_too_many_posts` (enough)"),
            (500, r#"{"error":"oops"}"#, Category::PlatformOutage, "HTTP 500"),
            (200, "{}", Category::Unknown, "unexpected response"),
            (400, r#"{"error":{"code":"ok"}}"#, Category::Unknown, "unexpected response"),
        ] {
            let failure = Failure::from(init(status, body).unwrap_err());
            assert_eq!(failure.category, category, "{body}");
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }

    #[test]
    fn the_code_and_the_status_tell_what_tiktok_thinks_of_the_token() {
        for (status, code, verdict) in [
            (200, "ok", TokenVerdict::Accepted),
            (500, "ok", TokenVerdict::Unknown),
            (200, "", TokenVerdict::Unknown),
            (200, "access_token_invalid", TokenVerdict::Rejected),
            (401, "access_token_invalid", TokenVerdict::Rejected),
            (401, "", TokenVerdict::Rejected),
            (401, "scope_not_authorized", TokenVerdict::Unknown),
            (403, "spam_risk", TokenVerdict::Unknown),
        ] {
            assert_eq!(verdict_of(status, code), verdict, "{status} {code}");
        }
    }

    #[test]
    fn only_a_code_or_a_refused_token_makes_certain_that_nothing_was_accepted() {
        for (status, code, is_definite) in [
            (403, "spam_risk", true),
            (200, "spam_risk", true),
            (401, "access_token_invalid", true),
            (401, "", true),
            (403, "", false),
            (404, "ok", false),
            (500, "internal_error", false),
            (502, "", false),
        ] {
            let body = format!(r#"{{"error":{{"code":"{code}"}}}}"#);
            assert_eq!(init(status, &body).unwrap_err().is_definite(), is_definite, "{status} {code}");
        }
    }
}
