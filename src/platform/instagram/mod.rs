//! Instagram, by the Graph API's content publishing: facts of the vendor pages as of November 2026.
//!
//! A post is a *container* that is filled, processed, and made public by one call, `media_publish`. The ticket is the
//! container; the one step that cannot be taken back is that call. No error of it proves that nothing was published,
//! so after any error the container is read, twice with a pause before each, and only then is the same container
//! published again. Never a second container once the first may be public.

mod account;
mod classify;
mod publish;
mod recovery;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use reqwest::RequestBuilder;
use reqwest::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use self::account::{InstagramRefresher, fitted_caption, regains_access_at};
use self::classify::{GraphCode, classify, classify_upload};
use self::publish::Settled;
use super::http::{Answer, Http, Origin, SendError, text_or_number};
use super::media::AssetStore;
use super::patience::{Look, Patience, PollSettings};
use super::tokens::{TokenKeeper, TokenSource};
use super::{Attempt, Halt, PublishError, Publisher, Pursued, SignInEnd, TicketAge, Tools};
use crate::post::{Category, Failure, MediaKind, Platform, Post, Publication, Retryable, Ticket, TicketHandle};

/// The domain of the upload host.
const DOMAIN: &str = "facebook.com";

/// A token that lives two months is exchanged this long before its end.
const TOKEN_MARGIN: TimeDelta = TimeDelta::days(10);

/// How Instagram is spoken to.
#[derive(Debug, Clone)]
pub struct InstagramSettings {
    /// Where the Graph API is.
    pub api: Origin,
    /// Where reels are uploaded.
    pub upload: Origin,
    /// The version of the API, for example `v25.0`.
    pub version: String,
    /// How long to wait, twice, before an unanswered publish is believed not to have happened.
    pub settle: Duration,
    /// The account.
    pub credentials: InstagramCredentials,
}

/// How the account is signed in to.
#[derive(Debug, Clone)]
pub struct InstagramCredentials {
    /// The professional account's id.
    pub user_id: String,
    /// A long-lived token.
    pub access_token: SecretString,
    /// Id and secret of the app, with which the token can be exchanged for a fresh one.
    pub app: Option<(String, SecretString)>,
}

/// Publishes on Instagram.
#[derive(Debug)]
pub struct InstagramPublisher {
    settings: InstagramSettings,
    http: Http,
    assets: Arc<AssetStore>,
    poll: PollSettings,
    tokens: TokenKeeper,
}

/// A container, and whether we are filling it with a reel: only then are its bytes and its sound of interest.
#[derive(Debug, Clone, Copy)]
struct Container<'a> {
    id: &'a str,
    is_reel: bool,
}

/// What a container says of itself.
enum State {
    Processing {
        /// Bytes of the reel that have arrived, while some are missing.
        uploaded: Option<u64>,
    },
    Finished,
    Published,
    Failed(Failure),
    Expired,
    /// It cannot be read, for a reason that will not pass.
    Unreadable(Failure),
}

/// Why a call of the API has no result.
enum CallError {
    Send(SendError),
    Refused { failure: Failure, graph: GraphCode },
    Stopped(PublishError),
}

impl CallError {
    /// As the failure of a step that can be taken again without harm.
    fn into_harmless(self, step: &str) -> PublishError {
        match self {
            Self::Send(error) => error.into_harmless(Platform::Instagram, step),
            Self::Refused { failure, .. } => failure.into(),
            Self::Stopped(error) => error,
        }
    }
}

impl InstagramPublisher {
    /// A publisher for one account.
    pub fn new(settings: &InstagramSettings, tools: &Tools) -> Self {
        let Tools { http, assets, poll, vault } = tools.clone();
        let credentials = &settings.credentials;
        let source = TokenSource {
            platform: Platform::Instagram,
            account: credentials.user_id.clone(),
            access_token: Some(credentials.access_token.clone()),
            refresh_token: None,
            margin: TOKEN_MARGIN,
            advice: "renew INSTAGRAM_ACCESS_TOKEN",
            lock: TokenSource::lock_for(http.timeout()),
        };
        let refresher = credentials.app.as_ref().map(|(app_id, app_secret)| {
            Box::new(InstagramRefresher {
                http: http.clone(),
                api: settings.api.clone(),
                version: settings.version.clone(),
                app_id: app_id.clone(),
                app_secret: app_secret.clone(),
            }) as _
        });
        let tokens = TokenKeeper::new(source, refresher, vault);
        Self { settings: settings.clone(), http, assets, poll, tokens }
    }

    fn url(&self, path: &str) -> url::Url {
        self.settings.api.at(&format!("/{}/{path}", self.settings.version))
    }

    fn of_account(&self, edge: &str) -> url::Url {
        self.url(&format!("{}/{edge}", self.settings.credentials.user_id))
    }

    /// Calls the API; a token that is refused is renewed once, where it can be.
    async fn call(
        &self,
        step: &str,
        request: impl Fn() -> RequestBuilder + Send,
        attempt: &dyn Attempt,
    ) -> Result<Value, CallError> {
        let mut token = self.tokens.access(attempt).await.map_err(CallError::Stopped)?;
        let mut is_renewed = self.settings.credentials.app.is_none();
        loop {
            let request = request().bearer_auth(token.expose_secret());
            let answer = self.http.send(request, attempt).await.map_err(CallError::Send)?;
            let json = answer.json();
            if answer.is_success() && json.is_object() && json["error"].is_null() {
                attempt.signed_in();
                return Ok(json);
            }
            let graph = GraphCode::of(&json);
            if graph.is_token_refused(answer.status) && !is_renewed {
                is_renewed = true;
                match self.tokens.replace(&token, attempt).await {
                    Ok(renewed) => {
                        token = renewed;
                        continue;
                    }
                    // A lapsed token cannot be exchanged; what the call itself was told says more.
                    Err(PublishError::Failed(_)) => {}
                    Err(halted) => return Err(CallError::Stopped(halted)),
                }
            }
            return Err(CallError::Refused { failure: refusal(step, &answer, graph, &json, attempt), graph });
        }
    }

    /// Whether the account has posts left today. Where that cannot be read, publishing will tell.
    async fn check_quota(&self, attempt: &dyn Attempt) -> Result<(), PublishError> {
        let step = "say how many posts the account has left";
        let url = self.of_account("content_publishing_limit");
        let request = || self.http.get(url.clone()).query(&[("fields", "config,quota_usage")]);
        let limit = match self.call(step, request, attempt).await {
            Ok(json) => json["data"][0].clone(),
            Err(CallError::Stopped(error)) => return Err(error),
            Err(error) => {
                if let PublishError::Failed(failure) = error.into_harmless(step) {
                    log::debug!("going on without knowing the quota: {}", failure.message);
                }
                return Ok(());
            }
        };
        match (limit["quota_usage"].as_u64(), limit["config"]["quota_total"].as_u64()) {
            (Some(used), Some(total)) if used >= total => {
                let text = format!("the Instagram account has used {used} of its {total} posts of 24 h");
                Err(Failure::new(Category::QuotaExhausted, text).into())
            }
            _ => Ok(()),
        }
    }

    async fn create(&self, post: &Post, attempt: &dyn Attempt) -> Result<Ticket, PublishError> {
        let kind = post.content.media_kind()?;
        let file = self.assets.file_of(post, kind).await?;
        let caption = fitted_caption(post)?;
        let fields = match kind {
            MediaKind::Video => json!({ "media_type": "REELS", "upload_type": "resumable", "caption": caption }),
            MediaKind::Image => json!({ "image_url": self.assets.public_url(&file)?.as_str(), "caption": caption }),
        };
        self.check_quota(attempt).await?;
        let step = "make a container for the post";
        let url = self.of_account("media");
        // A container whose id is lost is never seen by anyone and dies after a day.
        let json = self
            .call(step, || self.http.post(url.clone()).json(&fields), attempt)
            .await
            .map_err(|error| error.into_harmless(step))?;
        let Some(container_id) = text_or_number(&json["id"]) else { return Err(misunderstood(step, 200).into()) };
        let upload_uri = json["uri"].as_str().map(str::to_owned);
        let size = match kind {
            MediaKind::Video => {
                let Some(uri) = &upload_uri else { return Err(misunderstood(step, 200).into()) };
                self.settings.upload.trusted(uri, DOMAIN, Platform::Instagram)?;
                Some(file.size)
            }
            MediaKind::Image => None,
        };
        Ok(Ticket::new(attempt.now(), TicketHandle::InstagramContainer { container_id, upload_uri, size }))
    }

    /// What the container says of itself. A read that fails for a passing reason is borne a few times.
    async fn state(&self, container: Container<'_>, attempt: &dyn Attempt) -> Result<State, PublishError> {
        let step = "say how the container stands";
        let url = self.url(container.id);
        let fields = if container.is_reel {
            "id,status,status_code,video_status,copyright_check_status"
        } else {
            "id,status,status_code"
        };
        let request = || self.http.get(url.clone()).query(&[("fields", fields)]);
        let mut patience = Patience::new(self.poll);
        let json = loop {
            let failure = match self.call(step, request, attempt).await {
                Ok(json) => break json,
                Err(CallError::Refused { failure, graph }) => {
                    if graph.subcode == Some(2_207_006) || graph.subcode == Some(2_207_020) {
                        return Ok(State::Unreadable(failure));
                    }
                    // A container that was just there is at times not found; for good that means another account.
                    let is_passing_absence = graph.is_missing() || graph.subcode == Some(2_207_008);
                    if is_passing_absence {
                        if patience.bears_one_more() && patience.wait(attempt).await == Look::Again {
                            continue;
                        }
                        let category = if graph.is_missing() { Category::Auth } else { failure.category };
                        return Ok(State::Unreadable(Failure { category, ..failure }));
                    }
                    failure
                }
                Err(error) => error.into_harmless(step).into_failure()?,
            };
            if patience.bear(&failure, attempt).await == Look::Enough {
                return Err(failure.into());
            }
        };
        let status = json["status"].as_str().unwrap_or_default();
        Ok(match json["status_code"].as_str().unwrap_or_default() {
            "FINISHED" if json["copyright_check_status"]["matches_found"].as_bool() == Some(true) => {
                State::Failed(infringing())
            }
            "FINISHED" => State::Finished,
            "PUBLISHED" => State::Published,
            "EXPIRED" => State::Expired,
            "ERROR" => {
                let graph = GraphCode::in_status(status);
                let failure = if graph.subcode.is_some() {
                    classify("process the media", 200, graph, status)
                } else {
                    let text = format!("Instagram failed to process the media: {status}");
                    Failure::new(Category::MediaProcessing, text)
                };
                State::Failed(failure.with_dead_ticket())
            }
            _ => {
                let phase = &json["video_status"]["uploading_phase"];
                let is_uploading = phase["status"].as_str().is_some_and(|status| status != "complete");
                State::Processing {
                    uploaded: phase["bytes_transferred"]
                        .as_u64()
                        .or(is_uploading.then_some(0))
                        .filter(|_| is_uploading),
                }
            }
        })
    }

    /// Sends the bytes of a reel from `offset` on; an upload that breaks off is resumed where it stands.
    async fn upload(
        &self,
        post: &Post,
        container: Container<'_>,
        uri: &str,
        size: u64,
        mut offset: u64,
        attempt: &dyn Attempt,
    ) -> Result<(), PublishError> {
        let file = self.assets.file_of(post, MediaKind::Video).await?;
        if file.size != size {
            let text = "the video file has changed since its upload to Instagram began";
            return Err(Failure::new(Category::MissingAsset, text).with_dead_ticket().into());
        }
        let url = self.settings.upload.trusted(uri, DOMAIN, Platform::Instagram)?;
        let mut token = self.tokens.access(attempt).await?;
        let mut is_renewed = false;
        let mut patience = Patience::new(self.poll);
        loop {
            let request = self
                .http
                .post(url.clone())
                .header(AUTHORIZATION, format!("OAuth {}", token.expose_secret()))
                .header("offset", offset)
                .header("file_size", size);
            let trouble = match self.http.upload(request, &file, offset..size, attempt).await {
                Ok(answer) => {
                    let json = answer.json();
                    if answer.is_success() && json["success"].as_bool() == Some(true) {
                        return Ok(());
                    }
                    let failure = if answer.is_success() {
                        misunderstood("take the video's bytes", answer.status)
                    } else {
                        classify_upload(answer.status, &json).retry_at(answer.retry_after(attempt.now()))
                    };
                    if failure.category == Category::Auth && !is_renewed && self.settings.credentials.app.is_some() {
                        token = self.tokens.replace(&token, attempt).await?;
                        is_renewed = true;
                        continue;
                    }
                    failure
                }
                Err(error) => error.into_harmless(Platform::Instagram, "take the video's bytes").into_failure()?,
            };
            if patience.bear(&trouble, attempt).await == Look::Enough {
                return Err(trouble.into());
            }
            match self.state(container, attempt).await? {
                State::Processing { uploaded: Some(bytes) } if bytes < size => offset = bytes,
                State::Processing { uploaded: Some(_) | None } | State::Finished | State::Published => return Ok(()),
                State::Failed(failure) => return Err(failure.into()),
                State::Expired | State::Unreadable(_) => return Err(trouble.with_dead_ticket().into()),
            }
        }
    }
}

fn refusal(step: &str, answer: &Answer, graph: GraphCode, json: &Value, attempt: &dyn Attempt) -> Failure {
    if answer.is_success() && json["error"].is_null() {
        return misunderstood(step, answer.status);
    }
    let message = json["error"]["message"].as_str().unwrap_or_default();
    let now = attempt.now();
    let at = regains_access_at(answer, now).or_else(|| answer.retry_after(now));
    classify(step, answer.status, graph, message).retry_at(at)
}

/// Instagram would publish it all the same, and the account would bear the consequences.
fn infringing() -> Failure {
    let text = "Instagram's copyright check found a match in the video; change its sound or pictures";
    Failure::new(Category::RejectedContent, text).not_retryable().with_dead_ticket()
}

fn still_processing() -> Failure {
    let text = "Instagram has the post and is still processing it; the next pass looks again";
    Failure::new(Category::Processing, text)
}

fn misunderstood(step: &str, status: u16) -> Failure {
    let text = format!("Instagram answered HTTP {status} to {step} with something that is not understood");
    Failure::new(Category::Unknown, text)
}

#[async_trait]
impl Publisher for InstagramPublisher {
    fn platform(&self) -> Platform {
        Platform::Instagram
    }

    async fn sign_in_end(&self) -> Result<Option<SignInEnd>, Halt> {
        self.tokens.sign_in_end().await
    }

    async fn open(&self, post: &Post, attempt: &dyn Attempt) -> Result<Ticket, PublishError> {
        self.create(post, attempt).await
    }

    async fn pursue(
        &self,
        post: &Post,
        mut ticket: Ticket,
        age: TicketAge,
        attempt: &dyn Attempt,
    ) -> Result<Pursued, PublishError> {
        let TicketHandle::InstagramContainer { container_id, upload_uri, size } = ticket.handle.clone() else {
            return Ok(Pursued::Dead);
        };
        let container = Container { id: &container_id, is_reel: size.is_some() };
        let reel = upload_uri.zip(size);
        if let (TicketAge::Fresh, Some((uri, size))) = (age, &reel) {
            self.upload(post, container, uri, *size, 0, attempt).await?;
        }
        let mut is_first_look = age == TicketAge::Stored;
        let mut patience = Patience::new(self.poll);
        loop {
            match self.state(container, attempt).await? {
                State::Published => return self.recovered(post, &ticket, attempt).await,
                State::Finished if ticket.is_committed() => {
                    let unanswered = Failure::new(
                        Category::Network,
                        "an earlier publish at Instagram was not answered; the container is read again",
                    );
                    return match self.settle(container, attempt, &unanswered).await? {
                        Settled::Published => self.recovered(post, &ticket, attempt).await,
                        Settled::NotPublished => self.publish(post, &mut ticket, container, attempt).await,
                        Settled::Moved(State::Failed(failure)) => Err(failure.into()),
                        Settled::Moved(State::Processing { .. }) => Err(still_processing().into()),
                        Settled::Moved(_) => self.unreadable(post, &ticket, &unanswered, attempt).await,
                    };
                }
                State::Finished => return self.publish(post, &mut ticket, container, attempt).await,
                State::Failed(failure) => {
                    let was_under_way = post.retry.category == Some(Category::Processing);
                    let is_hopeless = failure.retryable == Retryable::No;
                    // An earlier attempt's failure has been counted; a new container may follow at once.
                    if is_first_look && !was_under_way && !is_hopeless {
                        return Ok(Pursued::Dead);
                    }
                    return Err(failure.into());
                }
                State::Expired => {
                    let expired = Failure::new(Category::Network, "the container has expired");
                    return self.unreadable(post, &ticket, &expired, attempt).await;
                }
                State::Unreadable(failure) => return self.unreadable(post, &ticket, &failure, attempt).await,
                State::Processing { uploaded: Some(bytes) } => match &reel {
                    Some((uri, size)) if is_first_look && bytes < *size => {
                        self.upload(post, container, uri, *size, bytes, attempt).await?;
                    }
                    Some(_) => {}
                    // Only the application knew where the bytes go; without them nothing can be published.
                    None if !ticket.is_committed() => return Ok(Pursued::Dead),
                    None => {}
                },
                State::Processing { uploaded: None } => {}
            }
            is_first_look = false;
            if patience.wait(attempt).await == Look::Enough {
                return Err(still_processing().into());
            }
        }
    }
}

impl InstagramPublisher {
    /// What is known of a post that is public; the link is a courtesy.
    async fn publication(&self, id: Option<String>, attempt: &dyn Attempt) -> Publication {
        let url = match &id {
            Some(id) => self.permalink(id, attempt).await,
            None => None,
        };
        Publication { id, url, warning: None }
    }
}
