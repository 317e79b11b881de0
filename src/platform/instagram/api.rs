//! The calls of the Graph API and of its upload host, one method each.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::RequestBuilder;
use reqwest::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::InstagramSettings;
use super::classify::{Classify, GraphCode, classify, classify_read, classify_upload, refusal, token_verdict};
use super::container::Container;
use super::rate_limit::{APP_USAGE_HEADER, USAGE_HEADER, nearly_used_up, regains_access_at};
use super::wire::{
    ContainerStatus, Created, CreatedReel, ErrorEnvelope, List, Media, NewImage, NewReel, NextPage, PublishContainer,
    PublishingLimit, UploadResponse, graph_error,
};
use crate::platform::auth::{AuthorizedClient, CallError, TokenVerdict};
use crate::platform::http::{ApiResponse, Http};
use crate::platform::media::MediaFile;
use crate::platform::token_provider::TokenProvider;
use crate::platform::{Origin, PublishContext, unexpected_response};
use crate::post::{Category, Failure, Platform};

// What each call asks of Instagram, as the texts of failures say it.
pub(super) const READ_LIMIT: &str = "report how many posts the account has left";
pub(super) const CREATE: &str = "create a container for the post";
pub(super) const SEND_BYTES: &str = "upload the video";
pub(super) const READ_CONTAINER: &str = "report the container's status";
pub(super) const PUBLISH: &str = "publish the post";
pub(super) const LIST_MEDIA: &str = "list the account's posts";
pub(super) const READ_LINK: &str = "report the post's link";

/// The domain of the upload host.
const UPLOAD_DOMAIN: &str = "facebook.com";

/// How long to wait, if Instagram does not say, after too many requests of the app (code 4) or of the account (code
/// 17): both are counted over one hour ("Rate Limits").
const RATE_WINDOW: TimeDelta = TimeDelta::hours(1);

/// The fields that every container has.
const PLAIN_FIELDS: &str = "status_code,status";

/// How many posts are asked for at a time, and how many times.
const PAGE_SIZE: usize = 100;
const MAX_PAGES: u32 = 5;

/// What the Graph API refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) failure: Failure,
    /// Empty where the response was not understood.
    pub(super) code: GraphCode,
}

impl Refusal {
    /// Whether the token is what was refused. A response that was not understood has this category only with HTTP 401.
    pub(super) fn is_token_refused(&self) -> bool {
        self.failure.category == Category::Auth && self.code.is_token_refused(401)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        refusal.failure
    }
}

/// Why a call of the Graph API has no result.
pub(super) type ApiError = CallError<Refusal>;

/// The Graph API, for one account.
#[derive(Debug)]
pub(super) struct InstagramApi {
    client: AuthorizedClient,
    api: Origin,
    upload: Origin,
    version: String,
    user_id: String,
}

impl InstagramApi {
    pub(super) fn new(settings: &InstagramSettings, http: Http, tokens: TokenProvider) -> Self {
        Self {
            client: AuthorizedClient::new(http, tokens, verdict),
            api: settings.api.clone(),
            upload: settings.upload.clone(),
            version: settings.version.clone(),
            user_id: settings.credentials.user_id.clone(),
        }
    }

    pub(super) fn tokens(&self) -> &TokenProvider {
        self.client.tokens()
    }

    /// The upload address that Instagram has handed out.
    ///
    /// # Errors
    /// Where it is not Instagram's own; the token must not be sent there.
    pub(super) fn upload_url(&self, uri: &str) -> Result<Url, Failure> {
        self.upload.trusted(uri, UPLOAD_DOMAIN, Platform::Instagram)
    }

    fn object_url(&self, id: &str) -> Url {
        self.api.at_segments(&[&self.version, id])
    }

    fn account_url(&self, edge: &str) -> Url {
        self.api.at_segments(&[&self.version, &self.user_id, edge])
    }

    /// How many posts the account may publish; none where the response does not say.
    pub(super) async fn publishing_limit(
        &self,
        context: &dyn PublishContext,
    ) -> Result<Option<PublishingLimit>, ApiError> {
        let url = self.account_url("content_publishing_limit");
        let request = || self.client.http().get(url.clone()).query(&[("fields", "config,quota_usage")]);
        let limits: List<PublishingLimit> = self.call(READ_LIMIT, classify_read, request, context).await?;
        Ok(limits.data.into_iter().next())
    }

    pub(super) async fn create_reel(
        &self,
        reel: &NewReel<'_>,
        context: &dyn PublishContext,
    ) -> Result<CreatedReel, ApiError> {
        self.create(reel, context).await
    }

    pub(super) async fn create_image(
        &self,
        image: &NewImage<'_>,
        context: &dyn PublishContext,
    ) -> Result<Created, ApiError> {
        self.create(image, context).await
    }

    async fn create<T: DeserializeOwned>(
        &self,
        container: &(impl Serialize + Sync),
        context: &dyn PublishContext,
    ) -> Result<T, ApiError> {
        let url = self.account_url("media");
        self.call(CREATE, classify, || self.client.http().post(url.clone()).json(container), context).await
    }

    /// Sends the bytes of a reel from `offset` on. They always go to the end of the file ("Content Publishing").
    pub(super) async fn send_bytes(
        &self,
        url: &Url,
        file: &MediaFile,
        offset: u64,
        context: &dyn PublishContext,
    ) -> Result<(), CallError<Failure>> {
        let size = file.size;
        let request = |token: &SecretString| {
            let authorization = format!("OAuth {}", token.expose_secret());
            let request = self.client.http().post(url.clone()).header(AUTHORIZATION, authorization);
            request.header("offset", offset).header("file_size", size)
        };
        let response = self.client.upload::<Failure>(request, file, offset..size, context).await?;
        report_usage(&response, context);
        read_upload_response(&response, context.now()).map_err(CallError::Refused)
    }

    /// What a container reports of itself. The Graph API refuses a read with a field that the object does not have
    /// (seen, not documented). Then it is read at once with fewer, in the end with those that all have.
    pub(super) async fn read_container(
        &self,
        container: Container<'_>,
        context: &dyn PublishContext,
    ) -> Result<ContainerStatus, ApiError> {
        for fields in container.kind.fields() {
            match self.read_fields(container.id, fields, context).await {
                Err(CallError::Refused(refusal)) if refusal.code.is_about_fields() => {
                    log::debug!("reading the container with fewer fields: {}", refusal.failure.message);
                }
                read => return read,
            }
        }
        self.read_fields(container.id, PLAIN_FIELDS, context).await
    }

    async fn read_fields(
        &self,
        id: &str,
        fields: &str,
        context: &dyn PublishContext,
    ) -> Result<ContainerStatus, ApiError> {
        let url = self.object_url(id);
        let request = || self.client.http().get(url.clone()).query(&[("fields", fields)]);
        self.call(READ_CONTAINER, classify_read, request, context).await
    }

    /// Makes a container public. The only call that cannot be undone, so it is never repeated in here: even if its token
    /// is refused, it may have published the container.
    pub(super) async fn publish(&self, container_id: &str, context: &dyn PublishContext) -> Result<Created, ApiError> {
        let url = self.account_url("media_publish");
        // The id is in the body too: only a body is withheld when the lease has expired meanwhile.
        let body = PublishContainer { creation_id: container_id };
        let request = self.client.http().post(url).query(&[("creation_id", container_id)]).json(&body);
        let response = self.client.send_once::<Refusal>(request, context).await?;
        report_usage(&response, context);
        read_response(PUBLISH, &response, classify, context.now()).map_err(CallError::Refused)
    }

    /// The link of a post; none where the response does not say.
    pub(super) async fn permalink(&self, id: &str, context: &dyn PublishContext) -> Result<Option<String>, ApiError> {
        let url = self.object_url(id);
        let request = || self.client.http().get(url.clone()).query(&[("fields", "id,permalink")]);
        let media: Media = self.call(READ_LINK, classify_read, request, context).await?;
        Ok(media.permalink)
    }

    /// The account's posts of a time; none if there are more than the pages that are read can have.
    pub(super) async fn list_media(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        context: &dyn PublishContext,
    ) -> Result<Option<Vec<Media>>, ApiError> {
        let url = self.account_url("media");
        let query = [
            ("fields", "id,caption,timestamp,permalink".to_owned()),
            ("limit", PAGE_SIZE.to_string()),
            ("since", since.timestamp().to_string()),
            ("until", until.timestamp().to_string()),
        ];
        let mut cursor: Vec<(&str, String)> = Vec::new();
        let mut media = Vec::new();
        for _ in 0..MAX_PAGES {
            let request = || self.client.http().get(url.clone()).query(&query).query(&cursor);
            let page: List<Media> = self.call(LIST_MEDIA, classify_read, request, context).await?;
            let is_full = page.data.len() >= PAGE_SIZE;
            media.extend(page.data);
            cursor = match page.paging.next_page() {
                NextPage::After(after) => vec![("after", after)],
                // A list that is limited by time may name a next page that is empty, and then without a cursor.
                NextPage::Unnamed if is_full => return Ok(None),
                NextPage::None | NextPage::Unnamed => return Ok(Some(media)),
            };
        }
        Ok(None)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        step: &str,
        classify: Classify,
        request: impl Fn() -> RequestBuilder + Send + Sync,
        context: &dyn PublishContext,
    ) -> Result<T, ApiError> {
        let response = self.client.send::<Refusal>(request, context).await?;
        report_usage(&response, context);
        read_response(step, &response, classify, context.now()).map_err(CallError::Refused)
    }
}

fn report_usage(response: &ApiResponse, context: &dyn PublishContext) {
    if let Some(detail) = nearly_used_up(response.header(APP_USAGE_HEADER), response.header(USAGE_HEADER)) {
        context.usage_exhausted(detail);
    }
}

fn verdict(response: &ApiResponse) -> TokenVerdict {
    token_verdict(response.status, response.parse::<ErrorEnvelope>().as_ref())
}

pub(super) fn read_response<T: DeserializeOwned>(
    step: &str,
    response: &ApiResponse,
    classify: Classify,
    now: DateTime<Utc>,
) -> Result<T, Refusal> {
    if response.is_success() && graph_error(response).is_none() {
        return response.parse().ok_or_else(|| Refusal {
            failure: unexpected_response(Platform::Instagram, step, response.status),
            code: GraphCode::default(),
        });
    }
    Err(refusal_of(step, response, classify, now))
}

/// The refusal that a response without a result stands for.
pub(super) fn refusal_of(step: &str, response: &ApiResponse, classify: Classify, now: DateTime<Utc>) -> Refusal {
    let (failure, code) = refusal(step, response.status, graph_error(response).as_ref(), classify);
    let estimate = response.header(USAGE_HEADER).and_then(|usage| regains_access_at(usage, now));
    let told = estimate.or_else(|| response.retry_after(now));
    Refusal { failure: with_retry_at(failure, code, told, now), code }
}

/// Adds when Instagram allows the next request: when it says so, or after too many requests when their hour has passed.
fn with_retry_at(failure: Failure, code: GraphCode, told: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Failure {
    let is_counted_by_the_hour = failure.category == Category::RateLimited && matches!(code.code, Some(4 | 17));
    let window_passed = || now.checked_add_signed(RATE_WINDOW).filter(|_| is_counted_by_the_hour);
    failure.retry_at(told.or_else(window_passed))
}

pub(super) fn read_upload_response(response: &ApiResponse, now: DateTime<Utc>) -> Result<(), Failure> {
    let upload: UploadResponse = response.parse().unwrap_or_default();
    if response.is_success() && upload.success {
        return Ok(());
    }
    let envelope: ErrorEnvelope = response.parse().unwrap_or_default();
    if response.is_success() && !envelope.is_own() {
        return Err(unexpected_response(Platform::Instagram, SEND_BYTES, response.status));
    }
    let code = envelope.error.as_ref().map(GraphCode::of).unwrap_or_default();
    Err(with_retry_at(classify_upload(response.status, &envelope), code, response.retry_after(now), now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_too_many_requests_of_the_app_or_the_account_the_hour_passes_unless_instagram_says_more() {
        let now = DateTime::<Utc>::from_timestamp(1_767_225_600, 0).unwrap();
        let (told, hour) = (Some(now + TimeDelta::minutes(25)), Some(now + TimeDelta::hours(1)));
        for (category, code, told, retry_at) in [
            (Category::RateLimited, 4, None, hour),
            (Category::RateLimited, 17, None, hour),
            (Category::RateLimited, 4, told, told),
            (Category::RateLimited, 32, None, None),
            (Category::RateLimited, 32, told, told),
            // Code 4 with the subcode of a block.
            (Category::AccountRestricted, 4, None, None),
        ] {
            let code = GraphCode { code: Some(code), ..GraphCode::default() };
            let failure = with_retry_at(Failure::new(category, ""), code, told, now);
            assert_eq!(failure.retry_at, retry_at, "{category} {code:?}");
        }
    }
}
