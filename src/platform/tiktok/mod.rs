//! TikTok, by the Content Posting API: facts of the vendor pages as of November 2026.
//!
//! A video is announced (`init`), uploaded in chunks, and posted by TikTok once its last chunk is in. So the ticket is
//! the `publish_id`, and the step that cannot be taken back is the last chunk. A photo has no upload: TikTok fetches
//! it, and `init` itself starts the publish; the intent is stored before it.

mod account;
mod chunks;
mod classify;
mod photo;
mod recovery;
mod video;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use self::classify::{UNKNOWN_ID, classify};
use super::http::{Http, JSON_UTF8, SendError, text_or_number};
use super::media::AssetStore;
use super::patience::{Look, Patience, PollSettings};
use super::tokens::TokenProvider;
use super::{
    AttemptAborted, CredentialExpiry, Origin, PublishContext, PublishError, Publisher, PublisherDeps, TicketAge,
    TicketOutcome,
};
use crate::post::{Category, Consequence, Failure, MediaKind, Platform, Post, Publication, Ticket, TicketHandle};

/// A token is refreshed this long before its end.
const TOKEN_MARGIN: TimeDelta = TimeDelta::minutes(2);

/// How TikTok is spoken to.
#[derive(Debug, Clone)]
pub struct TikTokSettings {
    /// Where the API is.
    pub api: Origin,
    /// The account.
    pub credentials: TikTokCredentials,
    /// Who sees the posts.
    pub privacy_level: String,
}

/// How the account is signed in to.
#[derive(Debug, Clone)]
pub enum TikTokCredentials {
    /// With a refresh token, which is worth something only to the app.
    Refreshed {
        /// The app's key.
        client_key: String,
        /// The app's secret.
        client_secret: SecretString,
        /// The account's refresh token.
        refresh_token: SecretString,
        /// A token to start with.
        access_token: Option<SecretString>,
    },
    /// With a token that nobody renews.
    Bare {
        /// The token.
        access_token: SecretString,
    },
}

/// Publishes on TikTok.
#[derive(Debug)]
pub struct TikTokPublisher {
    api: Origin,
    privacy_level: String,
    http: Http,
    assets: Arc<AssetStore>,
    poll: PollSettings,
    tokens: TokenProvider,
}

/// What `status/fetch` says of an upload.
enum State {
    Published(Publication),
    Failed(Failure),
    /// Bytes are missing; how many TikTok has, if it tells.
    Uploading(Option<u64>),
    Processing,
    /// TikTok does not know the id.
    Unknown(Failure),
}

/// Why a call of the API has no result.
enum CallError {
    Send(SendError),
    Refused { failure: Failure, status: u16, code: String },
    Stopped(PublishError),
}

impl CallError {
    /// As the failure of a step that can be taken again without harm.
    fn into_retryable(self, step: &str) -> PublishError {
        match self {
            Self::Send(error) => error.into_retryable(Platform::TikTok, step),
            Self::Refused { failure, .. } => failure.into(),
            Self::Stopped(error) => error,
        }
    }
}

impl TikTokPublisher {
    /// A publisher for one account.
    pub fn new(settings: &TikTokSettings, tools: &PublisherDeps) -> Self {
        let PublisherDeps { http, assets, poll, vault } = tools.clone();
        let api = settings.api.clone();
        let (source, refresher) = account::token_source(settings, &http, TOKEN_MARGIN);
        let refresher = refresher.map(|refresher| Box::new(refresher) as _);
        let tokens = TokenProvider::new(source, refresher, vault);
        Self { api, privacy_level: settings.privacy_level.clone(), http, assets, poll, tokens }
    }

    /// Calls the API, with no body where it is null; a token that is refused is renewed once.
    async fn call(
        &self,
        step: &str,
        path: &str,
        body: &Value,
        context: &dyn PublishContext,
    ) -> Result<Value, CallError> {
        let mut token = self.tokens.access(context).await.map_err(CallError::Stopped)?;
        let mut is_renewed = false;
        loop {
            let request = self.http.post(self.api.at(path)).bearer_auth(token.expose_secret());
            let request = request.header(CONTENT_TYPE, JSON_UTF8);
            let request = if body.is_null() { request.header(CONTENT_LENGTH, 0) } else { request.json(body) };
            let response = self.http.send(request, context).await.map_err(CallError::Send)?;
            let mut json = response.json();
            let error = &json["error"];
            let code = error["code"].as_str().unwrap_or_default().to_owned();
            if code == "ok" && response.is_success() {
                context.token_accepted();
                return Ok(json["data"].take());
            }
            if (code == "access_token_invalid" || (response.status == 401 && code.is_empty())) && !is_renewed {
                token = self.tokens.replace(&token, context).await.map_err(CallError::Stopped)?;
                is_renewed = true;
                continue;
            }
            let message = error["message"].as_str().unwrap_or_default();
            let failure = if code == "ok" || (code.is_empty() && response.is_success()) {
                misunderstood(step, response.status)
            } else {
                classify(step, response.status, &code, message).retry_at(response.retry_after(context.now()))
            };
            return Err(CallError::Refused { failure, status: response.status, code });
        }
    }

    /// Asks whether and how the account may post now. TikTok wants that asked before every post.
    async fn creator(&self, context: &dyn PublishContext) -> Result<Creator, PublishError> {
        let step = "say whether the account may post";
        let path = "/v2/post/publish/creator_info/query/";
        let data = self.call(step, path, &Value::Null, context).await.map_err(|error| error.into_retryable(step))?;
        let levels: Vec<&str> =
            data["privacy_level_options"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !levels.is_empty() && !levels.contains(&self.privacy_level.as_str()) {
            let message = format!(
                "TikTok does not offer the account the privacy level `{}`; set TIKTOK_PRIVACY_LEVEL to one of {}",
                self.privacy_level,
                levels.join(", ")
            );
            return Err(Failure::new(Category::RejectedContent, message).not_retryable().into());
        }
        let flag = |name: &str| data[name].as_bool().unwrap_or(false);
        Ok(Creator {
            username: data["creator_username"].as_str().map(str::to_owned),
            comment_disabled: flag("comment_disabled"),
            duet_disabled: flag("duet_disabled"),
            stitch_disabled: flag("stitch_disabled"),
            longest: data["max_video_post_duration_sec"].as_u64().map(Duration::from_secs),
        })
    }

    async fn state(
        &self,
        ticket: &Ticket,
        publish_id: &str,
        context: &dyn PublishContext,
    ) -> Result<State, PublishError> {
        let step = "say what became of the post";
        let body = json!({ "publish_id": publish_id });
        let data = match self.call(step, "/v2/post/publish/status/fetch/", &body, context).await {
            Ok(data) => data,
            Err(CallError::Refused { failure, code, .. }) if code == UNKNOWN_ID => return Ok(State::Unknown(failure)),
            Err(error) => return Err(error.into_retryable(step)),
        };
        Ok(match data["status"].as_str().unwrap_or_default() {
            "PUBLISH_COMPLETE" => State::Published(publication(ticket, &data)),
            "FAILED" => {
                let reason = data["fail_reason"].as_str().unwrap_or_default();
                State::Failed(classify("publish the post", 200, reason, "").with_dead_ticket())
            }
            "PROCESSING_UPLOAD" => State::Uploading(data["uploaded_bytes"].as_u64()),
            _ => State::Processing,
        })
    }

    /// The state of an upload. A look that fails for a passing reason is borne a few times.
    async fn patient_state(
        &self,
        ticket: &Ticket,
        publish_id: &str,
        patience: &mut Patience,
        context: &dyn PublishContext,
    ) -> Result<State, PublishError> {
        loop {
            let failure = match self.state(ticket, publish_id, context).await {
                Ok(state) => {
                    patience.forget_troubles();
                    return Ok(state);
                }
                Err(error) => error.into_failure()?,
            };
            if patience.bear(&failure, context).await == Look::Enough {
                return Err(failure.into());
            }
        }
    }
}

/// What the account may do.
struct Creator {
    username: Option<String>,
    comment_disabled: bool,
    duet_disabled: bool,
    stitch_disabled: bool,
    /// The longest video that it may post.
    longest: Option<Duration>,
}

/// A failure that TikTok reports of an upload. Where it is an earlier attempt's, that attempt has been counted, and a
/// new upload may follow at once; unless the same post can only fail again.
fn failed_before_or_now(failure: Failure, is_first_look: bool, post: &Post) -> Result<TicketOutcome, PublishError> {
    let was_under_way = post.retry.category == Some(Category::Processing);
    let is_hopeless = failure.consequence() == Consequence::GiveUp;
    if is_first_look && !was_under_way && !is_hopeless { Ok(TicketOutcome::Dead) } else { Err(failure.into()) }
}

fn still_processing() -> Failure {
    Failure::new(Category::Processing, "TikTok has the post and is still processing it; the next pass looks again")
}

fn misunderstood(step: &str, status: u16) -> Failure {
    let text = format!("TikTok answered HTTP {status} to {step} with something that is not understood");
    Failure::new(Category::Unknown, text)
}

fn untellable(failure: &Failure) -> Failure {
    let text = format!("{}; it may be published: look at the account before it is sent again", failure.message);
    Failure::new(Category::Ambiguous, text)
}

/// What TikTok gave. The id is empty until moderation is over, and always for posts that are not public.
fn publication(ticket: &Ticket, data: &Value) -> Publication {
    let ids = [&data["publicaly_available_post_id"], &data["publicly_available_post_id"]];
    let id = ids.into_iter().find_map(|list| text_or_number(list.get(0)?));
    let (username, kind) = match &ticket.handle {
        TicketHandle::TiktokVideo { username, .. } => (username.as_deref(), "video"),
        TicketHandle::TiktokPhoto { username, .. } => (username.as_deref(), "photo"),
        TicketHandle::InstagramContainer { .. } | TicketHandle::YoutubeSession { .. } => (None, ""),
    };
    let url = username.map(|name| match &id {
        Some(id) => format!("https://www.tiktok.com/@{name}/{kind}/{id}"),
        None => format!("https://www.tiktok.com/@{name}"),
    });
    Publication { id, url, warning: None }
}

#[async_trait]
impl Publisher for TikTokPublisher {
    fn platform(&self) -> Platform {
        Platform::TikTok
    }

    async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, AttemptAborted> {
        self.tokens.credential_expiry().await
    }

    async fn create_ticket(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        match post.content.media_kind()? {
            MediaKind::Video => self.create_video_ticket(post, context).await,
            MediaKind::Image => self.create_photo_ticket(post, context).await,
        }
    }

    async fn resume_publish(
        &self,
        post: &Post,
        ticket: Ticket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        match ticket.handle {
            TicketHandle::TiktokPhoto { .. } => self.resume_photo(post, ticket, age, context).await,
            TicketHandle::TiktokVideo { .. }
            | TicketHandle::InstagramContainer { .. }
            | TicketHandle::YoutubeSession { .. } => self.resume_video(post, ticket, age, context).await,
        }
    }
}
