//! `YouTube` Shorts, by `videos.insert` of the Data API v3: facts of the vendor pages as of November 2026.
//!
//! A video is announced, which gives an upload session, and exists once the last byte is in. So the ticket is the
//! session, which answers at any time how far it has come and repeats its result when it is complete; the step that
//! cannot be taken back is the last chunk.

mod account;
mod classify;
mod metadata;
mod processing;
mod recovery;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use self::account::GoogleRefresher;
use self::classify::classify;
use super::http::{ApiResponse, Http, JSON_UTF8, SendError};
use super::media::{AssetStore, MediaFile};
use super::patience::{Look, Patience, PollSettings};
use super::tokens::{TokenConfig, TokenProvider};
use super::{
    AttemptAborted, CredentialExpiry, Origin, PublishContext, PublishError, Publisher, PublisherDeps, TicketAge,
    TicketOutcome,
};
use crate::post::{Category, Failure, MediaKind, Platform, Post, Ticket, TicketHandle};

/// The domain of Google's upload hosts.
const DOMAIN: &str = "googleapis.com";

/// How much is sent at a time: a multiple of 256 KiB, as the protocol wants. The last piece is announced to the store
/// before it is sent, so a file must not go in one piece if a session that dies early is to be told from one that may
/// have made a video.
const CHUNK: u64 = 32 * 1024 * 1024;

/// A token is refreshed this long before its end.
const TOKEN_MARGIN: TimeDelta = TimeDelta::minutes(2);

/// What a session answers that wants more bytes; no redirect, though HTTP has another use for the number.
const RESUME_INCOMPLETE: u16 = 308;

/// How `YouTube` is spoken to.
#[derive(Debug, Clone)]
pub struct YouTubeSettings {
    /// Where the API is.
    pub api: Origin,
    /// Google's token endpoint.
    pub token_url: Url,
    /// The OAuth client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// The channel's refresh token.
    pub refresh_token: SecretString,
    /// `public`, `unlisted` or `private`.
    pub privacy_status: String,
    /// The video category.
    pub category_id: String,
    /// Whether the videos are made for children.
    pub made_for_kids: bool,
}

/// Publishes on `YouTube`.
#[derive(Debug)]
pub struct YouTubePublisher {
    settings: YouTubeSettings,
    http: Http,
    assets: Arc<AssetStore>,
    poll: PollSettings,
    tokens: TokenProvider,
}

/// What a session says of itself.
enum Session {
    /// It wants the bytes from here on.
    WantsFrom(u64),
    /// The video exists.
    Complete(Value),
    /// It is gone.
    Gone,
    /// The upload has failed for good.
    Failed(Failure),
}

impl YouTubePublisher {
    /// A publisher for one channel.
    pub fn new(settings: &YouTubeSettings, tools: &PublisherDeps) -> Self {
        let PublisherDeps { http, assets, poll, vault } = tools.clone();
        let source = TokenConfig {
            platform: Platform::YouTubeShorts,
            account: settings.client_id.clone(),
            access_token: None,
            refresh_token: Some(settings.refresh_token.clone()),
            margin: TOKEN_MARGIN,
            advice: "renew YOUTUBE_REFRESH_TOKEN",
            lock: TokenConfig::lock_for(http.timeout()),
        };
        let refresher = GoogleRefresher {
            http: http.clone(),
            url: settings.token_url.clone(),
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.clone(),
        };
        let tokens = TokenProvider::new(source, Some(Box::new(refresher)), vault);
        Self { settings: settings.clone(), http, assets, poll, tokens }
    }

    /// Sends a request with the account's token; one that is refused is renewed once.
    async fn send(
        &self,
        request: impl Fn() -> RequestBuilder + Send,
        context: &dyn PublishContext,
    ) -> Result<ApiResponse, CallError> {
        let mut token = self.tokens.access(context).await.map_err(CallError::Stopped)?;
        let mut is_renewed = false;
        loop {
            let request = request().bearer_auth(token.expose_secret());
            let response = self.http.send(request, context).await.map_err(CallError::Send)?;
            if response.is_success() || response.status == RESUME_INCOMPLETE {
                context.token_accepted();
            }
            if !is_token_refused(&response) || is_renewed {
                return Ok(response);
            }
            token = self.tokens.replace(&token, context).await.map_err(CallError::Stopped)?;
            is_renewed = true;
        }
    }

    /// Calls an endpoint that answers with JSON.
    async fn call(
        &self,
        step: &str,
        request: impl Fn() -> RequestBuilder + Send,
        context: &dyn PublishContext,
    ) -> Result<Value, PublishError> {
        let response = self.send(request, context).await.map_err(|error| error.into_retryable(step))?;
        let json = response.json();
        if response.is_success() && json.is_object() {
            return Ok(json);
        }
        Err(refusal(step, &response, &json, context).into())
    }

    async fn open_session(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        if post.content.media_kind()? == MediaKind::Image {
            let text = "YouTube takes no images; publish a video";
            return Err(Failure::new(Category::RejectedContent, text).not_retryable().into());
        }
        let file = self.assets.file_of(post, MediaKind::Video).await?;
        let resource = metadata::video_resource(post, &self.settings)?;
        let step = "open an upload session";
        let url = self.settings.api.at("/upload/youtube/v3/videos");
        let name = file.name();
        let request = || {
            self.http
                .post(url.clone())
                .query(&[("uploadType", "resumable"), ("part", "snippet,status")])
                .header("X-Upload-Content-Length", file.size)
                .header("X-Upload-Content-Type", file.mime)
                .header("Slug", name.escape_default().to_string())
                .header(CONTENT_TYPE, JSON_UTF8)
                .json(&resource)
        };
        // A session whose address is lost gets no bytes, and without bytes there is no video.
        let response = self.send(request, context).await.map_err(|error| error.into_retryable(step))?;
        if !response.is_success() {
            return Err(refusal(step, &response, &response.json(), context).into());
        }
        let Some(session_uri) = response.header(LOCATION.as_str()).map(str::to_owned) else {
            return Err(misunderstood(step, response.status).into());
        };
        self.settings.api.trusted(&session_uri, DOMAIN, Platform::YouTubeShorts)?;
        let handle = TicketHandle::YoutubeSession { session_uri, size: file.size, video_id: None };
        Ok(Ticket::new(context.now(), handle))
    }

    /// Asks a session how far it has come.
    async fn session(&self, url: &Url, size: u64, context: &dyn PublishContext) -> Result<Session, PublishError> {
        let step = "say how far the upload has come";
        let request = || {
            let range = format!("bytes */{size}");
            self.http.put(url.clone()).header(CONTENT_LENGTH, 0).header(CONTENT_RANGE, range)
        };
        let response = self.send(request, context).await.map_err(|error| error.into_retryable(step))?;
        read_session(step, &response, context)
    }

    /// Sends the bytes from `offset` on until the session is complete or gone.
    async fn upload(
        &self,
        ticket: &mut Ticket,
        url: &Url,
        file: &MediaFile,
        mut offset: u64,
        context: &dyn PublishContext,
    ) -> Result<Session, PublishError> {
        let step = "take the video's bytes";
        let mut patience = Patience::new(self.poll);
        loop {
            let end = file.size.min(offset.saturating_add(CHUNK));
            if end == file.size && !ticket.is_committed() {
                *ticket = ticket.clone().committed(context.now());
                context.save_ticket(ticket).await?;
            }
            let trouble = match self.send_chunk(url, file, offset..end, context).await {
                Ok(response) => match read_session(step, &response, context) {
                    Ok(Session::WantsFrom(next)) => {
                        if next > offset {
                            patience.note_progress(offset, next);
                            offset = next;
                            continue;
                        }
                        Failure::new(Category::Network, "YouTube took none of the bytes that were sent")
                    }
                    Ok(end) => return Ok(end),
                    Err(error) => error.into_failure()?,
                },
                Err(CallError::Send(error @ (SendError::File(_) | SendError::TooLong { .. }))) => {
                    return Err(error.into_retryable(Platform::YouTubeShorts, step));
                }
                Err(error) => error.into_retryable(step).into_failure()?,
            };
            if patience.bear(&trouble, context).await == Look::Enough {
                return Err(trouble.into());
            }
            match self.session(url, file.size, context).await {
                Ok(Session::WantsFrom(next)) => {
                    patience.note_progress(offset, next);
                    offset = next;
                }
                Ok(end) => return Ok(end),
                Err(PublishError::Failed(_)) => return Err(trouble.into()),
                Err(aborted) => return Err(aborted),
            }
        }
    }

    /// Sends one piece; a token that is refused is renewed once, the session stays.
    async fn send_chunk(
        &self,
        url: &Url,
        file: &MediaFile,
        range: std::ops::Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<ApiResponse, CallError> {
        let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
        let mut token = self.tokens.access(context).await.map_err(CallError::Stopped)?;
        let mut is_renewed = false;
        loop {
            let request = self
                .http
                .put(url.clone())
                .bearer_auth(token.expose_secret())
                .header(CONTENT_TYPE, file.mime)
                .header(CONTENT_RANGE, &content_range);
            let response = self.http.upload(request, file, range.clone(), context).await.map_err(CallError::Send)?;
            if !is_token_refused(&response) || is_renewed {
                return Ok(response);
            }
            token = self.tokens.replace(&token, context).await.map_err(CallError::Stopped)?;
            is_renewed = true;
        }
    }
}

/// What an answer of a session says.
fn read_session(step: &str, response: &ApiResponse, context: &dyn PublishContext) -> Result<Session, PublishError> {
    let json = response.json();
    match response.status {
        200 | 201 if json["id"].is_string() => Ok(Session::Complete(json)),
        200 | 201 => Err(misunderstood(step, response.status).into()),
        RESUME_INCOMPLETE => Ok(Session::WantsFrom(response.header(RANGE.as_str()).map_or(0, bytes_stored))),
        404 | 410 => Ok(Session::Gone),
        status => {
            let failure = refusal(step, response, &json, context);
            // A refusal repeats itself for as long as the session lives, unless it is about the account or time.
            let is_final = (400..500).contains(&status)
                && matches!(
                    failure.category,
                    Category::RejectedContent | Category::MediaProcessing | Category::Unknown
                );
            if is_final { Ok(Session::Failed(failure.with_dead_ticket())) } else { Err(failure.into()) }
        }
    }
}

fn refusal(step: &str, response: &ApiResponse, json: &Value, context: &dyn PublishContext) -> Failure {
    if response.is_success() {
        return misunderstood(step, response.status);
    }
    let failure = classify(step, response.status, json, context.now());
    let said = response.retry_after(context.now());
    if failure.retry_at.is_none() { failure.retry_at(said) } else { failure }
}

/// Why a request has no response.
enum CallError {
    Send(SendError),
    Stopped(PublishError),
}

impl CallError {
    fn into_retryable(self, step: &str) -> PublishError {
        match self {
            Self::Send(error) => error.into_retryable(Platform::YouTubeShorts, step),
            Self::Stopped(error) => error,
        }
    }
}

/// A refused token, told from an account without a channel, which is a 401 too.
fn is_token_refused(response: &ApiResponse) -> bool {
    response.status == 401 && response.json()["error"]["errors"][0]["reason"] != "youtubeSignupRequired"
}

/// How many bytes a `Range` header says are stored: `bytes=0-N` or `0-N`, N included.
fn bytes_stored(range: &str) -> u64 {
    let last = range.trim().trim_start_matches("bytes=").rsplit_once('-').and_then(|(_, last)| last.parse().ok());
    last.map_or(0, |last: u64| last.saturating_add(1))
}

/// The file is not the one that was announced. The session says that bytes are missing, so there is no video of it.
fn replaced_file() -> Failure {
    let text = "the video file has changed since its upload to YouTube began; the next retry sends it as it is now";
    Failure::new(Category::MissingAsset, text).with_dead_ticket()
}

fn misunderstood(step: &str, status: u16) -> Failure {
    let text = format!("YouTube answered HTTP {status} to {step} with something that is not understood");
    Failure::new(Category::Unknown, text)
}

#[async_trait]
impl Publisher for YouTubePublisher {
    fn platform(&self) -> Platform {
        Platform::YouTubeShorts
    }

    async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, AttemptAborted> {
        self.tokens.credential_expiry().await
    }

    async fn create_ticket(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        self.open_session(post, context).await
    }

    async fn resume_publish(
        &self,
        post: &Post,
        mut ticket: Ticket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let TicketHandle::YoutubeSession { session_uri, size, video_id } = ticket.handle.clone() else {
            return Ok(TicketOutcome::Dead);
        };
        if let Some(id) = video_id {
            return self.processed(&mut ticket, &serde_json::json!({ "id": id }), age, context).await;
        }
        let url = self.settings.api.trusted(&session_uri, DOMAIN, Platform::YouTubeShorts)?;
        let mut session = match age {
            TicketAge::Fresh => Session::WantsFrom(0),
            TicketAge::Stored => self.session(&url, size, context).await?,
        };
        if let Session::WantsFrom(offset) = session {
            let file = self.assets.file_of(post, MediaKind::Video).await?;
            if file.size != size {
                return Err(replaced_file().into());
            }
            session = self.upload(&mut ticket, &url, &file, offset, context).await?;
        }
        match session {
            Session::Complete(video) => self.processed(&mut ticket, &video, age, context).await,
            Session::Failed(failure) => Err(failure.into()),
            Session::Gone | Session::WantsFrom(_) if !ticket.is_committed() => Ok(TicketOutcome::Dead),
            Session::Gone | Session::WantsFrom(_) => self.find_uploaded(post, &mut ticket, size, context).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_the_range_are_read() {
        assert_eq!(bytes_stored("bytes=0-99"), 100);
        assert_eq!(bytes_stored("0-99"), 100);
        assert_eq!(bytes_stored("nonsense"), 0);
    }
}
