//! The calls of the Content Posting API: "Query Creator Info", "Direct Post", "Photo", "Get Post Status" and
//! "Rate Limits" on <https://developers.tiktok.com>.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use url::Url;

use super::TikTokSettings;
use super::classify::{INACCESSIBLE_ID, INVALID_TOKEN, UNKNOWN_ID, classify, explanation, with_retry_at};
use super::status::PublishState;
use super::token::token_provider;
use super::wire::{
    ApiError, CreatorInfo, InitResponse, ListRequest, ListedVideo, PhotoInit, StatusRequest, StatusResponse, VideoInit,
    VideoList,
};
use crate::platform::auth::{self, AuthorizedClient, TokenVerdict};
use crate::platform::explanation::UNEXPECTED;
use crate::platform::http::{ApiResponse, JSON_UTF8, SendError, lenient};
use crate::platform::limiter::RequestLimiter;
use crate::platform::media::MediaFile;
use crate::platform::token_provider::TokenProvider;
use crate::platform::{AttemptAborted, Origin, PublishContext, PublishError, PublisherDeps};
use crate::post::{Category, Failure, Platform};

/// The domain of TikTok's upload hosts.
const UPLOAD_DOMAIN: &str = "tiktokapis.com";

/// The most videos that one call lists.
const MAX_LISTED: u32 = 20;

/// TikTok counts requests in any window of 60 s ("Rate Limits"), when they arrive. One second more is for one that was
/// slow.
const RATE_WINDOW: Duration = Duration::from_secs(61);

/// The most requests of each kind within the window. Videos and photos are started under one limit.
const MAX_INITS: usize = 6;
const MAX_CREATOR_INFOS: usize = 20;
const MAX_STATUSES: usize = 30;

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
    /// Whether it is certain that nothing was accepted: TikTok says so with a code whose meaning is known. A response
    /// without a code may come from a server in between, after TikTok has received the request.
    pub(super) fn is_definite(&self) -> bool {
        self.status < 500 && !matches!(self.code.as_str(), "" | "ok") && self.failure.category != Category::Unknown
    }

    /// Adds when the next request is allowed.
    fn with_retry_at(self, asked: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        Self { failure: with_retry_at(self.failure, asked, now), ..self }
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

/// What a successful call gave.
#[derive(Debug)]
pub(super) struct Success<T> {
    pub(super) data: T,
    status: u16,
    /// Its log id is worth telling where the data is of no use.
    pub(super) error: ApiError,
}

impl<T> Success<T> {
    /// The data is not what was expected.
    pub(super) fn unexpected(&self, step: &str) -> Failure {
        unexpected(step, self.status, &self.error)
    }
}

impl<T> Envelope<T> {
    /// The data of a success. The status alone does not tell: TikTok refuses with HTTP 200 too ("Query Creator Info").
    fn into_success(self, step: &str, status: u16) -> Result<Success<T>, Refusal> {
        let Self { data, error } = self;
        let is_success = (200..300).contains(&status);
        let failure = match error.code.as_str() {
            "ok" if is_success => return Ok(Success { data, status, error }),
            "ok" => unexpected(step, status, &error),
            "" if is_success => unexpected(step, status, &error),
            _ => classify(step, status, &error),
        };
        Err(Refusal { failure, status, code: error.code })
    }
}

/// What a response of the API says of the call.
pub(super) fn read_response<T: DeserializeOwned + Default>(
    step: &str,
    response: &ApiResponse,
    now: DateTime<Utc>,
) -> Result<Success<T>, Refusal> {
    let envelope = response.parse::<Envelope<T>>().unwrap_or_default();
    let success = envelope.into_success(step, response.status);
    success.map_err(|refusal| refusal.with_retry_at(response.retry_after(now), now))
}

/// A response that is neither a success nor a refusal as TikTok documents them.
fn unexpected(step: &str, status: u16, error: &ApiError) -> Failure {
    explanation(step, error).status(status).failure(Category::Unknown, UNEXPECTED)
}

/// TikTok's own code in a response; empty if there is none.
fn code_of(response: &ApiResponse) -> String {
    response.parse::<Envelope<IgnoredAny>>().unwrap_or_default().error.code
}

/// What a response says of the token that the request carried.
fn token_verdict(response: &ApiResponse) -> TokenVerdict {
    verdict_of(response.status, &code_of(response))
}

/// The same for the request that starts a photo. A refused token leads to a second request, so only TikTok's own word
/// counts here: a 401 of a server in between may hide that TikTok has accepted the photo.
fn photo_token_verdict(response: &ApiResponse) -> TokenVerdict {
    photo_verdict_of(response.status, &code_of(response))
}

fn verdict_of(status: u16, code: &str) -> TokenVerdict {
    match (status, code) {
        (200..300, "ok") => TokenVerdict::Accepted,
        (_, INVALID_TOKEN) | (401, "") => TokenVerdict::Rejected,
        _ => TokenVerdict::Unknown,
    }
}

fn photo_verdict_of(status: u16, code: &str) -> TokenVerdict {
    if code.is_empty() { TokenVerdict::Unknown } else { verdict_of(status, code) }
}

/// A video that TikTok waits for. The address is a secret.
pub(super) struct StartedVideo {
    pub(super) publish_id: String,
    pub(super) upload_url: String,
}

#[derive(Debug)]
pub(super) struct TikTokApi {
    client: AuthorizedClient,
    /// Starts photos: what it takes for a refused token is stricter.
    photo_client: AuthorizedClient,
    origin: Origin,
    inits: RequestLimiter,
    creator_infos: RequestLimiter,
    statuses: RequestLimiter,
}

impl TikTokApi {
    pub(super) fn new(settings: &TikTokSettings, deps: &PublisherDeps) -> Self {
        let tokens = Arc::new(token_provider(settings, deps));
        let client = |verdict: fn(&ApiResponse) -> TokenVerdict| {
            AuthorizedClient::new(deps.http.clone(), Arc::clone(&tokens), verdict)
        };
        Self {
            client: client(token_verdict),
            photo_client: client(photo_token_verdict),
            origin: settings.api.clone(),
            inits: RequestLimiter::new(MAX_INITS, RATE_WINDOW, deps.pacing),
            creator_infos: RequestLimiter::new(MAX_CREATOR_INFOS, RATE_WINDOW, deps.pacing),
            statuses: RequestLimiter::new(MAX_STATUSES, RATE_WINDOW, deps.pacing),
        }
    }

    pub(super) fn tokens(&self) -> &TokenProvider {
        self.client.tokens()
    }

    async fn call<T: DeserializeOwned + Default>(
        &self,
        step: &str,
        path: &'static str,
        body: Option<&(impl Serialize + Sync)>,
        context: &dyn PublishContext,
    ) -> Result<Success<T>, CallError> {
        self.call_with(&self.client, step, path, body, context).await
    }

    async fn call_with<T: DeserializeOwned + Default>(
        &self,
        client: &AuthorizedClient,
        step: &str,
        path: &'static str,
        body: Option<&(impl Serialize + Sync)>,
        context: &dyn PublishContext,
    ) -> Result<Success<T>, CallError> {
        let request = || {
            let request = client.http().post(self.origin.at(path)).header(CONTENT_TYPE, JSON_UTF8);
            match body {
                Some(body) => request.json(body),
                None => request.header(CONTENT_LENGTH, 0),
            }
        };
        let response = client.send::<Refusal>(request, context).await?;
        read_response(step, &response, context.now()).map_err(CallError::Refused)
    }

    /// Asks whether and how the account may post now. The "Content Sharing Guidelines" require that before every post.
    pub(super) async fn creator_info(&self, context: &dyn PublishContext) -> Result<CreatorInfo, PublishError> {
        let step = "report whether the account may post";
        let path = "/v2/post/publish/creator_info/query/";
        self.creator_infos.wait_turn(context).await?;
        let sent = self.call(step, path, None::<&()>, context).await;
        Ok(sent.map_err(|error| error.into_retryable(Platform::TikTok, step))?.data)
    }

    /// Waits until a video or a photo may be started. For a photo that is before its intent is stored: an attempt that
    /// ends while it waits has sent nothing.
    pub(super) async fn wait_for_init(&self, context: &dyn PublishContext) -> Result<(), AttemptAborted> {
        self.inits.wait_turn(context).await
    }

    /// Starts a video. If the response is lost, nothing can come of it: nobody knows the upload address, and posting
    /// starts with the last byte ("Media Transfer Guide").
    pub(super) async fn start_video(
        &self,
        video: &VideoInit<'_>,
        context: &dyn PublishContext,
    ) -> Result<StartedVideo, PublishError> {
        let step = "accept the video";
        self.wait_for_init(context).await?;
        let sent = self.call::<InitResponse>(step, "/v2/post/publish/video/init/", Some(video), context).await;
        let mut success = sent.map_err(|error| error.into_retryable(Platform::TikTok, step))?;
        match (success.data.publish_id.take(), success.data.upload_url.take()) {
            (Some(publish_id), Some(upload_url)) => Ok(StartedVideo { publish_id, upload_url }),
            _ => Err(success.unexpected(step).into()),
        }
    }

    /// Starts a photo, which TikTok then publishes by itself. Gives its `publish_id`. The caller has waited for its
    /// turn.
    pub(super) async fn start_photo(
        &self,
        photo: &PhotoInit<'_>,
        context: &dyn PublishContext,
    ) -> Result<String, CallError> {
        let path = "/v2/post/publish/content/init/";
        let client = &self.photo_client;
        let mut success = self.call_with::<InitResponse>(client, START_PHOTO, path, Some(photo), context).await?;
        success.data.publish_id.take().ok_or_else(|| {
            let failure = success.unexpected(START_PHOTO);
            CallError::Refused(Refusal { failure, status: success.status, code: success.error.code })
        })
    }

    pub(super) async fn status(
        &self,
        publish_id: &str,
        context: &dyn PublishContext,
    ) -> Result<PublishState, PublishError> {
        let step = "report the status of the post";
        let body = StatusRequest { publish_id };
        self.statuses.wait_turn(context).await?;
        match self.call::<StatusResponse>(step, "/v2/post/publish/status/fetch/", Some(&body), context).await {
            Ok(success) => Ok(PublishState::read(success.data, success.error)),
            Err(CallError::Refused(refusal)) if refusal.code == UNKNOWN_ID => {
                Ok(PublishState::Unknown(refusal.failure))
            }
            Err(CallError::Refused(refusal)) if refusal.code == INACCESSIBLE_ID => {
                Ok(PublishState::Inaccessible(refusal.failure))
            }
            Err(error) => Err(error.into_retryable(Platform::TikTok, step)),
        }
    }

    /// The newest public videos of the account. Needs the scope `video.list`.
    pub(super) async fn list_videos(&self, context: &dyn PublishContext) -> Result<Vec<ListedVideo>, PublishError> {
        let step = "list the account's videos";
        let path = "/v2/video/list/?fields=id,title,video_description,create_time,share_url";
        let sent = self.call::<VideoList>(step, path, Some(&ListRequest { max_count: MAX_LISTED }), context).await;
        Ok(sent.map_err(|error| error.into_retryable(Platform::TikTok, step))?.data.videos)
    }

    /// An upload address that TikTok gave, if bytes may be sent there.
    pub(super) fn upload_address(&self, address: &str) -> Result<Url, Failure> {
        self.origin.trusted(address, UPLOAD_DOMAIN, Platform::TikTok)
    }

    /// Sends a chunk. The address has a token of its own; the account's is not sent there ("Direct Post").
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

    /// The response to a request for a video's `init`.
    fn init(status: u16, body: &str) -> Result<(Option<String>, Option<String>), Refusal> {
        let envelope: Envelope<InitResponse> = serde_json::from_str(body).unwrap();
        envelope.into_success("test", status).map(|success| (success.data.publish_id, success.data.upload_url))
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
            (200, refused, Category::QuotaExhausted, "(`spam_risk_too_many_posts`, “enough”, when asked to test, "),
            (200, refused, Category::QuotaExhausted, ", log_id 1)"),
            (500, r#"{"error":"oops"}"#, Category::PlatformOutage, "HTTP 500"),
            (200, "{}", Category::Unknown, "unexpected response"),
            (400, r#"{"error":{"code":"ok"}}"#, Category::Unknown, "unexpected response"),
            (400, r#"{"error":{"code":"ok","log_id":"1"}}"#, Category::Unknown, ", log_id 1)"),
            (403, "{}", Category::Unknown, "HTTP 403"),
            (401, "{}", Category::Auth, "HTTP 401"),
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
    fn a_photo_is_sent_again_only_if_tiktok_itself_refuses_the_token() {
        for (status, code, verdict) in [
            (200, "ok", TokenVerdict::Accepted),
            (401, INVALID_TOKEN, TokenVerdict::Rejected),
            (200, INVALID_TOKEN, TokenVerdict::Rejected),
            (401, "", TokenVerdict::Unknown),
            (401, "scope_not_authorized", TokenVerdict::Unknown),
        ] {
            assert_eq!(photo_verdict_of(status, code), verdict, "{status} {code}");
        }
    }

    #[test]
    fn only_a_known_code_makes_certain_that_nothing_was_accepted() {
        for (status, code, is_definite) in [
            (403, "spam_risk", true),
            (200, "spam_risk", true),
            (401, "access_token_invalid", true),
            (401, "", false),
            (403, "", false),
            (429, "", false),
            (429, "rate_limit_exceeded", true),
            (400, "a_code_of_tomorrow", false),
            (404, "ok", false),
            (500, "internal_error", false),
            (502, "", false),
        ] {
            let body = format!(r#"{{"error":{{"code":"{code}"}}}}"#);
            assert_eq!(init(status, &body).unwrap_err().is_definite(), is_definite, "{status} {code}");
        }
    }
}
